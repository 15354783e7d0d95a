"""Helpers of the gated cells, whose gates stand side by side in one weight and are split after the product."""

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.checks import positive_integer
from rnnjax.engine.tracing import traced_once
from rnnjax.typing import Initializer, Key


def gate_kernels(
    key: Key, gates: int, input_size: int, size: int, kernel_init: Initializer, recurrent_init: Initializer
) -> tuple[Array, Array]:
    """Input kernel (I, gates H) and recurrent kernel (H, gates H), with each gate's block drawn separately."""
    width = positive_integer("input_size", input_size)
    keys = jax.random.split(key, (2, gates))
    kernel: Array = _blocks(kernel_init, keys[0], shape=(width, size))
    recurrent_kernel: Array = _blocks(recurrent_init, keys[1], shape=(size, size))
    return kernel, recurrent_kernel


@traced_once
def _blocks(init: Initializer, keys: Key, *, shape: tuple[int, int]) -> Array:
    """One block for each key, side by side; they are drawn in a loop, which compiles faster than separate draws."""
    blocks: Array = jax.lax.map(lambda key: init(key, shape), keys)
    return jnp.moveaxis(blocks, 0, 1).reshape(shape[0], -1)


def split_gates(pre_activations: Array, gates: int) -> tuple[Array, ...]:
    """Pre-activations (..., gates H), split into ``gates`` arrays (..., H).

    The gates go through a scan as separate arrays, since XLA's CPU backend does not vectorize a gate that it has to
    slice out of a time slice.
    """
    return tuple(jnp.split(pre_activations, gates, axis=-1))


def add_to_gates(drive: tuple[Array, ...], recurrent: Array) -> tuple[Array, ...]:
    """The pre-activations: each gate's part of the drive plus its columns of the recurrent product (..., gates H)."""
    return tuple(d + r for d, r in zip(drive, split_gates(recurrent, len(drive)), strict=True))


def gate_bias(key: Key, gates: int, size: int, bias: float | Initializer) -> Array:
    """Initial bias (H,) of a gate: a number for all units, or drawn by an initializer.

    The key of the draw differs from those that ``gate_kernels`` uses for as many gates, so that no kernel changes.
    """
    if not callable(bias):
        return jnp.full(size, bias, float)
    return bias(jax.random.fold_in(key, 2 * gates), (size,))
