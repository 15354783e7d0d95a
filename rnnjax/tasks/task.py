"""The definition of a task: sequences, a loss, a criterion of success, and the loss that needs no memory."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.typing import Key


class Batch(NamedTuple):
    """Sequences and the targets at their ends.

    Attributes:
        inputs: (T, B, I).
        targets: of the last S steps; classes (S, B), which are whole numbers from 0, or values (S, B, O).
    """

    inputs: Array
    targets: Array


class Task(NamedTuple):
    """A synthetic problem or a data set with sequences of one length. All functions are pure.

    Attributes:
        input_size: I, the input width.
        output_size: O, the width of the readout: classes or values.
        length: T, the number of steps.
        sample: ``(key, batch_size) -> Batch`` for training.
        sample_test: the same for testing; for a data set, sequences that ``sample`` never returns, else ``sample``
            itself.
        loss: ``(readout (T, B, O), batch) -> scalar``, to be minimized: a mean over sequences and over the last S
            steps. The readout may also be given for these steps alone, (S, B, O).
        error: ``(readout (T, B, O), batch) -> (B,)``, 1 for sequences with a wrong answer, 0 for the others.
        tolerance: the mean error up to which the task counts as solved.
        chance: the least expected loss of a readout that knows the time step and none of the inputs, in closed form.
        memoryless: the same for a readout that also knows the input of its own step: the least that a network without a
            memory can reach. Only a loss below it is a sign of memory.
    """

    input_size: int
    output_size: int
    length: int
    sample: Callable[[Key, int], Batch]
    sample_test: Callable[[Key, int], Batch]
    loss: Callable[[Array, Batch], Array]
    error: Callable[[Array, Batch], Array]
    chance: float
    memoryless: float
    tolerance: float = 0.01


def checked(task: Task) -> Task:
    """The task with checks that a readout is (T, B, O) or (S, B, O), since another one might be broadcast silently."""

    def check(measure: Callable[[Array, Batch], Array]) -> Callable[[Array, Batch], Array]:
        def checking(readout: Array, batch: Batch) -> Array:
            expected = (*batch.inputs.shape[:-1], task.output_size)
            if jnp.shape(readout) not in (expected, (len(batch.targets), *expected[1:])):
                raise ValueError(
                    f"readout has shape {jnp.shape(readout)}: expected {expected}, (T, B, output_size), or of the "
                    f"{len(batch.targets)} steps that have a target"
                )
            return measure(readout, batch)

        return checking

    return task._replace(loss=check(task.loss), error=check(task.error))


def cross_entropy(readout: Array, batch: Batch) -> Array:
    """The mean of -ln p(target) in nats, where p is the softmax of the readout."""
    log_likelihoods = jax.nn.log_softmax(_at_targets(readout, batch))
    return -jnp.take_along_axis(log_likelihoods, batch.targets[..., None], axis=-1).mean()


def any_wrong(readout: Array, batch: Batch) -> Array:
    """(B,): 1 for sequences where another class than the target has the largest readout at any of the last S steps."""
    wrong = jnp.argmax(_at_targets(readout, batch), axis=-1) != batch.targets
    return wrong.any(axis=0).astype(readout.dtype)


def unsure(readout: Array, batch: Batch) -> Array:
    """(B,): 1 for sequences where a softmax output is 0.25 or more off its 1 or 0 at any of the last S steps."""
    probabilities = jax.nn.softmax(_at_targets(readout, batch))
    of_target = jnp.take_along_axis(probabilities, batch.targets[..., None], axis=-1)[..., 0]
    return (of_target <= 0.75).any(axis=0).astype(readout.dtype)


def squared_error(readout: Array, batch: Batch) -> Array:
    """The mean of (readout - target)²."""
    return jnp.square(_at_targets(readout, batch) - batch.targets).mean()


def far_off(readout: Array, batch: Batch) -> Array:
    """(B,): 1 for sequences with (readout - target)² above 0.04 at any of the last S steps (Pascanu et al., 2013)."""
    far = jnp.square(_at_targets(readout, batch) - batch.targets) > 0.04
    return far.any(axis=(0, 2)).astype(readout.dtype)


def _at_targets(readout: Array, batch: Batch) -> Array:
    return readout[-len(batch.targets) :]
