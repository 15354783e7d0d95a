"""What training does to the loss, to the gradient, to the recurrent weights, and to the units."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing
from experiments.common.frames import frame, log10, span, stacked
from experiments.common.workdir import Record
from experiments.gradient_flow import curves as c
from experiments.gradient_flow.figures.at_initialization import fine_at_the_top


def training_loss(records: Sequence[Record]) -> Figure | None:
    """A panel for each depth, a line for each network: the loss of training, of means over so many steps."""
    losses = frame(records, "train")
    if losses.empty:
        return None
    losses = losses.merge(c.state_norms(records)[["run", "name", "layers"]].drop_duplicates())
    width = max(1, losses["step"].max() // 50)
    losses["until"] = -(-losses["step"] // width) * width
    means = losses.groupby(["depth", "layers", "name", "seed", "until"], as_index=False)["loss"].mean()
    figure, by_panel = drawing.courses(means, "until", "loss", panel="layers", line="name", size=(3.4, 3.4))
    for axes in by_panel.values():
        drawing.plain_ticks(axes, (1, 2, 3, 5))
    drawing.legend(figure, "shade: range\nover seeds")
    drawing.label(figure, f"training step (means over {width})", "training loss (nats a character)")
    last = means[means["until"] == means["until"].max()].groupby(["name", "layers"])["loss"].median()
    best, worst = (f"{' with '.join(place)} ({last[place]:.2f})" for place in (last.idxmin(), last.idxmax()))
    steps = losses["step"].max()
    drawing.title(figure, f"After {steps:,} training steps the loss is lowest in {best} and highest in {worst}")
    return figure


def before_and_after_training(records: Sequence[Record]) -> Figure | None:
    """A panel for each cell, a line before and one after training."""
    found = c.first_and_last(c.shallowest(c.typical(c.state_norms(records), "step")))
    if found["step"].nunique() < 2:
        return None
    lags = c.condensed(found, ["name", "weights"])["tenth_lag"].unstack(sort=False)
    told = c.lags(found, ["name", "weights"]).unstack(sort=False)
    heads = {name: f"{name}\n1/10 at lag {ends.initialization}, then {ends.trained}" for name, ends in told.iterrows()}
    farther, nearer = lags["trained"] > lags["initialization"], lags["trained"] < lags["initialization"]
    moved = (
        f"Training moves the lag at which a tenth of the gradient is left away from the loss in {farther.sum()} of "
        f"{len(lags)} networks, nearer to it in {nearer.sum()} ({found['layers'].iloc[0]})"
    )
    phases = {"initialization": "before training", "trained": "after training"}
    return c.panels_by_lag(found, moved, panel="name", line="weights", heads=heads, name=phases.__getitem__)[0]


def lag_and_training(records: Sequence[Record]) -> Figure | None:
    """Heat maps: the norm by lag and training step, a panel for each network."""
    found = _on_the_way(records)
    if found.empty:
        return None
    medians = found.groupby(["name", "step"], sort=False)["norms"].agg(
        lambda norms: np.median(log10(stacked(norms))[:, ::-1], axis=0)
    )
    maps = {name: np.stack(list(medians[name])).T for name in medians.index.unique("name")}
    figure, panels = drawing.panels(len(maps))
    norm = fine_at_the_top(list(maps.values()))
    for axes, (name, values) in zip(panels, maps.items(), strict=True):
        steps = medians[name].index.to_numpy(float)
        edges = np.concatenate([[steps[0]], (steps[1:] + steps[:-1]) / 2, [steps[-1]]])
        image = drawing.heat(axes, values, edges, np.arange(len(values) + 1) - 0.5, norm=norm)
        drawing.head(axes, name)
    drawing.colours(figure, image, panels, f"{c.NORM}, layer 1")
    drawing.label(figure, "training step (white: below float32's range)", c.LAG["last"])
    lags = _reach(found, ["name", "step"]).unstack(sort=False)
    back = (lags.iloc[:, -1] > 1.1 * lags.min(axis=1)).sum()
    drawing.title(
        figure,
        f"The lag at which a tenth of the gradient is left is smallest after {span(lags.idxmin(axis=1), 'd')} training "
        f"steps; in {back} of {len(maps)} networks it has grown again by more than a tenth at the end",
    )
    return figure


def weights_and_units(records: Sequence[Record]) -> Figure | None:
    """Half-life, spectral radius, largest singular value and saturation over training, a line for each network."""
    found = _on_the_way(records)
    if found.empty:
        return None
    longest = found["sequence_length"].max()
    kernels, shares = frame(records, "recurrent_kernel", layer=1), frame(records, "saturation", layer=1)
    saturated = [np.concatenate([row.tanh, row.closed + row.open]) for row in shares.itertuples()]
    quantities = {
        f"lag at which 1/10 is left ({longest}: never)": found[["run", "step"]].assign(lag=_reached(found)),
        "spectral radius, recurrent kernel": kernels[["run", "step", "spectral_radius"]],
        "its largest singular value": kernels[["run", "step", "largest_singular_value"]],
        "share of units and gates saturated": shares[["run", "step"]].assign(share=saturated),
    }
    values = [of.set_axis(["run", "step", "value"], axis=1).assign(quantity=name) for name, of in quantities.items()]
    each = pd.concat(values, ignore_index=True).explode("value").dropna()  # of several gates the largest
    largest = each.astype({"value": float}).groupby(["quantity", "run", "step"], as_index=False, sort=False).max()
    largest = largest.merge(found[["run", "step", "name", "seed"]])
    figure, by_panel = drawing.courses(
        largest, "step", "value", panel="quantity", line="name", across=2, size=(4.0, 2.7), share=(True, False)
    )
    first, *_, last = by_panel.values()
    first.set_yscale("log")
    first.yaxis.set_major_formatter("{x:g}")
    last.set_ylim(bottom=0)
    drawing.legend(figure)
    drawing.label(figure, "training step (layer 1; of gates the largest; shade: range over seeds)")
    typical = largest.pivot_table(index=["quantity", "name"], columns="step", values="value", aggfunc="median")
    radius = typical.loc["spectral radius, recurrent kernel"].iloc[:, [0, -1]].diff(axis=1).iloc[:, 1]
    lag = _reach(found, ["name", "step"]).unstack(sort=False).iloc[:, [0, -1]].diff(axis=1).iloc[:, 1]
    grown = radius[radius > 0].index
    drawing.title(
        figure,
        f"Over training the spectral radius grows in {len(grown)} of {len(radius)} networks; in "
        f"{(lag[grown] < 0).sum()} of these the lag at which a tenth of the gradient is left falls all the same",
    )
    return figure


def _reach(found: pd.DataFrame, by: list[str]) -> pd.Series:
    """By group, the lag at which a tenth of the gradient is left, of the geometric mean over seeds; T if never."""
    condensed = c.condensed(found, by)
    return condensed["tenth_lag"].clip(upper=condensed["norms"].map(len))


def _reached(found: pd.DataFrame) -> pd.Series:
    """The same of each seed."""
    return found["tenth_lag"].clip(upper=found["norms"].map(len))


def _on_the_way(records: Sequence[Record]) -> pd.DataFrame:
    """The shallowest curves, if there were measurements during training."""
    found = c.shallowest(c.typical(c.state_norms(records), "step"))
    return found.iloc[:0] if c.every_step(found) or found["step"].nunique() < 3 else found
