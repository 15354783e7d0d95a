"""Predictors with taps: TDNN on past inputs, NARX on past inputs and outputs.

What an input adds to this step and to later ones needs no state, so ``project`` computes it in one product for all
taps. The state holds the pending sums for this step, for the next one, and so on, side by side. Each step shifts them
by one place and adds to them.

A NARX network has one set of params and three sources of feedback: ``narx`` feeds back its own predictions,
``series_parallel`` the true outputs, and ``error_feedback`` the true minus the predicted outputs.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, check_cell, zero_state
from rnnjax.cells.activations import activation_named
from rnnjax.checks import positive_integer
from rnnjax.origin import remembered
from rnnjax.typing import Activation, Drive, Initializer, Key, Params
from rnnjax.units import beside, dense


class TDNNParams(NamedTuple):
    kernel: Array  # (I, L H): for the present input, for the one before, and so on
    bias: Array  # (H,)


class TDNNState(NamedTuple):
    pending: Array  # (..., L H), what the inputs so far add to this step, to the next one, and so on


class NARXParams(NamedTuple):
    kernel: Array  # (I, L H): for the present input, for the one before, and so on
    recurrent_kernel: Array  # (K O, H): for the last output, for the one before, and so on
    bias: Array  # (H,)
    output_kernel: Array  # (H, O)
    output_bias: Array  # (O,)


class NARXState(NamedTuple):
    outputs: Array  # (..., K O): this step's prediction, what was fed back as the one before, and so on
    pending: Array  # (..., L H), as for TDNNState


@remembered
def tdnn(
    hidden_size: int,
    taps: int = 3,
    activation: str | Activation = "tanh",
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
) -> Cell:
    """A layer of the time-delay network: the same window slides over all steps (Waibel et al., 1989).

        h_t = g(sum over l = 0, ..., L - 1 of x_{t-l} W_l + b)

    Invented to recognize phonemes, which are the same at whatever time they start. It is a causal convolution over time
    with a finite response: an input acts on L steps and on no others. Two of them in a ``stack`` have a window of
    L_1 + L_2 - 1 steps. Inputs before the sequence are zero.

    Args:
        hidden_size: H, the number of units.
        taps: L, the present input and the L - 1 before it.
        activation: g, a name or any elementwise function, as for ``elman``.
        kernel_init: for all W_l together, (L I, H).

    Raises:
        ValueError: for an unknown activation, or hidden_size or taps < 1.
        TypeError: if hidden_size or taps is not a whole number.
    """
    size, window = positive_integer("hidden_size", hidden_size), positive_integer("taps", taps)
    g = activation_named(activation)

    def init(key: Key, input_size: int) -> TDNNParams:
        return TDNNParams(_tapped_kernel(key, input_size, window, size, kernel_init), jnp.zeros(size))

    def initial_state(params: TDNNParams, batch_shape: tuple[int, ...] = ()) -> TDNNState:
        return TDNNState(*zero_state(batch_shape, (window * size,), params.kernel.dtype))

    def project(params: TDNNParams, inputs: Array) -> Array:
        return inputs @ params.kernel

    def advance(params: TDNNParams, state: TDNNState, drive: Array) -> TDNNState:
        return TDNNState(drive + _one_step_on(state.pending, size))

    def output(params: TDNNParams, state: TDNNState) -> Array:
        return g(state.pending[..., :size] + beside(params.bias, state.pending))

    return Cell(init, initial_state, project, advance, output)


@remembered
def narx(
    hidden_size: int,
    output_size: int | None = None,
    output_taps: int = 3,
    input_taps: int = 3,
    activation: str | Activation = "sigmoid",
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    recurrent_init: Initializer = jax.nn.initializers.lecun_normal(),
) -> Cell:
    """The nonlinear autoregressive network with exogenous inputs, NARX, in closed loop (Lin et al., 1996).

        h_t = g(sum over l = 0, ..., L - 1 of x_{t-l} W_l + sum over k = 1, ..., K of y_{t-k} U_k + b)
        y_t = h_t V + c

    Made for time series; Lin, Horne, Tino & Giles found that it learns longer dependencies than other recurrent
    networks, since a gradient goes K steps back at once. With one tap each it is ``jordan`` with a linear output.
    Inputs and outputs before the sequence are zero.

    Here the network's own predictions are fed back: this is the closed loop, or parallel mode, for forecasts of many
    steps. ``series_parallel`` feeds back the true outputs instead, mostly for training. Both take the same params and
    states, so a forecast can go on from the state after the known steps:

        cell = narx(16, 1)
        state, _ = unroll(series_parallel(cell), params, known)          known: [x_t, y*_{t-1}] side by side
        _, forecast = unroll(cell, params, x_later, state)

    Args:
        hidden_size: H, the number of units.
        output_size: O, by default H.
        output_taps: K past outputs.
        input_taps: L, the present input and the L - 1 before it.
        activation: g, a name or any elementwise function, as for ``elman``.
        kernel_init: for all W_l together, (L I, H), and for V (H, O).
        recurrent_init: for all U_k together, (K O, H).

    Raises:
        ValueError: for an unknown activation, or a size or number of taps < 1.
        TypeError: if a size or number of taps is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)
    width = size if output_size is None else positive_integer("output_size", output_size)
    past, window = positive_integer("output_taps", output_taps), positive_integer("input_taps", input_taps)
    g = activation_named(activation)

    def init(key: Key, input_size: int) -> NARXParams:
        kernel_key, recurrent_key, output_key = jax.random.split(key, 3)
        return NARXParams(
            kernel=_tapped_kernel(kernel_key, input_size, window, size, kernel_init),
            recurrent_kernel=recurrent_init(recurrent_key, (past * width, size)),
            bias=jnp.zeros(size),
            output_kernel=kernel_init(output_key, (size, width)),
            output_bias=jnp.zeros(width),
        )

    def initial_state(params: NARXParams, batch_shape: tuple[int, ...] = ()) -> NARXState:
        return NARXState(*zero_state(batch_shape, (past * width, window * size), params.kernel.dtype))

    def project(params: NARXParams, inputs: Array) -> Array:
        return inputs @ params.kernel

    def advance(params: NARXParams, state: NARXState, drive: Array) -> NARXState:
        pending = drive + _one_step_on(state.pending, size)
        hidden = g(pending[..., :size] + state.outputs @ params.recurrent_kernel + beside(params.bias, pending))
        prediction = dense(hidden, params.output_kernel, params.output_bias)
        return NARXState(jnp.concatenate([prediction, state.outputs[..., :-width]], axis=-1), pending)

    def output(params: NARXParams, state: NARXState) -> Array:
        return state.outputs[..., :width]

    return Cell(init, initial_state, project, advance, output)


@remembered
def series_parallel(cell: Cell) -> Cell:
    """A ``narx`` cell that is given the true past outputs: teacher forcing (Menezes & Barreto, 2008).

        y_t = f(x_t, ..., x_{t-L+1}, y*_{t-1}, ..., y*_{t-K})        y* true, inputs [x_t, y*_{t-1}] (..., I + O)

    The true output of one step ago comes with the inputs, behind them; earlier ones are kept in the state. The
    following predicts each step from the true outputs before it:

        previous = jnp.concatenate([jnp.zeros_like(true[:1]), true[:-1]])
        _, predictions = unroll(series_parallel(cell), params, jnp.concatenate([x, previous], axis=-1))

    No gradient flows through predictions, so this is a feed-forward network over two windows. Params and states are
    those of ``cell``, which can go on from the final state; it then first feeds back the last prediction. If y*_t of
    the last step t is known, run one more step here, with [x_{t+1}, y*_t].

    Raises:
        TypeError: if ``cell`` is not a ``narx`` cell, or is one that is given true outputs already.
        ValueError: from ``init``, if no inputs remain beside the true outputs.
    """
    return _fed_with("series_parallel", cell, lambda true, predicted: true)


@remembered
def error_feedback(cell: Cell) -> Cell:
    """A ``narx`` cell fed with its past errors, the moving average of NARMAX models (Chen & Billings, 1989).

        y_t = f(x_t, ..., x_{t-L+1}, e_{t-1}, ..., e_{t-K})        e_t = y*_t - y_t, inputs [x_t, y*_{t-1}] (..., I + O)

    It is a predictor that corrects itself: of the past outputs it only sees how wrong it was. (A NARMAX model also sees
    the past outputs themselves.) Inputs are as for ``series_parallel``; errors before the sequence are zero if y*_0 is
    given as zero. Params have the same shapes as for ``cell`` but weigh errors, so params that are trained here must be
    used here. After the last true output the expected error is zero: give the prediction in place of the true output,
    step by step, as [x_{t+1}, cell.output(params, state)].

    Raises:
        TypeError: if ``cell`` is not a ``narx`` cell, or is one that is given true outputs already.
        ValueError: from ``init``, if no inputs remain beside the true outputs.
    """
    return _fed_with("error_feedback", cell, lambda true, predicted: true - predicted)


def _fed_with(receiver: str, cell: Cell, feedback: Callable[[Array, Array], Array]) -> Cell:
    """``cell`` with ``feedback(true, predicted)`` of the step before instead of its prediction."""
    width = _output_size(receiver, cell)

    def init(key: Key, input_size: int) -> Params:
        both = positive_integer("input_size", input_size)
        if both <= width:
            raise ValueError(
                f"input_size is {both}: expected more than the {width} of the outputs, since {receiver} takes "
                "[x_t, true output of step t - 1] side by side; without any x, put a constant there"
            )
        return cell.init(key, both - width)

    def project(params: Params, inputs: Array) -> tuple[Array, Array]:
        return cell.project(params, inputs[..., :-width]), inputs[..., -width:]

    def advance(params: Params, state: NARXState, drive: tuple[Array, Array]) -> NARXState:
        drive_of_inputs, true = drive
        newest, earlier = state.outputs[..., :width], state.outputs[..., width:]
        fed = jnp.concatenate([feedback(true, newest), earlier], axis=-1)
        return cell.advance(params, state._replace(outputs=fed), drive_of_inputs)

    return cell._replace(init=init, project=project, advance=advance)


def _output_size(receiver: str, cell: Cell) -> int:
    """O of a ``narx`` cell, also of one with a learned initial state."""
    check_cell(receiver, cell, f"{receiver}(narx(16, 1))")
    wide = 1024  # enough inputs for any cell; nothing is computed

    def state_drive_and_output() -> tuple[NARXState, Drive, Array]:
        params = cell.init(jax.random.key(0), wide)
        state = cell.initial_state(params, ())
        return state, cell.project(params, jnp.zeros(wide)), cell.output(params, state)

    state, drive, output = jax.eval_shape(state_drive_and_output)
    if not isinstance(state, NARXState):
        raise TypeError(
            f"{receiver} received a cell with a {type(state).__name__} for its state: "
            f"expected a narx cell, as in {receiver}(narx(16, 1))"
        )
    if isinstance(drive, tuple):
        raise TypeError(
            f"{receiver} received a cell that is given true outputs already: expected a narx cell that feeds back its "
            f"own, as in {receiver}(narx(16, 1)); use series_parallel or error_feedback, once"
        )
    return output.shape[-1]


def _tapped_kernel(key: Key, input_size: int, taps: int, size: int, kernel_init: Initializer) -> Array:
    """The kernel (I, taps H), drawn as (taps I, H), so that the initializer sees how many inputs a unit has."""
    width = positive_integer("input_size", input_size)
    kernel = kernel_init(key, (taps * width, size)).reshape(taps, width, size)
    return jnp.moveaxis(kernel, 0, 1).reshape(width, taps * size)


def _one_step_on(pending: Array, size: int) -> Array:
    """The sums moved one step nearer: those of this step are dropped, those of the most distant step begin at zero."""
    return jnp.concatenate([pending[..., size:], jnp.zeros_like(pending[..., :size])], axis=-1)
