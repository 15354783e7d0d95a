"""The network that writes: its size and weights, for both libraries."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common.measure import Call

RECURRENT = {"gru": 3, "lstm": 4}
"""Cells, and how many products of H columns each has."""

Weights = dict[str, np.ndarray]
"""Weights by the names that PyTorch gives them in modules ``embedding``, ``recurrent`` and ``readout``."""


class Size(NamedTuple):
    cell: str
    streams: int
    length: int
    hidden: int
    embedding: int
    vocabulary: int


class Writer(NamedTuple):
    greedy: Callable[[], tuple[Any, Any]]  # likeliest characters (T, B), and logits (B, V) of what comes next
    draw: Call  # writes a text by drawing from the softmax, and has it as a NumPy array


def initial_weights(size: Size) -> Weights:
    """Weights drawn as PyTorch draws them: normal for the embedding, all others uniformly within 1 / sqrt(H)."""
    draw, bound, rows = np.random.default_rng(0), size.hidden**-0.5, RECURRENT[size.cell] * size.hidden
    uniform = {
        "recurrent.weight_ih_l0": (rows, size.embedding),
        "recurrent.weight_hh_l0": (rows, size.hidden),
        "recurrent.bias_ih_l0": (rows,),
        "recurrent.bias_hh_l0": (rows,),
        "readout.weight": (size.vocabulary, size.hidden),
        "readout.bias": (size.vocabulary,),
    }
    weights = {name: draw.uniform(-bound, bound, shape).astype(np.float32) for name, shape in uniform.items()}
    embedding = draw.standard_normal((size.vocabulary, size.embedding), np.float32)
    return weights | {"embedding.weight": embedding}


def first_characters(size: Size) -> np.ndarray:
    """The characters (B,) that the texts begin with."""
    return np.arange(size.streams, dtype=np.int32) % size.vocabulary
