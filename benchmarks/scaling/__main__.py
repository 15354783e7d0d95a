"""How does the cost of a gradient grow with the time steps T, the batch B and the width H?

    python -m benchmarks.scaling
    python -m benchmarks.scaling --quick
    python -m benchmarks.scaling --cell=gru --base=200,16,64 --output=runs/benchmarks/scaling_gru

From a base, one of the three grows at a time; the exponent is the slope of time against it on doubly logarithmic axes.
At the small end time grows more slowly, since each step of the loop starts its operations however little they compute
(what that costs is measured with B = H = 2), and passes over the weights and their gradient however small the batch.
So the exponent is fitted to the upper half of each range, which is the stricter, and to all of it. Time is the least of
several calls, which take turns: other programs can only add to it. Where a program needs much memory (more than 32 MiB
with glibc), each call gets it from the system anew, page by page: there time jumps once, and the table shows how much
that is. Compiling must not take longer for more steps, in processor time, which other programs hardly change; for more
layers, see benchmarks/compile_time/.
"""

import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags
from matplotlib.figure import Figure
from tabulate import tabulate
from tqdm import tqdm

import rnnjax
from benchmarks.common import command
from benchmarks.common.measure import Call, Ratio, describe_machine, ratio, sample


class Axis(NamedTuple):
    flag: str
    name: str
    target: int  # the exponent, at most


AXES = {"T": Axis("steps", "time steps", 1), "B": Axis("batch", "batch", 1), "H": Axis("hidden", "hidden width", 2)}
EMPTY = 2  # B and H of steps with next to nothing to compute; for 1, XLA makes the whole step one operation
TOLERANCE = 0.1  # how far above its target an exponent may be, and above 1 the growth of the time to compile
QUICK = {
    "steps": ["4", "8", "16"],
    "batch": ["1", "2", "4"],
    "hidden": ["4", "8", "16"],
    "base": ["8", "2", "8"],
    "repeats": 3,
    "rounds": 1,
}

flags.DEFINE_string("cell", "lstm", "A cell by rnnjax's name.")
flags.DEFINE_list("steps", [str(50 * 2**power) for power in range(8)], "T.")
flags.DEFINE_list("batch", [str(2**power) for power in range(10)], "B.")
flags.DEFINE_list("hidden", [str(2**power) for power in range(3, 10)], "H, and the width of the inputs.")
flags.DEFINE_list("base", ["100", "16", "64"], "T, B and H where another one of them grows.")
flags.DEFINE_integer("repeats", 9, "Calls at each size.", lower_bound=1)
flags.DEFINE_integer("rounds", 3, "Times that the gradient is compiled for each T.", lower_bound=1)
command.define_flags("scaling", QUICK)
FLAGS = flags.FLAGS


class Size(NamedTuple):
    T: int
    B: int
    H: int

    def __str__(self) -> str:
        return ", ".join(f"{name} = {number}" for name, number in self._asdict().items())


class Fit(NamedTuple):
    """seconds = factor * value^exponent, from this value on."""

    start: int
    exponent: float
    factor: float


class Growth(NamedTuple):
    """Seconds of all calls at each value of one of T, B and H; power laws fitted to the least of them.

    ``fresh_bytes`` is the memory that the system gave anew to one call.
    """

    axis: str
    values: list[int]
    samples: list[list[float]]
    seconds: list[float]
    fresh_bytes: list[int]
    upper: Fit
    whole: Fit


class Compiling(NamedTuple):
    """Processor seconds to trace, lower and compile for each T, in every round; ``growth`` from least to last T."""

    steps: list[int]
    rounds: list[list[float]]
    growth: Ratio


def main(argv: list[str]) -> None:
    command.apply_quick("scaling", QUICK)
    with command.refusals("scaling"):
        rnnjax.cell_named(FLAGS.cell)
        base = Size(*whole_numbers("base"))
        ranges = {axis: sorted(whole_numbers(AXES[axis].flag)) for axis in AXES}
        output = command.output_folder(argv)

    machine = describe_machine(["rnnjax", "jax", "jaxlib", "numpy"])
    machine["device"] = jax.devices()[0].device_kind
    jax.config.update("jax_enable_compilation_cache", False)
    compiling = compile_times([base._replace(T=steps) for steps in ranges["T"]])
    growths = [grow(axis, values, base) for axis, values in tqdm(ranges.items(), unit="axis", disable=None)]
    empty = min(sample({"": build(base._replace(B=EMPTY, H=EMPTY))}, FLAGS.repeats)[""]) / base.T
    report(output, machine, base, growths, compiling, empty)


def whole_numbers(flag: str) -> list[int]:
    """A flag's values: T, B and H, or three and more to fit a line to."""
    texts = FLAGS[flag].value
    enough = len(texts) == 3 if flag == "base" else len(set(texts)) == len(texts) >= 3
    if not enough or not all(text.isdecimal() and int(text) for text in texts):
        expected = "T, B and H" if flag == "base" else "three or more different whole numbers above 0"
        raise ValueError(f"--{flag} is {','.join(texts)}: expected {expected}, as in --{flag}=8,16,64")
    return [int(text) for text in texts]


# Measuring


def gradient_of(cell: rnnjax.Cell) -> Any:
    """Of the sum of squares of all outputs, with respect to the params; new, and so yet to be compiled."""
    return jax.jit(jax.grad(lambda params, inputs: jnp.sum(rnnjax.unroll(cell, params, inputs)[1] ** 2)))


def build(size: Size) -> Call:
    cell = rnnjax.cell_named(FLAGS.cell)(size.H)
    gradient, params = gradient_of(cell), cell.init(jax.random.key(0), size.H)
    inputs = jax.random.normal(jax.random.key(1), size)
    return lambda: jax.block_until_ready(gradient(params, inputs))


def compile_times(sizes: Sequence[Size]) -> Compiling:
    """Every size in turn, so that noise meets them alike, and a round before, to wake the compiler."""
    rounds = [[compile_seconds(size) for size in sizes] for _ in range(FLAGS.rounds + 1)][1:]
    first, last = ([[seconds[place]] for seconds in rounds] for place in (0, -1))
    return Compiling([size.T for size in sizes], rounds, ratio(last, first))


def compile_seconds(size: Size) -> float:
    cell = rnnjax.cell_named(FLAGS.cell)(size.H)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), size.H))
    inputs = jax.ShapeDtypeStruct(size, jnp.float32)
    jax.clear_caches()
    start = time.process_time()
    gradient_of(cell).lower(params, inputs).compile()
    return time.process_time() - start


def grow(axis: str, values: list[int], base: Size) -> Growth:
    """Time against one of T, B and H."""
    calls = {str(value): build(base._replace(**{axis: value})) for value in values}
    samples = list(sample(calls, FLAGS.repeats).values())
    seconds = [min(each) for each in samples]
    fresh = [fresh_bytes(call) for call in calls.values()]
    half = min(len(values) // 2, len(values) - 2)
    return Growth(axis, values, samples, seconds, fresh, fit(values[half:], seconds[half:]), fit(values, seconds))


def fresh_bytes(call: Call) -> int:
    """How much memory the system gives to a second call, by its page faults."""
    call()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    call()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize()


def fit(values: Sequence[int], seconds: Sequence[float]) -> Fit:
    """A line through the logarithms."""
    exponent, factor = np.polyfit(np.log(values), np.log(seconds), 1).tolist()
    return Fit(values[0], exponent, float(np.exp(factor)))


# Reporting


def report(
    output: Path, machine: dict[str, Any], base: Size, growths: list[Growth], compiling: Compiling, empty: float
) -> None:
    """Prints the table; writes it, results.json and the figure. ``empty`` is the seconds of a step with B = H = 2."""
    finding = find(growths, compiling, empty)
    settings = {"cell": FLAGS.cell, "base": base._asdict(), "repeats": FLAGS.repeats, "rounds": FLAGS.rounds}
    results = {
        "finding": finding,
        "machine": machine,
        "settings": settings,
        "records": [g._asdict() | {"upper": g.upper._asdict(), "whole": g.whole._asdict()} for g in growths],
        "compile": compiling._asdict(),
        "empty_step_seconds": empty,
    }
    heads = ["grows", "to", "ms", "us a step", "times per doubling", "fresh MB"]
    rows = [row for growth in growths for row in rows_of(growth, base)]
    table = tabulate(rows, heads, colalign=("left", *["right"] * 5), disable_numparse=True)
    text = f"Gradient of {FLAGS.cell}; what does not grow is {base}.\n\n{table}\n\n{finding}\n"
    command.save(output, "scaling", results, text, draw(growths, compiling, base, empty, finding))


def rows_of(growth: Growth, base: Size) -> list[list[str]]:
    """A row for each value, with the growth since the one before as that of a doubling."""
    rows: list[list[str]] = []
    points = zip(growth.values, growth.seconds, growth.fresh_bytes, strict=True)
    for index, (value, seconds, fresh) in enumerate(points):
        steps = value if growth.axis == "T" else base.T
        pair = slice(max(0, index - 1), index + 1)
        doubling = f"{2 ** fit(growth.values[pair], growth.seconds[pair]).exponent:.2f}" if index else ""
        times = f"{1e3 * seconds:.2f}", f"{1e6 * seconds / steps:.1f}", doubling
        rows.append([growth.axis, str(value), *times, f"{fresh / 1e6:.1f}"])
    return rows


def find(growths: list[Growth], compiling: Compiling, empty: float) -> str:
    """The exponents, what a step costs at least, the growth of the time to compile, and the verdicts on the targets."""
    lines = [f"The gradient of {FLAGS.cell} takes {1e6 * empty:.1f} us a step with B = H = {EMPTY}, and grows as:"]
    for axis, values, *_, upper, whole in growths:
        target = AXES[axis].target
        lines.append(
            f"{axis}^{upper.exponent:.2f} from {axis} = {upper.start} to {values[-1]} ({axis}^{whole.exponent:.2f} "
            f"from {whole.start}); target at most {target}: {verdict(upper.exponent - target)}."
        )
    more, least, greatest = compiling.growth, compiling.steps[0], compiling.steps[-1]
    lines.append(
        f"Compiling for T = {greatest} takes {more} times the processor time of T = {least}; "
        f"target 1: {verdict(more.value - 1)}."
    )
    return "\n".join(lines)


def verdict(excess: float) -> str:
    return "met" if round(excess, 2) <= TOLERANCE else "missed"


def draw(growths: list[Growth], compiling: Compiling, base: Size, empty: float, finding: str) -> Figure:
    """Time against T, B and H on log axes, and seconds to compile against T."""
    mpl.use("Agg")
    figure, axes = plt.subplots(2, 2, figsize=(10, 9), layout="constrained")
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


if __name__ == "__main__":
    app.run(main)
