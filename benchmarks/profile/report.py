"""What ``benchmarks.profile`` says about its records: a table, a finding and a figure."""

import statistics

from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.common.measure import skips
from benchmarks.profile.measure import PARTS, Record

SHADES = dict(zip(PARTS, ("0.15", "0.45", "0.6", "0.78", "0.95"), strict=True))

NOTES = (
    "profiled: how many times as long a call takes under the profiler; the parts are shares of that longer time.\n"
    "fresh MB: memory that a call got anew from the system and touched for the first time."
)


def write(records: list[Record]) -> str:
    """The table and what it takes to read it."""
    missing = skips((name_of(record), record["skipped"]) for record in records if "skipped" in record)
    return f"{table(records)}\n\n{NOTES}\n{missing}"


def name_of(record: Record) -> str:
    return f"{record['cell']}  {'x'.join(map(str, record['shape']))}"


def table(records: list[Record]) -> str:
    heads = ["cell", "TxBxIxH", "a call", "profiled", *PARTS, "fresh MB"]
    rows = [
        [
            record["cell"],
            "x".join(map(str, record["shape"])),
            f"{1e3 * statistics.median(record['seconds']):.2f} ms",
            f"{statistics.median(record['profiled']) / statistics.median(record['seconds']):.2f}",
            *(f"{share(record, part):.0%}" if "parts" in record else "-" for part in PARTS),
            f"{record['fresh_megabytes']:.1f}" if "fresh_megabytes" in record else "-",
        ]
        for record in records
    ]
    return tabulate(rows, heads, colalign=("left", "left", *["right"] * (len(heads) - 2)), disable_numparse=True)


def share(record: Record, part: str) -> float:
    return float(record["parts"][part] / statistics.median(record["profiled"]))


def find(records: list[Record]) -> str:
    """What takes the most time, on average over all cells and shapes."""
    divided = [record for record in records if "parts" in record]
    if not divided:
        return "What the profiler tells does not divide a gradient's time here."
    means = {part: statistics.mean(share(record, part) for record in divided) for part in PARTS}
    in_loops = sum(mean for part, mean in means.items() if "," in part)
    products = sum(mean for part, mean in means.items() if part.endswith("products"))
    return (
        f"On average the loops take {in_loops:.0%} of a gradient's time, their products {products:.0%}.\n"
        f"{means['outside the loops']:.0%} is outside: what is done for all steps at once, and the program's memory."
    )


def draw(records: list[Record], finding: str) -> Figure:
    """One bar for each case, divided into its parts."""
    divided = [record for record in records if "parts" in record]
    figure = Figure((8, 1.8 + 0.3 * len(records)), layout="constrained")
    axis = figure.subplots()
    names, left = list(map(name_of, divided)), [0.0] * len(divided)
    for part, shade in SHADES.items():
        shares = [100 * share(record, part) for record in divided]
        axis.barh(names, shares, left=left, color=shade, edgecolor="black", linewidth=0.5, label=part)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axis.invert_yaxis()
    axis.set_xlabel("per cent of a gradient's time, under the profiler")
    axis.set_xlim(0, 100)
    figure.legend(*axis.get_legend_handles_labels(), ncols=3, frameon=False, loc="outside lower center", fontsize=8)
    axis.set_title(finding, fontsize=9)
    return figure
