"""Two cells in opposite directions over one sequence."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, check_cell
from rnnjax.origin import remembered
from rnnjax.sequence.layers import SequenceLayer
from rnnjax.sequence.unroll import unroll
from rnnjax.typing import Key


class BidirectionalParams(NamedTuple):
    forward: Any
    backward: Any


@remembered
def bidirectional(forward: Cell, backward: Cell) -> SequenceLayer:
    """One cell from the first step to the last, another from the last to the first (Schuster & Paliwal, 1997).

        y_t = [forward h_t, backward h_t]

    With a mask the backward cell starts at each example's own last step; with resets, as ``unroll`` has them, at the
    last step of each document.

    Raises:
        TypeError: if they are not cells.
    """
    for cell in (forward, backward):
        check_cell("bidirectional", cell, "bidirectional(lstm(64), lstm(64))")

    def init(key: Key, input_size: int) -> BidirectionalParams:
        forward_key, backward_key = jax.random.split(key)
        return BidirectionalParams(forward.init(forward_key, input_size), backward.init(backward_key, input_size))

    def apply(
        params: BidirectionalParams, inputs: Array, mask: Array | None = None, reset: Array | None = None
    ) -> Array:
        if not isinstance(params, BidirectionalParams):
            raise ValueError(
                f"params are a {type(params).__name__}: expected BidirectionalParams, with params for each direction; "
                "make them with init of this bidirectional, or as BidirectionalParams(forward, backward)"
            )
        _, ahead = unroll(forward, params.forward, inputs, mask=mask, reset=reset)
        _, behind = unroll(backward, params.backward, inputs, mask=mask, reset=reset, reverse=True)
        return jnp.concatenate([ahead, behind], axis=-1)

    return SequenceLayer(init, apply)
