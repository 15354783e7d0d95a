"""Cells made of cells: depth, skip connections, learned initial states."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, Wiring, check_cell
from rnnjax.checks import positive_integer
from rnnjax.typing import Key, Params, State


def stack(*cells: Cell, input_to_all: bool = False, all_to_output: bool = False) -> Cell:
    """Layers on top of each other, any cell in any of them; itself a cell.

        h^1_t = cell_1(h^1_{t-1}, x_t)
        h^l_t = cell_l(h^l_{t-1}, h^{l-1}_t)         with skips from the input: [x_t, h^{l-1}_t]
        y_t   = h^L_t                                with skips to the output: [h^1_t, ..., h^L_t]

    Params and states are tuples, one element a layer. Unrolled, the layers run one after the other over the whole
    sequence. The skip connections are those of Graves (2013).

    Args:
        *cells: from the input upwards.
        input_to_all: every layer above the first also sees the input.
        all_to_output: the outputs of all layers, side by side, are the output.

    Raises:
        ValueError: without cells.
        TypeError: if something else is among them.
    """
    if not cells:
        raise ValueError("stack received no cells: expected at least one, as in stack(lstm(64), lstm(64))")
    for cell in cells:
        check_cell("stack", cell, "stack(lstm(64), lstm(64))")

    def init(key: Key, input_size: int) -> tuple[Params, ...]:
        params: list[Params] = []

        def init_layer(index: int, width: int) -> int:
            params.append(cells[index].init(jax.random.fold_in(key, index), width))
            return _output_size(cells[index], params[-1])

        size = init_layer(0, positive_integer("input_size", input_size))
        for index in range(1, len(cells)):
            size = init_layer(index, size + input_size if input_to_all else size)
        return tuple(params)

    def initial_state(params: tuple[Params, ...], batch_shape: tuple[int, ...] = ()) -> tuple[State, ...]:
        return tuple(cell.initial_state(p, batch_shape) for cell, p in zip(cells, params, strict=True))

    def connect(apply: Callable[[int, Array], Array], inputs: Array) -> Array:
        outputs = [apply(0, inputs)]
        for index in range(1, len(cells)):
            below = outputs[-1]
            outputs.append(apply(index, jnp.concatenate([inputs, below], axis=-1) if input_to_all else below))
        return jnp.concatenate(outputs, axis=-1) if all_to_output else outputs[-1]

    def layers(params: tuple[Params, ...]) -> tuple[tuple[Cell, Params], ...]:
        return tuple(zip(cells, params, strict=True))

    def project(params: tuple[Params, ...], inputs: Array) -> Array:
        return inputs

    def advance(params: tuple[Params, ...], state: tuple[State, ...], inputs: Array) -> tuple[State, ...]:
        states: list[State] = []

        def apply(index: int, inputs: Array) -> Array:
            cell, p = cells[index], params[index]
            states.append(cell.advance(p, state[index], cell.project(p, inputs)))
            return cell.output(p, states[-1])

        connect(apply, inputs)
        return tuple(states)

    def output(params: tuple[Params, ...], state: tuple[State, ...]) -> Array:
        outputs = [cell.output(p, s) for cell, p, s in zip(cells, params, state, strict=True)]
        return jnp.concatenate(outputs, axis=-1) if all_to_output else outputs[-1]

    return Cell(init, initial_state, project, advance, output, Wiring(layers, connect))


class LearnedInitialStateParams(NamedTuple):
    cell: Any  # the params of the cell itself
    state: Any  # its state before the first step, without batch axes


def learned_initial_state(cell: Cell) -> Cell:
    """The same cell with s_0 among its params, starting from zero; it serves every example of a batch.

    Raises:
        TypeError: if ``cell`` is not one.
    """
    check_cell("learned_initial_state", cell, "learned_initial_state(lstm(64))")

    def init(key: Key, input_size: int) -> LearnedInitialStateParams:
        params = cell.init(key, input_size)
        return LearnedInitialStateParams(params, cell.initial_state(params, ()))

    def initial_state(params: LearnedInitialStateParams, batch_shape: tuple[int, ...] = ()) -> State:
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*batch_shape, *leaf.shape)), params.state)

    inner = cell.wiring
    wiring = inner and Wiring(lambda params: inner.layers(params.cell), inner.connect)
    return Cell(
        init,
        initial_state,
        project=lambda params, inputs: cell.project(params.cell, inputs),
        advance=lambda params, state, drive: cell.advance(params.cell, state, drive),
        output=lambda params, state: cell.output(params.cell, state),
        wiring=wiring,
    )


def _output_size(cell: Cell, params: Params) -> int:
    return jax.eval_shape(lambda p: cell.output(p, cell.initial_state(p, ())), params).shape[-1]
