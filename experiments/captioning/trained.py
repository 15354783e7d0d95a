"""A network that this experiment has trained, and its captions of pictures."""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.captioning import model
from experiments.captioning.grammar import spelled
from experiments.captioning.model import Model, Network
from experiments.common import checkpoint
from experiments.common.averaged import restored
from experiments.common.optimizer import make_optimizer


class Trained(NamedTuple):
    """A trained network, with what is needed to use it."""

    model: Model
    network: Network


class Caption(NamedTuple):
    """A caption that beam search found."""

    words: list[str]  # without the full stop
    probability: float


def load(folder: str | Path) -> Trained:
    """The network of a run, from a folder such as ``runs/captioning/checkpoints/attention-seed0/last``.

    Raises:
        ExperimentError: if there is no checkpoint, or it cannot be read.
    """
    folder = checkpoint.whole(folder)
    about = checkpoint.about(folder)
    config = ConfigDict(about["config"])
    chosen = model.make_model(about["run"]["way"], config)
    return Trained(chosen, restored(folder, functools.partial(model.init, chosen), make_optimizer(config)))


def captions(known: Trained, picture: np.ndarray, beams: int) -> list[Caption]:
    """The captions of a picture (SIDE, SIDE, 3), uint8, the likeliest first."""
    found = _said(known.model, beams, known.network, picture[None])
    return [
        Caption(spelled(numbers), float(np.exp(score)))
        for numbers, score in zip(np.asarray(found.tokens)[..., 0].T, found.log_probabilities[:, 0], strict=True)
    ]


def looked_at(known: Trained, picture: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Attention weights (T, S) before each word of a caption (T,) of a picture."""
    return np.asarray(_looked_at(known.model, known.network, picture[None], numbers[:, None]))[:, 0]


def _of_pictures(which: Model, beams: int, network: Network, pictures: Array) -> rnnjax.Beams:
    return model.said(which, network, model.see(which, network, pictures), beams)


def _weights(which: Model, network: Network, pictures: Array, numbers: Array) -> Array:
    return model.looked_at(which, network, model.see(which, network, pictures), numbers)


_said = jax.jit(_of_pictures, static_argnums=(0, 1))
_looked_at = jax.jit(_weights, static_argnums=0)
