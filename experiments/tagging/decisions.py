"""On which words the tag of one word hangs: the gradient of that decision, by its distance from the word.

The decision for tag k at word t has the log odds  d = z_k - log sum over j != k of exp z_j,  z the logits there. Two
gradients are measured at each word s: ||dd/dx_s||, of what it is read as, and ||dd/ds_s||, of the layer's states, for
each direction by itself. A cell from the first word to the last has none at s > t, one the other way none at s < t.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import rnnjax
from experiments.networks.decision import log_odds
from experiments.tagging import model
from experiments.tagging.model import BACKWARD, BIDIRECTIONAL, FORWARD, Batch, Layer, Network


class Flow(NamedTuple):
    """Typical norms (geometric means over sentences) by distance -L, ..., L from the word; 0 where there is none."""

    inputs: Array  # (2 L + 1,) ||dd/dx||
    states: dict[str, Array]  # by direction, (2 L + 1,) ||dd/ds||
    sentences: Array  # (2 L + 1,) how many reach so far


def flow(layer: Layer, network: Network, batch: Batch, places: Array, lags: int) -> Flow:
    """Of the decisions at places (B,), one of each sentence, in one backward pass."""
    inputs = model.embed(network, batch)

    def decided(unroll: Callable[..., Any], inputs: Array) -> Array:
        answers = model.logits(layer, network, inputs, batch.mask, unroll)
        return log_odds(answers[places, jnp.arange(len(places))]).sum()

    _, of_inputs, (found,) = rnnjax.value_grad_and_flow(decided)(inputs)
    steps = places[None] + jnp.arange(-lags, lags + 1)[:, None]
    there = (steps >= 0) & (steps < batch.mask.sum(axis=0)[None])

    def typical(norms: Array) -> Array:
        """(2 L + 1,) of norms (T, B)."""
        aligned = jnp.take_along_axis(norms, jnp.clip(steps, 0, len(norms) - 1), axis=0)
        logs = jnp.where(there, jnp.log(aligned), 0.0).sum(axis=1)
        count = there.sum(axis=1, dtype=norms.dtype)
        return jnp.where(count > 0, jnp.exp(logs / jnp.maximum(count, 1)), 0.0)

    states = {name: typical(_norms(fields)) for name, fields in by_direction(layer, found.examples).items()}
    return Flow(typical(jnp.linalg.norm(of_inputs, axis=-1)), states, there.sum(axis=1))


def by_direction(layer: Layer, examples: Any) -> dict[str, Any]:
    """The norms of a layer's states, by the direction in which they go."""
    if layer.direction == BIDIRECTIONAL:
        return dict(zip((FORWARD, BACKWARD), examples, strict=True))
    return {layer.direction: examples}


def _norms(fields: Any) -> Array:
    """(T, B) over all fields of a state."""
    return jnp.sqrt(jnp.stack([jnp.square(norms) for norms in jax.tree.leaves(fields)]).sum(axis=0))


def change_with_padding(layer: Layer, network: Network, batch: Batch) -> Array:
    """By how much the logits change at most where sentences get as many steps of padding again, full of ones."""
    steps = len(batch.mask)
    longer = Batch(*(jnp.concatenate([leaf, jnp.ones_like(leaf)]) for leaf in batch))
    longer = longer._replace(mask=longer.mask.at[steps:].set(False))
    found = [model.logits(layer, network, model.embed(network, each), each.mask) for each in (batch, longer)]
    return jnp.where(batch.mask[..., None], jnp.abs(found[0] - found[1][:steps]), 0.0).max()
