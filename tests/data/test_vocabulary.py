"""Vocabularies, and what is made of a text with them: there and back, and what is unknown."""

import dataclasses
import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from rnnjax.data import UnknownError, Vocabulary, decode, encode, vocabulary_of
from rnnjax.data.vocabulary import PADDING, UNKNOWN, UNKNOWN_WORD

TEXT = "Jane had a quick lunch in the bistro.\nThen she — yes! — left; the bill (12 €) was paid."


@pytest.mark.parametrize("unit", ["characters", "bytes"])
@hypothesis.given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_text_comes_back_as_it_was(unit, text):
    vocabulary = vocabulary_of(text, unit)
    tokens = encode(vocabulary, text)
    assert tokens.dtype == np.int32
    assert decode(vocabulary, tokens) == text


def test_words_come_back_with_the_usual_spaces():
    vocabulary = vocabulary_of(TEXT, "words")
    assert decode(vocabulary, encode(vocabulary, TEXT)) == TEXT
    assert decode(vocabulary, encode(vocabulary, "the   bill .\n the bistro")) == "the bill.\nthe bistro"


def test_words_are_letters_and_digits_with_their_apostrophes_and_signs_one_by_one():
    vocabulary = vocabulary_of("don't stop at 3.5%\n", "words")
    assert sorted(vocabulary.entries) == sorted(["don't", "stop", "at", "3", ".", "5", "%", "\n"])


def test_entries_are_by_frequency_then_code_point_and_the_unknown_last():
    assert vocabulary_of("bbacccd").entries == ("c", "b", "a", "d")
    assert vocabulary_of("bbacccd", size=3).entries == ("c", "b", UNKNOWN)
    assert vocabulary_of("bbacccd", reserve=True).entries == ("c", "b", "a", "d", UNKNOWN)
    assert vocabulary_of("b b a c c c", "words", size=2).entries == (PADDING, UNKNOWN_WORD)
    assert vocabulary_of("b b a c c c d", "words", size=4).entries == ("c", "b", "a", "d")
    assert vocabulary_of("b b a c c c d e", "words", size=4).entries == ("c", "b", PADDING, UNKNOWN_WORD)


def test_a_vocabulary_survives_json():
    vocabulary = vocabulary_of(TEXT)
    saved = json.loads(json.dumps(dataclasses.asdict(vocabulary)))
    assert Vocabulary(saved["unit"], tuple(saved["entries"])) == vocabulary


def test_what_is_unknown_is_named_with_its_place_or_skipped_or_replaced():
    vocabulary = vocabulary_of("abc\n", reserve=True)
    with pytest.raises(
        UnknownError, match=r"the character 'x' \(line 2, column 3\) is not among the 5 characters that"
    ):
        encode(vocabulary, "abc\nabx")
    assert len(vocabulary) == 5
    assert decode(vocabulary, encode(vocabulary, "axb", unknown="skip")) == "ab"
    assert decode(vocabulary, encode(vocabulary, "axb", unknown="replace")) == f"a{UNKNOWN}b"
    words = vocabulary_of("the cat sat", "words", reserve=True)
    with pytest.raises(UnknownError, match=r"the word 'at' \(line 1, column 9\) is not among the 5 words"):
        encode(words, "the cat at")
    assert decode(words, encode(words, "the dog sat", unknown="replace")) == "the <unk> sat"
    with pytest.raises(ValueError, match="has no entry for the unknown"):
        encode(vocabulary_of("abc"), "x", unknown="replace")


def test_bytes_know_every_text_and_half_a_character_is_no_error():
    vocabulary = vocabulary_of("a", "bytes")
    tokens = encode(vocabulary, "é€")
    assert tokens.tolist() == list("é€".encode())
    assert decode(vocabulary, tokens[:-1]) == "é\ufffd"


def test_an_empty_text_has_no_numbers_and_padding_no_text():
    words = vocabulary_of("a b", "words", reserve=True)
    assert encode(words, "").shape == (0,)
    padding = words.entries.index(PADDING)
    assert decode(words, [padding, padding, 0]) == "a"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vocabulary_of(""), "the text is empty"),
        (lambda: vocabulary_of("a", "syllables"), "unknown unit 'syllables'"),
        (lambda: vocabulary_of("a", size=1), "size is 1: expected at least 2 characters"),
        (lambda: encode(vocabulary_of("a"), "a", unknown="drop"), "unknown answer to the unknown 'drop'"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
