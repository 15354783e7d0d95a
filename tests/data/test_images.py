"""Images: what is read from IDX files and from what is installed, and what is said of files that will not do."""

import builtins
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnjax.data import images as module
from rnnjax.data import load_images

PIXELS = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3) * 8
LABELS = np.array([3, 0, 1, 3, 2], np.uint8)


def idx(array: np.ndarray) -> bytes:
    """The format as its author gives it: magic number, sizes, data."""
    sizes = b"".join(int(size).to_bytes(4, "big") for size in array.shape)
    return b"\x00\x00\x08" + bytes([array.ndim]) + sizes + array.tobytes()


def write(folder: Path, images: bytes = idx(PIXELS), labels: bytes | None = idx(LABELS), end: str = "") -> Path:
    (folder / f"train-images-idx3-ubyte{end}").write_bytes(images)
    if labels is not None:
        (folder / f"train-labels-idx1-ubyte{end}").write_bytes(labels)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read_from_a_folder_or_by_name(tmp_path: Path, packed: bool) -> None:
    end, pack = (".gz", gzip.compress) if packed else ("", bytes)
    write(tmp_path, pack(idx(PIXELS)), pack(idx(LABELS)), end)
    read = load_images(str(tmp_path))
    assert read.images.shape == (5, 6)
    assert read.images.dtype == np.float32
    assert read.labels.dtype == np.int32
    assert read.classes == 4
    order = read.images[:, 0].argsort()  # first pixels rise from image to image
    np.testing.assert_allclose(read.images[order], PIXELS.reshape(5, 6) / 255, rtol=1e-6)
    assert read.labels[order].tolist() == LABELS.tolist()
    by_name = load_images(str(tmp_path / f"train-images-idx3-ubyte{end}"))
    assert (by_name.images == read.images).all()


def test_images_come_in_an_order_of_chance_the_same_each_time(tmp_path: Path) -> None:
    many = np.arange(200, dtype=np.uint8).reshape(200, 1, 1)
    write(tmp_path, idx(many), idx(many[:, 0, 0] // 20))
    read = load_images(str(tmp_path), max_images=50)
    assert len(read.images) == len(read.labels) == 50
    assert read.classes == 10
    assert len(set(read.labels.tolist())) == 10  # of the first 50 as they come there are three
    assert (np.round(read.images[:, 0] * 255).astype(int) // 20 == read.labels).all()
    assert (load_images(str(tmp_path), max_images=50).labels == read.labels).all()


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (
            b"",
            idx(LABELS),
            ValueError,
            "begins with nothing: expected 00000803, an IDX file of unsigned bytes in 3 dim",
        ),
        (idx(LABELS), idx(LABELS), ValueError, "begins with 00000801: expected 00000803"),
        (b"\x00\x00\x0d\x03" + bytes(20), idx(LABELS), ValueError, "begins with 00000d03: expected 00000803"),
        (b"PNG....", idx(LABELS), ValueError, "begins with 504e472e: expected 00000803"),
        (idx(PIXELS)[:-1], idx(LABELS), ValueError, "has 45 bytes for sizes 5 x 2 x 3: expected 46"),
        (idx(PIXELS) + b"x", idx(LABELS), ValueError, "has 47 bytes for sizes 5 x 2 x 3: expected 46"),
        (idx(PIXELS)[:9], idx(LABELS), ValueError, "has 9 bytes for sizes 5 x .*: expected .* fetch it again"),
        (idx(PIXELS[:0]), idx(LABELS[:0]), ValueError, "sizes 0 x 2 x 3: expected 16, and at least one entry"),
        (gzip.compress(idx(PIXELS), mtime=0)[:-9], idx(LABELS), ValueError, "cannot be unpacked .*: fetch it again"),
        (idx(PIXELS), idx(LABELS[:4]), ValueError, "has 5 images, .* 4 labels: expected equally many"),
        (idx(PIXELS), idx(PIXELS), ValueError, "begins with 00000803: expected 00000801, .* in 1 dimension$"),
        (idx(PIXELS), None, FileNotFoundError, "have no labels: expected them in .*train-labels-idx1-ubyte"),
    ],
    ids=[
        "empty",
        "labels for images",
        "other numbers",
        "a picture",
        "a byte short",
        "a byte long",
        "cut in its head",
        "no images",
        "packed and cut",
        "fewer labels",
        "images for labels",
        "no labels",
    ],
)
def test_a_file_that_will_not_do_is_named_with_the_remedy(
    tmp_path: Path, images: bytes, labels: bytes | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        load_images(str(write(tmp_path, images, labels)))
    assert str(tmp_path) in str(raised.value)
    assert str(raised.value).count("\n") == 0


def test_a_path_that_is_not_there_is_told_with_what_was_looked_for(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(
            FileNotFoundError, match="do not exist: give an IDX file, or a folder that has train-images"
        ):
            load_images(str(path))


def test_labels_are_not_taken_from_the_file_of_images_itself(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_bytes(idx(PIXELS))
    with pytest.raises(FileNotFoundError, match="have no labels"):
        load_images(str(tmp_path / "pictures"))


def test_what_is_installed_comes_first_and_digits_where_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FASHION", write(tmp_path))
    assert load_images().source == str(tmp_path)
    monkeypatch.setattr(module, "FASHION", tmp_path / "none")
    datasets = pytest.importorskip("sklearn.datasets")
    digits = load_images()
    known = datasets.load_digits(return_X_y=True)
    assert digits.classes == 10
    assert digits.images.shape == (1797, 64)
    assert digits.images.max() == 1
    rows = {(row / 16).astype(np.float32).tobytes(): label for row, label in zip(*known, strict=True)}
    assert all(rows[image.tobytes()] == label for image, label in zip(digits.images, digits.labels, strict=True))


def test_without_scikit_learn_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("sklearn"):
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(module, "FASHION", tmp_path / "none")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rnnjax\[data\]'"):
        load_images()
