"""Which steps a decision hangs on: its gradient by step, and what becomes of it without these steps.

The decision for class k has the log odds  d = z_k - log sum over j != k of exp z_j,  z the logits; unlike a
probability they do not stand still where the network is sure. Two gradients say how much hangs on step t: ||dd/dx_t||,
of the inputs, and ||dd/ds_t||, of all states of the layer, whose norms ``rnnjax.value_grad_and_flow`` has.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import rnnjax
from experiments.classification import model
from experiments.classification.model import Batch, Network, Pooling
from experiments.networks.decision import log_odds
from rnnjax.typing import Key

TAKEN_OUT = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""The shares of a sequence's steps that are taken out."""


class Evidence(NamedTuple):
    """By step (T, B), 0 in the padding."""

    inputs: Array  # ||dd/dx_t||
    states: Array  # ||dd/ds_t||, over all fields and directions


def gradients(layer: rnnjax.Cell, pooling: Pooling, network: Network, batch: Batch) -> Evidence:
    """Both, of each sequence's own decision, in one backward pass."""

    def decided(unroll: Callable[..., Any], inputs: Array) -> Array:
        return log_odds(model.logits(layer, pooling, network, batch._replace(inputs=inputs), unroll)).sum()

    _, of_inputs, (flow,) = rnnjax.value_grad_and_flow(decided)(batch.inputs)
    squares = [jnp.square(norms) for norms in jax.tree.leaves(flow.examples)]
    return Evidence(jnp.linalg.norm(of_inputs, axis=-1), jnp.sqrt(jnp.stack(squares).sum(axis=0)))


def by_part(norms: Array, mask: Array, parts: int) -> Array:
    """(parts,) shares of a gradient (T, B) in equal parts of a sequence, whatever its length; means over sequences.

    A step that reaches over a border counts on both sides of it, as far as it reaches.
    """
    lengths = mask.sum(axis=0, dtype=norms.dtype)
    shares = norms / norms.sum(axis=0, keepdims=True)
    steps = jnp.arange(len(norms), dtype=norms.dtype)[:, None, None]
    borders = jnp.arange(parts + 1, dtype=norms.dtype)[None, None, :] / parts * lengths[None, :, None]
    before = jnp.clip(borders - steps, 0.0, 1.0)  # how much of a step lies before a border
    return (shares[..., None] * jnp.diff(before, axis=-1)).sum(axis=0).mean(axis=0)


def errors_without(
    layer: rnnjax.Cell, pooling: Pooling, network: Network, batch: Batch, ranks: Array, shares: Sequence[float]
) -> Array:
    """The share of sequences taken for another class where so many of their steps, the highest ranks, are taken out.

    The network passes over them as over padding.
    """
    ranks = jnp.where(batch.mask, ranks, -jnp.inf)
    places = jnp.argsort(jnp.argsort(-ranks, axis=0), axis=0)
    lengths = batch.mask.sum(axis=0, dtype=ranks.dtype)

    def error(share: Array) -> Array:
        left = batch.mask & (places.astype(ranks.dtype) >= jnp.round(share * lengths)[None])
        answers = model.logits(layer, pooling, network, batch._replace(mask=left)).argmax(axis=-1)
        return (answers != batch.labels).astype(ranks.dtype).mean()

    return jax.lax.map(error, jnp.array(shares, ranks.dtype))


def rankings(evidence: Evidence, mask: Array, key: Key) -> dict[str, Array]:
    """In which order (T, B) steps are taken out, the highest first, by the words of it.

    Neighbours have gradients alike, so that a stretch goes at a time: hence also one around a random place.
    """
    random_key, place_key = jax.random.split(key)
    steps = jnp.arange(len(mask), dtype=evidence.inputs.dtype)[:, None]
    place = jax.random.uniform(place_key, mask.shape[1:]) * mask.sum(axis=0, dtype=steps.dtype) - 0.5
    return {
        "most input gradient": evidence.inputs,
        "most state gradient": evidence.states,
        "least input gradient": -evidence.inputs,
        "a random stretch": -jnp.abs(steps - place[None]),
        "at random": jax.random.uniform(random_key, mask.shape),
    }


def change_with_padding(layer: rnnjax.Cell, pooling: Pooling, network: Network, batch: Batch) -> Array:
    """By how much the logits change at most where each sequence gets as many steps of padding again, full of ones."""
    longer = jax.tree.map(lambda leaf: jnp.concatenate([leaf, jnp.ones_like(leaf)]), (batch.inputs, batch.mask))
    more = Batch(longer[0], longer[1].at[len(batch.mask) :].set(False), batch.labels)
    found = [model.logits(layer, pooling, network, each) for each in (batch, more)]
    return jnp.abs(found[0] - found[1]).max()
