"""n-grams: the next word from how often it followed the last ones, by interpolated modified Kneser-Ney smoothing.

A word that followed a history c times has the share (c - D) / total after it. What the discounts D leave over is
divided as the next lower order says, which looks at the history without its first word, down to the uniform
distribution. Below the highest order c does not count how often a word came, but after how many different words (Chen
and Goodman, 1999).
"""

import collections
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rnnjax.data import sliding_windows

Words = tuple[int, ...]

FALLBACK = (0.0, 0.5, 1.0, 1.5)
"""Discounts of counts 0, 1, 2, and 3 or more where a text is too small, or too regular, to tell them (as in KenLM)."""


class Order(NamedTuple):
    """What histories of one length say about the next word.

    Attributes:
        share: the share of each word that was seen after a history, by the history and the word.
        left: the share that is left for the order below, by the history; an unseen history leaves all of it.
    """

    share: dict[Words, float]
    left: dict[Words, float]


class Ngrams(NamedTuple):
    """Orders from 1 up, what fills a history before the text begins, and the number of words in the vocabulary."""

    orders: tuple[Order, ...]
    padding: int
    size: int

    @property
    def counts(self) -> int:
        """How many n-grams of all orders have a number of their own."""
        return sum(len(order.share) for order in self.orders)


def fit(tokens: np.ndarray, order: int, *, padding: int, size: int) -> Ngrams:
    """The model of a text (N,) with tokens below ``size``; a model of order 1 knows only how frequent each word is."""
    counts = collections.Counter(_grams(tokens, order, padding))
    orders = [_smoothed(counts)]
    for _ in range(order - 1):
        counts = collections.Counter(gram[1:] for gram in counts)  # after how many different words
        orders.insert(0, _smoothed(counts))
    return Ngrams(tuple(orders), padding, size)


def probability(model: Ngrams, history: Sequence[int], word: int) -> float:
    """The probability of a word after a history of at least as many words as the model looks back on."""
    words = (*history, word)
    found = 1 / model.size
    for length, order in enumerate(model.orders, start=1):
        gram = words[-length:]
        found = order.share.get(gram, 0.0) + order.left.get(gram[:-1], 1.0) * found
    return found


def losses(model: Ngrams, tokens: np.ndarray) -> np.ndarray:
    """-ln p (N,) in nats of every word of a text; before the text begins, histories are padding."""
    grams = _grams(tokens, len(model.orders), model.padding)
    return np.array([-math.log(probability(model, gram[:-1], gram[-1])) for gram in grams])


def discounts(counts: collections.Counter[Words]) -> tuple[float, ...]:
    """The discounts of counts 0, 1, 2, and 3 or more, from how many n-grams have each count."""
    having = collections.Counter(counts.values())
    if not all(having[count] for count in (1, 2, 3)):
        return FALLBACK
    y = having[1] / (having[1] + 2 * having[2])
    found = (0.0, *(count - (count + 1) * y * having[count + 1] / having[count] for count in (1, 2, 3)))
    return found if all(discount > 0 for discount in found[1:]) else FALLBACK


def _smoothed(counts: collections.Counter[Words]) -> Order:
    discount = discounts(counts)
    totals, kept = collections.Counter[Words](), collections.defaultdict[Words, float](float)
    for gram, count in counts.items():
        totals[gram[:-1]] += count
        kept[gram[:-1]] += discount[min(count, 3)]
    share = {gram: (count - discount[min(count, 3)]) / totals[gram[:-1]] for gram, count in counts.items()}
    return Order(share, {history: kept[history] / total for history, total in totals.items()})


def _grams(tokens: np.ndarray, order: int, padding: int) -> list[Words]:
    """Each word of a text after the ``order - 1`` before it."""
    windows, words = sliding_windows(tokens, order, padding)
    return list(map(tuple, np.column_stack([windows[:, 1:], words]).tolist()))
