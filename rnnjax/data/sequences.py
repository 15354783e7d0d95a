"""Labelled sequences of any lengths, and handwritten digits as such."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from rnnjax.arguments import of_their_kinds
from rnnjax.names import lookup

SIDE = 8
"""The number of rows of one of scikit-learn's digits, and of pixels in a row."""

_WHITE = 16
_TRAINED_ON = 0.8


class Sequences(NamedTuple):
    """N sequences of up to T steps.

    Attributes:
        inputs: (T, N, I) float32, time first; 0 after the end of a sequence.
        lengths: (N,) int32, at least 1.
        labels: (N,) int32, indices into the classes.
    """

    inputs: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


class Labelled(NamedTuple):
    """Sequences to train on and to test on.

    Attributes:
        train: the training part; T is the length of its longest sequence.
        test: the test part, likewise.
        classes: the names of the labels.
        channels: (I,), the names of the numbers of an input.
        source: what was read, for records.
    """

    train: Sequences
    test: Sequences
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    source: str


def padded(sequences: Sequence[np.ndarray], labels: Sequence[int]) -> Sequences:
    """Sequences (T_n, I) of different lengths as one array."""
    lengths = np.array([len(each) for each in sequences], np.int32)
    inputs = np.zeros((lengths.max(), len(sequences), sequences[0].shape[1]), np.float32)
    for place, each in enumerate(sequences):
        inputs[: len(each), place] = each
    return Sequences(inputs, lengths, np.array(labels, np.int32))


@of_their_kinds
def load_digits(by: Literal["rows", "pixels"] = "rows") -> Labelled:
    """The 1,797 handwritten digits of 8 x 8 pixels in scikit-learn (Alpaydin & Kaynak, 1998), as sequences.

    By rows, x_t (8,) is a row, t = 1, ..., 8; by pixels, x_t (1,) is a pixel, t = 1, ..., 64, row by row. Both are from
    0 to 1. A fifth is held out by a fixed draw, the same as in ``rnnjax.tasks.sequential_digits``.

    Raises:
        ModuleNotFoundError: if scikit-learn is not installed.
        ValueError: for another ``by``, or if images are damaged.
    """
    shape = lookup("by", by, {"rows": (SIDE, SIDE), "pixels": (SIDE * SIDE, 1)})
    images, digits = digit_images()
    order = np.random.default_rng(1).permutation(len(digits))
    border = int(len(digits) * _TRAINED_ON)
    sequences = images.reshape(-1, *shape)
    train, test = (padded(list(sequences[part]), digits[part].tolist()) for part in (order[:border], order[border:]))
    channels = tuple(f"pixel {number + 1}" for number in range(shape[1]))
    return Labelled(train, test, tuple(map(str, range(10))), channels, "scikit-learn digits")


def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """All of these images, (1797, 64) from 0 to 1, and their digits, (1797,); raises like ``load_digits``."""
    try:
        from sklearn.datasets import load_digits as load
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("digits need scikit-learn: pip install 'rnnjax[data]'") from error
    images, digits = (np.asarray(each) for each in load(return_X_y=True))
    _require_whole(images, digits)
    return images / _WHITE, digits


def _require_whole(images: np.ndarray, digits: np.ndarray) -> None:
    if images.ndim != 2 or images.shape[1] != SIDE * SIDE or len(images) != len(digits):
        raise ValueError(
            f"scikit-learn's digits have shapes {images.shape} and {digits.shape}: expected (N, {SIDE * SIDE}) and "
            "(N,); install it again"
        )
    wrong = ~((images >= 0) & (images <= _WHITE)).all(axis=1)  # also True for NaN
    if wrong.any():
        raise ValueError(
            f"scikit-learn's digits have {wrong.sum()} images with pixels missing or outside 0 to {_WHITE}, the first "
            f"is number {wrong.argmax()}: install it again"
        )
    if sorted(set(digits.tolist())) != list(range(10)):
        raise ValueError(f"scikit-learn's digits have labels {sorted(set(digits.tolist()))}: expected each of 0 to 9")
