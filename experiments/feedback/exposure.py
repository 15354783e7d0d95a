"""What it costs that a network reads its own text where it learned from the truth: exposure bias, measured.

Of the source of brackets all is known. After n symbols of its own a network is given the source's true continuation of
just these, and the divergence of what it says from what is true tells how well it goes on:

    bias(n) = KL(p || q) after n symbols of its own - KL(p || q) after n symbols of the source

Of a real text nobody knows how it would go on after another's words. So n characters amid a passage are replaced by
what the network says there, and the loss is read on the k characters that follow, the truth again. The same with n
characters of another passage shows what it costs that the right ones are missing, however good the replacement.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from experiments.feedback import model, source
from experiments.feedback.model import Network
from rnnjax.typing import Key, Params

REPLACEMENTS = ("truth", "own", "foreign")


class Free(NamedTuple):
    """A network's own texts under the source of brackets, by step, means over texts (T,)."""

    nats: Array  # -ln p, of its symbols
    entropy: Array  # of the source in its place
    divergence: Array  # KL(p || q)
    divergence_true: Array  # the same, reading texts of the source


def divergence(network: Network, params: Params, tokens: Array) -> Array:
    """KL(p || q) (T, B) of what a network says while it is fed with texts, p the source's probabilities."""
    true, said = source.read(tokens), jax.nn.log_softmax(model.forced(network, params, tokens))
    return (true * (jnp.log(true) - said)).sum(axis=-1)


def free(network: Network, params: Params, own: Array, true: Array) -> Free:
    """Of own texts (T, B), and of as many of the source."""
    p = source.read(own)
    entropy = -(p * jnp.log(p)).sum(axis=-1)
    found = (source.nats(own), entropy, *(divergence(network, params, texts) for texts in (own, true)))
    return Free(*(each.mean(axis=1) for each in found))


def after_prefix(
    network: Network, params: Params, prefix: Array, lengths: Sequence[int], ahead: int, key: Key
) -> Array:
    """(lengths, ahead), KL(p || q) on the source's continuation of the first n symbols of prefixes (T, B)."""
    room = jnp.zeros((ahead, prefix.shape[1]), prefix.dtype)
    longer = jnp.concatenate([prefix[: max(lengths)], room])

    def of_length(length: Array) -> Array:
        tokens = source.continued(key, longer, length)
        found = divergence(network, params, tokens).mean(axis=1)
        return jax.lax.dynamic_slice_in_dim(found, length, ahead)

    return jax.lax.map(of_length, jnp.array(lengths))


def after_replacement(
    network: Network, params: Params, passages: Array, context: int, lengths: Sequence[int], ahead: int, key: Key
) -> Array:
    """(3, lengths, ahead), nats of what follows in true passages after n characters that were replaced.

    Passages (T, B) are T = context + longest + ahead long; the replacement begins after the context. One by one it is
    the truth, the network's own, and that of another passage, as in ``REPLACEMENTS``.
    """
    longest = max(lengths)
    before, middle = passages[:context], passages[context : context + longest]
    own = model.say(network, params, key, longest, before)
    steps = jnp.arange(len(passages))[:, None]

    def of_length(length: Array, instead: Array) -> Array:
        filled = passages.at[context : context + longest].set(instead)
        tokens = jnp.where(steps < context + length, filled, passages)
        found = model.nats(model.forced(network, params, tokens), passages).mean(axis=1)
        return jax.lax.dynamic_slice_in_dim(found, context + length, ahead)

    replacements = jnp.stack([middle, own, jnp.roll(middle, 1, axis=1)])
    each = jnp.array(lengths)
    return jax.lax.map(lambda instead: jax.lax.map(lambda n: of_length(n, instead), each), replacements)


def distance(one: np.ndarray, other: np.ndarray, order: int, symbols: int) -> float:
    """Total variation, 0 to 1, between the frequencies of n-grams in texts (T, B) and in others."""
    of_one, of_other = (frequencies(np.asarray(texts), order, symbols) for texts in (one, other))
    return float(of_one.sub(of_other, fill_value=0).abs().sum() / 2)


def frequencies(texts: np.ndarray, order: int, symbols: int) -> pd.Series:
    """Of the n-grams within texts (T, B), by the n-gram as one number."""
    windows = np.lib.stride_tricks.sliding_window_view(texts, order, axis=0).reshape(-1, order).astype(np.int64)
    codes = windows @ symbols ** np.arange(order, dtype=np.int64)
    return pd.Series(codes).value_counts(normalize=True)
