"""Cells by family, and by name for experiments and benchmarks."""

from collections.abc import Callable
from functools import partial

from rnnjax.cell import Cell
from rnnjax.cells.elman import elman
from rnnjax.cells.gru import gru
from rnnjax.cells.lstm import lstm, peephole_lstm
from rnnjax.names import lookup

CELLS: dict[str, Callable[..., Cell]] = {
    "elman": elman,
    "lstm": lstm,
    "peephole_lstm": peephole_lstm,
    "gru": gru,
    "gru_reset_after": partial(gru, reset="after"),
}
"""Constructors by name, each called with the hidden size."""


def cell_named(name: str) -> Callable[..., Cell]:
    """The constructor of that name; a ``ValueError`` with the nearest valid names for any other."""
    return lookup("cell", name, CELLS)
