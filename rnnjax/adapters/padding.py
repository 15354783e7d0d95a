"""The padding of a batch, given as lengths, as in flax, or as a mask, as in rnnjax."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from rnnjax.sequence.unroll import length_mask


def mask_of(inputs: Array, mask: Array | None, seq_lengths: Any, time_major: bool) -> Array | None:
    """The mask for ``unroll``, from a mask or from lengths; None if neither was given.

    Raises:
        ValueError: if both were given, or lengths do not have the batch axes of the inputs.
        TypeError: if lengths are not whole numbers.
    """
    if seq_lengths is None:
        return mask
    if mask is not None:
        raise ValueError(
            "received both mask and seq_lengths: expected one of them; give a mask alone, False after the lengths"
        )
    lengths = jnp.asarray(seq_lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"seq_lengths have dtype {lengths.dtype}: expected whole numbers; a boolean array is a mask")
    steps, batch_shape = sizes(inputs, time_major)
    if lengths.shape != batch_shape:
        axes = "(T, ..., I), time first" if time_major else "(..., T, I)"
        raise ValueError(
            f"seq_lengths have shape {lengths.shape}: expected {batch_shape}, one length for each example of "
            f"inputs {inputs.shape}, which are {axes}"
        )
    real = length_mask(lengths, steps)
    return real if time_major else jnp.moveaxis(real, 0, -1)


def sizes(inputs: Array, time_major: bool) -> tuple[int, tuple[int, ...]]:
    """T and the batch axes of inputs (T, ..., I), or (..., T, I)."""
    return (inputs.shape[0], inputs.shape[1:-1]) if time_major else (inputs.shape[-2], inputs.shape[:-2])
