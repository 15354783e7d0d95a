"""Figures, tables and verdict of the classification experiment, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.frames import percent
from experiments.common.workdir import Record

CASE = ["network", "pooling"]

STEPS, LAST, MEAN = "steps", "last", "mean"
"""The network without a memory, in which each step stands alone, and two poolings."""

PUBLISHED = {"JapaneseVowels of sktime": ("signature kernels, published", 0.986)}
"""The share right that others reached on the same split, by source."""

GRADIENTS = {
    "inputs": "with respect to the inputs, $\\partial d / \\partial x_t$",
    "states": "with respect to the states, $\\partial d / \\partial s_t$",
}

RANKINGS = ("most state gradient", "most input gradient", "a random stretch", "least input gradient")
"""The rankings by which steps are taken out, in the order in which titles name them."""


def results(records: Sequence[Record]) -> pd.DataFrame:
    """How each run ended; ``case`` is its network and pooling in words."""
    found = frames.frame(records, "result", dtype=np.float64)
    found = found.merge(frames.frame(records, "network")[["run", "params"]], on="run")
    right = 1 - found["error"]
    wrong = (found["error"] * found["labels"].map(len)).round().astype(int)
    return found.assign(right=right, wrong=wrong, case=_cases(found))


def _cases(rows: pd.DataFrame) -> pd.Series:
    return rows["network"] + " (" + rows["pooling"] + ")"


# Tables and verdict


def table(records: Sequence[Record]) -> str:
    """How each case ended, mean and range over seeds, as a Markdown table; beside it what others reached, if known."""
    ends = results(records)
    name, reached = PUBLISHED.get(ends["source"].iloc[0], ("", 0.0))
    published = {f"right ({name})": f"{100 * reached:.1f} %"} if name else {}
    rows = [
        {
            "network": network,
            "pooling": pooling,
            "params": f"{seeds['params'].iloc[0]:,}",
            "right": percent(seeds["right"]),
            **published,
            "sequences wrong": frames.span(seeds["wrong"], "d"),
            "nats a sequence": frames.span(seeds["loss"], ".3f"),
            "wrong in training": frames.span(100 * seeds["train_error"], ".1f") + " %",
        }
        for (network, pooling), seeds in ends.groupby(CASE, sort=False)
    ]
    return frames.table(rows, {"network", "pooling"})


def setting(records: Sequence[Record]) -> str:
    """The data, and how much there is of them."""
    ends = results(records)
    first = ends.iloc[0]
    return (
        f"{first['source']}: {first['trained_on']:,} sequences to train on, {len(first['labels']):,} to test on, "
        f"{len(first['classes'].split(','))} classes, {ends['seed'].nunique()} seeds, {first['step']:,.0f} "
        "training steps."
    )


def verdict(records: Sequence[Record]) -> str:
    """Whether a memory helps and the last state is enough, as the lectures say, and what others reached."""
    ends = results(records)
    told = [_best(ends)]
    alone = ends[(ends["network"] == STEPS) & (ends["pooling"] == MEAN)]["right"]
    for network, of_network in ends[ends["network"] != STEPS].groupby("network", sort=False):
        rights = {str(pooling): of_pooling for pooling, of_pooling in of_network.groupby("pooling")["right"]}
        if MEAN in rights and len(alone):
            standing = frames.standing(rights[MEAN], alone)
            shown = {"above": "confirmed", "below": "refuted", "among": "undecided"}[standing]
            over = (
                f"{network} has {_compared(rights[MEAN], alone)} the network without a memory, both pooled by the mean"
            )
            told.append(f"That a memory helps is {shown}: {over}")
        last = rights.pop(LAST, None)
        for pooling, right in rights.items() if last is not None else ():
            shown = {"above": "refuted", "below": "confirmed", "among": "not refuted"}[frames.standing(right, last)]
            over = f"{network} has {_compared(right, last)} the last state if pooled by {_pooled(pooling)}"
            told.append(f"That the last state is enough is {shown}: {over}")
    if ends["source"].iloc[0] in PUBLISHED:
        name, reached = PUBLISHED[ends["source"].iloc[0]]
        told.append(f"Others reached {100 * reached:.1f} % ({name})")
    return ". ".join(told) + "."


def _compared(one: pd.Series, other: pd.Series) -> str:
    """By how many points two shares right differ, and the range over seeds of each."""
    ranges = (frames.span(100 * rights, ".1f") for rights in (one, other))
    return f"{100 * (one.mean() - other.mean()):+.1f} points ({' against '.join(ranges)} % right) compared with"


def _best(ends: pd.DataFrame) -> str:
    of_cases = ends.groupby("case", sort=False)["right"]
    best = of_cases.mean().idxmax()
    count = len(ends["labels"].iloc[0])
    return f"{best} is best: {percent(of_cases.get_group(best))} of {count} test sequences are right"


def confusions(records: Sequence[Record]) -> str:
    """Which class was mistaken for which most often, by the best case of each network."""
    told = []
    for case, (names, counts) in matrices(records).items():
        wrong = counts - np.diag(np.diag(counts))
        if not wrong.any():
            told.append(f"none in {case}")
            continue
        true, said = np.unravel_index(wrong.argmax(), wrong.shape)
        told.append(
            f"{names[true]} taken for {names[said]} in {case} ({wrong.max()} of {counts[true].sum()} times; "
            f"{wrong.sum()} mistakes in all, over all seeds)"
        )
    return f"The most frequent mistake is {'; '.join(told)}."


def matrices(records: Sequence[Record]) -> dict[str, tuple[list[str], np.ndarray]]:
    """Classes and counts (true, said) over all seeds, for the best case of each network."""
    ends = results(records)
    means = ends.groupby(["network", "case"], sort=False)["right"].mean()
    best = means.groupby("network", sort=False).idxmax()
    found = {}
    for _, case in best:
        seeds = ends[ends["case"] == case]
        classes = seeds["classes"].iloc[0].split(",")
        true, said = (np.concatenate(list(seeds[column])).astype(int) for column in ("labels", "said"))
        counts = np.bincount(true * len(classes) + said, minlength=len(classes) ** 2)
        found[str(case)] = classes, counts.reshape(len(classes), len(classes))
    return found


def hangs_on(records: Sequence[Record]) -> str:
    """Which part of a sequence has most of the inputs' gradient in the networks that have a memory."""
    parts = with_memory(frames.frame(records, "parts"))
    told = []
    for case, seeds in parts.groupby("case", sort=False):
        mean = frames.stacked(seeds["inputs"]).mean(axis=0)
        most = int(mean.argmax())
        told.append(f"{100 * mean[most]:.0f} % on the {_ordinal(most + 1)} tenth in {case}")
    return f"By tenths of a sequence, most of the decision's gradient with respect to the inputs is {', '.join(told)}"


def with_memory(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without the network that has no memory, if there are any others."""
    recurrent = rows["network"] != STEPS
    return rows.assign(case=_cases)[recurrent if recurrent.any() else ~recurrent]


def without_steps(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each run, ranking and share of steps taken out."""
    found = frames.frame(records, "taken_out", dtype=np.float64)
    return found.explode(["shares", "errors"]).astype({"shares": float, "errors": float}).assign(case=_cases)


def taken_out(records: Sequence[Record]) -> str:
    """Errors by the share of steps taken out, means over seeds, as a Markdown table."""
    found = with_memory(without_steps(records))
    by = found.groupby([*CASE, "ranking", "shares"], sort=False)["errors"].mean().unstack("shares")
    rows = by.map("{:.1%}".format).rename(columns="{:.0%} out".format).reset_index()
    return frames.table(rows, {*CASE, "ranking"})


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    return page.filled(
        __file__,
        verdict=verdict(records),
        setting=setting(records),
        table=table(records),
        confusions=confusions(records),
        hangs_on=hangs_on(records),
        taken_out=taken_out(records),
        padding=f"{results(records)['padding_change'].max():.1e}",
    )


# Figures


def share_right(records: Sequence[Record]) -> Figure:
    """The share right of each case: small marks for seeds, a large one for their mean; a line at what was published."""
    ends = results(records)
    cases = list(ends["case"].unique())
    figure, (axes,) = drawing.grid(1, 1, size=(7, 0.45 * len(cases) + 1.6))
    for place, case in enumerate(cases):
        right = 100 * ends[ends["case"] == case]["right"]
        look: dict[str, Any] = {"color": "black", "linestyle": "none"}
        axes.plot(right, [place] * len(right), marker="|", markersize=9, **look, label="each seed")
        axes.plot(right.mean(), place, marker="D", markersize=5, **look, label="mean over seeds")
    source = ends["source"].iloc[0]
    if source in PUBLISHED:
        name, reached = PUBLISHED[source]
        axes.axvline(100 * reached, color=drawing.GREY, linestyle="--", label=name)
    axes.set_yticks(range(len(cases)), cases)
    axes.invert_yaxis()
    drawing.legend(figure)
    return drawing.caption(figure, _best(ends), f"test sequences right (%), {source}")


def confusion(records: Sequence[Record]) -> Figure:
    """A matrix of counts for the best case of each network: true classes downwards, predicted ones to the right."""
    found = matrices(records)
    side = 0.34 * len(next(iter(found.values()))[0]) + 1.4
    figure, panels = drawing.grid(1, len(found), size=(side, side), share=(False, False))
    for axes, (case, (names, counts)) in zip(panels, found.items(), strict=True):
        drawing.confusion(axes, names, counts)
        drawing.head(axes, case)
    title = f"{confusions(records)} Darker fields are a larger share of a true class"
    return drawing.caption(figure, title, "predicted class", "true class")


def error_by_step(records: Sequence[Record]) -> Figure:
    """Wrong test sequences against the training step: a panel for each network, a line for each pooling."""
    found = frames.frame(records, "evaluation").assign(percent=lambda rows: 100 * rows["error"])
    figure, panels = drawing.courses(
        found, "step", "percent", panel="network", line="pooling", across=3, size=(3.4, 3.2), marker="."
    )
    for axes in panels.values():
        drawing.plain_ticks(axes, (1, 2, 5))
    drawing.legend(figure, "line: median\nshade: range over seeds")
    ends = results(records)
    late = frames.frame(records, "evaluation").groupby("run")["train_error"].last()
    title = (
        f"At the end of training {frames.span(100 * ends['error'], '.1f')} % of the test sequences are wrong, and "
        f"{frames.span(100 * late, '.1f')} % of those trained on (ranges over all networks and seeds)"
    )
    return drawing.caption(figure, title, "training step", "test sequences wrong (%)")


def gradient_by_part(records: Sequence[Record]) -> Figure:
    """Shares of the decision's gradient by tenths of a sequence, for inputs and for states: a line for each case."""
    found = with_memory(frames.frame(records, "parts"))
    rows = [found.assign(of=told, shares=found[name]) for name, told in GRADIENTS.items()]
    each = pd.concat(rows, ignore_index=True)
    figure, panels, lines = drawing.multiples(each, panel="of", line="case", across=2, size=(3.6, 3.4))
    count = len(each["shares"].iloc[0])
    middles = (np.arange(count) + 0.5) / count
    for axes, case, look, seeds in lines:
        drawing.band(axes, middles, 100 * frames.stacked(seeds["shares"]), look, case)
    for axes in panels.values():
        axes.axhline(100 / count, color=drawing.GREY, linewidth=0.8, zorder=0)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1])
        axes.set_ylim(bottom=0)
    drawing.legend(figure, "line: median\nshade: range over seeds\ngrey: equal shares")
    return drawing.caption(
        figure, hangs_on(records), "place in a sequence, from its first step to its last", "share of the gradient (%)"
    )


def errors_without_steps(records: Sequence[Record]) -> Figure:
    """The share of wrong test sequences against that of steps taken out: a panel for each case, a line by ranking."""
    found = without_steps(records).assign(
        percent=lambda rows: 100 * rows["errors"], out=lambda rows: 100 * rows["shares"]
    )
    figure, _ = drawing.courses(
        found, "out", "percent", panel="case", line="ranking", across=3, size=(2.9, 2.6), marker="."
    )
    drawing.legend(figure, "taken out first\n(shade: range over seeds)")
    return drawing.caption(figure, _borne_out(found), "steps of a sequence taken out (%)", "test sequences wrong (%)")


def _borne_out(found: pd.DataFrame) -> str:
    """The errors of each case with a memory without half of its steps: those with most gradient, or others."""
    half = with_memory(found[found["shares"] == found["shares"].max()])
    errors = half.pivot_table(index="case", columns="ranking", values="percent", sort=False)
    told = [f"{', '.join(map('{:.1f}'.format, row[list(RANKINGS)]))} % in {case}" for case, row in errors.iterrows()]
    return (
        "The errors without the half of the steps with most of the states' gradient, with most of the inputs', without "
        f"a random stretch, and without the half with least of the inputs' are {'; '.join(told)} (means over seeds)"
    )


def examples(records: Sequence[Record]) -> Figure:
    """Some test sequences step by step: dark where much of the decision's gradient lies; with letters if it has any."""
    found = frames.frame(records, "example").assign(case=_cases)
    cases = list(with_memory(found)["case"].unique())[:3]
    count = (found["case"] == cases[0]).sum()
    figure, panels = drawing.grid(1, len(cases), size=(3.2, 0.27 * count + 1), share=(True, False))
    for axes, case in zip(panels, cases, strict=True):
        rows = found[found["case"] == case]
        longest = rows["shares"].map(len).max()
        shades = np.full((len(rows), longest), np.nan)
        for place, (shares, text) in enumerate(zip(rows["shares"], rows["text"], strict=True)):
            shades[place, : len(shares)] = shares / shares.max()
            for step, letter in enumerate(text):
                colour = "white" if shades[place, step] > 0.55 else "black"
                axes.text(step, place, letter, ha="center", va="center", fontsize=8, color=colour)
        axes.imshow(shades, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        told = [
            said if said == label else f"{said} ({label})"
            for said, label in zip(rows["said"], rows["label"], strict=True)
        ]
        axes.set_yticks(range(len(rows)), told, fontsize=8)
        drawing.head(axes, str(case))
    wrong = (found["said"] != found["label"]).groupby(found["case"]).sum()[cases]
    listed = ", ".join(f"{number} by {case}" for case, number in wrong.items())
    title = (
        f"The decision's gradient with respect to the inputs is largest at the dark steps. Of these {count} test "
        f"sequences some are misclassified (true class in brackets): {listed}"
    )
    return drawing.caption(figure, title, "step, from 0", "predicted class")


# Words


def _pooled(pooling: str) -> str:
    return "the mean" if pooling == MEAN else pooling


def _ordinal(number: int) -> str:
    return ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "last")[number - 1]


FIGURES: drawing.Figures = (
    share_right,
    confusion,
    error_by_step,
    gradient_by_part,
    errors_without_steps,
    examples,
)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/classification")
