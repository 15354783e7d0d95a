"""A network that this experiment has trained, and the phonemes that it hears in audio."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.common import checkpoint
from experiments.common.averaged import restored
from experiments.common.optimizer import make_optimizer
from experiments.speech import features, model
from experiments.speech.data import Batch, Scale
from experiments.speech.model import Layer, Network, Sizes
from experiments.speech.phonemes import runs

_STEPS = 256
"""Frames are padded to a multiple of this, so that not every length is compiled anew."""


class Trained(NamedTuple):
    """A trained network, with what is needed to use it."""

    name: str
    layer: Layer
    delay: int
    network: Network
    scale: Scale
    classes: tuple[str, ...]


class Stretch(NamedTuple):
    """Neighbouring frames with the same label."""

    start: float  # seconds
    end: float
    phoneme: str
    probability: float  # mean over its frames


def load(folder: str | Path) -> Trained:
    """The network of a run, from a folder such as ``runs/speech/checkpoints/cnn-lstm-dnn-5-seed0/last``.

    Raises:
        ExperimentError: if there is no checkpoint, or it cannot be read.
    """
    folder = checkpoint.whole(folder)
    about = checkpoint.about(folder)
    config, classes = ConfigDict(about["config"]), tuple(about["classes"])
    scale = Scale(*(np.array(about["scale"][name]) for name in Scale._fields))
    sizes = Sizes(len(scale.mean), len(classes))
    layer = model.sized_layer(about["run"]["network"], config, sizes)
    network = restored(folder, functools.partial(model.init, layer, sizes), make_optimizer(config))
    return Trained(folder.parents[1].name, layer, about["run"]["delay"], network, scale, classes)


def probabilities(known: Trained, audio: np.ndarray) -> np.ndarray:
    """The probabilities (T, K) of each class in each frame of audio (N,) at ``features.RATE``.

    Raises:
        ValueError: as ``features.log_mel``.
    """
    inputs = known.scale.standardized(features.log_mel(audio))
    steps = -(-len(inputs) // _STEPS) * _STEPS
    frames = np.zeros((steps, 1, inputs.shape[1]), np.float32)
    frames[: len(inputs), 0] = inputs
    mask = np.arange(steps)[:, None] < len(inputs)
    batch = Batch(jnp.asarray(frames), jnp.asarray(mask), jnp.zeros(mask.shape, jnp.int32))
    return np.asarray(_probabilities(known.layer, known.delay, known.network, batch))[: len(inputs), 0]


def stretches(known: Trained, found: np.ndarray) -> Iterator[Stretch]:
    """The likeliest phonemes by probabilities (T, K), one after the other."""
    said = found.argmax(axis=1)
    for first, end, label in runs(said):
        start, stop = (place * features.HOP / features.RATE for place in (first, end))
        yield Stretch(start, stop, known.classes[label], float(found[first:end, label].mean()))


def _of_batch(layer: Layer, delay: int, network: Network, batch: Batch) -> jax.Array:
    return jax.nn.softmax(model.answers(layer, delay, network, batch), axis=-1)


_probabilities = jax.jit(_of_batch, static_argnums=(0, 1))
