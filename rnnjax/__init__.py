"""Recurrent neural networks as pure functions, and where their gradients go.

Cells are NamedTuples of pure functions; ``unroll`` scans them over time, ``jax.grad`` of that is backpropagation
through time, and ``gradient_flow`` measures dL/ds_t at every step and layer.
"""

from rnnjax import initializers
from rnnjax.bidirectional import bidirectional
from rnnjax.carousel import Carousel
from rnnjax.carousel import carousel
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
from rnnjax.clipping import clip_gradient_norm
from rnnjax.clipping import clip_gradient_values
from rnnjax.compose import highway
from rnnjax.compose import layer_norm
from rnnjax.compose import learned_initial_state
from rnnjax.compose import repeat
from rnnjax.compose import residual
from rnnjax.compose import stack
from rnnjax.decay import Decay
from rnnjax.decay import ExampleNorms
from rnnjax.decay import decay
from rnnjax.decay import example_norms
from rnnjax.dynamics import LyapunovSpectrum
from rnnjax.dynamics import lyapunov_spectrum
from rnnjax.dynamics import state_jacobians
from rnnjax.encoder_decoder import EncoderDecoder
from rnnjax.encoder_decoder import encoder_decoder
from rnnjax.gradient_flow import GradientFlow
from rnnjax.gradient_flow import gradient_flow
from rnnjax.mean_field import MeanField
from rnnjax.mean_field import mean_field
from rnnjax.memory import MemoryCapacity
from rnnjax.memory import forward_memory
from rnnjax.memory import memory_capacity
from rnnjax.newton import NewtonReport
from rnnjax.newton import newton_unroll
from rnnjax.noise import drop_connect
from rnnjax.noise import dropout
from rnnjax.noise import variational_dropout
from rnnjax.noise import zoneout
from rnnjax.one_to_many import OneToMany
from rnnjax.one_to_many import one_to_many
from rnnjax.precision import mixed_precision
from rnnjax.recurrent_kernels import KernelSpectrum
from rnnjax.recurrent_kernels import recurrent_spectra
from rnnjax.remedies import gradient_flossing_penalty
from rnnjax.remedies import gradient_preserving_penalty
from rnnjax.saturation import Saturation
from rnnjax.saturation import saturation
from rnnjax.sequences import SequenceLayer
from rnnjax.sequences import chain
from rnnjax.sequences import delayed
from rnnjax.singular_values import ProductSingularValues
from rnnjax.singular_values import product_singular_values
from rnnjax.truncated import truncated_gradient
from rnnjax.unroll import length_mask
from rnnjax.unroll import unroll

__version__ = "0.1.0"

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "Carousel",
    "Cell",
    "Decay",
    "EncoderDecoder",
    "ExampleNorms",
    "GradientFlow",
    "KernelSpectrum",
    "LyapunovSpectrum",
    "MeanField",
    "MemoryCapacity",
    "NewtonReport",
    "OneToMany",
    "ProductSingularValues",
    "Saturation",
    "SequenceLayer",
    "Wiring",
    "antisymmetric",
    "bidirectional",
    "carousel",
    "cell_named",
    "chain",
    "cifg_lstm",
    "clip_gradient_norm",
    "clip_gradient_values",
    "clockwork",
    "cornn",
    "decay",
    "delayed",
    "drop_connect",
    "dropout",
    "elman",
    "encoder_decoder",
    "error_feedback",
    "example_norms",
    "forward_memory",
    "gated_antisymmetric",
    "gradient_flossing_penalty",
    "gradient_flow",
    "gradient_preserving_penalty",
    "gru",
    "highway",
    "indrnn",
    "initializers",
    "janet",
    "jordan",
    "layer_norm",
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
    "lyapunov_spectrum",
    "mean_field",
    "memory_capacity",
    "min_gru",
    "min_lstm",
    "minimal_gated_unit",
    "mist",
    "mixed_precision",
    "narx",
    "newton_unroll",
    "one_to_many",
    "orthogonal_rnn",
    "peephole_lstm",
    "product_singular_values",
    "qrnn",
    "recurrent_highway",
    "recurrent_spectra",
    "repeat",
    "residual",
    "saturation",
    "scrn",
    "series_parallel",
    "slstm",
    "sru",
    "stack",
    "state_jacobians",
    "tdnn",
    "truncated_gradient",
    "ugrnn",
    "unroll",
    "variational_dropout",
    "zoneout",
]
