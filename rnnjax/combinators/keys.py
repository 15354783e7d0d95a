"""Random keys that are carried in a cell's state, one for each example."""

import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.checks import told
from rnnjax.typing import Key


def own_key(receiver: str, key: Any) -> Key:
    """A key derived from this one, a different one for each receiver.

    Raises:
        TypeError: if ``key`` is not a random key.
    """
    dtype = getattr(key, "dtype", None)
    if dtype == jnp.uint32:
        key = jax.random.wrap_key_data(key)
    elif dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise TypeError(f"key is {told(key)}: expected a random key, such as jax.random.key(0), or None to evaluate")
    return jax.random.fold_in(key, zlib.crc32(receiver.encode()))


def numbered(keys: Array, number: int) -> Array:
    """Keys derived from these, different ones for each number."""
    return each_key(lambda key: jax.random.fold_in(key, number), keys)


def next_keys(keys: Array) -> Array:
    """The keys of the next step."""
    return numbered(keys, 2**32 - 1)


def each_key(function: Callable[..., Array], keys: Array, *arrays: Array) -> Array:
    """The function of each key and of its example's part of the arrays, which have the same leading axes."""
    for _ in range(keys.ndim):
        function = jax.vmap(function)
    return function(keys, *arrays)
