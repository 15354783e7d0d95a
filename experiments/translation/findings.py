"""Tables, sentences and verdict of the translation experiment, from its metrics.jsonl alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from experiments.common import frames
from experiments.common.frames import percent
from experiments.common.workdir import Record
from experiments.translation.dates import (
    DATES,
    HELD_OUT_LOCALES,
    SEVERAL,
    UNSEEN_DATES,
    UNSEEN_FORMAT,
    UNSEEN_LOCALE,
)
from experiments.translation.phonemes import WORDS

NONE, FORWARD, REVERSED = "none", "forward", "reversed"

GOAL = 0.99
"""Of unseen dates, what was to be right at least."""

PUBLISHED = {"Phonetisaurus": 0.3389, "a Transformer of two layers of 256": 0.31}
"""Word errors without stress, of the README of g2p-seq2seq; the second is given there as "~31"."""

LEARNED = 0.5
"""Of the shortest sources so many must be right, before anything is said of longer ones."""

FEW = 50
"""Words of one length, below which no share of them is told."""


def named(rows: pd.DataFrame) -> pd.DataFrame:
    """With ``network``, attention and reading in words; in order as they ran."""
    if rows.empty:
        return rows
    attention = rows["attention"].where(rows["attention"] == NONE, rows["attention"] + " attention")
    return rows.assign(network=attention.replace(NONE, "no attention") + ", " + rows["reading"])


def results(records: Sequence[Record], asked: str = "", *, greedy: bool = True) -> pd.DataFrame:
    """How test sources were translated, a row for each run, search and what was asked."""
    found = named(frames.frame(records, "result", dtype=np.float64))
    found = found[(found["beams"] == 1) == greedy]
    return found[found["asked"] == asked] if asked else found


def lengths(records: Sequence[Record]) -> pd.DataFrame:
    """The share right by length of the source, greedy, a row for each run and length; of words those that are many."""
    found = named(frames.frame(records, "length", beams=1))
    many = (found["sources"] >= FEW) | of_dates(records)
    return found.assign(percent=100 * found["right"])[many]


def locales(records: Sequence[Record]) -> pd.DataFrame:
    """The share right by locale and format, greedy, a row for each run and both; nothing of words."""
    return named(frames.frame(records, "locale", beams=1))


def flows(records: Sequence[Record]) -> pd.DataFrame:
    """Gradients, a row for each run and phase."""
    return named(frames.frame(records, "flow")).assign(when=lambda rows: rows["phase"].map(frames.PHASES))


def first(records: Sequence[Record]) -> pd.Series:
    """What all runs have in common."""
    return frames.frame(records, "network").iloc[0]


def of_dates(records: Sequence[Record]) -> bool:
    """Whether dates were translated, not words."""
    return bool(first(records)["unit"] == DATES)


# Tables


def setting(records: Sequence[Record]) -> str:
    """What was read, and how much of it."""
    about, seeds = first(records), frames.frame(records, "network")["seed"].nunique()
    return (
        f"{about['source']}: {about['trained_on']:,} pairs to train on, of up to {about['longest']} {about['unit']}; "
        f"{about['tested_on']:,} sources to test on; {seeds} {'seed' if seeds == 1 else 'seeds'}."
    )


def table(records: Sequence[Record]) -> str:
    """How each network ended, mean and range over seeds, as a Markdown table."""
    params = named(frames.frame(records, "network")).groupby("network", sort=False)["params"].first()
    greedy, beams = (results(records, greedy=each) for each in (True, False))
    rows = []
    for network, of_network in greedy.groupby("network", sort=False):
        row = {"network": network, "params": f"{params[network]:,}"}
        searched = beams[beams["network"] == network]
        if of_dates(records):
            for asked, seeds in of_network.groupby("asked", sort=False):
                row[f"right, {asked}"] = percent(seeds["right"])
            several = searched[searched["asked"] == SEVERAL]
            row["the same, beams"] = percent(several["right"]) if len(several) else "-"
        else:
            for search, seeds in (("greedy", of_network), ("beams", searched)):
                row[f"words wrong, {search}"] = percent(1 - seeds["right"]) if len(seeds) else "-"
                row[f"phonemes wrong, {search}"] = percent(seeds["symbol_error"]) if len(seeds) else "-"
        rows.append(row)
    return frames.table(rows, {"network"})


def locale_table(records: Sequence[Record]) -> str:
    """Of the best network, what is right by locale, of its formats together, as a Markdown table; empty for words."""
    found = locales(records)
    if found.empty:
        return ""
    rows = []
    mine = found[found["network"] == best(records)]
    for (asked, locale), of_locale in mine.groupby(["asked", "locale"], sort=False):
        if asked == UNSEEN_LOCALE:
            by_form = of_locale.groupby("form", sort=False)["right"]
            told = {form: percent(right) for form, right in by_form}
            rows.append({"locale": f"{HELD_OUT_LOCALES.get(str(locale), locale)} ({locale})", **told})
    return frames.table(rows, {"locale"})


def search_table(records: Sequence[Record]) -> str:
    """What each search found on validation examples, as a Markdown table, means and ranges over seeds."""
    found = named(frames.frame(records, "search", dtype=np.float64))
    rows = [
        {
            "network": network,
            "beams": f"{beams:.0f}",
            "length penalty": f"{penalty:g}" if beams > 1 else "-",
            "wrong": percent(seeds["error"]),
            "symbols a translation": frames.span(seeds["symbols"], ".2f"),
            "ln p a translation": frames.span(seeds["log_probability"], ".3f"),
        }
        for (network, beams, penalty), seeds in found.groupby(["network", "beams", "length_penalty"], sort=False)
    ]
    return frames.table(rows, {"network"})


def mistakes_table(records: Sequence[Record]) -> str:
    """Some wrong translations of the best network's first seed, as a Markdown table."""
    found = named(frames.frame(records, "mistake"))
    if found.empty:
        return "There are none."
    mine = found[found["network"] == best(records)]
    rows = [
        {
            name: f"`{row[column]}`".replace("|", "\\|")
            for name, column in (("source", "source"), ("said", "said"), ("right", "reference"))
        }
        | {"of": row["asked"]}
        for _, row in mine.iterrows()
    ]
    return frames.table(rows, {"source", "said", "right", "of"}) if rows else "There are none."


# The verdict


def best(records: Sequence[Record]) -> str:
    """The network that has most unseen dates or words right, on average over seeds."""
    ends = results(records, UNSEEN_DATES if of_dates(records) else WORDS)
    return str(ends.groupby("network", sort=False)["right"].mean().fillna(0.0).idxmax())


def verdict(records: Sequence[Record]) -> str:
    """What was found."""
    parts = [_dates, _unseen, _bottleneck, _reversed] if of_dates(records) else [_words, _bottleneck, _reversed]
    told = [each for part in (*parts, _gradient, _beams) if (each := part(records))]
    return ". ".join(told) + "."


def _dates(records: Sequence[Record]) -> str:
    ends = results(records, UNSEEN_DATES)
    right = ends[ends["network"] == best(records)]["right"]
    reached = "is reached with every seed" if right.min() >= GOAL else "is not reached with every seed"
    return (
        f"Most right: {best(records)}, {percent(right)} of {ends['sources'].iloc[0]:,.0f} unseen dates, one at "
        f"a time; the goal of {100 * GOAL:.0f} % {reached}"
    )


def _unseen(records: Sequence[Record]) -> str:
    """Of formats and locales that were never seen."""
    ends, found = results(records, UNSEEN_FORMAT), locales(records)
    form = percent(ends[ends["network"] == best(records)]["right"])
    mine = found[(found["network"] == best(records)) & (found["asked"] == UNSEEN_LOCALE)]
    by_locale = mine.groupby(["locale", "seed"], sort=False)["right"].mean().groupby("locale", sort=False)
    told = [f"{HELD_OUT_LOCALES.get(str(locale), locale)} {percent(right)}" for locale, right in by_locale]
    return f"In a format never seen (yMMMEd) it has right {form}, in locales never seen {', '.join(told)}"


def _words(records: Sequence[Record]) -> str:
    told = []
    for greedy, name in ((True, "greedy"), (False, "with beams")):
        ends = results(records, WORDS, greedy=greedy)
        mine = ends[ends["network"] == best(records)]
        if len(mine):
            errors = f"word error {percent(1 - mine['right'])}, phoneme error {percent(mine['symbol_error'])}"
            told.append(f"{errors} {name}")
    ends = results(records, WORDS)
    published = ", ".join(f"{name} {100 * error:.1f} %" for name, error in PUBLISHED.items())
    return (
        f"Fewest wrong: {best(records)}, {' and '.join(told)}, of {ends['sources'].iloc[0]:,.0f} words that were not "
        f"trained on. Published word errors (README of g2p-seq2seq, by the same rule of splitting, of an earlier state "
        f"of the dictionary): {published}. A word is right, here as there, where one of its pronunciations was said"
    )


def _bottleneck(records: Sequence[Record]) -> str:
    """Without and with attention, from the shortest to the longest sources that were trained on, where all read alike.

    A state that holds not even the shortest shows nothing by failing at the longest.
    """
    found = lengths(records)
    found = found[found["trained"].astype(bool) & (found["reading"] == FORWARD)]
    without, attending = found[found["attention"] == NONE], found[found["attention"] != NONE]
    if without.empty or attending.empty:
        return ""
    shortest, longest, unit = found["length"].min(), found["length"].max(), first(records)["unit"]
    start, end = (_right(without, length) for length in (shortest, longest))
    told = [
        f"{percent(_right(rows, shortest))} and {percent(_right(rows, longest))} with {network.partition(',')[0]}"
        for network, rows in attending.groupby("network", sort=False)
    ]
    shares = f"{percent(start)} and {percent(end)} without attention, {', '.join(told)}"
    steps = frames.frame(records, "evaluation")["step"].max()
    of = f"After {steps:,} training steps are right of sources of {shortest} and of {longest} {unit}: {shares}"
    if not start.mean() > LEARNED:
        return f"{of}. One state has not learned even the shortest, so that nothing is said of a bottleneck"
    standings = {frames.standing(_right(rows, longest), end) for _, rows in attending.groupby("network", sort=False)}
    shown = "confirmed" if standings == {"above"} and end.max() < start.min() else "not confirmed"
    return f"That one final state is a bottleneck, which attention cures, is {shown}. {of}"


def _right(rows: pd.DataFrame, length: int) -> pd.Series:
    return rows[rows["length"] == length]["right"]


def _reversed(records: Sequence[Record]) -> str:
    """Of networks without attention, whether it helps to read backwards."""
    ends = results(records, SEVERAL if of_dates(records) else WORDS)
    ends = ends[ends["attention"] == NONE]
    ways = {reading: ends[ends["reading"] == reading]["right"] for reading in (REVERSED, FORWARD)}
    if not all(map(len, ways.values())):
        return ""
    shown = {"above": "confirmed", "below": "refuted", "among": "undecided"}[frames.standing(*ways.values())]
    backward, forward = (percent(right) for right in ways.values())
    what = "sources of several dates" if of_dates(records) else "words"
    return (
        f"That without attention a source is better read backwards (Sutskever et al., 2014) is {shown}: {backward} of "
        f"{what} right, against {forward} read forward"
    )


def _gradient(records: Sequence[Record]) -> str:
    """What is left of the last symbol's gradient at the farthest character, before training and after it."""
    return f"Of the gradient of the last symbol's log odds, {left(records)}" if len(flows(records)) else ""


def left(records: Sequence[Record]) -> str:
    """At the farthest character, relative to that at the last one: medians over seeds, and ranges, as powers of ten."""
    found = flows(records)
    lag = len(found["norms"].iloc[0]) - 1
    told = []
    for network, of_network in found.groupby("network", sort=False):
        logs = {when: log_left(seeds["norms"]) for when, seeds in of_network.groupby("when", sort=False)}
        told.append(f"{network} {', '.join(f'10^{_span(each)} {when}' for when, each in logs.items())}")
    return (
        f"so much is left at the character after which {lag} more are read, relative to the last one: {'; '.join(told)}"
    )


def log_left(norms: pd.Series) -> np.ndarray:
    """Of each seed's norms, log10 of the last over the first."""
    curves = frames.stacked(norms).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log10(curves[:, -1] / curves[:, 0]))


def _span(logs: np.ndarray) -> str:
    ends = frames.span(logs, "+.1f")
    return f"({ends})" if " to " in ends else ends


def _beams(records: Sequence[Record]) -> str:
    """What beams bring over greedy search on test sources, in the best network."""
    asked = SEVERAL if of_dates(records) else WORDS
    greedy, beams = (results(records, asked, greedy=each) for each in (True, False))
    greedy, beams = (each[each["network"] == best(records)].set_index("seed") for each in (greedy, beams))
    if beams.empty:
        return ""
    gain = 100 * (beams["right"] - greedy["right"])
    shown = "confirmed" if gain.min() > 0 else "refuted" if gain.max() <= 0 else "undecided"
    searches = beams[["beams", "length_penalty"]].drop_duplicates()
    told = " or ".join(f"{row.beams:.0f} beams, length penalty {row.length_penalty:g}" for row in searches.itertuples())
    what = "sources of several dates" if asked == SEVERAL else "words"
    return f"That beams find more than greedy search is {shown}: {frames.span(gain, '+.2f')} points of {what} ({told})"
