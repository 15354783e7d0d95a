"""How far back a network hears: by its gradient, and by what it loses when it hears less.

The loss is -ln p of one frame. Of its gradient ||dL/dh_{t-l}|| is measured at lag l = 0, 1, ... beats back, for each
chorale by itself. What is back there may be of use or not: so the same frames are predicted from the last 1, 2, 4, ...
frames alone, the state zero ahead of them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import rnnjax
from experiments.music.corpus import Frames
from experiments.music.data import Batch, roll
from experiments.music.model import Model, Network, nats

_STRIDE = 5
"""Of the frames that are predicted from less than all before them."""


class Flow(NamedTuple):
    """||dL/dh||, time forward, over all layers and fields of the state."""

    typical: Array  # (T,), geometric means over chorales
    chorales: Array  # (T, B)


def openings(music: Sequence[Frames], lags: int) -> Array:
    """Notes (lags + 2, B, 88) of chorales that are so long, from their silent frame on: L is of the last frame.

    Raises:
        ValueError: if there is none.
    """
    long = [roll(each)[: lags + 2] for each in music if len(each) > lags]
    if not long:
        raise ValueError(f"--config.lags is {lags}: expected fewer, as no chorale to test on has so many frames")
    return jnp.asarray(np.stack(long, axis=1))


def flow(model: Model, network: Network, notes: Array) -> Flow:
    """Of notes as ``openings`` gives them, in one backward pass."""

    def loss(unroll: Any, network: Network) -> Array:
        return nats(model, network, notes, unroll)[-1].sum()

    _, _, (found,) = rnnjax.value_grad_and_flow(loss)(network)
    squares = [jnp.square(norms) for norms in jax.tree.leaves(found.examples)]
    norms = jnp.sqrt(jnp.stack(squares).sum(axis=0))
    return Flow(jnp.exp(jnp.log(norms).mean(axis=1)), norms)


def nats_by_context(model: Model, network: Network, batch: Batch, contexts: Sequence[int]) -> dict[int, Array]:
    """Mean nats of a frame that is predicted from the so many frames before it alone.

    Of the same frames for all: every fifth one, so that all beats of a bar come, that has the longest context before.
    """
    ends = jnp.arange(max(contexts), len(batch.notes) - 1, _STRIDE)
    counted = batch.mask[ends + 1]

    def of_context(context: int) -> Array:
        def of_frame(end: Array) -> Array:
            window = jax.lax.dynamic_slice_in_dim(batch.notes, end + 1 - context, context + 1)
            return nats(model, network, window)[-1]

        found = jax.lax.map(of_frame, ends)
        return jnp.where(counted, found, 0.0).sum() / counted.sum(dtype=found.dtype)

    return {context: of_context(context) for context in contexts}
