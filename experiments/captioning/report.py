"""The page of a run of the captioning experiment, and its figures, drawn from its metrics.jsonl alone."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.captioning.data import SEEN
from experiments.captioning.findings import (
    GROUPS,
    PARTS,
    best,
    by_number,
    carried,
    combinations,
    entering,
    failing,
    flows,
    greedy,
    most_right,
    places,
    searched,
    setting,
    shares,
    table,
    verdict,
    word_rights,
    words_table,
)
from experiments.captioning.grammar import KINDS_IN_A_ROW, chance_level
from experiments.captioning.model import GRID, MIDDLE, NO_PICTURE, SPACING
from experiments.captioning.scenes import COLOURS, SHAPES, SIDE, SIZES, rendered, scene_of
from experiments.captioning.scores import UNSEEN
from experiments.common import drawing, frames, page
from experiments.common.dots import dots
from experiments.common.frames import percent
from experiments.common.workdir import Record


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    return page.filled(
        __file__,
        verdict=verdict(records),
        setting=setting(records),
        table=table(records),
        by_number=by_number(records),
        greedy=greedy(records),
        signature=searched(records)["signature"].iloc[0],
        words=words_table(records),
        failing=failing(records),
        carried=carried(records),
        entering=entering(records),
    )


# What is right


def captions_right(records: Sequence[Record]) -> Figure:
    """Captions right to the letter, by network, part and number of objects."""
    found = searched(records)
    rows = [
        found[["way", "seed"]].assign(
            kind=f"{count} object{'s' if count > 1 else ''},\n" + found["part"].map(PARTS), percent=100 * found[name]
        )
        for count, name in ((1, "exact_1"), (2, "exact_2"), (3, "exact_3"))
    ]
    all_of_them = found[["way", "seed"]].assign(kind="all,\n" + found["part"].map(PARTS), percent=100 * found["exact"])
    kinds = pd.concat([*rows, all_of_them], ignore_index=True).dropna(subset="percent")
    figure, (axes,) = drawing.grid(1, 1, size=(7, 0.55 * kinds["kind"].nunique() + 1.2))
    dots(axes, kinds, "kind", "way")
    axes.set_xlim(-2, 102)
    drawing.legend(figure, "mark: mean\nbar: range over seeds")
    return drawing.caption(figure, most_right(records), "captions right to the letter (%)")


def words_right(records: Sequence[Record]) -> Figure | None:
    """The share right of each kind of word, a panel for each group of objects or scenes."""
    found = word_rights(records)
    found = found[found["way"] != NO_PICTURE]
    if found.empty:
        return None
    of_objects = found[found["word"].isin(["size", "colour", "shape"])]
    groups = list(of_objects["group"].unique())
    figure, panels = drawing.grid(1, len(groups), size=(3.1, 3.0))
    for axes, group in zip(panels, groups, strict=True):
        rows = of_objects[of_objects["group"] == group]
        dots(axes, rows.assign(percent=100 * rows["right"]), "word", "way")
        axes.set_xlim(-4, 104)
        drawing.head(axes, GROUPS[group])
    panels[0].set_ylim(2.5, -0.5)  # shared by all: each has turned it over
    drawing.legend(figure, "mark: mean\nbar: range over seeds")
    unseen = of_objects[(of_objects["group"] == UNSEEN) & (of_objects["way"] == best(records))]
    told = ", ".join(f"{word} {percent(rights)}" for word, rights in unseen.groupby("word", sort=False)["right"])
    title = f"Words that {best(records)} has right of objects with held-out combinations: {told}"
    return drawing.caption(figure, title if told else most_right(records), "words right (%)")


def combinations_right(records: Sequence[Record]) -> Figure | None:
    """How often both colour and shape are right, a panel for each network; held-out combinations have a frame."""
    ways = [way for way in combinations(records)["way"].unique() if way != NO_PICTURE]
    if not ways:
        return None
    held = int(combinations(records)["held_out"].iloc[0])
    figure, panels = drawing.grid(1, len(ways), size=(2.9, 3.0), share=(False, False))
    for number, (axes, way) in enumerate(zip(panels, ways, strict=True)):
        right = 100 * shares(records, way)
        axes.imshow(right, cmap="Greys", vmin=0, vmax=160)  # so that black numbers are read on the darkest
        for row, column in np.argwhere(np.isfinite(right)):
            axes.text(column, row, f"{right[row, column]:.0f}", ha="center", va="center", fontsize=8)
        for row, column in places()[:held]:
            axes.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, linewidth=2))
        axes.set_xticks(range(len(SHAPES)), list(SHAPES), rotation=90, fontsize=8)
        axes.set_yticks(range(len(COLOURS)), list(COLOURS) if number == 0 else [], fontsize=8)
        drawing.head(axes, way)
    title = f"{failing(records, 2)}. Numbers: objects with both colour and shape right (%), over all seeds; framed: "
    return drawing.caption(figure, f"{title}held out of training", "shape", "colour")


def loss_by_step(records: Sequence[Record]) -> Figure:
    """The loss against the training step, a panel for each part of the test scenes."""
    found = frames.frame(records, "evaluation")
    rows = pd.concat(
        [
            found.assign(panel=words, nats=found["loss" if part == SEEN else f"loss_{part}"])
            for part, words in PARTS.items()
        ],
        ignore_index=True,
    )
    figure, panels = drawing.courses(
        rows, "step", "nats", panel="panel", line="way", across=2, size=(3.4, 3.2), marker="."
    )
    chance = chance_level(int(combinations(records)["held_out"].iloc[0]))
    for axes in panels.values():
        drawing.plain_ticks(axes, (1, 3))
        axes.axhline(chance, color=drawing.GREY, linewidth=0.8, zorder=0)
    grey = "grey: least possible\nwithout the picture,\nseen combinations"
    drawing.legend(figure, f"line: median\nshade: range over seeds\n{grey}")
    last = found[found["step"] == found["step"].max()].groupby("way", sort=False)["loss"]
    told = ", ".join(f"{way} {frames.span(nats, '.3f')}" for way, nats in last)
    title = (
        "The loss at the end of training on scenes with seen combinations, in nats a word (ranges over seeds): "
        f"{told}. Without the picture {chance:.3f} is the least possible"
    )
    return drawing.caption(figure, title, "training step", "cross-entropy (nats a word)")


# Where the gradient goes


def gradient_at_first_state(records: Sequence[Record]) -> Figure | None:
    """Each word's gradient at the state of the first word, relative to that at its own state."""
    found = flows(records)
    if found.empty:
        return None
    return _by_word(
        found,
        "at_first",
        carried(records),
        r"$\log_{10} \|\partial d_t / \partial s_1\| \,/\, \|\partial d_t / \partial s_t\|$",
    )


def gradient_at_picture(records: Sequence[Record]) -> Figure | None:
    """The gradient of each word's decision with respect to the picture's features."""
    found = flows(records)
    if found.empty:
        return None
    told = []
    for way, seeds in found[found["phase"] == "trained"].groupby("way", sort=False):
        norms = frames.stacked(seeds["picture"])
        telling = np.isin(KINDS_IN_A_ROW, ("size", "colour", "shape"))
        ratio = norms[:, telling].mean(axis=1) / norms[:, np.isin(KINDS_IN_A_ROW, ("a", "of"))].mean(axis=1)
        told.append(f"{way} {frames.span(ratio, '.1f')}")
    title = (
        "After training, the mean gradient of sizes, colours and shapes at the picture, divided by that of "
        f'"a" and "of", is (range over seeds): {", ".join(told)}'
    )
    return _by_word(found, "picture", title, r"$\log_{10} \|\partial d_t / \partial F\|$")


def _by_word(found: pd.DataFrame, quantity: str, title: str, label: str) -> Figure:
    found = found.assign(panel=found["phase"].map(frames.PHASES))
    figure, panels, lines = drawing.multiples(found, panel="panel", line="way", across=1, size=(7.5, 2.6))
    x = np.arange(len(KINDS_IN_A_ROW))
    for axes, way, look, seeds in lines:
        drawing.band(axes, x, frames.log10(frames.stacked(seeds[quantity])), {**look, "marker": "."}, way)
    for axes in panels.values():
        axes.set_xticks(x, KINDS_IN_A_ROW, rotation=60)
    drawing.legend(figure, "line: median\nshade: range over seeds")
    return drawing.caption(figure, title, "word whose decision is differentiated", label)


def where_the_picture_comes_in(records: Sequence[Record]) -> Figure | None:
    """The step at which each word's gradient at the picture comes in: a map for each network, after training."""
    found = flows(records)
    if found.empty:
        return None
    found = found[found["phase"] == "trained"]
    values = {}
    for way, seeds in found.groupby("way", sort=False):
        typical = np.median(frames.log10(frames.stacked(seeds["seen"])), axis=0)
        values[str(way)] = pd.DataFrame(typical[:, : len(KINDS_IN_A_ROW) + 1])
    figure, panels = drawing.grid(1, len(values), size=(3.4, 3.6), share=(True, True))
    drawing.maps(figure, panels, values, r"$\log_{10} \|\partial d_t / \partial F_k\|$, median over seeds")
    panels[0].set_yticks(range(len(KINDS_IN_A_ROW)), KINDS_IN_A_ROW, fontsize=8)
    x = "step at which the picture is seen (0: the initial state)"
    return drawing.caption(figure, entering(records), x, "word whose decision is differentiated")


# Pictures


def captions(records: Sequence[Record]) -> Figure | None:
    """Some test scenes, with the caption of each network below; the lower row has held-out combinations."""
    found = examples(records)
    if found.empty:
        return None
    scenes = found.drop_duplicates(["part", "true"])
    count = scenes["part"].value_counts().max()
    figure, panels = drawing.grid(2, count, size=(3.1, 4.3), share=(False, False))
    for axes, (_, each) in zip(panels, scenes.iterrows(), strict=True):
        axes.imshow(rendered(scene_of(each["scene"])))
        axes.set_xticks([])
        axes.set_yticks([])
        same = found[(found["part"] == each["part"]) & (found["true"] == each["true"])]
        said = [
            f"{way}: {'right' if caption == each['true'] else caption or 'no word'}"
            for way, caption in zip(same["way"], same["said"], strict=True)
        ]
        lines = [textwrap.fill(line, 42, subsequent_indent="   ") for line in [each["true"], *said]]
        axes.set_xlabel("\n".join(lines), fontsize=7.5, loc="left")
    rights = (found["said"] == found["true"]).groupby([found["way"], found["part"]], sort=False).sum()
    told = ", ".join(f"{way} {' and '.join(map(str, rights[way]))}" for way in found["way"].unique())
    title = (
        f"Captions right of {count} scenes with seen combinations (above) and of {count} with a held-out combination "
        f"(below), first seed: {told}"
    )
    return drawing.caption(figure, title)


def examples(records: Sequence[Record]) -> pd.DataFrame:
    """The scenes that are shown, a row for each network that sees the picture."""
    return pd.DataFrame(each for each in records if each["kind"] == "example" and each["way"] != NO_PICTURE)


def attention(records: Sequence[Record]) -> Figure | None:
    """Where attention looks before each word of one caption: the picture, darkened where it does not look."""
    looked = [each for each in records if each["kind"] == "example" and each.get("looked") is not None]
    if not looked:
        return None
    chosen = max(looked, key=lambda each: (each["part"] == SEEN, each["said"] == each["true"], len(each["looked"])))
    weights = np.array(chosen["looked"], float)
    said = [*chosen["said"].split(), "."][: len(weights)]
    picture = rendered(scene_of(chosen["scene"]))
    figure, panels = drawing.panels(len(said), across=6, size=(1.5, 1.6))
    for axes, word, of_word in zip(panels, said, weights, strict=True):
        _shade(axes, picture, of_word)
        axes.set_title(word, fontsize=9)
    near = _near(said, weights, chosen["scene"])
    told = ", ".join(f"{100 * np.mean(share):.0f} % before {kind}" for kind, share in near.items())
    title = "Bright places are where attention looks before each word"
    if told:
        title += (
            f". The share of it that is within {SPACING} pixels of the object which is named, as a mean over this "
            f"caption: {told}"
        )
    return drawing.caption(figure, title)


def _shade(axes: Axes, picture: np.ndarray, weights: np.ndarray) -> None:
    """The picture, in which each place of the feature map is as bright as its weight."""
    field = np.kron(weights.reshape(GRID, GRID) / weights.max(), np.ones((SPACING, SPACING)))
    shift = round(MIDDLE - SPACING / 2)
    shade = np.pad(field, ((shift, 0), (shift, 0)), mode="edge")[:SIDE, :SIDE, None]
    axes.imshow((picture / 255 * (0.15 + 0.85 * shade)).clip(0, 1))
    axes.set_xticks([])
    axes.set_yticks([])


def _near(said: Sequence[str], weights: np.ndarray, scene: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """By kind of word, the share of the attention on places whose middle is near the object that is named."""
    kinds = {
        word: kind for kind, words in (("sizes", SIZES), ("colours", COLOURS), ("shapes", SHAPES)) for word in words
    }
    y, x = MIDDLE + SPACING * np.mgrid[:GRID, :GRID]
    found, number = dict[str, list[float]](), -1
    for word, of_word in zip(said, weights, strict=True):
        number += word == "a"
        if word in kinds:
            own = scene[min(max(number, 0), len(scene) - 1)]
            near = np.hypot(x - own["x"], y - own["y"]) <= SPACING
            found.setdefault(kinds[word], []).append(float(of_word.reshape(GRID, GRID)[near].sum() / of_word.sum()))
    return found


FIGURES: drawing.Figures = (
    captions_right,
    words_right,
    combinations_right,
    captions,
    attention,
    gradient_at_first_state,
    gradient_at_picture,
    where_the_picture_comes_in,
    loss_by_step,
)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/captioning")
