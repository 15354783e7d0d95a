"""Text as numbers and back: characters, words or bytes. A vocabulary is plain data, to be saved with a model."""

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
"""The same for words; and what fills a window before a text begins."""

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]|\n")
_CLOSING, _OPENING = set(".,;:!?%)]}\u2026\u2019\u201d"), set("([{\u201c")


@dataclass(frozen=True)
class Vocabulary:
    """What there is a number for; its length is how many entries it has.

    Attributes:
        unit: "characters", "words" (of letters and digits, each other sign and each line end one of its own; spaces are
            not kept) or "bytes" (of UTF-8).
        entries: the most frequent first, ties in code point order; last, where rarer ones were left out or others are
            to be expected, what stands for the unknown.
    """

    unit: Unit
    entries: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def unknown(self) -> int | None:
        """The number of what stands for the unknown, if there is one."""
        name = UNKNOWN_WORD if self.unit == "words" else UNKNOWN
        return self.entries.index(name) if self.unit != "bytes" and name in self.entries else None


BYTES = Vocabulary("bytes", tuple(map(chr, range(256))))
"""All there are: no text has an unknown one."""


class UnknownError(ValueError):
    """A text has something that the vocabulary has not."""


@of_their_kinds
def vocabulary_of(
    text: str, unit: Unit = "characters", *, size: int | None = None, reserve: bool = False
) -> Vocabulary:
    """The vocabulary of a text, its ``size`` most frequent entries; of bytes, all 256.

    Args:
        text: what it is made from: the part that is trained on.
        unit: what is counted.
        size: keeps no more, the one for the unknown included; None for all of them.
        reserve: has one for the unknown, and for words one for padding, in any case.

    Raises:
        ValueError: for an empty text, an unknown unit, a size below 2.
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
        text: any; an empty one has no numbers.
        unknown: what to do with what the vocabulary has not: "error", "skip" or "replace" it.

    Raises:
        UnknownError: names it, its place in the text, and what can be done.
        ValueError: to replace without an entry for the unknown, or for another answer.
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
    """The text of numbers; of words, with spaces where they are usual, and without padding.

    Raises:
        ValueError: for a number that the vocabulary has not.
        TypeError: for what is no whole number.
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
    """A text in pieces, each of which is one number."""
    if unit == "bytes":
        return [chr(byte) for byte in text.encode("utf-8")]
    return text if unit == "characters" else _WORD.findall(text)


def _instead(vocabulary: Vocabulary, answer: Answer) -> int | None:
    """The number for the unknown, -1 to leave it out, None where it is an error."""
    if answer == "replace" and vocabulary.unknown is None:
        raise ValueError(
            f"the vocabulary of {len(vocabulary)} {vocabulary.unit} has no entry for the unknown: expected "
            'unknown="skip" or "error"'
        )
    return {"error": None, "skip": -1, "replace": vocabulary.unknown}[answer]


def _unknown(vocabulary: Vocabulary, each: str, text: str) -> str:
    place = text.index(each)
    if vocabulary.unit == "words":  # not inside of a longer one
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
