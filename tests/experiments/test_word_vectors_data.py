"""What the word vectors are made of and asked for: the text in blocks, and kinds of words."""

import builtins
import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.common.errors import ExperimentError
from experiments.word_vectors import data as texts
from experiments.word_vectors import main as word_vectors
from experiments.word_vectors import similarity
from rnnjax.data import vocabulary_of
from tests.experiments.test_word_vectors import config_of

# The text


def test_a_block_shares_its_ends_and_every_word_is_in_the_middle_of_one() -> None:
    text = np.arange(20)
    found = texts.blocks(text, 0, 5, 4, 2)
    assert found[0].tolist() == [18, 19, 0, 1, 2, 3, 4, 5]
    assert found[:, 2:-2].ravel().tolist() == text.tolist()


def test_frequent_words_are_subsampled_as_in_word2vec() -> None:
    counts = np.array([900, 90, 10])
    kept = texts.kept_probability(counts, 1e-2)
    shares = counts / 1000
    np.testing.assert_allclose(kept, np.minimum(1, (np.sqrt(shares / 1e-2) + 1) * 1e-2 / shares))
    words = np.repeat([0, 1, 2], 10_000)
    left = np.bincount(texts.subsampled(words, kept, np.random.default_rng(0))) / 10_000
    np.testing.assert_allclose(left, kept, atol=0.015)
    assert (texts.kept_probability(counts, 0.0) == 1).all()


def test_the_blocks_of_a_call_depend_on_its_number_alone() -> None:
    config = config_of(steps_a_call=1, batch_size=4, sequence_length=16)
    words = np.random.default_rng(0).integers(0, 5, 500)
    kept = np.array([0.2, 0.5, 1, 1, 1])
    one, other = (texts.epochs(words, kept, config, 16, 3) for _ in range(2))
    expected = [one.blocks(number) for number in range(3 * one.calls)]
    for number in np.random.default_rng(1).permutation(3 * one.calls):
        np.testing.assert_array_equal(other.blocks(int(number)), expected[number])
    assert (expected[0] != expected[one.calls]).any()  # subsampled anew
    with pytest.raises(ValueError, match="a call needs 64000"):
        texts.epochs(words, kept, config_of(steps_a_call=1000, batch_size=4, sequence_length=16), 16, 3)


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        ("one two three four five six seven", {}, "batch_size=8: there are"),
        ("word " * 2000, {"block_size": 128}, "expected 138, for a block"),
    ],
)
def test_a_text_that_does_not_suffice_is_refused_before_the_workdir_is_opened(
    text: str, fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "text.txt"
    file.write_text(text)
    with pytest.raises(ExperimentError, match=message):
        word_vectors.main(config_of(corpus=str(file), **fields), lambda: pytest.fail("a workdir was opened"))


def test_the_vocabulary_has_all_words_that_come_often_enough(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(30) for _ in range(number + 1)] * 20
    file = tmp_path / "text.txt"
    file.write_text(" ".join(np.random.default_rng(0).permutation(words).tolist()))
    data = texts.read(config_of(corpus=str(file), max_characters=0, vocabulary_size=0, least_count=200))
    counts = collections.Counter(file.read_text()[: round(0.9 * len(file.read_text()))].split())
    assert set(data.vocabulary.entries[:-2]) == {word for word, count in counts.items() if count >= 200}
    assert data.counts()[0] == max(counts.values())
    assert data.vocabulary.unknown not in data.known(data.train)


# Kinds of words


def test_kinds_are_pythons_names_without_those_of_two_kinds() -> None:
    by_kind = similarity.python_names()
    assert {"ValueError", "KeyboardInterrupt"} <= by_kind["exceptions"]
    assert {"append", "split", "items"} <= by_kind["methods"]
    assert by_kind["types"].isdisjoint(by_kind["exceptions"])
    assert all(isinstance(getattr(builtins, name), type) for name in by_kind["types"])
    known = vocabulary_of("ValueError KeyError json sys set append split xyz os bytes array", "words", reserve=True)
    kinds = similarity.kinds_of(known)
    found = {name: {known.entries[w] for w in kinds.words[kinds.labels == k]} for k, name in enumerate(kinds.names)}
    assert found == {
        "exceptions": {"ValueError", "KeyError"},
        "modules": {"array", "json", "os", "sys"},
        "methods": {"append", "split"},
        "types": {"bytes", "set"},
    }


def test_the_nearest_of_the_same_kind_and_separation_by_loops() -> None:
    generator = np.random.default_rng(0)
    labels, vectors = np.repeat([0, 1, 2], [3, 5, 4]), generator.normal(size=(12, 4))
    similar = similarity.cosines(vectors)
    hits, pairs_same, pairs_other = [], [], []
    for a in range(12):
        cosines = [vectors[a] @ vectors[b] / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b]) for b in range(12)]
        best = max((b for b in range(12) if b != a), key=cosines.__getitem__)
        hits.append(labels[a] == labels[best])
        for b in range(a):
            (pairs_same if labels[a] == labels[b] else pairs_other).append(cosines[b])
    np.testing.assert_array_equal(similarity.same_kind_nearest(similar, labels), hits)
    nearer = np.mean([same > other for same in pairs_same for other in pairs_other])
    assert similarity.separation(similar, labels) == pytest.approx(nearer, abs=1e-4)


def test_one_hot_words_are_by_chance_what_they_are() -> None:
    labels = np.repeat([0, 1, 2], [3, 5, 4])
    similar = similarity.cosines(np.eye(12))
    shares = similarity.same_kind_nearest(similar, labels)
    np.testing.assert_allclose(shares, np.repeat([2 / 11, 4 / 11, 3 / 11], [3, 5, 4]))
    assert similarity.chance(labels) == pytest.approx(shares.mean())
    assert similarity.separation(similar, labels) == 0.5


def test_the_interval_is_about_that_of_a_binomial_share() -> None:
    hits = np.repeat([0.0, 1.0], [120, 80])
    low, high = similarity.interval(hits)
    half = 1.96 * np.sqrt(0.4 * 0.6 / 200)
    np.testing.assert_allclose([low, high], [0.4 - half, 0.4 + half], atol=0.012)


def test_neighbours_go_by_the_cosine_and_a_word_without_a_direction_comes_last() -> None:
    vectors = np.array([[1.0, 0], [5, 1], [0, 2], [-1, 0], [0, 0]])
    found = similarity.neighbours(vectors, vectors[0], 3, {0})
    assert [word for word, _ in found] == [1, 2, 4]
    assert found[0][1] == pytest.approx(5 / np.sqrt(26))
