"""Sums of two binary numbers and parities of one: what is read at each step, and what is to be answered there.

Numbers are read lowest bit first. A digit enters a network as a sign, 1 for a one and -1 for a zero; at steps after the
last answer, where shorter numbers are padded to the longest, there is no digit, and the input is 0.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.typing import Key


class Questions(NamedTuple):
    """Sequences with answers, 0 or 1, at some of their steps.

    Attributes:
        inputs: (T, B, I).
        answers: (T, B), whole numbers.
        asked: (T, B), True where the answer counts.
    """

    inputs: Array
    answers: Array
    asked: Array


class Automaton(NamedTuple):
    """A problem that a memory of one bit solves, which starts as 0.

    Attributes:
        digits: I, how many are read at a step.
        step: ``(memory (B,), digits (B, I)) -> (memory, answer (B,))``.
        extra: steps beyond the last digit, at which there is something to answer.
        chains: ``(key, steps, batch_size) -> digits (T, B, I)`` in which the first digit matters to the last answer.
    """

    digits: int
    step: Callable[[Array, Array], tuple[Array, Array]]
    extra: int
    chains: Callable[[Key, int, int], Array]


class Problem(NamedTuple):
    """What a network is trained on.

    Attributes:
        input_size: I.
        questions: ``(key, bits (B,), longest) -> Questions``, random numbers of so many bits, padded to the longest.
        lengths: ``(key, batch_size, longest) -> bits (B,)`` of the numbers in a batch.
        first: bits of the longest number when training begins, if it grows with what is learned; None if it does not.
        automaton: None where the operands come one after the other: then a memory of a few bits is not enough.
    """

    input_size: int
    questions: Callable[[Key, Array, int], Questions]
    lengths: Callable[[Key, int, Array], Array]
    first: int | None
    automaton: Automaton | None


# Digits


def draw(key: Key, shape: tuple[int, int, int], bits: Array, first: Array | int = 0) -> Array:
    """Random digits (T, B, I) of numbers of so many bits (B,), from the place ``first`` on; zeros beyond their ends."""
    places = first + jnp.arange(shape[0])[:, None, None]
    digits = jax.random.bits(key, shape, jnp.uint8) & 1
    return jnp.where(places < bits[None, :, None], digits, 0).astype(jnp.int32)


def signs(digits: Array) -> Array:
    """1 for a one, -1 for a zero."""
    return 2 * digits.astype(float) - 1


def read(automaton: Automaton, digits: Array, memory: Array | None = None) -> tuple[Array, Array]:
    """The memory (B,) after digits (T, B, I), and the answers (T, B) at each step; from a memory of 0, or another."""
    memory = jnp.zeros_like(digits[0, :, 0]) if memory is None else memory
    return jax.lax.scan(automaton.step, memory, digits)


# The automata


def _add(carry: Array, digits: Array) -> tuple[Array, Array]:
    """Digits and carry: a_t + b_t + c_{t-1} = 2 c_t + s_t."""
    total = carry + digits.sum(axis=-1)
    return total // 2, total % 2


def _count(odd: Array, digits: Array) -> tuple[Array, Array]:
    """The parity of all digits so far: p_t = p_{t-1} xor x_t."""
    odd = (odd + digits[:, 0]) % 2
    return odd, odd


def _carries(key: Key, steps: int, batch_size: int) -> Array:
    """1 + 1 at the first step, and at all others 0 + 1 or 1 + 0, which hand the carry on."""
    one = jax.random.randint(key, (steps - 1, batch_size), 0, 2)
    start = jnp.ones((1, batch_size, 2), one.dtype)
    return jnp.concatenate([start, jnp.stack([one, 1 - one], axis=-1)])


def _any_digits(key: Key, steps: int, batch_size: int) -> Array:
    return jax.random.randint(key, (steps, batch_size, 1), 0, 2)


ADDITION = Automaton(2, _add, 1, _carries)
PARITY = Automaton(1, _count, 0, _any_digits)
AUTOMATA = {"addition": ADDITION, "parity": PARITY}
"""By name."""


# Questions


def _sums(key: Key, bits: Array, longest: int) -> Questions:
    """Two digits a step; each step answers with a digit of the sum, the step after the last ones with its highest."""
    digits = draw(key, (longest + 1, len(bits), 2), bits)
    asked = jnp.arange(longest + 1)[:, None] <= bits[None]
    return Questions(jnp.where(asked[..., None], signs(digits), 0), read(ADDITION, digits)[1], asked)


def _parities(key: Key, bits: Array, longest: int) -> Questions:
    """A digit a step; asked at the last one alone, which is hard: see ``rnnjax.tasks.parity``."""
    digits = draw(key, (longest, len(bits), 1), bits)
    places = jnp.arange(longest)[:, None, None]
    inputs = jnp.where(places < bits[None, :, None], signs(digits), 0)
    return Questions(inputs, read(PARITY, digits)[1], places[..., 0] == bits[None] - 1)


def _sums_after(key: Key, bits: Array, longest: int) -> Questions:
    """One operand, a plus, the other, an equals sign, and then a step for each digit of the sum, all lowest bit first.

        a_1 ... a_N + b_1 ... b_N = _ ... _        T = 3N + 3, answers s_1 ... s_{N+1} at the last N + 1 steps

    Inputs are the digit's sign, and one-hot whether it is a plus, an equals sign, or a step to answer at.
    """
    digits = draw(key, (longest + 1, len(bits), 2), bits)
    sums = read(ADDITION, digits)[1]
    places, end = jnp.arange(3 * longest + 3)[:, None], bits[None]

    def shown(values: Array, first: Array) -> Array:
        """Of values (N + 1, B) the one of each step, counted from a first one; anything elsewhere."""
        return jnp.take_along_axis(values, jnp.clip(places - first, 0, longest), axis=0)

    of_first, of_second = places < end, (places > end) & (places < 2 * end + 1)
    digit = jnp.where(of_first, shown(digits[..., 0], 0 * end), shown(digits[..., 1], end + 1))
    asked = (places > 2 * end + 1) & (places <= 3 * end + 2)
    marks = jnp.stack([places == end, places == 2 * end + 1, asked], axis=-1).astype(float)
    digit = jnp.where(of_first | of_second, signs(digit), 0)
    return Questions(jnp.concatenate([digit[..., None], marks], axis=-1), shown(sums, 2 * end + 2), asked)


# How long the numbers of a batch are


def _longest(key: Key, batch_size: int, longest: Array) -> Array:
    """All of them as long as may be."""
    return jnp.full((batch_size,), longest)


def _up_to(key: Key, batch_size: int, longest: Array) -> Array:
    """Each length as often as any other."""
    return jax.random.randint(key, (batch_size,), 1, longest + 1)


PROBLEMS: dict[str, Problem] = {
    "addition": Problem(2, _sums, _longest, None, ADDITION),
    "parity": Problem(1, _parities, _up_to, 2, PARITY),
    "parity_at_once": Problem(1, _parities, _longest, None, PARITY),
    "operands_first": Problem(4, _sums_after, _up_to, None, None),
}
"""By name: parity by lengths that grow, and the same with numbers of full length from the start."""
