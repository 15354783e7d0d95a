"""Surnames of twelve languages, letter by letter, as included in the package Faker."""

import importlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from rnnjax.data.sequences import Labelled, Sequences, padded

LANGUAGES = {
    "Croatian": "hr_HR",
    "Dutch": "nl_NL",
    "English": "en_GB",
    "Estonian": "et_EE",
    "Finnish": "fi_FI",
    "French": "fr_FR",
    "German": "de_DE",
    "Irish": "ga_IE",
    "Italian": "it_IT",
    "Slovak": "sk_SK",
    "Spanish": "es_ES",
    "Swedish": "sv_SE",
}
"""By language, a locale of Faker with at least 400 surnames in Latin letters."""

MOST = 400
"""The greatest number of surnames kept of a language, so that none is much more frequent than others."""

_LEAST = 200
_LONGEST = 20
_SIGNS = " ,'-"
_TESTED_ON = 0.2


def load_surnames() -> Labelled:
    """Surnames of twelve languages with the language as label, letter by letter; x_t (I,) is a one-hot letter.

    Names that occur in two of these languages, or are longer than 20 letters, are left out. Of the others at most 400
    per language are kept, in lower case, and a fifth of them is held out; both draws are fixed. The letters are those
    of the training names; any other letter is a vector of zeros.

    Raises:
        ModuleNotFoundError: if Faker is not installed.
        ValueError: if a list is damaged or has too few names.
    """
    try:
        import faker
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("surnames need Faker: pip install 'rnnjax[classification]'") from error
    lists = {language: _names(language, locale) for language, locale in LANGUAGES.items()}
    known_in = Counter(name for names in lists.values() for name in names)
    generator = np.random.default_rng(0)
    train, test = list[tuple[str, int]](), list[tuple[str, int]]()
    for label, (language, names) in enumerate(lists.items()):
        own = [name for name in names if known_in[name] == 1 and len(name) <= _LONGEST]
        if len(own) < _LEAST:
            raise ValueError(f"Faker has {len(own)} surnames that are {language} alone: expected {_LEAST} or more")
        chosen = [(own[place], label) for place in generator.permutation(len(own))[:MOST]]
        border = int(len(chosen) * _TESTED_ON)
        test, train = test + chosen[:border], train + chosen[border:]
    letters = tuple(sorted({letter for name, _ in train for letter in name}))
    source = f"surnames of Faker {faker.VERSION}"
    return Labelled(_one_hot(train, letters), _one_hot(test, letters), tuple(LANGUAGES), letters, source)


def _names(language: str, locale: str) -> list[str]:
    """The surnames of a language in lower case, each once, sorted."""
    provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
    names = list(getattr(provider, "last_names", ()))
    for name in names:
        if not isinstance(name, str) or not name or not all(map(_is_part, name)):
            raise ValueError(
                f"Faker's {language} surnames have {name!r}: expected words of letters; install another version"
            )
    return sorted({name.lower() for name in names})


def _is_part(character: str) -> bool:
    return character.isalpha() or character in _SIGNS


def _one_hot(names: Sequence[tuple[str, int]], letters: Sequence[str]) -> Sequences:
    known = np.array(letters)
    return padded([np.array(list(name))[:, None] == known for name, _ in names], [label for _, label in names])
