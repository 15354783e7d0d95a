"""When a network that is trained on a task, and tested as it goes, is done with it; how many of them solved theirs."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from experiments.common.frames import frame
from experiments.common.workdir import Record
from rnnjax.tasks import Task


def evaluated_at(config: ConfigDict) -> range:
    """Step 0, and each further ``evaluate_every`` of them, until there are ``train_steps``."""
    return range(0, config.train_steps + config.evaluate_every, config.evaluate_every)


def count_evaluations(config: ConfigDict) -> int:
    """How many there are at most."""
    return len(evaluated_at(config))


def outcome(evaluations: Sequence[Record], tolerance: float) -> str:
    """Of a run so far: "solved" by the last two evaluations' error, "diverged" by the last one's loss, or neither."""
    if evaluations and not np.isfinite(evaluations[-1]["loss"]):
        return "diverged"
    if len(evaluations) > 1 and max(last["error"] for last in evaluations[-2:]) <= tolerance:
        return "solved"
    return "not solved"


def ended(evaluations: Sequence[Record], task: Task) -> bool:
    """Whether there is nothing more to train for."""
    return outcome(evaluations, task.tolerance) != "not solved"


def result(evaluations: Sequence[Record], task: Task) -> Record:
    """The record of a run that has ended: how, after how many training steps if it is solved, and the chance level."""
    how = outcome(evaluations, task.tolerance)
    steps = evaluations[-2]["step"] if how == "solved" else None
    last = {name: evaluations[-1][name] for name in ("step", "loss", "error")}
    return {"kind": "result", "outcome": how, "steps": steps, **last, "chance": task.chance}


def results(records: Iterable[Record]) -> pd.DataFrame:
    """How each run ended; what was not finite is inf, as are steps where the task was not solved."""
    ends = frame(records, "result").fillna(dict.fromkeys(("loss", "error", "steps"), np.inf))
    return ends.assign(solved=ends["outcome"] == "solved", of_chance=ends["loss"] / ends["chance"])


def count(solved: pd.Series) -> str:
    """How many did, of how many."""
    return f"{solved.sum()}/{len(solved)}"
