"""Recurrent neural networks as pure functions, with measurements of where their gradients go.

Cells are NamedTuples of pure functions. ``unroll`` scans them over time, and ``jax.grad`` of that is backpropagation
through time. ``gradient_flow`` measures the norm of dL/ds_t, the gradient with respect to the state, at every step and
layer.
"""

from rnnjax import initializers
from rnnjax.sequence.bidirectional import bidirectional
from rnnjax.sequence.decoding import Beams
from rnnjax.sequence.decoding import Generated
from rnnjax.sequence.decoding import beam_search
from rnnjax.sequence.decoding import generate
from rnnjax.sequence.decoding import greedy
from rnnjax.sequence.decoding import nucleus
from rnnjax.sequence.decoding import sample
from rnnjax.sequence.decoding import temperature
from rnnjax.sequence.decoding import top_k
from rnnjax.measure.carousel import Carousel
from rnnjax.measure.carousel import carousel
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
from rnnjax.cells.memoryless import dense
from rnnjax.cells.orthogonal import orthogonal_rnn
from rnnjax.cells.timescales import clockwork
from rnnjax.cells.timescales import mist
from rnnjax.cells.timescales import scrn
from rnnjax.combinators.attention import additive_attention
from rnnjax.combinators.attention import additive_weights
from rnnjax.combinators.attention import multiplicative_attention
from rnnjax.combinators.attention import multiplicative_weights
from rnnjax.combinators.clipping import clip_gradient_norm
from rnnjax.combinators.clipping import clip_gradient_values
from rnnjax.combinators.compose import highway
from rnnjax.combinators.compose import layer_norm
from rnnjax.combinators.compose import learned_initial_state
from rnnjax.combinators.compose import repeat
from rnnjax.combinators.compose import residual
from rnnjax.combinators.compose import stack
from rnnjax.combinators.feedback import FeedbackState
from rnnjax.combinators.feedback import feedback
from rnnjax.measure.decay import Decay
from rnnjax.measure.decay import ExampleNorms
from rnnjax.measure.decay import decay
from rnnjax.measure.decay import example_norms
from rnnjax.measure.decay import first_lag_below
from rnnjax.measure.dynamics import LyapunovSpectrum
from rnnjax.measure.dynamics import lyapunov_spectrum
from rnnjax.measure.dynamics import state_jacobians
from rnnjax.sequence.encoder_decoder import EncoderDecoder
from rnnjax.sequence.encoder_decoder import encoder_decoder
from rnnjax.measure.gradient_flow import GradientFlow
from rnnjax.measure.gradient_flow import gradient_flow
from rnnjax.measure.gradient_flow import value_grad_and_flow
from rnnjax.measure.mean_field import MeanField
from rnnjax.measure.mean_field import mean_field
from rnnjax.measure.memory import MemoryCapacity
from rnnjax.measure.memory import forward_memory
from rnnjax.measure.memory import memory_capacity
from rnnjax.sequence.newton import NewtonReport
from rnnjax.sequence.newton import newton_unroll
from rnnjax.combinators.noise import drop_connect
from rnnjax.combinators.noise import dropout
from rnnjax.combinators.noise import variational_dropout
from rnnjax.combinators.noise import zoneout
from rnnjax.sequence.one_to_many import OneToMany
from rnnjax.sequence.one_to_many import one_to_many
from rnnjax.combinators.precision import mixed_precision
from rnnjax.measure.recurrent_kernels import KernelSpectrum
from rnnjax.measure.recurrent_kernels import recurrent_spectra
from rnnjax.measure.penalties import gradient_flossing_penalty
from rnnjax.measure.penalties import gradient_preserving_penalty
from rnnjax.measure.saturation import Saturation
from rnnjax.measure.saturation import saturation
from rnnjax.sequence.layers import SequenceLayer
from rnnjax.sequence.layers import chain
from rnnjax.sequence.layers import delayed
from rnnjax.measure.singular_values import ProductSingularValues
from rnnjax.measure.singular_values import product_singular_values
from rnnjax.measure.summary import summary
from rnnjax.sequence.truncated import truncated_gradient
from rnnjax.sequence.unroll import length_mask
from rnnjax.sequence.unroll import unroll

__version__ = "0.1.0"

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "Beams",
    "Carousel",
    "Cell",
    "Decay",
    "EncoderDecoder",
    "ExampleNorms",
    "FeedbackState",
    "Generated",
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
    "additive_attention",
    "additive_weights",
    "antisymmetric",
    "beam_search",
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
    "dense",
    "drop_connect",
    "dropout",
    "elman",
    "encoder_decoder",
    "error_feedback",
    "example_norms",
    "feedback",
    "first_lag_below",
    "forward_memory",
    "gated_antisymmetric",
    "generate",
    "gradient_flossing_penalty",
    "gradient_flow",
    "gradient_preserving_penalty",
    "greedy",
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
    "multiplicative_attention",
    "multiplicative_weights",
    "narx",
    "newton_unroll",
    "nucleus",
    "one_to_many",
    "orthogonal_rnn",
    "peephole_lstm",
    "product_singular_values",
    "qrnn",
    "recurrent_highway",
    "recurrent_spectra",
    "repeat",
    "residual",
    "sample",
    "saturation",
    "scrn",
    "series_parallel",
    "slstm",
    "sru",
    "stack",
    "state_jacobians",
    "summary",
    "tdnn",
    "temperature",
    "top_k",
    "truncated_gradient",
    "ugrnn",
    "unroll",
    "value_grad_and_flow",
    "variational_dropout",
    "zoneout",
]
