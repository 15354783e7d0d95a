"""Recurrent neural networks as pure functions, and where their gradients go.

Cells are NamedTuples of pure functions; ``unroll`` scans them over time, ``jax.grad`` of that is backpropagation
through time, and ``gradient_flow`` measures dL/ds_t at every step and layer.
"""

from rnnjax import initializers
from rnnjax.bidirectional import SequenceLayer
from rnnjax.bidirectional import bidirectional
from rnnjax.bidirectional import chain
from rnnjax.cell import Cell
from rnnjax.cell import Wiring
from rnnjax.cells import CELLS
from rnnjax.cells import cell_named
from rnnjax.cells.activations import ACTIVATIONS
from rnnjax.cells.autoregressive import error_feedback
from rnnjax.cells.autoregressive import narx
from rnnjax.cells.autoregressive import series_parallel
from rnnjax.cells.autoregressive import tdnn
from rnnjax.cells.dynamical import antisymmetric
from rnnjax.cells.dynamical import cornn
from rnnjax.cells.dynamical import gated_antisymmetric
from rnnjax.cells.dynamical import lem
from rnnjax.cells.dynamical import lipschitz
from rnnjax.cells.elman import elman
from rnnjax.cells.elman import indrnn
from rnnjax.cells.elman import jordan
from rnnjax.cells.elman import leaky
from rnnjax.cells.elman import learned_leaky
from rnnjax.cells.gru import gru
from rnnjax.cells.gru_variants import minimal_gated_unit
from rnnjax.cells.gru_variants import recurrent_highway
from rnnjax.cells.gru_variants import ugrnn
from rnnjax.cells.linear import lru
from rnnjax.cells.linear import min_gru
from rnnjax.cells.linear import min_lstm
from rnnjax.cells.linear import qrnn
from rnnjax.cells.linear import sru
from rnnjax.cells.lstm import lstm
from rnnjax.cells.lstm import peephole_lstm
from rnnjax.cells.lstm_variants import cifg_lstm
from rnnjax.cells.lstm_variants import janet
from rnnjax.cells.lstm_variants import layer_norm_lstm
from rnnjax.cells.lstm_variants import lstm_1997
from rnnjax.cells.lstm_variants import slstm
from rnnjax.cells.orthogonal import orthogonal_rnn
from rnnjax.cells.timescales import clockwork
from rnnjax.cells.timescales import mist
from rnnjax.cells.timescales import scrn
from rnnjax.compose import learned_initial_state
from rnnjax.compose import stack
from rnnjax.decay import Decay
from rnnjax.decay import ExampleNorms
from rnnjax.decay import decay
from rnnjax.decay import example_norms
from rnnjax.gradient_flow import GradientFlow
from rnnjax.gradient_flow import gradient_flow
from rnnjax.truncated import truncated_gradient
from rnnjax.unroll import length_mask
from rnnjax.unroll import unroll

__version__ = "0.1.0"

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "Cell",
    "Decay",
    "ExampleNorms",
    "GradientFlow",
    "SequenceLayer",
    "Wiring",
    "antisymmetric",
    "bidirectional",
    "cell_named",
    "chain",
    "cifg_lstm",
    "clockwork",
    "cornn",
    "decay",
    "elman",
    "error_feedback",
    "example_norms",
    "gated_antisymmetric",
    "gradient_flow",
    "gru",
    "indrnn",
    "initializers",
    "janet",
    "jordan",
    "layer_norm_lstm",
    "leaky",
    "learned_initial_state",
    "learned_leaky",
    "lem",
    "length_mask",
    "lipschitz",
    "lru",
    "lstm",
    "lstm_1997",
    "min_gru",
    "min_lstm",
    "minimal_gated_unit",
    "mist",
    "narx",
    "orthogonal_rnn",
    "peephole_lstm",
    "qrnn",
    "recurrent_highway",
    "scrn",
    "series_parallel",
    "slstm",
    "sru",
    "stack",
    "tdnn",
    "truncated_gradient",
    "ugrnn",
    "unroll",
]
