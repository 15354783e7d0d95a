"""What a network makes of text that it was not trained on: read on and on, or in windows from a fresh state.

A part of the text is read at a time, in one shape, so that memory does not grow with the text and one program does all.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

import rnnjax
from experiments.language import model as language_model
from experiments.language.model import LanguageParams
from rnnjax.typing import State

WINDOW = 256
"""Tokens that are read at a time, and of a window that is read from a fresh state."""

Read = Callable[[LanguageParams, np.ndarray, np.ndarray, State], tuple[Any, State]]
"""``loss_sum`` of a cell, compiled."""


def loss_sum(
    cell: rnnjax.Cell, params: LanguageParams, tokens: Array, real: Array, state: State
) -> tuple[Array, State]:
    """The cross-entropies of tokens (T + 1, B), added up in nats where ``real`` (T, B) is 1, and the state after it."""
    losses, state = language_model.token_losses(cell, params, tokens, state)
    return jnp.where(real > 0, losses, 0).sum(), state


def carried_loss(read: Read, params: LanguageParams, streams: np.ndarray, state: State) -> float:
    """Nats a token of streams (N, B), the state carried on through all of them; their first tokens are only read."""
    total = 0.0
    for place in range(0, len(streams) - 1, WINDOW):
        loss, state = read(params, *_filled(streams[place : place + WINDOW + 1], streams.shape[1]), state)
        total += float(loss)
    return total / streams[1:].size


def fresh_loss(read: Read, params: LanguageParams, windows: np.ndarray, state: State, columns: int) -> float:
    """Nats a token of windows (T + 1, N), T at most 256, each from the state on, which is one of so many columns."""
    groups = (windows[:, place : place + columns] for place in range(0, windows.shape[1], columns))
    return sum(float(read(params, *_filled(group, columns), state)[0]) for group in groups) / windows[1:].size


def fresh_windows(tokens: np.ndarray) -> np.ndarray:
    """(T + 1, N), T at most 256, which follow each other and share the token between them."""
    length = min(WINDOW, len(tokens) - 1)
    starts = np.arange((len(tokens) - 1) // length) * length
    return tokens[starts + np.arange(length + 1)[:, None]]


def _filled(tokens: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The tokens at the beginning of (WINDOW + 1, columns), and which of those that are predicted are real."""
    filled = np.zeros((WINDOW + 1, columns), tokens.dtype)
    filled[: tokens.shape[0], : tokens.shape[1]] = tokens
    real = np.zeros((WINDOW, columns), np.float32)
    real[: tokens.shape[0] - 1, : tokens.shape[1]] = 1
    return filled, real
