"""Figures, tables and verdict of the deep_mlp experiment, drawn from its metrics.jsonl alone.

``python -m experiments.deep_mlp.report --workdir=runs/deep_mlp`` draws the figures of a run again.
"""

import functools
import itertools
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing, frames
from experiments.common.drawing import COLOURS, DASHES, MARKERS
from experiments.common.workdir import Record

LECTURE = ("elu", "relu", "sigmoid", "tanh")
"""The activations of which it was said that ELU keeps gradients longest, and that all vanish after about 10 layers."""

_PHASES = ("initialization", "trained")
_ABOUT = 10  # layers, after which the lecture sees every gradient vanish
_HUNDREDTH, _THOUSANDTH = -2.0, -3.0  # log10, of the last layer's norm
_SMALL = -3.0  # log10 of a norm
_MEDIAN = 3  # of the seven quantiles
_WORDS = {"activation", "initialization", "weights", "gradient of"}
_OF = {"example": "one example", "batch": "whole batch"}


def chosen(records: Sequence[Record], kind: str, field: str, **where: str) -> dict[tuple[str, str], np.ndarray]:
    """A field of the records of a kind, stacked over draws: arrays (draws, ...) by activation and initialization."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record["kind"] == kind and all(record[name] == value for name, value in where.items()):
            found.setdefault((record["activation"], record["initialization"]), []).append(record)
    return {
        key: np.array(
            [record[field] for record in sorted(of_key, key=lambda r: (r.get("draw", 0), r.get("step", 0)))], float
        )
        for key, of_key in found.items()
    }


def medians(records: Sequence[Record], phase: str, of: str) -> dict[tuple[str, str], np.ndarray]:
    """log10 of the median norm in each layer (L,), the median over draws; NaN where no norm is left."""
    quantiles = chosen(records, "neuron_gradient", "quantiles", phase=phase, of=of)
    return {key: np.median(array[..., _MEDIAN], axis=0) for key, array in quantiles.items()}


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


def factors(records: Sequence[Record]) -> dict[tuple[str, str], tuple[np.ndarray, ...]]:
    """Factors per layer at initialization over draws: of dL/dz measured and predicted, of the norms the same."""
    adjoints = chosen(records, "network", "adjoints", phase=_PHASES[0])
    norms = chosen(records, "neuron_gradient", "root_mean_square", phase=_PHASES[0], of="example")
    predicted = [chosen(records, "predicted", field) for field in ("adjoints", "norms")]
    return {
        key: tuple(
            np.array([factor(draw) for draw in curves[key]]) for curves in (adjoints, predicted[0], norms, predicted[1])
        )
        for key in norms
    }


def reach_table(records: Sequence[Record]) -> str:
    """How many layers back a gradient falls to a hundredth, and to a thousandth, as a Markdown table."""
    rows = []
    for initialization in _initializations(records):
        for phase, of in itertools.product(_PHASES, _OF):
            found = {a: logs for (a, i), logs in medians(records, phase, of).items() if i == initialization}
            if found:
                words = {"initialization": initialization, "weights": phase, "gradient of": _OF[of]}
                rows.append(words | {activation: _reached(logs) for activation, logs in found.items()})
    return frames.table(rows, _WORDS)


def factor_table(records: Sequence[Record]) -> str:
    """Every network: its factors per layer, its norms, and what training made of it, as a Markdown table."""
    before, after = (medians(records, phase, "example") for phase in _PHASES)
    accuracy = chosen(records, "network", "accuracy", phase=_PHASES[1])
    losses = chosen(records, "train", "loss")
    left_out = [chosen(records, "neuron_gradient", field, of="example") for field in ("zero", "underflowed")]
    rows = []
    for key, (adjoint, adjoint_predicted, norm, norm_predicted) in factors(records).items():
        row = {
            "activation": key[0],
            "initialization": key[1],
            "dL/dz per layer": f"{np.median(adjoint):.3f}",
            "predicted": f"{np.median(adjoint_predicted):.3f}",
            "weights' gradient per layer": f"{np.median(norm):.3f}",
            "predicted ": f"{np.median(norm_predicted):.3f}",
            "log10 norm, last layer": f"{before[key][-1]:.1f}",
            "first layer": f"{before[key][0]:.1f}",
            "zero": f"{left_out[0][key].mean():.0%}",
            "underflowed": f"{left_out[1][key].mean():.1%}",
        }
        if key in after:
            ends = [losses[key][:10].mean(), losses[key][-10:].mean()]
            row |= {"first layer, trained": f"{after[key][0]:.1f}", "loss": f"{ends[0]:.2f} → {ends[1]:.2f}"}
            row |= {"accuracy": f"{accuracy[key][0]:.0%}"}
        rows.append(row)
    return frames.table(rows, _WORDS)


def verdict(records: Sequence[Record]) -> str:
    """The lecture's claims judged for each initialization, from single examples before training."""
    initial = medians(records, _PHASES[0], "example")
    judged = list(dict.fromkeys(activation for activation, _ in initial if activation in LECTURE))
    counted, holds, longest = [], [], []
    for initialization in _initializations(records):
        found = {a: logs for (a, i), logs in initial.items() if i == initialization and a in LECTURE}
        fallen = [f"{activation} {_reached(logs)}" for activation, logs in found.items() if np.isfinite(reach(logs))]
        counted.append(f"{initialization}: {', '.join(fallen) or 'none'}")
        reached = {activation: reach(logs) for activation, logs in found.items()}
        holds += [initialization] * all(layers <= _ABOUT for layers in reached.values())
        farthest = [activation for activation, layers in reached.items() if layers == max(reached.values())]
        longest += [initialization] * (farthest == ["elu"])
    return (
        "At initialization the gradient of a single example falls to a hundredth (a thousandth) of the last layer's "
        f"after this many layers back: {'; '.join(counted)}; in the others never. That it is gone in all of "
        f"{_listed(judged)} within {_ABOUT} layers holds for {_listed(holds)}; that ELU alone keeps it longest, for "
        f"{_listed(longest)}. {_change(records)}"
    ).strip()


def _change(records: Sequence[Record]) -> str:
    """Whether training makes the gradients smaller, and a tiny number larger, as the lecture says."""
    before, after = (medians(records, phase, "example") for phase in _PHASES)
    if not after:
        return ""
    changes = {key: np.nanmedian(after[key]) - np.nanmedian(before[key]) for key in after}
    smaller = [key for key, change in changes.items() if change <= -np.log10(2)]
    larger = [key for key, change in changes.items() if change >= np.log10(2)]
    quantiles = [chosen(records, "neuron_gradient", "quantiles", phase=phase, of="example") for phase in _PHASES]
    largest = [{key: np.nanmax(array[0, :, -1]) for key, array in of_phase.items()} for of_phase in quantiles]
    blown = sum(bool(largest[1][key] > largest[0][key]) for key in smaller)
    return (
        f"Training makes the median gradient at least twice as small in {len(smaller)} of {len(after)} networks (the "
        f"largest one of a neuron and an example grows in {blown} of those), at least twice as large in {len(larger)}."
    )


def summary(records: Sequence[Record], source: str) -> str:
    """The page left in the workdir."""
    depth = _depth(records)
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


def distributions(records: Sequence[Record], phase: str) -> Figure | None:
    """A panel for each activation and initialization: in every layer, one distribution over neurons."""
    by_of = {of: chosen(records, "neuron_gradient", "quantiles", phase=phase, of=of) for of in _OF}
    keys = list(by_of["example"])
    if not keys:
        return None
    activations, initializations = (list(dict.fromkeys(names)) for names in zip(*keys, strict=True))
    figure, panels = plt.subplots(
        len(initializations),
        len(activations),
        figsize=(2.1 * len(activations) + 3, 1.75 * len(initializations) + 1.2),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for (row, initialization), (column, activation) in itertools.product(
        enumerate(initializations), enumerate(activations)
    ):
        axes, key = panels[row, column], (activation, initialization)
        if key not in by_of["example"]:  # an interrupted run
            continue
        for of, colour, dashes in (("example", "#0072b2", "-"), ("batch", "#000000", (0, (3, 1.5)))):
            _bands(axes, np.median(by_of[of][key], axis=0), colour, dashes, _OF[of], filled=of == "example")
        fallen = reach(np.median(by_of["example"][key][..., _MEDIAN], axis=0))
        if np.isfinite(fallen):
            axes.axvline(by_of["example"][key].shape[1] - fallen, color="#8a8a8a", linewidth=0.8)
        axes.set_title(f"{activation}, {_variance(initialization)}", loc="left", fontsize=9)
        axes.grid(axis="y", linewidth=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.supylabel("$\\log_{10}$ norm of the gradient\nof a neuron's incoming weights", fontsize=10)
    figure.supxlabel("layer (the loss is at the right; grey line: a hundredth of the last layer's median)", fontsize=10)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    figure.suptitle(_found(records, phase), x=0.01, ha="left", fontsize=11)
    return figure


def _bands(axes: Axes, quantiles: np.ndarray, colour: str, dashes: object, label: str, *, filled: bool) -> None:
    """Of (L, 7) quantiles the median and the middle nine tenths; filled, also the middle half and the largest."""
    layers = np.arange(1, len(quantiles) + 1)
    _, low, quarter, median, three_quarters, high, highest = quantiles.T
    if filled:
        axes.fill_between(layers, low, high, color=colour, alpha=0.2, linewidth=0, label=f"{label}: middle 90 %, 50 %")
        axes.fill_between(layers, quarter, three_quarters, color=colour, alpha=0.35, linewidth=0)
        axes.plot(layers, highest, color=colour, linewidth=0.6, label=f"{label}: largest")
    else:
        axes.plot(layers, low, color=colour, linewidth=0.8, linestyle=(0, (1, 2)), label=f"{label}: middle 90 %")
        axes.plot(layers, high, color=colour, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.plot(layers, median, color=colour, linestyle=dashes, linewidth=1.5, label=f"{label}: median")


def _found(records: Sequence[Record], phase: str) -> str:
    found = {key: reach(logs) for key, logs in medians(records, phase, "example").items()}
    vanishing = {key: layers for key, layers in found.items() if np.isfinite(layers)}
    when = "At initialization" if phase == _PHASES[0] else "After training"
    text = f"{when} the gradient falls to a hundredth in {len(vanishing)} of {len(found)} networks"
    if not vanishing:
        return text
    ends = []
    for word, layers in {"soonest": min(vanishing.values()), "latest": max(vanishing.values())}.items():
        names = ", ".join(" ".join(key) for key in vanishing if vanishing[key] == layers)
        ends.append(f"{word} after {_count(layers)} layers ({names})")
    return f"{text},\n{', '.join(ends)}"


def measured_and_predicted(records: Sequence[Record]) -> Figure:
    """Root mean squares layer by layer, relative to the last layer's: of dL/dz, and of the weights' gradient."""
    measured = {
        "adjoints": chosen(records, "network", "adjoints", phase=_PHASES[0]),
        "norms": chosen(records, "neuron_gradient", "root_mean_square", phase=_PHASES[0], of="example"),
    }
    initializations = _initializations(records)
    activations = list(dict.fromkeys(activation for activation, _ in measured["norms"]))
    figure, panels = plt.subplots(
        2,
        len(initializations),
        figsize=(2.3 * len(initializations) + 1.5, 6),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    names = {"adjoints": "dL/dz", "norms": "weights' gradient"}
    for (row, field), (column, initialization) in itertools.product(enumerate(names), enumerate(initializations)):
        axes = panels[row, column]
        for place, activation in enumerate(activations):
            key = (activation, initialization)
            if key not in measured[field]:  # an interrupted run
                continue
            logs = np.log10(measured[field][key]) - np.log10(measured[field][key][:, -1:])
            layers = np.arange(1, logs.shape[1] + 1)
            middle = np.median(logs, axis=0)
            spread = np.stack([middle - logs.min(axis=0), logs.max(axis=0) - middle])
            colour, marker, dashes = (cycle[place % len(cycle)] for cycle in (COLOURS, MARKERS, DASHES))
            axes.errorbar(
                layers, middle, spread, color=colour, marker=marker, markersize=3, linestyle="none", linewidth=0.8
            )
            predicted = np.log10(chosen(records, "predicted", field)[key][0])
            axes.plot(layers, predicted, color=colour, linestyle=dashes, linewidth=1)
            if axes is panels[0, 0]:
                axes.plot([], [], color=colour, marker=marker, linestyle=dashes, linewidth=1, label=activation)
        axes.set_title(f"{names[field]}, {_variance(initialization)}", loc="left", fontsize=9)
        axes.grid(axis="y", linewidth=0.3)
    figure.supylabel(r"$\log_{10}$ root mean square, last layer's = 0", fontsize=10)
    figure.supxlabel("layer", fontsize=10)
    words = "line: predicted\nmark: measured\nbar: range over draws"
    figure.legend(loc="outside right center", frameon=False, fontsize=9, title=words, title_fontsize=9)
    worst = {key: _off(*of_key[2:]) for key, of_key in factors(records).items()}
    most = max(worst, key=lambda key: worst[key])
    figure.suptitle(
        f"Mean-field theory tells the weights' gradient's factor per layer to {np.median(list(worst.values())):.1%} "
        f"in the median network,\nto {worst[most]:.1%} in the worst ({most[0]} with {_variance(most[1])})",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    return figure


def _off(measured: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.abs(np.log(np.median(measured) / np.median(predicted))))


def who_learns(records: Sequence[Record]) -> Figure | None:
    """Accuracy after training against the smallest median norm of any layer at initialization."""
    accuracy = chosen(records, "network", "accuracy", phase=_PHASES[1])
    if not accuracy:
        return None
    smallest = {key: float(np.nanmin(logs)) for key, logs in medians(records, _PHASES[0], "example").items()}
    steps = max(record["step"] for record in records if record["kind"] == "train")
    activations, initializations = (list(dict.fromkeys(names)) for names in zip(*accuracy, strict=True))
    shades = np.linspace(0, 0.75, len(initializations))
    figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    for (activation, initialization), value in accuracy.items():
        marker = MARKERS[activations.index(activation) % len(MARKERS)]
        shade = str(shades[initializations.index(initialization)])
        axes.plot(smallest[activation, initialization], value[0], marker, color=shade, markersize=7)
    shapes = [
        axes.plot([], [], MARKERS[place % len(MARKERS)], color="white", markeredgecolor="black", label=activation)[0]
        for place, activation in enumerate(activations)
    ]
    axes.add_artist(axes.legend(handles=shapes, frameon=False, fontsize=9, loc="upper left"))
    colours = [
        axes.plot([], [], "-", color=str(shade), linewidth=6, label=_variance(initialization))[0]
        for shade, initialization in zip(shades, initializations, strict=True)
    ]
    axes.legend(handles=colours, frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0.15, 1))
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(r"$\log_{10}$ median norm at initialization, in the layer where it is smallest")
    axes.set_ylabel(f"accuracy on held-out images after {steps} steps")
    small = [value[0] for key, value in accuracy.items() if smallest[key] < _SMALL]
    large = [value[0] for key, value in accuracy.items() if smallest[key] >= _SMALL]
    axes.axvline(_SMALL, color="#8a8a8a", linewidth=0.8)
    found = [
        f"{np.median(group):.0%} in {len(group)} networks where {where} layer starts below 0.001"
        for group, where in ((small, "some"), (large, "no"))
        if group
    ]
    axes.set_title("Median accuracy " + ",\n".join(found), loc="left", fontsize=11)
    return figure


def _initializations(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(record["initialization"] for record in records))


def _depth(records: Sequence[Record]) -> int:
    return next(len(record["inputs"]) for record in records if record["kind"] == "network")


def _reached(logs: np.ndarray) -> str:
    """As 9 (12): layers back to a hundredth and to a thousandth."""
    hundredth, thousandth = (_count(reach(logs, share)) for share in (_HUNDREDTH, _THOUSANDTH))
    return hundredth if hundredth == thousandth else f"{hundredth} ({thousandth})"


def _count(layers: float) -> str:
    return "never" if np.isinf(layers) else f"{layers:.0f}"


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _variance(initialization: str) -> str:
    return {"torch": "PyTorch's", "glorot": "Glorot"}.get(initialization, f"variance {initialization}")


FIGURES: drawing.Figures = {
    "at_initialization": functools.partial(distributions, phase=_PHASES[0]),
    "after_training": functools.partial(distributions, phase=_PHASES[1]),
    "measured_and_predicted": measured_and_predicted,
    "who_learns": who_learns,
}
"""By the names of their files."""


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/deep_mlp")
