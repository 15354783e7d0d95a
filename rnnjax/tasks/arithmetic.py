"""Numbers over long lags: the sum, the product, or the parity of earlier inputs."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.checks import positive_integer
from rnnjax.tasks.task import Batch, Task, any_wrong, checked, cross_entropy, far_off, squared_error
from rnnjax.typing import Key


def adding(length: int) -> Task:
    """The adding problem: the sum of the two marked numbers (Hochreiter & Schmidhuber, 1997).

        x_t = (u_t, m_t)        u_t uniform over [0, 1], m_t = 1 at two steps i and j, else 0
        target at the last step: u_i + u_j

    In the form of Arjovsky et al. (2016): i is uniform over the first half of the steps, j over the second. (The
    original has u_t in [-1, 1], scales the sum to [0, 1], and marks both in the first half.) Chance is the variance of
    the sum, 2/12 = 1/6. Without a memory u_j is still known if j is the last step, which gives 1/6 - 1/(12 (T - T//2)).
    A sequence is wrong if its squared error is above 0.04. The task is solved if at most 1 % of the sequences are wrong
    (Pascanu et al., 2013); for normal errors that is a mean squared error of 0.006.

    Args:
        length: T, the number of steps.

    Raises:
        ValueError: if length < 2.
        TypeError: if it is not a whole number.
    """
    return _of_two_marked(length, jnp.add, chance=1 / 6, of_one=1 / 12)


def multiplication(length: int) -> Task:
    """The multiplication problem: the product of the two marked numbers (Hochreiter & Schmidhuber, 1997).

        target at the last step: u_i u_j

    Everything else is as in ``adding``. A linear memory can form a sum, but not a product. Chance is the variance of
    the product, E[u²]² - E[u]⁴ = 1/9 - 1/16 = 7/144. If j is the last step, u_j needs no memory, which leaves E[u²]/12
    = 1/36.

    Args:
        length: T, the number of steps.

    Raises:
        ValueError: if length < 2.
        TypeError: if it is not a whole number.
    """
    return _of_two_marked(length, jnp.multiply, chance=7 / 144, of_one=1 / 36)


def _of_two_marked(length: int, combine: Callable[[Array, Array], Array], chance: float, of_one: float) -> Task:
    """The task whose result has the variance ``chance``, and ``of_one`` if the second of the two numbers is known."""
    steps = _at_least(2, "length", length)
    last_is_marked = 1 / (steps - steps // 2)
    memoryless = chance - last_is_marked * (chance - of_one)

    def sample(key: Key, batch_size: int) -> Batch:
        values_key, first_key, second_key = jax.random.split(key, 3)
        values = jax.random.uniform(values_key, (steps, batch_size))
        first = jax.random.randint(first_key, (batch_size,), 0, steps // 2)
        second = jax.random.randint(second_key, (batch_size,), steps // 2, steps)
        time = jnp.arange(steps)[:, None]
        markers = ((time == first[None]) | (time == second[None])).astype(values.dtype)
        examples = jnp.arange(batch_size)
        result = combine(values[first, examples], values[second, examples])
        return Batch(jnp.stack([values, markers], axis=-1), result[None, :, None])

    return checked(Task(2, 1, steps, sample, sample, squared_error, far_off, chance, memoryless))


def parity(length: int) -> Task:
    """Whether the number of ones is odd, asked at the last step (Bengio, Simard & Frasconi, 1994).

        x_t = 1 or -1, each with probability 1/2
        target at the last step: class 1 where an odd number of the x_t are 1, else class 0

    Every input matters, and any of them is worthless without all the others, so no part of the task can be learned
    first. Chance is ln 2, also if the last input is known. (If parity is asked at every step the task is easy: each
    step then teaches the exclusive or of its input and the parity before.)

    Args:
        length: T, the number of steps.

    Raises:
        ValueError: if length < 1.
        TypeError: if it is not a whole number.
    """
    steps = positive_integer("length", length)

    def sample(key: Key, batch_size: int) -> Batch:
        signs = jax.random.rademacher(key, (steps, batch_size), float)
        ones = (signs > 0).sum(axis=0, keepdims=True)
        return Batch(signs[..., None], ones % 2)

    memoryless = math.log(2) if steps > 1 else 0.0
    return checked(Task(1, 2, steps, sample, sample, cross_entropy, any_wrong, math.log(2), memoryless))


def _at_least(least: int, name: str, value: int) -> int:
    number = positive_integer(name, value)
    if number < least:
        raise ValueError(f"{name} is {number}: expected at least {least}")
    return number
