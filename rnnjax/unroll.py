"""A cell over a sequence: ``lax.scan`` forward, so that ``jax.grad`` of it is backpropagation through time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, check_cell
from rnnjax.checks import (
    check_advanced,
    check_mask,
    check_params,
    check_perturbation,
    check_sequence,
    check_state,
    positive_integer,
)
from rnnjax.contributions import is_inexact
from rnnjax.typing import Params, State


def unroll(
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State | None = None,
    *,
    mask: Array | None = None,
    reverse: bool = False,
    remat: int | None = None,
    perturbation: State | None = None,
) -> tuple[State, Array]:
    """Runs a cell over a whole sequence.

        s_t = f(s_{t-1}, x_t) + perturbation_t        y_t = g(s_t)        t = 1, ..., T

    Args:
        cell: any cell, stacks included.
        params: from ``cell.init``.
        inputs: (T, ..., I), time first, any batch axes.
        state: s_0, with the batch axes of the inputs; by default ``cell.initial_state``.
        mask: (T, ...), True at real steps. Elsewhere the state holds and the output is zero, so that padding adds
            nothing to a loss or its gradient.
        reverse: runs from the last step to the first; outputs stay where their inputs are, and with padding at the
            end of a sequence the reversal acts within its length.
        remat: keeps states only every that many steps and computes the others again in the backward pass: memory
            for about T / remat + remat steps, at the price of one more forward pass.
        perturbation: like the state with a leading time axis, added to the state inside the recurrence. The gradient
            with respect to a zero perturbation is dL/ds_t, the total derivative through outputs and future alike.

    Returns:
        The state after the last step (the first, in reverse) and the outputs (T, ..., O).

    Raises:
        ValueError: shapes or structures that do not fit together, or an empty sequence.
        TypeError: inputs that are not real numbers, a mask that is not boolean.
    """
    inputs, state = prepare(cell, params, inputs, state, mask)
    if remat is not None:
        positive_integer("remat", remat)
    if perturbation is not None:
        check_perturbation(state, perturbation, len(inputs))

    def run(cell: Cell, params: Params, inputs: Array, state: State, perturbation: State) -> tuple[State, Array]:
        if cell.wiring:
            return run_layers(cell, params, inputs, state, perturbation, run)

        def step(state: State, xs: Any) -> tuple[State, Array]:
            inputs_or_drive, perturbation = xs
            drive = inputs_or_drive if hoisted else cell.project(params, inputs_or_drive)
            new_state = cell.advance(params, state, drive)
            check_advanced(state, new_state)
            new_state = perturb(new_state, perturbation)
            return new_state, cell.output(params, new_state)

        xs = (cell.project(params, inputs) if hoisted else inputs, perturbation)
        return scan_masked(step, state, xs, mask, reverse=reverse, remat=remat)

    # One large product for all steps keeps an accelerator busy. A CPU core is busy anyway, and pays more for the way
    # of the drive and its gradient through memory: an LSTM's gradient takes up to 1.5 times as long.
    hoisted = jax.default_backend() != "cpu"

    return run(cell, params, inputs, state, perturbation)


def prepare(cell: Cell, params: Params, inputs: Array, state: State | None, mask: Array | None) -> tuple[Array, State]:
    """Checks the arguments; returns the inputs, zero where masked, and the state, initial where there was none."""
    check_cell("cell", cell, "lstm(64)")
    check_sequence(inputs)
    check_params(cell, params, inputs)
    batch_shape = inputs.shape[1:-1]
    if state is None:
        state = cell.initial_state(params, batch_shape)
    check_state(cell, params, state, batch_shape)
    if mask is not None:
        check_mask(mask, inputs.shape[:-1])
        # Whatever stands in the padding, NaN included, must not reach a gradient: 0 * NaN is NaN.
        inputs = jnp.where(mask[..., None], inputs, jnp.zeros_like(inputs))
    return inputs, state


def run_layers(
    cell: Cell, params: Params, inputs: Array, state: State, extras: Any, run: Callable[..., tuple[State, Array]]
) -> tuple[State, Array]:
    """Runs the layers of a composed cell one after the other, each over the whole sequence.

    ``run(cell, params, inputs, state, extra) -> (state, outputs)`` does one of them; ``extras`` has one element a
    layer, or is None.
    """
    assert cell.wiring is not None
    layers = cell.wiring.layers(params)
    states = list(state)

    def apply(index: int, inputs: Array) -> Array:
        layer, layer_params = layers[index]
        extra = None if extras is None else extras[index]
        states[index], outputs = run(layer, layer_params, inputs, states[index], extra)
        return outputs

    outputs = cell.wiring.connect(apply, inputs)
    return tuple(states), outputs


def perturb(state: State, perturbation: State | None) -> State:
    """``state + perturbation``, in those leaves that can have a gradient."""
    if perturbation is None:
        return state
    return jax.tree.map(lambda leaf, epsilon: leaf + epsilon if is_inexact(leaf) else leaf, state, perturbation)


def scan_masked(
    step: Callable[[State, Any], tuple[State, Array]],
    state: State,
    xs: Any,
    mask: Array | None,
    *,
    reverse: bool = False,
    remat: int | None = None,
) -> tuple[State, Array]:
    """``lax.scan`` of ``step`` over ``xs``; where ``mask`` is False the state holds and the output is zero."""
    if mask is None:
        return _scan(step, state, xs, reverse, remat)

    def masked_step(state: State, xs_and_mask: Any) -> tuple[State, Array]:
        xs, real = xs_and_mask
        new_state, output = step(state, xs)
        state = jax.tree.map(lambda new, old: _select(real, new, old), new_state, state)
        return state, _select(real, output, jnp.zeros_like(output))

    return _scan(masked_step, state, (xs, mask), reverse, remat)


def _select(real: Array, one: Array, other: Array) -> Array:
    return jnp.where(real.reshape(real.shape + (1,) * (one.ndim - real.ndim)), one, other)


def _scan(step: Callable[..., Any], state: State, xs: Any, reverse: bool, remat: int | None) -> tuple[State, Any]:
    if remat is None:
        return jax.lax.scan(step, state, xs, reverse=reverse)

    @jax.checkpoint
    def chunk(state: State, xs: Any) -> tuple[State, Any]:
        return jax.lax.scan(step, state, xs, reverse=reverse)

    length = len(jax.tree.leaves(xs)[0])
    whole = length - length % remat  # the rest, at the end in time, is a shorter chunk of its own
    chunks = jax.tree.map(lambda x: x[:whole].reshape(whole // remat, remat, *x.shape[1:]), xs)
    rest = jax.tree.map(lambda x: x[whole:], xs)
    if reverse and whole < length:
        state, rest_outputs = chunk(state, rest)
    state, outputs = jax.lax.scan(chunk, state, chunks, reverse=reverse)
    outputs = jax.tree.map(lambda y: y.reshape(whole, *y.shape[2:]), outputs)
    if whole == length:
        return state, outputs
    if not reverse:
        state, rest_outputs = chunk(state, rest)
    return state, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outputs, rest_outputs)
