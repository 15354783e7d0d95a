"""Activation functions by name."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.names import lookup
from rnnjax.typing import Activation


def _identity(x: Array) -> Array:
    return x


ACTIVATIONS: dict[str, Activation] = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "softplus": jax.nn.softplus,
    "identity": _identity,
    "leaky_relu": jax.nn.leaky_relu,
    "hard_tanh": jax.nn.hard_tanh,
}


def activation_named(activation: str | Activation) -> Activation:
    """The activation with this name, or the given function itself.

    Raises:
        ValueError: for an unknown name, with the nearest valid ones.
    """
    return activation if callable(activation) else lookup("activation", activation, ACTIVATIONS)
