"""The tagging experiment's sentences: the grammar that makes them, and words as numbers."""

import datetime
from collections import Counter, defaultdict

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.tagging import data as tagging_data
from experiments.tagging import grammar
from experiments.tagging.data import batch_of, lexicon_of
from experiments.tagging.grammar import RIGHT, SEEN, Case
from rnnjax.data import Document, TaggedSentence

# The grammar


def others(case: Case) -> tuple[str, ...]:
    """All words but the one that decides."""
    place = case.place + (case.distance if case.side == RIGHT else -case.distance)
    words = case.sentence.words
    return (*words[:place], *words[place + 1 :])


def test_ten_sentences_at_a_time_differ_in_the_word_that_decides_alone_and_are_told_by_chance() -> None:
    cases = grammar.to_test_on(3)
    rights = 0
    for group in zip(*[iter(cases)] * 10, strict=True):
        assert len({(others(case), case.place, case.side, case.distance, case.deciding) for case in group}) == 1
        tags = Counter(case.sentence.tags[case.place] for case in group)
        word = group[0].sentence.words[group[0].place]
        assert tags[grammar.NAME] == round(10 * grammar.SHARE_OF_NAMES[word])
        rights += max(tags.values())  # of the best answer that is the same for all ten
    np.testing.assert_allclose(grammar.chance_level(), rights / len(cases), rtol=1e-12)
    np.testing.assert_allclose(grammar.chance_level(), (4 * 0.5 + 4 * 0.7 + 4 * 0.7) / 12)
    assert len(cases) == 2 * 3 * 2 * 12 * 10


def test_what_decides_stands_where_it_is_said_to_and_held_out_words_are_new() -> None:
    trained = {word for sentence in grammar.to_train_on(6000, 3) for word in sentence.words}
    for case in grammar.to_test_on(3):
        place = case.place + (case.distance if case.side == RIGHT else -case.distance)
        word, tag = case.sentence.words[place], case.sentence.tags[case.place]
        assert case.sentence.words[case.place] in grammar.SHARE_OF_NAMES
        assert word in grammar.DECIDING[case.deciding][tag]
        assert case.sentence.tags[place] == tag
        assert (word in trained) == (case.deciding == SEEN)
    names = {word for kind in grammar.DECIDING.values() for word in kind[grammar.NAME]}
    nouns = {word for kind in grammar.DECIDING.values() for word in kind[grammar.NOUN]}
    assert not names & nouns
    assert all(noun.endswith("s") for noun in nouns)
    assert not any(name.endswith("s") for name in names)


def test_sentences_to_train_on_have_sides_distances_and_names_as_often_as_they_should() -> None:
    sentences = grammar.to_train_on(6000, 4)
    tags: dict[str, Counter[str]] = defaultdict(Counter)
    gaps: Counter[int] = Counter()
    deciding = {word: tag for tag, words in grammar.DECIDING[SEEN].items() for word in words}
    for sentence in sentences:
        (place,) = (i for i, word in enumerate(sentence.words) if word in grammar.SHARE_OF_NAMES)
        (other,) = (i for i, word in enumerate(sentence.words) if word in deciding)
        assert sentence.tags[place] == sentence.tags[other] == deciding[sentence.words[other]]
        gaps[other - place] += 1
        tags[sentence.words[place]][sentence.tags[place]] += 1
    assert sorted(gaps) == [-4, -3, -2, -1, 1, 2, 3, 4]
    assert all(abs(count - 750) < 5 * 750**0.5 for count in gaps.values())
    for word, share in grammar.SHARE_OF_NAMES.items():
        assert abs(tags[word][grammar.NAME] / tags[word].total() - share) < 0.1


# Words as numbers


SENTENCES = [
    TaggedSentence(("the", "bears", "sat"), ("DET", "NOUN", "VERB")),
    TaggedSentence(("bears", "wept", "as", "bears", "do"), ("NOUN", "VERB", "ADP", "NOUN", "VERB")),
    TaggedSentence(("sat",), ("VERB",)),
]
LEXICON = lexicon_of(SENTENCES, ("ADP", "DET", "NOUN", "VERB"), 2)


def test_a_word_is_its_own_number_and_those_of_its_affixes_that_two_words_share() -> None:
    assert LEXICON.words == ("as", "bears", "do", "sat", "the", "wept")
    assert tagging_data.affixes_of("bears", 2) == ["b-", "-s", "be-", "-rs"]
    assert tagging_data.affixes_of("a", 2) == ["a-", "-a", "", ""]
    assert LEXICON.affixes == ("-s", "-t")
    batch = batch_of(LEXICON, [TaggedSentence(("bears", "chat"), ("NOUN", "XYZ")), TaggedSentence((), ())], 3)
    s, t = (LEXICON.affixes.index(each) + 1 for each in ("-s", "-t"))
    assert batch.words.T.tolist() == [[2, 0, 0], [0, 0, 0]]
    assert batch.affixes[:, 0].tolist() == [[0, s, 0, 0], [0, t, 0, 0], [0, 0, 0, 0]]
    assert batch.tags.T.tolist() == [[2, -1, -1], [-1, -1, -1]]
    assert batch.mask.T.tolist() == [[True, True, False], [False] * 3]


def test_chunks_are_batches_of_all_sentences_in_their_order() -> None:
    whole, chunks = batch_of(LEXICON, SENTENCES), tagging_data.in_chunks(LEXICON, SENTENCES, 2)
    assert chunks.words.shape == (2, 5, 2)
    for leaf, parts in zip(whole, chunks, strict=True):
        np.testing.assert_array_equal(jnp.concatenate(list(parts), axis=1)[:, :3], leaf)
    assert not chunks.mask[1, :, 1].any()


def test_longer_sentences_to_train_on_are_cut_and_nothing_is_lost() -> None:
    found = tagging_data.cut(SENTENCES, 2)
    assert [len(each.words) for each in found] == [2, 1, 2, 2, 1, 1]
    assert [word for each in found for word in each.words] == [word for each in SENTENCES for word in each.words]
    assert [tag for each in found for tag in each.tags] == [tag for each in SENTENCES for tag in each.tags]


def test_the_latest_days_are_held_out_whole_and_nothing_of_them_is_trained_on() -> None:
    def recorded(name: str, day: int | None, words: int) -> Document:
        return Document(
            name, datetime.date(1998, 1, day) if day else None, (TaggedSentence((name,) * words, ("X",) * words),)
        )

    documents = [recorded("a", None, 10), recorded("b", 1, 60), recorded("c", 2, 11), recorded("d", 2, 12)]
    train, test = tagging_data.divided([*documents, recorded("e", 3, 7)])
    assert ["".join(sorted(set(each.words))) for each in train] == ["a", "b"]
    assert ["".join(sorted(set(each.words))) for each in test] == ["c", "d", "e"]


def test_typed_words_have_spaces_between_or_are_found() -> None:
    assert tagging_data.words_of("grammar", " Teddy  bears!\n") == ["Teddy", "bears", "!"]
    assert tagging_data.words_of("corpus", "我 鍾意 食 .\n") == ["我", "鍾意", "食", "."]
    assert tagging_data.words_of("corpus", "\n") == []
    pytest.importorskip("pycantonese", reason="not installed: rnnjax[tagging]")
    assert "".join(tagging_data.words_of("corpus", "廣東話好難學?")) == "廣東話好難學?"
    assert len(tagging_data.words_of("corpus", "廣東話好難學?")) > 2
