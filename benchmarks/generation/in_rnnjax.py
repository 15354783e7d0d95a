"""Writes with ``rnnjax.generate``: one program writes a whole text."""

import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import rnnjax
from benchmarks.generation.network import Size, Writer, first_characters, initial_weights
from experiments.language import model
from rnnjax.adapters.torch import from_torch
from rnnjax.sequence.decoding import Choose
from rnnjax.typing import Key

CELLS: dict[str, Callable[[int], rnnjax.Cell]] = {
    "gru": functools.partial(rnnjax.gru, reset="after"),
    "lstm": rnnjax.lstm,
}


def write(size: Size) -> Writer:
    """The network's weights are constants of the program; a single text has no batch axis."""
    weights = initial_weights(size)
    (recurrent,) = from_torch(weights, size.cell, "recurrent.")
    readout = {"kernel": jnp.asarray(weights["readout.weight"].T), "bias": jnp.asarray(weights["readout.bias"])}
    embedding = {"embedding": jnp.asarray(weights["embedding.weight"])}
    params = model.LanguageParams({"params": embedding}, recurrent, {"params": readout})
    cell, first = CELLS[size.cell](size.hidden), jnp.asarray(first_characters(size))
    first = first[0] if size.streams == 1 else first

    @functools.partial(jax.jit, static_argnames="choose")
    def said(key: Key, choose: Choose) -> tuple[Array, Array]:
        state = cell.initial_state(params.recurrent, first.shape)
        state, outputs = cell.step(params.recurrent, state, model.embed(params, first))
        found = rnnjax.generate(
            cell,
            params.recurrent,
            state,
            model.logits(params, outputs),
            key,
            embed=functools.partial(model.embed, params),
            readout=functools.partial(model.logits, params),
            length=size.length,
            choose=choose,
        )
        return found.tokens, found.logits

    keys = map(jax.random.key, itertools.count())

    def greedy() -> tuple[np.ndarray, np.ndarray]:
        tokens, logits = said(next(keys), rnnjax.greedy)
        return np.asarray(tokens).reshape(size.length, -1), np.asarray(logits).reshape(-1, size.vocabulary)

    return Writer(greedy, lambda: np.asarray(said(next(keys), rnnjax.sample)[0]))
