"""Training with evaluations: one loop, for whoever trains; an interrupted one goes on as if it had never been.

Step and batch depend on nothing but the state and the number of the step. So a run that goes on from a checkpoint
computes, and records, what it would have without the interruption, bit for bit.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import checkpoint
from experiments.common.command import ExperimentError
from experiments.common.run_log import Log
from experiments.common.workdir import Record

State = TypeVar("State")
Batch = TypeVar("Batch")


class Evaluation(NamedTuple):
    """What was found of a state.

    Attributes:
        numbers: few; recorded as kind "evaluation" with their step, seen by ``stop`` and ``best_by``.
        records: whatever else there is to write.
    """

    numbers: Record
    records: Sequence[Record] = ()


def never(evaluations: Sequence[Record]) -> bool:
    """All steps are done."""
    return False


def no_better_for(count: int, field: str = "loss") -> Callable[[Sequence[Record]], bool]:
    """Stops early: where that many evaluations in a row were no better than the best before them."""

    def stop(evaluations: Sequence[Record]) -> bool:
        values = [evaluation[field] for evaluation in evaluations]
        return len(values) > count and not min(values[-count:]) < min(values[:-count])

    return stop


def train(
    state: State,
    step: Callable[[State, Batch], tuple[State, Record]],
    batch: Callable[[int], Batch],
    evaluate: Callable[[State, int], Evaluation],
    log: Log,
    *,
    steps: int,
    evaluate_at: Collection[int],
    stride: int = 1,
    checkpoint_every: int = 0,
    about: Record | None = None,
    best_by: str | None = None,
    stop: Callable[[Sequence[Record]], bool] = never,
) -> tuple[State, list[Record]]:
    """Trains from the last checkpoint of the run, if there is one, and records as it goes.

    Args:
        state: before training, a pytree of arrays.
        step: jitted, one training step or ``stride`` of them: the next state, and numbers to record as kind "train". If
            there is a ``loss`` among these, of the state before the step, it must be finite.
        batch: what the step after so many steps is given.
        evaluate: a state after so many steps.
        log: of the run; a step is reported to it as done after each call of ``step``, one before the first.
        steps: of training, at most.
        evaluate_at: the numbers of steps after which the state is evaluated.
        stride: how many training steps a call of ``step`` does.
        checkpoint_every: training steps, a multiple of ``stride``; 0 for none. A state is saved once its own loss has
            been seen to be finite.
        about: saved with each checkpoint, to be used by others: which cell, which vocabulary, the config.
        best_by: of the evaluations' numbers the one whose least value makes a state the best, which is saved, too.
        stop: says from the evaluations so far whether training ends.

    Returns:
        The last state, and the numbers of all evaluations.

    Raises:
        ExperimentError: if a loss is not finite; its message names the step and the last good checkpoint.
    """
    about = about or {}
    state = jax.tree.map(_strongly_typed, state)
    first, evaluations = 0, list[Record]()
    goes_on = last_checkpoint(log) is not None
    if goes_on:
        first, state, known = checkpoint.restore(log.checkpoints / "last", state)
        evaluations, log.place = known["evaluations"], known["records"]
        log.progress(1 + first // stride)

    def save(folder: str, state: State, number: int) -> None:
        log.write([], safe=True)
        known = {**about, "step": number, "records": log.place, "evaluations": evaluations}
        checkpoint.save(log.checkpoints / folder, number, state, known)

    def evaluated(state: State, number: int) -> None:
        if number not in evaluate_at:
            return
        found = evaluate(state, number)
        numbers = {"step": number, **jax.tree.map(float, found.numbers)}
        log.write([{"kind": "evaluation", **numbers}, *found.records])
        best = best_by and all(numbers[best_by] < before[best_by] for before in evaluations)
        evaluations.append(numbers)
        if best:
            save("best", state, number)

    if not goes_on:
        evaluated(state, 0)
        log.progress(1)
    number = first
    for number in range(first, steps, stride):
        if stop(evaluations):
            break
        after, seen = step(state, batch(number))
        require_finite(seen.get("loss", 0.0), number, log)
        if checkpoint_every and number > first and number % checkpoint_every == 0:
            save("last", state, number)
        state, number = after, number + stride
        if seen:
            log.write([{"kind": "train", "step": number, **seen}])
        evaluated(state, number)
        log.progress(1)
    if checkpoint_every and number > first:
        save("last", state, number)
    return state, evaluations


def require_finite(loss: Any, steps: int, log: Log) -> None:
    """Raises ``ExperimentError`` for a loss that is not, after so many training steps."""
    if np.isfinite(loss):
        return
    if steps == 0:
        raise ExperimentError(f"loss is {loss} at initialization of {log.name}: the network overflows as it is")
    saved = last_checkpoint(log)
    raise ExperimentError(
        f"loss is {loss} after {steps} training steps of {log.name} (last good checkpoint: {saved or 'none'}); "
        "lower --config.learning_rate or --config.clip_norm"
    )


def last_checkpoint(log: Log) -> Path | None:
    """Where the last one of a run is."""
    step = checkpoint.latest(log.checkpoints / "last")
    return None if step is None else log.checkpoints / "last" / str(step)


def _strongly_typed(leaf: Any) -> Any:
    """As it comes back from a checkpoint: a weak type would have the step compiled twice."""
    return jax.lax.convert_element_type(leaf, jnp.asarray(leaf).dtype) if not _is_key(leaf) else leaf


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
