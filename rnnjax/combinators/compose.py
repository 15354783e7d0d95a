"""Depth, connections past a layer, normalized outputs, learned initial states."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, Repetition, Wiring, check_cell, output_like
from rnnjax.cells.memoryless import dense_gate, normalization, pass_on
from rnnjax.checks import positive_integer
from rnnjax.engine.norms import is_inexact
from rnnjax.engine.tracing import traced_once
from rnnjax.engine.wiring import composed_cell, layers_of
from rnnjax.origin import remembered
from rnnjax.typing import Key, Params, State


@remembered
def stack(*cells: Cell, input_to_all: bool = False, all_to_output: bool = False) -> Cell:
    """Layers on top of each other, each of them any cell; the result is a cell.

        h^1_t = cell_1(h^1_{t-1}, x_t)
        h^l_t = cell_l(h^l_{t-1}, h^{l-1}_t)         with skips from the input: [x_t, h^{l-1}_t]
        y_t   = h^L_t                                with skips to the output: [h^1_t, ..., h^L_t]

    Params and states are tuples with one element for each layer. ``unroll`` runs the layers one after the other over
    the whole sequence. The skip connections are from Graves (2013).

    Args:
        *cells: from the input upwards.
        input_to_all: every layer above the first also sees the inputs of the stack.
        all_to_output: the outputs of all layers, side by side, are the output of the stack.

    Raises:
        ValueError: if there are no cells.
        TypeError: if an argument is not a cell.
    """
    if not cells:
        raise ValueError("stack received no cells: expected at least one, as in stack(lstm(64), lstm(64))")
    for cell in cells:
        check_cell("stack", cell, "stack(lstm(64), lstm(64))")

    def init(key: Key, input_size: int) -> tuple[Params, ...]:
        params: list[Params] = []
        width = positive_integer("input_size", input_size)
        for index, cell in enumerate(cells):
            params.append(cell.init(jax.random.fold_in(key, index), width))
            size = output_like(cell, params[-1]).shape[-1]
            width = input_size + size if input_to_all else size
        return tuple(params)

    def layers(params: tuple[Params, ...]) -> tuple[tuple[Cell, Params], ...]:
        return tuple(zip(cells, params, strict=True))

    def feed(inputs: Array, below: Array | None) -> Array:
        seen = _in_a_row(inputs, below)
        return jnp.concatenate([inputs, seen], axis=-1) if input_to_all and below is not None else seen

    def combine(outputs: list[Array]) -> Array:
        return jnp.concatenate(outputs, axis=-1) if all_to_output else outputs[-1]

    return composed_cell(init, Wiring(layers, feed, combine))


@remembered
def repeat(cell: Cell, times: int) -> Cell:
    """Equal layers on top of each other that are compiled as one, for deep networks.

        h^l_t = cell(h^l_{t-1}, h^{l-1}_t)        l = 1, ..., times, each with params of its own; h^0_t = x_t

    It computes the same as a ``stack`` of ``times`` such cells. Its params are those of the cell with a leading axis
    for the layers; its state is a tuple with one element for each layer. The compile time grows little with depth. The
    run time on a CPU is a little longer than that of a stack, since what the backward pass needs of a layer is copied.
    Inputs and outputs must be equally wide: put a layer that changes the width below, as in ``stack(lstm(64),
    repeat(lstm(64), 31))``.

    Raises:
        TypeError: if ``cell`` is not a cell, or ``times`` is not a whole number.
        ValueError: if ``times`` < 1; from ``init``, if outputs and inputs differ in width.
    """
    check_cell("repeat", cell, "repeat(lstm(64), 8)")
    layers = positive_integer("times", times)

    def init(key: Key, input_size: int) -> Params:
        of_a_layer = jax.eval_shape(lambda: cell.init(key, input_size))
        _check_equal_widths("repeat", input_size, output_like(cell, of_a_layer).shape[-1])
        params: Params = _init_layers(cell, jax.random.split(key, layers), input_size=input_size)
        return params

    return composed_cell(init, Repetition(lambda params: params, cell, layers))


@traced_once
def _init_layers(cell: Cell, keys: Key, *, input_size: int) -> Params:
    """Params of all layers, drawn one after the other, since decomposing batches of matrices is slow on few cores."""
    return jax.lax.map(lambda key: cell.init(key, input_size), keys)


# Connections past a layer


@remembered
def residual(cell: Cell) -> Cell:
    """A cell whose outputs are added to its inputs (He et al., 2016; between recurrent layers Wu et al., 2016).

        y_t = x_t + cell(x_t)

    Through the sum the gradient reaches the layers below undiminished. Params are those of ``cell``; the state is (the
    state of ``cell``, the inputs passed on).

    Raises:
        TypeError: if ``cell`` is not a cell.
        ValueError: from ``init``, if outputs and inputs differ in width.
    """
    check_cell("residual", cell, "residual(lstm(64))")

    def init(key: Key, input_size: int) -> Params:
        params = cell.init(key, input_size)
        _check_equal_widths("residual", input_size, output_like(cell, params).shape[-1])
        return params

    def layers(params: Params) -> tuple[tuple[Cell, Params], ...]:
        return (cell, params), (pass_on(cell, params), ())

    return composed_cell(init, Wiring(layers, _side_by_side, lambda outputs: outputs[0] + outputs[1]))


class HighwayParams(NamedTuple):
    cell: Any  # the params of the cell itself
    gate: Any  # a kernel (I, O) and a bias (O,)


@remembered
def highway(cell: Cell, bias: float = -2.0) -> Cell:
    """A cell with a gate that passes part of the inputs on unchanged (Srivastava et al., 2015).

        t_t = sigmoid(x_t W + b)                   transform gate
        y_t = t_t * cell(x_t) + (1 - t_t) * x_t

    Invented so that very deep networks can be trained: before training most of the input passes unchanged, and with it
    the gradient. The state is (the state of ``cell``, the gate, the inputs passed on).

    Args:
        cell: any cell whose outputs are as wide as its inputs.
        bias: the initial b; below 0 the output begins with more of the inputs than of the cell.

    Raises:
        TypeError: if ``cell`` is not a cell.
        ValueError: from ``init``, if outputs and inputs differ in width.
    """
    check_cell("highway", cell, "highway(lstm(64))")
    gate = dense_gate(bias)

    def init(key: Key, input_size: int) -> HighwayParams:
        cell_key, gate_key = jax.random.split(key)
        params = cell.init(cell_key, input_size)
        _check_equal_widths("highway", input_size, output_like(cell, params).shape[-1])
        return HighwayParams(params, gate.init(gate_key, input_size))

    def layers(params: HighwayParams) -> tuple[tuple[Cell, Params], ...]:
        return (cell, params.cell), (gate, params.gate), (pass_on(cell, params.cell), ())

    def combine(outputs: list[Array]) -> Array:
        transformed, transform, passed = outputs
        return transform * transformed + (1 - transform) * passed

    return composed_cell(init, Wiring(layers, _side_by_side, combine))


class LayerNormParams(NamedTuple):
    cell: Any  # the params of the cell itself
    norm: Any  # scale (O,) and bias (O,)


@remembered
def layer_norm(cell: Cell) -> Cell:
    """A cell with normalized outputs (Ba et al., 2016): mean 0 and variance 1 over the units, then scaled.

        y_t = scale * (u_t - mean(u_t)) / sqrt(var(u_t) + 1e-5) + bias        u_t the outputs of ``cell``

    In deep stacks it keeps the inputs of every layer in range. The recurrence inside ``cell`` is not normalized; for
    that see ``layer_norm_lstm``. The state is (the state of ``cell``, the normalized outputs).

    Raises:
        TypeError: if ``cell`` is not a cell.
    """
    check_cell("layer_norm", cell, "layer_norm(lstm(64))")
    norm = normalization()

    def init(key: Key, input_size: int) -> LayerNormParams:
        params = cell.init(key, input_size)
        return LayerNormParams(params, norm.init(key, output_like(cell, params).shape[-1]))

    def layers(params: LayerNormParams) -> tuple[tuple[Cell, Params], ...]:
        return (cell, params.cell), (norm, params.norm)

    return composed_cell(init, Wiring(layers, _in_a_row, lambda outputs: outputs[-1]))


def _side_by_side(inputs: Array, below: Array | None) -> Array:
    return inputs


def _in_a_row(inputs: Array, below: Array | None) -> Array:
    return inputs if below is None else below


def _check_equal_widths(receiver: str, input_size: int, output_size: int) -> None:
    if input_size != output_size:
        raise ValueError(
            f"{receiver}: the cell has inputs of width {input_size} and outputs of width {output_size}: expected equal "
            f"widths; put a layer that changes the width below, as in stack(lstm(64), {receiver}(lstm(64)))"
        )


# Initial states


class LearnedInitialStateParams(NamedTuple):
    cell: Any  # the params of the cell itself
    state: Any  # its state before the first step, without batch axes; None for leaves that have no gradient


@remembered
def learned_initial_state(cell: Cell) -> Cell:
    """The cell with s_0 among its params, initially the cell's own s_0; it is shared by all examples of a batch.

    Counters and random keys in the state are not learned.

    Raises:
        TypeError: if ``cell`` is not a cell.
    """
    check_cell("learned_initial_state", cell, "learned_initial_state(lstm(64))")

    def init(key: Key, input_size: int) -> LearnedInitialStateParams:
        params = cell.init(key, input_size)
        start = cell.initial_state(params, ())
        return LearnedInitialStateParams(params, jax.tree.map(lambda leaf: leaf if is_inexact(leaf) else None, start))

    def initial_state(params: LearnedInitialStateParams, batch_shape: tuple[int, ...] = ()) -> State:
        def choose(fresh: Array, learned: Array | None) -> Array:
            # A copy, even without batch axes, since a donated state must not share its buffer with a param.
            return fresh if learned is None else jnp.array(jnp.broadcast_to(learned, (*batch_shape, *learned.shape)))

        return jax.tree.map(choose, cell.initial_state(params.cell, batch_shape), params.state)

    inner, affine = cell.wiring, cell.affine
    return Cell(
        init,
        initial_state,
        project=lambda params, inputs: cell.project(params.cell, inputs),
        advance=lambda params, state, drive: cell.advance(params.cell, state, drive),
        output=lambda params, state: cell.output(params.cell, state),
        wiring=inner and inner._replace(layers=lambda params: inner.layers(params.cell)),
        affine=affine and (lambda params, drive: affine(params.cell, drive)),
        memoryless=cell.memoryless,
    )


# Changes to every layer


def each_layer(cell: Cell, change: Callable[[Cell, tuple[int, ...]], Cell], path: tuple[int, ...] = ()) -> Cell:
    """A cell with ``change(layer, path)`` instead of each layer that has a memory, at any depth of the wiring.

    The changed layer takes the same params, and its ``initial_state`` calls the one of the layer. ``path`` holds the
    layer's index in each composed cell around it.
    """
    if cell.memoryless:
        return cell
    if cell.wiring is None:
        return change(cell, path)._replace(reverse=cell.reverse)
    wiring = cell.wiring

    def initial_state(params: Params, batch_shape: tuple[int, ...] = ()) -> tuple[State, ...]:
        # The composed cell may start its layers from another state than their own, such as a learned one.
        states = cell.initial_state(params, batch_shape)
        parts = enumerate(zip(layers_of(wiring, params), states, strict=True))
        begun = [(i, layer._replace(initial_state=lambda *_, s=state: s), p) for i, ((layer, p), state) in parts]
        return tuple(each_layer(layer, change, (*path, i)).initial_state(p, batch_shape) for i, layer, p in begun)

    if isinstance(wiring, Repetition):
        changed = each_layer(wiring.cell, change, (*path, 0))
        return composed_cell(cell.init, wiring._replace(cell=changed))._replace(initial_state=initial_state)

    def layers(params: Params) -> tuple[tuple[Cell, Params], ...]:
        parts = enumerate(wiring.layers(params))
        return tuple((each_layer(layer, change, (*path, index)), p) for index, (layer, p) in parts)

    return composed_cell(cell.init, wiring._replace(layers=layers))._replace(initial_state=initial_state)
