"""What ``benchmarks.study`` says about its records: a table, findings and a figure."""

import statistics
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from tabulate import tabulate

from benchmarks.common.measure import ratio
from benchmarks.study.measure import CACHES, Record, devices_in_words, name_of_ours

PHASES = {"importing": "0.85", "tracing": "0.6", "compiling": "0.35", "running": "0.0"}
"""Most of what a command does, with shades of grey. Taking a program from the cache counts as compiling."""
TARGETS = {"cold": 1 / 3, "warm": 1 / 10}
"""The share of PyTorch's time that is aimed at, by the state of the cache."""
SPEEDUP = 1.7
"""How many times as fast the greatest number of devices is to be as the least."""


def table(records: list[Record]) -> str:
    """Seconds of every command, its processor time, and the time of every phase."""
    heads = ["command", "seconds", "processor", *PHASES]
    rows = [
        [
            record["name"],
            *(f"{statistics.median(record[key]):.2f}" for key in ("seconds", "processor_seconds")),
            *(f"{of_phase:.2f}" if (of_phase := median_of_phase(record, phase)) else "" for phase in PHASES),
        ]
        for record in records
    ]
    alignment = ("left", *["right"] * (len(heads) - 1))
    text = tabulate(rows, heads, colalign=alignment, disable_numparse=True)
    return f"{text}\nThe time of a phase is summed over threads, which run at the same time."


def median_of_phase(record: Record, phase: str) -> float:
    """Seconds, of all threads together."""
    return statistics.median(phases.get(phase, 0.0) for phases in record["phases"])


def find(records: list[Record], devices: int) -> list[str]:
    """Whether the targets are met, with a line for each way of doing it in PyTorch."""
    ours = {cache: record for record in records for cache in CACHES if record["name"] == name_of_ours(cache, devices)}
    lines = []
    for record in records:
        if record["name"].startswith("PyTorch"):
            shares = {cache: ratio(one_each(ours[cache]), one_each(record)) for cache in CACHES}
            parts = [
                f"{cache} {shares[cache]} (target 1/{1 / target:.0f}: {met(shares[cache].value <= target)})"
                for cache, target in TARGETS.items()
            ]
            lines.append(f"{record['name']}: {', '.join(parts)}")
    head = [f"Time of rnnjax on {devices_in_words(devices)} by its cache, as multiples of the time of"] if lines else []
    return head + lines


def met(fulfilled: bool) -> str:
    """The verdict on a target."""
    return "met" if fulfilled else "not met"


def find_devices(again: dict[int, list[float]]) -> list[str]:
    """How many times as fast the programs run on the greatest number of devices as on the least."""
    least, most = min(again), max(again)
    if least == most:
        return []
    gain = ratio(*([[seconds] for seconds in again[count]] for count in (least, most)))
    verdict = f"target {SPEEDUP}: {met(gain.value >= SPEEDUP)}"
    return [f"The compiled programs run {gain} times as fast on {devices_in_words(most)} as on {least} ({verdict})."]


def one_each(record: Record) -> list[list[float]]:
    """The seconds, as one sample in each round."""
    return [[seconds] for seconds in record["seconds"]]


def draw(records: list[Record], finding: str) -> Figure:
    """Seconds of every command above; below, what the threads of rnnjax's commands did."""
    ours = [record for record in records if record["name"].startswith("rnnjax")]
    figure = Figure((9, 8), layout="tight")
    above, below = figure.subplots(2, 1, height_ratios=(len(records) + 1, 2 * len(ours) + 1))
    names = [record["name"] for record in records]
    above.barh(names, [statistics.median(record["seconds"]) for record in records], color="0.6")
    above.hlines(names, *([f(r["seconds"]) for r in records] for f in (min, max)), color="black", linewidth=3)
    for record in records:
        above.annotate(
            f"  {statistics.median(record['seconds']):.1f}", (max(record["seconds"]), record["name"]), va="center"
        )
    above.invert_yaxis()
    above.margins(x=0.1)
    above.set_xlabel("seconds from process start to its end")
    draw_timelines(below, ours)
    figure.suptitle(finding, fontsize=9)
    return figure


def draw_timelines(axis: Any, records: list[Record]) -> None:
    """A band for each command, a line in it for each thread."""
    for place, record in enumerate(records):
        lines = 1 + max(thread for _, _, thread, _, _ in record["timeline"])
        for phase, _, thread, start, stop in record["timeline"]:
            if phase in PHASES:
                height = 0.8 / lines
                axis.barh(
                    place - 0.4 + (thread + 0.5) * height,
                    stop - start,
                    height,
                    left=start,
                    color=PHASES[phase],
                    edgecolor="white",
                    linewidth=0.5,
                )
    axis.set_yticks(range(len(records)), [record["name"] for record in records])
    axis.invert_yaxis()
    axis.set_xlabel("seconds from process start in the last round, with a line for each thread")
    handles = [Patch(color=shade, label=phase) for phase, shade in PHASES.items()]
    axis.legend(handles=handles, frameon=False, fontsize=8)
