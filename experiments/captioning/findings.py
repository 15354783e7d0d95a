"""Tables, sentences and verdict of the captioning experiment, from its metrics.jsonl alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from experiments.captioning.data import HELD_OUT, SEEN
from experiments.captioning.grammar import KINDS_IN_A_ROW
from experiments.captioning.model import INITIAL_STATE, NO_PICTURE, TRAINED
from experiments.captioning.scenes import COMBINATIONS, MOST, SHAPES
from experiments.captioning.scores import OTHERS, UNSEEN
from experiments.common import frames
from experiments.common.frames import percent
from experiments.common.workdir import Record

PARTS = {SEEN: "seen combinations", HELD_OUT: "a held-out combination"}
"""The two parts of the test scenes, in words."""

GROUPS = {
    SEEN: "scenes with seen combinations",
    OTHERS: "objects beside a held-out one",
    UNSEEN: "held-out combinations",
    HELD_OUT: "scenes with a held-out combination",
}
"""The groups of scenes or objects whose words are counted separately, in words."""

LAST = len(KINDS_IN_A_ROW) - 2
"""The place of the third shape in captions of three objects side by side, the last word that the picture decides."""

WITHIN = 4
"""Words that name an object, "a" included."""


def results(records: Sequence[Record]) -> pd.DataFrame:
    """How many captions are right, a row for each run, part and number of beams."""
    about = frames.frame(records, "network").drop(columns=["kind", "way", "seed"])
    return frames.frame(records, "result", dtype=np.float64).merge(about, on="run")


def searched(records: Sequence[Record]) -> pd.DataFrame:
    """The results of beam search with the most beams."""
    found = results(records)
    return found[found["beams"] == found["beams"].max()]


def word_rights(records: Sequence[Record]) -> pd.DataFrame:
    """The share right of each kind of word, a row for each run and group of objects or scenes."""
    return frames.frame(records, "words")


def combinations(records: Sequence[Record]) -> pd.DataFrame:
    """Counts (25, 26) of true combinations and answers, a row for each run."""
    return frames.frame(records, "combinations", dtype=np.float64)


def flows(records: Sequence[Record]) -> pd.DataFrame:
    """Gradients of each word's decision, a row for each run and phase.

    ``at_first`` is the norm at the state of the first word over that at the word's own state.
    """
    found = frames.frame(records, "flow")
    if found.empty:
        return found
    with np.errstate(divide="ignore", invalid="ignore"):
        at_first = [states[:, 0] / np.diagonal(states) for states in found["states"]]
    return found.assign(at_first=at_first)


# Tables


def setting(records: Sequence[Record]) -> str:
    """The data and the networks."""
    first, held = searched(records).iloc[0], combinations(records)["held_out"].iloc[0]
    seeds = searched(records)["seed"].nunique()
    cnn = "trained with the decoder" if first["cnn"] == TRAINED else "as it was initialized"
    return (
        f"{first['train_scenes']:,} scenes to train on, none of which has any of {held} of the {len(COMBINATIONS)} "
        f"combinations of a colour and a shape; {first['scenes']:,} scenes with seen combinations to test on, and as "
        f"many in which one object has a held-out combination. {first['train_steps']:,} training steps of "
        f"{first['batch_size']} pictures; a decoder ({first['cell']}) of {first['hidden_size']} units; a CNN {cnn}; "
        f"{first['beams']} {'beam' if first['beams'] == 1 else 'beams'}; {seeds} {'seed' if seeds == 1 else 'seeds'}."
    )


def table(records: Sequence[Record]) -> str:
    """The captions that each network has right, mean and range over seeds, as a Markdown table."""
    rows = []
    for way, of_way in searched(records).groupby("way", sort=False):
        row = {"network": way, "params": f"{of_way['params'].iloc[0]:,}"}
        for measure, told in (("exact", percent), ("bleu", _number)):
            for part, words in PARTS.items():
                name = "captions right" if measure == "exact" else "BLEU"
                row[f"{name}, {words}"] = told(of_way[of_way["part"] == part][measure])
        rows.append(row)
    return frames.table(rows, {"network"})


def by_number(records: Sequence[Record]) -> str:
    """Captions right by part and number of objects, mean and range over seeds, as a Markdown table."""
    found = searched(records)
    rows = []
    for way, of_way in found.groupby("way", sort=False):
        row = {"network": way}
        for part, words in PARTS.items():
            of_part = of_way[of_way["part"] == part]
            row |= {f"{count} objects, {words}": percent(of_part[f"exact_{count}"]) for count in range(1, MOST + 1)}
        rows.append(row)
    named = pd.DataFrame(rows).rename(columns=lambda name: name.replace("1 objects", "1 object"))
    return frames.table(named, {"network"})


def greedy(records: Sequence[Record]) -> str:
    """By how much beam search is better than greedy search, over all networks, seeds and parts."""
    found = results(records)
    by = found.pivot_table(index=["run", "part"], columns="beams", values="exact")
    gains = 100 * (by[by.columns.max()] - by[by.columns.min()])
    beams = f"{by.columns.max()} {'beam' if by.columns.max() == 1 else 'beams'}"
    return (
        f"Beam search with {beams} changes the share of captions right by {frames.span(gains, '+.1f')} points "
        "compared with greedy search (range over networks, seeds and parts)"
    )


def words_table(records: Sequence[Record]) -> str:
    """The share right of each kind of word, mean and range over seeds, as a Markdown table."""
    found, rows = word_rights(records), []
    for (way, group), of_group in found.groupby(["way", "group"], sort=False):
        rights = of_group.groupby("word", sort=False)["right"]
        of_kinds = {str(word): percent(right) for word, right in rights}
        rows.append({"network": way, "counted in": GROUPS[str(group)]} | of_kinds)
    kinds = [kind for kind in ("size", "colour", "shape", "relation", "number") if any(kind in row for row in rows)]
    filled = [{name: row.get(name, "") for name in ("network", "counted in", *kinds)} for row in rows]
    return frames.table(filled, {"network", "counted in"})


# Findings


def best(records: Sequence[Record]) -> str:
    """The network that has most captions of seen combinations right, on average over its seeds."""
    found = searched(records)
    means = found[found["part"] == SEEN].groupby("way", sort=False)["exact"].mean()
    return str(means.fillna(0.0).idxmax())


def most_right(records: Sequence[Record]) -> str:
    """The best network, and its share of captions right in each part."""
    found, way = searched(records), best(records)
    of_way = found[found["way"] == way]
    seen, held_out = (percent(of_way[of_way["part"] == part]["exact"]) for part in (SEEN, HELD_OUT))
    return (
        f"{way} is best: it captions {seen} of the scenes with {PARTS[SEEN]} right, and {held_out} of those with "
        f"{PARTS[HELD_OUT]}"
    )


def verdict(records: Sequence[Record]) -> str:
    """Which network is best, whether colours and shapes compose, and how far gradients reach."""
    told = [most_right(records), *_over_initial_state(records), *_composition(records)]
    told += [each for each in (carried(records), entering(records)) if each]
    return ". ".join(told) + "."


def _over_initial_state(records: Sequence[Record]) -> list[str]:
    """By how much the other networks are better than that which sees the picture in its initial state alone."""
    found = searched(records)
    rights = {str(way): rows["exact"] for way, rows in found[found["part"] == SEEN].groupby("way", sort=False)}
    start = rights.pop(INITIAL_STATE, None)
    told = []
    for way, right in rights.items():
        if start is None or way == NO_PICTURE:
            continue
        shown = {"above": "confirmed", "below": "refuted", "among": "undecided"}[frames.standing(right, start)]
        told.append(
            f"That {way} captions more scenes right than {INITIAL_STATE} is {shown}: the difference is "
            f"{100 * (right.mean() - start.mean()):+.1f} points ({spread(right)} against {spread(start)})"
        )
    return told


def _composition(records: Sequence[Record]) -> list[str]:
    """How many words are right of objects with held-out combinations."""
    found = word_rights(records)
    told = []
    for way, of_way in found[found["group"] == UNSEEN].groupby("way", sort=False):
        if way != NO_PICTURE:
            rights = of_way.groupby("word", sort=False)["right"]
            told.append(f"{way} " + ", ".join(f"{word} {percent(right)}" for word, right in rights))
    return [f"Of objects with held-out combinations these shares of words are right: {'; '.join(told)}"] if told else []


def failing(records: Sequence[Record], most: int = 5) -> str:
    """The combinations that the best network names wrongly most often, and what it calls them."""
    counts = _counts(records, best(records))
    totals, rights = counts.sum(axis=1), np.diagonal(counts)
    with np.errstate(invalid="ignore"):
        shares = np.where(totals > 0, rights / totals, 1.0)
    told = []
    for number in np.argsort(shares, kind="stable")[:most]:
        wrong = counts[number].copy()
        wrong[number] = 0
        if wrong.any():
            instead = int(wrong.argmax())
            taken = f"called {_name(instead)}" if instead < len(COMBINATIONS) else "not named"
            told.append(
                f"{_name(number)} ({100 * shares[number]:.0f} % of {totals[number]:,.0f} are right, "
                f"{wrong.max():,.0f} are {taken})"
            )
    return (
        f"{best(records)} fails most often at {', '.join(told)}" if told else f"{best(records)} names all of them right"
    )


def shares(records: Sequence[Record], way: str) -> np.ndarray:
    """How often both colour and shape of each combination are right: (colours, shapes), over all seeds."""
    counts = _counts(records, way)
    totals = counts.sum(axis=1)
    found = np.full((len(COMBINATIONS) // len(SHAPES), len(SHAPES)), np.nan)
    for number, (row, column) in enumerate(places()):
        if totals[number]:
            found[row, column] = counts[number, number] / totals[number]
    return found


def places() -> list[tuple[int, int]]:
    """The row and column of each combination in a table of colours downwards and shapes to the right."""
    colours, kinds = list(dict.fromkeys(colour for colour, _ in COMBINATIONS)), list(SHAPES)
    return [(colours.index(colour), kinds.index(shape)) for colour, shape in COMBINATIONS]


def _counts(records: Sequence[Record], way: str) -> np.ndarray:
    found = combinations(records)
    return np.asarray(frames.stacked(found[found["way"] == way]["counts"]).sum(axis=0))


def _name(number: int) -> str:
    return "a " + " ".join(COMBINATIONS[number])


def carried(records: Sequence[Record]) -> str:
    """The last shape's gradient at the state of the first word over that at its own, before and after training."""
    found, told = flows(records), []
    if found.empty:
        return ""
    for way, of_way in found.groupby("way", sort=False):
        phases = []
        for phase, seeds in of_way.groupby("phase", sort=False):
            ratios = pd.Series([ratio[LAST] for ratio in seeds["at_first"]])
            phases.append(f"{frames.median(ratios, '{:.2g}'.format)} {frames.PHASES[str(phase)]}")
        told.append(f"{way} {' and '.join(phases)}")
    return (
        f"The gradient of the third object's shape at the state of the first word, {LAST} steps back, divided by that "
        f"at its own state, is (median and range over seeds): {'; '.join(told)}"
    )


def entering(records: Sequence[Record]) -> str:
    """How much of the last shape's gradient at the picture comes in while its object is named, after training."""
    found = flows(records)
    if found.empty:
        return ""
    found = found[found["phase"] == "trained"]
    told = []
    for way, seeds in found.groupby("way", sort=False):
        near = pd.Series([100 * _near(seen) for seen in seeds["seen"]])
        middle, _, ends = frames.median(near, "{:.0f}".format).partition(" ")
        told.append(f"{way} {middle} % {ends}".strip())
    return (
        "The share of the third shape's gradient at the picture that comes in while its object is named, after "
        f"training, is (median and range over seeds): {', '.join(told)}"
    )


def _near(seen: np.ndarray) -> float:
    """The share of the last shape's gradient at the picture that comes in while its own object is named."""
    norms = seen[LAST]
    return float(norms[LAST + 2 - WITHIN : LAST + 2].sum() / norms.sum())


def spread(rights: pd.Series) -> str:
    """Range over seeds."""
    return f"{frames.span(100 * rights, '.1f')} %"


def _number(values: pd.Series) -> str:
    ends = frames.span(values, ".1f")
    return f"{values.mean():.1f} ({ends})" if " to " in ends else ends
