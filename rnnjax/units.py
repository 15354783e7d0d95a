"""Weights of units, and arrays with an axis of units.

Both are given equally many axes before they meet. NumPy does so silently, and JAX can be told to forbid that
(``jax_numpy_rank_promotion="raise"``).
"""

import jax.numpy as jnp
from jax import Array


def beside(weights: Array, values: Array) -> Array:
    """Weights (..., H) with leading axes of length 1, as many axes as the values have."""
    return jnp.expand_dims(weights, tuple(range(values.ndim - weights.ndim)))


def dense(inputs: Array, kernel: Array, bias: Array) -> Array:
    """X W + b for inputs (..., I), a kernel (I, O) and a bias (O,)."""
    product = inputs @ kernel
    return product + beside(bias, product)
