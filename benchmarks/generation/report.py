"""What ``benchmarks.generation`` says about its records: a table, a finding and a figure."""

from typing import Any

from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.common.bars import speed_bar
from benchmarks.common.measure import skips
from benchmarks.generation.measure import CHECKED, LOOPS, OWN, Record
from benchmarks.generation.network import Size

TARGET = 5.0  # times the characters a second of the fastest loop in PyTorch, for one text at a time

TITLES = {OWN: "rnnjax.generate"} | {loop: f"PyTorch, {loop}" for loop in LOOPS}
STYLES: dict[str, dict[str, str]] = {
    OWN: {"color": "0.2"},
    "cell": {"color": "0.8"},
    "layer": {"color": "1"},
    "cell, 1 thread": {"color": "0.8", "hatch": "///"},
    "layer, 1 thread": {"color": "1", "hatch": "///"},
}


def write(records: list[Record]) -> str:
    """The table and what it takes to read it."""
    largest = max(record["logit_difference"] for record in records if "rounds" in record)
    checked = (
        f"Before anything was timed, all ways wrote the same {CHECKED} likeliest characters; "
        f"the logits after them differ by at most {largest:.0e} of the largest."
    )
    reasons = ((TITLES[record["way"]], record["skipped"]) for record in records if "skipped" in record)
    return f"{checked}\n\n{table(records)}\n\n{skips(reasons)}"


def table(records: list[Record]) -> str:
    """Microseconds a step, characters a second of all texts together, and seconds of the first text."""
    heads = ["cell", "texts", "written by", "a step", "characters / s", "/ fastest PyTorch's", "first call"]
    rows = [
        [
            record["size"].cell,
            record["size"].streams,
            TITLES[record["way"]],
            f"{1e6 * record['median_seconds'] / record['size'].length:.0f} us",
            f"{record['characters_per_second']:,.0f}",
            str(record.get("speed", "-")),
            f"{record['first_seconds']:.2f} s",
        ]
        for record in records
        if "rounds" in record
    ]
    return tabulate(rows, heads, colalign=("left", "right", "left", *["right"] * 4), disable_numparse=True)


def find(records: list[Record]) -> str:
    """How many times as many characters a second as the fastest loop, and whether that meets the target."""
    own = [record for record in records if record["way"] == OWN and "speed" in record]
    if not own:
        return "PyTorch was not measured."
    lines = []
    for streams in sorted({record["size"].streams for record in own}):
        cases = [record for record in own if record["size"].streams == streams]
        speeds = " and ".join(f"{record['speed']} ({record['size'].cell})" for record in cases)
        least = min(record["speed"].value for record in cases)
        verdict = f" (target {TARGET:g}: {'met' if least >= TARGET else 'missed'})" if streams == 1 else ""
        texts = "One text" if streams == 1 else f"{streams} texts"
        lines.append(f"{texts} at a time: {speeds} times the characters a second of the fastest PyTorch loop{verdict}.")
    return "\n".join(lines)


def draw(records: list[Record], finding: str, where: str) -> Figure:
    """Bars of characters a second, a panel for each case."""
    sizes: list[Size] = list(dict.fromkeys(record["size"] for record in records))
    figure = Figure((max(8.5, 2.8 * len(sizes)), 4.6), layout="constrained")
    axes = figure.subplots(1, len(sizes), squeeze=False)[0]
    for axis, size in zip(axes, sizes, strict=True):
        measured = [record for record in records if record["size"] == size and "rounds" in record]
        for place, record in enumerate(measured):
            _bar(axis, place, record)
        axis.set_xticks([])
        axis.set_xlabel(f"{size.cell}, {size.streams} text{'s' * (size.streams > 1)} at a time")
    axes[0].set_ylabel("thousand characters a second")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    size = sizes[0]
    shape = f"H = {size.hidden}, E = {size.embedding}, V = {size.vocabulary}, texts of {size.length} characters"
    figure.suptitle(f"{finding}\n{shape}. Lines join the quartiles over rounds. Measured on {where}.", fontsize=9)
    return figure


def _bar(axis: Any, place: int, record: Record) -> None:
    """The bar of one way of writing."""
    looks = {"label": TITLES[record["way"]], **STYLES[record["way"]]}
    speed_bar(
        axis,
        place,
        record["size"].length * record["size"].streams,
        record["rounds"],
        record["characters_per_second"],
        **looks,
    )
