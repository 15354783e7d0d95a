"""The contract: a recurrent cell is a NamedTuple of pure functions.

A cell is a state-space model. It computes a new state from the old state and the inputs x_t, and an output from the new
state:

    s_t = f(s_{t-1}, x_t)        y_t = g(s_t)

``project`` is the part of f that needs no state, so it can be computed for all time steps at once. ``advance`` is the
rest of f, and ``output`` is g. Because the output is read *from the state*, everything that follows depends on the
state alone. The gradient with respect to a zero that is added to the state is therefore dL/ds_t; this is how
``rnnjax.gradient_flow`` measures it for any cell.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.checks import check_advanced, check_batch_shape, check_params, check_state, told
from rnnjax.origin import remembering
from rnnjax.typing import Drive, Key, Params, State


def hidden_of(params: Params, state: State) -> Array:
    """The usual output: the state's field ``hidden``, or the state itself where it is a single array."""
    if hasattr(state, "hidden"):
        return state.hidden
    if not hasattr(state, "shape"):
        raise TypeError(
            f"the state is a {type(state).__name__} without a field 'hidden': give Cell a function "
            "output(params, state) that returns the outputs"
        )
    return state


class Wiring(NamedTuple):
    """How a cell is composed of other cells, its layers, so that each layer can run over a whole sequence in turn.

    A wrapper around a cell with a wiring should pass the wiring on, as ``learned_initial_state`` does. Without it the
    wrapped cell runs step by step, and ``gradient_flow`` measures an inner layer only through what enters the next
    step.

    Attributes:
        layers: ``params -> ((cell, its params), ...)``, selected from the params without computing with them. The state
            of the composed cell is the tuple of the layers' states.
        feed: ``(inputs, below) -> inputs`` of a layer, from the inputs of the composed cell and the outputs of the
            layer below, which are None for the first layer.
        combine: ``outputs -> outputs``, from the list of all layers' outputs to the outputs of the composed cell.
    """

    layers: Callable[[Any], tuple[tuple["Cell", Any], ...]]
    feed: Callable[[Array, Array | None], Array]
    combine: Callable[[list[Array]], Array]


class Repetition(NamedTuple):
    """How a cell is composed of equal layers, whose params have a leading axis for the layers in every leaf.

    Attributes:
        layers: ``params -> params of the layers``, selected from the params without computing with them. The state of
            the composed cell is the tuple of the layers' states.
        cell: the cell that is repeated.
        times: the number of layers.
    """

    layers: Callable[[Any], Any]
    cell: "Cell"
    times: int

    def feed(self, inputs: Array, below: Array | None) -> Array:
        """Return the inputs of a layer, as in ``Wiring``: the outputs of the layer below."""
        return inputs if below is None else below

    def combine(self, outputs: list[Array]) -> Array:
        """Return the outputs of the composed cell, as in ``Wiring``: the outputs of the last layer."""
        return outputs[-1]


@remembering
class Cell(NamedTuple):
    """A recurrent cell: four pure functions, and a fifth where the output is not the hidden state.

    Sizes are arguments of the constructor that makes the cell. All functions take any leading axes: ``(..., I)``.

    ``cell._replace(advance=...)`` makes a cell of another function. Fields that tell how the replaced functions can be
    computed faster, ``wiring``, ``affine`` and ``memoryless``, are then reset unless they are given, too.

    Attributes:
        init: ``(key, input_size) -> params``.
        initial_state: ``(params, batch_shape) -> state``, zero or learned.
        project: ``(params, inputs (..., I)) -> drive``: the part of a step that needs no state.
        advance: ``(params, state, drive) -> state``: the recurrence itself.
        output: ``(params, state) -> outputs (..., O)``, by default the state's ``hidden``.
        wiring: set by combinators such as ``stack`` and ``repeat``; None for a cell that is not composed of others.
        affine: ``(params, drive) -> (factor, term)``, both like the state, if the recurrence is
            s_t = factor_t * s_{t-1} + term_t, element by element; None for any other recurrence. See ``affine_cell``.
        memoryless: True if ``advance`` ignores the old state; all steps are then computed at once.
        reverse: True if the cell runs from the last step to the first, as the second cell of ``bidirectional`` does.
    """

    init: Callable[[Key, int], Params]
    initial_state: Callable[[Params, tuple[int, ...]], State]
    project: Callable[[Params, Array], Drive]
    advance: Callable[[Params, State, Drive], State]
    output: Callable[[Params, State], Array] = hidden_of
    wiring: Wiring | Repetition | None = None
    affine: Callable[[Params, Drive], tuple[State, State]] | None = None
    memoryless: bool = False
    reverse: bool = False

    def step(self, params: Params, state: State, inputs: Array) -> tuple[State, Array]:
        """Run one step, with the state first as in ``lax.scan``: ``partial(cell.step, params)`` is a scan body.

        Args:
            params: from ``init``.
            state: from ``initial_state`` or from the step before.
            inputs: (..., I), with the leading axes of the state.

        Returns:
            The new state and the outputs (..., O).

        Raises:
            ValueError: if params or state belong to another cell or have other sizes.
            TypeError: if the inputs are not real numbers.
        """
        check_params(self, params, inputs)
        check_state(self, params, state, inputs.shape[:-1])
        new_state = self.advance(params, state, self.project(params, inputs))
        check_advanced(state, new_state)
        return new_state, self.output(params, new_state)


def _with_fields(self: Cell, **fields: Any) -> Cell:
    """Replace fields of a cell, and reset those that no longer describe it: otherwise a new function would not run."""
    if fields.keys() & {"project", "advance", "output"}:
        fields = {"wiring": None} | fields
    if "advance" in fields:
        fields = {"affine": None, "memoryless": False} | fields
    return _replace_fields(self, **fields)


_replace_fields = Cell._replace
Cell._replace = _with_fields  # type: ignore[assignment, method-assign]  # its class body may not


def affine_cell(
    init: Callable[[Key, int], Params],
    initial_state: Callable[[Params, tuple[int, ...]], State],
    project: Callable[[Params, Array], Drive],
    affine: Callable[[Params, Drive], tuple[State, State]],
    output: Callable[[Params, State], Array] = hidden_of,
) -> Cell:
    """A cell whose state is a diagonal linear recurrence, with factors and terms that depend on the inputs only.

        s_t = factor_t * s_{t-1} + term_t

    Whatever else the output needs can be a field of the state with factor 0, which holds a value for this step only.
    """

    def advance(params: Params, state: State, drive: Drive) -> State:
        factor, term = affine(params, drive)
        return jax.tree.map(lambda a, s, b: a * s + b, factor, state, term)

    return Cell(init, initial_state, project, advance, output, affine=affine)


def zero_state(batch_shape: tuple[int, ...], widths: tuple[int, ...], dtype: Any) -> list[Array]:
    """Zeros (..., H) for each width H, as separate arrays, so that each can be donated.

    Raises:
        TypeError: if the batch shape is not a tuple.
    """
    check_batch_shape(batch_shape)
    return [jnp.zeros((*batch_shape, width), dtype) for width in widths]


def output_like(cell: Cell, params: Params) -> jax.ShapeDtypeStruct:
    """Shape (O,) and dtype of the outputs of one example."""
    return jax.eval_shape(lambda p: cell.output(p, cell.initial_state(p, ())), params)


def check_cell(receiver: str, cell: Any, example: str) -> None:
    """Raise ``TypeError`` unless ``cell`` is a ``Cell``."""
    if not isinstance(cell, Cell):
        received = getattr(cell, "__name__", None) or told(cell)
        raise TypeError(f"{receiver} received {received}: expected cells, made with their sizes, as in {example}")
