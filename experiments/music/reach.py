"""How far back a network hears, by its gradient, and by its loss when it reads fewer frames.

The loss is -ln p of one frame. The norm of its gradient ||dL/dh_{t-l}|| is measured at lag l = 0, 1, ... beats back,
for each chorale by itself. This does not show whether what lies that far back is of use. Therefore frames are also
predicted from the last 1, 2, 4, ... frames alone, by a network that starts from its initial state before them.
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
"""The distance between the frames that are predicted from a few frames alone."""


class Flow(NamedTuple):
    """The norms ||dL/dh||, time forward, over all layers and fields of the state."""

    typical: Array  # (T,), geometric means over chorales
    chorales: Array  # (T, B)


def openings(music: Sequence[Frames], lags: int) -> Array:
    """The first notes (lags + 2, B, 88) of chorales that are long enough, from their silent frame on.

    The loss is that of their last frame.

    Raises:
        ValueError: if no chorale is long enough.
    """
    long = [roll(each)[: lags + 2] for each in music if len(each) > lags]
    if not long:
        raise ValueError(f"--config.lags is {lags}: expected less, because no test chorale has that many frames")
    return jnp.asarray(np.stack(long, axis=1))


def flow(model: Model, network: Network, notes: Array) -> Flow:
    """The flow over notes as ``openings`` gives them, in one backward pass."""

    def loss(unroll: Any, network: Network) -> Array:
        return nats(model, network, notes, unroll)[-1].sum()

    _, _, (found,) = rnnjax.value_grad_and_flow(loss)(network)
    squares = [jnp.square(norms) for norms in jax.tree.leaves(found.examples)]
    norms = jnp.sqrt(jnp.stack(squares).sum(axis=0))
    return Flow(jnp.exp(jnp.log(norms).mean(axis=1)), norms)


def nats_by_context(model: Model, network: Network, batch: Batch, contexts: Sequence[int]) -> dict[int, Array]:
    """The mean loss of frames that are predicted from the last frames alone, by the number of these.

    The frames are the same for all contexts: every fifth one that the longest context fits before, so that all beats of
    a bar occur.
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
