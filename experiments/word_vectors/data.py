"""The text as numbers of words: to train on, to choose by, to report; and as blocks for pairs of words."""

import collections
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from rnnjax.data import Vocabulary, encode, load_text, parallel_streams, stream_window, vocabulary_of
from rnnjax.data.vocabulary import PADDING, parts

HELD_OUT = 0.1  # of the text, its end


class Data(NamedTuple):
    """A text as words, those outside of the vocabulary as one; the last tenth in two halves."""

    train: np.ndarray
    choose: np.ndarray
    report: np.ndarray
    vocabulary: Vocabulary
    source: str

    @property
    def padding(self) -> int:
        return self.vocabulary.entries.index(PADDING)

    def known(self, part: np.ndarray) -> np.ndarray:
        """Of a part of the text the words that are in the vocabulary, side by side."""
        return part[part != self.vocabulary.unknown]

    def counts(self) -> np.ndarray:
        """How often each word comes in what is trained on (V,); 0 for what stands for the unknown."""
        return np.bincount(self.known(self.train), minlength=len(self.vocabulary))


def read(config: ConfigDict) -> Data:
    """The text of a config; its vocabulary is that of what is trained on.

    Raises:
        OSError, ValueError: for a text that cannot be read, or is too short.
    """
    text, source = load_text(config.corpus, max_characters=config.max_characters or None)
    border = round(len(text) * (1 - HELD_OUT))
    size = config.vocabulary_size or _frequent(text[:border], config.least_count)
    vocabulary = vocabulary_of(text[:border] or text, "words", size=size, reserve=True)
    train, held_out = (encode(vocabulary, part, unknown="replace") for part in (text[:border], text[border:]))
    middle = len(held_out) // 2
    data = Data(train, held_out[:middle], held_out[middle:], vocabulary, source)
    try:
        stream_window(parallel_streams(train, config.batch_size), 0, config.sequence_length)
    except ValueError as error:
        raise ValueError(f"corpus {source}, --config.batch_size={config.batch_size}: {error}") from error
    for part in (data.choose, data.report):
        least = config.block_size + 2 * config.window
        if len(data.known(part)) < least:
            raise ValueError(
                f"corpus {source}: a twentieth of it, held out, has {len(data.known(part))} words of the vocabulary: "
                f"expected {least}, for a block with what is near; give a longer text, or a smaller --config.block_size"
            )
    return data


def _frequent(text: str, least: int) -> int:
    """The size of a vocabulary with the words that come so often, what is unknown and padding."""
    return 2 + sum(count >= least for count in collections.Counter(parts(text, "words")).values())


# Blocks


def kept_probability(counts: np.ndarray, threshold: float) -> np.ndarray:
    """Of each word (V,), as word2vec has it: those above a share of the text are dropped at random; 0 keeps all."""
    shares = counts / counts.sum()
    if not threshold:
        return np.ones(len(counts))
    with np.errstate(divide="ignore"):
        return np.minimum(1, np.sqrt(threshold / shares) + threshold / shares)


def subsampled(words: np.ndarray, kept: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A text with each word left out by its probability; those on both sides of it are then neighbours."""
    return words[generator.random(len(words)) < kept[words]]


def blocks(text: np.ndarray, first: int, count: int, length: int, window: int) -> np.ndarray:
    """So many (count, length + 2 window) that follow each other from a word on, the text as a ring.

    Each shares its ends with its neighbours; the words in the middle are in no other.
    """
    around = text.take(np.arange(first - window, first + count * length + window), mode="wrap")
    return np.lib.stride_tricks.sliding_window_view(around, length + 2 * window)[::length]


class Epochs(NamedTuple):
    """A text read again and again, subsampled anew each time: in so many calls, each with as many blocks."""

    calls: int
    blocks: Callable[[int], np.ndarray]
    """(count, L + 2 W) of the call after so many others."""


def epochs(words: np.ndarray, kept: np.ndarray, config: ConfigDict, length: int, seed: int) -> Epochs:
    """Of a text and the probabilities to keep a word, in blocks of L; an epoch does not read what is left over.

    Raises:
        ValueError: if the text does not suffice for a call.
    """
    count = words_a_call(config) // length
    expected = int(kept[words].sum())
    calls = expected // (count * length)
    if not calls:
        raise ValueError(
            f"the text has {expected} words after its frequent ones are subsampled, but a call needs {count * length}: "
            "give a longer text, or a smaller --config.batch_size, --config.sequence_length or --config.steps_a_call"
        )

    @functools.lru_cache(maxsize=2)
    def text_of(epoch: int) -> np.ndarray:
        return subsampled(words, kept, np.random.default_rng([seed, epoch]))

    def of_call(number: int) -> np.ndarray:
        epoch, place = divmod(number, calls)
        return blocks(text_of(epoch), place * count * length, count, length, config.window)

    return Epochs(calls, of_call)


def words_a_call(config: ConfigDict) -> int:
    """That are read in one dispatch, by whatever model."""
    return int(config.steps_a_call * config.batch_size * config.sequence_length)
