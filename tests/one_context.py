"""One MLIR context for all programs of a test file; one for each, as JAX makes, takes a twentieth of the time."""

import functools
from collections.abc import Callable

from jax._src.interpreters import mlir


def share() -> Callable[[], None]:
    """From now on all programs have the same context. Returns a function that begins a new one."""
    shared = functools.cache(mlir.make_ir_context)
    mlir.make_ir_context = shared
    return shared.cache_clear
