"""What ``benchmarks.online`` says about its records: a finding, tables and a figure."""

import itertools
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.common.measure import skips
from benchmarks.online.measure import Record
from benchmarks.online.steps import LIBRARIES, several

PLAIN = ("rnnjax", "jitted")


def texts(records: list[Record], counts: list[int]) -> tuple[str, str]:
    """The tables, and the finding."""
    legend = "Microseconds of one step: the median, and the 99th percentile to its right."
    reasons = ((LIBRARIES[record["library"]], record["skipped"]) for record in records if "skipped" in record)
    straight = "Microseconds of k steps in one call of unroll, and of a call and a step by the line through these:"
    tables = f"{legend}\n\n{table_of_steps(records)}\n\n{straight}\n\n{table_of_calls(records, counts)}"
    return f"{tables}\n\n{skips(reasons)}", find(records, counts)


def single(records: list[Record]) -> dict[tuple[str, str], dict[str, Record]]:
    """The records of single steps by library and way, then by cell."""
    found: dict[tuple[str, str], dict[str, Record]] = {}
    for record in (record for record in records if "ratio" in record):
        found.setdefault((record["library"], record["way"]), {})[record["cell"]] = record
    return found


def cells_of(records: list[Record]) -> list[str]:
    return list(dict.fromkeys(record["cell"] for record in records if "cell" in record))


def table_of_steps(records: list[Record]) -> str:
    rows = [
        [LIBRARIES[library], way, *itertools.chain.from_iterable(map(microseconds, cells.values()))]
        for (library, way), cells in single(records).items()
    ]
    heads = ["", "", *itertools.chain.from_iterable((cell, "99 %") for cell in cells_of(records))]
    return tabulate(rows, heads, colalign=["left", "left", *["right"] * (len(heads) - 2)], disable_numparse=True)


def microseconds(record: Record) -> tuple[str, str]:
    return f"{1e6 * record['median_seconds']:.1f}", f"{1e6 * record['percentile_99_seconds']:.0f}"


def best_way(records: list[Record]) -> tuple[str, str]:
    """The fastest way of calling here: dispatched synchronously, where that was measured."""
    measured = {record["library"] for record in records if "skipped" not in record}
    return ("synchronous" if "synchronous" in measured else "rnnjax"), "params constant"


class Line(NamedTuple):
    """The microseconds of k steps in one call, fitted by ``call + k step``."""

    counts: list[int]
    times: list[float]
    call: float
    step: float


def lines(records: list[Record], counts: list[int]) -> dict[tuple[str, str], Line]:
    """The times of k steps in one call, by library and cell."""
    found = {}
    by_way = {(r["library"], r["cell"], r["way"]): r["median_seconds"] for r in records if "way" in r}
    for library, cell in itertools.product(dict.fromkeys((PLAIN[0], best_way(records)[0])), cells_of(records)):
        times = [1e6 * by_way[library, cell, several(count)] for count in counts]
        step = (times[-1] - times[0]) / (counts[-1] - counts[0])
        found[library, cell] = Line(counts, times, times[0] - counts[0] * step, step)
    return found


def table_of_calls(records: list[Record], counts: list[int]) -> str:
    found = lines(records, counts)
    rows = [
        [LIBRARIES[library], cell, *(f"{number:.1f}" for number in (*line.times, line.call, line.step))]
        for (library, cell), line in found.items()
    ]
    heads = ["", "cell", *(f"k = {count}" for count in counts), "a call", "a step"]
    return tabulate(rows, heads, colalign=["left", "left", *["right"] * (len(heads) - 2)], disable_numparse=True)


def find(records: list[Record], counts: list[int]) -> str:
    """The lowest latency, how it compares with PyTorch and NumPy, and how much of it is the call."""
    steps, found, way = single(records), lines(records, counts), best_way(records)
    dispatch = LIBRARIES[way[0]].removeprefix("rnnjax, ")

    def medians(way: tuple[str, str]) -> str:
        return ", ".join(f"{cell} {microseconds(record)[0]}" for cell, record in steps[way].items())

    best = steps[way]
    ratios = [
        f"{', '.join(str(record['ratio'][library]) for record in best.values())} times {LIBRARIES[library]}'s time"
        for library in ("torch", "numpy")
        if library in next(iter(best.values()))["ratio"]
    ]
    calls, own = zip(*((found[way[0], cell].call, found[way[0], cell].step) for cell in best), strict=True)
    return (
        f"One step takes {medians(way)} microseconds ({dispatch}, params constant, state donated): "
        f"{'; '.join(ratios)}.\n"
        f"Merely jitted and dispatched asynchronously, it takes {medians(PLAIN)} microseconds. "
        f"A call ({dispatch}) costs {min(calls):.1f} to {max(calls):.1f} microseconds, whatever it computes, "
        f"and each step within it {min(own):.1f} to {max(own):.1f} microseconds."
    )


def draw(records: list[Record], counts: list[int], title: str) -> Figure:
    """Left are all ways of calling, from median to 99th percentile; right are k steps in one call against k."""
    figure = Figure((13, 6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    markers = dict(zip(("elman", "gru", "lstm"), (("o", "white"), ("s", "0.6"), ("^", "black")), strict=True))
    steps = single(records)
    for row, cells in enumerate(steps.values()):
        for shift, (cell, record) in enumerate(cells.items()):
            draw_latency(left, row + 0.25 * (shift - 1), record, markers[cell], cell if row == 0 else None)
    left.set_yticks(range(len(steps)), [f"{LIBRARIES[library]}: {way}" for library, way in steps])
    left.invert_yaxis()
    left.set_xscale("log")
    left.xaxis.set_major_formatter("{x:g}")
    left.legend(frameon=False, ncols=len(markers), loc="lower left", bbox_to_anchor=(0, 1))
    left.set_xlabel("microseconds of one step (mark: median; end of line: 99th percentile)")
    for (library, cell), line in lines(records, counts).items():
        marker, face = markers[cell]
        dashes = "-" if library == best_way(records)[0] else ":"
        style = {"marker": marker, "markerfacecolor": face, "linestyle": dashes}
        right.plot(
            line.counts,
            line.times,
            color="black",
            label=f"{cell}, {LIBRARIES[library].removeprefix('rnnjax, ')}",
            **style,
        )
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xticks(line.counts, map(str, line.counts))
    right.minorticks_off()
    right.yaxis.set_major_formatter("{x:g}")
    right.legend(frameon=False)
    right.set_xlabel("k, steps in one call of unroll")
    right.set_ylabel("microseconds of the call (median)")
    for axis in (left, right):
        axis.grid(color="0.9")
        axis.set_axisbelow(True)
    figure.suptitle(title, fontsize=9)
    return figure


def draw_latency(axis: Any, place: float, record: Record, marker: tuple[str, str], label: str | None) -> None:
    middle, high = 1e6 * record["median_seconds"], 1e6 * record["percentile_99_seconds"]
    axis.hlines(place, middle, high, color="0.5", linewidth=1)
    shape, face = marker
    axis.plot(middle, place, shape, color="black", markerfacecolor=face, markersize=5, label=label)
