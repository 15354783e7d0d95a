"""What ``benchmarks.compile_time`` says about its records: a table, a finding and a figure."""

import statistics

from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.common.measure import Ratio
from benchmarks.compile_time.measure import WAYS, Record

TARGET = 1.3  # at most this many times as long to compile as the least depth


def table(records: list[Record]) -> str:
    """Seconds to compile and milliseconds to run, with their ratios, in a row for each way and depth."""
    first = records[0]["depth"]
    ratios = [f"/ stack of {first}", "processor time", f"/ same way, {first}"]
    heads = ["way", "depth", "compile", *ratios, "run", "/ stack"]
    rows = [
        [
            WAYS[record["way"]],
            record["depth"],
            f"{statistics.median(record['compile']):.2f} s",
            str(record["compile_ratio"]),
            str(record["processor_ratio"]),
            str(record["compile_growth"]),
            f"{1e3 * statistics.median(record['run']):.1f} ms",
            str(record["run_ratio"]),
        ]
        for record in sorted(records, key=lambda record: list(WAYS).index(record["way"]))
    ]
    return tabulate(rows, heads, colalign=("left", *["right"] * 7), disable_numparse=True)


def find(records: list[Record]) -> str:
    """How long the deepest networks take to compile and to run, and whether the target is met."""
    first, depth = records[0]["depth"], records[-1]["depth"]
    stack, mixed, repeat = (next(r for r in records if (r["way"], r["depth"]) == (way, depth)) for way in WAYS)
    times, growth = repeat["compile_ratio"], repeat["compile_growth"]
    return (
        f"A repeat of {depth} layers takes {times} times as long to compile as a stack of {first} "
        f"(processor time: {repeat['processor_ratio']}; target {TARGET}: {verdict(times)}),\n"
        f"and {growth} times as long as a repeat of {first} (target {TARGET}: {verdict(growth)}).\n"
        f"With one layer outside of the repeat it takes {mixed['compile_ratio']} times as long as a stack of {first}, "
        f"and a stack of {depth} takes {stack['compile_ratio']} times.\n"
        f"Running the gradient takes {repeat['run_ratio']} times as long with repeat as with stack."
    )


def verdict(times: Ratio) -> str:
    return "met" if times.value <= TARGET else "missed"


def draw(records: list[Record], title: str) -> Figure:
    """Seconds to compile against depth."""
    figure = Figure((7, 4.5), layout="tight")
    axis = figure.subplots()
    for (way, label), style in zip(WAYS.items(), ("o-", "s--", "^:"), strict=True):
        ours = [record for record in records if record["way"] == way]
        depths = [record["depth"] for record in ours]
        middle, low, high = ([f(record["compile"]) for record in ours] for f in (statistics.median, min, max))
        axis.plot(depths, middle, style, color="black", label=label)
        axis.vlines(depths, low, high, color="grey", linewidth=3, alpha=0.6)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted({record["depth"] for record in records}))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("n, layers")
    axis.set_ylabel("seconds to trace and compile the gradient")
    axis.legend(frameon=False, loc="upper left")
    axis.set_title(f"{title} Bars reach from the least to the greatest time.", fontsize=9)
    return figure
