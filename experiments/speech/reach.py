"""How far the label of one frame reaches: the gradient of that decision by the distance from the frame.

The decision for class k at frame t has the log odds  d = z_k - log sum over j != k of exp z_j,  where z are the logits
at that frame. Two gradients are measured at each frame s: ||dd/dx_s||, with respect to what is heard, and ||dd/ds_s||,
with respect to the states of the LSTM, for each direction by itself.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import rnnjax
from experiments.networks.decision import log_odds
from experiments.speech import model
from experiments.speech.data import Batch
from experiments.speech.model import Layer, Network
from experiments.speech.phonemes import CLASSES, SILENCE

_ASKED_EACH = 3
"""Frames of an utterance whose decisions are measured, each in a copy of the utterance."""


class Flow(NamedTuple):
    """Typical norms (medians over decisions) by distance -L, ..., L in frames; 0 where there is no gradient."""

    inputs: Array  # (2 L + 1,) ||dd/dx||
    states: dict[str, Array]  # by direction, (2 L + 1,) ||dd/ds||


class Asked(NamedTuple):
    """Utterances, and in each the frame whose decision is differentiated."""

    batch: Batch
    places: Array  # (B,)


def asked(batch: Batch, lags: int) -> Asked:
    """Frames with a phoneme, evenly spaced in each utterance that is long enough.

    Raises:
        ValueError: if no utterance has a phoneme with ``lags`` frames on either side.
    """
    lengths, labels = np.asarray(batch.mask).sum(axis=0), np.asarray(batch.labels)
    chosen, places = [], []
    for number, length in enumerate(lengths):
        there = np.flatnonzero(labels[:length, number] != CLASSES.index(SILENCE))
        there = there[(there >= lags) & (there < length - lags)]
        if len(there):
            fractions = (np.arange(_ASKED_EACH) + 0.5) / _ASKED_EACH
            places += there[(fractions * len(there)).astype(int)].tolist()
            chosen += [number] * _ASKED_EACH
    if not chosen:
        raise ValueError(
            f"--config.lags is {lags}: expected less, because no test utterance has that many frames on either side"
        )
    return Asked(Batch(*(leaf[:, np.array(chosen)] for leaf in batch)), jnp.array(places))


def flow(layer: Layer, delay: int, network: Network, given: Asked, lags: int) -> Flow:
    """The flow of all decisions of ``given``, in one backward pass."""
    batch, places = given

    def decided(unroll: Callable[..., Any], inputs: Array) -> Array:
        found = model.answers(layer, delay, network, batch._replace(inputs=inputs), unroll)
        return log_odds(found[places, jnp.arange(len(places))]).sum()

    examples: Any = ()
    if model.LSTM in layer.parts:
        _, of_inputs, (found,) = rnnjax.value_grad_and_flow(decided)(batch.inputs)
        examples = found.examples if layer.bidirectional else (found.examples,)
    else:
        of_inputs = jax.grad(lambda inputs: decided(rnnjax.unroll, inputs))(batch.inputs)
    steps = places[None] + jnp.arange(-lags, lags + 1)[:, None]

    def typical(norms: Array) -> Array:
        """The typical norms (2 L + 1,) of norms (T, B)."""
        return jnp.median(jnp.take_along_axis(norms, steps, axis=0), axis=1)

    states = {name: typical(_norms(fields)) for name, fields in zip(("forward", "backward"), examples, strict=False)}
    return Flow(typical(jnp.linalg.norm(of_inputs, axis=-1)), states)


def _norms(fields: Any) -> Array:
    """Norms (T, B) over all fields of a state."""
    return jnp.sqrt(jnp.stack([jnp.square(norms) for norms in jax.tree.leaves(fields)]).sum(axis=0))
