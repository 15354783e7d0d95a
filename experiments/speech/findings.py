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
"""What is left of the whole network without a part."""

PART_NAMES = {CNN: "convolutions", LSTM: "the LSTM", DNN: "the dense layer"}

BOTH = f"{BIDIRECTIONAL}:{WHOLE}"

CLAIMS = {
    f"{WHOLE} has fewer frames wrong than {WITHOUT[CNN]}": (WHOLE, WITHOUT[CNN]),
    f"{WHOLE} has fewer frames wrong than {WITHOUT[LSTM]}": (WHOLE, WITHOUT[LSTM]),
    f"{WHOLE} has fewer frames wrong than {WITHOUT[DNN]}": (WHOLE, WITHOUT[DNN]),
    f"{WHOLE} has fewer frames wrong than an LSTM alone": (WHOLE, LSTM),
    "both directions have fewer frames wrong than one": (BOTH, WHOLE),
}
"""Which network has fewer frames wrong than which, with about as many params, in the verdict's words."""

PUBLISHED = (
    "Sainath et al. (2015) report 4 to 6 % fewer words wrong for all three parts than for an LSTM, on 200 to 2,000 "
    "hours of people's speech"
)

PHASES = frames.PHASES
LEFT = 0.1
"""The share of the largest gradient norm down to which a gradient is said to reach."""


def with_cases(found: pd.DataFrame) -> pd.DataFrame:
    """Adds a column with the network and, if there are several, its delay; networks with more parts come first."""
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
    """The conditions in their order, from the first, which mostly is clean, to the last."""
    return list(ends["condition"].unique())


def situations(ends: pd.DataFrame) -> list[tuple[str, str]]:
    """Both groups of voices, each in the first and in the last condition."""
    several = conditions(ends)
    return [(group, condition) for group in GROUPS for condition in dict.fromkeys((several[0], several[-1]))]


def where(group: str, condition: str) -> str:
    """A group of voices and a condition, in words."""
    return f"{group}, {noise.in_words(condition)}"


def errors(ends: pd.DataFrame, case: str, group: str, condition: str) -> pd.Series:
    """The shares of frames wrong of a case, by seed; empty if there is no such case."""
    chosen = ends[(ends["case"] == case) & (ends["group"] == group) & (ends["condition"] == condition)]
    return chosen.set_index("seed")["error"]


# Tables


def setting(records: Sequence[Record]) -> str:
    """The data, and how much there is of them."""
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
    """The duration of ``count`` frames, in words."""
    return f"{count * HOP_MS / 60_000:.1f} min"


def table(records: Sequence[Record]) -> str:
    """The share of frames wrong in the first and the last condition, mean and range over seeds, as Markdown."""
    ends, rows = results(records), []
    for case, seeds in ends.groupby("case", sort=False):
        row = {"network": case, "params": f"{seeds['params'].iloc[0]:,.0f}"}
        rows.append(row | {where(*each): percent(errors(ends, str(case), *each)) for each in situations(ends)})
    return frames.table(rows, {"network"})


def contributions(records: Sequence[Record]) -> pd.DataFrame:
    """How many points more frames are wrong without a part, a row for each part, group, condition and seed."""
    ends, rows = results(records), []
    for (part, without), group, condition in itertools.product(WITHOUT.items(), GROUPS, conditions(ends)):
        less, whole = (errors(ends, case, group, condition) for case in (without, WHOLE))
        standing = frames.standing(less, whole) if len(less) and len(whole) else ""
        for seed, points in (100 * (less - whole)).dropna().items():
            place = {"part": part, "group": group, "condition": condition, "standing": standing}
            rows.append({**place, "seed": seed, "points": points})
    return pd.DataFrame(rows)


def contributions_table(records: Sequence[Record]) -> str:
    """The contributions as a Markdown table; a star where the seeds of the two networks do not overlap."""
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
    """Which network is best, what each part and the second direction add, and what is published."""
    ends = results(records)
    told = [fewest(ends)]
    for claim, (better, worse) in CLAIMS.items():
        if {better, worse} <= set(ends["case"]):
            told.append(f"That {claim}, with about as many params, is {_compared(ends, better, worse)}")
            if worse == LSTM:
                told.append(PUBLISHED)
    return ". ".join(told) + "."


def fewest(ends: pd.DataFrame) -> str:
    """The network with the fewest errors in the first condition, and its errors for both groups of voices."""
    case, first = best(ends), conditions(ends)[0]
    known, held_out = (percent(errors(ends, case, group, first)) for group in GROUPS)
    return (
        f"{case} is best: {_speech(first)} it labels {known} of the frames of {KNOWN} wrongly, and {held_out} of "
        f"{HELD_OUT}"
    )


def _speech(condition: str) -> str:
    return f"in {condition} speech" if condition == noise.CLEAN else f"at {noise.in_words(condition)}"


def best(ends: pd.DataFrame) -> str:
    """The case with the fewest errors of known voices in the first condition, on average over seeds."""
    first = ends[(ends["condition"] == conditions(ends)[0]) & (ends["group"] == KNOWN)]
    return str(first.groupby("case", sort=False)["error"].mean().fillna(1.0).idxmin())


def _compared(ends: pd.DataFrame, better: str, worse: str) -> str:
    """In which situations the better network has fewer frames wrong, and by how much relative to the worse one."""
    told: dict[str, list[str]] = {}
    for group, condition in situations(ends):
        more, less = (errors(ends, case, group, condition) for case in (worse, better))
        shown = {"above": "confirmed", "below": "refuted", "among": "undecided"}[frames.standing(more, less)]
        shares = 100 * (1 - less / more)
        fewer = f"{shares.mean():z.0f} % fewer, {frames.span(shares, 'z.0f')}"
        told.setdefault(shown, []).append(f"{group} {_speech(condition)} ({fewer})")
    return "; ".join(f"{shown} for {', '.join(each)}" for shown, each in told.items())


# Confusions


def matrix(records: Sequence[Record], case: str, group: str) -> np.ndarray:
    """Counts (true, said) of frames in the first condition, over all seeds of a network."""
    found = with_cases(frames.frame(records, "result", dtype=np.float64, group=group))
    seeds = found[(found["case"] == case) & (found["condition"] == conditions(found)[0])]
    counts: np.ndarray = frames.stacked(seeds["confusion"]).sum(axis=0).astype(int)
    return counts


def confused(counts: np.ndarray, most: int = 4) -> str:
    """Which phonemes are mistaken for which most often, as shares of all wrong frames."""
    wrong = counts - np.diag(np.diag(counts))
    places = np.argsort(-wrong, axis=None)[:most]
    told = [
        f"{CLASSES[true]} taken for {CLASSES[said]} ({100 * wrong[true, said] / wrong.sum():.0f} %)"
        for true, said in zip(*np.unravel_index(places, wrong.shape), strict=True)
        if wrong[true, said]
    ]
    silence = CLASSES.index(SILENCE)
    at_silence = 100 * (wrong[silence].sum() + wrong[:, silence].sum()) / max(wrong.sum(), 1)
    return f"{', '.join(told)}; {at_silence:.0f} % of the wrong frames are silence, or taken for silence"


# Reach


def flows(records: Sequence[Record]) -> pd.DataFrame:
    """Gradients by distance, a row for each run and phase; those of the states are over both directions."""
    found = with_cases(frames.frame(records, "flow"))
    columns = [name for name in found if name.startswith("states_")]
    by_run = ([each for each in row if isinstance(each, np.ndarray)] for row in found[columns].to_numpy())
    states = [np.sqrt(np.square(norms).sum(axis=0)) if norms else np.nan for norms in by_run]
    return found.assign(states=states)


def reach(norms: np.ndarray) -> tuple[float, float]:
    """From how many ms before a frame to how many after it a gradient (2 L + 1,) is a tenth of its largest or more."""
    there = np.flatnonzero((norms >= LEFT * norms.max()) & (norms > 0))
    if not len(there):  # nothing is left, or it is not finite
        return np.nan, np.nan
    first, last = (HOP_MS * (float(place) - len(norms) // 2) for place in (there[0], there[-1]))
    return first, last


def reaches(records: Sequence[Record]) -> str:
    """From where to where the decisions of each network reach, before and after training, as Markdown."""
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
    """From where and to where a gradient reaches, in ms, as ranges over seeds."""
    first, last = (frames.span(ends, "+z.0f") for ends in np.array([reach(norms) for norms in curves]).T)
    return first, last
