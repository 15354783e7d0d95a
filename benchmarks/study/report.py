"""What ``benchmarks.study`` says about its records: a table, findings and a figure."""

import statistics
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from tabulate import tabulate

from benchmarks.common.measure import ratio
from benchmarks.study.measure import CACHES, Record, devices_in_words, name_of_ours

PHASES = {"importing": "0.85", "tracing": "0.6", "compiling": "0.35", "running": "0.0"}
"""Most of what a command does, with shades of grey. To take a program from the cache is compiling, too."""
TARGETS = {"cold": 1 / 3, "warm": 1 / 10}
"""Of the time of PyTorch, by the cache's state."""
SPEEDUP = 1.7
"""What the greatest number of devices is to gain over the least."""


def table(records: list[Record]) -> str:
    """Seconds of every command, of the processor, and of every phase."""
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
    return f"{text}\nPhases are summed over threads, which overlap."


def median_of_phase(record: Record, phase: str) -> float:
    """Seconds, of all threads together."""
    return statistics.median(phases.get(phase, 0.0) for phases in record["phases"])


def find(records: list[Record], devices: int) -> list[str]:
    """Whether the targets are met, a line for each way with PyTorch."""
    ours = {cache: record for record in records for cache in CACHES if record["name"] == name_of_ours(cache, devices)}
    lines = []
    for record in records:
        if record["name"].startswith("PyTorch"):
            shares = {cache: ratio(one_each(ours[cache]), one_each(record)) for cache in CACHES}
            parts = [
                f"{cache} {shares[cache]} (target 1/{1 / target:.0f}: {met(shares[cache].value <= target)})"
                for cache, target in TARGETS.items()
            ]
            lines.append(f"of {record['name']}: {', '.join(parts)}")
    head = [f"What rnnjax takes on {devices_in_words(devices)}, with a cold and with a warm cache,"] if lines else []
    return head + lines


def met(fulfilled: bool) -> str:
    """For a target."""
    return "met" if fulfilled else "not met"


def find_devices(again: dict[int, list[float]]) -> list[str]:
    """What the greatest number of devices gains over the least, when the programs run."""
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
    """Above, seconds of every command; below, what the threads did in those of rnnjax."""
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
    axis.set_xlabel("seconds from process start, in the last round; a line for each thread")
    handles = [Patch(color=shade, label=phase) for phase, shade in PHASES.items()]
    axis.legend(handles=handles, frameon=False, fontsize=8)
