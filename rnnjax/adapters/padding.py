"""The padding of a batch, said in flax's words or in rnnjax's."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from rnnjax.sequence.unroll import length_mask


def mask_of(inputs: Array, mask: Array | None, seq_lengths: Any) -> Array | None:
    """The mask (T, ...) for ``unroll`` from whichever of the two was given.

    Raises:
        ValueError: both were given, or lengths that do not have the batch axes of the inputs (T, ..., I).
        TypeError: lengths that are not whole numbers.
    """
    if seq_lengths is None:
        return mask
    if mask is not None:
        raise ValueError(
            "received both mask and seq_lengths: expected one of them; seq_lengths can be part of the mask"
        )
    lengths = jnp.asarray(seq_lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"seq_lengths have dtype {lengths.dtype}: expected whole numbers; a boolean array is a mask")
    if lengths.shape != inputs.shape[1:-1]:
        raise ValueError(
            f"seq_lengths have shape {lengths.shape}: expected {inputs.shape[1:-1]}, one length for each example of "
            f"inputs {inputs.shape}, which are (T, ..., I), time first"
        )
    return length_mask(lengths, len(inputs))
