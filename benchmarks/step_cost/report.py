"""What ``benchmarks.step_cost`` says about its records: a table, a finding and a figure."""

import itertools
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from tabulate import tabulate

from benchmarks.step_cost.measure import FITS, WAYS, Record

GUIDE = (
    "A line, seconds = call + step T, is fitted to the least times at each length T. The last column says how far\n"
    f"a time is from its line at most. Where that is more than {FITS:.0%}, nothing is read from the line."
)
HEADS = [
    "cell",
    "program",
    "loops of",
    "H",
    "steps a turn",
    "a step",
    "/ one step a turn",
    "a call besides",
    "off the line",
]

SAME = ("cell", "program", "way", "hidden")
"""What cases have in common that differ only in the number of steps a turn."""


def rows(records: list[Record]) -> list[list[str]]:
    """A row for each case, under ``HEADS``."""
    found = []
    for record in records:
        line = record["line"]
        numbers = str(record["hidden"]), str(record["unrolled"])
        case = [record["cell"], record["program"], WAYS[record["way"]], *numbers]
        step, call = (f"{1e6 * line[part]:.3g} us" if line["fits"] else "no line" for part in ("step", "call"))
        one = _one_step_a_turn(records, record)
        times = f"{line['step'] / one['step']:.2f}" if one and one["fits"] and line["fits"] else "-"
        found.append([*case, step, times, call, f"{line['deviation']:.0%}"])
    return found


def table(records: list[Record]) -> str:
    return tabulate(rows(records), HEADS, colalign=("left", "left", "left", *["right"] * 6), disable_numparse=True)


def find(records: list[Record]) -> str:
    """What a step costs with one step a turn, and with the number of steps a turn that makes it the cheapest."""
    lines = []
    for (cell, program, way, hidden), group in itertools.groupby(records, lambda r: [r[name] for name in SAME]):
        its = [record for record in group if record["line"]["fits"]]
        name = f"{cell}, {program}, {WAYS[way]}, H = {hidden}"
        one = [record["line"] for record in its if record["unrolled"] == 1]
        if not one:
            lines.append(f"{name}: no line with one step a turn was found, so no cost of a step is given.")
            continue
        best = min(its, key=lambda record: record["line"]["step"])
        text = f"{name}: a step costs {1e6 * one[0]['step']:.3g} us with one step a turn of the loop"
        if best["unrolled"] > 1:
            text += f", and {1e6 * best['line']['step']:.3g} us with {best['unrolled']}, the least"
        lines.append(f"{text}.")
    return "\n".join(lines)


def draw(records: list[Record], title: str) -> Figure:
    """Time against T on log axes, with the lines that fit: a panel for each cell and program."""
    panels = list(dict.fromkeys((record["cell"], record["program"], record["way"]) for record in records))
    columns = min(2, len(panels))
    height = -(-len(panels) // columns)
    figure = Figure((5.5 * columns, 1.8 + 3.4 * height), layout="constrained")
    axes = figure.subplots(height, columns, squeeze=False)
    for axis, (cell, program, way) in zip(axes.flat, panels, strict=False):
        its = [r for r in records if (r["cell"], r["program"], r["way"]) == (cell, program, way)]
        for index, record in enumerate(its):
            _draw_case(axis, record, index, len(its))
        axis.set(xscale="log", yscale="log", title=f"{cell}, {program}, {WAYS[way]}")
        axis.set(xlabel="T, time steps", ylabel="time (ms)")
        axis.set_xticks(its[0]["steps"], [str(steps) for steps in its[0]["steps"]])
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        axis.legend(frameon=False, fontsize=8)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    figure.suptitle(title, fontsize=9)
    return figure


def _draw_case(axis: Any, record: Record, index: int, count: int) -> None:
    """Points of one case, and its line if that fits; told apart by marker and shade alike."""
    shade, line = str(0.65 * index / max(1, count - 1)), record["line"]
    turns = f"{record['unrolled']} step{'s' * (record['unrolled'] > 1)} a turn"
    label = f"H = {record['hidden']}, {turns}" + ("" if line["fits"] else " (no line)")
    axis.plot(record["steps"], 1e3 * np.array(record["seconds"]), "osD^vP*X"[index % 8], color=shade, label=label)
    if line["fits"]:
        axis.plot(record["steps"], 1e3 * (line["call"] + line["step"] * np.array(record["steps"])), color=shade)


def _one_step_a_turn(records: list[Record], like: Record) -> dict[str, Any] | None:
    """The line of the same case with one step a turn, if that was measured."""
    for record in records:
        if record["unrolled"] == 1 and all(record[name] == like[name] for name in SAME):
            line: dict[str, Any] = record["line"]
            return line
    return None
