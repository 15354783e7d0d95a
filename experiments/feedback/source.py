"""A source whose every probability is known: brackets of several kinds that close in order, letters, and slips.

All that it remembers is a stack of open brackets. With r the rule, and V symbols,

    p(symbol | stack) = (1 - slip) r(symbol | stack) + slip / V

where r is a letter with probability q, any of them; else a bracket, which opens, of any kind, or closes the one on top,
each with probability 1/2. An empty stack can only open, a full one only close.

Whatever was said, an opening bracket goes onto the stack unless that is full, and a closing one takes the top off, of
whatever kind both are. So the stack follows from the text, a network's own text as well, and with it the probability
of all that may come next.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rnnjax.typing import Key

SYMBOLS = ("(", "[", "{", ")", "]", "}", "a", "b")
KINDS, LETTERS = 3, 2
DEPTH = 6
"""Brackets that can be open at the same time."""

LETTER_SHARE, SLIP = 0.3, 0.05


class Stack(NamedTuple):
    content: Array  # (...), the kinds of the open brackets as digits of base KINDS, the top one last
    depth: Array  # (...), how many there are


def empty(shape: tuple[int, ...]) -> Stack:
    """Where every text begins."""
    return Stack(jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.int32))


def probabilities(stack: Stack) -> Array:
    """(..., V) of what comes next."""
    opens = jnp.where(stack.depth == 0, 1.0, jnp.where(stack.depth == DEPTH, 0.0, 0.5))[..., None]
    top = jax.nn.one_hot(stack.content % KINDS, KINDS)
    brackets = jnp.concatenate([jnp.broadcast_to(opens / KINDS, top.shape), (1 - opens) * top], axis=-1)
    letters = jnp.full((*stack.depth.shape, LETTERS), LETTER_SHARE / LETTERS)
    rule = jnp.concatenate([(1 - LETTER_SHARE) * brackets, letters], axis=-1)
    return (1 - SLIP) * rule + SLIP / len(SYMBOLS)


def after(stack: Stack, symbols: Array) -> Stack:
    """The stack once these (...) were said."""
    pushes = (symbols < KINDS) & (stack.depth < DEPTH)
    pops = (symbols >= KINDS) & (symbols < 2 * KINDS) & (stack.depth > 0)
    pushed = Stack(stack.content * KINDS + symbols, stack.depth + 1)
    popped = Stack(stack.content // KINDS, stack.depth - 1)
    kept: Stack = jax.tree.map(lambda old, less: jnp.where(pops, less, old), stack, popped)
    found: Stack = jax.tree.map(lambda old, more: jnp.where(pushes, more, old), kept, pushed)
    return found


def read(symbols: Array) -> Array:
    """(T, ..., V), the probabilities of what comes at each step of a text (T, ...), before it has come."""

    def step(stack: Stack, said: Array) -> tuple[Stack, Array]:
        return after(stack, said), probabilities(stack)

    return jax.lax.scan(step, empty(symbols.shape[1:]), symbols)[1]


def continued(key: Key, prefix: Array, length: Array | int) -> Array:
    """A text (T, ...) whose first ``length`` symbols are those of ``prefix`` (T, ...), and the others the source's."""

    def step(stack: Stack, given: tuple[Array, Array]) -> tuple[Stack, Array]:
        number, said = given
        drawn = jax.random.categorical(jax.random.fold_in(key, number), jnp.log(probabilities(stack)))
        symbols = jnp.where(number < length, said, drawn.astype(jnp.int32))
        return after(stack, symbols), symbols

    return jax.lax.scan(step, empty(prefix.shape[1:]), (jnp.arange(len(prefix)), prefix))[1]


def draw(key: Key, length: int, count: int) -> Array:
    """Texts (T, B)."""
    return continued(key, jnp.zeros((length, count), jnp.int32), 0)


def nats(symbols: Array) -> Array:
    """-ln p (T, ...) of each symbol of a text after those before it."""
    chosen = jnp.take_along_axis(read(symbols), symbols[..., None], axis=-1)
    return -jnp.log(chosen[..., 0])


# What is known in closed form: the depth is a Markov chain, and the kinds are all alike


def entropies(steps: int) -> np.ndarray:
    """(T,) nats, the entropy of the symbol at each step given all before it; towards the entropy rate."""
    given, found = _given_depth(), _depths(steps)
    return np.asarray(found @ -(given * np.log(given)).sum(axis=1))


def marginal_entropies(steps: int) -> np.ndarray:
    """(T,) nats, the same for one who sees nothing of the text: the least loss without any of the truth."""
    given = _given_depth()
    given[:, KINDS : 2 * KINDS] = given[:, KINDS : 2 * KINDS].mean(axis=1, keepdims=True)  # any kind may be on top
    marginal = _depths(steps) @ given
    return np.asarray(-(marginal * np.log(marginal)).sum(axis=1))


def _given_depth() -> np.ndarray:
    """(D + 1, V), the probabilities at each depth, where brackets of the first kind are open."""
    depths = jnp.arange(DEPTH + 1)
    return np.array(probabilities(Stack(jnp.zeros_like(depths), depths)), np.float64)


def _depths(steps: int) -> np.ndarray:
    """(T, D + 1), the probability of each depth before each step."""
    given = _given_depth()
    up, down = given[:, :KINDS].sum(axis=1), given[:, KINDS : 2 * KINDS].sum(axis=1)
    up[-1], down[0] = 0, 0
    moves = np.diag(1 - up - down) + np.diag(up[:-1], 1) + np.diag(down[1:], -1)
    found = [np.eye(DEPTH + 1)[0]]
    for _ in range(steps - 1):
        found.append(found[-1] @ moves)
    return np.array(found)
