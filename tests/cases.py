"""Every cell there is, and random numbers to feed it with. Sizes are tiny: the claims do not depend on them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import rnnjax
from rnnjax import Cell, GradientFlow

T, B, I, H = 5, 2, 3, 4  # noqa: E741  the dimension letters of rnnjax.typing


def own_cell(size: int) -> Cell:
    """A cell as a user writes it: four functions, params in a dict, a single array for a state.

    s_t = sigmoid(decay) * s_{t-1} + tanh(x_t W + s_{t-1}^2 U)
    """

    def init(key: Array, input_size: int) -> dict[str, Array]:
        kernel_key, recurrent_key = jax.random.split(key)
        return {
            "kernel": jax.random.normal(kernel_key, (input_size, size)) / input_size,
            "recurrent": jax.random.normal(recurrent_key, (size, size)) / size,
            "decay": jnp.ones(size),
        }

    def initial_state(params: dict[str, Array], batch_shape: tuple[int, ...]) -> Array:
        return jnp.zeros((*batch_shape, size), params["kernel"].dtype)

    def project(params: dict[str, Array], inputs: Array) -> Array:
        return inputs @ params["kernel"]

    def advance(params: dict[str, Array], state: Array, drive: Array) -> Array:
        kept = jnp.broadcast_to(jax.nn.sigmoid(params["decay"]), state.shape)
        return kept * state + jnp.tanh(drive + state**2 @ params["recurrent"])

    return Cell(init, initial_state, project, advance)


def mixed_stack(**skips: bool) -> Cell:
    return rnnjax.stack(rnnjax.lstm(H), rnnjax.elman(H - 1), rnnjax.gru(H), **skips)


CELL_CASES: dict[str, Callable[[], Cell]] = {
    "elman_tanh": partial(rnnjax.elman, H),
    "elman_identity": partial(rnnjax.elman, H, "identity"),
    "elman_function": partial(rnnjax.elman, H, jnp.sin),
    "jordan": partial(rnnjax.jordan, H, H - 1, "tanh", "softplus"),
    "leaky": partial(rnnjax.leaky, H, 0.3),
    "learned_leaky": partial(rnnjax.learned_leaky, H),
    "indrnn": partial(rnnjax.indrnn, H),
    "indrnn_identity": partial(rnnjax.indrnn, H, "identity"),
    "scrn": partial(rnnjax.scrn, H, 1),
    "clockwork": partial(rnnjax.clockwork, H, (1, 2, 3)),
    "mist": partial(rnnjax.mist, H, 3),
    "tdnn": partial(rnnjax.tdnn, H, 3),
    "narx": partial(rnnjax.narx, H, 2, 3, 2),
    "narx_series_parallel": lambda: rnnjax.series_parallel(rnnjax.narx(H, 2, 3, 2)),
    "narx_error_feedback": lambda: rnnjax.error_feedback(rnnjax.narx(H, 2, 2, 3)),
    "antisymmetric": partial(rnnjax.antisymmetric, H, 0.3, 0.1),
    "gated_antisymmetric": partial(rnnjax.gated_antisymmetric, H, 0.3, 0.1),
    "lipschitz": partial(rnnjax.lipschitz, H, 0.3, 0.7, 0.1),
    "cornn": partial(rnnjax.cornn, H, 0.3, 1.0, 0.5),
    "lem": partial(rnnjax.lem, H),
    # Not with modReLU, which jumps at 0 where its bias is positive: no differences there.
    "orthogonal_rnn": partial(rnnjax.orthogonal_rnn, H, activation="identity"),
    "orthogonal_rnn_cayley": partial(rnnjax.orthogonal_rnn, H, "cayley", "tanh"),
    "lstm": partial(rnnjax.lstm, H),
    "peephole_lstm": partial(rnnjax.peephole_lstm, H),
    "gru_reset_before": partial(rnnjax.gru, H),
    "gru_reset_after": partial(rnnjax.gru, H, "after"),
    "cifg_lstm": partial(rnnjax.cifg_lstm, H),
    "lstm_1997": partial(rnnjax.lstm_1997, H),
    "layer_norm_lstm": partial(rnnjax.layer_norm_lstm, H),
    "janet": partial(rnnjax.janet, H),
    "slstm": partial(rnnjax.slstm, H),
    "minimal_gated_unit": partial(rnnjax.minimal_gated_unit, H),
    "ugrnn": partial(rnnjax.ugrnn, H),
    "recurrent_highway": partial(rnnjax.recurrent_highway, H),
    "min_gru": partial(rnnjax.min_gru, H),
    "min_lstm": partial(rnnjax.min_lstm, H),
    "qrnn": partial(rnnjax.qrnn, H),
    "sru": partial(rnnjax.sru, H),
    "lru": partial(rnnjax.lru, H),
    "own_cell": partial(own_cell, H),
    "stack": mixed_stack,
    "stack_both_skips": partial(mixed_stack, input_to_all=True, all_to_output=True),
    "repeat": lambda: rnnjax.stack(rnnjax.elman(H), rnnjax.repeat(rnnjax.gru(H), 2)),
    "residual": lambda: rnnjax.stack(rnnjax.elman(H), rnnjax.residual(rnnjax.lstm(H)), rnnjax.residual(rnnjax.lstm(H))),
    "feedback": lambda: rnnjax.feedback(rnnjax.stack(rnnjax.lstm(H), rnnjax.dense(2)), "probabilities"),
    "highway": lambda: rnnjax.highway(rnnjax.elman(I)),
    "layer_norm": lambda: rnnjax.layer_norm(mixed_stack()),
    "learned_initial_state": lambda: rnnjax.learned_initial_state(rnnjax.lstm(H)),
    "learned_initial_state_of_stack": lambda: rnnjax.learned_initial_state(mixed_stack(all_to_output=True)),
    "stack_of_learned_initial_states": lambda: rnnjax.stack(
        rnnjax.learned_initial_state(rnnjax.gru(H)), rnnjax.learned_initial_state(own_cell(H))
    ),
}


TYPICAL = (
    "elman_tanh",
    "gru_reset_before",
    "clockwork",
    "narx_series_parallel",
    "slstm",
    "orthogonal_rnn_cayley",
    "lru",
    "own_cell",
    "stack_both_skips",
    "feedback",
    "learned_initial_state_of_stack",
    "repeat",
    "residual",
)
"""One cell of each kind."""

FEW = ("elman_tanh", "slstm", "lru", "own_cell", "stack_both_skips")
"""With which `make test-fast` tries what is claimed of many."""

OF_ONE_PIECE = tuple(name for name, make in CELL_CASES.items() if not make().wiring)
"""All that are not made of others."""


def random_like(tree: Any, seed: int, scale: float = 1.0) -> Any:
    """A tree of Gaussian numbers of the same shapes and dtypes, drawn by NumPy: nothing to compile."""
    random = np.random.default_rng(seed)

    def draw(leaf: Any) -> Array:
        values = random.normal(size=leaf.shape)
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            values = values + 1j * random.normal(size=leaf.shape)
        return jnp.asarray(scale * values, leaf.dtype)

    return jax.tree.map(draw, tree)


def random_params(cell: Cell, seed: int = 0, input_size: int = I) -> Any:
    """Params of the cell's shapes, all random, so that no bias, peephole or learned state is zero."""
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
    return random_like(shapes, seed, 0.5)


def random_inputs(*shape: int, seed: int = 2) -> Array:
    """Gaussian inputs of that shape, by default (T, B, I), in the default float dtype."""
    return random_like(jax.ShapeDtypeStruct(shape or (T, B, I), jnp.zeros(()).dtype), seed)


def random_state(cell: Cell, params: Any, batch_shape: tuple[int, ...] = (B,), seed: int = 3) -> Any:
    """A state of the cell's shapes, all random."""
    return random_like(jax.eval_shape(lambda: cell.initial_state(params, batch_shape)), seed, 0.5)


def unrolled(cell: Cell, params: Any, inputs: Array, state: Any = None, **options: Any) -> tuple[Any, Array]:
    """``unroll`` compiled as a whole, which takes less time than one operation after the other."""
    return jax.jit(lambda *arguments: rnnjax.unroll(cell, *arguments, **options))(params, inputs, state)


def flow_of(
    cell: Cell, params: Any, inputs: Array, loss: Callable[[Array], Array], state: Any = None, **options: Any
) -> GradientFlow:
    """``gradient_flow`` compiled as a whole, which takes less time than one operation after the other."""

    def flow(params: Any, inputs: Array, state: Any) -> GradientFlow:
        return rnnjax.gradient_flow(cell, params, inputs, loss, state, **options)

    return jax.jit(flow)(params, inputs, state)
