"""Networks that forecast: each is told, at step t, inputs x_t and the value z_t, and says what z_{t+h} will be.

Direct ones say it for all horizons at once, by a dense readout of a layer's outputs:

tdnn             a window of the last steps, of which nothing older is known
elman, lstm, ... a recurrent layer of that cell
bidirectional    a GRU forward, and beside it one that comes back from the future of the inputs: as if the temperature
                 to come were known. It sees no z of the future. No forecaster can do that: it bounds what inputs tell.

A NARX network says z_{t+1}, from the last L inputs and K values, and goes on from there with its own predictions, to
t + h. What is not known ahead of its inputs is held. What it is fed with up to t names it:

narx             the true values (open loop)
narx:own         its own predictions of them (closed loop): so it is told inputs alone
narx:errors      by how much its predictions were wrong; beyond t these errors are expected to be 0
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

import rnnjax
from rnnjax.names import lookup
from rnnjax.typing import Key, Params

TDNN, NARX, BIDIRECTIONAL = "tdnn", "narx", "bidirectional"

Unroll = Callable[..., Any]


class Network(NamedTuple):
    """What is trained. T steps of B sequences, I inputs, H horizons.

    Attributes:
        init: ``(key, I) -> params``.
        fits: the horizons that it is trained on.
        fitted: ``(params, inputs (T, B, I), known (T, B)) -> (T, B, len(fits))``, forecasts made at each step.
        forecasts: the same for all horizons, (T, B, H).
        recalled: ``(unroll, params, inputs, known, warm_up) -> (B,)``, the forecast one step ahead that is made at the
            last step, where what comes after the first steps was run by ``unroll``, so that its gradient can be seen;
            of a NARX network in closed loop. None of networks that have no memory, or see the future.
    """

    init: Callable[[Key, int], Params]
    fits: tuple[int, ...]
    fitted: Callable[[Params, Array, Array], Array]
    forecasts: Callable[[Params, Array, Array], Array]
    recalled: Callable[[Unroll, Params, Array, Array, int], Array] | None


class Direct(NamedTuple):
    recurrent: Params
    readout: Params  # of flax's Dense


class Both(NamedTuple):
    forward: Params
    backward: Params
    readout: Params


def make_network(
    name: str, hidden_size: int, output_taps: int, input_taps: int, horizons: tuple[int, ...], held: int
) -> Network:
    """A network by its name; of the inputs so many are not known ahead.

    Raises:
        ValueError: for an unknown one.
    """
    kind, _, feedback = name.partition(":")
    if kind == NARX:
        return narx(rnnjax.narx(hidden_size, 1, output_taps, input_taps, "tanh"), feedback or "true", horizons, held)
    if name == BIDIRECTIONAL:
        return both_directions(rnnjax.gru(hidden_size), horizons)
    if name == TDNN:
        return direct(rnnjax.tdnn(hidden_size, input_taps), horizons)._replace(recalled=None)
    return direct(rnnjax.cell_named(name)(hidden_size), horizons)


def direct(cell: rnnjax.Cell, horizons: tuple[int, ...]) -> Network:
    """A layer and its readout."""
    dense = nn.Dense(len(horizons))

    def init(key: Key, input_size: int) -> Direct:
        cell_key, readout_key = jax.random.split(key)
        recurrent = cell.init(cell_key, input_size + 1)
        outputs = cell.output(recurrent, cell.initial_state(recurrent, ()))
        return Direct(recurrent, dense.init(readout_key, outputs))

    def fitted(params: Direct, inputs: Array, known: Array) -> Array:
        _, outputs = rnnjax.unroll(cell, params.recurrent, _beside(inputs, known))
        found: Array = dense.apply(params.readout, outputs)
        return found

    def recalled(unroll: Unroll, params: Direct, inputs: Array, known: Array, warm_up: int) -> Array:
        given = _beside(inputs, known)
        state, _ = rnnjax.unroll(cell, params.recurrent, given[:warm_up])
        _, outputs = unroll(cell, params.recurrent, given[warm_up:], state)
        found: Array = dense.apply(params.readout, outputs[-1])
        return found[:, 0]

    return Network(init, horizons, fitted, fitted, recalled)


def both_directions(cell: rnnjax.Cell, horizons: tuple[int, ...]) -> Network:
    """A cell forward, over inputs and values; one backward, over inputs alone, down to the step after the origin."""
    dense = nn.Dense(len(horizons))

    def init(key: Key, input_size: int) -> Both:
        forward_key, backward_key, readout_key = jax.random.split(key, 3)
        forward, backward = cell.init(forward_key, input_size + 1), cell.init(backward_key, input_size)
        outputs = cell.output(forward, cell.initial_state(forward, ()))
        return Both(forward, backward, dense.init(readout_key, jnp.concatenate([outputs, outputs])))

    def fitted(params: Both, inputs: Array, known: Array) -> Array:
        _, past = rnnjax.unroll(cell, params.forward, _beside(inputs, known))
        _, future = rnnjax.unroll(cell, params.backward, inputs, reverse=True)
        future = jnp.concatenate([future[1:], jnp.zeros_like(future[:1])])
        found: Array = dense.apply(params.readout, jnp.concatenate([past, future], axis=-1))
        return found

    return Network(init, horizons, fitted, fitted, None)


def narx(cell: rnnjax.Cell, feedback: str, horizons: tuple[int, ...], held: int) -> Network:
    """Forecasts one step ahead, and on from there in closed loop."""
    fed = {"true": rnnjax.series_parallel, "own": lambda cell: cell, "errors": rnnjax.error_feedback}
    told = lookup("feedback of narx", feedback, fed)(cell)

    def given(inputs: Array, known: Array) -> Array:
        return inputs if feedback == "own" else _beside(inputs, known)

    def expected(params: Params, state: Any, inputs: Array) -> tuple[Any, Array]:
        """One step on, where no true value is known."""
        if feedback != "errors":
            return cell.step(params, state, inputs)
        return told.step(params, state, _beside(inputs, told.output(params, state)[..., 0]))

    def fitted(params: Params, inputs: Array, known: Array) -> Array:
        return rnnjax.unroll(told, params, given(inputs, known))[1]

    def forecasts(params: Params, inputs: Array, known: Array) -> Array:
        def advance(state: Any, now: Array) -> tuple[Any, Any]:
            state, _ = told.step(params, state, now)
            return state, state

        start = told.initial_state(params, known.shape[1:])
        _, states = jax.lax.scan(advance, start, given(inputs, known))  # (T, B, ...): all origins side by side
        steps = jnp.arange(len(inputs))

        def further(states: Any, ahead: Array) -> tuple[Any, Array]:
            calendar = inputs[jnp.minimum(steps + ahead, len(inputs) - 1), :, held:]
            states, outputs = expected(params, states, jnp.concatenate([inputs[..., :held], calendar], axis=-1))
            return states, outputs[..., 0]

        first = told.output(params, states)[..., 0]
        _, later = jax.lax.scan(further, states, jnp.arange(1, max(horizons)))
        all_steps = jnp.concatenate([first[None], later])
        return jnp.stack([all_steps[horizon - 1] for horizon in horizons], axis=-1)

    def recalled(unroll: Unroll, params: Params, inputs: Array, known: Array, warm_up: int) -> Array:
        state, _ = rnnjax.unroll(told, params, given(inputs, known)[:warm_up])
        found: Array = unroll(cell, params, inputs[warm_up:], state)[1][-1, :, 0]
        return found

    return Network(
        lambda key, input_size: cell.init(key, input_size),
        (1,),
        fitted,
        forecasts,
        None if feedback == "errors" else recalled,
    )


def _beside(inputs: Array, known: Array) -> Array:
    return jnp.concatenate([inputs, known[..., None]], axis=-1)
