"""What ``benchmarks.unroll`` says about its records: a finding, verdicts on the targets, tables and a figure."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.common.machine import place
from benchmarks.common.measure import DOUBT, Ratio, ratio, skips
from benchmarks.common.workload import FORWARD, GRADIENT
from benchmarks.unroll.measure import Record
from benchmarks.unroll.peers import JAX_PEERS
from benchmarks.unroll.peers.layer import FLOW

Case = dict[str, Record]
"""The records of one cell and shape by library."""

Column = tuple[str, Callable[[Case], Ratio | None]]
"""A column of ratios: its head and what stands in the row of a case."""

DEVICES = {"rnnjax": "one device", "rnnjax_2_devices": "two devices"}
TITLES = {
    "rnnjax_2_devices": "2 devices",
    "scan": "plain scan",
    "flax": "flax linen",
    "nnx": "flax nnx",
    "cudnn": "cuDNN",
    "torch": "PyTorch",
    "torch_loop": "PyTorch loop",
    "matmul": "matrix products",
}
MARKERS = {
    "rnnjax_2_devices": ("v", "black"),
    "scan": ("o", "white"),
    "flax": ("s", "white"),
    "nnx": ("D", "0.8"),
    "haiku": ("^", "0.8"),
    "equinox": ("p", "0.5"),
    "keras": ("X", "0.5"),
    "cudnn": ("h", "black"),
    "torch": ("*", "black"),
    "torch_loop": ("P", "black"),
    "matmul": ("<", "white"),
    "rnnjax": ("o", "black"),
}


class Speedup(NamedTuple):
    """A target: how many times as long the fastest rival is to take, at each shape and on average for each cell."""

    cells: tuple[str, ...]
    rivals: tuple[str, ...]
    name: str
    everywhere: float
    mean: float


SPEEDUPS = (
    Speedup(("lstm", "gru", "gru_reset_after"), JAX_PEERS, "the fastest JAX peer", 1.5, 2),
    Speedup(("elman",), JAX_PEERS, "the fastest JAX peer", 1.2, 1.5),
    Speedup(("lstm",), ("torch",), "PyTorch", 1, 1.3),
    Speedup(("gru_reset_after", "elman"), ("torch",), "PyTorch", 4, 4),
)
PRODUCTS = {"50x50x512x512": 1.6}  # rnnjax is to take at most this many times as long as the matrix products
FLOW_OVERHEAD = 1.1  # gradient_flow is to take at most this many times as long as the gradient
LOOPS = {"200x16x64x64": 8, "100x32x128x128": 2}  # PyTorch's loop is to take at least this many times as long


def find(records: Iterable[Record]) -> str:
    """The finding: the times of others as multiples of rnnjax's, and the cost of ``gradient_flow``."""
    cases = _by_case(records)
    parts = []
    for rivals, name in ((JAX_PEERS, "the fastest other JAX program"), (("torch",), "PyTorch")):
        means = _means({cell: _fastest(its, rivals, "rnnjax") for cell, its in _by_cell(cases).items()})
        if means:
            parts.append(f"{name} takes {_listed(means)}")
    overheads = [case["rnnjax"]["flow_overhead"].value for case in cases]
    flow = f"gradient_flow takes {min(overheads):.2f} to {max(overheads):.2f} times as long as the gradient."
    if not parts:
        return flow
    heading = "Time of forward + backward on one device, as a multiple of rnnjax's, geometric means over shapes:"
    return "\n".join((heading, ";\n".join(parts) + ".", flow))


def check_targets(records: Iterable[Record]) -> list[dict[str, str]]:
    """Each target with what was measured, and whether that meets it, on one device and on two."""
    cases = _by_case(records)
    rows = [
        {"target": _wording(target)} | {name: _check_speedup(cases, target, own) for own, name in DEVICES.items()}
        for target in SPEEDUPS
    ]
    for shape, bound in PRODUCTS.items():
        at_shape = [case for case in cases if _shape(case) == shape]
        row = {"target": f"at {shape}: at most {bound:g} times as long as the matrix products"}
        for own, devices in DEVICES.items():
            row[devices] = _check_most(_labelled(at_shape, partial(_times, own, "matmul", GRADIENT)), bound)
        rows.append(row)
    overheads = _check_most(_labelled(cases, _overhead), FLOW_OVERHEAD)
    rows.append(
        {"target": f"gradient_flow: at most {FLOW_OVERHEAD:g} times as long as the gradient", "one device": overheads}
    )
    for shape, bound in LOOPS.items():
        loops = _labelled([case for case in cases if _shape(case) == shape], _loop)
        target = f"gradient_flow: at least {bound:g} times as fast as PyTorch's loop at {shape}"
        rows.append({"target": target, "one device": _check_least(loops, bound)})
    return rows


def write(results: Record) -> str:
    """The tables and what it takes to read them."""
    cases = _by_case(results["records"])
    libraries = [name for name in cases[0] if name not in ("rnnjax", "matmul", "torch_loop")]
    tables = {
        f"{program[0].upper()}{program[1:]}: the others' times as multiples of rnnjax's on one device": _table(
            cases, program, [(title(library), partial(_times, library, "rnnjax", program)) for library in libraries]
        )
        for program in (GRADIENT, FORWARD)
    }
    columns: list[Column] = [
        (f"{DEVICES[own]} / products", partial(_times, own, "matmul", GRADIENT)) for own in DEVICES
    ]
    columns += [("gradient_flow / gradient", _overhead), ("PyTorch loop / gradient_flow", _loop)]
    tables["Forward + backward beside the matrix products alone; gradient_flow"] = _table(cases, GRADIENT, columns)
    tables["Seconds to compile forward + backward, and gradient_flow; medians over shapes"] = _compile_table(cases)
    means = (
        "Means are geometric, over the shapes that were measured. Each target shows the worst case,\n"
        "the mean of the worst cell, and how many cases were measured."
    )
    body = "\n\n".join(f"{heading}\n\n{table}" for heading, table in tables.items())
    targets = tabulate(results["targets"], headers="keys", disable_numparse=True) or "The targets are for a CPU."
    return f"{DOUBT}\n{means}\n\n{body}\n\n{targets}\n\n{_skips(cases)}\n{results['finding']}\n"


def draw(results: Record) -> Figure:
    """Time relative to rnnjax on a log axis: a row for each program, a column for each cell, shapes side by side."""
    by_cell = _by_cell(_by_case(results["records"]))
    libraries = list(next(iter(by_cell.values()))[0])[1:]
    size = (max(10.0, 3.8 * len(by_cell)), 11)
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(3, len(by_cell), sharex="col", sharey="row", squeeze=False)
    for column, (cell, cases) in zip(axes.T, by_cell.items(), strict=True):
        for axis, program in zip(column, (FORWARD, GRADIENT), strict=False):
            for index, library in enumerate(libraries):
                ratios = [_times(library, "rnnjax", program, case) for case in cases]
                _points(axis, ratios, library, index / max(1, len(libraries) - 1))
        _points(column[2], [_overhead(case) for case in cases], "rnnjax", 0.3)
        _points(column[2], [_loop_overhead(case) for case in cases], "torch_loop", 0.7)
        column[2].axhline(FLOW_OVERHEAD, color="black", linewidth=1, linestyle="--")
        column[0].set_title(cell)
        column[2].set_xticks(range(len(cases)), [_label(case) for case in cases], fontsize=8)
    for row, name in zip(axes, ("forward:\ntime / rnnjax's", f"{GRADIENT}:\ntime / rnnjax's"), strict=False):
        row[0].set_ylabel(name)
    axes[2][0].set_ylabel("norms of dL/dh$_t$:\ntime / the gradient's with rnnjax")
    for axis in axes.flat:
        _dress(axis)
    _caption(figure, axes, results)
    return figure


def title(library: str) -> str:
    """A library's name in tables and figures."""
    return TITLES.get(library, library)


# Numbers out of records


def _by_case(records: Iterable[Record]) -> list[Case]:
    cases: dict[tuple[str, str], Case] = {}
    for record in records:
        cases.setdefault((record["cell"], str(record["shape"])), {})[record["library"]] = record
    return list(cases.values())


def _by_cell(cases: Iterable[Case]) -> dict[str, list[Case]]:
    by_cell: dict[str, list[Case]] = {}
    for case in cases:
        by_cell.setdefault(case["rnnjax"]["cell"], []).append(case)
    return by_cell


def _shape(case: Case) -> str:
    return str(case["rnnjax"]["shape"])


def _times(library: str, reference: str, program: str, case: Case) -> Ratio | None:
    """How many times the reference's time a library takes; None where one of them has no such program."""
    rounds = [case.get(name, {}).get("rounds", {}).get(program) for name in (library, reference)]
    return ratio(rounds[0], rounds[1]) if all(rounds) else None


def _overhead(case: Case) -> Ratio | None:
    return case["rnnjax"]["flow_overhead"]


def _loop(case: Case) -> Ratio | None:
    return case.get("torch_loop", {}).get("ratio", {}).get(FLOW)


def _loop_overhead(case: Case) -> Ratio | None:
    return case.get("torch_loop", {}).get("flow_overhead")


def _fastest(cases: Iterable[Case], rivals: Sequence[str], own: str) -> dict[str, Ratio]:
    """The time of the fastest rival for the gradient as a multiple of that of ``own``, by shape."""
    fastest = {}
    for case in cases:
        ratios = [ratio for rival in rivals if (ratio := _times(rival, own, GRADIENT, case))]
        if ratios:
            fastest[_shape(case)] = min(ratios)
    return fastest


def _means(by_cell: dict[str, dict[str, Ratio]]) -> dict[str, Ratio]:
    return {cell: _mean(ratios.values()) for cell, ratios in by_cell.items() if ratios}


def _mean(ratios: Iterable[Ratio]) -> Ratio:
    """The geometric mean, and those of the quartiles."""
    return Ratio(*map(statistics.geometric_mean, zip(*ratios, strict=True)))


def _labelled(cases: Iterable[Case], of: Callable[[Case], Ratio | None]) -> dict[str, Ratio]:
    """A ratio in every case that has it, by cell and shape."""
    return {f"{case['rnnjax']['cell']} {_shape(case)}": ratio for case in cases if (ratio := of(case))}


# Targets


def _wording(target: Speedup) -> str:
    everywhere = f"at least {target.everywhere:g} times as fast as {target.name} at every shape"
    return f"{', '.join(target.cells)}: {everywhere}, {target.mean:g} on average"


def _check_speedup(cases: list[Case], target: Speedup, own: str) -> str:
    fastest = {cell: _fastest(_by_cell(cases).get(cell, []), target.rivals, own) for cell in target.cells}
    everywhere = {f"{cell} {shape}": times for cell, its in fastest.items() for shape, times in its.items()}
    if not everywhere:
        return "not measured"
    means = _means(fastest)
    met = min(everywhere.values()).value >= target.everywhere and min(means.values()).value >= target.mean
    return f"{_verdict(met)}: {_listed(everywhere, min)}, mean {_listed(means, min)}, of {len(everywhere)}"


def _check_most(values: dict[str, Ratio], bound: float) -> str:
    return f"{_verdict(max(values.values()).value <= bound)}: {_listed(values, max)}" if values else "not measured"


def _check_least(values: dict[str, Ratio], bound: float) -> str:
    return f"{_verdict(min(values.values()).value >= bound)}: {_listed(values, min)}" if values else "not measured"


def _verdict(met: bool) -> str:
    return "met" if met else "not met"


def _listed(values: dict[str, Ratio], choose: Callable[..., str] | None = None) -> str:
    """Each value with its name, or only the chosen one."""
    chosen = [choose(values, key=lambda name: values[name])] if choose else values
    return ", ".join(f"{values[name]} ({name})" for name in chosen)


# Tables


def _table(cases: list[Case], program: str, columns: Sequence[Column]) -> str:
    """Milliseconds of rnnjax and columns of ratios for each shape, then their geometric means for each cell."""
    rows = []
    for cell, its in _by_cell(cases).items():
        ratios = [[of(case) for _, of in columns] for case in its]
        for case, row in zip(its, ratios, strict=True):
            time = f"{1e3 * case['rnnjax']['median_seconds'][program]:.3g} ms"
            rows.append([cell, _shape(case), time, *("-" if ratio is None else str(ratio) for ratio in row)])
        if len(its) > 1:
            found = [[ratio for ratio in column if ratio] for column in zip(*ratios, strict=True)]
            means = [str(_mean(column)) if column else "-" for column in found]
            rows.append([cell, "geometric mean", "", *means])
    heads = ["cell", "TxBxIxH", "rnnjax", *(head for head, _ in columns)]
    alignment = ("left", "left", *("right" for _ in heads[2:]))
    return tabulate(rows, heads, colalign=alignment, disable_numparse=True)


def _compile_table(cases: list[Case]) -> str:
    libraries = [name for name in cases[0] if name in ("rnnjax", *JAX_PEERS)]
    columns = [("rnnjax", FLOW), *((library, GRADIENT) for library in libraries)]
    rows = []
    for cell, its in _by_cell(cases).items():
        row = [cell]
        for library, program in columns:
            seconds = [c[library]["compile_seconds"][program] for c in its if "compile_seconds" in c[library]]
            row.append(f"{statistics.median(seconds):.2f} s" if seconds else "-")
        rows.append(row)
    heads = ["cell", FLOW, *map(title, libraries)]
    return tabulate(rows, heads, colalign=("left", *("right" for _ in columns)), disable_numparse=True)


def _skips(cases: Iterable[Case]) -> str:
    skipped = [record for case in cases for record in case.values() if "skipped" in record]
    return skips((title(record["library"]), record["skipped"]) for record in skipped)


# The figure


def _points(axis: Any, ratios: Sequence[Ratio | None], library: str, place: float) -> None:
    """A marker for each shape, ``place`` from 0 to 1 across its column, on a line from quartile to quartile."""
    marker, face = MARKERS[library]
    found = [(index + 0.7 * (place - 0.5), ratio) for index, ratio in enumerate(ratios) if ratio]
    across = [x for x, _ in found]
    axis.vlines(across, [r.low for _, r in found], [r.high for _, r in found], color="black", linewidth=0.8, zorder=2)
    label = "gradient_flow" if library == "rnnjax" else title(library)
    values = [ratio.value for _, ratio in found]
    axis.scatter(
        across, values, s=45, marker=marker, facecolor=face, edgecolor="black", linewidth=0.8, label=label, zorder=3
    )


def _dress(axis: Any) -> None:
    """The line that stands for rnnjax, whole numbers on the log axis, and stripes that hold each shape together."""
    axis.set_yscale("log", base=2)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.axhline(1, color="black", linewidth=1, zorder=1)
    axis.grid(axis="y", color="0.85", linewidth=0.5)
    shapes = len(axis.get_xticks())
    for index in range(0, shapes, 2):
        axis.axvspan(index - 0.5, index + 0.5, color="0.95", zorder=0)
    axis.set_xlim(-0.5, shapes - 0.5)


def _label(case: Case) -> str:
    """A shape on two lines, and rnnjax's time for the gradient."""
    steps, batch, width, hidden = case["rnnjax"]["shape"]
    return f"{steps}x{batch}\n{width}x{hidden}\n{1e3 * case['rnnjax']['median_seconds'][GRADIENT]:.3g} ms"


def _caption(figure: Figure, axes: Any, results: Record) -> None:
    """The finding above the panels, and how to read the figure below them."""
    handles: dict[str, Any] = {}
    for axis in axes.flat:
        handles |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    guide = (
        "Above 1 is slower than rnnjax on one device. Lines join the quartiles over rounds. Dashed is the target for "
        f"gradient_flow, {FLOW_OVERHEAD:g}.\n"
        "Under each shape (TxB, IxH): milliseconds of forward + backward with rnnjax on one device of "
        f"{place(results['machine'])}."
    )
    figure.legend(
        handles.values(), handles, title=guide, title_fontsize=9, ncols=6, loc="outside lower center", frameon=False
    )
    figure.suptitle(results["finding"], fontsize=11)
