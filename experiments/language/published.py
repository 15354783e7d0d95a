"""What others reached on the same text, beside what a run reached: told where the text is known to be the same."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from ml_collections import ConfigDict

from experiments.common import frames
from experiments.common.workdir import Record
from experiments.language import report
from rnnjax.data import load_text

FIGURES = Path(__file__).with_name("published.csv")
"""Nats a character of the last tenth of a text, by SHA-256 of the whole of it in UTF-8."""


def text_of(config: ConfigDict) -> str:
    """By what its text is known; empty where it is not read as characters, or comes with Python."""
    if config.unit != "characters" or not config.corpus:
        return ""
    text = load_text(config.corpus, max_characters=config.max_characters or None)[0]
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def table(records: Sequence[Record], text: str) -> str:
    """Losses on the last tenth of this text, the least first, as a Markdown table; empty where none is published."""
    theirs = pd.read_csv(FIGURES)
    theirs = theirs[theirs["text"] == text].drop(columns="text")
    if theirs.empty:
        return ""
    best = report.at_best_rates(records)
    best = best.assign(loss=(best["loss_choose"] + best["loss_report"]) / 2)
    ours = best.groupby("case", sort=False)["loss"].agg(loss="median", told=lambda losses: frames.span(losses, ".3f"))
    ours = ours.assign(conditions="state carried", source="here").rename_axis("model").reset_index()
    theirs = theirs.assign(told=theirs["loss"].map("{:g}".format))
    rows = pd.concat([theirs, ours]).sort_values("loss", kind="stable")[["model", "told", "conditions", "source"]]
    return frames.table(rows.rename(columns={"told": "nats a character"}), {"model", "conditions", "source"})
