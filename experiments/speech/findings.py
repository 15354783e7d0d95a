"""Tables, sentences and verdict of the speech experiment, from its metrics.jsonl alone."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from experiments.common import frames
from experiments.common.workdir import Record
from experiments.speech import noise
from experiments.speech.data import GROUPS, HELD_OUT, KNOWN
from experiments.speech.features import HOP_MS
from experiments.speech.model import BIDIRECTIONAL, CNN, DNN, LSTM, WHOLE
from experiments.speech.phonemes import CLASSES, SILENCE

WITHOUT = {CNN: f"{LSTM}-{DNN}", LSTM: f"{CNN}-{DNN}", DNN: f"{CNN}-{LSTM}"}
"""The network that is left of the whole one without a part."""

PART_NAMES = {CNN: "convolutions", LSTM: "the LSTM", DNN: "the dense layer"}

BOTH = f"{BIDIRECTIONAL}:{WHOLE}"

PUBLISHED = "Sainath et al. (2015) report 4 to 6 % fewer words wrong, on hundreds of hours of people's speech"

PHASES = frames.PHASES
LEFT = 0.1
"""Of the largest norm of a gradient, what is left where its reach ends."""


def with_cases(found: pd.DataFrame) -> pd.DataFrame:
    """With a column that names a network, and its delay where there are several; those with more parts come first."""
    both = found["network"].str.startswith(BIDIRECTIONAL)
    ahead = found["delay"].map(lambda delay: f", {delay * HOP_MS:.0f} ms ahead")
    several = (found.loc[~both, "delay"].nunique() > 1) & ~both
    order = both.astype(int) * 10 - found["network"].str.count("-")
    found = found.assign(case=found["network"] + ahead.where(several, ""), order=order)
    return found.sort_values(["order", "network", "delay"], kind="stable", ignore_index=True).drop(columns="order")


def results(records: Sequence[Record]) -> pd.DataFrame:
    """How each run ended, a row for each group of voices and condition."""
    found = frames.frame(records, "result", dtype=np.float64)
    about = frames.frame(records, "network")[["run", "params", "width"]]
    return with_cases(found.merge(about, on="run"))


def conditions(records: Sequence[Record]) -> list[str]:
    """From the first, mostly clean, to the last."""
    return list(results(records)["condition"].unique())


def errors(records: Sequence[Record], case: str, group: str, condition: str) -> pd.Series:
    """Shares of frames wrong, by seed; empty where there is no such case."""
    ends = results(records)
    chosen = ends[(ends["case"] == case) & (ends["group"] == group) & (ends["condition"] == condition)]
    return chosen.set_index("seed")["error"]


# Tables


def setting(records: Sequence[Record]) -> str:
    """What was read, and how much of it."""
    ends = results(records)
    first, seeds = ends.iloc[0], ends["seed"].nunique()
    tested = " and ".join(
        f"{minutes(ends[ends['group'] == group]['frames'].iloc[0])} of {group}" for group in ends["group"].unique()
    )
    return (
        f"{first['source']}: {minutes(first['trained_on'])} to train on, {tested} to test on, {len(CLASSES)} classes, "
        f"frames of {HOP_MS:.0f} ms; {seeds} {'seed' if seeds == 1 else 'seeds'}."
    )


def minutes(count: float) -> str:
    """So many frames, in words."""
    return f"{count * HOP_MS / 60_000:.1f} min"


def table(records: Sequence[Record]) -> str:
    """Frames wrong of each network in the first and the last condition, mean and range over seeds, as Markdown."""
    ends, several = results(records), conditions(records)
    rows = []
    for case, seeds in ends.groupby("case", sort=False):
        row = {"network": case, "params": f"{seeds['params'].iloc[0]:,.0f}"}
        for group in GROUPS:
            for condition in dict.fromkeys((several[0], several[-1])):
                chosen = seeds[(seeds["group"] == group) & (seeds["condition"] == condition)]
                row[f"{group}, {noise.in_words(condition)}"] = percent(chosen["error"])
        rows.append(row)
    return frames.table(rows, {"network"})


def contributions(records: Sequence[Record]) -> pd.DataFrame:
    """By how many points more frames are wrong without a part, a row for each part, group, condition and seed."""
    rows = []
    for part, without in WITHOUT.items():
        for group in GROUPS:
            for condition in conditions(records):
                less, whole = (errors(records, case, group, condition) for case in (without, WHOLE))
                for seed in whole.index.intersection(less.index):
                    points = 100 * (less[seed] - whole[seed])
                    rows.append({"part": part, "group": group, "condition": condition, "seed": seed, "points": points})
    return pd.DataFrame(rows)


def contributions_table(records: Sequence[Record]) -> str:
    """The same as a Markdown table, mean and range over seeds; a star where all seeds are on one side of all others."""
    found = contributions(records)
    if found.empty:
        return ""
    rows = []
    for (part, group), of_both in found.groupby(["part", "group"], sort=False):
        row = {"without": PART_NAMES[part], "voices": group}
        for condition, seeds in of_both.groupby("condition", sort=False):
            star = "*" * (standing(records, part, group, condition) != "among")
            row[noise.in_words(condition)] = (
                f"{seeds['points'].mean():+.2f} ({frames.span(seeds['points'], '+.2f')}){star}"
            )
        rows.append(row)
    return frames.table(rows, {"without", "voices"})


def standing(records: Sequence[Record], part: str, group: str, condition: str) -> str:
    """Of the errors without a part with respect to those of the whole network."""
    return frames.standing(*(errors(records, case, group, condition) for case in (WITHOUT[part], WHOLE)))


# Verdict


def verdict(records: Sequence[Record]) -> str:
    """What each part adds, in clean speech and in noise; both directions; and what is published."""
    told = [fewest(records)]
    several = conditions(records)
    ends = dict.fromkeys((several[0], several[-1]))
    for part in WITHOUT:
        if len(errors(records, WITHOUT[part], KNOWN, several[0])) and len(errors(records, WHOLE, KNOWN, several[0])):
            parts = "; ".join(_without(records, part, group, condition) for group in GROUPS for condition in ends)
            told.append(f"Without {PART_NAMES[part]}: {parts}")
    if len(errors(records, LSTM, KNOWN, several[0])) and len(errors(records, WHOLE, KNOWN, several[0])):
        changes = ", ".join(
            f"{fewer(errors(records, LSTM, group, condition), errors(records, WHOLE, group, condition))} "
            f"({group}, {noise.in_words(condition)})"
            for group in GROUPS
            for condition in ends
        )
        told.append(f"Over an LSTM alone of as many params, {WHOLE} has fewer frames wrong by {changes}. {PUBLISHED}")
    if len(errors(records, BOTH, KNOWN, several[0])) and len(errors(records, WHOLE, KNOWN, several[0])):
        told.append(f"Both directions have fewer frames wrong than forward by {_both(records, list(ends))}")
    return ". ".join(told) + "."


def fewest(records: Sequence[Record]) -> str:
    """The network with the fewest errors in the first condition, of voices that it knows and of others."""
    case, first = best(records), conditions(records)[0]
    known, held_out = (percent(errors(records, case, group, first)) for group in GROUPS)
    return f"Fewest frames wrong: {case}, {known} of {KNOWN} and {held_out} of {HELD_OUT}, {noise.in_words(first)}"


def best(records: Sequence[Record]) -> str:
    """The case with the fewest errors, on average over seeds."""
    ends = results(records)
    first = ends[(ends["condition"] == ends["condition"].iloc[0]) & (ends["group"] == KNOWN)]
    return str(first.groupby("case", sort=False)["error"].mean().fillna(1.0).idxmin())


def _without(records: Sequence[Record], part: str, group: str, condition: str) -> str:
    less, whole = (errors(records, case, group, condition) for case in (WITHOUT[part], WHOLE))
    shown = {"above": "more wrong", "below": "fewer wrong", "among": "undecided"}[frames.standing(less, whole)]
    ranges = " against ".join(f"{frames.span(100 * each, '.1f')} %" for each in (less, whole))
    return f"{shown} in {group}, {noise.in_words(condition)} ({ranges})"


def fewer(one: pd.Series, other: pd.Series) -> str:
    """By how much the other has fewer errors, relative to the one, seed by seed: mean and range."""
    shares = 100 * (1 - other / one)
    return f"{shares.mean():.0f} % ({frames.span(shares, '.0f')})"


def _both(records: Sequence[Record], ends: Sequence[str]) -> str:
    return ", ".join(
        f"{fewer(errors(records, WHOLE, group, condition), errors(records, BOTH, group, condition))} "
        f"({group}, {noise.in_words(condition)})"
        for group in GROUPS
        for condition in ends
    )


# Confusions


def matrix(records: Sequence[Record], group: str) -> np.ndarray:
    """Counts (true, said) of the best network in the first condition, over all seeds."""
    ends = results(records)
    first = ends["condition"].iloc[0]
    seeds = ends[(ends["case"] == best(records)) & (ends["group"] == group) & (ends["condition"] == first)]
    counts: np.ndarray = frames.stacked(seeds["confusion"]).sum(axis=0).astype(int)
    return counts


def confused(counts: np.ndarray, most: int = 4) -> str:
    """Which phonemes were taken for which most often, as shares of all frames that are wrong."""
    wrong = counts - np.diag(np.diag(counts))
    places = np.argsort(-wrong, axis=None)[:most]
    told = [
        f"{CLASSES[true]} for {CLASSES[said]} {wrong[true, said] / wrong.sum():.0%}"
        for true, said in zip(*np.unravel_index(places, wrong.shape), strict=True)
        if wrong[true, said]
    ]
    silence = CLASSES.index(SILENCE)
    at_silence = (wrong[silence].sum() + wrong[:, silence].sum()) / max(wrong.sum(), 1)
    return f"of the frames that are wrong {', '.join(told)}; {at_silence:.0%} are silence or taken for it"


# Reach


def flows(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each run and phase: gradients by distance, of the states over both directions."""
    found = with_cases(frames.frame(records, "flow"))
    columns = [name for name in found if name.startswith("states_")]
    by_run = ([each for each in row if isinstance(each, np.ndarray)] for row in found[columns].to_numpy())
    states = [np.sqrt(np.square(norms).sum(axis=0)) if norms else np.nan for norms in by_run]
    return found.assign(states=states)


def reach(norms: np.ndarray) -> tuple[float, float]:
    """From how many ms before a frame to how many after it a gradient (2 L + 1,) is a tenth of its largest, or more."""
    there = np.flatnonzero((norms >= LEFT * norms.max()) & (norms > 0))
    if not len(there):  # nothing is left, or it is not finite
        return np.nan, np.nan
    first, last = (HOP_MS * (float(place) - len(norms) // 2) for place in (there[0], there[-1]))
    return first, last


def reaches(records: Sequence[Record]) -> str:
    """Of each network, from where to where its decision reaches, before and after training, as Markdown."""
    rows = []
    for case, of_case in flows(records).groupby("case", sort=False):
        row = {"network": case}
        for phase, seeds in of_case.groupby("phase", sort=False):
            row |= {
                f"{end}, {PHASES[phase]} (ms)": told
                for end, told in zip(("from", "to"), span(seeds["inputs"]), strict=True)
            }
        rows.append(row)
    return frames.table(rows, {"network"})


def span(curves: Iterable[np.ndarray]) -> tuple[str, str]:
    """From where a gradient reaches, and to where, in ms: ranges over seeds."""
    first, last = (frames.span(ends, "+z.0f") for ends in np.array([reach(norms) for norms in curves]).T)
    return first, last


def percent(shares: pd.Series) -> str:
    """Mean and range over seeds."""
    if shares.empty or shares.isna().any():
        return "-"
    ends = frames.span(100 * shares, ".1f")
    return f"{100 * shares.mean():.1f} % ({ends})" if " to " in ends else f"{ends} %"
