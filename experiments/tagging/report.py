"""Figures, tables and verdict of the tagging experiment, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record

FORWARD, BACKWARD, BIDIRECTIONAL, COUNTING = "forward", "backward", "bidirectional", "most_frequent"
"""Which way a network reads; and each word's most frequent tag, beside them."""

WORDS = {
    "all": "all words",
    "known": "words seen in training",
    "unknown": "words not seen there",
    "ambiguous": "words seen with several tags",
}
"""Of which words it is told apart how many are right."""

BLIND = {FORWARD: "right", BACKWARD: "left"}
"""On which side of a word a network of one direction sees nothing."""

PHASES = frames.PHASES
ALL_TAGS = "mean of all tags"


def results(records: Sequence[Record]) -> pd.DataFrame:
    """How each run ended."""
    found = frames.frame(records, "result", dtype=np.float64)
    about = frames.frame(records, "network")[["run", "params", "hidden_size"]]
    mean = by_tag(records).groupby("run", sort=False)["f1"].mean().rename("mean_f1").reset_index()
    return found.merge(about, on="run").merge(mean, on="run")


def by_tag(records: Sequence[Record]) -> pd.DataFrame:
    """Precision, recall and F1, a row for each run and tag, the most frequent tags first."""
    return frames.frame(records, "tag").sort_values("support", ascending=False, kind="stable")


def ambiguous(records: Sequence[Record]) -> pd.DataFrame:
    """Of the grammar's ambiguous words how many are right, a row for each run, side, distance, and kind of word."""
    return frames.frame(records, "distance")


# Tables and verdict


def setting(records: Sequence[Record]) -> str:
    """What was read, and how much of it."""
    first = results(records).iloc[0]
    seeds = results(records)["seed"].nunique()
    return (
        f"{first['source']}: {first['trained_on']:,} sentences of {first['trained_words']:,} words to train on, "
        f"{first['tested_on']:,} of {first['words_all']:,} to test on, of which {first['words_unknown']:,} were not "
        f"seen in training; {len(first['tags'].split(','))} tags; {seeds} {'seed' if seeds == 1 else 'seeds'}."
    )


def table(records: Sequence[Record]) -> str:
    """How each network ended, mean and range over seeds, as a Markdown table."""
    rows = []
    for network, seeds in results(records).groupby("network", sort=False):
        trained = seeds["params"].notna().all()
        row = {
            "network": network,
            "units": f"{seeds['hidden_size'].iloc[0]:,.0f}" if trained else "-",
            "params": f"{seeds['params'].iloc[0]:,.0f}" if trained else "-",
        }
        row |= {f"right, {words}": _percent(seeds[f"right_{name}"]) for name, words in WORDS.items()}
        rows.append(row | {f"F1, {ALL_TAGS}": _percent(seeds["mean_f1"])})
    return frames.table(rows, {"network"})


def tags_table(records: Sequence[Record]) -> str:
    """Precision, recall and F1 of each tag by the best network, mean and range over seeds, as a Markdown table."""
    found = by_tag(records)
    rows = [
        {"tag": tag, "words": f"{seeds['support'].iloc[0]:,}"}
        | {name: _percent(seeds[name]) for name in ("precision", "recall", "f1")}
        for tag, seeds in found[found["network"] == best(records)].groupby("tag", sort=False)
    ]
    return frames.table(pd.DataFrame(rows).rename(columns={"f1": "F1"}), {"tag"})


def best(records: Sequence[Record]) -> str:
    """The network that has most words right, in the mean over seeds."""
    ends = results(records)
    return str(ends.groupby("network", sort=False)["right_all"].mean().fillna(0.0).idxmax())


def verdict(records: Sequence[Record]) -> str:
    """Whether it is as the lectures have it."""
    told = [_most_right(records), *(_chance(records) if len(ambiguous(records)) else _over_others(records))]
    return ". ".join(told) + "."


def _most_right(records: Sequence[Record]) -> str:
    ends, name = results(records), best(records)
    return f"Most right: {name}, {_percent(ends[ends['network'] == name]['right_all'])} of all words"


def _chance(records: Sequence[Record]) -> list[str]:
    """Of the grammar, what a direction alone can know."""
    found, told = ambiguous(records), []
    chance = found["chance"].iloc[0]
    for network, side in BLIND.items():
        blind = found[(found["network"] == network) & (found["side"] == side)]["right"]
        if blind.empty:
            continue
        shown = "confirmed" if blind.max() < chance + 1e-6 else "refuted"
        told.append(
            f"That a network which reads {network} cannot know what is decided to the {side} is {shown}: at every "
            f"distance it has {_spread(blind)} of these words right, and without the word that decides "
            f"{100 * chance:.1f} % are right at best"
        )
    far = found["distance"].max()
    for network in found["network"].unique():
        sees = found[(found["network"] == network) & (found["side"] != BLIND.get(network))]
        if network != COUNTING:
            rights = sees.groupby("deciding", sort=False)["right"]
            by_kind = " and ".join(f"{_spread(right)} by words {deciding}" for deciding, right in rights)
            side = "on either side" if network == BIDIRECTIONAL else f"to the {_other(BLIND[network])}"
            told.append(f"Where it is decided {side}, {network} has right {by_kind}, up to {far} {_words(far)} away")
    return told


def _over_others(records: Sequence[Record]) -> list[str]:
    """Of a corpus, by how much both directions are better than each of the others."""
    ends = results(records)
    rights = {str(network): seeds["right_all"] for network, seeds in ends.groupby("network", sort=False)}
    both = rights.pop(BIDIRECTIONAL, None)
    if both is None:
        return []
    told = []
    for network, right in rights.items():
        above, below = both.min() > right.max(), both.max() < right.min()
        shown = "confirmed" if above else "refuted" if below else "undecided"
        told.append(
            f"That both directions are better than {network} is {shown}: "
            f"{100 * (both.mean() - right.mean()):+.2f} points ({_spread(both, 2)} against {_spread(right, 2)})"
        )
    return told


def lecture(records: Sequence[Record]) -> str:
    """Of the lectures' sentences, how likely the first word is part of a name, as a Markdown table."""
    found = frames.frame(records, "lecture")
    if found.empty:
        return ""
    rows = []
    for network, of_network in found.groupby("network", sort=False):
        shares = of_network.groupby("sentence", sort=False)["name"]
        rows.append({"network": network} | {sentence: _percent(name) for sentence, name in shares})
    return frames.table(rows, {"network"})


def confused(records: Sequence[Record]) -> str:
    """Which tags the best network took for which most often."""
    tags, counts = matrix(records)
    wrong = counts - np.diag(np.diag(counts))
    places = np.argsort(-wrong, axis=None)[:3]
    told = [
        f"{tags[true]} for {tags[said]} ({wrong[true, said]:,} of {counts[true].sum():,})"
        for true, said in zip(*np.unravel_index(places, wrong.shape), strict=True)
        if wrong[true, said]
    ]
    return f"{best(records)} takes most often {', '.join(told)}" if told else f"{best(records)} takes none for another"


def matrix(records: Sequence[Record]) -> tuple[list[str], np.ndarray]:
    """The tags that there are, and counts (true, said) of the best network over all seeds."""
    ends = results(records)
    seeds = ends[ends["network"] == best(records)]
    counts = frames.stacked(seeds["confusion"]).sum(axis=0).astype(int)
    there = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    tags = np.array(seeds["tags"].iloc[0].split(","))
    return list(tags[there]), counts[there][:, there]


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


# Figures


def accuracy_by_distance(records: Sequence[Record]) -> Figure | None:
    """Ambiguous words right against the distance of what decides: panels by side and kind of word, lines by network."""
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
    title = _blindness(found, chance) or _most_right(records)
    return drawing.caption(figure, title, "distance of the word that decides (words)", "ambiguous words right (%)")


def _blindness(found: pd.DataFrame, chance: float) -> str:
    """In a line what networks of one direction and of both have right."""
    told = []
    for network, side in BLIND.items():
        blind = found[(found["network"] == network) & (found["side"] == side)]["right"]
        if len(blind):
            told.append(f"{network} has {_spread(blind)} right where it is decided to the {side}")
    both = found[found["network"] == BIDIRECTIONAL]["right"]
    if len(both):
        told.append(f"bidirectional {_spread(both)} on both sides")
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
    _dots(axes, pd.concat(rows, ignore_index=True), "kind")
    drawing.legend(figure, "mark: mean\nbar: range over seeds")
    return drawing.caption(figure, _most_right(records), f"words right (%), {ends['source'].iloc[0]}")


def f1_by_tag(records: Sequence[Record]) -> Figure:
    """F1 of each tag, and their mean: marks by network, the most frequent tags first."""
    found, ends = by_tag(records), results(records)
    mean = ends[["network", "seed"]].assign(kind=ALL_TAGS, percent=100 * ends["mean_f1"])
    kinds = found["tag"] + " (" + found["support"].map("{:,}".format) + ")"
    rows = pd.concat([found.assign(kind=kinds, percent=100 * found["f1"]), mean], ignore_index=True)
    figure, (axes,) = drawing.grid(1, 1, size=(7, 0.42 * rows["kind"].nunique() + 1.4))
    _dots(axes, rows, "kind")
    drawing.legend(figure, "mark: mean\nbar: range over seeds")
    mine = found[found["network"] == best(records)].groupby("tag", sort=False)["f1"].mean()
    ends_of = (f"{100 * mine[tag]:.1f} % ({tag})" for tag in (mine.idxmin(), mine.idxmax()))
    title = f"{best(records)}: F1 from {' to '.join(ends_of)}"
    return drawing.caption(figure, title, "F1 (%)", "tag (words to test on)")


def _dots(axes: Axes, rows: pd.DataFrame, kind: str) -> None:
    """A line for each kind, downwards; in it each network's mean and range of ``percent``, one under the other."""
    kinds, networks = list(rows[kind].unique()), list(rows["network"].unique())
    looks, markers = drawing.looks_of(networks), drawing.markers_of(networks)
    for number, network in enumerate(networks):
        of_kinds = rows[rows["network"] == network].groupby(kind, sort=False)["percent"].agg(["min", "mean", "max"])
        places = [kinds.index(each) + 0.16 * (number - (len(networks) - 1) / 2) for each in of_kinds.index]
        look: dict[str, Any] = {"color": looks[network]["color"]}
        axes.hlines(places, of_kinds["min"], of_kinds["max"], linewidth=1.5, **look)
        axes.plot(
            of_kinds["mean"], places, linestyle="none", marker=markers[network], markersize=5, label=network, **look
        )
    axes.set_yticks(range(len(kinds)), kinds)
    axes.invert_yaxis()
    axes.grid(axis="x", linewidth=0.4, color=drawing.GREY, alpha=0.5)


def confusion(records: Sequence[Record]) -> Figure:
    """Of the best network, a matrix of counts over all seeds: true tags downwards, what was said to the right."""
    tags, counts = matrix(records)
    figure, (axes,) = drawing.grid(1, 1, size=(0.46 * len(tags) + 2, 0.36 * len(tags) + 1.4), share=(False, False))
    drawing.confusion(axes, tags, counts)
    title = f"{confused(records)}, over all seeds. Darkness: share of a true tag"
    return drawing.caption(figure, title, "tag that was said", "true tag")


def error_by_step(records: Sequence[Record]) -> Figure | None:
    """Words to test on that are wrong against training step, a line for each network."""
    found = frames.frame(records, "evaluation")
    if found.empty:
        return None
    found = found.assign(percent=100 * found["error"], panel="words to test on")
    figure, panels = drawing.courses(found, "step", "percent", panel="panel", line="network", size=(6, 3.2), marker=".")
    for axes in panels.values():
        drawing.plain_ticks(axes, (1, 2, 5))
    drawing.legend(figure, "line: median\nshade: range over seeds")
    last = found[found["step"] == found["step"].max()].groupby("network", sort=False)["percent"]
    told = ", ".join(f"{network} {frames.span(percent, '.1f')} %" for network, percent in last)
    return drawing.caption(figure, f"Wrong at the end of training: {told}", "training step", "words wrong (%)")


def state_gradient_by_distance(records: Sequence[Record]) -> Figure | None:
    """How much of a decision's gradient with respect to the states there is, so many words to either side of a word."""
    return _gradient(records, "states", r"$\log_{10} \|\partial d / \partial s\|$")


def input_gradient_by_distance(records: Sequence[Record]) -> Figure | None:
    """The same with respect to what words are read as."""
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
    dotted = "\ndots: what decides" if set(found["side"]) & {"left", "right"} else ""
    drawing.legend(figure, f"line: median\nshade: range over seeds\ngrey: the word in question{dotted}")
    x = "distance from the word in question (words; what stands to its right is positive)"
    return drawing.caption(figure, _reaches(found, quantity), x, label)


def _reaches(found: pd.DataFrame, quantity: str) -> str:
    """What a gradient is at the farthest word, relative to that at the word in question, after training and before."""
    middle, told = len(found[quantity].iloc[0]) // 2, []
    for (side, network), seeds in found.groupby(["side", "network"], sort=False):
        for end in [side] if side in ("left", "right") else ["left", "right"]:
            logs = {
                phase: _log_share(frames.stacked(of_phase[quantity]), middle, -1 if end == "right" else 0)
                for phase, of_phase in seeds.groupby("phase", sort=False)
            }
            if np.isfinite(logs["trained"]):
                before, after = (drawing.power_of_ten(logs[phase]) for phase in ("initialization", "trained"))
                told.append(f"{network} {after} to the {end} ({before})")
    of = "states" if quantity == "states" else "words"
    return (
        f"After training (and before), of the gradient at the word in question so much is left at the {of} {middle} "
        f"{_words(middle)} away: {', '.join(told)}; where a network does not read there is none"
    )


def _log_share(norms: np.ndarray, middle: int, end: int) -> float:
    """The median over seeds of log10 of a norm at one end over that in the middle."""
    with np.errstate(divide="ignore"):
        return float(np.median(np.log10(norms[:, end] / norms[:, middle])))


# Words


def _percent(rights: pd.Series) -> str:
    """Mean and range over seeds."""
    if rights.isna().any():
        return "-"
    spread = frames.span(100 * rights, ".1f")
    return f"{100 * rights.mean():.1f} % ({spread})" if " to " in spread else f"{spread} %"


def _spread(rights: pd.Series, digits: int = 1) -> str:
    return f"{frames.span(100 * rights, f'.{digits}f')} %"


def _words(count: int) -> str:
    return "word" if count == 1 else "words"


def _other(side: str) -> str:
    return "left" if side == "right" else "right"


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
