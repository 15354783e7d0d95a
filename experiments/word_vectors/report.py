"""Tables, figures and the answer of the word_vectors experiment, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record
from experiments.word_vectors.models import NGRAM, family, head, is_compared, is_pairs, sees, title
from experiments.word_vectors.pairs import is_negative
from experiments.word_vectors.similarity import interval

LABELLED = 9
"""The most words of a kind that a map names."""


# Similarity


def similar(records: Sequence[Record]) -> pd.DataFrame:
    """The share of words whose nearest word is of their kind, and separations, by model over seeds, the best first.

    ``low`` and ``high`` are the interval over words, each word's hits averaged over seeds. There are no rows where the
    text lacks words of two kinds.
    """
    found = frames.frame(records, "similarity", dtype=np.float64)
    if found.empty:
        return found
    rows = []
    for model, seeds in found.groupby("model", sort=False):
        hits = frames.stacked(seeds["hits"])
        low, high = interval(hits.mean(axis=0))
        shares = hits.mean(axis=1)
        rows.append(
            {
                "model": str(model),
                "share": shares.mean(),
                "shares": shares,
                "low": low,
                "high": high,
                "separations": seeds["separation"].to_numpy(),
                "chance": seeds["chance"].iloc[0],
                "words": hits.shape[1],
            }
        )
    return pd.DataFrame(rows).sort_values("share", ascending=False, kind="stable", ignore_index=True)


def similarities(records: Sequence[Record]) -> str:
    """What ``similar`` finds, as a Markdown table."""
    rows = [
        {
            "words projected by": title(row["model"]),
            "nearest is of the same kind": _percents(row["share"], row["shares"]),
            "interval over words": f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %",
            "of a kind nearer": frames.span(row["separations"], ".2f"),
            "seeds": len(row["shares"]),
        }
        for _, row in similar(records).iterrows()
    ]
    return frames.table(rows, {"words projected by"}) if rows else ""


def meaningful(found: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The trained models whose interval is above both chance and every random projection, and the others."""
    compared = found["model"].map(is_compared)
    level = max([found["chance"].max(), *(share for shares in found[compared]["shares"] for share in shares)])
    trained = found[~compared]
    return trained[trained["low"] > level], trained[trained["low"] <= level]


def claim(records: Sequence[Record]) -> str:
    """Whether distances become meaningful."""
    found = similar(records)
    if found.empty:
        return "Whether distances are meaningful is not known: the text lacks Python's names of two kinds."
    above, others = meaningful(found)
    words, level = found[["words", "chance"]].iloc[0]
    compared = found[found["model"].map(is_compared)]
    levels = "".join(
        f", {_percents(row['share'], row['shares'])} if {title(row['model'])}" for _, row in compared.iterrows()
    )
    told = [f"Of {words:.0f} words of Python the nearest is of the same kind for {level:.1%} by chance{levels}"]
    if len(above):
        best, over = above.iloc[0], f"{len(above)} of {len(above) + len(others)} models"
        share = f"{_percents(best['share'], best['shares'])} of the words"
        told.insert(
            0,
            f"That distances become meaningful is confirmed for {over}, most clearly for {title(best['model'])}: the "
            f"nearest word is of the same kind for {share} (95 % interval over words: {100 * best['low']:.0f} to "
            f"{100 * best['high']:.0f} %)",
        )
    if len(others):
        told.append(f"It is not shown for {', '.join(map(title, others['model']))}")
    return f"{'. '.join(told)}."


def neighbours(records: Sequence[Record]) -> str:
    """The nearest words by the first seed, as a Markdown table with a row for each word and model."""
    found = [record for record in records if record["kind"] == "neighbours"]
    order = list(dict.fromkeys(record["word"] for record in found))
    rows = [
        {"word": record["word"], "by": title(record["model"]), "nearest": f"`{record['near']}`".replace("|", "\\|")}
        for record in sorted(found, key=lambda record: order.index(record["word"]))
    ]
    return frames.table(rows, {"word", "by", "nearest"}) if rows else "No word was asked for."


# Prediction


def predicted(records: Sequence[Record]) -> pd.DataFrame:
    """Runs that predict the next word, each at its evaluation with the least loss on the text to choose by."""
    found = frames.frame(records, "evaluation", dtype=np.float64)
    found = found[~found["model"].map(is_pairs)] if len(found) else found
    if found.empty:
        return found
    found = found[found["loss_choose"] == found.groupby("run")["loss_choose"].transform("min")].drop_duplicates("run")
    found = found.merge(frames.frame(records, "network")[["run", "params"]], on="run")
    return found.assign(
        perplexity=np.exp(found["loss_report"]),
        family=found["model"].map(family),
        sees=[np.nan if sees(model) is None else sees(model) for model in found["model"]],
    )


def perplexities(records: Sequence[Record]) -> str:
    """Each model's perplexity, ranges over seeds, as a Markdown table; empty where nothing predicts the next word."""
    rows = [
        {
            "model": str(name),
            "words that it sees": "all before" if np.isnan(seen) else f"{seen:.0f}",
            "params": f"{seeds['params'].iloc[0]:,.0f}",
            "held-out perplexity": frames.span(seeds["perplexity"], ".1f"),
            "seeds": "-" if head(seeds["model"].iloc[0]) == NGRAM else len(seeds),
        }
        for (name, seen), seeds in _by_window(predicted(records))
    ]
    return frames.table(rows, {"model"}) if rows else ""


def _by_window(found: pd.DataFrame) -> Any:
    return found.groupby(["family", "sees"], sort=False, dropna=False) if len(found) else ()


def best_perplexities(records: Sequence[Record]) -> str:
    """The best perplexity of each family, medians over seeds; empty where nothing predicts the next word."""
    found = predicted(records)
    if not len(found):
        return ""
    middle = found.groupby(["family", "sees"], sort=False, dropna=False, as_index=False)["perplexity"].median()
    best = middle.loc[middle.groupby("family", sort=False)["perplexity"].idxmin()].sort_values("perplexity")
    told = [f"{row['perplexity']:.1f} for {row['family']} ({_seen(row['sees'])})" for _, row in best.iterrows()]
    return f"The best held-out perplexity of each kind of model is {', '.join(told)}."


def _seen(count: float) -> str:
    return "all words before" if np.isnan(count) else f"{count:.0f} word{'s' * (count != 1)}"


# Pairs


def pair_losses(records: Sequence[Record]) -> pd.DataFrame:
    """The loss in nats a pair on the reported text, a row for each evaluation of CBOW or skip-gram."""
    found = frames.frame(records, "evaluation", dtype=np.float64)
    found = found[found["model"].map(is_pairs)] if len(found) else found
    if found.empty:
        return found
    levels = frames.frame(records, "network", dtype=np.float64)[["run", "without"]]
    first = found[found["step"] > 0].groupby("run")["step"].min().rename("an_epoch").reset_index()
    found = found.merge(levels, on="run").merge(first, on="run")
    return found.assign(epoch=found["step"] / found["an_epoch"], case=found["model"].map(title))


def pairs_table(records: Sequence[Record]) -> str:
    """Losses after the last epoch, beside those without context, as a Markdown table; empty without such models."""
    found = pair_losses(records)
    if found.empty:
        return ""
    last = found[found["epoch"] == found.groupby("run")["epoch"].transform("max")]
    rows = [
        {
            "model": case,
            "held out (nats a pair)": frames.span(seeds["loss_report"], ".3f"),
            "without context": f"{seeds['without'].iloc[0]:.3f}",
            "what the context tells": f"{(seeds['without'] - seeds['loss_report']).mean():.3f}",
            "epochs": f"{seeds['epoch'].iloc[0]:.0f}",
        }
        for case, seeds in last.groupby("case", sort=False)
    ]
    return frames.table(rows, {"model"})


def gained(records: Sequence[Record]) -> str:
    """What the context tells after the last epoch, in a sentence; empty without such models."""
    found = pair_losses(records)
    if found.empty:
        return ""
    last = found[found["epoch"] == found.groupby("run")["epoch"].transform("max")]
    told = [
        f"{frames.span(seeds['without'] - seeds['loss_report'], '.2f')} of {seeds['without'].iloc[0]:.2f} nats ({case})"
        for case, seeds in last.groupby("case", sort=False)
    ]
    return f"The context lowers the loss of a held-out pair by {', '.join(told)}."


# The page


def verdict(records: Sequence[Record]) -> str:
    """Whether the claim holds, and what predicts best."""
    return " ".join(filter(None, (claim(records), best_perplexities(records), gained(records))))


def summary(records: Sequence[Record], source: str) -> str:
    """The page left in the workdir."""
    return page.filled(
        __file__,
        verdict=verdict(records),
        source=source,
        kinds=kinds(records),
        similarities=similarities(records),
        perplexities=perplexities(records),
        pairs=pairs_table(records),
        neighbours=neighbours(records),
    )


def kinds(records: Sequence[Record]) -> str:
    """Which kinds of words there are, and how many of each."""
    record = next((record for record in records if record["kind"] == "similarity"), None)
    if record is None:
        return ""
    counts = np.bincount(np.array(record["labels"], int))
    return ", ".join(f"{count} {name}" for name, count in zip(record["names"].split(), counts, strict=True))


# Figures


def nearest_of_the_same_kind(records: Sequence[Record]) -> Figure | None:
    """The share of words whose nearest word is of their kind, by model, with its interval over words and its seeds."""
    found = similar(records)
    if found.empty:
        return None
    figure, (axes,) = drawing.grid(1, 1, size=(7, 0.4 * len(found) + 1.6))
    look: dict[str, Any] = {"color": "black", "linestyle": "none"}
    for place, row in found.iterrows():
        axes.plot(
            [100 * row["low"], 100 * row["high"]],
            [place] * 2,
            color=drawing.GREY,
            linewidth=5,
            alpha=0.5,
            solid_capstyle="butt",
            label="95 % interval over words",
        )
        axes.plot(
            100 * row["shares"], [place] * len(row["shares"]), marker="|", markersize=10, **look, label="each seed"
        )
        axes.plot(100 * row["share"], place, marker="D", markersize=5, **look, label="mean over seeds")
    axes.axvline(100 * found["chance"].iloc[0], color="black", linestyle=":", linewidth=1, label="chance")
    axes.set_yticks(range(len(found)), list(map(title, found["model"])))
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    drawing.legend(figure)
    names = f"words whose nearest word is of their kind (%), of {kinds(records)}"
    return drawing.caption(figure, claim(records), names)


def map_of_words(records: Sequence[Record]) -> Figure | None:
    """Two maps of the words of the best model, first seed, with a marker for each kind."""
    found = [record for record in records if record["kind"] == "map"]
    if not found:
        return None
    best = next(model for model in similar(records)["model"] if any(record["model"] == model for record in found))
    chosen = [record for record in found if record["model"] == best]
    figure, panels = drawing.grid(1, len(chosen), size=(6.4, 6.4), share=(False, False))
    for axes, record in zip(panels, chosen, strict=True):
        _mapped(axes, record)
        drawing.head(axes, record["method"])
    drawing.legend(figure, "words of Python", markerscale=1.2)
    row = similar(records).set_index("model").loc[best]
    return drawing.caption(
        figure,
        f"Words as {title(best)} projects them, shown in a plane (seed 0): in all dimensions the nearest word is of "
        f"the same kind for {100 * row['shares'][0]:.0f} % of them, and for {100 * row['chance']:.0f} % by chance. The "
        f"first {LABELLED} words of each kind are named where there is room",
    )


def _mapped(axes: Axes, record: Record) -> None:
    x, y, labels = (np.array(record[name], float) for name in ("x", "y", "labels"))
    names, words = record["names"].split(), np.array(record["words"].split())
    markers = drawing.markers_of(names)
    taken: list[tuple[float, float]] = []
    for kind, (name, colour) in enumerate(zip(names, drawing.COLOURS, strict=False)):
        of_kind = np.flatnonzero(labels == kind)
        axes.plot(x[of_kind], y[of_kind], markers[name], color=colour, markersize=4, alpha=0.8, label=name)
        for place in _with_room(x, y, of_kind, taken)[:LABELLED]:
            axes.annotate(words[place], (x[place], y[place]), (3, 2), textcoords="offset points", fontsize=7)
            taken.append((x[place], y[place]))
    axes.set_xticks([])
    axes.set_yticks([])


def _with_room(x: np.ndarray, y: np.ndarray, places: np.ndarray, taken: list[tuple[float, float]]) -> list[int]:
    """The places whose names would not overlap others: far enough off to the side, above or below."""
    wide, high = 0.13 * np.ptp(x), 0.028 * np.ptp(y)
    chosen: list[int] = []
    for place in places:
        others = [*taken, *((x[each], y[each]) for each in chosen)]
        if all(abs(x[place] - left) > wide or abs(y[place] - above) > high for left, above in others):
            chosen.append(int(place))
    return chosen


def perplexity_by_window(records: Sequence[Record]) -> Figure | None:
    """Held-out perplexity against the number of words seen; a level line for models that see all words before."""
    found = predicted(records)
    windows = found.dropna(subset="sees") if len(found) else found
    if windows.empty:
        return None
    level = found[found["sees"].isna()].drop(columns="sees").merge(windows[["sees"]].drop_duplicates(), how="cross")
    each = pd.concat([windows, level]).assign(of="next word")
    figure, panels = drawing.courses(each, "sees", "perplexity", panel="of", line="family", size=(6.4, 4), marker="o")
    (axes,) = panels.values()
    drawing.plain_ticks(axes, (1, 2, 3, 4, 6, 8))
    axes.set_title("", loc="left")
    drawing.legend(figure, "shade: range over seeds")
    return drawing.caption(
        figure,
        best_perplexities(records),
        "words that a model looks back on (level line: all words before)",
        "held-out perplexity",
    )


def loss_by_epoch(records: Sequence[Record]) -> Figure | None:
    """A panel each for CBOW and skip-gram: nats a pair in training and on held-out text; grey: without context."""
    found = pair_losses(records)
    if found.empty:
        return None
    trained = frames.frame(records, "train", dtype=np.float64)
    trained = trained.merge(found[["run", "an_epoch", "case"]].drop_duplicates(), on="run")
    trained = trained.assign(epoch=np.ceil(trained["step"] / trained["an_epoch"]))
    trained = trained.groupby(["run", "case", "seed", "epoch"], sort=False, as_index=False)["loss"].mean()
    held_out = found[found["epoch"] > 0].assign(loss=lambda rows: rows["loss_report"])
    columns = ["case", "seed", "epoch", "loss"]
    each = pd.concat([trained[columns].assign(of="in training"), held_out[columns].assign(of="held out, after it")])
    figure, panels = drawing.courses(
        each, "epoch", "loss", panel="case", line="of", across=2, size=(3.6, 3.4), share=(True, False), marker="."
    )
    for case, axes in panels.items():
        rows = found[found["case"] == case]
        axes.axhline(rows["without"].iloc[0], color=drawing.GREY, linestyle=":", label="without context")
        unit = "yes or no, for k + 1 pairs" if is_negative(rows["model"].iloc[0]) else "which of all words"
        drawing.head(axes, f"{case}\n({unit})")
    drawing.legend(figure, "shade: range over seeds")
    return drawing.caption(figure, gained(records), "epoch", "cross-entropy (nats a pair)")


def _percents(mean: float, shares: np.ndarray) -> str:
    """Mean, and range over seeds."""
    spread = frames.span(100 * shares, ".0f")
    return f"{100 * mean:.0f} % ({spread})" if " to " in spread else f"{spread} %"


FIGURES: drawing.Figures = (nearest_of_the_same_kind, map_of_words, perplexity_by_window, loss_by_epoch)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/word_vectors")
