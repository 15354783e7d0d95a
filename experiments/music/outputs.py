"""Distributions of the next frame: each key by itself, or the notes one after the other.

    sigmoids    p(frame) = product over keys k of sigmoid(z_k)^{x_k} (1 - sigmoid(z_k))^{1 - x_k}
    joint       p(frame) = product over its notes n_1 < n_2 < ... of p(n_i | n_1, ..., n_{i-1}), times p(end)

Sigmoids are independent of each other, so that they cannot make a chord likelier than a mixture of its notes. The joint
output is a chain of conditional distributions from the lowest note up, each given the notes so far, like the one that
NADE has over keys (Larochelle & Murray, 2011; with a recurrent network Boulanger-Lewandowski et al., 2012). Its -ln p
of a frame is another measure, and cannot be compared with that of sigmoids.

Both read h, the output of the recurrent layers, and x, the frame that has just sounded. The logit of a key has weights
of its own, and weights for the intervals from the key to the notes of x. The latter depend on h and are the same for
all keys, because a voice moves by the same steps in any key.

    z_k = w_k h + b_k + sum over i = -I, ..., I of a_i(h) x_{k+i}        a(h) = A h + c
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

from rnnjax.names import lookup
from rnnjax.typing import Key, Params

SIGMOIDS, JOINT = "sigmoids", "joint"

_HIDDEN = 128
"""Units of the hidden layer between the notes of a frame so far and the next note."""


class Output(NamedTuple):
    """A distribution over frames (..., K), given states (..., H) and the frames before.

    Attributes:
        init: key, H, K -> params.
        nats: params, states, frames before, frames -> -ln p (...).
        draw: params, states, frames before, key, temperature -> frames.
        logits: params, states, frames before -> logits (..., K) of single keys; None for a joint output.
    """

    init: Callable[[Key, int, int], Params]
    nats: Callable[[Params, Array, Array, Array], Array]
    draw: Callable[[Params, Array, Array, Key, float], Array]
    logits: Callable[[Params, Array, Array], Array] | None


def make_output(name: str, intervals: int, most: int) -> Output:
    """An output by its name.

    Args:
        name: sigmoids or joint.
        intervals: I, in semitones; 0 for logits that depend on the state alone.
        most: the most notes in a frame that a joint output scores.

    Raises:
        ValueError: for another name.
    """
    lookup("output", name, dict.fromkeys((SIGMOIDS, JOINT)))
    if name == SIGMOIDS:
        return Output(
            functools.partial(_init_sigmoids, intervals), _nats_of_sigmoids, _draw_sigmoids, logits_of_sigmoids
        )
    return Output(functools.partial(_init_joint, intervals), functools.partial(_nats_of_joint, most), _draw_joint, None)


# By intervals


def _init_intervals(intervals: int, key: Key, states: Array) -> Params | None:
    width = 2 * intervals + 1
    return nn.Dense(width, kernel_init=nn.initializers.normal(0.01)).init(key, states) if intervals else None


def by_intervals(params: Params | None, states: Array, notes: Array) -> Array:
    """The sum over i of a_i(h) x_{k+i} for each key (..., K); there are no notes beyond the keys."""
    if params is None:
        return jnp.zeros_like(notes)
    width = params["params"]["bias"].shape[0]
    weights = nn.Dense(width).apply(params, states)
    padded = jnp.pad(notes, [(0, 0)] * (notes.ndim - 1) + [(width // 2, width // 2)])
    keys = notes.shape[-1]
    parts = [weights[..., i : i + 1] * padded[..., i : i + keys] for i in range(width)]
    return functools.reduce(jnp.add, parts)


# Sigmoids


class SigmoidParams(NamedTuple):
    keys: Params  # of flax's Dense
    intervals: Params | None


def _init_sigmoids(intervals: int, key: Key, width: int, keys: int) -> SigmoidParams:
    keys_key, intervals_key = jax.random.split(key)
    states = jnp.zeros(width)
    dense = nn.Dense(keys, bias_init=nn.initializers.constant(-3.0))  # about four of 88 keys sound
    return SigmoidParams(dense.init(keys_key, states), _init_intervals(intervals, intervals_key, states))


def logits_of_sigmoids(params: SigmoidParams, states: Array, before: Array) -> Array:
    """Logits (..., K) of the keys."""
    of_keys: Array = nn.Dense(before.shape[-1]).apply(params.keys, states)
    return of_keys + by_intervals(params.intervals, states, before)


def _nats_of_sigmoids(params: SigmoidParams, states: Array, before: Array, notes: Array) -> Array:
    return optax.sigmoid_binary_cross_entropy(logits_of_sigmoids(params, states, before), notes).sum(axis=-1)


def _draw_sigmoids(params: SigmoidParams, states: Array, before: Array, key: Key, temperature: float) -> Array:
    probabilities = jax.nn.sigmoid(logits_of_sigmoids(params, states, before) / temperature)
    return jax.random.bernoulli(key, probabilities).astype(before.dtype)


# The joint output


class JointParams(NamedTuple):
    state: Params  # from the state to the hidden layer
    notes: Params  # from the notes of the frame so far to the hidden layer
    keys: Params  # from the hidden layer to the keys and the end
    intervals: Params | None  # for intervals to the notes of the frame before
    chord: Params | None  # for intervals to the notes of the frame so far


def _init_joint(intervals: int, key: Key, width: int, keys: int) -> JointParams:
    of_state, of_notes, of_keys, of_intervals, of_chord = jax.random.split(key, 5)
    hidden = jnp.zeros(_HIDDEN)
    return JointParams(
        nn.Dense(_HIDDEN).init(of_state, jnp.zeros(width)),
        nn.Dense(_HIDDEN, use_bias=False).init(of_notes, jnp.zeros(keys)),
        nn.Dense(keys + 1).init(of_keys, hidden),
        _init_intervals(intervals, of_intervals, jnp.zeros(width)),
        _init_intervals(intervals, of_chord, hidden),
    )


def logits_of_joint(params: JointParams, states: Array, before: Array, so_far: Array) -> Array:
    """Logits (..., K + 1) of each key and of the end, given the notes so far; -inf for keys up to the highest note."""
    keys = before.shape[-1]
    hidden = jnp.tanh(
        nn.Dense(_HIDDEN).apply(params.state, states) + nn.Dense(_HIDDEN, use_bias=False).apply(params.notes, so_far)
    )
    logits: Array = nn.Dense(keys + 1).apply(params.keys, hidden)
    moved = by_intervals(params.intervals, states, before) + by_intervals(params.chord, hidden, so_far)
    above = jnp.flip(jnp.cumsum(jnp.flip(so_far, -1), axis=-1), -1) < 0.5  # no note so far is there, or higher
    of_keys = jnp.where(above, logits[..., :keys] + moved, -jnp.inf)
    return jnp.concatenate([of_keys, logits[..., keys:]], axis=-1)


def _nats_of_joint(most: int, params: JointParams, states: Array, before: Array, notes: Array) -> Array:
    rank = jnp.cumsum(notes, axis=-1) * notes  # 1 at the lowest note, 2 at the next, 0 where no key sounds
    places = jnp.arange(most + 1, dtype=notes.dtype).reshape(-1, *(1,) * notes.ndim)
    rank = rank[None]
    so_far = ((rank > 0) & (rank <= places)).astype(notes.dtype)  # (most + 1, ..., K)
    following = (rank == places + 1).astype(notes.dtype)
    count = notes.sum(axis=-1)
    ends = (count[None] == places[..., 0]).astype(notes.dtype)
    logits = logits_of_joint(params, states[None], before[None], so_far)
    logs = jax.nn.log_softmax(logits, axis=-1)
    chosen = jnp.concatenate([following, ends[..., None]], axis=-1)
    return -jnp.where(chosen > 0.5, logs, 0.0).sum(axis=(0, -1))


def _draw_joint(params: JointParams, states: Array, before: Array, key: Key, temperature: float) -> Array:
    keys = before.shape[-1]

    def more(carry: tuple[Array, Array, Array]) -> Any:
        return ~carry[1].all()

    def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        so_far, ended, number = carry
        logits = logits_of_joint(params, states, before, so_far) / temperature
        chosen = jax.random.categorical(jax.random.fold_in(key, number), logits)
        ended = ended | (chosen == keys)
        note = jax.nn.one_hot(jnp.where(ended, keys, chosen), keys, dtype=before.dtype)
        return so_far + note, ended, number + 1

    start = jnp.zeros_like(before), jnp.zeros(before.shape[:-1], bool), jnp.int32(0)
    return jax.lax.while_loop(more, step, start)[0]
