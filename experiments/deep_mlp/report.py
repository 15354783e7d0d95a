"""Figures, tables and verdict of the deep_mlp experiment, drawn from its metrics.jsonl alone.

``python -m experiments.deep_mlp.report --workdir=runs/deep_mlp`` draws the figures of a run again.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing, frames
from experiments.common.drawing import COLOURS, DASHES, MARKERS
from experiments.common.frames import frame, stacked
from experiments.common.workdir import Record

LECTURE = ("elu", "relu", "sigmoid", "tanh")
"""The activations of which it was said that ELU keeps gradients longest, and that all vanish after about 10 layers."""

_NETWORK = ["activation", "initialization"]
_PHASES = ("initialization", "trained")
_ABOUT = 10  # layers, after which the lecture sees every gradient vanish
_HUNDREDTH, _THOUSANDTH = -2.0, -3.0  # log10, of the last layer's norm
_SMALL = -3.0  # log10 of a norm
_MEDIAN = 3  # of the seven quantiles
_WORDS = {*_NETWORK, "weights", "gradient of"}
_OF = {"example": "one example", "batch": "whole batch"}

read = functools.partial(frame, dtype=np.float64)  # quantiles are logarithms already


def medians(records: Sequence[Record], phase: str, of: str) -> pd.Series:
    """By network, log10 of the median norm in each layer (L,), the median over draws; NaN where no norm is left."""
    found = read(records, "neuron_gradient", phase=phase, of=of)
    if found.empty:
        return pd.Series()
    by_network = found.groupby(_NETWORK, sort=False)["quantiles"]
    return by_network.agg(lambda draws: np.median(stacked(draws)[..., _MEDIAN], axis=0))


def reach(logs: np.ndarray, share: float = _HUNDREDTH) -> float:
    """Layers back from the last until log10 of the norm has fallen by a share, or nothing is left; inf if never."""
    fallen = ~(logs - logs[-1] > share)
    return float(np.argmax(fallen[::-1])) if fallen.any() else np.inf


def factor(norms: np.ndarray) -> float:
    """What a layer back multiplies norms (L,) by: exp of the slope of ln(norm), over layers 2 to L.

    The first is left out: its kernel has another shape.
    """
    layers = np.arange(len(norms))[1:]
    alive = norms[1:] > 0
    if alive.sum() < 2:
        return np.nan
    return float(np.exp(-np.polyfit(layers[alive], np.log(norms[1:][alive]), 1)[0]))


def factors(records: Sequence[Record]) -> pd.DataFrame:
    """By network, factors per layer at initialization, medians over draws: of dL/dz and of the norms, and predicted."""
    predicted = read(records, "predicted")
    network = read(records, "network", phase=_PHASES[0])
    example = read(records, "neuron_gradient", phase=_PHASES[0], of="example")
    curves = {
        "adjoints": network.set_index(_NETWORK)["adjoints"],
        "predicted adjoints": predicted.set_index(_NETWORK)["adjoints"],
        "norms": example.set_index(_NETWORK)["root_mean_square"],
        "predicted norms": predicted.set_index(_NETWORK)["norms"],
    }
    return pd.DataFrame({n: c.map(factor).groupby(_NETWORK, sort=False).median() for n, c in curves.items()})


def reach_table(records: Sequence[Record]) -> str:
    """How many layers back a gradient falls to a hundredth, and to a thousandth, as a Markdown table."""
    reached = {(phase, of): medians(records, phase, of).map(_reached) for phase, of in itertools.product(_PHASES, _OF)}
    rows = []
    for initialization in _named(records, "initialization"):
        for (phase, of), found in reached.items():
            if not found.empty and initialization in found.index.levels[1]:
                words = {"initialization": initialization, "weights": phase, "gradient of": _OF[of]}
                rows.append(words | found.xs(initialization, level="initialization").to_dict())
    return frames.table(rows, _WORDS)


def factor_table(records: Sequence[Record]) -> str:
    """Every network: its factors per layer, its norms, and what training made of it, as a Markdown table."""
    before, after = (medians(records, phase, "example") for phase in _PHASES)
    left_out = read(records, "neuron_gradient", of="example").groupby(_NETWORK)[["zero", "underflowed"]]
    shares = left_out.agg(lambda of_networks: stacked(of_networks).mean())
    trained, losses = read(records, "network", phase=_PHASES[1]), read(records, "train")
    rows = []
    for network, found in factors(records).iterrows():
        row = {
            **dict(zip(_NETWORK, network, strict=True)),
            "dL/dz per layer": f"{found['adjoints']:.3f}",
            "predicted": f"{found['predicted adjoints']:.3f}",
            "weights' gradient per layer": f"{found['norms']:.3f}",
            "predicted ": f"{found['predicted norms']:.3f}",
            "log10 norm, last layer": f"{before[network][-1]:.1f}",
            "first layer": f"{before[network][0]:.1f}",
            "zero": f"{shares.loc[network, 'zero']:.0%}",
            "underflowed": f"{shares.loc[network, 'underflowed']:.1%}",
        }
        if network in after:
            loss = losses.set_index(_NETWORK).loc[[network], "loss"]
            accuracy = trained.set_index(_NETWORK)["accuracy"][network].item()
            row |= {"first layer, trained": f"{after[network][0]:.1f}"}
            row |= {"loss": f"{loss[:10].mean():.2f} → {loss[-10:].mean():.2f}", "accuracy": f"{accuracy:.0%}"}
        rows.append(row)
    return frames.table(rows, _WORDS)


def verdict(records: Sequence[Record]) -> str:
    """The lecture's claims judged for each initialization, from single examples before training."""
    initial = medians(records, _PHASES[0], "example")
    initial = initial[initial.index.get_level_values("activation").isin(LECTURE)]
    counted, holds, longest = [], [], []
    for initialization, found in initial.groupby("initialization", sort=False):
        found = found.droplevel("initialization")
        layers = found.map(reach)
        fallen = [f"{name} {_reached(found[name])}" for name in layers.index[np.isfinite(layers)]]
        counted.append(f"{initialization}: {', '.join(fallen) or 'none'}")
        holds += [initialization] if (layers <= _ABOUT).all() else []
        longest += [initialization] if list(layers.index[layers == layers.max()]) == ["elu"] else []
    return (
        "At initialization the gradient of a single example falls to a hundredth (a thousandth) of the last layer's "
        f"after this many layers back: {'; '.join(counted)}; in the others never. That it is gone in all of "
        f"{_listed(initial.index.unique('activation'))} within {_ABOUT} layers holds for {_listed(holds)}; that ELU "
        f"alone keeps it longest, for {_listed(longest)}. {_change(records)}"
    ).strip()


def _change(records: Sequence[Record]) -> str:
    """Whether training makes the gradients smaller, and a tiny number larger, as the lecture says."""
    before, after = (medians(records, phase, "example").map(np.nanmedian) for phase in _PHASES)
    if after.empty:
        return ""
    changes = after - before[after.index]
    smaller, larger = changes <= -np.log10(2), changes >= np.log10(2)
    of_first = read(records, "neuron_gradient", of="example", draw=0).set_index(["phase", *_NETWORK])["quantiles"]
    largest = of_first.map(lambda quantiles: np.nanmax(quantiles[:, -1]))
    blown = largest[_PHASES[1]][after.index] > largest[_PHASES[0]][after.index]
    return (
        f"Training makes the median gradient at least twice as small in {smaller.sum()} of {len(after)} networks (the "
        f"largest one of a neuron and an example grows in {(smaller & blown).sum()} of those), at least twice as large "
        f"in {larger.sum()}."
    )


def summary(records: Sequence[Record], source: str) -> str:
    """The page left in the workdir."""
    depth = next(len(record["inputs"]) for record in records if record["kind"] == "network")
    return (
        f"# How far back does a gradient reach in a deep fully connected network?\n\n{verdict(records)}\n\n"
        f"Images: {source}. Measured is the norm of the loss's gradient with respect to the incoming weights of a "
        "neuron: of the mean loss of all measured images (batch), or of the loss of one image alone (example).\n\n"
        f"Layers back from layer {depth}, the last before the readout, until the median over neurons (and examples) is "
        f"a hundredth (a thousandth) of that layer's. Layer 1 has a kernel of another shape, and so a norm of another "
        f"size, than the others.\n\n{reach_table(records)}\n\n"
        "Factor that a layer back multiplies the root mean square by, at initialization, median over draws: slope of "
        f"its logarithm over layers 2 to {depth}, and the same of the curve that mean-field theory predicts. The "
        "gradient of the weights is dL/dz times what comes into the layer: where the signal fades on its way up, the "
        "two make up for one another, and the norm is small in all layers alike. Zeros (units that are off) and norms "
        "below the dtype's floor are in no median; how many, in percent over all layers, is in the table. "
        "Loss: the mean of the first ten and of the last ten training steps; accuracy: on the held-out images measured."
        f"\n\n{factor_table(records)}\n"
    )


def at_initialization(records: Sequence[Record]) -> Figure | None:
    """The distributions before training."""
    return distributions(records, _PHASES[0])


def after_training(records: Sequence[Record]) -> Figure | None:
    """The distributions after training."""
    return distributions(records, _PHASES[1])


def distributions(records: Sequence[Record], phase: str) -> Figure | None:
    """A panel for each activation and initialization: in every layer, one distribution over neurons."""
    found = read(records, "neuron_gradient", phase=phase)
    if found.empty:
        return None
    figure, panels = _grid(found["activation"].unique(), found["initialization"].unique(), (2.1, 1.8))
    for (activation, initialization), rows in found.groupby(_NETWORK, sort=False):
        axes, by_of = panels[activation, initialization], rows.groupby("of")["quantiles"]
        quantiles = by_of.agg(lambda draws: np.median(stacked(draws), axis=0))
        _filled_bands(axes, quantiles["example"])
        _outlined_bands(axes, quantiles["batch"])
        fallen = reach(quantiles["example"][:, _MEDIAN])
        if np.isfinite(fallen):
            axes.axvline(len(quantiles["example"]) - fallen, color=drawing.GREY, linewidth=0.8)
        drawing.head(axes, f"{activation}, {_variance(initialization)}")
        axes.grid(axis="y", linewidth=0.3)
    y = "$\\log_{10}$ norm of the gradient of a neuron's incoming weights"
    drawing.label(figure, "layer (the loss is at the right; grey line: a hundredth of the last layer's median)", y)
    drawing.legend(figure)
    drawing.title(figure, _found(records, phase))
    return figure


def _filled_bands(axes: Axes, quantiles: np.ndarray) -> None:
    """Of single examples (L, 7): the middle nine tenths and half, the median, the largest."""
    layers, look = np.arange(1, len(quantiles) + 1), dict[str, Any](color="#0072b2")
    _, low, quarter, median, three_quarters, high, highest = quantiles.T
    axes.fill_between(layers, low, high, **look, alpha=0.2, linewidth=0, label="one example: middle 90 %, 50 %")
    axes.fill_between(layers, quarter, three_quarters, **look, alpha=0.35, linewidth=0)
    axes.plot(layers, highest, **look, linewidth=0.6, label="one example: largest")
    axes.plot(layers, median, **look, linewidth=1.5, label="one example: median")


def _outlined_bands(axes: Axes, quantiles: np.ndarray) -> None:
    """Of the whole batch (L, 7): the middle nine tenths and the median."""
    layers, look = np.arange(1, len(quantiles) + 1), dict[str, Any](color="#000000", linewidth=0.8)
    for curve, label in ((quantiles[:, 1], "whole batch: middle 90 %"), (quantiles[:, 5], None)):
        axes.plot(layers, curve, **look, linestyle=(0, (1, 2)), label=label)
    look |= {"linewidth": 1.5, "linestyle": (0, (3, 1.5))}
    axes.plot(layers, quantiles[:, _MEDIAN], **look, label="whole batch: median")


def _found(records: Sequence[Record], phase: str) -> str:
    found = medians(records, phase, "example").map(reach)
    vanishing = found[np.isfinite(found)]
    when = "At initialization" if phase == _PHASES[0] else "After training"
    text = f"{when} the gradient falls to a hundredth in {len(vanishing)} of {len(found)} networks"
    if vanishing.empty:
        return text
    ends = [
        f"{word} after {layers:.0f} layers ({', '.join(map(' '.join, vanishing.index[vanishing == layers]))})"
        for word, layers in {"soonest": vanishing.min(), "latest": vanishing.max()}.items()
    ]
    return f"{text}, {', '.join(ends)}"


def measured_and_predicted(records: Sequence[Record]) -> Figure:
    """Root mean squares layer by layer, relative to the last layer's: of dL/dz, and of the weights' gradient."""
    measured = read(records, "network", phase=_PHASES[0]).merge(
        read(records, "neuron_gradient", phase=_PHASES[0], of="example")[[*_NETWORK, "draw", "root_mean_square"]]
    )
    measured = measured.rename(columns={"root_mean_square": "norms"})
    predicted = read(records, "predicted").set_index(_NETWORK)
    names = {"adjoints": "dL/dz", "norms": "weights' gradient"}
    figure, panels = _grid(measured["initialization"].unique(), names, (2.3, 2.7))
    activations = list(measured["activation"].unique())
    for (activation, initialization), rows in measured.groupby(_NETWORK, sort=False):
        place = activations.index(activation)
        colour, marker, dashes = (cycle[place % len(cycle)] for cycle in (COLOURS, MARKERS, DASHES))
        for field in names:
            axes = panels[initialization, field]
            logs = np.log10(stacked(rows[field]) / stacked(rows[field])[:, -1:])
            layers, middle = np.arange(1, logs.shape[1] + 1), np.median(logs, axis=0)
            spread = np.stack([middle - logs.min(axis=0), logs.max(axis=0) - middle])
            axes.errorbar(layers, middle, spread, fmt=str(marker), color=colour, markersize=3, linewidth=0.8)
            theory = np.log10(predicted.loc[(activation, initialization), field])
            axes.plot(layers, theory, color=colour, linestyle=dashes, linewidth=1)
            axes.plot([], [], color=colour, marker=marker, linestyle=dashes, linewidth=1, label=activation)
            drawing.head(axes, f"{names[field]}, {_variance(initialization)}")
            axes.grid(axis="y", linewidth=0.3)
    drawing.label(figure, "layer", r"$\log_{10}$ root mean square, last layer's = 0")
    drawing.legend(figure, "line: predicted\nmark: measured\nbar: range over draws")
    found = factors(records)
    worst = np.log(found["norms"] / found["predicted norms"]).abs()
    activation, initialization = worst.idxmax()
    drawing.title(
        figure,
        f"Mean-field theory tells the weights' gradient's factor per layer to {worst.median():.1%} in the median "
        f"network, to {worst.max():.1%} in the worst ({activation} with {_variance(initialization)})",
    )
    return figure


def who_learns(records: Sequence[Record]) -> Figure | None:
    """Accuracy after training against the smallest median norm of any layer at initialization."""
    trained = read(records, "network", phase=_PHASES[1])
    if trained.empty:
        return None
    smallest = medians(records, _PHASES[0], "example").map(np.nanmin)
    found = trained.set_index(_NETWORK)[["accuracy", "step"]].assign(smallest=smallest)
    activations, initializations = (list(found.index.unique(name)) for name in _NETWORK)
    markers = dict(zip(activations, itertools.cycle(MARKERS), strict=False))
    shades = dict(zip(initializations, map(str, np.linspace(0, 0.75, len(initializations))), strict=True))
    figure, (axes,) = drawing.panels(1, size=(6.7, 4.0))
    for (activation, initialization), network in found.iterrows():
        look = {"color": shades[initialization], "markersize": 7}
        axes.plot(network["smallest"], network["accuracy"], markers[activation], **look)
    outline = dict[str, Any](color="white", markeredgecolor="black")
    shapes = [axes.plot([], [], markers[name], **outline, label=name)[0] for name in activations]
    fills = [axes.plot([], [], color=shades[n], linewidth=6, label=_variance(n))[0] for n in initializations]
    where: dict[str, Any] = {"frameon": False, "fontsize": 9, "loc": "upper left"}
    axes.add_artist(axes.legend(handles=shapes, **where))
    axes.legend(handles=fills, **where, bbox_to_anchor=(0.15, 1))
    axes.axvline(_SMALL, color=drawing.GREY, linewidth=0.8)
    axes.set_ylim(0, 1.02)
    x = r"$\log_{10}$ median norm at initialization, in the layer where it is smallest"
    drawing.label(figure, x, f"accuracy on held-out images after {found['step'].max()} steps")
    groups = {"some": found[found["smallest"] < _SMALL], "no": found[found["smallest"] >= _SMALL]}
    told = [
        f"{group['accuracy'].median():.0%} in {len(group)} networks where {some} layer starts below 0.001"
        for some, group in groups.items()
        if len(group)
    ]
    drawing.title(figure, f"Median accuracy {', '.join(told)}")
    return figure


def _grid(columns: Sequence[str], rows: Any, size: tuple[float, float]) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """Panels by column and row."""
    figure, panels = drawing.grid(len(rows), len(columns), size=size)
    places = [(column, row) for row in rows for column in columns]
    return figure, dict(zip(places, panels, strict=True))


def _named(records: Sequence[Record], field: str) -> list[str]:
    return list(dict.fromkeys(record[field] for record in records))


def _reached(logs: np.ndarray) -> str:
    """As 9 (12): layers back to a hundredth and to a thousandth."""
    hundredth, thousandth = (_count(reach(logs, share)) for share in (_HUNDREDTH, _THOUSANDTH))
    return hundredth if hundredth == thousandth else f"{hundredth} ({thousandth})"


def _count(layers: float) -> str:
    return "never" if np.isinf(layers) else f"{layers:.0f}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _variance(initialization: str) -> str:
    return {"torch": "PyTorch's", "glorot": "Glorot"}.get(initialization, f"variance {initialization}")


FIGURES: drawing.Figures = (at_initialization, after_training, measured_and_predicted, who_learns)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/deep_mlp")
