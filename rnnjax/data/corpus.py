"""Text as a sequence of characters: any file, or the sources of Python's own standard library."""

import collections
import sysconfig
from pathlib import Path
from typing import NamedTuple

import numpy as np

UNKNOWN = "\ufffd"
"""Stands for every character that is not in the vocabulary."""


class Corpus(NamedTuple):
    """A text as token numbers.

    Attributes:
        tokens: (characters,) int32, indices into ``vocabulary``.
        vocabulary: the characters, most frequent first; the last is ``UNKNOWN`` where rarer ones were left out.
        source: what was read, for records.
    """

    tokens: np.ndarray
    vocabulary: tuple[str, ...]
    source: str


def load_corpus(path: str = "", *, max_characters: int | None = None, max_vocabulary: int = 96) -> Corpus:
    """Reads a text file, or by default the standard library's sources, as characters.

    Args:
        path: a UTF-8 text file; empty for the standard library of the running Python, its files in an order shuffled
            once and for all, so that any part of the text is like any other.
        max_characters: reads no more than that; None for all of it.
        max_vocabulary: keeps that many characters, rarer ones become ``UNKNOWN``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a directory, an empty file, or one that is not UTF-8.
    """
    text, source = (_read_file(Path(path)), path) if path else _read_standard_library()
    return encode(text[:max_characters], source, max_vocabulary)


def encode(text: str, source: str, max_vocabulary: int) -> Corpus:
    """The corpus of a text, its vocabulary by frequency (ties in code point order)."""
    if not text:
        raise ValueError(f"corpus {source} is empty: expected text; give another file")
    if max_vocabulary < 2:
        raise ValueError(f"max_vocabulary is {max_vocabulary}: expected at least 2 characters")
    counts = collections.Counter(text)
    ordered = sorted(counts, key=lambda character: (-counts[character], character))
    if len(ordered) <= max_vocabulary:
        vocabulary = ordered
    else:
        vocabulary = [*[character for character in ordered if character != UNKNOWN][: max_vocabulary - 1], UNKNOWN]
    table = np.full(max(map(ord, ordered)) + 1, len(vocabulary) - 1, np.int32)
    table[[ord(character) for character in vocabulary if character in counts]] = [
        index for index, character in enumerate(vocabulary) if character in counts
    ]
    code_points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return Corpus(table[code_points], tuple(vocabulary), source)


def random_windows(tokens: np.ndarray, generator: np.random.Generator, length: int, batch: int) -> np.ndarray:
    """``batch`` passages of ``length`` consecutive tokens from random places, time-major: (length, batch).

    Raises:
        ValueError: if there are fewer than ``length`` tokens.
    """
    if len(tokens) < length:
        raise ValueError(
            f"the corpus has {len(tokens)} characters here, but a window needs {length}: "
            "give a longer text or a shorter sequence length"
        )
    starts = generator.integers(0, len(tokens) - length + 1, size=batch)
    return tokens[starts + np.arange(length)[:, None]]


def _read_file(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"corpus {path} does not exist: give the path of a UTF-8 text file")
    if not path.is_file():
        raise ValueError(f"corpus {path} is not a file: give the path of one UTF-8 text file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"corpus {path} is not UTF-8 text: byte {error.object[error.start]:#04x} at position {error.start}; "
            f"convert it first, for instance iconv -f latin1 -t utf-8 {path}"
        ) from error


def _read_standard_library() -> tuple[str, str]:
    root = Path(sysconfig.get_paths()["stdlib"])
    left_out = {"test", "tests", "idle_test", "site-packages", "dist-packages", "encodings", "pydoc_data"}  # and tables
    files = sorted(f for f in root.rglob("*.py") if not left_out.intersection(f.relative_to(root).parts))
    if not files:
        raise ValueError(f"no Python sources under {root}: this Python comes without them; give a text file instead")
    np.random.default_rng(0).shuffle(files)
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    return "".join(texts), f"Python {sysconfig.get_python_version()} standard library"
