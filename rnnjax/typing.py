"""Dimension letters and array aliases used in every signature and docstring.

    T  time steps          I  input width           L  layers
    B  batch               H  hidden width          V  vocabulary
    ...  any leading axes  O  output width          N  width of a vector that a sequence starts from
    S  steps of a source   J  width of a source

Sequences are time-major: ``(T, B, I)``, or ``(T, ..., I)`` with any number of batch axes, also none.
"""

from collections.abc import Callable
from typing import Any

from jax import Array

Key = Array
"""A JAX random key."""

Params = Any
"""A pytree of arrays: a NamedTuple of a cell's weights, or a tuple of them for a stack."""

State = Any
"""A pytree of arrays with equal leading batch axes: what a cell carries from one step to the next."""

Drive = Any
"""A pytree of arrays: what the inputs contribute to a step before any state is known."""

Activation = Callable[[Array], Array]
"""An elementwise function."""

Initializer = Callable[[Key, tuple[int, ...]], Array]
"""``(key, shape) -> array``, like the initializers in ``jax.nn.initializers``."""

Loss = Callable[[Array], Array]
"""``outputs (T, ..., O) -> scalar``: any function of the whole output sequence."""
