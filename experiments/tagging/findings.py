"""Tables, sentences and verdict of the tagging experiment, from its metrics.jsonl alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from experiments.common import frames
from experiments.common.frames import percent
from experiments.common.workdir import Record
from experiments.tagging.model import BACKWARD, BIDIRECTIONAL, FORWARD

COUNTING = "most_frequent"
"""The baseline that stands beside the networks: the most frequent tag of each word."""

WORDS = {
    "all": "all words",
    "known": "words seen in training",
    "unknown": "words not seen in training",
    "ambiguous": "words seen with several tags",
}
"""The groups of words whose share right is given separately."""

BLIND = {FORWARD: "right", BACKWARD: "left"}
"""The side of a word on which a network of one direction sees nothing."""

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
    """The share right of the grammar's ambiguous words, a row for each run, side, distance, and kind of word."""
    return frames.frame(records, "distance")


# Tables and verdict


def setting(records: Sequence[Record]) -> str:
    """The data, and how much there is of them."""
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
        row |= {f"right, {words}": percent(seeds[f"right_{name}"]) for name, words in WORDS.items()}
        rows.append(row | {f"F1, {ALL_TAGS}": percent(seeds["mean_f1"])})
    return frames.table(rows, {"network"})


def tags_table(records: Sequence[Record]) -> str:
    """Precision, recall and F1 of each tag by the best network, mean and range over seeds, as a Markdown table."""
    found = by_tag(records)
    rows = [
        {"tag": tag, "words": f"{seeds['support'].iloc[0]:,}"}
        | {name: percent(seeds[name]) for name in ("precision", "recall", "f1")}
        for tag, seeds in found[found["network"] == best(records)].groupby("tag", sort=False)
    ]
    return frames.table(pd.DataFrame(rows).rename(columns={"f1": "F1"}), {"tag"})


def best(records: Sequence[Record]) -> str:
    """The network that tags most words right, on average over its seeds."""
    ends = results(records)
    return str(ends.groupby("network", sort=False)["right_all"].mean().fillna(0.0).idxmax())


def verdict(records: Sequence[Record]) -> str:
    """Which network is best, and whether the lectures' claims hold."""
    told = [most_right(records), *(_chance(records) if len(ambiguous(records)) else _over_others(records))]
    return ". ".join(told) + "."


def most_right(records: Sequence[Record]) -> str:
    ends, name = results(records), best(records)
    return f"{name} is best: it tags {percent(ends[ends['network'] == name]['right_all'])} of all words right"


def _chance(records: Sequence[Record]) -> list[str]:
    """For the grammar: what a network can know that reads in one direction alone."""
    found, told = ambiguous(records), []
    chance = found["chance"].iloc[0]
    for network, side in BLIND.items():
        blind = found[(found["network"] == network) & (found["side"] == side)]["right"]
        if blind.empty:
            continue
        shown = "confirmed" if blind.max() < chance + 1e-6 else "refuted"
        told.append(
            f"That a network which reads {network} cannot know what is decided to the {side} is {shown}: at every "
            f"distance it tags {spread(blind)} of these words right, and {100 * chance:.1f} % is the best that can be "
            "done without the word that decides"
        )
    far = found["distance"].max()
    for network in found["network"].unique():
        sees = found[(found["network"] == network) & (found["side"] != BLIND.get(network))]
        if network != COUNTING:
            rights = sees.groupby("deciding", sort=False)["right"]
            by_kind = " and ".join(f"{spread(right)} if by words {deciding}" for deciding, right in rights)
            side = "on either side" if network == BIDIRECTIONAL else f"to the {other_side(BLIND[network])}"
            told.append(
                f"Of words that are decided {side}, up to {far} {in_words(far)} away, {network} tags {by_kind} right"
            )
    return told


def _over_others(records: Sequence[Record]) -> list[str]:
    """For a corpus: by how much both directions are better than each of the others."""
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
            f"{100 * (both.mean() - right.mean()):+.2f} points ({spread(both, 2)} of all words right against "
            f"{spread(right, 2)})"
        )
    return told


def lecture(records: Sequence[Record]) -> str:
    """How likely the first word of each of the lectures' sentences is part of a name, as a Markdown table."""
    found = frames.frame(records, "lecture")
    if found.empty:
        return ""
    rows = []
    for network, of_network in found.groupby("network", sort=False):
        shares = of_network.groupby("sentence", sort=False)["name"]
        rows.append({"network": network} | {sentence: percent(name) for sentence, name in shares})
    return frames.table(rows, {"network"})


def confused(records: Sequence[Record]) -> str:
    """Which tags the best network mistakes for which most often."""
    tags, counts = matrix(records)
    wrong = counts - np.diag(np.diag(counts))
    places = np.argsort(-wrong, axis=None)[:3]
    told = [
        f"{tags[true]} for {tags[said]} ({wrong[true, said]:,} of {counts[true].sum():,} times)"
        for true, said in zip(*np.unravel_index(places, wrong.shape), strict=True)
        if wrong[true, said]
    ]
    return f"{best(records)} most often takes {', '.join(told)}" if told else f"{best(records)} makes no mistake"


def matrix(records: Sequence[Record]) -> tuple[list[str], np.ndarray]:
    """The tags that there are, and counts (true, said) of the best network over all seeds."""
    ends = results(records)
    seeds = ends[ends["network"] == best(records)]
    counts = frames.stacked(seeds["confusion"]).sum(axis=0).astype(int)
    there = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    tags = np.array(seeds["tags"].iloc[0].split(","))
    return list(tags[there]), counts[there][:, there]


def spread(rights: pd.Series, digits: int = 1) -> str:
    """Range over seeds."""
    return f"{frames.span(100 * rights, f'.{digits}f')} %"


def in_words(count: int) -> str:
    return "word" if count == 1 else "words"


def other_side(side: str) -> str:
    return "left" if side == "right" else "right"
