"""Texts to learn from and to be tested on: of the source of brackets, or any real one, in characters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.feedback import source
from rnnjax.data import load_corpus
from rnnjax.typing import Key

BRACKETS = "brackets"
HELD_OUT = 0.1
"""The last part of a text."""


class Data(NamedTuple):
    """Where texts are drawn from.

    Attributes:
        symbols: what a token stands for.
        origin: what was read, for records.
        train: (N,) tokens; None where the source is known and says as much as one likes.
        held_out: the same, of another part.
    """

    symbols: tuple[str, ...]
    origin: str
    train: Array | None
    held_out: Array | None


def load(name: str, max_characters: int, max_vocabulary: int, longest: int) -> Data:
    """Brackets, or what ``rnnjax.data.load_corpus`` reads by that name: a file, docstrings, or nothing for sources.

    Raises:
        ValueError: for a text that has not twice the longest window to be tested on.
        OSError: for one that cannot be read.
    """
    if name == BRACKETS:
        return Data(source.SYMBOLS, f"brackets of {source.KINDS} kinds", None, None)
    corpus = load_corpus(name, max_characters=max_characters, max_vocabulary=max_vocabulary)
    border = int(len(corpus.tokens) * (1 - HELD_OUT))
    train, held_out = np.split(corpus.tokens, [border])
    if len(held_out) < 2 * longest:
        raise ValueError(
            f"corpus {corpus.source} has {len(corpus.tokens):,} characters: expected at least "
            f"{round(2 * longest / HELD_OUT):,}, so that its last tenth has two windows of {longest}; give a longer one"
        )
    return Data(corpus.vocabulary, corpus.source, jnp.asarray(train), jnp.asarray(held_out))


def draw(tokens: Array | None, key: Key, length: int, count: int) -> Array:
    """(T, B) tokens: passages from random places of a text, or texts of the source."""
    if tokens is None:
        return source.draw(key, length, count)
    starts = jax.random.randint(key, (count,), 0, len(tokens) - length + 1)
    return tokens[starts[None] + jnp.arange(length)[:, None]]
