"""The page of a run of the tagging experiment, and its figures, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.dots import dots
from experiments.common.workdir import Record
from experiments.tagging.findings import (
    ALL_TAGS,
    BLIND,
    PHASES,
    WORDS,
    ambiguous,
    best,
    by_tag,
    confused,
    in_words,
    lecture,
    matrix,
    most_right,
    results,
    setting,
    spread,
    table,
    tags_table,
    verdict,
)
from experiments.tagging.model import BIDIRECTIONAL


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    padding = frames.frame(records, "padding")
    return page.filled(
        __file__,
        verdict=verdict(records),
        setting=setting(records),
        table=table(records),
        best=best(records),
        tags=tags_table(records),
        confused=confused(records),
        lecture=lecture(records),
        grammar=len(ambiguous(records)) > 0,
        padding=f"{padding['change'].max():.1e}" if len(padding) else "",
    )


def accuracy_by_distance(records: Sequence[Record]) -> Figure | None:
    """The share right of ambiguous words by the distance of what decides: panels by side and kind, lines by network."""
    found = ambiguous(records)
    if found.empty:
        return None
    found = found.assign(
        percent=100 * found["right"],
        panel="decided to the " + found["side"] + ",\nby a word " + found["deciding"],
    )
    figure, panels = drawing.courses(
        found, "distance", "percent", panel="panel", line="network", across=2, size=(3.3, 2.6), marker="."
    )
    chance = found["chance"].iloc[0]
    for axes in panels.values():
        axes.axhline(100 * chance, color=drawing.GREY, linewidth=0.8, zorder=0)
        axes.set_ylim(top=101)
        axes.set_xticks([1, *range(3, found["distance"].max() + 1, 3)])
    drawing.legend(figure, "line: median\nshade: range over seeds\ngrey: chance level")
    title = _blindness(found, chance) or most_right(records)
    return drawing.caption(figure, title, "distance of the word that decides (words)", "ambiguous words right (%)")


def _blindness(found: pd.DataFrame, chance: float) -> str:
    """What networks of one direction and of both tag right, in a sentence."""
    told = []
    for network, side in BLIND.items():
        blind = found[(found["network"] == network) & (found["side"] == side)]["right"]
        if len(blind):
            told.append(f"{network} tags {spread(blind)} of the words right that are decided to the {side}")
    both = found[found["network"] == BIDIRECTIONAL]["right"]
    if len(both):
        told.append(f"bidirectional {spread(both)} of those decided on either side")
    return f"{', '.join(told)}; chance is {100 * chance:.1f} %" if told else ""


def right_by_words(records: Sequence[Record]) -> Figure:
    """The share right of all words, and of those that were seen in training, not seen, or seen with several tags."""
    ends = results(records)
    rows = [
        ends[["network", "seed"]].assign(kind=f"{words} ({ends[f'words_{name}'].iloc[0]:,})", percent=100 * right)
        for name, words in WORDS.items()
        if (right := ends[f"right_{name}"]).notna().all()
    ]
    figure, (axes,) = drawing.grid(1, 1, size=(7, 0.62 * len(rows) + 1.6))
    dots(axes, pd.concat(rows, ignore_index=True), "kind", "network")
    drawing.legend(figure, "mark: mean\nbar: range over seeds")
    return drawing.caption(figure, most_right(records), f"words right (%), {ends['source'].iloc[0]}")


def f1_by_tag(records: Sequence[Record]) -> Figure:
    """F1 of each tag, and their mean: marks by network, the most frequent tags first."""
    found, ends = by_tag(records), results(records)
    mean = ends[["network", "seed"]].assign(kind=ALL_TAGS, percent=100 * ends["mean_f1"])
    kinds = found["tag"] + " (" + found["support"].map("{:,}".format) + ")"
    rows = pd.concat([found.assign(kind=kinds, percent=100 * found["f1"]), mean], ignore_index=True)
    figure, (axes,) = drawing.grid(1, 1, size=(7, 0.42 * rows["kind"].nunique() + 1.4))
    dots(axes, rows, "kind", "network")
    drawing.legend(figure, "mark: mean\nbar: range over seeds")
    mine = found[found["network"] == best(records)].groupby("tag", sort=False)["f1"].mean()
    ends_of = (f"{100 * mine[tag]:.1f} % ({tag})" for tag in (mine.idxmin(), mine.idxmax()))
    title = f"The F1 score of {best(records)} reaches from {' to '.join(ends_of)}"
    return drawing.caption(figure, title, "F1 (%)", "tag (number of test words)")


def confusion(records: Sequence[Record]) -> Figure:
    """A matrix of the best network's counts over all seeds: true tags downwards, predicted ones to the right."""
    tags, counts = matrix(records)
    figure, (axes,) = drawing.grid(1, 1, size=(0.46 * len(tags) + 2, 0.36 * len(tags) + 1.4), share=(False, False))
    drawing.confusion(axes, tags, counts)
    title = f"{confused(records)}, over all seeds. Darker fields are a larger share of a true tag"
    return drawing.caption(figure, title, "predicted tag", "true tag")


def error_by_step(records: Sequence[Record]) -> Figure | None:
    """The share of wrong test words against the training step, a line for each network."""
    found = frames.frame(records, "evaluation")
    if found.empty:
        return None
    found = found.assign(percent=100 * found["error"], panel="test words")
    figure, panels = drawing.courses(found, "step", "percent", panel="panel", line="network", size=(6, 3.2), marker=".")
    for axes in panels.values():
        drawing.plain_ticks(axes, (1, 2, 5))
    drawing.legend(figure, "line: median\nshade: range over seeds")
    last = found[found["step"] == found["step"].max()].groupby("network", sort=False)["percent"]
    told = ", ".join(f"{frames.span(percent, '.1f')} % in {network}" for network, percent in last)
    title = f"At the end of training the share of wrong words is {told} (ranges over seeds)"
    return drawing.caption(figure, title, "training step", "words wrong (%)")


def state_gradient_by_distance(records: Sequence[Record]) -> Figure | None:
    """The norm of a decision's gradient with respect to the states, by distance to either side of a word."""
    return _gradient(records, "states", r"$\log_{10} \|\partial d / \partial s\|$")


def input_gradient_by_distance(records: Sequence[Record]) -> Figure | None:
    """The norm of a decision's gradient with respect to the words' embeddings, by distance."""
    return _gradient(records, "inputs", r"$\log_{10} \|\partial d / \partial x\|$")


def flows(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each run, phase and side: gradients by distance, of the states over both directions."""
    found = frames.frame(records, "flow")
    if found.empty:
        return found
    columns = [name for name in found if name.startswith("states_")]

    by_run = ([each for each in row if isinstance(each, np.ndarray)] for row in found[columns].to_numpy())
    return found.assign(states=[np.sqrt(np.square(norms).sum(axis=0)) for norms in by_run])


def _gradient(records: Sequence[Record], quantity: str, label: str) -> Figure | None:
    found = flows(records)
    if found.empty:
        return None
    where = found["side"].map(
        {"right": "decided to the right", "left": "decided to the left", "middle": "middle words"}
    )
    found = found.assign(panel=where + ",\n" + found["phase"].map(PHASES))
    figure, panels, lines = drawing.multiples(found, panel="panel", line="network", across=2, size=(3.3, 2.6))
    reach = len(found[quantity].iloc[0]) // 2
    distances = np.arange(-reach, reach + 1)
    for axes, network, look, seeds in lines:
        drawing.band(axes, distances, frames.log10(frames.stacked(seeds[quantity])), {**look, "marker": "."}, network)
    for name, axes in panels.items():
        axes.axvline(0, color=drawing.GREY, linewidth=0.8, zorder=0)
        side = found[found["panel"] == name]["side"].iloc[0]
        if side in ("left", "right"):
            axes.axvline(reach if side == "right" else -reach, color=drawing.GREY, linestyle=":", zorder=0)
    dotted = "\ndots: the word that decides" if set(found["side"]) & {"left", "right"} else ""
    drawing.legend(figure, f"line: median\nshade: range over seeds\ngrey: the word in question{dotted}")
    x = "distance from the word in question (words; positive to its right)"
    return drawing.caption(figure, _reaches(found, quantity), x, label)


def _reaches(found: pd.DataFrame, quantity: str) -> str:
    """The gradient at the farthest word, relative to that at the word in question, after training and before."""
    middle, told = len(found[quantity].iloc[0]) // 2, []
    for (side, network), seeds in found.groupby(["side", "network"], sort=False):
        for end in [side] if side in ("left", "right") else ["left", "right"]:
            logs = {
                phase: _log_share(frames.stacked(of_phase[quantity]), middle, -1 if end == "right" else 0)
                for phase, of_phase in seeds.groupby("phase", sort=False)
            }
            if np.isfinite(logs["trained"]):
                before, after = (drawing.power_of_ten(logs[phase]) for phase in ("initialization", "trained"))
                told.append(f"{after} ({before}) to the {end} in {network}")
    of = "states" if quantity == "states" else "words"
    return (
        f"After training (in brackets: before), the gradient at the {of} {middle} {in_words(middle)} away, as a "
        f"multiple of that at the word in question, is {', '.join(told)}; where a network does not read there is none"
    )


def _log_share(norms: np.ndarray, middle: int, end: int) -> float:
    """The median over seeds of log10 of a norm at one end over that in the middle."""
    with np.errstate(divide="ignore"):
        return float(np.median(np.log10(norms[:, end] / norms[:, middle])))


# Words


FIGURES: drawing.Figures = (
    accuracy_by_distance,
    right_by_words,
    f1_by_tag,
    confusion,
    error_by_step,
    state_gradient_by_distance,
    input_gradient_by_distance,
)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/tagging")
