"""The translation experiment's data: dates of many countries, the dictionary of pronunciations, both as numbers."""

import datetime
import itertools
from pathlib import Path

import numpy as np
import pytest

from experiments.translation import dates, phonemes, scores
from experiments.translation.data import END, Symbols, batch_of, buckets, chunks, spelled, symbols_of
from experiments.translation.dates import normalized
from experiments.translation.examples import Example, Pair, Target, Task
from experiments.translation.scores import Translated

# Dates


def test_dates_are_written_as_people_of_the_country_do() -> None:
    write, day = dates._writer(), datetime.date(2021, 5, 3)
    assert write(day, "full", "de") == "montag, 3. mai 2021"
    assert write(day, "medium", "en_US") == "may 3, 2021"
    assert write(day, "long", "ja") == "2021年5月3日"
    assert write(day, "long", "ru") == "3 мая 2021 г."  # noqa: RUF001  a narrow space has become an ordinary one
    assert write(day, dates.HELD_OUT_FORMAT, "en_US") == "mon, may 3, 2021"
    assert write(day, dates.HELD_OUT_FORMAT, "fr") == "lun. 3 mai 2021"
    assert dates.iso([day, datetime.date(1950, 12, 31)]) == tuple("2021-05-03 1950-12-31")
    # A digit of full width, a narrow space, a mark that is not seen.
    assert normalized("  \uff13.\u202fMAI\u200f  2021 ") == "3. mai 2021"


@pytest.fixture(scope="module")
def task() -> Task:
    return dates.task(600, 2, 2)


def test_days_locales_and_formats_that_are_held_out_are_in_no_source_to_train_on(task: Task) -> None:
    trained = {text for pair in task.train for text in "".join(pair.target).split(" ")}
    tested = {text for each in task.test for text in "".join(each.references[0]).split(" ")}
    validated = {text for each in task.validation for text in "".join(each.references[0]).split(" ")}
    assert not trained & tested
    assert not trained & validated
    assert not tested & validated
    by_asked = {asked: list(each) for asked, each in itertools.groupby(task.test, lambda each: each.asked)}
    of_unseen = {(each.locale, each.form) for each in by_asked[dates.UNSEEN_DATES]}
    assert of_unseen == set(itertools.product(dates.LOCALES, dates.FORMATS))
    assert len(by_asked[dates.UNSEEN_DATES]) == 2 * len(of_unseen)
    assert {each.locale for each in by_asked[dates.UNSEEN_LOCALE]} == set(dates.HELD_OUT_LOCALES)
    assert {each.form for each in by_asked[dates.UNSEEN_FORMAT]} == {dates.HELD_OUT_FORMAT}
    assert {each.length for each in by_asked[dates.SEVERAL]} == {1, 2, 3, 4}
    assert not set(dates.HELD_OUT_LOCALES) & set(dates.LOCALES)


def test_no_text_is_of_two_days_and_there_are_as_many_days_as_texts(task: Task) -> None:
    write, meaning = dates._writer(), dict[str, str]()
    for locale, form in itertools.product((*dates.LOCALES, *dates.HELD_OUT_LOCALES), dates.FORMATS):
        for day in (datetime.date(2021, month, number) for month in range(1, 13) for number in (1, 3, 11, 12)):
            text = write(day, form, locale)
            assert meaning.setdefault(text, day.isoformat()) == day.isoformat()
    for pair in task.train:
        assert len(pair.source.split(dates.BETWEEN)) == len("".join(pair.target).split(" "))


# Pronunciations


DICTIONARY = """\
a AH0
a(2) EY1
abbey AE1 B IY0
abbey(2) AE1 B IY2
d'artagnan D AH0 R T AE1 N Y AH0 N # foreign french
"""


def test_of_a_dictionary_stress_comments_and_what_then_is_equal_are_removed(tmp_path: Path) -> None:
    file = tmp_path / "some.dict"
    file.write_text(DICTIONARY)
    found = phonemes.load_pronunciations(str(file))
    assert found == {
        "a": (("AH",), ("EY",)),
        "abbey": (("AE", "B", "IY"),),
        "d'artagnan": (("D", "AH", "R", "T", "AE", "N", "Y", "AH", "N"),),
    }


def test_words_are_split_by_their_places_and_keep_all_of_their_pronunciations(tmp_path: Path) -> None:
    file = tmp_path / "some.dict"
    words = [first + second for first, second in itertools.product("abcd", "abcdefghijklmno")]
    lines = [f"{word} AH0 B" for word in words] + [f"{words[4]}(2) EY1", f"{'x' * 21} K S"]
    file.write_text("\n".join(lines))
    task = phonemes.task(path=str(file))
    assert [each.source for each in task.validation] == [words[place] for place in (0, 20, 40)]
    assert [each.source for each in task.test] == [words[place] for place in (1, 2, 21, 22, 41, 42)]
    assert [pair.target for pair in task.train if pair.source == words[4]] == [("AH", "B"), ("EY",)]
    assert len(task.train) == 60 - 9 + 1
    assert [each.source for each in phonemes.task(2, str(file)).test] == [words[1], words[22]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a AH0\nabbey\n", "'abbey' is not a word with its phonemes: expected a line such as 'ward W AO1 R D'"),
        ("a AH0\nab bey AE1 B\n", "line 2: 'ab bey AE1 B' is not a word"),
        ("a AH7\n", "line 1: 'a AH7' is not a word"),
    ],
)
def test_a_damaged_dictionary_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "some.dict"
    file.write_text(text)
    with pytest.raises(ValueError, match="expected") as raised:
        phonemes.load_pronunciations(str(file))
    assert message in str(raised.value)


def test_a_dictionary_that_is_short_not_utf8_or_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "some.dict"
    file.write_text(DICTIONARY)
    monkeypatch.setattr(phonemes, "_of_package", lambda: file)
    with pytest.raises(ValueError, match="has 3 words: expected 125,000 or more; install"):
        phonemes.load_pronunciations()
    file.write_bytes(b"caf\xe9 K\n")
    with pytest.raises(ValueError, match="expected UTF-8 in the format of cmudict"):
        phonemes.load_pronunciations()
    with pytest.raises(FileNotFoundError):
        phonemes.load_pronunciations(str(tmp_path / "nowhere"))


@pytest.mark.slow
def test_the_dictionary_of_the_package_is_whole() -> None:
    found = phonemes.load_pronunciations()
    assert len(found) >= 125_000
    assert found["tomato"] == (("T", "AH", "M", "EY", "T", "OW"), ("T", "AH", "M", "AA", "T", "OW"))
    assert len({phoneme for said in found.values() for each in said for phoneme in each}) == 39


# Numbers


SYMBOLS = Symbols(("a", "b", "c"), ("X", "Y"), 5, 3)
PAIRS = [Pair("ab", ("X",)), Pair("cbz", ("Y", "X"))]


def test_pairs_as_numbers_by_hand() -> None:
    batch = batch_of(SYMBOLS, PAIRS, (4, 2))
    assert batch.source.T.tolist() == [[1, 2, 0, 0], [3, 2, 0, 0]]
    assert batch.source_mask.T.tolist() == [[True, True, False, False], [True, True, True, False]]
    assert batch.targets.T.tolist() == [[1, END, END], [2, 1, END]]
    assert batch.inputs.T.tolist() == [[END, 1, END], [END, 2, 1]]
    assert batch.mask.T.tolist() == [[True, True, False], [True, True, True]]
    assert spelled(SYMBOLS, np.array([[1, 2, 2], [0, 1, 1], [2, 2, 0]])) == [("X",), ("Y", "X", "Y"), ("Y", "X")]


def test_buckets_and_chunks_have_everything_once() -> None:
    pairs = [Pair("abcab"[:length], ("X",) * (1 + length % 3)) for length in (1, 5, 3, 2, 4, 4, 1)]
    found = buckets(SYMBOLS, pairs, 3)
    assert sum(batch.source.shape[1] for batch in found) == 7
    assert [int(batch.source_mask.sum(axis=0).max()) for batch in found] == [1, 3, 5]
    examples = [Example(pair.source, (pair.target,), "words", len(pair.source)) for pair in pairs]
    parts = list(chunks(SYMBOLS, examples, 2))
    assert sorted(example.source for part, _ in parts for example in part) == sorted(pair.source for pair in pairs)
    assert {(batch.source.shape, batch.targets.shape) for _, batch in parts} == {((3, 2), (3, 2)), ((5, 2), (4, 2))}
    for part, batch in parts:
        lengths = batch.source_mask.sum(axis=0)[: len(part)].tolist()
        assert lengths == [len(example.source) for example in part]


def test_symbols_are_those_to_train_on_and_lengths_those_of_all(task: Task) -> None:
    symbols = symbols_of(task)
    assert symbols.targets == tuple(" -0123456789")
    assert set(symbols.sources) == {character for pair in task.train for character in pair.source}
    assert symbols.longest_target == 4 * 11 - 1
    assert symbols.longest_source == max(len(each.source) for each in (*task.train, *task.test, *task.validation))


# Scores


def distance(one: Target, other: Target) -> int:
    """Levenshtein's, by the loop of a textbook."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            above, row[j] = row[j], min(above + (a != b), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def test_symbols_wrong_are_edit_distances_to_the_nearest_reference() -> None:
    generator = np.random.default_rng(0)

    def drawn(least: int) -> Target:
        return tuple(generator.choice([" ", "AH", "B", "AHB"], size=generator.integers(least, 7)))

    examples = [
        Example("x", tuple(drawn(1) for _ in range(generator.integers(1, 4))), "words", 1, "", "") for _ in range(60)
    ]
    said = [drawn(0) for _ in examples]
    edits = length = 0
    for example, each in zip(examples, said, strict=True):
        nearest = min(example.references, key=lambda reference, each=each: distance(reference, each))  # type: ignore[misc]
        edits, length = edits + distance(nearest, each), length + len(nearest)
    translated = Translated(examples, said, [0.0] * 60)
    np.testing.assert_allclose(scores.symbol_error(translated), edits / length)
    assert translated.rights() == [each in example.references for example, each in zip(examples, said, strict=True)]


def test_scores_by_what_was_asked_by_locale_and_by_length_are_counted(task: Task) -> None:
    said = [each.references[0] if len(each.source) % 2 else () for each in task.test]
    rows = list(scores.records(task, Translated(list(task.test), said, [0.0] * len(said))))
    for row in rows:
        chosen = [
            each
            for each in task.test
            if all(
                row.get(name, getattr(each, name)) == getattr(each, name)
                for name in ("asked", "locale", "form", "length")
            )
            and (row["kind"] != "length" or each.asked == dates.SEVERAL)
        ]
        assert row["sources"] == len(chosen)
        np.testing.assert_allclose(row["right"], np.mean([len(each.source) % 2 for each in chosen]))
    assert {row["kind"] for row in rows} == {"result", "locale", "length"}
    assert [row["trained"] for row in rows if row["kind"] == "length"] == [True, True, False, False]
    wrong = list(scores.mistakes(task, Translated(list(task.test), said, [0.0] * len(said))))
    assert len(wrong) == scores.MISTAKES
    assert all(row["said"] == "" and len(row["source"]) % 2 == 0 for row in wrong)
