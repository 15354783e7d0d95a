"""Weights with one value per unit, combined with arrays that have an axis of units.

Both get the same number of axes before they are combined. NumPy would add the axes silently, and JAX can be set to
forbid that (``jax_numpy_rank_promotion="raise"``).
"""

import jax.numpy as jnp
from jax import Array


def beside(weights: Array, values: Array) -> Array:
    """The weights (..., H) with leading axes of length 1 added, so that they have as many axes as the values."""
    return jnp.expand_dims(weights, tuple(range(values.ndim - weights.ndim)))


def dense(inputs: Array, kernel: Array, bias: Array) -> Array:
    """X W + b for inputs (..., I), a kernel (I, O) and a bias (O,)."""
    product = inputs @ kernel
    return product + beside(bias, product)
