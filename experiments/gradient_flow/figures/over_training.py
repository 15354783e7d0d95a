"""How training changes the loss, the gradient, the recurrent weights, and the units."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing, frames
from experiments.common.frames import frame, span
from experiments.common.workdir import Record
from experiments.gradient_flow import curves as c

RADIUS = "spectral radius, recurrent kernel"


def training_loss(records: Sequence[Record]) -> Figure | None:
    """A panel for each depth, a line for each network: the training loss, as means over several steps."""
    losses = frame(records, "train")
    if losses.empty:
        return None
    losses = losses.merge(c.state_norms(records)[["run", "name", "layers"]].drop_duplicates())
    means, width = frames.smoothed(losses.sort_values(["depth", "name"]), ["layers", "name", "seed"])
    figure, by_panel = drawing.courses(means, "step", "loss", panel="layers", line="name", size=(3.4, 3.4))
    for axes in by_panel.values():
        drawing.plain_ticks(axes, (1, 2, 3, 5))
    drawing.legend(figure, "shade: range\nover seeds")
    last = means[means["step"] == means["step"].max()].groupby(["name", "layers"])["loss"]
    ranges, middle = last.agg(lambda losses: frames.span(losses, ".2f")), last.median()
    best, worst = (f"{' with '.join(place)} ({ranges[place]})" for place in (middle.idxmin(), middle.idxmax()))
    found = f"After {losses['step'].max():,} training steps the loss is lowest in {best} and highest in {worst}"
    return drawing.caption(
        figure,
        found,
        f"training step (means over {width} step{'' if width == 1 else 's'})",
        "training loss (nats a character)",
    )


def before_and_after_training(records: Sequence[Record]) -> Figure | None:
    """A panel for each cell, a line before and one after training."""
    found = c.first_and_last(c.shallowest(c.typical(c.state_norms(records), "step")))
    if found["step"].nunique() < 2:
        return None
    by = ["name", "weights"]
    lags = frames.unstacked(frames.condensed(found, by)["tenth_lag"])
    ends = frames.unstacked(found.groupby(by, sort=False)["tenth_lag"].agg(frames.lags))
    told = "1/10 at lag " + ends["initialization"] + ", then " + ends["trained"]
    farther, nearer = lags["trained"] > lags["initialization"], lags["trained"] < lags["initialization"]
    moved = (
        f"In training, the lag at which a tenth of the gradient is left moves away from the loss in {farther.sum()} of "
        f"{len(lags)} networks and nearer to it in {nearer.sum()} ({found['layers'].iloc[0]})"
    )
    return c.panels_by_lag(found, moved, panel="name", line="weights", told=told, name=frames.PHASES.__getitem__)[0]


def lag_and_training(records: Sequence[Record]) -> Figure | None:
    """Heat maps: the norm by lag and training step, a panel for each network."""
    found = _on_the_way(records)
    if found.empty:
        return None
    maps = {
        name: pd.DataFrame({step: frames.median_logs(seeds)[::-1] for step, seeds in rows.groupby("step")["norms"]})
        for name, rows in found.groupby("name", sort=False)
    }
    figure, panels = drawing.panels(len(maps))
    drawing.maps(figure, panels, maps, f"{drawing.NORM}, layer 1")
    lags = frames.unstacked(frames.condensed(found, ["name", "step"])["reach"])
    back = (lags.iloc[:, -1] > 1.1 * lags.min(axis=1)).sum()
    told = (
        f"The lag at which a tenth of the gradient is left is smallest after {span(lags.idxmin(axis=1), 'd')} training "
        f"steps; in {back} of {len(maps)} networks it has grown again by more than a tenth by the end"
    )
    x = "training step (white: below float32's range)"
    return drawing.caption(figure, told, x, "lag (steps back from the loss)")


def weights_and_units(records: Sequence[Record]) -> Figure | None:
    """Reach, spectral radius, largest singular value and saturation over training, a line for each network."""
    found = _on_the_way(records)
    if found.empty:
        return None
    longest = found["sequence_length"].max()
    kernels, shares = frame(records, "recurrent_kernel", layer=1), frame(records, "saturation", layer=1)
    saturated = [np.concatenate([row.tanh, row.closed + row.open]) for row in shares.itertuples()]
    quantities = {
        f"lag at which 1/10 is left ({longest}: never)": found[["run", "step"]].assign(lag=found["reach"]),
        RADIUS: kernels[["run", "step", "spectral_radius"]],
        "its largest singular value": kernels[["run", "step", "largest_singular_value"]],
        "share of units and gates saturated": shares[["run", "step"]].assign(share=saturated),
    }
    values = [of.set_axis(["run", "step", "value"], axis=1).assign(quantity=name) for name, of in quantities.items()]
    each = pd.concat(values, ignore_index=True).explode("value").dropna()  # of several gates the largest
    largest = each.astype({"value": float}).groupby(["quantity", "run", "step"], as_index=False, sort=False).max()
    largest = largest.merge(found[["run", "step", "name", "seed"]])
    if RADIUS not in set(largest["quantity"]):
        return None  # of networks whose weights are no numbers any more
    figure, by_panel = drawing.courses(
        largest, "step", "value", panel="quantity", line="name", across=2, size=(4.0, 2.7), share=(True, False)
    )
    first, *_, last = by_panel.values()
    drawing.plain_ticks(first, (1, 2, 5))
    last.set_ylim(bottom=0)
    drawing.legend(figure)
    typical = largest.pivot_table(index=["quantity", "name"], columns="step", values="value", aggfunc="median")
    radii = typical.loc[RADIUS]
    radius = radii.iloc[:, -1] - radii.iloc[:, 0]
    reach = frames.unstacked(frames.condensed(found, ["name", "step"])["reach"])
    lag = reach.iloc[:, -1] - reach.iloc[:, 0]
    grown = radius[radius > 0].index
    told = (
        f"Over training the spectral radius grows in {len(grown)} of {len(radius)} networks; in "
        f"{(lag[grown] < 0).sum()} of these the lag at which a tenth of the gradient is left falls all the same"
    )
    return drawing.caption(
        figure, told, "training step (layer 1; the largest of several gates; shade: range over seeds)"
    )


def _on_the_way(records: Sequence[Record]) -> pd.DataFrame:
    """The shallowest curves, if there were measurements during training."""
    found = c.shallowest(c.typical(c.state_norms(records), "step"))
    return found.iloc[:0] if c.every_step(found) or found["step"].nunique() < 3 else found
