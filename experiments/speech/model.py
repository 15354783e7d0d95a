"""A network from the frames of an utterance to their phonemes: convolutions, an LSTM, a dense layer, or some of them.

    cnn    two convolutions over time and frequency, 9 x 9 and 3 x 4, with max pooling over 3 neighbouring bands between
           them, and a linear layer that makes the resulting C maps of 7 bands smaller; at t it sees t - 10, ..., t
    lstm   reads from the first frame to the last; if bidirectional, a second one reads from the last to the first
    dnn    a dense layer with ReLU on each step alone; if nothing is below it, on the frames t - 10, ..., t
    logits_t = y_{t+d} R + c

This follows Sainath et al. (2015) on a small scale: each part reads the outputs of the part before it, and without
convolutions the LSTM reads one frame at a time. With a delay of d frames a network has heard frame t + d when it labels
frame t; a bidirectional network has no delay, as it hears all frames. Where a part is left out, the others are wider,
so that all networks have about the same number of params.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.networks import sizing
from experiments.speech.data import Batch, Stream
from rnnjax.typing import Key, Params

CNN, LSTM, DNN = "cnn", "lstm", "dnn"
PARTS = (CNN, LSTM, DNN)
BIDIRECTIONAL = "bidirectional"
WHOLE = "-".join(PARTS)

CONTEXT = 11
"""Frames that convolutions see, and also a dense layer with nothing below it; the last of them is the present one."""

_FIRST, _SECOND = (9, 9), (3, 4)  # of kernels, frames by bands: 9 + 3 - 1 frames in all
_POOLED = 3


class Network(NamedTuple):
    convolutions: Params  # of ``Convolutions``; None without them
    recurrent: Params  # None without a cell
    dense: Params  # of flax's Dense; None without it
    readout: Params  # of flax's Dense


class Layer(NamedTuple):
    """The parts of a network and their sizes; it can be compared and hashed."""

    parts: tuple[str, ...]
    bidirectional: bool
    maps: int
    reduced: int
    width: int  # units of the cell, in each of its directions, and of the dense layer


class Sizes(NamedTuple):
    """The sizes of inputs and outputs."""

    bands: int
    classes: int


class Convolutions(nn.Module):  # type: ignore[misc]
    """From (T, B, F) to (T, B, reduced); later frames are not seen."""

    maps: int
    reduced: int

    @nn.compact  # type: ignore[untyped-decorator]
    def __call__(self, inputs: Array) -> Array:
        """Applies the convolutions."""
        planes = pooled(nn.relu(nn.Dense(self.maps)(patches(inputs[..., None], _FIRST))))
        planes = nn.relu(nn.Dense(self.maps)(patches(planes, _SECOND)))
        found: Array = nn.Dense(self.reduced)(planes.reshape(*planes.shape[:2], -1))
        return found


def patches(planes: Array, size: tuple[int, int]) -> Array:
    """Patches (T, B, F - bands + 1, bands frames C) that a convolution over planes (T, B, F, C) sees at each place.

    A patch ends with the present frame; before the first frame there are zeros. A dense layer on patches is the
    convolution. On a CPU it takes a tenth of the time of XLA's convolution, whose gradient is slow for few channels.
    """
    frames, bands = size
    before = jnp.zeros((frames - 1, *planes.shape[1:]), planes.dtype)
    padded, places = jnp.concatenate([before, planes]), planes.shape[2] - bands + 1
    columns = jnp.concatenate([padded[t : t + len(planes)] for t in range(frames)], axis=-1)
    return jnp.concatenate([columns[:, :, f : f + places] for f in range(bands)], axis=-1)


def pooled(planes: Array) -> Array:
    """The maximum of every three neighbouring bands of (T, B, F, C); bands left over at the end are dropped."""
    bands = planes.shape[2] // _POOLED
    parts = planes[:, :, : bands * _POOLED].reshape(*planes.shape[:2], bands, _POOLED, planes.shape[-1])
    return parts.max(axis=3)


def parts_of(name: str) -> tuple[tuple[str, ...], bool]:
    """The parts in a name such as "bidirectional:cnn-lstm-dnn", and whether the LSTM has both directions.

    Raises:
        ValueError: for a name of another form.
    """
    first, colon, rest = name.partition(":")
    both = bool(colon) and first == BIDIRECTIONAL
    parts = tuple((rest if both else name).split("-"))
    if parts != tuple(part for part in PARTS if part in parts) or (both and LSTM not in parts):
        raise ValueError(
            f"unknown network {name!r}: expected parts of {WHOLE} in this order, as in cnn-dnn; {BIDIRECTIONAL}: may "
            "stand before them if lstm is one of them"
        )
    return parts, both


def cell_of(layer: Layer) -> rnnjax.Cell | None:
    """The recurrent part, if there is one."""
    if LSTM not in layer.parts:
        return None
    one = rnnjax.lstm(layer.width)
    return rnnjax.bidirectional(one, rnnjax.lstm(layer.width)) if layer.bidirectional else one


def sized_layer(name: str, config: ConfigDict, sizes: Sizes) -> Layer:
    """The network of a name, so wide that it has about as many params as cnn-lstm-dnn with ``hidden_size`` units.

    Raises:
        ValueError: as ``parts_of``.
    """
    parts, both = parts_of(name)
    whole = Layer(PARTS, False, config.maps, config.reduced_size, config.hidden_size)
    target = count_params(whole, sizes)

    def of_width(width: int) -> Layer:
        return Layer(parts, both, config.maps, config.reduced_size, width)

    widths = range(1, target + 1)  # no network has fewer params than units
    return of_width(sizing.nearest_width(widths, target, lambda width: count_params(of_width(width), sizes)))


@functools.lru_cache(maxsize=256)
def count_params(layer: Layer, sizes: Sizes) -> int:
    """The number of params of the whole network."""
    return sizing.count_numbers(jax.eval_shape(lambda: init(layer, sizes, jax.random.key(0))))


def init(layer: Layer, sizes: Sizes, key: Key) -> Network:
    """The network before training."""
    keys, cell = jax.random.split(key, 4), cell_of(layer)
    width, convolutions, recurrent, dense = sizes.bands, None, None, None
    if CNN in layer.parts:
        frames = jnp.zeros((1, 1, sizes.bands))
        convolutions = Convolutions(layer.maps, layer.reduced).init(keys[0], frames)
        width = layer.reduced
    if cell is not None:
        recurrent = cell.init(keys[1], width)
        width = (1 + layer.bidirectional) * layer.width
    if DNN in layer.parts:
        context = CONTEXT if layer.parts == (DNN,) else 1
        dense = nn.Dense(layer.width).init(keys[2], jnp.zeros((1, context * width)))
        width = layer.width
    return Network(convolutions, recurrent, dense, nn.Dense(sizes.classes).init(keys[3], jnp.zeros((1, width))))


def logits(
    layer: Layer,
    network: Network,
    inputs: Array,
    mask: Array,
    unroll: Callable[..., Any] = rnnjax.unroll,
    drop: Callable[[Array, int], Array] = lambda outputs, number: outputs,
) -> Array:
    """Logits (T, B, K) of frames (T, B, F), without any delay.

    Args:
        layer: the parts.
        network: their params.
        inputs: standardized frames.
        mask: (T, B), True at frames.
        unroll: as ``rnnjax.unroll``.
        drop: from the outputs of a part and its place in ``PARTS`` to what dropout leaves of them in training.
    """
    found, cell = inputs, cell_of(layer)
    if CNN in layer.parts:
        found = drop(Convolutions(layer.maps, layer.reduced).apply(network.convolutions, found), 0)
    if cell is not None:
        found = drop(unroll(cell, network.recurrent, found, mask=mask)[1], 1)
    if DNN in layer.parts:
        found = stacked(found) if layer.parts == (DNN,) else found
        found = drop(nn.relu(nn.Dense(layer.width).apply(network.dense, found)), 2)
    answers: Array = nn.Dense(network.readout["params"]["bias"].shape[0]).apply(network.readout, found)
    return answers


def stacked(inputs: Array) -> Array:
    """(T, B, CONTEXT F): each frame together with those before it, and zeros before the first."""
    before = jnp.concatenate([jnp.zeros((CONTEXT - 1, *inputs.shape[1:]), inputs.dtype), inputs])
    return jnp.concatenate([before[place : place + len(inputs)] for place in range(CONTEXT)], axis=-1)


def answers(
    layer: Layer, delay: int, network: Network, batch: Batch, unroll: Callable[..., Any] = rnnjax.unroll
) -> Array:
    """Logits (T, B, K) of utterances, each read ``delay`` frames later; the last frame is followed by zeros."""
    ahead = jnp.zeros((delay, *batch.inputs.shape[1:]), batch.inputs.dtype)
    inputs = jnp.concatenate([batch.inputs, ahead])
    mask = jnp.concatenate([jnp.ones((delay, batch.mask.shape[1]), bool), batch.mask])
    return logits(layer, network, inputs, mask, unroll)[delay:]


class Drawn(NamedTuple):
    """How training draws windows from a stream."""

    windows: int  # in a batch
    frames: int  # in a window, without the delay
    dropout: float  # probability that an output of a part is dropped


def drawn_loss(layer: Layer, delay: int, drawn: Drawn, network: Network, stream: Stream, key: Key) -> Array:
    """Mean loss in nats a frame of random windows, each in a random condition."""
    condition_key, place_key, drop_key = jax.random.split(key, 3)
    conditions = jax.random.randint(condition_key, (drawn.windows,), 0, len(stream.inputs))
    starts = jax.random.randint(place_key, (drawn.windows,), 0, len(stream.labels) - drawn.frames - delay + 1)
    places = starts[None] + jnp.arange(drawn.frames + delay)[:, None]
    inputs, labels = stream.inputs[conditions[None], places], stream.labels[places[: drawn.frames]]

    def drop(outputs: Array, number: int) -> Array:
        if not drawn.dropout:
            return outputs
        kept = jax.random.bernoulli(jax.random.fold_in(drop_key, number), 1 - drawn.dropout, outputs.shape)
        return jnp.where(kept, outputs / (1 - drawn.dropout), 0.0)

    mask = jnp.ones(places.shape, bool)
    found = logits(layer, network, inputs, mask, drop=drop)[delay:]
    return optax.softmax_cross_entropy_with_integer_labels(found, labels).mean()
