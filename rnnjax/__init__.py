"""Recurrent neural networks as pure functions, and where their gradients go.

Cells are NamedTuples of pure functions; ``unroll`` scans them over time, ``jax.grad`` of that is backpropagation
through time, and ``gradient_flow`` measures dL/ds_t at every step and layer.
"""

from rnnjax import initializers
from rnnjax.cell import Cell
from rnnjax.cell import Wiring
from rnnjax.cells import CELLS
from rnnjax.cells import cell_named
from rnnjax.cells.activations import ACTIVATIONS
from rnnjax.cells.elman import elman
from rnnjax.cells.gru import gru
from rnnjax.cells.lstm import lstm
from rnnjax.cells.lstm import peephole_lstm
from rnnjax.compose import learned_initial_state
from rnnjax.compose import stack
from rnnjax.decay import Decay
from rnnjax.decay import ExampleNorms
from rnnjax.decay import decay
from rnnjax.decay import example_norms
from rnnjax.gradient_flow import GradientFlow
from rnnjax.gradient_flow import gradient_flow
from rnnjax.unroll import unroll

__version__ = "0.1.0"

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "Cell",
    "Decay",
    "ExampleNorms",
    "GradientFlow",
    "Wiring",
    "cell_named",
    "decay",
    "elman",
    "example_norms",
    "gradient_flow",
    "gru",
    "initializers",
    "learned_initial_state",
    "lstm",
    "peephole_lstm",
    "stack",
    "unroll",
]
