"""What both tasks have in common: pairs to train on, and test sources with all of their right translations."""

from collections.abc import Sequence
from typing import NamedTuple

Target = tuple[str, ...]
"""The symbols of a translation."""


class Pair(NamedTuple):
    """A source and its translation, to train on."""

    source: str
    target: Target


class Example(NamedTuple):
    """A source to test on.

    Attributes:
        source: the text to be translated.
        references: all of its right translations.
        asked: what it tests, such as "unseen dates".
        length: the length of the source, in dates or letters.
        locale: the locale of a date, by its name in Babel.
        form: the format of a date, by its name in Babel.
    """

    source: str
    references: tuple[Target, ...]
    asked: str
    length: int
    locale: str = ""
    form: str = ""


class Task(NamedTuple):
    """All data of a study.

    Attributes:
        train: pairs to train on.
        validation: examples that follow the training and choose the search.
        test: examples that are used once, at the end of training.
        unit: in what lengths are counted, "dates" or "letters".
        longest: the length of the longest training sources, in these units.
        joint: what separates the symbols of a translation where it is printed.
        source: where the data are from, for records.
    """

    train: Sequence[Pair]
    validation: Sequence[Example]
    test: Sequence[Example]
    unit: str
    longest: int
    joint: str
    source: str
