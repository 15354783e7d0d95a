"""Labelled images from IDX files, fashion-MNIST or scikit-learn's digits."""

import gzip
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnjax.arguments import of_their_kinds

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""The folder of Debian's package dataset-fashion-mnist."""

_IMAGES = "train-images-idx3-ubyte"
_UNSIGNED_BYTES = 8


class Images(NamedTuple):
    """Images in a fixed random order, so that any part of them is like any other.

    Attributes:
        images: (images, pixels) float32, 0 to 1.
        labels: (images,) int32, below ``classes``.
        classes: the number of classes.
        source: what was read, for records.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: int
    source: str


@of_their_kinds
def load_images(path: str = "", *, max_images: int | None = None) -> Images:
    """Read IDX files, plain or gzipped, or by default what is installed: fashion-MNIST, else 1797 digits of 8 x 8.

    Args:
        path: a folder with train-images-idx3-ubyte and train-labels-idx1-ubyte (with .gz or without), as MNIST comes;
            or the file of images itself, whose labels are in the file of the same name with "labels" for "images" and
            "idx1" for "idx3". Empty for what is installed.
        max_images: the greatest number of images to keep; None for all of them.

    Raises:
        FileNotFoundError: if there is no such file, or no labels beside it.
        ValueError: if a file is not IDX of unsigned bytes or is not whole, or the numbers of images and labels differ.
        ModuleNotFoundError: if there is nothing to read without scikit-learn, which is not installed.
    """
    if path or FASHION.is_dir():
        images, labels, source = _read_pair(Path(path or FASHION))
        white = 255
    else:
        images, labels, source = _read_digits()
        white = 16
    chosen = np.random.default_rng(0).permutation(len(images))[:max_images]
    pixels = images[chosen].reshape(len(chosen), -1).astype(np.float32) / np.float32(white)
    return Images(pixels, labels[chosen].astype(np.int32), int(labels.max()) + 1, source)


def _read_pair(path: Path) -> tuple[np.ndarray, np.ndarray, str]:
    file = _present(path / _IMAGES) if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"images {file} do not exist: give an IDX file, or a folder that has {_IMAGES}[.gz]")
    name = file.name.replace("images", "labels").replace("idx3", "idx1")
    labels_file = _present(file.with_name(name.removesuffix(".gz")))
    if name == file.name or not labels_file.is_file():
        raise FileNotFoundError(f"images {file} have no labels: expected them in {file.with_name(name)}")
    images, labels = _read_idx(file, dimensions=3), _read_idx(labels_file, dimensions=1)
    if len(images) != len(labels):
        raise ValueError(f"{file} has {len(images)} images, {labels_file} {len(labels)} labels: expected equally many")
    return images, labels, str(path)


def _present(file: Path) -> Path:
    """The file, or the gzipped one if only that exists."""
    gzipped = file.with_name(file.name + ".gz")
    return gzipped if gzipped.is_file() and not file.is_file() else file


def _read_idx(file: Path, dimensions: int) -> np.ndarray:
    """An array of unsigned bytes: two zeros, type, number of dimensions; sizes, 32 bits, big end first; data."""
    content = file.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{file} cannot be unpacked ({error}): fetch it again") from error
    magic = bytes([0, 0, _UNSIGNED_BYTES, dimensions])
    if content[:4] != magic:
        raise ValueError(
            f"{file} begins with {content[:4].hex() or 'nothing'}: expected {magic.hex()}, an IDX file of unsigned "
            f"bytes in {dimensions} dimension{'s'[: dimensions - 1]}"
        )
    start = 4 + 4 * dimensions
    sizes = tuple(int.from_bytes(content[place : place + 4]) for place in range(4, start, 4))
    expected = start + math.prod(sizes)
    if len(content) != expected or not math.prod(sizes):
        raise ValueError(
            f"{file} has {len(content)} bytes for sizes {' x '.join(map(str, sizes))}: expected {expected}, and at "
            "least one entry; fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)


def _read_digits() -> tuple[np.ndarray, np.ndarray, str]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "no images: install scikit-learn for its digits (pip install 'rnnjax[data]') or Debian's "
            "dataset-fashion-mnist, or give IDX files such as MNIST's"
        ) from error
    digits = load_digits()
    return digits.data, digits.target, "scikit-learn digits"
