"""Figures, tables and verdict of the deep_mlp experiment, drawn from its metrics.jsonl alone."""

import functools
import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.frames import stacked
from experiments.common.workdir import Record
from experiments.deep_mlp.network import INITIALIZATIONS

LECTURE = ("elu", "relu", "sigmoid", "tanh")  # the lecture: all of these lose the gradient, ELU last
_ABOUT = 10  # layers within which every gradient vanishes, according to the lecture

_NETWORK = ["activation", "initialization"]
_OF = {"example": "one example", "batch": "whole batch"}
_WORDS = {name: f"variance {name}" for name in INITIALIZATIONS} | {"torch": "PyTorch's", "glorot": "Glorot"}
_HUNDREDTH, _THOUSANDTH = -2.0, -3.0  # log10, of the last layer's norm
_SMALL = -3.0  # log10 of a norm
_MEDIAN = 3  # of the seven quantiles
_TRAINED = "phase == 'trained'"

_read = functools.partial(frames.frame, dtype=np.float64)  # quantiles are logarithms already


def quantiles(records: Sequence[Record]) -> pd.DataFrame:
    """Quantiles (L, 7) of log10 norms, medians over draws: by network, and phase and "example" or "batch"."""
    norms = _read(records, "neuron_gradient").groupby([*_NETWORK, "phase", "of"], sort=False)["quantiles"]
    found = frames.unstacked(norms.agg(lambda draws: np.median(stacked(draws), axis=0)), "phase", "of")
    return found.reindex(columns=pd.MultiIndex.from_product([frames.PHASES, _OF]))


def medians(records: Sequence[Record]) -> pd.DataFrame:
    """Laid out like ``quantiles``: log10 of the median norm in each layer (L,); NaN where no norm is left."""
    return quantiles(records).map(lambda of_network: of_network[:, _MEDIAN], na_action="ignore")


def reach(logs: np.ndarray, share: float = _HUNDREDTH) -> float:
    """Layers back from the last until the norm has fallen to a share (log10), or nothing is left; inf if never."""
    fallen = ~(logs - logs[-1] > share)
    return float(np.argmax(fallen[::-1])) if fallen.any() else np.inf


def factor(norms: np.ndarray) -> float:
    """What a layer back multiplies norms (L,) by: exp of the slope of ln(norm), without layer 1, of another shape."""
    alive = np.flatnonzero(norms[1:] > 0) + 1
    return float(np.exp(-np.polyfit(alive, np.log(norms[alive]), 1)[0])) if len(alive) > 1 else np.nan


def curves(records: Sequence[Record]) -> pd.DataFrame:
    """Root mean squares of dL/dz and of the norms (L,) at initialization, as measured in each draw and as predicted."""
    adjoints = _read(records, "network", phase="initialization")[[*_NETWORK, "draw", "adjoints"]]
    norms = _read(records, "neuron_gradient", phase="initialization", of="example")
    norms = norms.rename(columns={"root_mean_square": "norms"})[[*_NETWORK, "draw", "norms"]]
    predicted = _read(records, "predicted")[[*_NETWORK, "adjoints", "norms"]]
    return adjoints.merge(norms).merge(predicted, on=_NETWORK, suffixes=("", " predicted")).set_index(_NETWORK)


def factors(records: Sequence[Record]) -> pd.DataFrame:
    """What a layer back multiplies each of these by, medians over draws."""
    return curves(records).drop(columns="draw").map(factor).groupby(_NETWORK, sort=False).median()


def reach_table(records: Sequence[Record]) -> str:
    """How many layers back a gradient falls to a hundredth and to a thousandth, as a Markdown table."""
    reached = medians(records).map(_reached, na_action="ignore").rename(columns=frames.PHASES | _OF)
    told = reached.rename_axis(columns=["weights", "gradient of"]).stack([0, 1], future_stack=True).dropna()
    rows = frames.unstacked(told, "activation").fillna("").reset_index()
    return frames.table(rows, {"initialization", "weights", "gradient of"})


def factor_table(records: Sequence[Record]) -> str:
    """The factors per layer of every network, its norms, and how they change in training, as a Markdown table."""
    by_layer, logs = factors(records).map("{:.3f}".format), medians(records)
    left_out = _read(records, "neuron_gradient", of="example").groupby(_NETWORK)[["zero", "underflowed"]]
    shares = left_out.agg(lambda of_network: stacked(of_network).mean())
    losses = _read(records, "train").reindex(columns=[*_NETWORK, "loss"]).groupby(_NETWORK)["loss"]
    columns = {
        "dL/dz per layer": by_layer["adjoints"],
        "predicted": by_layer["adjoints predicted"],
        "weights' gradient per layer": by_layer["norms"],
        "predicted ": by_layer["norms predicted"],
        "log10 norm, last layer": logs["initialization", "example"].str[-1].map("{:.1f}".format),
        "first layer": logs["initialization", "example"].str[0].map("{:.1f}".format),
        "zero": shares["zero"].map("{:.0%}".format),
        "underflowed": shares["underflowed"].map("{:.1%}".format),
        "first layer, after training": logs["trained", "example"].dropna().str[0].map("{:.1f}".format),
        "loss": losses.agg(lambda loss: f"{loss.head(10).mean():.2f} → {loss.tail(10).mean():.2f}"),
        "accuracy": _read(records, "network").query(_TRAINED).set_index(_NETWORK)["accuracy"].map("{:.0%}".format),
    }
    table = pd.DataFrame(columns, index=by_layer.index).dropna(axis="columns", how="all").fillna("")
    return frames.table(table.reset_index(), {*_NETWORK})


def verdict(records: Sequence[Record]) -> str:
    """The lecture's claims judged for each initialization, from single examples before training."""
    initial = medians(records)["initialization"]["example"]
    initial = initial[initial.index.isin(LECTURE, level="activation")]
    layers = frames.unstacked(initial.map(reach))
    reached = frames.unstacked(initial.map(_reached)).where(layers < np.inf)
    counted = [f"{name}: {', '.join(of.dropna().index + ' ' + of.dropna()) or 'none'}" for name, of in reached.items()]
    holds = layers.columns[~(layers > _ABOUT).any()]
    longest = layers.columns[~(layers == layers.max()).drop("elu", errors="ignore").any()]
    return (
        "At initialization the gradient of a single example falls to a hundredth (in brackets: a thousandth) of the "
        f"last layer's after this many layers back: {'; '.join(counted)}; in the other networks it never does. The "
        f"claim that it is gone within {_ABOUT} layers in all of {', '.join(layers.index) or 'none'} holds for the "
        f"initialization {', '.join(holds) or 'none'}; the claim that ELU alone keeps it longest, for "
        f"{', '.join(longest) or 'none'}. {_change(records)}"
    ).strip()


def _change(records: Sequence[Record]) -> str:
    """Whether training makes most gradients smaller and a few larger, as the lecture says."""
    logs = medians(records).xs("example", axis="columns", level=1).dropna().map(np.nanmedian)
    if logs.empty:
        return ""
    change = logs["trained"] - logs["initialization"]
    smaller, larger = change <= -np.log10(2), change >= np.log10(2)
    first = _read(records, "neuron_gradient", of="example", draw=0).set_index(["phase", *_NETWORK])["quantiles"]
    largest = first.map(lambda of_network: np.nanmax(of_network[:, -1])).unstack("phase").loc[change.index]
    blown = smaller & (largest["trained"] > largest["initialization"])
    return (
        f"Training makes the median gradient at most half as large in {smaller.sum()} of {len(logs)} networks (in "
        f"{blown.sum()} of these the largest gradient of one neuron and one example grows) and at least twice as large "
        f"in {larger.sum()}."
    )


def summary(records: Sequence[Record], source: str) -> str:
    """The page left in the workdir."""
    depth = next(len(record["inputs"]) for record in records if record["kind"] == "network")
    tables = {"reach_table": reach_table(records), "factor_table": factor_table(records)}
    return page.filled(__file__, verdict=verdict(records), source=source, depth=depth, **tables)


def at_initialization(records: Sequence[Record]) -> Figure | None:
    """The distributions before training."""
    return distributions(records, "initialization")


def after_training(records: Sequence[Record]) -> Figure | None:
    """The distributions after training."""
    return distributions(records, "trained")


def distributions(records: Sequence[Record], phase: str) -> Figure | None:
    """A panel for each activation and initialization, with the distribution over neurons in every layer."""
    found = quantiles(records)[phase].dropna()
    if found.empty:
        return None
    activations, initializations = (found.index.unique(name) for name in _NETWORK)
    figure, panels = drawing.grid(len(initializations), len(activations), size=(2.1, 1.8))
    for axes, (initialization, activation) in zip(panels, itertools.product(initializations, activations), strict=True):
        if (activation, initialization) in found.index:  # a sweep may have been interrupted
            _bands(axes, *found.loc[(activation, initialization)])
        drawing.head(axes, _name(activation, initialization))
        axes.grid(axis="y", linewidth=0.3)
    drawing.legend(figure)
    layers = medians(records)[phase, "example"].dropna().map(reach)
    fallen = layers[layers < np.inf]
    when, count = frames.PHASES[phase].capitalize(), f"{len(fallen)} of {len(layers)} networks"
    text = f"{when} the median gradient falls to a hundredth of the last layer's in {count}"
    for word, end in {"soonest": fallen.min(), "latest": fallen.max()}.items() if len(fallen) else ():
        names = "; ".join(_name(*network) for network in fallen.index[fallen == end])
        text += f", {word} after {end:.0f} layer{'' if end == 1 else 's'} ({names})"
    x = "layer (the loss is at the right; grey line: the median is down to a hundredth of the last layer's)"
    return drawing.caption(figure, text, x, r"$\log_{10}$ norm of the gradient of a neuron's incoming weights")


def _bands(axes: Axes, example: np.ndarray, batch: np.ndarray) -> None:
    """Draws quantiles (L, 7): middle 90 % and median of examples and batch; of examples the middle half as well."""
    layers, blue = np.arange(1, len(example) + 1), "#0072b2"
    _, low, quarter, median, three_quarters, high, highest = example.T
    axes.fill_between(layers, low, high, color=blue, alpha=0.2, linewidth=0, label="one example: middle 90 %, 50 %")
    axes.fill_between(layers, quarter, three_quarters, color=blue, alpha=0.35, linewidth=0)
    axes.plot(layers, highest, color=blue, linewidth=0.6, label="one example: largest")
    axes.plot(layers, median, color=blue, linewidth=1.5, label="one example: median")
    axes.plot(layers, batch[:, [1, 5]], "k:", linewidth=0.8, label=["whole batch: middle 90 %", None])
    axes.plot(layers, batch[:, _MEDIAN], "k--", linewidth=1.5, label="whole batch: median")
    if np.isfinite(reach(median)):
        axes.axvline(len(median) - reach(median), color=drawing.GREY, linewidth=0.8)


def measured_and_predicted(records: Sequence[Record]) -> Figure:
    """Root mean squares of dL/dz and of the weights' gradient, layer by layer, relative to the last layer's."""
    found, names = curves(records), {"adjoints": "dL/dz", "norms": "dL/dW"}
    activations, initializations = (found.index.unique(name) for name in _NETWORK)
    markers, looks = drawing.markers_of(activations), drawing.looks_of(activations)
    figure, panels = drawing.grid(len(names), len(initializations), size=(2.3, 2.7))
    for axes, (field, initialization) in zip(panels, itertools.product(names, initializations), strict=True):
        for activation, rows in found.xs(initialization, level="initialization").groupby(level=0, sort=False):
            logs = np.log10(stacked(rows[field]) / stacked(rows[field])[:, -1:])
            layers, look = np.arange(1, logs.shape[1] + 1), looks[activation]
            marks = look | {"linestyle": "none", "marker": markers[activation], "markersize": 3}
            drawing.band(axes, layers, logs, marks, activation)
            axes.plot(layers, np.log10(rows[f"{field} predicted"].iloc[0]), **look, linewidth=1)
        drawing.head(axes, f"{names[field]}, {_WORDS[initialization]}")
        axes.grid(axis="y", linewidth=0.3)
    drawing.legend(figure, "mark: measured\nshade: range over draws\nline: predicted")
    by_layer = factors(records)
    off = np.log(by_layer["norms"] / by_layer["norms predicted"]).abs()
    told = f"{off.median():.1%} in the median network and by {off.max():.1%} in the worst ({_name(*off.idxmax())})"
    found = f"Mean-field theory predicts what a layer multiplies the weights' gradient dL/dW by; it is off by {told}"
    return drawing.caption(figure, found, "layer", r"$\log_{10}$ root mean square, last layer's = 0")


def who_learns(records: Sequence[Record]) -> Figure | None:
    """Accuracy after training against the smallest median norm of any layer at initialization."""
    found = _read(records, "network").query(_TRAINED).set_index(_NETWORK)
    if found.empty:
        return None
    found["smallest"] = medians(records)["initialization", "example"].map(np.nanmin)
    activations, initializations = (found.index.unique(name) for name in _NETWORK)
    markers = drawing.markers_of(activations)
    shades = dict(zip(initializations, map(str, np.linspace(0, 0.75, len(initializations))), strict=True))
    figure, (axes,) = drawing.panels(1, size=(6.7, 4.0))
    for one in found.reset_index().itertuples():
        look = {"marker": markers[one.activation], "color": shades[one.initialization]}
        axes.plot(one.smallest, one.accuracy, **look, markersize=7)
    for name, marker in markers.items():
        axes.plot([], [], marker, color="white", markeredgecolor="black", label=name)
    for name, shade in shades.items():
        axes.plot([], [], color=shade, linewidth=6, label=_WORDS[name])
    axes.axvline(_SMALL, color=drawing.GREY, linewidth=0.8)
    axes.set_ylim(0, 1.02)
    drawing.legend(figure, "shape: activation\nshade: initialization")
    x = r"$\log_{10}$ median norm at initialization, in the layer where it is smallest"
    y = f"accuracy on held-out images after {found['step'].max()} steps"
    small = found["smallest"] < _SMALL
    told = [
        f"{of.median():.0%} in the {len(of)} network{'s' * (len(of) != 1)} where {some} layer's median gradient norm "
        "starts below 0.001"
        for some, of in (("some", found["accuracy"][small]), ("no", found["accuracy"][~small]))
        if len(of)
    ]
    return drawing.caption(figure, f"The median accuracy is {', '.join(told)}", x, y)


def _name(activation: str, initialization: str) -> str:
    return f"{activation}, {_WORDS[initialization]}"


def _reached(logs: np.ndarray) -> str:
    """The layers back to a hundredth, and in brackets to a thousandth, as "9 (12)"."""
    far = [frames.lags([reach(logs, share)]) for share in (_HUNDREDTH, _THOUSANDTH)]
    return far[0] if far[0] == far[1] else f"{far[0]} ({far[1]})"


FIGURES: drawing.Figures = (at_initialization, after_training, measured_and_predicted, who_learns)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/deep_mlp")
