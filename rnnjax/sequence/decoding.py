"""Decoding: tokens drawn one by one, or the likeliest sequences by beam search.

A token is a whole number from 0 to V - 1, where V is the size of the vocabulary. The caller provides the functions that
turn tokens into inputs (``embed``) and outputs into logits (``readout``), for instance an embedding and a dense layer.
A prompt is read with ``unroll``:

    state, outputs = rnnjax.unroll(cell, params, embed(prompt))             prompt (P, ...)
    said = rnnjax.generate(cell, params, state, readout(outputs[-1]), key, embed=embed, readout=readout, length=100)

All functions are pure and take any batch axes. Under ``jax.jit`` they are compiled once for each length.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.arguments import of_their_kinds
from rnnjax.cell import Cell, check_cell
from rnnjax.checks import as_arrays, check_state, positive_integer
from rnnjax.typing import Key, Params, State

Choose = Callable[[Key, Array], Array]
"""``(key, logits (..., V)) -> tokens (...)``."""


@of_their_kinds
def greedy(key: Key, logits: Array) -> Array:
    """The likeliest token of logits (..., V); among equal ones the first."""
    return jnp.argmax(logits, axis=-1)


@of_their_kinds
def sample(key: Key, logits: Array) -> Array:
    """A token drawn from softmax(logits (..., V))."""
    return jax.random.categorical(key, logits)


@of_their_kinds
def temperature(logits: Array, degree: float) -> Array:
    """Logits divided by a degree: below 1 it favours likely tokens, above 1 unlikely ones.

    Raises:
        ValueError: unless the degree is positive. (As it goes to 0 the choice becomes ``greedy``.)
    """
    if not degree > 0:
        raise ValueError(f"temperature is {degree}: expected a positive number; for the likeliest token use greedy")
    return logits / degree


@of_their_kinds
def top_k(logits: Array, count: int) -> Array:
    """Logits (..., V) of the ``count`` largest, -inf elsewhere; any that equal the smallest of these stay, too.

    Raises:
        ValueError: if the count is below 1 or above V.
        TypeError: if it is not a whole number.
    """
    if positive_integer("top_k", count) > logits.shape[-1]:
        raise ValueError(f"top_k is {count}: expected at most {logits.shape[-1]}, the size of the vocabulary")
    least = jax.lax.top_k(logits, count)[0][..., -1:]
    return jnp.where(logits >= least, logits, -jnp.inf)


@of_their_kinds
def nucleus(logits: Array, mass: float) -> Array:
    """Logits (..., V) of the fewest likeliest tokens whose probabilities add up to ``mass``, -inf elsewhere.

    This is nucleus sampling (Holtzman et al., 2020). Any that equal the least likely of these tokens stay, too.

    Raises:
        ValueError: unless 0 < mass <= 1.
    """
    if not 0 < mass <= 1:
        raise ValueError(f"nucleus is {mass}: expected a probability above 0 and at most 1")
    ordered = -jnp.sort(-logits, axis=-1)
    probabilities = jax.nn.softmax(ordered)
    likelier = jnp.cumsum(probabilities, axis=-1) - probabilities
    least = jnp.where(likelier < mass, ordered, jnp.inf).min(axis=-1, keepdims=True)
    return jnp.where(logits >= least, logits, -jnp.inf)


class Generated(NamedTuple):
    """The result of ``generate``.

    Attributes:
        tokens: (T, ...).
        log_probabilities: (T, ...), ln p of each token in the network's own softmax, however it was chosen, and 0 after
            the end. Their sum is the score that the network gives to the text when it reads it.
        state: after the last token has been read.
        logits: (..., V), of the next token; with ``state`` and ``logits`` generation can go on where it stopped.
    """

    tokens: Array
    log_probabilities: Array
    state: State
    logits: Array


@of_their_kinds
def generate(
    cell: Cell,
    params: Params,
    state: State,
    logits: Array,
    key: Key,
    *,
    embed: Callable[[Array], Array],
    readout: Callable[[Array], Array],
    length: int,
    choose: Choose = sample,
    end: int | None = None,
) -> Generated:
    """Tokens that are drawn one after the other, each fed back as the next input.

        token_t = choose(logits_t)        s_t = f(s_{t-1}, embed(token_t))        logits_{t+1} = readout(g(s_t))

    Args:
        cell: any cell, stacks included.
        params: from ``cell.init``.
        state: the state after everything that was read so far.
        logits: (..., V), of the first token.
        key: for all draws; step t uses ``jax.random.fold_in(key, t)``.
        embed: tokens (...) to inputs (..., I).
        readout: outputs (..., O) to logits (..., V).
        length: T, the number of tokens.
        choose: ``sample``, ``greedy`` or any function of a key and logits, such as ``lambda key, logits: sample(key,
            top_k(temperature(logits, 0.8), 40))``.
        end: a token that ends a text; all tokens after it are ``end``, too.

    Raises:
        ValueError: if logits have no vocabulary axis, the length is below 1, ``end`` is not a token, or the state has
            other shapes.
        TypeError: if ``cell`` is not a cell.
    """
    check_cell("generate", cell, "generate(lstm(64), params, state, logits, key, ...)")
    _check(logits, length, end)
    params = as_arrays("params", params)
    check_state(cell, params, state, logits.shape[:-1])

    def step(
        carry: tuple[State, Array, Array], number: Array
    ) -> tuple[tuple[State, Array, Array], tuple[Array, Array]]:
        state, logits, ended = carry
        tokens = choose(jax.random.fold_in(key, number), logits).astype(jnp.int32)
        if end is not None:
            tokens = jnp.where(ended, end, tokens)
        of_tokens = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], axis=-1)[..., 0]
        score = jnp.where(ended, jnp.zeros_like(of_tokens), of_tokens)
        state, outputs = cell.step(params, state, embed(tokens))
        ended = ended if end is None else ended | (tokens == end)
        return (state, readout(outputs).astype(logits.dtype), ended), (tokens, score)

    start = (state, logits, jnp.zeros(logits.shape[:-1], bool))
    (state, logits, _), (tokens, scores) = jax.lax.scan(step, start, jnp.arange(length))
    return Generated(tokens, scores, state, logits)


class Beams(NamedTuple):
    """The result of ``beam_search``, the best sequence first.

    Attributes:
        tokens: (T, K, ...).
        scores: (K, ...), by which the sequences are ordered.
        log_probabilities: (K, ...), ln p of the whole sequence up to its end.
        lengths: (K, ...), in tokens, with the end.
    """

    tokens: Array
    scores: Array
    log_probabilities: Array
    lengths: Array


@of_their_kinds
def beam_search(
    cell: Cell,
    params: Params,
    state: State,
    logits: Array,
    *,
    embed: Callable[[Array], Array],
    readout: Callable[[Array], Array],
    length: int,
    beams: int,
    end: int | None = None,
    length_penalty: float = 0.0,
) -> Beams:
    """The likeliest sequences found by a beam search that keeps ``beams`` of them at each step.

        score = ln p(tokens) / ((5 + L) / 6)^length_penalty        L tokens, up to the end

    One beam gives the ``greedy`` sequence; V^T beams are all possible sequences. Without a length penalty short
    sequences win, since every token lowers the probability; 0.6 to 1 is common (Wu et al., 2016). Sequences that have
    ended stay in the beam until better ones replace them.

    Args:
        cell: any cell, stacks included.
        params: from ``cell.init``.
        state: the state after everything that was read so far.
        logits: (..., V), of the first token.
        embed: tokens (...) to inputs (..., I).
        readout: outputs (..., O) to logits (..., V).
        length: T, the greatest length.
        beams: K, the number of beams.
        end: a token that ends a sequence; None if all sequences have T tokens.
        length_penalty: 0 or more.

    Raises:
        ValueError: if logits have no vocabulary axis, the length or the number of beams is below 1, ``end`` is not a
            token, or the penalty is negative.
        TypeError: if ``cell`` is not a cell.
    """
    check_cell("beam_search", cell, "beam_search(lstm(64), params, state, logits, ...)")
    _check(logits, length, end)
    count, vocabulary = positive_integer("beams", beams), logits.shape[-1]
    if length_penalty < 0:
        raise ValueError(f"length_penalty is {length_penalty}: expected 0 or more")
    batch = logits.shape[:-1]
    params = as_arrays("params", params)
    check_state(cell, params, state, batch)

    def follow(parent: Array, leaf: Array) -> Array:
        """The leaf (K, ...) of each beam's parent."""
        places = parent.reshape(parent.shape + (1,) * (leaf.ndim - parent.ndim))
        return jnp.take_along_axis(leaf, places, axis=0)

    def step(carry: tuple[_Beam, Array], _: None) -> tuple[tuple[_Beam, Array], tuple[Array, Array]]:
        beam, logits = carry
        of_tokens = jax.nn.log_softmax(logits)
        if end is not None:  # a sequence that has ended can only go on with the end, at no cost
            still = jnp.where(jnp.arange(vocabulary) == end, 0.0, -jnp.inf).astype(of_tokens.dtype)
            of_tokens = jnp.where(beam.ended[..., None], still, of_tokens)
        totals, lengths = beam.totals[..., None] + of_tokens, beam.lengths + (~beam.ended).astype(jnp.int32)
        scores = totals / _penalty(lengths, length_penalty)[..., None].astype(totals.dtype)
        candidates = jnp.moveaxis(scores, 0, -2).reshape(*batch, count * vocabulary)
        chosen = jnp.moveaxis(jax.lax.top_k(candidates, count)[1], -1, 0)
        parent, tokens = chosen // vocabulary, chosen % vocabulary
        totals = jnp.take_along_axis(follow(parent, totals), tokens[..., None], axis=-1)[..., 0]
        ended = follow(parent, beam.ended) | (tokens == end if end is not None else False)
        before = jax.tree.map(lambda leaf, own: follow(parent, leaf) if own else leaf, beam.state, per_beam)
        state, outputs = cell.step(params, before, embed(tokens))
        following = _Beam(state, totals, follow(parent, lengths), ended)
        return (following, readout(outputs).astype(logits.dtype)), (parent, tokens)

    state, per_beam = _repeated(cell, params, state, batch, count)
    first = jnp.arange(count).reshape(count, *(1,) * len(batch)) == 0  # the others are copies of it
    totals = jnp.broadcast_to(jnp.where(first, 0.0, -jnp.inf).astype(logits.dtype), (count, *batch))
    lengths, ended = jnp.zeros((count, *batch), jnp.int32), jnp.zeros((count, *batch), bool)
    start = (_Beam(state, totals, lengths, ended), jnp.broadcast_to(logits, (count, *logits.shape)))
    (beam, _), (parents, tokens) = jax.lax.scan(step, start, length=length)
    scores = beam.totals / _penalty(beam.lengths, length_penalty).astype(logits.dtype)
    return Beams(_traced_back(parents, tokens), scores, beam.totals, beam.lengths)


class _Beam(NamedTuple):
    state: State
    totals: Array  # (K, ...), ln p so far; -inf where there is none yet
    lengths: Array
    ended: Array


def _penalty(lengths: Array, power: float) -> Array:
    return ((5 + lengths.astype(jnp.float32)) / 6) ** power


def _repeated(cell: Cell, params: Params, state: State, batch: tuple[int, ...], count: int) -> tuple[State, State]:
    """The state for every beam, and for each leaf whether beams have their own; a clock may be shared."""
    shapes = [jax.eval_shape(lambda axes=axes: cell.initial_state(params, axes)) for axes in (batch, (count, *batch))]
    per_beam = jax.tree.map(lambda one, many: one.shape != many.shape, *shapes)
    repeated = jax.tree.map(
        lambda leaf, own: jnp.broadcast_to(leaf, (count, *leaf.shape)) if own else leaf, state, per_beam
    )
    return repeated, per_beam


def _traced_back(parents: Array, tokens: Array) -> Array:
    """The tokens (T, K, ...) of the final beams, traced back from parent to parent."""

    def back(place: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        parent, token = found
        return jnp.take_along_axis(parent, place, axis=0), jnp.take_along_axis(token, place, axis=0)

    beams = parents.shape[1]
    last = jnp.arange(beams, dtype=parents.dtype).reshape(beams, *(1,) * (parents.ndim - 2))
    return jax.lax.scan(back, jnp.broadcast_to(last, parents.shape[1:]), (parents, tokens), reverse=True)[1]


def _check(logits: Array, length: int, end: int | None) -> None:
    positive_integer("length", length)
    if logits.ndim < 1 or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(f"logits are {logits.dtype}{list(logits.shape)}: expected real numbers (..., V)")
    if end is not None and not 0 <= end < logits.shape[-1]:
        raise ValueError(f"end is {end}: expected a token, 0 to {logits.shape[-1] - 1}")
