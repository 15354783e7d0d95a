"""When the training of a network on a task is over, how it ended, and how many networks solved their task."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from experiments.common import drawing
from experiments.common.frames import frame, span
from experiments.common.workdir import Record
from rnnjax.tasks import Task


def evaluated_at(config: ConfigDict) -> range:
    """Step 0, and every ``evaluate_every`` steps after it, up to ``train_steps``."""
    return range(0, config.train_steps + config.evaluate_every, config.evaluate_every)


def count_evaluations(config: ConfigDict) -> int:
    """The number of evaluations of a run that is not ended early."""
    return len(evaluated_at(config))


def outcome(evaluations: Sequence[Record], tolerance: float) -> str:
    """How a run stands: "diverged" by its last loss, "solved" by its last two errors, or else "not solved"."""
    if evaluations and not np.isfinite(evaluations[-1]["loss"]):
        return "diverged"
    if len(evaluations) > 1 and max(last["error"] for last in evaluations[-2:]) <= tolerance:
        return "solved"
    return "not solved"


def ended(evaluations: Sequence[Record], task: Task) -> bool:
    """Whether training ends: the task is solved, or the loss is not finite."""
    return outcome(evaluations, task.tolerance) != "not solved"


def result(evaluations: Sequence[Record], task: Task) -> Record:
    """The record of how a run ended and after how many steps, with the losses that can be reached without a memory."""
    how = outcome(evaluations, task.tolerance)
    steps = evaluations[-2]["step"] if how == "solved" else None
    last = {name: evaluations[-1][name] for name in ("step", "loss", "error")}
    levels = {"chance": task.chance, "memoryless": task.memoryless}
    return {"kind": "result", "outcome": how, "steps": steps, **last, **levels}


def results(records: Iterable[Record]) -> pd.DataFrame:
    """How each run ended; a loss that was not finite is inf, and so are the steps if the task was not solved."""
    ends = frame(records, "result").fillna(dict.fromkeys(("loss", "error", "steps"), np.inf))
    return ends.assign(solved=ends["outcome"] == "solved", relative=ends["loss"] / ends["memoryless"])


def longest(rows: pd.DataFrame, lag: str) -> pd.DataFrame:
    """The rows of each task's longest lag; ``lag`` is the name of its column."""
    return rows[rows[lag] == rows.groupby("task")[lag].transform("max")]


def words(task: str) -> str:
    """A task's name in words."""
    return task.replace("_", " ")


def count(solved: pd.Series) -> str:
    """How many networks solved the task, of how many: "2/3"."""
    return f"{solved.sum()}/{len(solved)}"


def steps(taken: pd.Series) -> str:
    """The training steps that seeds took to solve a task: median and range, or the range alone if some never did."""
    solved = taken[np.isfinite(taken)]
    if solved.empty:
        return "-"
    spread, never = span(solved, ",.0f"), len(taken) - len(solved)
    return f"{spread}; {never} never" if never else f"{taken.median():,.0f} ({spread})"


def draw_losses(
    ends: pd.DataFrame, curves: pd.DataFrame, *, rows: str, columns: str, line: str, **options: Any
) -> tuple[Figure, dict[tuple[Any, Any], Axes]]:
    """Test loss against training step in a grid of panels: a line for each seed, and the losses without a memory.

    Args:
        ends: ``results``, in the order in which panels and lines are to come.
        curves: the records of evaluations.
        rows: the field whose values are rows of panels.
        columns: the field whose values are columns of panels.
        line: the field whose values have looks of their own.
        **options: options of ``drawing.grid``.
    """
    places = itertools.product(ends[rows].unique(), ends[columns].unique())
    figure, axes = drawing.grid(ends[rows].nunique(), ends[columns].nunique(), **options)
    panels, looks = dict(zip(places, axes, strict=True)), drawing.looks_of(ends[line])
    by_run = list(dict.fromkeys((rows, columns, line, "seed")))
    for (row, column, name, *_), curve in curves.groupby(by_run, sort=False, observed=True):
        label = None if line == "seed" else name
        panels[row, column].plot(curve["step"], curve["loss"], **looks[name], linewidth=1.1, label=label)
    levels = ends.groupby([rows, columns], observed=True)[["chance", "memoryless"]].first()
    for (row, column), (chance, memoryless) in levels.iterrows():
        look: dict[str, Any] = {"color": drawing.GREY, "linewidth": 3, "alpha": 0.4, "zorder": 0}
        panels[row, column].axhline(chance, **look, label="chance")
        if memoryless < 0.999 * chance:
            panels[row, column].axhline(memoryless, **look, linestyle=":", label="best without memory")
    return figure, panels
