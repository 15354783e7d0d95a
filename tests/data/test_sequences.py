"""Labelled sequences: padding, and scikit-learn's digits by rows and by pixels."""

import sys

import numpy as np
import pytest

from rnnjax.data import load_digits
from rnnjax.data.sequences import padded
from rnnjax.tasks import digits as task_of_digits

datasets = pytest.importorskip("sklearn.datasets", reason="not installed: rnnjax[classification]")


def test_padding_is_zero_behind_each_sequence_and_time_comes_first():
    found = padded([np.full((2, 3), 5.0), np.full((4, 3), 7.0)], [1, 0])
    assert found.inputs.shape == (4, 2, 3)
    assert found.inputs[:, :, 0].T.tolist() == [[5, 5, 0, 0], [7, 7, 7, 7]]
    assert (found.lengths.tolist(), found.labels.tolist()) == ([2, 4], [1, 0])


def test_rows_and_pixels_are_the_same_images_which_scikit_learn_has():
    rows, pixels = load_digits("rows"), load_digits("pixels")
    assert rows.train.inputs.shape == (8, 1437, 8)
    assert pixels.test.inputs.shape == (64, 360, 1)
    whole = datasets.load_digits(return_X_y=True)
    known = {(image / 16).astype(np.float32).tobytes(): digit for image, digit in zip(*whole, strict=True)}
    seen = set()
    for of_rows, of_pixels in zip(rows[:2], pixels[:2], strict=True):
        for place, label in enumerate(of_rows.labels):
            image = of_rows.inputs[:, place].reshape(64)
            assert known[image.tobytes()] == label == of_pixels.labels[place]
            assert (of_pixels.inputs[:, place, 0] == image).all()
            seen.add(image.tobytes())
    assert len(seen) == len(known)  # none is both trained on and tested on, none is left out


def test_the_images_to_train_on_are_those_of_the_task_of_digits():
    images = datasets.load_digits(return_X_y=True)[0] / 16
    order = np.random.default_rng(1).permutation(len(images))[: task_of_digits.TRAINING]
    train = load_digits("rows").train.inputs
    np.testing.assert_allclose(train.swapaxes(0, 1).reshape(-1, 64), images[order], rtol=1e-6)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda images, digits: (images[:, :63], digits),
            r"have shapes \(1797, 63\) and \(1797,\): expected \(N, 64\)",
        ),
        (lambda images, digits: (images[:-1], digits), r"have shapes \(1796, 64\) and \(1797,\)"),
        (lambda images, digits: (images * 2, digits), "images with pixels missing or outside 0 to 16, the first is"),
        (
            lambda images, digits: (np.where(np.arange(1797)[:, None] == 5, np.nan, images), digits),
            "have 1 images .* 5:",
        ),
        (lambda images, digits: (images, np.minimum(digits, 8)), "expected each of 0 to 9"),
    ],
    ids=["pixels short", "images short", "too bright", "missing", "no nine"],
)
def test_damaged_digits_are_refused(monkeypatch, damage, message):
    whole = datasets.load_digits(return_X_y=True)
    monkeypatch.setattr(datasets, "load_digits", lambda return_X_y: damage(*whole))
    with pytest.raises(ValueError, match=message):
        load_digits()


def test_other_ways_through_an_image_are_refused_and_without_scikit_learn_the_extra_is_named(monkeypatch):
    with pytest.raises(ValueError, match="unknown by 'columns'"):
        load_digits("columns")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rnnjax\[data\]'"):
        load_digits()
