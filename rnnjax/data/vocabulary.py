"""Text to numbers and back, by characters, words or bytes.

A vocabulary is plain data that is saved with a model.
"""

import collections
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rnnjax.arguments import of_their_kinds
from rnnjax.checks import check_whole_number, told
from rnnjax.names import lookup

Unit = Literal["characters", "words", "bytes"]
Answer = Literal["error", "skip", "replace"]

UNKNOWN = "\ufffd"
"""Stands for every character that is not in the vocabulary."""

UNKNOWN_WORD, PADDING = "<unk>", "<pad>"
"""The entry for every unknown word, and the entry that fills a window before a text begins."""

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]|\n")
_CLOSING, _OPENING = set(".,;:!?%)]}\u2026\u2019\u201d"), set("([{\u201c")


@dataclass(frozen=True)
class Vocabulary:
    """The entries that have a number; its length is the number of entries.

    Attributes:
        unit: "characters", "words" (of letters and digits, where each other sign and each line end is a word, and
            spaces are not kept) or "bytes" (of UTF-8).
        entries: the most frequent first, ties in code point order. If rarer entries were left out or unknown ones are
            expected, the last entry stands for the unknown.
    """

    unit: Unit
    entries: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def unknown(self) -> int | None:
        """The number of the entry that stands for the unknown, or None."""
        name = UNKNOWN_WORD if self.unit == "words" else UNKNOWN
        return self.entries.index(name) if self.unit != "bytes" and name in self.entries else None


BYTES = Vocabulary("bytes", tuple(map(chr, range(256))))
"""All bytes; no text has an unknown one."""


class UnknownError(ValueError):
    """The error for a text with something that is not in the vocabulary."""


@of_their_kinds
def vocabulary_of(
    text: str, unit: Unit = "characters", *, size: int | None = None, reserve: bool = False
) -> Vocabulary:
    """The vocabulary of a text: its ``size`` most frequent entries, or all 256 bytes.

    Args:
        text: the text that it is made from, usually the training part.
        unit: the unit of the entries.
        size: the greatest number of entries, including the one for the unknown; None for all.
        reserve: whether to have an entry for the unknown, and for words one for padding, in any case.

    Raises:
        ValueError: for an empty text, an unknown unit, or a size below 2.
    """
    lookup("unit", unit, {"characters": None, "words": None, "bytes": None})
    if not text:
        raise ValueError("the text is empty: expected some to make a vocabulary from")
    if size is not None and size < 2:
        raise ValueError(f"size is {size}: expected at least 2 {unit}")
    if unit == "bytes":
        return BYTES
    special = [PADDING, UNKNOWN_WORD] if unit == "words" else [UNKNOWN]
    counts = collections.Counter(parts(text, unit))
    ordered = [each for each in sorted(counts, key=lambda each: (-counts[each], each)) if each not in special]
    occurring = [each for each in special if each in counts]
    fits = size is None or len(ordered) + len(occurring) <= size
    added = occurring if fits and not reserve else special
    kept = ordered if fits and not reserve else ordered[: None if size is None else max(size - len(added), 0)]
    return Vocabulary(unit, (*kept, *added))


@of_their_kinds
def encode(vocabulary: Vocabulary, text: str, *, unknown: Answer = "error") -> np.ndarray:
    """The numbers (N,) of a text, int32.

    Args:
        vocabulary: of the model.
        text: any text; an empty one has no numbers.
        unknown: what to do with anything that is not in the vocabulary: "error", "skip" it, or "replace" it.

    Raises:
        UnknownError: for something that is not in the vocabulary, with its place in the text and what can be done.
        ValueError: for "replace" without an entry for the unknown, or for another answer.
    """
    lookup("answer to the unknown", unknown, {"error": None, "skip": None, "replace": None})
    if vocabulary.unit == "bytes":
        return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32)
    numbers = {entry: number for number, entry in enumerate(vocabulary.entries)}
    instead = _instead(vocabulary, unknown)
    found = []
    for each in parts(text, vocabulary.unit):
        number = numbers.get(each, instead)
        if number is None:
            raise UnknownError(_unknown(vocabulary, each, text))
        if number >= 0:
            found.append(number)
    return np.array(found, np.int32)


@of_their_kinds
def decode(vocabulary: Vocabulary, tokens: Iterable[int]) -> str:
    """The text of numbers; for words with the usual spaces and without padding.

    Raises:
        ValueError: for a number that is not in the vocabulary.
        TypeError: for anything but whole numbers.
    """
    if getattr(tokens, "ndim", 1) != 1:
        raise ValueError(f"tokens are {told(tokens)}: expected (N,), one text")
    numbers = [check_whole_number("a token", token) for token in tokens]
    if wrong := [number for number in numbers if not 0 <= number < len(vocabulary)]:
        raise ValueError(f"a token is {wrong[0]}: expected 0 to {len(vocabulary) - 1}, one of the vocabulary's")
    if vocabulary.unit == "bytes":
        return bytes(numbers).decode("utf-8", errors="replace")
    entries = [vocabulary.entries[number] for number in numbers]
    return "".join(entries) if vocabulary.unit == "characters" else _spaced(entries)


def parts(text: str, unit: Unit) -> Sequence[str]:
    """The pieces of a text, each of which has one number."""
    if unit == "bytes":
        return [chr(byte) for byte in text.encode("utf-8")]
    return text if unit == "characters" else _WORD.findall(text)


def _instead(vocabulary: Vocabulary, answer: Answer) -> int | None:
    """The number for the unknown, -1 to leave it out, None to raise an error."""
    if answer == "replace" and vocabulary.unknown is None:
        raise ValueError(
            f"the vocabulary of {len(vocabulary)} {vocabulary.unit} has no entry for the unknown: expected "
            'unknown="skip" or "error"'
        )
    return {"error": None, "skip": -1, "replace": vocabulary.unknown}[answer]


def _unknown(vocabulary: Vocabulary, each: str, text: str) -> str:
    place = text.index(each)
    if vocabulary.unit == "words":  # not inside of a longer word
        place = next(found.start() for found in _WORD.finditer(text) if found.group() == each)
    line, column = text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
    kind, known = vocabulary.unit.removesuffix("s"), f"{len(vocabulary)} {vocabulary.unit}"
    return (
        f"the {kind} {each!r} (line {line}, column {column}) is not among the {known} "
        'that the model knows: leave it out of the text, or pass unknown="skip" or "replace"'
    )


def _spaced(words: Sequence[str]) -> str:
    text = ""
    for word in words:
        if word == PADDING:
            continue
        tight = not text or text[-1] in _OPENING | {"\n"} or word in _CLOSING | {"\n"}
        text += word if tight else f" {word}"
    return text
