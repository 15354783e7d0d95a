"""The data sets by name, and sentences as the numbers that networks are given."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from experiments.tagging import grammar
from experiments.tagging.grammar import Case
from experiments.tagging.model import Batch
from rnnjax.data import Document, TaggedSentence, load_cantonese
from rnnjax.data.cantonese import segmented
from rnnjax.data.vocabulary import parts

GRAMMAR, CORPUS = "grammar", "corpus"

TESTED_ON = 0.2
"""Of a corpus, the share of words in the documents that are held out, the latest ones."""

MIDDLE = "middle"
"""Of a sentence, a word in it."""

MOST_ASKED = 256


class Data(NamedTuple):
    """Sentences to train on and to test on.

    Attributes:
        train: as they are.
        test: the same.
        cases: of the grammar, what is asked of each sentence to test on; of a corpus nothing.
        tags: all there are.
        source: what was read, for records.
    """

    train: Sequence[TaggedSentence]
    test: Sequence[TaggedSentence]
    cases: Sequence[Case]
    tags: tuple[str, ...]
    source: str


class Lexicon(NamedTuple):
    """What a network knows of words, plain data, to be saved with it.

    A word is read as itself, if it was trained on, and by its affixes: its first and last 1, ..., n letters. Numbers
    are places in these tuples, from 1; 0 stands for any other word, and for no affix.
    """

    words: tuple[str, ...]
    affixes: tuple[str, ...]  # "-ford", "roo-"
    longest_affix: int
    tags: tuple[str, ...]  # from 0


def read(config: ConfigDict) -> Data:
    """The sentences of a config.

    Raises:
        ModuleNotFoundError, OSError, ValueError: for a corpus that cannot be read.
    """
    if config.data == GRAMMAR:
        cases = grammar.to_test_on(config.distances)
        train = grammar.to_train_on(config.train_sentences, config.distances)
        return Data(train, [case.sentence for case in cases], cases, grammar.TAGS, "Generated grammar")
    documents = load_cantonese()
    train, test = divided(documents)
    tags = tuple(sorted({tag for each in train for tag in each.tags}))
    source = f"HKCanCor of pycantonese, {len(documents)} recordings"
    return Data(train, test, (), tags, source)


def divided(documents: Sequence[Document]) -> tuple[list[TaggedSentence], list[TaggedSentence]]:
    """Whole documents, in the order of their days, to train on and to test on.

    To test on are those of the latest days, as many as have a fifth of all words, or more: a day is not divided.
    """
    words = np.array([sum(len(sentence.words) for sentence in each.sentences) for each in documents])
    border = int(np.searchsorted(np.cumsum(words), (1 - TESTED_ON) * words.sum()))
    days = [each.date for each in documents]
    border = days.index(days[border])
    train, test = (
        [sentence for document in part for sentence in document.sentences]
        for part in (documents[:border], documents[border:])
    )
    return train, test


def lexicon_of(train: Sequence[TaggedSentence], tags: tuple[str, ...], longest_affix: int) -> Lexicon:
    """All words of what is trained on, and the affixes that two or more of them have."""
    words = sorted({word for sentence in train for word in sentence.words})
    counts = Counter(affix for word in words for affix in affixes_of(word, longest_affix) if affix)
    return Lexicon(tuple(words), tuple(sorted(a for a, count in counts.items() if count > 1)), longest_affix, tags)


def affixes_of(word: str, longest: int) -> list[str]:
    """The first and the last 1, ..., n letters, 2 n of them; empty where the word is shorter."""
    found = []
    for length in range(1, longest + 1):
        found += [f"{word[:length]}-", f"-{word[-length:]}"] if length <= len(word) else ["", ""]
    return found


def batch_of(lexicon: Lexicon, sentences: Sequence[TaggedSentence], steps: int = 0) -> Batch:
    """Sentences as numbers, padded to the longest or to so many steps; a tag that the lexicon has not is -1."""
    steps = max([steps, *(len(sentence.words) for sentence in sentences)])
    of_words, of_affixes = ({each: place for place, each in enumerate(known, 1)} for known in lexicon[:2])
    of_tags = {each: place for place, each in enumerate(lexicon.tags)}
    words = np.zeros((steps, len(sentences)), np.int32)
    affixes = np.zeros((steps, len(sentences), 2 * lexicon.longest_affix), np.int32)
    tags = np.full((steps, len(sentences)), -1, np.int32)
    for place, sentence in enumerate(sentences):
        for step, (word, tag) in enumerate(zip(sentence.words, sentence.tags, strict=True)):
            words[step, place], tags[step, place] = of_words.get(word, 0), of_tags.get(tag, -1)
            affixes[step, place] = [of_affixes.get(each, 0) for each in affixes_of(word, lexicon.longest_affix)]
    lengths = np.array([len(sentence.words) for sentence in sentences])
    mask = np.arange(steps)[:, None] < lengths
    return Batch(*(jnp.asarray(each) for each in (words, affixes, mask, tags)))


def in_chunks(lexicon: Lexicon, sentences: Sequence[TaggedSentence], size: int) -> Batch:
    """The same as C batches of so many sentences, equally long: leaves (C, T, size, ...); the last has empty ones."""
    empty = [TaggedSentence((), ())] * (-len(sentences) % size)
    batch = batch_of(lexicon, [*sentences, *empty])
    return Batch(*(jnp.moveaxis(leaf.reshape(len(leaf), -1, size, *leaf.shape[2:]), 1, 0) for leaf in batch))


class Asked(NamedTuple):
    """Sentences, and of each the place of a word whose tag is to be explained."""

    batch: Batch
    places: Array  # (B,)


def asked(data: Data, lexicon: Lexicon, distances: int, lags: int) -> dict[str, Asked]:
    """Of what decisions hang on: of the grammar, by its side, what decides from the greatest distance.

    Of a corpus, the middle words of sentences that reach so many words to either side, 256 of them at most.

    Raises:
        ValueError: if there is no such sentence.
    """
    if not data.cases:
        long = [each for each in data.test if len(each.words) > 2 * lags][:MOST_ASKED]
        if not long:
            raise ValueError(f"--config.lags is {lags}: expected fewer, as no sentence to test on reaches so far")
        return {MIDDLE: Asked(batch_of(lexicon, long), jnp.array([len(each.words) // 2 for each in long]))}
    steps = max(len(sentence.words) for sentence in data.test)
    found = {}
    for side in grammar.SIDES:
        cases = [case for case in data.cases if (case.side, case.distance) == (side, distances)]
        batch = batch_of(lexicon, [case.sentence for case in cases], steps)
        found[side] = Asked(batch, jnp.array([case.place for case in cases]))
    return found


def words_of(data: str, sentence: str) -> list[str]:
    """The words of a sentence that was typed, as they are: of Cantonese without spaces pycantonese finds them.

    Raises:
        ModuleNotFoundError: where that is not installed.
    """
    found = sentence.split()
    if data == GRAMMAR:
        return list(parts(" ".join(found), "words"))
    return segmented(found[0]) if len(found) == 1 else found


def as_trained(data: str, word: str) -> str:
    """A word as the data have it: in the grammar there are no capitals, which would tell a name."""
    return word.lower() if data == GRAMMAR else word


def cut(sentences: Sequence[TaggedSentence], longest: int) -> list[TaggedSentence]:
    """To train on: what is longer comes as several, of so many words at most."""
    return [
        TaggedSentence(sentence.words[start : start + longest], sentence.tags[start : start + longest])
        for sentence in sentences
        for start in range(0, len(sentence.words), longest)
    ]
