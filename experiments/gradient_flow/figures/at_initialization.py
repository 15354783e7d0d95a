"""Before training: cells, activations and depths against each other."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import frames
from experiments.common.workdir import Record
from experiments.gradient_flow.figures import curves as c

_END = {"last": "the loss is at the right end", "all": "the loss is at every step"}


def norm_by_lag(records: Sequence[Record]) -> Figure:
    """One line a cell: the shallowest networks at initialization."""
    chosen = c.shallowest(c.typical(c.state_norms(records)))
    any_curve = next(iter(chosen))
    figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    c.draw_by_lag(axes, [(curve.name, array[:, 0]) for curve, array in chosen.items()])
    half_lives = c.half_lives(chosen)
    longest, shortest = (choose(half_lives, key=lambda k: half_lives[k]) for choose in (max, min))
    found = (
        f"{longest.name} keeps the gradient longest ({c.steps(half_lives[longest])}),\n"
        f"{shortest.name} loses it first ({c.steps(half_lives[shortest])})"
    )
    last = any_curve.loss == "last"
    axes.set_title(found if last else c.NO_LAG.replace(": ", ":\n"), loc="left", fontsize=11)
    c.label_left(axes)
    axes.set_xlabel(c.LAG[any_curve.loss])
    depth = c.layers(any_curve.depth)
    axes.legend(title=f"at initialization, {depth};\nshade: range over seeds", frameon=False, fontsize=9)
    return figure


def norm_by_activation(records: Sequence[Record]) -> Figure | None:
    """Small multiples: a panel for each activation, a line for each depth."""
    chosen = {curve: v for curve, v in c.typical(c.state_norms(records)).items() if curve.activation != "-"}
    activations = list(dict.fromkeys(curve.activation for curve in chosen))
    if not activations:
        return None
    loss = next(iter(chosen)).loss
    figure, panels = c.panels(len(activations), c.LAG[loss])
    half_lives = {}
    for axes, activation in zip(panels, activations, strict=True):
        of_depth = {curve: array for curve, array in chosen.items() if curve.activation == activation}
        c.draw_by_lag(axes, [(c.layers(curve.depth), array[:, 0]) for curve, array in of_depth.items()])
        (half_lives[activation],) = set(c.half_lives(c.shallowest(of_depth)).values())
        reach = f"\n{c.steps(half_lives[activation])}" if loss == "last" else ""
        axes.set_title(f"{activation}{reach}", loc="left", fontsize=10)
        c.label_left(axes)
    panels[0].legend(frameon=False, fontsize=9)
    longest, shortest = (choose(half_lives, key=lambda k: half_lives[k]) for choose in (max, min))
    found = f"Elman networks at initialization: {longest} keeps the gradient longest, {shortest} loses it first"
    c.title(figure, found if loss == "last" else c.NO_LAG)
    return figure


def depth_and_time(records: Sequence[Record]) -> Figure | None:
    """Heat maps of the deepest stacks: layer against time."""
    chosen = c.typical(c.state_norms(records))
    depth = max(curve.depth for curve in chosen)
    if depth == 1:
        return None
    maps = {curve: np.median(frames.log10(v), axis=0) for curve, v in chosen.items() if curve.depth == depth}
    lowest = max(-12.0, min(float(np.nanmin(m)) for m in maps.values()))
    highest = max(float(np.nanmax(m)) for m in maps.values())
    figure, panels = plt.subplots(
        len(maps), figsize=(7.5, 1.0 + 1.05 * len(maps)), sharex=True, squeeze=False, layout="constrained"
    )
    for axes, (curve, values) in zip(panels[:, 0], maps.items(), strict=True):
        steps = values.shape[1]
        extent = (0.5, steps + 0.5, 0.5, depth + 0.5)
        axes.set_facecolor("white")
        image = axes.imshow(
            values, aspect="auto", origin="lower", extent=extent, vmin=lowest, vmax=highest, interpolation="nearest"
        )
        axes.set_yticks([1, depth])
        axes.set_ylabel("layer")
        axes.set_title(curve.name, loc="left", fontsize=10)
    panels[-1, 0].set_xlabel(f"time step t ({_END[curve.loss]})")
    bar = figure.colorbar(image, ax=panels[:, 0], extend="min" if lowest == -12.0 else "neither")
    bar.set_label(c.NORM)
    through_time = [values[0, 0] - values[0, -1] for values in maps.values()]
    through_depth = [values[0, -1] - values[-1, -1] for values in maps.values()]
    c.title(
        figure,
        f"Back through {steps} steps in layer 1 the gradient changes by a factor of {_powers(through_time)},\n"
        f"down through {depth} layers at the last step by {_powers(through_depth)}",
    )
    return figure


def _powers(changes: list[float]) -> str:
    """The range of powers of ten; NaN is a change beyond the dtype's range."""
    seen = [change for change in changes if not np.isnan(change)]
    ends = [f"$10^{{{change:+.1f}}}$" for change in (min(seen), max(seen))] if seen else []
    text = " to ".join(dict.fromkeys(ends))
    return text if len(seen) == len(changes) else f"{text} or beyond float32 (white)".strip()
