"""Tracing of each cell only once, and not again for every layer of a stack and at every call."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from rnnjax.origin import identity

REMEMBERED = 128
"""The number of cells kept per function; beyond it the least recently used is dropped, with what JAX keeps for it."""


def traced_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``function(cell, *arrays, **options)`` in a separate ``jax.jit`` for each cell and its options.

    Layers that are equal cells with equal shapes are then traced, differentiated and transposed once, within a stack
    and for stacks of different depths. Outside of ``jax.jit`` a call is compiled only the first time. Any function may
    take the place of the cell.
    """

    @functools.lru_cache(REMEMBERED)
    def program(same: _Same, **options: Any) -> Callable[..., Any]:
        return jax.jit(functools.partial(function, same.cell, **options))

    @functools.wraps(function)
    def call(cell: Any, *arrays: Any, **options: Any) -> Any:
        # For a cell that contains a tracer, keeping its program would be a leak.
        if jax.config.jax_check_tracer_leaks:  # type: ignore[attr-defined]
            return function(cell, *arrays, **options)
        return program(_Same(cell), **options)(*arrays)

    return call


class _Same:
    """A cell or function that is equal to any other that does the same."""

    def __init__(self, cell: Any) -> None:
        self.cell, self.identity = cell, identity(cell)

    def __hash__(self) -> int:
        return hash(self.identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.identity == other.identity
