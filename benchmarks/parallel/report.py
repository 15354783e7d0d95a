"""What ``benchmarks.parallel`` says about its records: a table, a finding and a figure."""

from typing import Any

from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.common.measure import Ratio
from benchmarks.parallel.measure import AFFINE, DIAGONAL, FULL, PROGRAMS, Record


def find(records: list[Record]) -> str:
    """How often computing all steps at once is faster, and by how much in the best case."""
    lines = []
    for kind, methods in (("Affine cells", [AFFINE]), ("Newton's method", [FULL, DIAGONAL])):
        measured = [record for record in records if record["method"] in methods and "ratio" in record]
        ratios = [(r["ratio"][program].value, describe(r, program)) for r in measured for program in PROGRAMS]
        if ratios:
            faster, (best, case) = sum(value < 1 for value, _ in ratios), min(ratios)
            score = f"computing all steps at once is faster than the scan in {faster} of {len(ratios)} cases"
            lines.append(f"{kind}: {score}, and takes {best:.2g} times as long in the best ({case}).")
    return "\n".join(lines)


def describe(record: Record, program: str) -> str:
    return f"{name_of(record)}, T {record['steps']}, BxH {record['size']}, {program}"


def table(records: list[Record]) -> str:
    """A row for each cell, method and size; ratios by length, forward / forward + backward."""
    lengths = sorted({record["steps"] for record in records})
    lines: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        lines.setdefault((name_of(record), str(record["size"])), []).append(record)
    heads = ["cell", "BxH", *(f"T = {length}" for length in lengths), "faster from T ="]
    body = []
    for key, line in lines.items():
        crossovers = " / ".join(crossover(line, program) for program in PROGRAMS)
        body.append([*key, *("too large" if "skipped" in r else cell_of_table(r) for r in line), crossovers])
    guide = "Forward / forward + backward; the brackets have Newton's iterations, with ! if they did not converge."
    alignment = ("left", "left", *("right" for _ in heads[2:]))
    return f"{guide}\n\n" + tabulate(body, heads, colalign=alignment, disable_numparse=True)


def crossover(line: list[Record], program: str) -> str:
    """The least length from which on all that were measured are faster than the scan."""
    found = "-"
    for record in reversed(line):
        if "skipped" not in record:
            if record["ratio"][program].value >= 1:
                break
            found = str(record["steps"])
    return found


def cell_of_table(record: Record) -> str:
    text = " / ".join(str(record["ratio"][program]) for program in PROGRAMS)
    if "iterations" not in record:
        return text
    return f"{text} ({record['iterations']}{'' if record['converged'] else '!'})"


def name_of(record: Record) -> str:
    return record["cell"] if record["method"] == AFFINE else f"{record['cell']}, {record['method']}"


def draw(records: list[Record], title: str) -> Figure:
    """The ratio against T on log axes, a panel for each size and program, a line for each cell and method."""
    sizes = list(dict.fromkeys(record["size"] for record in records))
    names = list(dict.fromkeys(map(name_of, records)))
    figure = Figure((10, 1.5 + 3.2 * len(sizes)), layout="constrained")
    axes = figure.subplots(len(sizes), len(PROGRAMS), sharex=True, sharey=True, squeeze=False)
    for row, size in zip(axes, sizes, strict=True):
        for axis, program in zip(row, PROGRAMS, strict=True):
            for index, name in enumerate(names):
                its = [r for r in records if name_of(r) == name and r["size"] == size and "ratio" in r]
                draw_line(axis, [(r["steps"], r["ratio"][program]) for r in its], name, index, len(names))
            axis.axhline(1, color="black", linewidth=1)
            axis.set(xscale="log", yscale="log", title=f"{program}, batch {size.batch}, width {size.hidden}")
            axis.xaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_major_formatter("{x:g}")
            axis.set_xticks(sorted({record["steps"] for record in records}))
            axis.minorticks_off()
        row[0].set_ylabel("time / scan's time\n(below 1: faster)")
    for axis in axes[-1]:
        axis.set_xlabel("T, time steps")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def draw_line(axis: Any, points: list[tuple[int, Ratio]], label: str, index: int, count: int) -> None:
    """One line with whiskers for the quartiles, told apart by marker, dashes and shade alike."""
    shade = str(0.65 * index / max(1, count - 1))
    style = {"marker": "osD^vP*X"[index % 8], "linestyle": ("-", "--", ":", "-.")[index % 4], "color": shade}
    lengths, values = [length for length, _ in points], [ratio.value for _, ratio in points]
    axis.plot(lengths, values, label=label, markersize=6, linewidth=1.4, **style)
    axis.vlines(lengths, [r.low for _, r in points], [r.high for _, r in points], color=shade, linewidth=1)
