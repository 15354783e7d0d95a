"""Figures, tables and verdict of the zoo, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.frames import frame
from experiments.common.workdir import Record
from experiments.zoo import findings

# Tables and verdict


def table(records: Sequence[Record]) -> str:
    """Cells downwards, tasks to the right: how many seeds solve the task in how many steps, or their last loss."""
    found = findings.cases(records)
    found["told"] = [_told(row) for row in found.itertuples()]
    order = findings.standing(found).index
    ends = found.pivot(index="cell", columns="problem", values="told").loc[order, found["problem"].unique()]
    sizes = found.groupby("cell")[["hidden_size", "params"]].agg(lambda values: frames.span(values, ",.0f")).loc[order]
    columns = {"hidden_size": "units", "params": "params"}
    return frames.table(sizes.rename(columns=columns).join(ends).reset_index(), {"cell"})


def reach_table(records: Sequence[Record]) -> str:
    """The lag at which a tenth of the gradient is left before and after training, in a table of the same form."""
    found = findings.cases(records)
    before, after = (found[phase].map("{:.0f}".format) for phase in ("initialization", "trained"))
    found["told"] = before + " / " + after
    order = findings.standing(found).index
    rows = found.pivot(index="cell", columns="problem", values="told").loc[order, found["problem"].unique()]
    return frames.table(rows.reset_index(), {"cell"})


def rate_table(records: Sequence[Record]) -> str:
    """The learning rate that was chosen, in a table of the same form."""
    found = findings.cases(records)
    order = findings.standing(found).index
    rows = found.pivot(index="cell", columns="problem", values="learning_rate").loc[order, found["problem"].unique()]
    return frames.table(rows.map("{:g}".format).reset_index(), {"cell"})


def correlation_table(records: Sequence[Record]) -> str:
    """Rank correlations of success with the reach before and after training, as a Markdown table."""
    found = findings.cases(records)
    before, after = (findings.correlations(found, phase) for phase in ("initialization", "trained"))
    rows = {"task": before["problem"], "before training": before.apply(_interval, axis=1)}
    return frames.table(pd.DataFrame({**rows, "after training": after.apply(_interval, axis=1)}), {"task"})


def verdict(records: Sequence[Record]) -> str:
    """Which cells solve most tasks, and whether the reach at initialization predicts it."""
    found = findings.cases(records)
    solved = findings.standing(found)
    problems, seeds = found["problem"].nunique(), findings.results(records)["seed"].nunique()
    best = solved.index[solved == solved.max()]
    none = solved.index[solved == 0]
    told = (
        f"{frames.listed(best)} solve{'s' if len(best) == 1 else ''} {solved.max()} of {problems} tasks with each of "
        f"{seeds} seeds, which is the most of {len(solved)} cells"
    )
    if len(none):
        told += f"; {frames.listed(none)} solve{'s' if len(none) == 1 else ''} no task with all seeds"
    if not solved.max():
        told = f"None of {len(solved)} cells solves any task with each of {seeds} seeds"
    return f"{told}. {_predicts(findings.correlations(found))}"


def task_table(records: Sequence[Record]) -> str:
    """For each task the losses by chance and by the best guess without a memory, and the lowest loss."""
    found = findings.cases(records)
    tasks = found.groupby("problem", sort=False)
    rows = tasks[["chance", "memoryless", "loss"]].min().map("{:.3g}".format)
    counts = tasks["share"].agg(lambda shares: (shares == 1).sum())
    fewest = found[found["share"] == 1].groupby("problem")["steps"].min().reindex(counts.index)
    rows["loss"] = rows["loss"].where(counts == 0, "-")
    rows["solved"] = counts.astype(str)
    rows["steps"] = [f"{steps:,.0f}" if np.isfinite(steps) else "-" for steps in fewest]
    columns = {
        "problem": "task",
        "memoryless": "best guess without a memory",
        "loss": "lowest loss where no cell solves it",
        "solved": "cells that solve it with all seeds",
        "steps": "fewest training steps",
    }
    return frames.table(rows.reset_index().rename(columns=columns), {"task"})


def unsolved(records: Sequence[Record]) -> str:
    """The tasks that no cell solves with all seeds, each with the cell that comes nearest."""
    found = findings.cases(records)
    best = found.loc[found.groupby("problem", sort=False)["rank_key"].idxmin()]
    open_ones = best[found.groupby("problem", sort=False)["share"].max().to_numpy() < 1]
    if open_ones.empty:
        return "Each task is solved by a cell with all seeds."
    told = "; ".join(f"{row.problem}: {row.cell} ({_told(row)})" for row in open_ones.itertuples())
    return (
        f"No cell solves these tasks with all seeds; beside each stands the cell that comes nearest, with its entry in "
        f"the table. {told[0].upper()}{told[1:]}."
    )


def edges(records: Sequence[Record]) -> str:
    """How often the highest and the lowest learning rate was chosen, beyond which better ones may lie."""
    chosen, tried = findings.cases(records)["learning_rate"], frame(records, "trial")["learning_rate"]
    highest, lowest = (f"{rate:g}, was chosen in {(chosen == rate).sum()}" for rate in (tried.max(), tried.min()))
    return (
        f"The highest rate, {highest} of {len(chosen)} cases, and the lowest, {lowest}; higher and lower ones were not "
        "tried."
    )


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    ends = findings.results(records)
    trials = frame(records, "trial")
    rates = ", ".join(f"{rate:g}" for rate in sorted(trials["learning_rate"].unique()))
    return page.filled(
        __file__,
        verdict=verdict(records),
        unsolved=unsolved(records),
        task_table=task_table(records),
        edges=edges(records),
        table=table(records),
        reach_table=reach_table(records),
        rate_table=rate_table(records),
        correlation_table=correlation_table(records),
        seeds=ends["seed"].nunique(),
        choosing=trials["seed"].nunique(),
        rates=rates,
    )


# Figures


def solved(records: Sequence[Record]) -> Figure:
    """The table as a map, with the best cells first; it is dark where all seeds solve the task."""
    found = findings.cases(records)
    order, problems = findings.standing(found).index, list(found["problem"].unique())
    shares = found.pivot(index="cell", columns="problem", values="share").loc[order, problems].to_numpy()
    told = found.assign(told=[_told(row) for row in found.itertuples()])
    words = told.pivot(index="cell", columns="problem", values="told").loc[order, problems].to_numpy()
    figure, (axes,) = drawing.grid(1, 1, size=(1.15 * len(problems) + 2, 0.24 * len(order) + 1))
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=1.2, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.6 else "black"
        axes.text(column, row, words[row, column], ha="center", va="center", fontsize=7, color=colour)
    axes.set_yticks(range(len(order)), order, fontsize=8)
    axes.set_xticks(range(len(problems)), [name.replace(", ", "\n") for name in problems], fontsize=8)
    axes.tick_params(length=0)
    x = (
        "seeds that solve the task; then the training steps (median), or the last loss over that of the best guess "
        "without a memory"
    )
    return drawing.caption(figure, verdict(records), x)


def reach_and_success(records: Sequence[Record]) -> Figure:
    """How far back each cell's gradient reaches at initialization, and its place by success: a panel for each task."""
    found = findings.cases(records)
    correlations = findings.correlations(found)
    by_problem = correlations.set_index("problem")
    problems = list(found["problem"].unique())
    figure, axes = drawing.panels(len(problems), across=4, size=(2.7, 2.5), share=(False, True))
    for name, panel in zip(problems, axes, strict=True):
        rows = found[found["problem"] == name]
        place = rows["rank_key"].rank()
        for every, look in ((True, {"markerfacecolor": "black"}), (False, {"markerfacecolor": "none"})):
            chosen = (rows["share"] == 1) == every
            label = "all seeds solve the task" if every else "not all seeds solve it"
            panel.plot(rows["initialization"][chosen], place[chosen], **{**drawing.CIRCLES, **look}, label=label)
        panel.set(xlim=(0, None), ylim=(len(rows) + 1, 0))
        drawing.head(panel, f"{name}\nrank correlation\n{_interval(by_problem.loc[name])}")
    drawing.legend(figure)
    x = "lag at which a tenth of the gradient is left at initialization (steps; at the right edge: never)"
    y = "place of the cell (1: first to solve it)"
    return drawing.caption(figure, _predicts(correlations), x, y)


def before_and_after(records: Sequence[Record]) -> Figure:
    """How far back each cell's gradient reaches before training and after it: a panel for each task."""
    found = findings.cases(records)
    problems = list(found["problem"].unique())
    figure, axes = drawing.panels(len(problems), across=4, size=(2.7, 2.5), share=(False, False))
    for name, panel in zip(problems, axes, strict=True):
        rows = found[found["problem"] == name]
        for every, look in ((True, {"markerfacecolor": "black"}), (False, {"markerfacecolor": "none"})):
            chosen = rows[(rows["share"] == 1) == every]
            label = "all seeds solve the task" if every else "not all seeds solve it"
            panel.plot(chosen["initialization"], chosen["trained"], **{**drawing.CIRCLES, **look}, label=label)
        panel.axline((0, 0), slope=1, color=drawing.GREY, linewidth=0.8, zorder=0)
        panel.set(xlim=(0, None), ylim=(0, None))
        drawing.head(panel, name)
    drawing.legend(figure)
    after = findings.correlations(found, "trained").iloc[-1]
    told = f"The rank correlation of the reach after training with success is {_interval(after)} on average over tasks"
    x = "lag at which a tenth of the gradient is left at initialization (steps; at the right edge: never)"
    y = "after training (steps)"
    return drawing.caption(figure, told, x, y)


# Words


def _told(row: object) -> str:
    """An entry of the table: "3/3 in 400" if all seeds solve the task, or the loss beside the best without a memory."""
    share, solved, steps, relative = (getattr(row, name) for name in ("share", "solved", "steps", "relative"))
    if share == 1:
        return f"{solved} in {steps:,.0f}"
    left = f"{relative:.2f}" if np.isfinite(relative) and relative < 100 else "diverged"
    return f"{solved}, {left}"


def _interval(row: pd.Series) -> str:
    if not np.isfinite(row["correlation"]):
        return "-"
    return f"{row['correlation']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})"


def _predicts(correlations: pd.DataFrame) -> str:
    """The sentence that the mean correlation and its interval support."""
    mean, by_task = correlations.iloc[-1], correlations["correlation"].iloc[:-1].dropna()
    if not np.isfinite(mean["correlation"]):
        return (
            "Whether the gradient's reach at initialization predicts which cells learn is undecided, because there are "
            "too few cells, or all of them end alike."
        )
    if mean["low"] > 0:
        answer = "predicts which cells learn"
    else:
        answer = "predicts which cells do not learn" if mean["high"] < 0 else "does not tell which cells learn"
    spread = f", by task it is {by_task.min():+.2f} to {by_task.max():+.2f}" if len(by_task) > 1 else ""
    return (
        f"How far back a gradient reaches at initialization {answer}: on average over tasks the rank correlation with "
        f"success is {_interval(mean)}{spread}."
    )


FIGURES: drawing.Figures = (solved, reach_and_success, before_and_after)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/zoo")
