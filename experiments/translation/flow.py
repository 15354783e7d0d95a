"""How much of the gradient of what is written late reaches what was read early.

A decision for a symbol has the log odds  d = z_k - log sum over j != k of exp z_j,  z the logits at its step, the
decoder being given the true translation. Measured is ||dd/dx_j||, x_j the embedding of character j of the source.
Without attention it comes back through all states of the decoder and of the encoder that lie between.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from experiments.networks.decision import log_odds
from experiments.translation import model
from experiments.translation.data import Batch
from experiments.translation.model import REVERSED, Layers, Network


class Flow(NamedTuple):
    """Typical norms, geometric means over sources; 0 where there is none.

    Attributes:
        norms: (lags,) of the last symbol, by how many characters are read after one.
        sources: (lags,) how many are so long.
        parts: (P, P) of all decisions of a part of the translation together, with respect to a part of the source.
    """

    norms: Array
    sources: Array
    parts: Array


class Parts(NamedTuple):
    """To which part each character and symbol belongs, from 0; one that parts them belongs to none, -1."""

    source: Array  # (S, B)
    target: Array  # (T, B)


def parts_of(batch: Batch, source_border: int, target_border: int) -> Parts:
    """By the numbers of the characters that stand between; all is one part where these are -1."""
    found = []
    for symbols, mask, border in (
        (batch.source, batch.source_mask, source_border),
        (batch.targets, batch.mask, target_border),
    ):
        is_border = symbols == border
        found.append(jnp.where(mask & ~is_border, jnp.cumsum(is_border, axis=0), -1))
    return Parts(*found)


def flow(layers: Layers, network: Network, batch: Batch, parts: Parts, lags: int, count: int) -> Flow:
    """Of a batch of sources of which each has so many parts, its translation, too."""
    inputs = network.source[batch.source]
    last = batch.mask.sum(axis=0) - 2  # the end is not counted
    one_hot = jnp.arange(len(batch.mask))[:, None] == last[None]

    def decisions(inputs: Array) -> Array:
        """(P + 1,): of each part, and of the last symbol, summed over sources."""
        odds = log_odds(model.logits(layers, network, inputs, batch))
        of_parts = [jnp.where(parts.target == part, odds, 0.0).sum() for part in range(count)]
        return jnp.stack([*of_parts, jnp.where(one_hot, odds, 0.0).sum()])

    norms = jnp.linalg.norm(jax.jacrev(decisions)(inputs), axis=-1)  # (P + 1, S, B)
    lengths = batch.source_mask.sum(axis=0)
    after = jnp.arange(lags)[:, None]
    steps = jnp.broadcast_to(after, (lags, len(lengths))) if layers.reading == REVERSED else lengths[None] - 1 - after
    there = (steps >= 0) & (steps < lengths[None])
    aligned = jnp.take_along_axis(norms[-1], jnp.clip(steps, 0, len(inputs) - 1), axis=0)
    of_parts = jnp.stack(
        [jnp.sqrt(jnp.where(parts.source == part, norms[:-1] ** 2, 0.0).sum(axis=1)) for part in range(count)], axis=1
    )  # (P, P, B)
    return Flow(
        _typical(aligned, there, axis=1),
        there.sum(axis=1),
        _typical(of_parts, jnp.ones_like(of_parts, bool), axis=-1),
    )


def _typical(norms: Array, there: Array, axis: int) -> Array:
    logs = jnp.where(there, jnp.log(jnp.where(there, norms, 1.0)), 0.0).sum(axis=axis)
    count = there.sum(axis=axis, dtype=norms.dtype)
    return jnp.where(count > 0, jnp.exp(logs / jnp.maximum(count, 1)), 0.0)


def change_with_padding(layers: Layers, network: Network, batch: Batch) -> Array:
    """By how much the logits change at most where sources and translations get as many steps of padding again."""
    longer = Batch(*(jnp.concatenate([leaf, jnp.ones_like(leaf)]) for leaf in batch))
    longer = longer._replace(
        source_mask=longer.source_mask.at[len(batch.source_mask) :].set(False),
        mask=longer.mask.at[len(batch.mask) :].set(False),
    )
    found = [model.logits(layers, network, network.source[each.source], each) for each in (batch, longer)]
    return jnp.where(batch.mask[..., None], jnp.abs(found[0] - found[1][: len(batch.mask)]), 0.0).max()
