"""How much of the gradient of a symbol that is written late reaches the characters that were read early.

A decision for symbol k has the log odds  d = z_k - log sum over j != k of exp z_j,  where z are the logits at its step
and the decoder reads the true translation. The norm ||dd/dx_j|| is measured, where x_j is the embedding of character j
of the source. Without attention this gradient comes back through all states of decoder and encoder in between.
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
    """Typical gradient norms, as geometric means over sources; 0 where there is no gradient.

    Attributes:
        norms: (lags,) of the last symbol with respect to a character, by how many characters are read after it.
        sources: (lags,) how many sources are long enough.
        parts: (P, P) of all decisions of one part of the translation together, with respect to one part of the source.
    """

    norms: Array
    sources: Array
    parts: Array


class Parts(NamedTuple):
    """The part to which each character and symbol belongs, from 0; separators and padding have -1."""

    source: Array  # (S, B)
    target: Array  # (T, B)


def parts_of(batch: Batch, source_border: int, target_border: int) -> Parts:
    """The parts of a batch, which are separated by the characters with these numbers; -1 for a single part."""
    found = []
    for symbols, mask, border in (
        (batch.source, batch.source_mask, source_border),
        (batch.targets, batch.mask, target_border),
    ):
        is_border = symbols == border
        found.append(jnp.where(mask & ~is_border, jnp.cumsum(is_border, axis=0), -1))
    return Parts(*found)


def flow(layers: Layers, network: Network, batch: Batch, parts: Parts, lags: int, count: int) -> Flow:
    """The flow over a batch in which each source and each translation has ``count`` parts."""
    inputs = network.source[batch.source]
    last = batch.mask.sum(axis=0) - 2  # the end is not counted
    one_hot = jnp.arange(len(batch.mask))[:, None] == last[None]

    def decisions(inputs: Array) -> Array:
        """Log odds (P + 1,) of each part and of the last symbol, summed over sources."""
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
    """The largest change of a logit when sources and translations are padded to twice their steps."""
    longer = Batch(*(jnp.concatenate([leaf, jnp.ones_like(leaf)]) for leaf in batch))
    longer = longer._replace(
        source_mask=longer.source_mask.at[len(batch.source_mask) :].set(False),
        mask=longer.mask.at[len(batch.mask) :].set(False),
    )
    found = [model.logits(layers, network, network.source[each.source], each) for each in (batch, longer)]
    return jnp.where(batch.mask[..., None], jnp.abs(found[0] - found[1][: len(batch.mask)]), 0.0).max()
