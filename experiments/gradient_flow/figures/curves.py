"""Curves of gradient norms, picked out of the records, and how they are drawn."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common.drawing import styles
from experiments.common.frames import log10
from experiments.common.workdir import Record
from rnnjax import Decay, decay


class Curve(NamedTuple):
    """Of which networks, all seeds, a curve is, where the loss was read, and after how many training steps."""

    cell: str
    activation: str
    initialization: str
    depth: int
    sequence_length: int
    position: int | str
    step: int

    @property
    def network(self) -> str:
        return self.cell if self.activation == "-" else f"{self.cell} {self.activation}"

    @property
    def name(self) -> str:
        """Of the network, with its initialization if that is not the usual one."""
        return self.network if self.initialization in USUAL else f"{self.network} {self.initialization}"

    @property
    def loss(self) -> str:
        return "all" if self.position == "all" else "last"


Curves = dict[Curve, np.ndarray]
"""Arrays (seeds, layers, T), time forward, in reading order."""

NORM = r"$\log_{10} \|\partial L / \partial s_t\|$"
USUAL = ("default", "orthogonal")
LAG = {"last": "lag (steps back from the loss)", "all": "steps back from the end (the loss is at every step)"}
NO_LAG = "With the loss at every step a norm is a sum over lags: it shows no decay with lag (use --config.loss=last)"


# From records


def state_norms(records: Iterable[Record], quantity: str = "norms", field: str = "all") -> Curves:
    """A quantity of the gradient of each layer's state, or of one of its fields."""
    return read(records, "state_gradient", quantity, field)


def read(records: Iterable[Record], kind: str, quantity: str, field: str | None = None) -> Curves:
    """A quantity that records of a kind have for every time step."""
    found: dict[Curve, dict[tuple[int, int], list[float]]] = {}
    for record in records:
        if record["kind"] == kind and record.get("field") == field:
            values = [np.nan if value is None else value for value in record[quantity]]
            found.setdefault(curve_of(record), {})[record["seed"], record["layer"]] = values
    arrays = {}
    for curve in sorted(found, key=_reading_order):
        seeds, layers = (sorted(set(places)) for places in zip(*found[curve], strict=True))
        arrays[curve] = np.array([[found[curve][seed, layer] for layer in layers] for seed in seeds], np.float32)
    return arrays


def curve_of(record: Record) -> Curve:
    """What a record belongs to; one that speaks of no loss, to that at the end."""
    return Curve(*({"position": record["sequence_length"], **record}[axis] for axis in Curve._fields))


def typical(curves: Curves, *free: str) -> Curves:
    """One curve for each network, depth, and value of the free axes.

    It is that of the longest sequence, the loss at its end, the usual initialization, before training.
    """

    def preference(curve: Curve) -> tuple[object, ...]:
        end = curve.position if isinstance(curve.position, int) else 0
        return -curve.sequence_length, -end, initialization_order(curve.initialization), curve.step

    chosen: dict[tuple[object, ...], Curve] = {}
    for curve in sorted(curves, key=preference):
        chosen.setdefault(tuple(getattr(curve, axis) for axis in ("network", "depth", *free)), curve)
    return {curve: array for curve, array in curves.items() if curve in chosen.values()}


def shallowest(curves: Curves) -> Curves:
    """Those of the fewest layers."""
    depth = min(curve.depth for curve in curves)
    return {curve: array for curve, array in curves.items() if curve.depth == depth}


def first_and_last(curves: Curves) -> Curves:
    """Those before training and after all of it."""
    end = max(curve.step for curve in curves)
    return {curve: array for curve, array in curves.items() if curve.step in (0, end)}


def initialization_order(name: str) -> tuple[bool, str, float]:
    """The usual ones first, then by name and number."""
    kind, _, number = name.partition(":")
    return kind not in USUAL, kind, float(number or 0)


def _reading_order(curve: Curve) -> tuple[object, ...]:
    return (*curve[:2], initialization_order(curve.initialization), *curve[3:])


# Half-lives and other numbers


def decays(curves: Curves) -> dict[Curve, list[Decay]]:
    """The decay of layer 1, whose gradient came down through all layers, for every seed."""
    return {curve: [decay(of_seed[0]) for of_seed in array] for curve, array in curves.items()}


def half_lives(curves: Curves) -> dict[Curve, float]:
    """Of layer 1, medians over seeds."""
    return {curve: median_half_life(fits) for curve, fits in decays(curves).items()}


def median_half_life(fits: list[Decay]) -> float:
    """Of a gradient that is gone before three norms can be fitted it is 0."""
    return float(np.median(np.nan_to_num([fit.half_life for fit in fits], nan=0.0, posinf=np.inf)))


def steps(half_life: float) -> str:
    """In words."""
    return "it does not fall" if np.isinf(half_life) else f"half-life {number(half_life)} steps"


def number(half_life: float) -> str:
    """With a decimal where that matters."""
    return "∞" if np.isinf(half_life) else f"{half_life:.1f}" if half_life < 100 else f"{half_life:.0f}"


def phase(curve: Curve) -> str:
    """In a word."""
    return "initialization" if curve.step == 0 else "trained"


def span(values: Sequence[float], form: str) -> str:
    """From the smallest to the largest, or the one that all are when printed."""
    low, high = (format(end, form) for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def layers(depth: int) -> str:
    """In words."""
    return "1 layer" if depth == 1 else f"{depth} layers"


# Drawing


def draw_by_lag(axes: Axes, curves: Iterable[tuple[str, np.ndarray]], names: Iterable[str] = ()) -> None:
    """Lines of log10 norm (seeds, T) against lag: the median, shaded from the smallest to the largest.

    Where ``names`` are given, each has looks of its own, whatever lines there are.
    """
    curves = list(curves)
    looks = dict(zip(names or [label for label, _ in curves], styles(), strict=False))
    for label, norms in curves:
        style = looks[label]
        logs = log10(norms)[:, ::-1]
        lags = np.arange(logs.shape[1])
        alive = ~np.isnan(logs).any(axis=0)
        low, middle, high = (np.full(len(lags), np.nan) for _ in range(3))
        low[alive], high[alive] = logs[:, alive].min(axis=0), logs[:, alive].max(axis=0)
        middle[alive] = np.median(logs[:, alive], axis=0)
        axes.fill_between(lags, low, high, color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(lags, middle, **style, linewidth=1.8, label=label)
        last = int(np.flatnonzero(alive)[-1]) if alive.any() else -1
        if 0 <= last < len(lags) - 1:
            axes.plot(last, middle[last], marker="x", color=style["color"], markersize=7)
            if not axes.texts:
                word = "underflows" if np.isfinite(norms).all() else "overflows"
                axes.annotate(word, (last, middle[last]), (6, 4), textcoords="offset points", fontsize=8)


def panels(count: int, label: str) -> tuple[Figure, list[Axes]]:
    """Small multiples with equal axes, up to five in a row, and what stands below all of them."""
    across = -(-count // -(-count // 5))
    down = -(-count // across)
    figure, grid = plt.subplots(
        down,
        across,
        figsize=(max(2.3 * across, 8), 3.4 * down - 0.4 * (down - 1)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    figure.supxlabel(label, fontsize=10)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    for axes in grid.flat[max(0, count - across) : count]:
        axes.tick_params(labelbottom=True)
    return figure, list(grid.flat[:count])


def label_left(axes: Axes, text: str = f"{NORM}, layer 1") -> None:
    """Beside the first panel of a row."""
    place = axes.get_subplotspec()
    if place is None or place.is_first_col():
        axes.set_ylabel(text)


def legend(figure: Figure) -> None:
    """One for all panels, at the right."""
    lines = {line.get_label(): line for axes in figure.axes for line in axes.lines if axes.get_visible()}
    shown = {str(label): line for label, line in lines.items() if not str(label).startswith("_")}
    figure.legend(shown.values(), shown.keys(), loc="outside right center", frameon=False, fontsize=9)


def title(figure: Figure, text: str) -> None:
    """What is found, above all panels."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=11)
