"""Text from any file, or from Python's own sources, docstrings and manual."""

import ast
import os
import platform
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnjax.arguments import of_their_kinds
from rnnjax.checks import positive_integer
from rnnjax.data.vocabulary import vocabulary_of

DOCSTRINGS = "docstrings"
"""In place of a path it stands for the docstrings of the standard library; ./docstrings is a file of that name."""

PROSE = "prose"
"""Likewise, it stands for these docstrings and the topics that ``help()`` explains, each paragraph once."""


class Corpus(NamedTuple):
    """A text as token numbers.

    Attributes:
        tokens: (characters,) int32, indices into ``vocabulary``.
        vocabulary: the characters, most frequent first; the last one is U+FFFD where rarer ones were left out.
        source: what was read, for records.
    """

    tokens: np.ndarray
    vocabulary: tuple[str, ...]
    source: str


class Text(NamedTuple):
    """The text that was read, and its source, for records."""

    text: str
    source: str


@of_their_kinds
def load_text(path: str = "", *, max_characters: int | None = None) -> Text:
    """Read a text file, or by default the sources of the standard library.

    Args:
        path: a UTF-8 text file. Empty for the standard library of the running Python, with its files in a fixed random
            order, so that any part of the text is like any other. "docstrings" for its docstrings alone, which are
            mostly English prose. "prose" for these docstrings and the topics of ``pydoc``, shuffled likewise, with each
            paragraph once, since topics repeat each other and a model would learn the repetitions.
        max_characters: the greatest number of characters to read; None for all.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if the file cannot be read.
        ValueError: for a directory, an empty file, or one that is not UTF-8.
    """
    if path in (DOCSTRINGS, PROSE):
        text, source = _read_docstrings(max_characters) if path == DOCSTRINGS else _read_prose(max_characters)
    else:
        text, source = (_read_file(Path(path)), path) if path else _read_standard_library(max_characters)
    if not text:
        raise ValueError(f"corpus {source} is empty: expected text; give another file")
    return Text(text[:max_characters], source)


@of_their_kinds
def load_corpus(path: str = "", *, max_characters: int | None = None, max_vocabulary: int = 96) -> Corpus:
    """The same text as token numbers; characters beyond the ``max_vocabulary`` most frequent become U+FFFD.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a directory, an empty file, one that is not UTF-8 or has only one character, or a max_vocabulary
            below 2.
    """
    text, source = load_text(path, max_characters=max_characters)
    if max_vocabulary < 2:
        raise ValueError(f"max_vocabulary is {max_vocabulary}: expected at least 2 characters")
    vocabulary = vocabulary_of(text, size=max_vocabulary)
    if len(vocabulary) < 2:
        raise ValueError(f"corpus {source} has one character over and over: expected two or more; give another text")
    return Corpus(_numbers(vocabulary.entries, text), vocabulary.entries, source)


def _numbers(characters: tuple[str, ...], text: str) -> np.ndarray:
    """The numbers of all characters at once, by a table of code points; unknown ones get the last number."""
    points = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), np.uint32)
    table = np.full(max(int(points.max()), *map(ord, characters)) + 1, len(characters) - 1, np.int32)
    table[[ord(character) for character in characters]] = np.arange(len(characters), dtype=np.int32)
    return table[points]


@of_their_kinds
def random_windows(tokens: np.ndarray, generator: np.random.Generator, length: int, batch: int) -> np.ndarray:
    """``batch`` passages of ``length`` consecutive tokens from random places, time-major: (length, batch).

    Raises:
        ValueError: if there are fewer than ``length`` tokens.
    """
    if len(tokens) < positive_integer("length", length):
        raise ValueError(
            f"the corpus has {len(tokens)} characters here, but a window needs {length}: "
            "give a longer text or a shorter sequence length"
        )
    starts = generator.integers(0, len(tokens) - length + 1, size=positive_integer("batch", batch))
    return tokens[starts + np.arange(length)[:, None]]


def _read_file(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"corpus {path} does not exist: give the path of a UTF-8 text file")
    if not path.is_file():
        raise ValueError(f"corpus {path} is not a file: give the path of one UTF-8 text file")
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise OSError(f"corpus {path} cannot be read ({error.strerror}): give a text file that can") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"corpus {path} is not UTF-8 text: byte {error.object[error.start]:#04x} at position {error.start}; "
            f"convert it first, for instance iconv -f latin1 -t utf-8 {path}"
        ) from error


def _read_standard_library(max_characters: int | None) -> tuple[str, str]:
    files = (file.read_text(encoding="utf-8", errors="replace") for file in _standard_library_files())
    return _joined(files, max_characters), f"Python {platform.python_version()} standard library"


def _read_docstrings(max_characters: int | None) -> tuple[str, str]:
    """The docstrings of modules, classes and functions, with an empty line after each."""
    texts = (f"{docstring}\n\n" for file in _standard_library_files() for docstring in _docstrings(file))
    return _joined(texts, max_characters), f"docstrings of the Python {platform.python_version()} standard library"


def _read_prose(max_characters: int | None) -> tuple[str, str]:
    """The docstrings and the topics of ``help()``, files and topics shuffled together, with each paragraph once."""
    from pydoc_data.topics import topics

    sources: list[Path | str] = [*_standard_library_files(), *(topics[name] for name in sorted(topics))]
    order = np.random.default_rng(0).permutation(len(sources))
    shuffled = (sources[place] for place in order)
    texts = (text for each in shuffled for text in ([each] if isinstance(each, str) else _docstrings(each)))
    source = f"docstrings and pydoc topics of the Python {platform.python_version()} standard library"
    return _joined((f"{text}\n\n" for text in _paragraphs_once(texts)), max_characters), source


def _paragraphs_once(texts: Iterable[str]) -> Iterator[str]:
    seen = set[str]()
    for text in texts:
        new = [each for each in dict.fromkeys(text.split("\n\n")) if each not in seen]
        seen.update(new)
        if new:
            yield "\n\n".join(new)


def _joined(texts: Iterable[str], max_characters: int | None) -> str:
    """The texts one after the other; no more of them are read than it takes."""
    read, length = [], 0
    for text in texts:
        read.append(text)
        length += len(text)
        if max_characters is not None and length >= max_characters:
            break
    return "".join(read)


def _docstrings(file: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes in a file that is only parsed
        tree = ast.parse(file.read_text(encoding="utf-8", errors="replace"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring


def _standard_library_files() -> list[Path]:
    root = Path(sysconfig.get_paths()["stdlib"])
    left_out = {"test", "tests", "idle_test", "site-packages", "dist-packages", "encodings", "pydoc_data"}  # tables
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders[:] = set(folders) - left_out  # not walked through
        found.extend(Path(folder, file) for file in files if file.endswith(".py"))
    if not found:
        raise ValueError(f"no Python sources under {root}: this Python comes without them; give a text file instead")
    found.sort()
    np.random.default_rng(0).shuffle(found)
    return found
