"""Two cells that read one sequence in opposite directions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, Repetition, Wiring, check_cell
from rnnjax.engine.wiring import composed_cell
from rnnjax.origin import remembered
from rnnjax.sequence.unroll import unroll
from rnnjax.typing import Key, Params


class BidirectionalParams(NamedTuple):
    forward: Any
    backward: Any


class Bidirectional(Cell):
    """A cell of two directions, for whole sequences only: the second direction begins at the end of the sequence."""

    __slots__ = ()

    def apply(
        self, params: BidirectionalParams, inputs: Array, mask: Array | None = None, reset: Array | None = None
    ) -> Array:
        """Return the outputs (T, ..., O) of ``unroll``, as ``SequenceLayer.apply`` does."""
        return unroll(self, params, inputs, mask=mask, reset=reset)[1]


@remembered
def bidirectional(forward: Cell, backward: Cell) -> Bidirectional:
    """A cell made of one that runs forward and one that runs backward in time (Schuster & Paliwal, 1997).

        y_t = [forward h_t, backward h_t]

    It can be used wherever a cell runs over whole sequences: in ``unroll``, ``gradient_flow``, ``stack``, ``chain`` and
    the modules for flax. Its state is a tuple with one state for each direction. The initial state of the backward cell
    enters at the last step, and its final state is the one after the first step. With a mask the backward cell starts
    at the last real step of each example; with resets, as in ``unroll``, it starts at the last step of each document.

    Raises:
        TypeError: if the arguments are not cells; from ``step`` and any other function that takes one step at a time.
    """
    for cell in (forward, backward):
        check_cell("bidirectional", cell, "bidirectional(lstm(64), lstm(64))")
    from_the_end = in_reverse(backward)

    def init(key: Key, input_size: int) -> BidirectionalParams:
        forward_key, backward_key = jax.random.split(key)
        return BidirectionalParams(forward.init(forward_key, input_size), backward.init(backward_key, input_size))

    def layers(params: BidirectionalParams) -> tuple[tuple[Cell, Params], ...]:
        return (forward, params.forward), (from_the_end, params.backward)

    wiring = Wiring(layers, lambda inputs, below: inputs, lambda outputs: jnp.concatenate(outputs, axis=-1))
    return Bidirectional(*composed_cell(init, wiring))


@remembered
def in_reverse(cell: Cell) -> Cell:
    """The cell with each of its layers in the opposite direction."""
    wiring = cell.wiring
    if wiring is None:
        return cell._replace(reverse=not cell.reverse)
    if isinstance(wiring, Repetition):
        turned: Wiring | Repetition = wiring._replace(cell=in_reverse(wiring.cell))
    else:
        turned = wiring._replace(layers=lambda params: tuple((in_reverse(c), p) for c, p in wiring.layers(params)))
    return composed_cell(cell.init, turned)._replace(initial_state=cell.initial_state)
