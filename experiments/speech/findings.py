"""Tables, sentences and verdict of the speech experiment, from its metrics.jsonl alone."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from experiments.common import frames
from experiments.common.frames import percent
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

CLAIMS = {
    "convolutions leave fewer frames wrong": (WHOLE, WITHOUT[CNN]),
    "the LSTM leaves fewer frames wrong": (WHOLE, WITHOUT[LSTM]),
    "the dense layer leaves fewer frames wrong": (WHOLE, WITHOUT[DNN]),
    "all three leave fewer frames wrong than an LSTM alone": (WHOLE, LSTM),
    "both directions leave fewer frames wrong than one": (BOTH, WHOLE),
}
"""Which network has fewer frames wrong than which, with about as many params, in the verdict's words."""

PUBLISHED = (
    "Sainath et al. (2015) report 4 to 6 % fewer words wrong for all three than for an LSTM, on 200 to 2,000 hours of "
    "people's speech"
)

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
    ends = [{name: record[name] for name in record if name != "confusion"} for record in records]
    found = frames.frame(ends, "result", dtype=np.float64)
    about = frames.frame(ends, "network")[["run", "params", "width"]]
    return with_cases(found.merge(about, on="run"))


def conditions(ends: pd.DataFrame) -> list[str]:
    """Of ``results``, from the first, mostly clean, to the last."""
    return list(ends["condition"].unique())


def situations(ends: pd.DataFrame) -> list[tuple[str, str]]:
    """Both groups of voices, each in the first condition and in the last."""
    several = conditions(ends)
    return [(group, condition) for group in GROUPS for condition in dict.fromkeys((several[0], several[-1]))]


def where(group: str, condition: str) -> str:
    """In words."""
    return f"{group}, {noise.in_words(condition)}"


def errors(ends: pd.DataFrame, case: str, group: str, condition: str) -> pd.Series:
    """Of ``results``, shares of frames wrong, by seed; empty where there is no such case."""
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
    ends, rows = results(records), []
    for case, seeds in ends.groupby("case", sort=False):
        row = {"network": case, "params": f"{seeds['params'].iloc[0]:,.0f}"}
        rows.append(row | {where(*each): percent(errors(ends, str(case), *each)) for each in situations(ends)})
    return frames.table(rows, {"network"})


def contributions(records: Sequence[Record]) -> pd.DataFrame:
    """By how many points more frames are wrong without a part, a row for each part, group, condition and seed."""
    ends, rows = results(records), []
    for (part, without), group, condition in itertools.product(WITHOUT.items(), GROUPS, conditions(ends)):
        less, whole = (errors(ends, case, group, condition) for case in (without, WHOLE))
        standing = frames.standing(less, whole) if len(less) and len(whole) else ""
        for seed, points in (100 * (less - whole)).dropna().items():
            place = {"part": part, "group": group, "condition": condition, "standing": standing}
            rows.append({**place, "seed": seed, "points": points})
    return pd.DataFrame(rows)


def contributions_table(records: Sequence[Record]) -> str:
    """The same as a Markdown table, mean and range over seeds; a star where no seed is among those of the other."""
    found, rows = contributions(records), []
    if found.empty:
        return ""
    for (part, group), of_both in found.groupby(["part", "group"], sort=False):
        row = {"without": PART_NAMES[part], "voices": group}
        for condition, seeds in of_both.groupby("condition", sort=False):
            points, star = seeds["points"], "*" * (seeds["standing"].iloc[0] != "among")
            row[noise.in_words(condition)] = f"{points.mean():+z.2f} ({frames.span(points, '+z.2f')}){star}"
        rows.append(row)
    return frames.table(rows, {"without", "voices"})


# Verdict


def verdict(records: Sequence[Record]) -> str:
    """What each part adds, in clean speech and in noise; both directions; and what is published."""
    ends = results(records)
    told = [fewest(ends)]
    for claim, (better, worse) in CLAIMS.items():
        if {better, worse} <= set(ends["case"]):
            told.append(f"That {claim}, with as many params, is {_compared(ends, better, worse)}")
            if worse == LSTM:
                told.append(PUBLISHED)
    return ". ".join(told) + "."


def fewest(ends: pd.DataFrame) -> str:
    """The network with the fewest errors in the first condition, of voices that it knows and of others."""
    case, first = best(ends), conditions(ends)[0]
    known, held_out = (percent(errors(ends, case, group, first)) for group in GROUPS)
    return f"Fewest frames wrong: {case}, {known} of {KNOWN} and {held_out} of {HELD_OUT}, {noise.in_words(first)}"


def best(ends: pd.DataFrame) -> str:
    """The case with the fewest errors of known voices in the first condition, on average over seeds."""
    first = ends[(ends["condition"] == conditions(ends)[0]) & (ends["group"] == KNOWN)]
    return str(first.groupby("case", sort=False)["error"].mean().fillna(1.0).idxmin())


def _compared(ends: pd.DataFrame, better: str, worse: str) -> str:
    """In which situations it is so, and by how much, relative to the worse one, seed by seed."""
    told = []
    for group, condition in situations(ends):
        more, less = (errors(ends, case, group, condition) for case in (worse, better))
        shown = {"above": "confirmed", "below": "refuted", "among": "undecided"}[frames.standing(more, less)]
        shares = 100 * (1 - less / more)
        told.append(f"{shown} for {where(group, condition)} (by {shares.mean():z.0f} %, {frames.span(shares, 'z.0f')})")
    return ", ".join(told)


# Confusions


def matrix(records: Sequence[Record], case: str, group: str) -> np.ndarray:
    """Counts (true, said) of a network in the first condition, over all seeds."""
    found = with_cases(frames.frame(records, "result", dtype=np.float64, group=group))
    seeds = found[(found["case"] == case) & (found["condition"] == conditions(found)[0])]
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
