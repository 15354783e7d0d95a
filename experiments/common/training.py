"""The training loop that experiments share, with evaluations, checkpoints and an early end.

Step and batch depend on nothing but the state and the number of the step. So a run that goes on from a checkpoint
computes, and records, bit for bit what it would have without the interruption.
"""

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import checkpoint
from experiments.common.errors import ExperimentError
from experiments.common.run_log import Log
from experiments.common.workdir import Record

State = TypeVar("State")
Batch = TypeVar("Batch")


class Evaluation(NamedTuple):
    """The result of evaluating a state.

    Attributes:
        numbers: recorded as kind "evaluation" with their step; ``stop`` and ``best_by`` read these.
        records: further records to write.
    """

    numbers: Record
    records: Sequence[Record] = ()


def never(evaluations: Sequence[Record]) -> bool:
    """Never ends training early."""
    return False


def no_better_for(count: int, field: str = "loss") -> Callable[[Sequence[Record]], bool]:
    """Ends training early, once the last ``count`` evaluations were no better than the best before them."""

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
    """Trains from the newest checkpoint of the run, if there is one, and records as it goes.

    Args:
        state: a pytree of arrays, as it is before training.
        step: a jitted function that does ``stride`` training steps. It returns the next state, and numbers to record as
            kind "train". If there is a ``loss`` among these, that of the state before the step, it must be finite.
        batch: gives the batch of a step, from the number of training steps before it.
        evaluate: evaluates a state, after this number of training steps.
        log: the log of the run, to which one step of progress is reported before the first call of ``step``, and one
            after each call.
        steps: the number of training steps, at most.
        evaluate_at: the numbers of steps after which the state is evaluated.
        stride: how many training steps a call of ``step`` does.
        checkpoint_every: how many training steps lie between checkpoints, a multiple of ``stride``; 0 for no
            checkpoints. A state is saved once its own loss has been seen to be finite.
        about: saved with each checkpoint for those who use it: the cell, the vocabulary, the config. Training does not
            go on from a checkpoint that was saved with other settings.
        best_by: the name of an evaluation's number, which must be finite; the state with its least value is saved as
            the best.
        stop: says from the evaluations so far whether training ends early.

    Returns:
        The last state, and the numbers of all evaluations.

    Raises:
        ExperimentError: if a loss is not finite, with the step and the last good checkpoint; if the checkpoint of the
            run has other settings.
    """
    about = about or {}
    state = jax.tree.map(_strongly_typed, state)
    first, evaluations = 0, list[Record]()
    goes_on = newest_checkpoint(log)
    if goes_on:
        _require_same_settings(goes_on, about)
        first, state, known = checkpoint.restore(goes_on, state)
        evaluations, log.place = known["evaluations"], known["records"]
        log.progress(1 + first // stride)

    def save(folder: str, state: State, number: int) -> None:
        log.write([], safe=True)
        place = {"step": number, "records": log.place, "best": _best(evaluations, best_by)}
        checkpoint.save(log.checkpoints / folder, number, state, {**about, **place, "evaluations": evaluations})

    def save_last(state: State, number: int) -> None:
        if checkpoint_every and number and number not in checkpoint.steps(log.checkpoints / "last"):
            save("last", state, number)

    def evaluated(state: State, number: int) -> None:
        if number not in evaluate_at:
            return
        found = evaluate(state, number)
        numbers = {"step": number, **jax.tree.map(float, found.numbers)}
        log.write([{"kind": "evaluation", **numbers}, *found.records])
        evaluations.append(numbers)
        if best_by:
            require_finite(numbers[best_by], number, log)
        if _best(evaluations, best_by) == number:
            save("best", state, number)

    if not goes_on:
        evaluated(state, 0)
        log.progress(1)
    number = first
    for number in range(first, steps, stride):
        if stop(evaluations):
            break
        # On all devices: where a process ends while one of them computes, Python aborts.
        after, seen = jax.block_until_ready(step(state, batch(number)))
        require_finite(seen.get("loss", 0.0), number, log, stride=stride)
        if checkpoint_every and number % checkpoint_every == 0:
            save_last(state, number)
        state, number = after, number + stride
        if seen:
            log.write([{"kind": "train", "step": number, **seen}])
        evaluated(state, number)
        log.progress(1)
    save_last(state, number)
    return state, evaluations


def require_finite(loss: Any, steps: int, log: Log, *, stride: int = 1) -> None:
    """Raises ``ExperimentError`` for a loss that is not finite after so many steps, or within the stride after them."""
    if np.isfinite(loss):
        return
    if steps + stride == 1:
        raise ExperimentError(f"loss is {loss} at initialization of {log.name}: the network overflows as it is")
    saved, after = newest_checkpoint(log), f"{steps}" if stride == 1 else f"{steps} to {steps + stride - 1}"
    raise ExperimentError(
        f"loss is {loss} after {after} training steps of {log.name} (last good checkpoint: {saved or 'none'}); "
        "lower --config.learning_rate or --config.clip_norm"
    )


def newest_checkpoint(log: Log) -> Path | None:
    """The folder of the newest among a run's last and best checkpoints; None if it has none."""
    return next(iter(checkpoint.of_run(log.checkpoints)), None)


def _best(evaluations: Sequence[Record], best_by: str | None) -> int | None:
    """After how many training steps the state was the best; the first time if there are several."""
    return min(evaluations, key=lambda each: each[best_by])["step"] if best_by and evaluations else None


def _require_same_settings(saved: Path, about: Record) -> None:
    """Raises ``ExperimentError`` for a checkpoint that was saved with other settings."""
    before, now = (_flat(settings) for settings in (checkpoint.about(saved), json.loads(json.dumps(about))))
    changed = [key for key, value in now.items() if before.get(key) != value]
    if changed:
        told = "; ".join(f"{key} was {_short(before.get(key))}, is {_short(now[key])}" for key in changed[:5])
        more = f"; and {len(changed) - 5} more" if changed[5:] else ""
        raise ExperimentError(
            f"the checkpoint {saved} has other settings ({told}{more}): give those, another --workdir, or --overwrite"
        )


def _flat(settings: Record) -> Record:
    """Nested dicts as one dict, with names such as ``config.hidden_size``."""
    flat = Record()
    for key, value in settings.items():
        inner = {f"{key}.{name}": each for name, each in _flat(value).items()} if isinstance(value, dict) else {}
        flat |= inner or {key: value}
    return flat


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 40 else f"{told[:37]}..."


def _strongly_typed(leaf: Any) -> Any:
    """The leaf without a weak type, as it comes back from a checkpoint; else the step would be compiled twice."""
    return jax.lax.convert_element_type(leaf, jnp.asarray(leaf).dtype) if not _is_key(leaf) else leaf


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
