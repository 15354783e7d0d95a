"""What ``benchmarks.min_char`` says about its records: a table, a finding and a figure."""

import statistics

from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.min_char.measure import WAYS, Record

TARGET = 10.0  # times the iterations a second of NumPy


def table(records: list[Record]) -> str:
    """Milliseconds an iteration and iterations a second, a row for each way."""
    heads = ["way", "ms an iteration", "iterations a second", "times NumPy's"]
    rows = [
        [WAYS[r["way"]], f"{1e3 * middle:.3f}", f"{1 / middle:,.0f}", str(r["ratio"])]
        for r in records
        for middle in [statistics.median(r["seconds"])]
    ]
    return tabulate(rows, heads, colalign=("left", "right", "right", "right"), disable_numparse=True)


def find(records: list[Record]) -> str:
    """How many times as many iterations a second, and whether that meets the target."""
    ours = next(record["ratio"] for record in records if record["way"] == "rnnjax")
    met = "met" if ours.value >= TARGET else "missed"
    return f"The minimal character model does {ours} times the iterations a second of NumPy (target {TARGET:g}: {met})."


def draw(records: list[Record], title: str) -> Figure:
    """Iterations a second, a bar for each way, a mark for each sample."""
    figure = Figure((7, 2.6), layout="tight")
    axis = figure.subplots()
    for place, record in enumerate(records):
        speeds = [1 / seconds for seconds in record["seconds"]]
        axis.barh(place, statistics.median(speeds), color="0.75")
        axis.plot(speeds, [place] * len(speeds), "k|", markersize=12)
    axis.set_yticks(range(len(records)), [WAYS[record["way"]] for record in records])
    axis.invert_yaxis()
    axis.set_xlabel("iterations a second (bar: median; marks: samples)")
    axis.set_title(title, fontsize=9)
    return figure
