"""What ``benchmarks.scaling`` says about its measurements: a table, a finding and a figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.scaling.measure import AXES, EMPTY, Compiling, Growth, Size, fit

TOLERANCE = 0.1  # how far an exponent may be above its target, and the growth of the time to compile above 1


def table(growths: list[Growth], base: Size) -> str:
    heads = ["grows", "to", "ms", "us a step", "times per doubling", "fresh MB"]
    rows = [row for growth in growths for row in rows_of(growth, base)]
    return tabulate(rows, heads, colalign=("left", *["right"] * 5), disable_numparse=True)


def rows_of(growth: Growth, base: Size) -> list[list[str]]:
    """A row for each value, with the growth since the one before, converted to that of a doubling."""
    rows: list[list[str]] = []
    fresh: Sequence[int | None] = growth.fresh_bytes or [None] * len(growth.values)
    points = zip(growth.values, growth.seconds, fresh, strict=True)
    for index, (value, seconds, of_call) in enumerate(points):
        steps = value if growth.axis == "T" else base.T
        pair = slice(max(0, index - 1), index + 1)
        doubling = f"{2 ** fit(growth.values[pair], growth.seconds[pair]).exponent:.2f}" if index else ""
        times = f"{1e3 * seconds:.2f}", f"{1e6 * seconds / steps:.1f}", doubling
        rows.append([growth.axis, str(value), *times, "-" if of_call is None else f"{of_call / 1e6:.1f}"])
    return rows


def find(cell: str, growths: list[Growth], compiling: Compiling, empty: float) -> str:
    """The exponents, what a step costs at least, the growth of the time to compile, and the verdicts on the targets."""
    lines = [f"The gradient of {cell} takes {1e6 * empty:.1f} us a step with B = H = {EMPTY}, and grows as:"]
    for axis, values, *_, upper, whole in growths:
        target = AXES[axis].target
        lines.append(
            f"{axis}^{upper.exponent:.2f} from {axis} = {upper.start} to {values[-1]} ({axis}^{whole.exponent:.2f} "
            f"from {whole.start}); target at most {target}: {verdict(upper.exponent - target)}."
        )
    more, least, greatest = compiling.growth, compiling.steps[0], compiling.steps[-1]
    lines.append(
        f"Compiling for T = {greatest} takes {more} times the processor time that it takes for T = {least}; "
        f"target 1: {verdict(more.value - 1)}."
    )
    return "\n".join(lines)


def verdict(excess: float) -> str:
    return "met" if round(excess, 2) <= TOLERANCE else "missed"


def draw(growths: list[Growth], compiling: Compiling, base: Size, empty: float, finding: str) -> Figure:
    """Time against T, B and H on log axes, and seconds to compile against T."""
    figure = Figure((10, 9), layout="constrained")
    axes = figure.subplots(2, 2)
    for axis, growth in zip(axes.flat, growths, strict=False):
        draw_growth(axis, growth, base, empty)
    draw_compiling(axes[1][1], compiling, base)
    for axis, values in zip(axes.flat, [*(growth.values for growth in growths), compiling.steps], strict=True):
        axis.minorticks_off()
        axis.set_xticks(values, [str(value) for value in values])
        axis.legend(frameon=False, fontsize=9, loc="upper left")
    figure.suptitle(finding, fontsize=10)
    return figure


def draw_growth(axis: Any, growth: Growth, base: Size, empty: float) -> None:
    """What was measured, the law that fits its upper half, the target's through the last point, and the least cost."""
    name, values, seconds, upper = growth.axis, np.array(growth.values), np.array(growth.seconds), growth.upper
    above, target = values[values >= upper.start], AXES[name].target
    fitted, aim = upper.factor * above**upper.exponent, seconds[-1] * (values / values[-1]) ** target
    floor = empty * (values if name == "T" else np.full(len(values), base.T))
    axis.plot(values, 1e3 * seconds, "o", color="black", label="measured")
    axis.plot(above, 1e3 * fitted, "-", color="black", label=f"fitted: {name}^{upper.exponent:.2f}")
    axis.plot(values, 1e3 * aim, "--", color="grey", label=f"as {name}^{target}, the target")
    axis.plot(values, 1e3 * floor, ":", color="grey", label=f"B = H = {EMPTY}: steps with little to do")
    fixed = ", ".join(f"{key} = {number}" for key, number in base._asdict().items() if key != name)
    space = 20  # above the points, for the legend
    axis.set(xscale="log", yscale="log", ylim=(None, 1e3 * space * max(seconds)), ylabel="time of the gradient (ms)")
    axis.set_xlabel(f"{name}, {AXES[name].name} ({fixed})")
    axis.yaxis.set_major_formatter("{x:g}")


def draw_compiling(axis: Any, compiling: Compiling, base: Size) -> None:
    seconds = np.array(compiling.rounds)
    axis.plot(compiling.steps, np.median(seconds, axis=0), "o-", color="black", label="median")
    axis.vlines(compiling.steps, seconds.min(0), seconds.max(0), color="grey", linewidth=3, label="least to most seen")
    axis.set(xscale="log", ylim=(0, 1.3 * seconds.max()), ylabel="processor time to compile the gradient (s)")
    axis.set_xlabel(f"T, {AXES['T'].name} (B = {base.B}, H = {base.H})")
