"""Figures, tables and verdict of the long_memory experiment, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page, solving
from experiments.common.workdir import Record

PUBLISHED = Path(__file__).with_name("published.csv")
"""What others found on the same tasks: the number of training sequences until each was solved."""

CASE = ["task", "lag", "cell"]

_WITHOUT = 0.9
"""A loss above this multiple of the best loss without memory shows no use of what lies far back."""


def results(records: Sequence[Record]) -> pd.DataFrame:
    """How each run ended, in reading order."""
    return solving.results(records).sort_values([*CASE, "seed"], ignore_index=True)


def flows(records: Sequence[Record]) -> pd.DataFrame:
    """The gradient's norms of each run before and after training, their decay, whether the run solved its task."""
    found = frames.flows(records).merge(results(records)[[*CASE, "seed", "solved"]])
    return found.sort_values([*CASE, "seed", "phase"])


# Tables and verdict


def table(records: Sequence[Record]) -> str:
    """How each case ended, medians over seeds, as a Markdown table."""
    lags = flows(records).groupby([*CASE, "phase"])["tenth_lag"].agg(frames.lags).unstack("phase")
    ends = results(records).groupby(CASE)
    rows = pd.DataFrame(
        {
            "solved": ends["solved"].agg(solving.count),
            "steps": ends["steps"].agg(solving.steps),
            "last loss": ends["loss"].median().map("{:.3g}".format),
            "chance": ends["chance"].first().map("{:.3g}".format),
            "memoryless": ends["memoryless"].first().map("{:.3g}".format),
            "loss / memoryless": ends["relative"].median().map("{:.2f}".format),
            "sequences wrong": ends["error"].median().map("{:.1%}".format),
            "1/10 at lag before training": lags["initialization"],
            "after training": lags["trained"],
        }
    )
    return frames.table(rows.reset_index(), {"task", "cell"})


def published(records: Sequence[Record]) -> str:
    """What others found on the same tasks at the same lags, beside ours; empty if there is nothing to compare."""
    ends = results(records).groupby(CASE)
    steps = (ends["steps"].median() * ends["batch_size"].first()).map("{:,.0f}".format).replace("inf", "-")
    ours = pd.DataFrame({"settings": ends["settings"].first(), "solved": ends["solved"].agg(solving.count)})
    ours = ours.assign(sequences=steps, source="here").reset_index().rename(columns={"cell": "network"})
    at = ["task", "lag"]
    theirs = pd.read_csv(PUBLISHED, dtype={"sequences": str}).merge(ours[at].drop_duplicates(), on=at)
    ours = ours.merge(theirs[at].drop_duplicates(), on=at)
    rows = pd.concat([theirs, ours]).sort_values(at, kind="stable")
    return frames.table(rows, {"task", "network", "settings", "source"}) if len(rows) else ""


def verdict(records: Sequence[Record]) -> str:
    """Who solved each task at its longest lag, in a line."""
    parts = []
    for (task, lag), of_task in solving.longest(results(records), "lag").groupby(["task", "lag"]):
        scores = [f"{cell} {_score(of_cell)}" for cell, of_cell in of_task.groupby("cell")]
        parts.append(f"{solving.words(task)} at lag {lag}: {', '.join(scores)}")
    return (
        "The seeds that solve each task at its longest lag, and in brackets the median loss of the others as a "
        f"multiple of the best loss without memory, are: {'; '.join(parts)}."
    )


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    return page.filled(__file__, verdict=verdict(records), table=table(records), published=published(records))


# Figures

_OF_A_SEED = {"linestyle": "-", "linewidth": 1, "markersize": 4, "markerfacecolor": "white", "zorder": 1}


def solved_by_lag(records: Sequence[Record]) -> Figure:
    """A column of panels for each task: share of seeds that solve it, and steps it took; one line for each cell."""
    ends = results(records)
    tasks, looks, markers = ends["task"].unique(), drawing.looks_of(ends["cell"]), drawing.markers_of(ends["cell"])
    figure, axes = drawing.grid(2, len(tasks), size=(2.5, 2.2), share=("col", "row"))
    for task, rate, steps in zip(tasks, axes, axes[len(tasks) :], strict=False):
        of_task = ends[ends["task"] == task]
        lags = sorted(of_task["lag"].unique())
        for number, (cell, of_cell) in enumerate(of_task.groupby("cell")):
            by_lag = of_cell.groupby("lag")
            # Side by side: none hides another.
            places = np.array([lags.index(lag) for lag in by_lag.groups]) + 0.15 * (number - (len(looks) - 1) / 2)
            look = {**looks[cell], "marker": markers[cell], "label": cell}
            rate.plot(places, 100 * by_lag["solved"].mean(), **look)
            steps.plot(places, by_lag["steps"].median().replace(np.inf, np.nan), **look)
            for place, (_, taken) in zip(places, by_lag["steps"], strict=True):
                taken = taken[np.isfinite(taken)]
                steps.plot([place] * len(taken), taken, **{**look, **_OF_A_SEED})
        drawing.head(rate, solving.words(task))
        middle, reach = (len(lags) - 1) / 2, max(len(lags), 3) / 2  # one lag alone is as wide as it is among others
        rate.set(ylim=(-6, 106), xlim=(middle - reach, middle + reach))
        steps.set_xticks(range(len(lags)), [str(lag) for lag in lags])
    taken = ends["steps"][np.isfinite(ends["steps"]) & (ends["steps"] > 0)]
    for steps in axes[len(tasks) :] if len(taken) else ():
        drawing.plain_ticks(steps, (1, 2, 5))
        steps.set_ylim(taken.min() / 2, taken.max() * 2)  # wide enough for a tick, however few there are
    axes[0].set_ylabel("seeds that solve it (%)")
    axes[len(tasks)].set_ylabel("training steps to solve it\n(median; small: each seed)")
    drawing.legend(figure)
    return drawing.caption(figure, _reached(ends), "lag or length T (steps)")


def loss_by_step(records: Sequence[Record]) -> Figure:
    """A row of panels for each task, a panel for each lag: test loss against training step."""
    ends = results(records)
    curves, parts = frames.frame(records, "evaluation"), {"rows": "task", "columns": "lag", "line": "cell"}
    figure, panels = solving.draw_losses(ends, curves, **parts, size=(2.6, 2.1), share=(True, "row"))
    for (task, lag), panel in panels.items():
        drawing.plain_ticks(panel)
        drawing.head(panel, f"{solving.words(task)}, T = {lag}")
    drawing.legend(figure)
    without = ~ends["solved"] & ~(ends["relative"] < _WITHOUT)
    found = (
        f"{ends['solved'].sum()} of {len(ends)} networks solve their task; {without.sum()} show no sign of memory: "
        f"their loss stays above {_WITHOUT:g} times the best without memory"
    )
    steps = "training step (one line for each seed; it ends where the task is solved)"
    return drawing.caption(figure, found, steps, "test loss (nats or squared error)")


def gradient_by_lag(records: Sequence[Record]) -> Figure:
    """A panel for each task at its longest lag: the gradient back from the last step, before and after training."""
    found = solving.longest(flows(records), "lag")
    found["panel"] = found["task"].map(solving.words) + ", T = " + found["lag"].astype(str)
    figure, _, lines = drawing.multiples(found, panel="panel", line="cell", across=3, size=(3, 3.1))
    for axes, cell, look, of_cell in lines:
        for phase, rows in of_cell.groupby("phase"):
            width = {"linewidth": 2.2 if phase == "trained" else 0.9}
            drawing.by_lag(axes, rows["norms"], look | width, f"{cell}, {frames.PHASES[phase]}", relative=True)
    drawing.legend(figure, "shade: range over seeds")
    trained = found[found["phase"] == "trained"].sort_values("solved", ascending=False)
    where = trained["solved"].map({True: "where the task is solved", False: "where it is not"})
    left = frames.medians(frames.changes(trained["norms"]), where, drawing.power_of_ten)
    told = (
        "After training, the norm of the gradient at the first step, as a multiple of that at the last step, is "
        f"{left} (medians and ranges over networks)"
    )
    return drawing.caption(figure, told, "lag (steps back from the last step)", drawing.RELATIVE)


# Words


def _reached(ends: pd.DataFrame) -> str:
    """The longest lag that all seeds of a cell solve, by task."""
    every = ends.groupby(CASE)["solved"].all()
    reached = (every * every.index.get_level_values("lag")).groupby(["task", "cell"]).max()
    lines = ["The longest lag at which every seed solves the task:"]
    for task, of_task in reached.groupby("task"):
        lags = ", ".join(f"{cell} {lag or 'none'}" for (_, cell), lag in of_task.items())
        lines.append(f"{solving.words(task)}: {lags}")
    return "\n".join(lines)


def _score(ends: pd.DataFrame) -> str:
    """How many seeds of a case solved it, the loss of those that did not, and how many diverged."""
    others, diverged = ends[ends["outcome"] == "not solved"], (ends["outcome"] == "diverged").sum()
    left = [f"{others['relative'].median():.2f}"] if len(others) else []
    left += [f"{diverged} diverged"] if diverged else []
    return f"{solving.count(ends['solved'])} ({', '.join(left)})" if left else solving.count(ends["solved"])


FIGURES: drawing.Figures = (solved_by_lag, loss_by_step, gradient_by_lag)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/long_memory")
