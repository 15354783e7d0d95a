"""Pairs and examples as arrays of numbers, which is what networks read."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from experiments.translation import dates, phonemes
from experiments.translation.examples import Example, Pair, Target, Task

DATES, PLAIN_DATES, PHONEMES = "dates", "plain_dates", "phonemes"

END = 0
"""The number of the symbol that ends a translation; it is also the decoder's first input."""


class Symbols(NamedTuple):
    """The vocabulary of a network, plain data that is saved with it; a number is a place in these tuples, from 1.

    Attributes:
        sources: characters of the training sources; 0 stands for any other.
        targets: symbols of the translations; 0 is the end.
        longest_source: length of the longest source, in characters.
        longest_target: length of the longest translation, in symbols.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    longest_source: int
    longest_target: int


class Batch(NamedTuple):
    """B sources of up to S characters and their translations of up to T symbols, the end included."""

    source: Array  # (S, B)
    source_mask: Array  # (S, B), True at characters
    inputs: Array  # (T, B) of the decoder: the translation, delayed by one step
    targets: Array  # (T, B)
    mask: Array  # (T, B), True up to the end


def read(config: ConfigDict) -> Task:
    """The task that a config names.

    Raises:
        ModuleNotFoundError, OSError, ValueError: if its data cannot be read.
    """
    if config.data == PHONEMES:
        return phonemes.task(config.train_sources)
    sizes = config.train_sources, config.most_dates, config.tested
    if config.data == PLAIN_DATES:
        return dates.task(*sizes, dates.PLAIN_LOCALES, dates.PLAIN_FORMATS)
    return dates.task(*sizes)


def symbols_of(task: Task) -> Symbols:
    """The symbols of the training pairs; the longest lengths are those of all parts."""
    sources = sorted({character for pair in task.train for character in pair.source})
    targets = sorted({symbol for pair in task.train for symbol in pair.target})
    examples = [*task.validation, *task.test]
    texts = [*(pair.source for pair in task.train), *(example.source for example in examples)]
    references = [reference for each in examples for reference in each.references]
    longest_target = max(len(target) for target in (*(pair.target for pair in task.train), *references))
    return Symbols(tuple(sources), tuple(targets), max(map(len, texts)), longest_target)


def batch_of(symbols: Symbols, pairs: Sequence[Pair], steps: tuple[int, int] = (0, 0)) -> Batch:
    """Pairs as numbers, padded to the longest, or to ``steps`` characters and symbols if that is more.

    The end of a translation is not counted in ``steps``. A symbol that is not known counts as the end.
    """
    of_sources, of_targets = ({each: number for number, each in enumerate(known, 1)} for known in symbols[:2])
    source_steps = max([steps[0], *(len(pair.source) for pair in pairs)])
    target_steps = max([steps[1], *(len(pair.target) for pair in pairs)]) + 1
    source, targets = (np.zeros((count, len(pairs)), np.int32) for count in (source_steps, target_steps))
    for place, pair in enumerate(pairs):
        source[: len(pair.source), place] = [of_sources.get(each, 0) for each in pair.source]
        targets[: len(pair.target), place] = [of_targets.get(each, 0) for each in pair.target]
    source_mask = np.arange(source_steps)[:, None] < np.array([len(pair.source) for pair in pairs])
    mask = np.arange(target_steps)[:, None] <= np.array([len(pair.target) for pair in pairs])
    inputs = np.concatenate([np.full((1, len(pairs)), END, np.int32), targets[:-1]])
    return Batch(*(jnp.asarray(each) for each in (source, source_mask, inputs, targets, mask)))


def buckets(symbols: Symbols, pairs: Sequence[Pair], count: int) -> list[Batch]:
    """All pairs, sorted by length and cut into ``count`` equal parts, so that short ones need little padding."""
    ordered = sorted(pairs, key=lambda pair: max(len(pair.source), len(pair.target)))
    borders = [len(ordered) * number // count for number in range(count + 1)]
    return [batch_of(symbols, ordered[first:last]) for first, last in itertools.pairwise(borders)]


def chunks(symbols: Symbols, examples: Sequence[Example], size: int) -> Iterator[tuple[Sequence[Example], Batch]]:
    """Examples, shorter ones first, ``size`` at a time, with their first references.

    All are padded to one of two lengths: to the longest, or, if there are several chunks and they fit, to half of it.
    The last chunk of each length is filled up with empty sources.
    """
    half = -(-symbols.longest_source // 2), -(-symbols.longest_target // 2)
    whole = symbols.longest_source, symbols.longest_target
    short = [each for each in examples if len(examples) > size and _fits(each, half)]
    long = [each for each in examples if not (len(examples) > size and _fits(each, half))]
    for steps, part in ((half, short), (whole, long)):
        for first in range(0, len(part), size):
            chosen = part[first : first + size]
            pairs = [Pair(each.source, each.references[0]) for each in chosen]
            yield chosen, batch_of(symbols, pairs + [Pair("", ())] * (size - len(pairs)), steps)


def _fits(example: Example, steps: tuple[int, int]) -> bool:
    return len(example.source) <= steps[0] and max(map(len, example.references)) <= steps[1]


def spelled(symbols: Symbols, tokens: np.ndarray) -> list[Target]:
    """The translations that tokens (T, B) stand for, each up to its end."""
    found = []
    for row in np.asarray(tokens).T:
        ends = np.flatnonzero(row == END)
        found.append(tuple(symbols.targets[number - 1] for number in row[: ends[0] if len(ends) else None]))
    return found
