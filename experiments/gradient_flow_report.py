"""Figures, table and verdict of the gradient_flow experiment, drawn from its metrics.jsonl alone.

``python -m experiments.gradient_flow_report --workdir=runs/gradient_flow`` draws the figures of a run again.
"""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from absl import flags
from tabulate import tabulate

from experiments import command
from experiments.workdir import Record, read_records
from rnnjax import Decay, decay
from rnnjax.decay import norm_floor

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Key = tuple[str, str, int, int, str]
"""(cell, activation, depth, sequence length, phase)."""

# Told apart in grey: by lightness, by dashes, and by a label at the line's end.
_COLOURS = ("#000000", "#0072b2", "#d55e00", "#56b4e9", "#8a8a8a", "#e69f00", "#009e73", "#cc79a7")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 3)))
_NORM = r"$\log_{10} \|\partial L / \partial s_t\|$"
_LAG = {"last": "lag (steps back from the loss)", "all": "steps back from the end (the loss is at every step)"}
_END = {"last": "the loss is at the right end", "all": "the loss is at every step"}
_NO_LAG = "With the loss at every step a norm is a sum over lags: it shows no decay with lag (use --config.loss=last)"
_PHASES = ("initialization", "trained")


def layer_norms(records: Iterable[Record], quantity: str = "norms") -> dict[Key, np.ndarray]:
    """A quantity of the whole state of each layer: arrays (seeds, layers, T) by configuration, time forward."""
    curves: dict[Key, dict[tuple[int, int], list[float]]] = {}
    for record in records:
        if record["kind"] == "state_gradient" and record["field"] == "all":
            key = (record["cell"], record["activation"], record["depth"], record["sequence_length"], record["phase"])
            values = [np.nan if value is None else value for value in record[quantity]]
            curves.setdefault(key, {})[record["seed"], record["layer"]] = values
    arrays = {}
    for key, by_layer in curves.items():
        seeds = sorted({seed for seed, _ in by_layer})
        layers = range(1, key[2] + 1)
        arrays[key] = np.array([[by_layer[seed, layer] for layer in layers] for seed in seeds], np.float32)
    return arrays


def decays(norms: dict[Key, np.ndarray]) -> dict[Key, list[Decay]]:
    """The decay of layer 1, whose gradient came down through all layers, for every seed."""
    return {key: [decay(seed[0]) for seed in array] for key, array in norms.items()}


def table(records: list[Record]) -> str:
    """Medians over seeds, as a Markdown table."""
    if measured(records) == "all":
        return _table_of_ratios(layer_norms(records))
    typical = {key: np.nan_to_num(np.exp(logs)) for key, logs in layer_norms(records, "mean_of_log").items()}
    rows = []
    for key, fits in sorted(decays(layer_norms(records)).items(), key=_reading_order):
        cell, activation, depth, length, phase = key
        half_life = _median_half_life(fits)
        lags = [np.inf if fit.thousandth_lag is None else fit.thousandth_lag for fit in fits]
        rows.append(
            {
                "cell": cell,
                "activation": activation,
                "depth": depth,
                "T": length,
                "weights": phase,
                "decay per step": f"{np.median([fit.per_step for fit in fits]):.3f}",
                "one example": f"{np.median([decay(seed[0]).per_step for seed in typical[key]]):.3f}",
                "half-life (steps)": "does not fall" if np.isinf(half_life) else _number(half_life),
                "R²": f"{np.median([fit.r_squared for fit in fits]):.2f}",
                "1/1000 at lag": "-" if np.isinf(np.median(lags)) else f"{np.median(lags):.0f}",
                "underflowed": sum(fit.underflowed for fit in fits),
                "verdict": _majority([fit.verdict for fit in fits]),
            }
        )
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True, colalign=_alignment(rows))


def verdict(records: list[Record]) -> str:
    """The answer in a line: who keeps the gradient longest and who loses it first, at initialization."""
    if measured(records) == "all":
        return f"{_NO_LAG}."
    initial = {key: norms for key, norms in layer_norms(records).items() if key[4] == _PHASES[0]}
    medians = {key: _median_half_life(fits) for key, fits in decays(initial).items()}
    longest, shortest = max(medians, key=lambda k: medians[k]), min(medians, key=lambda k: medians[k])
    return (
        f"At initialization the gradient lives longest in {_name(longest)} ({_steps(medians[longest])}) "
        f"and dies first in {_name(shortest)} ({_steps(medians[shortest])})."
    )


def summary(records: list[Record], source: str, table: str) -> str:
    """The page left in the workdir."""
    return (
        f"# Where do gradients die?\n\n{verdict(records)}\n\nText: {source}. "
        f"The loss is read at {'the last character' if measured(records) == 'last' else 'every character'}; "
        "norms of dL/ds_t over all fields of the state of layer 1, medians over seeds. "
        "Decay, half-life and figures are those of the whole batch, which the largest examples lead; "
        "'one example' is the decay of the mean over examples of log-norm. "
        "The fit is of ln(norm) against lag, over all lags whose norm has not underflowed; "
        "a gradient 'vanishes' if by that line it falls to a tenth or less over the sequence.\n\n"
        f"{table}\n"
    )


def draw(records: list[Record], folder: Path) -> list[Path]:
    """All figures that the records have data for, each as PNG and SVG; returns the PNGs."""
    folder.mkdir(parents=True, exist_ok=True)
    norms = layer_norms(records)
    figures: dict[str, Callable[[dict[Key, np.ndarray], str], Figure | None]] = {
        "norm_by_lag": norm_by_lag,
        "norm_by_activation": norm_by_activation,
        "depth_and_time": depth_and_time,
        "before_and_after_training": before_and_after_training,
    }
    paths = []
    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "rnnjax"}):
        for name, make in figures.items():
            figure = make(norms, measured(records))
            if figure is None:
                continue
            for suffix in ("png", "svg"):
                figure.savefig(folder / f"{name}.{suffix}", dpi=150, bbox_inches="tight")
            plt.close(figure)
            paths.append(folder / f"{name}.png")
    return paths


def norm_by_lag(norms: dict[Key, np.ndarray], loss: str = "last") -> Figure | None:
    """One line a cell: the shallowest networks at initialization."""
    chosen = {k: v for k, v in _longest(norms).items() if k[4] == _PHASES[0]}
    depth = min(key[2] for key in chosen)
    chosen = {key: array for key, array in chosen.items() if key[2] == depth}
    figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    _curves(axes, [(_cell_name(key), array[:, 0]) for key, array in chosen.items()])
    half_lives = {key: _median_half_life(fits) for key, fits in decays(chosen).items()}
    longest, shortest = (choose(half_lives, key=lambda k: half_lives[k]) for choose in (max, min))
    found = (
        f"{_cell_name(longest)} keeps the gradient longest ({_steps(half_lives[longest])}),\n"
        f"{_cell_name(shortest)} loses it first ({_steps(half_lives[shortest])})"
    )
    axes.set_title(found if loss == "last" else _NO_LAG.replace(": ", ":\n"), loc="left", fontsize=11)
    _label(axes)
    axes.set_xlabel(_LAG[loss])
    axes.legend(title=f"at initialization, {_layers(depth)};\nshade: range over seeds", frameon=False, fontsize=9)
    return figure


def norm_by_activation(norms: dict[Key, np.ndarray], loss: str = "last") -> Figure | None:
    """Small multiples: a panel for each activation, a line for each depth."""
    chosen = {k: v for k, v in _longest(norms).items() if k[1] != "-" and k[4] == _PHASES[0]}
    activations = list(dict.fromkeys(key[1] for key in chosen))
    if not activations:
        return None
    figure, panels = _panels(len(activations), loss)
    half_lives = {}
    for axes, activation in zip(panels, activations, strict=True):
        keys = [key for key in chosen if key[1] == activation]
        _curves(axes, [(_layers(key[2]), chosen[key][:, 0]) for key in sorted(keys, key=lambda k: k[2])])
        shallow = min(keys, key=lambda k: k[2])
        half_lives[activation] = _median_half_life(decays(chosen)[shallow])
        reach = f"\n{_steps(half_lives[activation])}" if loss == "last" else ""
        axes.set_title(f"{activation}{reach}", loc="left", fontsize=10)
        _label(axes, first=axes is panels[0])
    panels[0].legend(frameon=False, fontsize=9)
    longest, shortest = (choose(half_lives, key=lambda k: half_lives[k]) for choose in (max, min))
    found = f"Elman networks at initialization: {longest} keeps the gradient longest, {shortest} loses it first"
    figure.suptitle(found if loss == "last" else _NO_LAG, x=0.01, ha="left", fontsize=11)
    return figure


def depth_and_time(norms: dict[Key, np.ndarray], loss: str = "last") -> Figure | None:
    """Heat maps of the deepest stacks: layer against time."""
    chosen = {k: v for k, v in _longest(norms).items() if k[4] == _PHASES[0]}
    depth = max(key[2] for key in chosen)
    if depth == 1:
        return None
    chosen = {key: array for key, array in chosen.items() if key[2] == depth}
    maps = {key: np.median(_log10(array), axis=0) for key, array in chosen.items()}
    lowest = max(-12.0, min(float(np.nanmin(m)) for m in maps.values()))
    highest = max(float(np.nanmax(m)) for m in maps.values())
    figure, panels = plt.subplots(
        len(maps), figsize=(7.5, 1.0 + 1.05 * len(maps)), sharex=True, squeeze=False, layout="constrained"
    )
    for axes, (key, values) in zip(panels[:, 0], maps.items(), strict=True):
        steps = values.shape[1]
        extent = (0.5, steps + 0.5, 0.5, depth + 0.5)
        axes.set_facecolor("white")
        image = axes.imshow(
            values, aspect="auto", origin="lower", extent=extent, vmin=lowest, vmax=highest, interpolation="nearest"
        )
        axes.set_yticks([1, depth])
        axes.set_ylabel("layer")
        axes.set_title(_cell_name(key), loc="left", fontsize=10)
    panels[-1, 0].set_xlabel(f"time step t ({_END[loss]})")
    bar = figure.colorbar(image, ax=panels[:, 0], extend="min" if lowest == -12.0 else "neither")
    bar.set_label(_NORM)
    through_time = [values[0, 0] - values[0, -1] for values in maps.values()]
    through_depth = [values[0, -1] - values[-1, -1] for values in maps.values()]
    figure.suptitle(
        f"Back through {steps} steps in layer 1 the gradient changes by a factor of {_powers(through_time)},\n"
        f"down through {depth} layers at the last step by {_powers(through_depth)}",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    return figure


def before_and_after_training(norms: dict[Key, np.ndarray], loss: str = "last") -> Figure | None:
    """A panel for each cell, a line before and one after training."""
    longest = _longest(norms)
    depth = min(key[2] for key in longest)
    trained = [key for key in longest if key[4] == _PHASES[1] and key[2] == depth]
    if not trained:
        return None
    figure, panels = _panels(len(trained), loss)
    reached = 0
    for axes, key in zip(panels, trained, strict=True):
        pair = {phase: longest[*key[:4], phase] for phase in _PHASES}
        _curves(axes, [(phase, array[:, 0]) for phase, array in pair.items()])
        before, after = (_median_half_life([decay(seed) for seed in array[:, 0]]) for array in pair.values())
        reached += bool(after > before)
        change = f"\n{_number(before)} → {_number(after)} steps" if loss == "last" else ""
        axes.set_title(f"{_cell_name(key)}{change}", loc="left", fontsize=10)
        _label(axes, first=axes is panels[0])
    panels[0].legend(frameon=False, fontsize=9)
    found = f"Training lengthens the gradient's half-life in {reached} of {len(trained)} networks ({_layers(depth)})"
    figure.suptitle(found if loss == "last" else _NO_LAG, x=0.01, ha="left", fontsize=11)
    return figure


def _curves(axes: Axes, curves: list[tuple[str, np.ndarray]]) -> None:
    """Lines of log10 norm (seeds, T) against lag: the median, shaded from the smallest to the largest."""
    for (label, norms), colour, dashes in zip(curves, itertools.cycle(_COLOURS), itertools.cycle(_DASHES)):
        logs = _log10(norms)[:, ::-1]
        lags = np.arange(logs.shape[1])
        alive = ~np.isnan(logs).any(axis=0)
        low, middle, high = (np.full(len(lags), np.nan) for _ in range(3))
        low[alive], high[alive] = logs[:, alive].min(axis=0), logs[:, alive].max(axis=0)
        middle[alive] = np.median(logs[:, alive], axis=0)
        axes.fill_between(lags, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(lags, middle, color=colour, linestyle=dashes, linewidth=1.8, label=label)
        if not alive.all() and alive.any():
            last = int(np.flatnonzero(alive)[-1])
            axes.plot(last, middle[last], marker="x", color=colour, markersize=7)
            if not axes.texts:
                word = "underflows" if np.isfinite(norms).all() else "overflows"
                axes.annotate(word, (last, middle[last]), (6, 4), textcoords="offset points", fontsize=8)


def _log10(norms: np.ndarray) -> np.ndarray:
    """NaN where a norm has underflowed, which is not a small norm, or overflowed."""
    alive = np.isfinite(norms) & (norms >= norm_floor(norms.dtype))
    return np.where(alive, np.log10(np.where(alive, norms, 1)), np.nan)


def _panels(count: int, loss: str) -> tuple[Figure, list[Axes]]:
    figure, panels = plt.subplots(
        1, count, figsize=(max(2.3 * count, 8), 3.4), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    figure.supxlabel(_LAG[loss], fontsize=10)
    return figure, list(panels[0])


def _label(axes: Axes, *, first: bool = True) -> None:
    if first:
        axes.set_ylabel(f"{_NORM}, layer 1")


def _longest(norms: dict[Key, np.ndarray]) -> dict[Key, np.ndarray]:
    """The configurations of the greatest sequence length, in reading order."""
    length = max(key[3] for key in norms)
    return dict(sorted(((k, v) for k, v in norms.items() if k[3] == length), key=_reading_order))


def _reading_order(item: tuple[Key, object]) -> tuple[object, ...]:
    cell, activation, depth, length, phase = item[0]
    return (cell, activation, depth, length, _PHASES.index(phase))


def _powers(changes: list[float]) -> str:
    """The range of powers of ten; NaN is a change beyond the dtype's range."""
    seen = [change for change in changes if not np.isnan(change)]
    ends = [f"$10^{{{change:+.1f}}}$" for change in (min(seen), max(seen))] if seen else []
    text = " to ".join(dict.fromkeys(ends))
    return text if len(seen) == len(changes) else f"{text} or beyond float32 (white)".strip()


def _median_half_life(fits: list[Decay]) -> float:
    """Of a gradient that is gone before three norms can be fitted it is 0."""
    return float(np.median(np.nan_to_num([fit.half_life for fit in fits], nan=0.0, posinf=np.inf)))


def _majority(verdicts: list[str]) -> str:
    return max(sorted(set(verdicts)), key=verdicts.count)


def measured(records: list[Record]) -> str:
    """Where the loss of a run was read: on the "last" character or on "all"."""
    return next(record["measured"] for record in records if record["kind"] == "state_gradient")


def _table_of_ratios(norms: dict[Key, np.ndarray]) -> str:
    rows = []
    for (cell, activation, depth, length, phase), array in sorted(norms.items(), key=_reading_order):
        ratio = float(np.median(array[:, 0, 0] / array[:, 0, -1]))
        words = {"cell": cell, "activation": activation, "depth": depth, "T": length, "weights": phase}
        rows.append({**words, "norm at the first step / at the last": f"{ratio:.3g}"})
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True, colalign=_alignment(rows))


def _cell_name(key: Key) -> str:
    return key[0] if key[1] == "-" else f"{key[0]} {key[1]}"


def _name(key: Key) -> str:
    return f"{_cell_name(key)} with {_layers(key[2])}"


def _layers(depth: int) -> str:
    return "1 layer" if depth == 1 else f"{depth} layers"


def _steps(half_life: float) -> str:
    return "it does not fall" if np.isinf(half_life) else f"half-life {_number(half_life)} steps"


def _number(half_life: float) -> str:
    return "∞" if np.isinf(half_life) else f"{half_life:.1f}" if half_life < 100 else f"{half_life:.0f}"


def _alignment(rows: list[Record]) -> list[str]:
    words = {"cell", "activation", "weights", "verdict"}
    return ["left" if column in words else "right" for column in rows[0]]


def _main() -> None:
    folder = Path(_WORKDIR.value)
    for path in draw(read_records(folder), folder / "figures"):
        print(path)


if __name__ == "__main__":
    _WORKDIR = flags.DEFINE_string("workdir", "runs/gradient_flow", "Folder of a run.")
    command.run(_main)
