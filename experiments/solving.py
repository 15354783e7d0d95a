"""When a network that is trained on a task, and tested as it goes, is done with it."""

import numpy as np
from ml_collections import ConfigDict

from experiments.workdir import Record
from rnnjax.tasks import Task


def count_evaluations(config: ConfigDict) -> int:
    """At step 0, and after each further ``evaluate_every`` of them."""
    return 1 + -(-config.train_steps // config.evaluate_every)


def outcome(evaluations: list[Record], tolerance: float) -> str:
    """Of a run so far: "solved" by the last two evaluations' error, "diverged" by the last one's loss, or neither."""
    if evaluations and not np.isfinite(evaluations[-1]["loss"]):
        return "diverged"
    if len(evaluations) > 1 and max(last["error"] for last in evaluations[-2:]) <= tolerance:
        return "solved"
    return "not solved"


def result(evaluations: list[Record], task: Task) -> Record:
    """The record of a run that has ended: how, after how many training steps if it is solved, and the chance level."""
    ended = outcome(evaluations, task.tolerance)
    steps = evaluations[-2]["step"] if ended == "solved" else None
    last = {name: evaluations[-1][name] for name in ("step", "loss", "error")}
    return {"kind": "result", "outcome": ended, "steps": steps, **last, "chance": task.chance}
