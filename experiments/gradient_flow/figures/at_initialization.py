"""Before training: cells, activations and depths against each other."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure

from experiments.common import drawing
from experiments.common.frames import log10, stacked
from experiments.common.workdir import Record
from experiments.gradient_flow import curves as c


def norm_by_lag(records: Sequence[Record]) -> Figure:
    """One line a cell: the shallowest networks at initialization."""
    chosen = c.shallowest(c.typical(c.state_norms(records)))
    heading = "shade: range over seeds"
    found = f"At initialization {c.leaders(chosen, 'name')}"
    return c.panels_by_lag(chosen, found, panel="layers", line="name", heading=heading)[0]


def norm_by_activation(records: Sequence[Record]) -> Figure | None:
    """Small multiples: a panel for each activation, a line for each depth."""
    chosen = c.typical(c.state_norms(records))
    chosen = chosen[chosen["activation"] != "-"]
    if chosen.empty:
        return None
    shallowest = c.shallowest(chosen)
    found = f"In Elman networks ({shallowest['layers'].iloc[0]}, initialization) {c.leaders(shallowest, 'activation')}"
    heads = {name: f"{name}\n1/10 at lag {lag}" for name, lag in c.lags(shallowest, "activation").items()}
    return c.panels_by_lag(chosen, found, panel="activation", line="layers", heads=heads)[0]


def depth_and_time(records: Sequence[Record]) -> Figure | None:
    """Heat maps of the deepest stacks: layer against time."""
    depth = max(record["depth"] for record in records)
    if depth == 1:
        return None
    of_layers = [c.typical(c.state_norms(records, layer=layer)) for layer in range(1, depth + 1)]
    every, found = c.every_step(of_layers[0]), pd.concat([layer[layer["depth"] == depth] for layer in of_layers])
    medians = found.groupby(["name", "layer"], sort=False)["norms"].agg(
        lambda norms: np.median(log10(stacked(norms)), axis=0)
    )
    maps = {name: stacked(medians[name]) for name in medians.index.unique("name")}
    figure, panels = drawing.grid(len(maps), 1, size=(6.7, 1.15))
    norm, more = fine_at_the_top(list(maps.values())), []
    for axes, (name, values) in zip(panels, maps.items(), strict=True):
        image = drawing.heat(axes, values, np.arange(values.shape[1] + 1) + 0.5, np.arange(depth + 1) + 0.5, norm=norm)
        axes.set_yticks([1, depth])
        lowest, highest = (values[layer, 0] - values[layer, -1] for layer in (0, -1))
        more += [lowest > highest] if np.isfinite([lowest, highest]).all() else []
        changes = f"{_power(lowest)} in layer 1, {_power(highest)} in layer {depth}"
        drawing.head(axes, name if every else f"{name}: {changes}")
    end = "the loss is at every step" if every else "the loss is at the right end"
    drawing.label(figure, f"time step t ({end}; white: below float32's range)", "layer")
    drawing.colours(figure, image, panels, c.NORM)
    told = (
        f"Going back {values.shape[1]} steps, layer 1 keeps more of its gradient than layer {depth} in {sum(more)} of "
        f"the {len(more)} stacks that stay in float32's range (told above each: the first step's norm over the last's)"
    )
    drawing.title(figure, c.NO_LAG if every else told)
    return figure


def fine_at_the_top(maps: Sequence[np.ndarray]) -> FuncNorm:
    """Colours of log norms by the root of the distance from the largest: fine where networks differ, none cut off."""
    lowest, highest = min(map(np.nanmin, maps)), max(map(np.nanmax, maps))

    def root(values: np.ndarray) -> np.ndarray:
        return -np.sqrt(np.maximum(highest - np.asarray(values), 0))

    def square(values: np.ndarray) -> np.ndarray:
        return highest - np.asarray(values) ** 2

    return FuncNorm((root, square), lowest, highest)


def _power(change: float) -> str:
    return f"$10^{{{change:+.1f}}}$" if np.isfinite(change) else "out of range"
