"""Surnames by language: what is kept of Faker's lists, and what is said of a damaged one."""

import importlib
import sys

import numpy as np
import pytest

from rnnjax.data import load_surnames
from rnnjax.data import surnames as module

pytest.importorskip("faker", reason="not installed: rnnjax[classification]")


def names_of(data, part):
    """As they are written, a letter that is not known as a question mark."""
    for place, length in enumerate(part.lengths):
        inputs = part.inputs[:length, place]
        assert not part.inputs[length:, place].any()
        assert inputs.sum(axis=1).max() == 1
        yield "".join(data.channels[step.argmax()] if step.any() else "?" for step in inputs)


def provider(locale):
    return importlib.import_module(f"faker.providers.person.{locale}").Provider


def test_every_name_is_in_the_list_of_its_language_alone_and_in_one_part_alone():
    data = load_surnames()
    lists = {name: {each.lower() for each in provider(locale).last_names} for name, locale in module.LANGUAGES.items()}
    written = {part: list(names_of(data, each)) for part, each in (("train", data.train), ("test", data.test))}
    for part, each in (("train", data.train), ("test", data.test)):
        for name, label in zip(written[part], each.labels, strict=True):
            if "?" not in name:
                assert [language for language, names in lists.items() if name in names] == [data.classes[label]]
    assert not any("?" in name for name in written["train"])
    assert not set(written["train"]) & set(written["test"])


def test_languages_have_200_to_400_names_of_which_a_fifth_is_held_out_the_same_each_time():
    data = load_surnames()
    train, test = (np.bincount(part.labels) for part in data[:2])
    assert len(train) == len(data.classes) == 12
    assert (train + test >= 200).all()
    assert (train + test <= module.MOST).all()
    assert (test == (train + test) // 5).all()
    assert (load_surnames().test.inputs == data.test.inputs).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "Faker has 0 surnames that are Spanish alone: expected 200 or more"),
        (("García", "L0pez"), "Faker's Spanish surnames have 'L0pez': expected words of letters"),
        (("García", ""), "Faker's Spanish surnames have '': expected"),
        (("García", None), "Faker's Spanish surnames have None: expected"),
        (("Savage", "Winter") * 300, "Faker has 0 surnames that are Spanish alone"),
    ],
    ids=["none", "a digit", "empty", "missing", "English"],
)
def test_a_damaged_list_is_refused(monkeypatch, names, message):
    monkeypatch.setattr(provider("es_ES"), "last_names", names)
    with pytest.raises(ValueError, match=message):
        load_surnames()


def test_without_faker_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faker", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rnnjax\[classification\]'"):
        load_surnames()
