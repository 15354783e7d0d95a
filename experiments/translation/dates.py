"""Dates as people of many countries write them, by the package Babel, and their translation into ISO 8601.

A source is one date, or several that are separated by semicolons. Its translation has the same dates as 2021-05-03,
separated by spaces. The network is not told the locale. Babel's format "short" is therefore left out, as it has digits
alone and two of them for the year: 5/3/21 is one day in Boston and another one in London.

Three things are held out of training: some days, four locales, and a format in which both weekday and month are
abbreviated.
"""

import datetime
import functools
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from experiments.translation.examples import Example, Pair, Target, Task
from rnnjax.extras import needed

LOCALES = (
    *("en_US", "en_GB", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "pl", "cs", "hu", "ro", "el", "ru", "uk", "tr"),
    *("id", "vi", "et", "hi", "ja", "ko"),
)
HELD_OUT_LOCALES = {"gl": "Galician", "nb": "Norwegian", "sk": "Slovak", "fi": "Finnish"}
"""Three have close relatives among the training locales (Portuguese, Danish, Czech); Finnish has other month names."""

FORMATS = ("full", "long", "medium")
HELD_OUT_FORMAT = "yMMMEd"
"""A skeleton of Unicode's CLDR, which each locale writes in its own way: Mon, May 3, 2021; lun. 3 mai 2021."""

FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)

DATES, UNSEEN_DATES, UNSEEN_FORMAT, UNSEEN_LOCALE, SEVERAL = (
    *("dates", "unseen dates", "unseen format", "unseen locale"),
    "several dates",
)
BETWEEN = "; "
"""What separates the dates of a source."""

LONGER = 2
"""How many dates the longest test sources have more than the longest training sources."""

_VALIDATED, _TESTED = 0.05, 0.10
"""Shares of all days that are for validation and for testing."""

Write = Callable[[datetime.date, str, str], str]
"""From a date, a format and a locale to a text."""


PLAIN_LOCALES, PLAIN_FORMATS = ("en_GB", "de"), ("long",)
"""3 May 2021; 3. Mai 2021: there are so few names that one state can learn to hold a date."""


def task(
    sources: int,
    most_dates: int,
    tested: int,
    locales: Sequence[str] = LOCALES,
    formats: Sequence[str] = FORMATS,
) -> Task:
    """The translation of dates into ISO form.

    Args:
        sources: how many are trained on, equally many of each number of dates.
        most_dates: the largest number of dates in a training source.
        tested: test sources of each locale and format; ten times as many are tested of each number of dates.
        locales: in which the training sources are written.
        formats: in which the training sources are written.

    Raises:
        ModuleNotFoundError: without Babel.
        ValueError: if Babel lacks one of the locales.
    """
    write, generator = _writer(), np.random.default_rng(0)
    learned, validated, unseen = _days(generator)

    def drawn(days: Sequence[datetime.date], count: int) -> tuple[str, Target]:
        chosen = [days[place] for place in generator.integers(len(days), size=count)]
        texts = [write(day, str(generator.choice(formats)), str(generator.choice(locales))) for day in chosen]
        return BETWEEN.join(texts), iso(chosen)

    def several(days: Sequence[datetime.date], counts: Sequence[int]) -> list[Example]:
        found = [(count, *drawn(days, count)) for count in counts]
        return [Example(text, (target,), SEVERAL, count) for count, text, target in found]

    def asked(name: str, of_locales: Sequence[str], of_formats: Sequence[str], count: int) -> list[Example]:
        return [
            Example(write(day, form, locale), (iso([day]),), name, 1, locale, form)
            for locale in of_locales
            for form in of_formats
            for day in (unseen[place] for place in generator.integers(len(unseen), size=count))
        ]

    trained_on = [1 + number % most_dates for number in range(sources)]
    train = [Pair(*drawn(learned, count)) for count in trained_on]
    lengths = [length for length in range(1, most_dates + LONGER + 1) for _ in range(10 * tested)]
    test = [
        *asked(UNSEEN_DATES, locales, formats, tested),
        *asked(UNSEEN_FORMAT, locales, (HELD_OUT_FORMAT,), tested),
        *asked(UNSEEN_LOCALE, tuple(HELD_OUT_LOCALES), formats, tested),
        *several(unseen, lengths),
    ]
    validation = several(validated, trained_on[: max(most_dates, min(len(trained_on), 10 * tested))])
    source = f"dates of {FIRST.year} to {LAST.year} in {len(locales)} locales of Babel"
    return Task(train, validation, test, DATES, most_dates, "", source)


def iso(days: Sequence[datetime.date]) -> Target:
    """The characters of the days in ISO form, such as 2021-05-03, with a space between two days."""
    return tuple(" ".join(day.isoformat() for day in days))


def normalized(text: str) -> str:
    """A text as sources are: lower case, in Unicode's form NFKC, without invisible marks, with single spaces."""
    plain = unicodedata.normalize("NFKC", text.lower())
    seen = "".join(character for character in plain if unicodedata.category(character) != "Cf")
    return " ".join(seen.split())


def _days(generator: np.random.Generator) -> tuple[list[datetime.date], ...]:
    """The days for training, for validation and for testing; each day is in one of these parts alone."""
    days = [FIRST + datetime.timedelta(number) for number in range((LAST - FIRST).days + 1)]
    order = generator.permutation(len(days))
    borders = (len(days) * np.array([_VALIDATED, _VALIDATED + _TESTED])).astype(int)
    validated, tested, learned = ([days[place] for place in part] for part in np.split(order, borders))
    return learned, validated, tested


def _writer() -> Write:
    """What writes dates, by Babel.

    Raises:
        ModuleNotFoundError: without Babel.
        ValueError: if Babel lacks one of the locales.
    """
    with needed("babel", by="dates of many countries", extra="translation"):
        import babel
        import babel.dates
    for locale in (*LOCALES, *HELD_OUT_LOCALES):
        try:
            babel.Locale.parse(locale)
        except (babel.UnknownLocaleError, ValueError) as error:
            raise ValueError(
                f"Babel has no locale {locale} ({error}): expected all of its data; install it again"
            ) from error

    @functools.cache
    def pattern(form: str, locale: str) -> str:
        skeletons = babel.Locale.parse(locale).datetime_skeletons
        return str(skeletons[form].pattern) if form in skeletons else form

    def write(day: datetime.date, form: str, locale: str) -> str:
        return normalized(babel.dates.format_date(day, pattern(form, locale), locale))

    return write
