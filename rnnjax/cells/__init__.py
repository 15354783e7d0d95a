"""The cells by family, and by name for experiments and benchmarks."""

from collections.abc import Callable
from functools import partial

from rnnjax.cell import Cell
from rnnjax.cells.autoregressive import narx, tdnn
from rnnjax.cells.dynamical import antisymmetric, cornn, gated_antisymmetric, lem, lipschitz
from rnnjax.cells.elman import elman, indrnn, jordan, leaky, learned_leaky
from rnnjax.cells.gru import gru
from rnnjax.cells.gru_variants import minimal_gated_unit, recurrent_highway, ugrnn
from rnnjax.cells.linear import lru, min_gru, min_lstm, qrnn, sru
from rnnjax.cells.lstm import lstm, peephole_lstm
from rnnjax.cells.lstm_variants import cifg_lstm, janet, layer_norm_lstm, lstm_1997, slstm
from rnnjax.cells.orthogonal import orthogonal_rnn
from rnnjax.cells.timescales import clockwork, mist, scrn
from rnnjax.names import lookup

CELLS: dict[str, Callable[..., Cell]] = {
    "elman": elman,
    "jordan": jordan,
    "leaky": leaky,
    "learned_leaky": learned_leaky,
    "indrnn": indrnn,
    "scrn": scrn,
    "clockwork": clockwork,
    "mist": mist,
    "tdnn": tdnn,
    "narx": narx,
    "antisymmetric": antisymmetric,
    "gated_antisymmetric": gated_antisymmetric,
    "lipschitz": lipschitz,
    "cornn": cornn,
    "lem": lem,
    "orthogonal_rnn": orthogonal_rnn,
    "orthogonal_rnn_cayley": partial(orthogonal_rnn, parametrization="cayley"),
    "lstm": lstm,
    "peephole_lstm": peephole_lstm,
    "gru": gru,
    "gru_reset_after": partial(gru, reset="after"),
    "cifg_lstm": cifg_lstm,
    "lstm_1997": lstm_1997,
    "layer_norm_lstm": layer_norm_lstm,
    "janet": janet,
    "slstm": slstm,
    "minimal_gated_unit": minimal_gated_unit,
    "ugrnn": ugrnn,
    "recurrent_highway": recurrent_highway,
    "min_gru": min_gru,
    "min_lstm": min_lstm,
    "qrnn": qrnn,
    "sru": sru,
    "lru": lru,
}
"""Constructors by name, each called with the hidden size."""


def cell_named(name: str) -> Callable[..., Cell]:
    """The constructor with this name; any other name raises a ``ValueError`` with the nearest valid ones."""
    return lookup("cell", name, CELLS)
