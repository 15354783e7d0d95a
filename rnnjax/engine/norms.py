"""Norms of gradients: which leaves have one, its dtype, and its computation without overflow or underflow."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def norm(array: Array, axes: tuple[int, ...]) -> Array:
    """The Euclidean norm over ``axes``, in at least float32, safe from the squares' underflow and overflow."""
    array = widened(array)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(array), axis=axes, keepdims=True, initial=0))
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, jnp.ones_like(largest))
    squares = jnp.sum((jnp.abs(array) / scale) ** 2, axis=axes)
    # The square root has no derivative at 0; the derivative of the norm of 0 is defined as 0.
    root = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, jnp.ones_like(squares))), squares)
    return jnp.squeeze(scale, axes) * root


def is_inexact(leaf: Any) -> bool:
    """Whether a leaf has a gradient, which counters and random keys do not have."""
    return bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def norm_dtype(dtype: Any) -> Any:
    """The dtype of the norm of a gradient of this dtype: real, and at least float32."""
    info = jnp.finfo(dtype)
    return info.dtype if info.bits >= 32 else jnp.dtype(jnp.float32)


def widened(array: Array) -> Array:
    """The array in at least float32."""
    return array if jnp.finfo(array.dtype).bits >= 32 else array.astype(jnp.float32)
