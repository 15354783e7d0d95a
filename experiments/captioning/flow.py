"""The gradient of the decision for each word, with respect to the states before it and to the picture.

The decision for word k at step t has the log odds  d_t = z_k - log sum over j != k of exp z_j,  where z are the logits
at that step and the decoder reads the true words before it. For each t these norms are measured:

    ||dd_t/ds_k||    with respect to the states s_1, ..., s_t
    ||dd_t/dF_k||    with respect to the features as they are seen at step k alone; k = 0 is the initial state

The sum of dd_t/dF_k over k is dd_t/dF. Where the picture is seen in the initial state alone, the whole of it is at
k = 0 and has come back through t steps; every_step and attention also let it in later.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import rnnjax
from experiments.captioning.data import Batch
from experiments.captioning.model import Model, Network, decoder, readout, see, shifted
from experiments.networks.decision import log_odds


class Flow(NamedTuple):
    """Gradient norms of T words as root mean squares over pictures; word t downwards."""

    states: Array  # (T, T) ||dd_t/ds_k||, k = 1, ..., T; 0 where k > t
    picture: Array  # (T,) ||dd_t/dF||
    seen: Array  # (T, T + 1) ||dd_t/dF_k||, k = 0, ..., T


def flow(model: Model, network: Network, batch: Batch) -> Flow:
    """The flow of the decision for each word of a batch without padding."""
    steps = len(batch.words)
    features = see(model, network, batch.pictures)
    start, unmoved = decoder(model, network, features), jnp.zeros((steps + 1, *features.shape), features.dtype)
    inputs = start.embed(shifted(batch.words))

    def of_word(step: Array) -> Flow:
        def decided(outputs: Array) -> Array:
            return log_odds(readout(network, outputs)[step]).sum()

        def decided_apart(moves: Array) -> Array:
            return log_odds(logits_apart(model, network, features, moves, batch.words)[step]).sum()

        found = rnnjax.gradient_flow(start.cell, start.params, inputs, decided, start.state)
        of_steps = jax.grad(decided_apart)(unmoved)
        return Flow(
            _root_mean_square(jax.tree.leaves(found.examples)),
            _root_mean_square([_norm(of_steps.sum(axis=0))[None]])[0],
            _root_mean_square([jax.vmap(_norm)(of_steps)]),
        )

    return jax.lax.map(of_word, jnp.arange(steps))


def logits_apart(model: Model, network: Network, features: Array, moves: Array, words: Array) -> Array:
    """``model.logits`` where step k sees ``features + moves[k]``, moves (T + 1, S, B, C); k = 0 is before the first."""

    def step(state: Any, at: tuple[Array, Array]) -> tuple[Any, Array]:
        move, numbers = at
        now = decoder(model, network, features + move)
        return now.cell.step(now.params, state, now.embed(numbers))

    start = decoder(model, network, features + moves[0]).state
    return readout(network, jax.lax.scan(step, start, (moves[1:], shifted(words)))[1])


def _norm(features: Array) -> Array:
    """(B,) of (S, B, C)."""
    return jnp.sqrt(jnp.square(features).sum(axis=(0, 2)))


def _root_mean_square(norms: list[Array]) -> Array:
    """(K,) of norms (K, B), over pictures and all fields of a state."""
    return jnp.sqrt(jnp.stack([jnp.square(each) for each in norms]).sum(axis=0).mean(axis=-1))
