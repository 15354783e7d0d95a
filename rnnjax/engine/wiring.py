"""Cells made of other cells: their layers run one after the other, over one step or over a whole sequence."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, Repetition, Wiring
from rnnjax.typing import Key, Params, State

Run = Callable[[Cell, Params, Array, State, Any], tuple[Any, Array]]
"""``(cell, params, inputs, state, extra) -> (state, outputs)``: runs one layer."""


def composed_cell(init: Callable[[Key, int], Params], wiring: Wiring | Repetition) -> Cell:
    """Make a cell of other cells; all of its functions but ``init`` follow from the wiring."""

    def initial_state(params: Params, batch_shape: tuple[int, ...] = ()) -> tuple[State, ...]:
        if isinstance(wiring, Repetition):
            states = jax.vmap(lambda p: wiring.cell.initial_state(p, batch_shape))(wiring.layers(params))
            return _unstack(wiring, states)
        return tuple(cell.initial_state(p, batch_shape) for cell, p in wiring.layers(params))

    def project(params: Params, inputs: Array) -> Array:
        return inputs

    def advance(params: Params, state: tuple[State, ...], inputs: Array) -> tuple[State, ...]:
        def step(cell: Cell, params: Params, inputs: Array, state: State, extra: None) -> tuple[State, Array]:
            if cell.reverse:
                raise TypeError(
                    "a bidirectional cell received one step: its second direction begins at the end of a sequence; "
                    "run it over whole sequences with unroll, gradient_flow or chain, alone or in a stack"
                )
            new_state = cell.advance(params, state, cell.project(params, inputs))
            return new_state, cell.output(params, new_state)

        return run_layers(wiring, params, inputs, state, [None] * len(state), step)[0]

    def output(params: Params, state: tuple[State, ...]) -> Array:
        layers = zip(layers_of(wiring, params), state, strict=True)
        return wiring.combine([cell.output(p, of_layer) for (cell, p), of_layer in layers])

    return Cell(init, initial_state, project, advance, output, wiring)


def layers_of(wiring: Wiring | Repetition, params: Params) -> tuple[tuple[Cell, Params], ...]:
    """Return the layers of a composed cell, each with its params."""
    if isinstance(wiring, Wiring):
        return wiring.layers(params)
    return tuple((wiring.cell, of_layer) for of_layer in _unstack(wiring, wiring.layers(params)))


def run_layers(
    wiring: Wiring | Repetition,
    params: Params,
    inputs: Array,
    state: tuple[State, ...],
    extras: Sequence[Any],
    run: Run,
) -> tuple[tuple[Any, ...], Array]:
    """Run each layer with its element of ``extras``; repeated layers are one program."""
    if isinstance(wiring, Repetition):
        return _scan_layers(wiring, params, inputs, state, extras, run)
    states: list[Any] = []
    outputs: list[Array] = []
    for (layer, layer_params), old, extra in zip(wiring.layers(params), state, extras, strict=True):
        layer_inputs = wiring.feed(inputs, outputs[-1] if outputs else None)
        new_state, output = run(layer, layer_params, layer_inputs, old, extra)
        states.append(new_state)
        outputs.append(output)
    return tuple(states), wiring.combine(outputs)


def _scan_layers(
    repetition: Repetition,
    params: Params,
    inputs: Array,
    state: tuple[State, ...],
    extras: Sequence[Any],
    run: Run,
) -> tuple[tuple[Any, ...], Array]:
    def layer(inputs: Array, arguments: Any) -> tuple[Array, Any]:
        layer_params, state, extra = arguments
        new_state, outputs = run(repetition.cell, layer_params, inputs, state, extra)
        return outputs, new_state

    of_layers = jax.tree.map(lambda *leaves: jnp.stack(leaves), *zip(state, extras, strict=True))
    outputs, states = jax.lax.scan(layer, inputs, (repetition.layers(params), *of_layers))
    return _unstack(repetition, states), outputs


def _unstack(repetition: Repetition, stacked: Any) -> tuple[Any, ...]:
    """Split the leading axis into one element for each layer."""
    # Indexing every leaf would take several times as long to trace, which matters for deep networks.
    leaves, structure = jax.tree.flatten(stacked)
    of_layers = zip(*(jnp.unstack(leaf) for leaf in leaves), strict=True) if leaves else [()] * repetition.times
    return tuple(jax.tree.unflatten(structure, of_layer) for of_layer in of_layers)
