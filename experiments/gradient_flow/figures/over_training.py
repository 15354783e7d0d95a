"""What training does to the gradient, to the recurrent weights, and to the units."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing, frames
from experiments.common.workdir import Record
from experiments.gradient_flow.figures import curves as c
from experiments.gradient_flow.figures.curves import Curve, Curves

Lines = dict[str, tuple[np.ndarray, np.ndarray]]
"""By network: training steps (M,) and values (seeds, M)."""


def before_and_after_training(records: Sequence[Record]) -> Figure | None:
    """A panel for each cell, a line before and one after training."""
    by_network = _by_network(c.first_and_last(c.shallowest(c.typical(c.state_norms(records), "step"))))
    pairs = {network: curves for network, curves in by_network.items() if len(curves) > 1}
    if not pairs:
        return None
    any_curve = next(iter(next(iter(pairs.values()))))
    figure, panels = c.panels(len(pairs), c.LAG[any_curve.loss])
    reached = 0
    for axes, (network, curves) in zip(panels, pairs.items(), strict=True):
        c.draw_by_lag(axes, [(c.phase(curve), array[:, 0]) for curve, array in curves.items()])
        before, after = c.half_lives(curves).values()
        reached += bool(after > before)
        change = f"\n{c.number(before)} → {c.number(after)} steps" if any_curve.loss == "last" else ""
        axes.set_title(f"{network}{change}", loc="left", fontsize=10)
        c.label_left(axes)
    panels[0].legend(frameon=False, fontsize=9)
    depth = c.layers(any_curve.depth)
    found = f"Training lengthens the gradient's half-life in {reached} of {len(pairs)} networks ({depth})"
    c.title(figure, found if any_curve.loss == "last" else c.NO_LAG)
    return figure


def lag_and_training(records: Sequence[Record]) -> Figure | None:
    """Heat maps: the norm by lag and training step, a panel for each network."""
    by_network = _on_the_way(records)
    if not by_network:
        return None
    maps = {
        n: np.array([np.median(frames.log10(a[:, 0, ::-1]), axis=0) for a in k.values()]).T
        for n, k in by_network.items()
    }
    lowest = max(-12.0, min(float(np.nanmin(m)) for m in maps.values()))
    highest = max(float(np.nanmax(m)) for m in maps.values())
    figure, panels = c.panels(len(maps), "training step")
    for axes, (network, values) in zip(panels, maps.items(), strict=True):
        steps = np.array([curve.step for curve in by_network[network]])
        edges = np.concatenate([[steps[0]], (steps[1:] + steps[:-1]) / 2, [steps[-1]]])
        lags = np.arange(len(values) + 1) - 0.5
        image = axes.pcolormesh(edges, lags, values, vmin=lowest, vmax=highest, rasterized=True)
        axes.set_title(network, loc="left", fontsize=10)
        c.label_left(axes, c.LAG["last"])
    bar = figure.colorbar(image, ax=panels, extend="min" if lowest == -12.0 else "neither")
    bar.set_label(f"{c.NORM}, layer 1")
    half_lives = {network: list(c.half_lives(curves).values()) for network, curves in by_network.items()}
    shortest = {network: int(np.argmin(values)) for network, values in half_lives.items()}
    back = sum(half_lives[n][-1] > 1.1 * half_lives[n][place] for n, place in shortest.items())
    at = [list(by_network[network])[place].step for network, place in shortest.items()]
    c.title(
        figure,
        f"The gradient's reach is shortest after {c.span(at, 'd')} steps; in {back} of {len(at)} networks it has\n"
        "grown again by more than a tenth at the end (colour: white is below float32's range)",
    )
    return figure


def weights_and_units(records: Sequence[Record]) -> Figure | None:
    """Half-life, spectral radius, largest singular value and saturation over training, a line for each network."""
    by_network = _on_the_way(records)
    if not by_network:
        return None
    quantities: dict[str, Lines] = {
        "half-life of the gradient (steps)": {network: _half_lives(curves) for network, curves in by_network.items()},
        "spectral radius, recurrent kernel": _of_layer_1(
            records, by_network, "recurrent_kernel", lambda record: record["spectral_radius"]
        ),
        "its largest singular value": _of_layer_1(
            records, by_network, "recurrent_kernel", lambda record: record["largest_singular_value"]
        ),
        "share of units and gates saturated": _of_layer_1(records, by_network, "saturation", _saturated),
    }
    figure, grid = plt.subplots(2, 2, figsize=(9, 6), sharex=True, layout="constrained")
    looks = dict(zip(by_network, drawing.styles(), strict=False))
    for axes, (name, lines) in zip(grid.flat, quantities.items(), strict=True):
        _draw(axes, lines, looks)
        axes.set_title(name, loc="left", fontsize=10)
    grid[0, 0].set_yscale("log")
    grid[0, 0].yaxis.set_major_formatter("{x:g}")
    grid[1, 1].set_ylim(bottom=0)
    c.legend(figure)
    figure.supxlabel("training step (layer 1; of gates the largest; shade: range over seeds)", fontsize=10)
    half_lives, radii = list(quantities.values())[:2]
    fallen, grown = _rising(half_lives, -1), _rising(radii, 1)
    c.title(
        figure,
        f"Over training the spectral radius grows in {len(grown)} of {len(radii)} networks;\n"
        f"in {len(set(fallen) & set(grown))} of these the half-life of the gradient falls all the same",
    )
    return figure


def _by_network(curves: Curves) -> dict[str, Curves]:
    groups = itertools.groupby(curves, key=lambda curve: curve.name)
    return {network: {curve: curves[curve] for curve in group} for network, group in groups}


def _on_the_way(records: Sequence[Record]) -> dict[str, Curves]:
    """By network, the shallowest curves, if there were measurements during training."""
    curves = c.shallowest(c.typical(c.state_norms(records), "step"))
    loss = next(iter(curves)).loss
    return {} if loss == "all" or len({curve.step for curve in curves}) < 3 else _by_network(curves)


def _half_lives(curves: Curves) -> tuple[np.ndarray, np.ndarray]:
    values = [[fit.half_life for fit in fits] for fits in c.decays(curves).values()]
    return np.array([curve.step for curve in curves]), np.array(values).T


def _of_layer_1(
    records: Sequence[Record], networks: dict[str, Curves], kind: str, values: Callable[[Record], list[float | None]]
) -> Lines:
    """The largest of the values that the records of a kind have for the first layer; none where there are none."""
    found: dict[Curve, dict[int, list[float]]] = {}
    for record in records:
        if record["kind"] == kind and record["layer"] == 1:
            known = [value for value in values(record) if value is not None]
            found.setdefault(c.curve_of(record), {}).setdefault(record["seed"], []).extend(known)
    lines = {}
    for network, curves in networks.items():
        places = [curve._replace(position=curve.sequence_length) for curve in curves]
        of_seeds = [[max(numbers) for _, numbers in sorted(found.get(at, {}).items()) if numbers] for at in places]
        if all(of_seeds):
            lines[network] = np.array([curve.step for curve in curves]), np.array(of_seeds).T
    return lines


def _saturated(record: Record) -> list[float | None]:
    """Of tanh units, and of gates closed or open."""
    return [*record["tanh"], *(shut + wide for shut, wide in zip(record["closed"], record["open"], strict=True))]


def _draw(axes: Axes, lines: Lines, looks: dict[str, dict[str, Any]]) -> None:
    for network, (steps, values) in lines.items():
        axes.fill_between(
            steps, values.min(axis=0), values.max(axis=0), color=looks[network]["color"], alpha=0.15, linewidth=0
        )
        axes.plot(steps, np.median(values, axis=0), **looks[network], linewidth=1.8, label=network)


def _rising(lines: Lines, sign: int) -> list[str]:
    """Networks whose median rises, or for sign -1 falls, from the first to the last."""
    changes = {network: np.diff(np.median(values, axis=0)[[0, -1]])[0] for network, (_, values) in lines.items()}
    return [network for network, change in changes.items() if sign * change > 0]
