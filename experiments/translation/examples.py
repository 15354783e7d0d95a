"""What both tasks have in common: pairs to learn from, and sources with all that is right for each."""

from collections.abc import Sequence
from typing import NamedTuple

Target = tuple[str, ...]
"""The symbols of a translation."""


class Pair(NamedTuple):
    """To train on."""

    source: str
    target: Target


class Example(NamedTuple):
    """To test on.

    Attributes:
        source: what is to be translated.
        references: all that is right.
        asked: what is tested by it, as "unseen dates".
        length: of the source, in dates or letters.
        locale: of a date, as Babel names it.
        form: the same of its format.
    """

    source: str
    references: tuple[Target, ...]
    asked: str
    length: int
    locale: str = ""
    form: str = ""


class Task(NamedTuple):
    """All that a study is made of.

    Attributes:
        train: pairs.
        validation: examples that nothing is learned from, for the curves.
        test: examples that are looked at once, at the end of training.
        unit: of an example's length, "dates" or "letters".
        longest: such units, of a source to train on.
        joint: what stands between the symbols of a translation where it is printed.
        source: what was read, for records.
    """

    train: Sequence[Pair]
    validation: Sequence[Example]
    test: Sequence[Example]
    unit: str
    longest: int
    joint: str
    source: str
