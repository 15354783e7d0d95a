"""What ``benchmarks.streaming`` says about its records: a finding, tables and a figure."""

from typing import Any

from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.common.measure import Ratio, skips
from benchmarks.streaming.measure import Record
from benchmarks.streaming.steps import OURS, WAYS

MARKERS = ("o", "s", "^", "D", "v", "P")


def texts(records: list[Record]) -> tuple[str, str]:
    """The tables, and the finding."""
    heads = {
        "steps": "Microseconds of a step, from a sample to an estimate as a number, median / 99th percentile:",
        "lines": "Microseconds of a line, from writing it to having read its answer, median / 99th percentile:",
    }
    tables = "\n\n".join(f"{told}\n\n{table(records, of)}" for of, told in heads.items())
    reasons = ((WAYS[record["way"]].title, record["skipped"]) for record in records if "skipped" in record)
    ready = "Seconds until a loop is ready, which include importing its libraries and compiling:"
    return f"{tables}\n\n{ready}\n\n{table_of_starts(records)}\n\n{skips(reasons)}", find(records)


def cases_of(records: list[Record]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((record["cell"], record["hidden"]) for record in records))


def by_way(records: list[Record]) -> dict[str, dict[tuple[str, int], Record]]:
    """What was measured, by way, then by cell and width."""
    found: dict[str, dict[tuple[str, int], Record]] = {}
    for record in (record for record in records if "skipped" not in record):
        found.setdefault(record["way"], {})[record["cell"], record["hidden"]] = record
    return found


def table(records: list[Record], of: str) -> str:
    def cell(record: Record) -> str:
        return f"{1e6 * record[f'{of}_median']:.1f} / {1e6 * record[f'{of}_percentile_99']:.0f}"

    return _table(records, cell)


def table_of_starts(records: list[Record]) -> str:
    return _table(records, lambda record: f"{record['ready_seconds']:.2f}")


def _table(records: list[Record], cell: Any) -> str:
    cases = cases_of(records)
    rows = [[WAYS[way].title, *(cell(of_way[case]) for case in cases)] for way, of_way in by_way(records).items()]
    heads = ["", *(f"{cell} {hidden}" for cell, hidden in cases)]
    return tabulate(rows, heads, colalign=["left", *["right"] * len(cases)], disable_numparse=True)


def find(records: list[Record]) -> str:
    """How long a step and a line take in rnnjax, compared with other libraries and with other ways to do a step."""
    found, cases = by_way(records), cases_of(records)
    ours = found[OURS]

    def medians(of_way: dict[tuple[str, int], Record], of: str) -> str:
        return ", ".join(f"{1e6 * of_way[case][f'{of}_median']:.0f}" for case in cases)

    def ratios(way: str, to: str) -> str:
        return ", ".join(str(Ratio(*found[way][case]["steps_ratio"][to])) for case in cases)

    told = ", ".join(f"{cell} {hidden}" for cell, hidden in cases)
    parts = [f"A step takes {medians(ours, 'steps')} microseconds ({told})"]
    for way, name in (("numpy", "NumPy"), ("torch", "PyTorch")):
        if way in found:
            parts.append(f"{ratios(OURS, way)} times {name}'s")
    bare = medians(found["nothing"], "lines")
    lines = f"A line takes {medians(ours, 'lines')} microseconds, and {bare} without a network."
    others = [way for way in found if way != OURS and WAYS[way].title.startswith("rnnjax")]
    beside = "; ".join(f"{WAYS[way].title.removeprefix('rnnjax, ')} {ratios(way, OURS)}" for way in others)
    return f"{'; '.join(parts)}.\n{lines}\nIn other ways a step takes this many times as long: {beside}."


def draw(records: list[Record], title: str) -> Figure:
    """Left are steps, right are lines: for each way and case the median, and a line from it to the 99th percentile."""
    figure = Figure((13, 6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    found, cases = by_way(records), cases_of(records)
    for axis, of in ((left, "steps"), (right, "lines")):
        for row, of_way in enumerate(found.values()):
            for place, case in enumerate(cases):
                record, height = of_way[case], row + 0.7 * ((place + 0.5) / len(cases) - 0.5)
                middle, high = 1e6 * record[f"{of}_median"], 1e6 * record[f"{of}_percentile_99"]
                axis.hlines(height, middle, high, color="0.5", linewidth=1)
                face = "white" if case[0] == cases[0][0] else "black"
                look: dict[str, Any] = {"color": "black", "markerfacecolor": face, "markersize": 5, "linestyle": "none"}
                label = f"{case[0]} {case[1]}" if row == 0 else None
                axis.plot(middle, height, marker=MARKERS[place % len(MARKERS)], label=label, **look)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.grid(color="0.9")
        axis.set_axisbelow(True)
    left.set_yticks(range(len(found)), [WAYS[way].title for way in found])
    left.invert_yaxis()
    left.set_xlabel("microseconds of a step (mark: median; end of line: 99th percentile)")
    right.set_xlabel("microseconds of a line through pipes to another process and back")
    left.legend(frameon=False, ncols=len(cases), loc="lower left", bbox_to_anchor=(0, 1))
    figure.suptitle(title, fontsize=9)
    return figure
