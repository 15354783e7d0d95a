"""The data sets by name, and what networks are given of them."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from experiments.classification.model import Batch
from rnnjax.data import Labelled, Sequences, load_digits, load_speakers, load_surnames

DATA: dict[str, Callable[[], Labelled]] = {
    "speakers": load_speakers,
    "surnames": load_surnames,
    "rows": functools.partial(load_digits, "rows"),
    "pixels": functools.partial(load_digits, "pixels"),
}

AS_THEY_ARE = "surnames"
"""Of which inputs are one-hot; those of all others are standardized."""


def batches(name: str, data: Labelled) -> tuple[Batch, Batch]:
    """What to train on and what to test on; standardized by mean and deviation of what is trained on alone."""
    shift, scale = np.zeros(len(data.channels), np.float32), np.ones(len(data.channels), np.float32)
    if name != AS_THEY_ARE:
        real = data.train.inputs[mask_of(data.train)]
        shift, deviation = real.mean(axis=0), real.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1).astype(np.float32)

    def batch(part: Sequences) -> Batch:
        mask = mask_of(part)
        inputs = np.where(mask[..., None], (part.inputs - shift) / scale, 0).astype(np.float32)
        return Batch(jnp.asarray(inputs), jnp.asarray(mask), jnp.asarray(part.labels))

    return batch(data.train), batch(data.test)


def mask_of(part: Sequences) -> np.ndarray:
    """(T, N), True at real steps."""
    return np.arange(len(part.inputs))[:, None] < part.lengths


def text_of(data: Labelled, place: int) -> str:
    """A test sequence as it is written, if its inputs are letters; else nothing."""
    if not all(len(channel) == 1 for channel in data.channels):
        return ""
    inputs = data.test.inputs[: data.test.lengths[place], place]
    return "".join(data.channels[step.argmax()] if step.any() else "?" for step in inputs)
