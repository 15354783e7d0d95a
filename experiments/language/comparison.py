"""Models of words side by side: table, verdict and figure, from the records of a run that has several kinds of them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing, frames
from experiments.common.workdir import Record
from experiments.language.words import CONNECTED, NGRAM


def models(records: Sequence[Record]) -> pd.DataFrame:
    """A row a run, at the evaluation whose loss on the text to choose by was least; empty where nothing is compared.

    ``sees`` is how many words a model looks back on, NaN where it carries a state through all of them.
    """
    if not any("length" in record for record in records):
        return pd.DataFrame()
    found = frames.frame(records, "evaluation", dtype=np.float64)
    found = found[found["loss_choose"] == found.groupby("run")["loss_choose"].transform("min")].drop_duplicates("run")
    found = found.merge(frames.frame(records, "network")[["run", "params"]], on="run")
    of_cell = ~found["model"].isin([CONNECTED, NGRAM])
    found.loc[of_cell, "model"] = found["cell"].add(" in streams").fillna(found["model"].add(" on windows"))
    found["sees"] = found["length"] - (found["model"] == NGRAM)
    found["perplexity"] = np.exp(found["loss_report"])
    columns = ["run", "model", "sees", "seed", "step", "params", "perplexity"]
    return found[columns].sort_values(["model", "sees", "seed"], ignore_index=True)


def table(records: Sequence[Record]) -> str:
    """Each model with each window or order, ranges over seeds, as a Markdown table; empty where nothing is compared."""
    found = models(records)
    if not len(found):
        return ""
    learned = _at_the_end_of_training(records)
    rows = [
        {
            "model": name,
            "words that it sees": "all before" if np.isnan(sees) else f"{sees:.0f}",
            "params": f"{seeds['params'].iloc[0]:,}",
            "held-out perplexity": frames.span(seeds["perplexity"], ".1f"),
            "at the end of training": frames.span(learned[seeds["run"]], ".1f") if name != NGRAM else "-",
            "best after (steps)": frames.span(seeds["step"], ",.0f") if name != NGRAM else "-",
        }
        for (name, sees), seeds in found.groupby(["model", "sees"], sort=False, dropna=False)
    ]
    return frames.table(rows, {"model"})


def _at_the_end_of_training(records: Sequence[Record]) -> pd.Series:
    """By run: the perplexity over the last tenth of its steps."""
    trained = frames.frame(records, "train", dtype=np.float64)
    last = trained[trained["step"] > 0.9 * trained.groupby("run")["step"].transform("max")]
    return np.exp(last.groupby("run")["loss"].mean())


def verdict(records: Sequence[Record]) -> str:
    """What longer windows do to the fully connected network, and the best of each kind; empty likewise."""
    found = models(records)
    if not len(found):
        return ""
    by_model = found.groupby(["model", "sees"], sort=False, dropna=False, as_index=False)
    middle = by_model[["params", "perplexity"]].median()
    told = []
    windows = middle[middle["model"] == CONNECTED].sort_values("sees")
    if len(windows) > 1:
        lengths = ", ".join(f"{length:.0f}" for length in windows["sees"])
        reached = ", ".join(f"{perplexity:.1f}" for perplexity in windows["perplexity"])
        growth = windows["params"].iloc[-1] / windows["params"].iloc[0]
        told.append(
            f"On windows of {lengths} words the fully connected network reaches a perplexity of {reached}, while its "
            f"params grow {growth:.1f}-fold"
        )
    best = middle.loc[middle.groupby("model", sort=False)["perplexity"].idxmin()].sort_values("perplexity")
    each = [
        f"{row['model']} {row['perplexity']:.1f} ({_seen(row['sees'])}, {row['params']:,.0f} "
        f"{'n-grams' if row['model'] == NGRAM else 'params'})"
        for _, row in best.iterrows()
    ]
    return ". ".join([*told, f"The best perplexity of each kind of model is: {', '.join(each)}."])


def _seen(sees: float) -> str:
    return "all words" if np.isnan(sees) else "1 word" if sees == 1 else f"{sees:.0f} words"


def perplexity_by_window(records: Sequence[Record]) -> Figure | None:
    """Held-out perplexity and number of params against the number of words seen; a level line for all words before."""
    found = models(records)
    if not len(found):
        return None
    windows = found.dropna(subset="sees")
    level = found[found["sees"].isna()].drop(columns="sees").merge(windows[["sees"]].drop_duplicates(), how="cross")
    found = pd.concat([level, windows]).assign(params=lambda rows: rows["params"] / 1e6)
    columns = {"perplexity": "held-out perplexity", "params": "params, or n-grams kept (millions)"}
    each = pd.concat(found.assign(value=found[column], of=told) for column, told in columns.items())
    figure, panels = drawing.courses(
        each, "sees", "value", panel="of", line="model", size=(3.6, 3.4), share=(True, False), marker="."
    )
    for panel, digits in zip(panels.values(), [(1, 2, 3, 4, 6, 8), (1, 3)], strict=True):
        drawing.plain_ticks(panel, digits)
    drawing.legend(figure, "shade: range over seeds")
    return drawing.caption(figure, verdict(records), "words that a model looks back on (level line: all words before)")
