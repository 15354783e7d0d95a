"""Two cells in opposite directions over one sequence."""

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
    """A cell of two directions: for whole sequences, as one step at a time has no end to begin from."""

    __slots__ = ()

    def apply(
        self, params: BidirectionalParams, inputs: Array, mask: Array | None = None, reset: Array | None = None
    ) -> Array:
        """The outputs (T, ..., O) of ``unroll``, as a sequence layer has them."""
        return unroll(self, params, inputs, mask=mask, reset=reset)[1]


@remembered
def bidirectional(forward: Cell, backward: Cell) -> Bidirectional:
    """One cell from the first step to the last, another from the last to the first (Schuster & Paliwal, 1997).

        y_t = [forward h_t, backward h_t]

    It goes wherever a cell runs over whole sequences: into ``unroll``, ``gradient_flow``, ``stack``, ``chain`` and the
    modules for flax. Its state is a tuple with one for each direction: s_0 of the second enters at the last step, and
    what is returned is that after the first. With a mask the backward cell starts at each example's own last step; with
    resets, as ``unroll`` has them, at the last step of each document.

    Raises:
        TypeError: if they are not cells; from ``step``, and whatever else goes one step at a time.
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
    """A cell with each of its layers in the other direction."""
    wiring = cell.wiring
    if wiring is None:
        return cell._replace(reverse=not cell.reverse)
    if isinstance(wiring, Repetition):
        turned: Wiring | Repetition = wiring._replace(cell=in_reverse(wiring.cell))
    else:
        turned = wiring._replace(layers=lambda params: tuple((in_reverse(c), p) for c, p in wiring.layers(params)))
    return composed_cell(cell.init, turned)._replace(initial_state=cell.initial_state)
