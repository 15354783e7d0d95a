"""Figures, table and samples of the language experiment, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record
from experiments.language import comparison

KINDS = ["cell", "optimizer", "through"]
"""The settings in which networks differ, apart from learning rates and seeds."""


def in_streams(records: Sequence[Record]) -> Sequence[Record]:
    """The records of recurrent networks that carry their state on, without the models compared with them."""
    return [record for record in records if "cell" in record]


def evaluations(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each evaluation of a run; ``best`` where its loss on the text to choose by was least."""
    found = frames.frame(in_streams(records), "evaluation", dtype=np.float64)
    return named(found).assign(best=found["loss_choose"] == found.groupby("run")["loss_choose"].transform("min"))


def named(found: pd.DataFrame) -> pd.DataFrame:
    """The rows with a column ``case``: those of cell, optimizer and steps back that differ among the runs, in words."""
    words = {"cell": "{}", "optimizer": "{}", "through": "cut after {}"}
    told = [kind for kind in KINDS if found[kind].nunique() > 1] or ["cell"]
    return found.assign(case=[", ".join(words[kind].format(row[kind]) for kind in told) for _, row in found.iterrows()])


def best_evaluations(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each run: its best evaluation."""
    found = evaluations(records)
    return found[found["best"]].drop_duplicates("run")


def at_best_rates(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each run whose learning rate has the least median loss of its case on the text to choose by."""
    best = best_evaluations(records)
    medians = best.groupby(["case", "learning_rate"], as_index=False)["loss_choose"].median()
    chosen = medians.loc[medians.groupby("case")["loss_choose"].idxmin(), ["case", "learning_rate"]]
    return best.merge(chosen)


def at_the_edge(records: Sequence[Record]) -> str:
    """Which cases are best at the lowest or the highest of several rates, so that others may be better; or nothing."""
    tried = best_evaluations(records).groupby("case")["learning_rate"].agg(["min", "max", "nunique"])
    chosen = at_best_rates(records).groupby("case")["learning_rate"].first()
    several = tried["nunique"] > 1
    told = [
        f"{', '.join(at.index)} {'are' if len(at) > 1 else 'is'} best at the {which} rate tried"
        for which, at in (
            ("lowest", tried[several & (chosen == tried["min"])]),
            ("highest", tried[several & (chosen == tried["max"])]),
        )
        if len(at)
    ]
    return f"{'; '.join(told)}: rates that were not tried may be better." if told else ""


def table(records: Sequence[Record]) -> str:
    """Each case at its best learning rate, each run at its best evaluation, ranges over seeds, as a Markdown table."""
    best = at_best_rates(records).merge(frames.frame(records, "network")[["run", "params"]])
    best = best.merge(frames.flows(records, norms="typical")[["run", "step", "tenth_lag"]])
    several = best_evaluations(records).groupby("case")["learning_rate"].nunique().max() > 1
    rows = [
        {
            "": case,
            "params": f"{seeds['params'].iloc[0]:,}",
            **({"best learning rate": f"{seeds['learning_rate'].iloc[0]:g}"} if several else {}),
            "best after (steps)": frames.span(seeds["step"], ",d"),
            "carried (nats)": frames.span(seeds["loss_report"], ".3f"),
            "carried (bits)": frames.span(seeds["loss_report"] / np.log(2), ".3f"),
            "perplexity": frames.span(np.exp(seeds["loss_report"]), ".2f"),
            "fresh (nats)": frames.span(seeds["fresh_report"], ".3f"),
            "chosen by (nats)": frames.span(seeds["loss_choose"], ".3f"),
            "whole tenth (nats)": frames.span((seeds["loss_choose"] + seeds["loss_report"]) / 2, ".3f"),
            "1/10 of the gradient at lag": frames.lags(seeds["tenth_lag"]),
        }
        for case, seeds in best.groupby("case", sort=False)
    ]
    return frames.table(rows, {""})


def verdict(records: Sequence[Record]) -> str:
    """The case that is best on the text to choose by, the loss that it reaches on the other text, and the last's."""
    best = at_best_rates(records)
    order = best.groupby("case")["loss_choose"].median().sort_values().index
    reached = best.set_index("case")["loss_report"]
    first, last = (frames.span(reached.loc[[case]], ".3f") for case in order[[0, -1]])
    count = best["seed"].nunique()
    others = f"; {order[-1]}, the last of {len(order)}, at {last}" if len(order) > 1 else ""
    return (
        f"{order[0]} predicts held-out text at {first} nats a token with the state carried{others} "
        f"({count} seed{'s' * (count > 1)})."
    )


def summary(records: Sequence[Record], source: str, unit: str, published: str) -> str:
    """The page left in the workdir; ``published`` is a table of what others reached, or empty."""
    shown = set(at_best_rates(records).query("seed == 0")["run"])
    of_first = [record for record in records if record["kind"] == "sample" and record["run"] in shown]
    last = {record["run"]: record for record in of_first}
    samples = [{**record, "text": page.code(record["text"])} for record in last.values()]
    facts = {"verdict": verdict(records), "table": table(records), "edge": at_the_edge(records), "unit": unit}
    facts |= {"compared": comparison.table(records), "comparison": comparison.verdict(records)}
    return page.filled(__file__, source=source, samples=samples, published=published, **facts)


def loss_by_step(records: Sequence[Record]) -> Figure:
    """A panel for the training loss and one for held-out text; a line for each case with its range over seeds."""
    shown = set(at_best_rates(records)["run"])
    trained = named(frames.frame(in_streams(records), "train", dtype=np.float64))
    trained, _ = frames.smoothed(trained, ["run", "case", "seed"])
    held_out = evaluations(records).assign(loss=lambda rows: rows["loss_report"])
    names = {"training": trained, "held out, state carried": held_out[held_out["step"] > 0]}
    columns = ["run", "case", "seed", "step", "loss"]
    each = pd.concat(rows[columns].assign(of=name) for name, rows in names.items())
    each = each[each["run"].isin(shown)]
    figure, panels = drawing.courses(each, "step", "loss", panel="of", line="case", size=(3.4, 3.2))
    drawing.legend(next(iter(panels.values())), "shade: range over seeds")
    return drawing.caption(figure, verdict(records), "training step", "cross-entropy (nats a token)")


def gradient_by_lag(records: Sequence[Record]) -> Figure:
    """The gradient of a stream's last loss against lag, before, during and after training: a panel for each case."""
    shown = set(at_best_rates(records)["run"])
    found = named(frames.flows(records, norms="typical")).sort_values("step", kind="stable")
    found = found[found["run"].isin(shown)]
    steps = sorted(found["step"].unique())
    kept = {steps[place] for place in np.linspace(0, len(steps) - 1, min(len(steps), 4)).astype(int)}
    found = found[found["step"].isin(kept)]
    lags = found.groupby(["case", "step"], sort=False)["tenth_lag"].agg(frames.lags)
    told = lags.groupby("case").agg(lambda of_case: f"1/10 at lag {of_case.iloc[0]}, then {of_case.iloc[-1]}")
    first, last = (frames.lags(found[found["step"] == steps[place]]["tenth_lag"]) for place in (0, -1))
    finding = f"A tenth of the gradient is left at lag {first} before training and at lag {last} after it."
    form: dict[str, Any] = {"panel": "case", "line": "step", "name": "after {:,} steps".format}
    form |= {"heading": "mean over streams", "size": (3.4, 3.2), "across": 3}
    return drawing.panels_by_lag(found, finding, told=told, **form)[0]


def loss_by_rate(records: Sequence[Record]) -> Figure | None:
    """Held-out loss against the learning rate, a line for each case; none where all have one rate."""
    best = best_evaluations(records)
    if best.groupby("case")["learning_rate"].nunique().max() == 1:
        return None
    best = best.assign(panel="held out, state carried")
    figure, panels = drawing.courses(
        best, "learning_rate", "loss_report", panel="panel", line="case", size=(6.4, 4.0), marker="o"
    )
    (axes,) = panels.values()
    axes.set_xscale("log")
    drawing.legend(figure, "shade: range over seeds")
    found = f"At its best rate of these, {verdict(records)} {at_the_edge(records)}".rstrip()
    return drawing.caption(figure, found, "highest learning rate", "cross-entropy (nats a token)")


def loss_by_truncation(records: Sequence[Record]) -> Figure | None:
    """Held-out loss, and the reach of the gradient after training, against the steps that it goes back in training.

    None where it went back the same number of steps in all networks.
    """
    best = at_best_rates(records)
    if best["through"].nunique() == 1:
        return None
    best = best.merge(frames.flows(records, norms="typical")[["run", "step", "tenth_lag"]])
    names = {"loss_report": "cross-entropy, held out (nats a token)", "tenth_lag": "lag at which a tenth is left"}
    each = pd.concat(best.assign(of=name, value=best[column]) for column, name in names.items())
    figure, panels = drawing.courses(
        each, "through", "value", panel="of", line="cell", size=(3.6, 3.2), share=(True, False), marker="o"
    )
    for axes in panels.values():
        axes.set_xscale("log")
        axes.set_xticks(sorted(best["through"].unique()), [str(each) for each in sorted(best["through"].unique())])
        axes.minorticks_off()
    drawing.legend(next(iter(panels.values())), "shade: range over seeds")
    losses = best.groupby("through")["loss_report"].agg(lambda of_cut: frames.span(of_cut, ".3f"))
    lags = best.groupby("through")["tenth_lag"].agg(frames.lags)
    cuts = ", ".join(map(str, losses.index))
    seeds = best["seed"].nunique()
    told = (
        f"Where training cuts the gradient after {cuts} steps, the held-out loss is {'; '.join(losses)} nats a token, "
        f"and a tenth of the trained gradient is left at lag {'; '.join(lags)} ({seeds} seed{'s' * (seeds > 1)})."
    )
    return drawing.caption(figure, told, "steps that the gradient goes back in training")


FIGURES: drawing.Figures = (
    loss_by_step,
    gradient_by_lag,
    loss_by_rate,
    loss_by_truncation,
    comparison.perplexity_by_window,
)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/language")
