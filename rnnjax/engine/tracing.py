"""What is traced of a cell is traced once: not again for every layer of a stack, and at every call."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from rnnjax.origin import identity

REMEMBERED = 128
"""So many cells of each function; then the one that was not used for longest is forgotten, with all that JAX keeps."""


def traced_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function(cell, *arrays, **options)`` as a ``jax.jit`` of its own for each cell and options.

    Layers that are the same cell and have the same shapes are then traced, differentiated and transposed once, in a
    stack and in stacks of other depths; and outside of ``jax.jit`` a call is compiled the first time only. In the place
    of the cell any function may stand.
    """

    @functools.lru_cache(REMEMBERED)
    def program(same: _Same, **options: Any) -> Callable[..., Any]:
        return jax.jit(functools.partial(function, same.cell, **options))

    @functools.wraps(function)
    def call(cell: Any, *arrays: Any, **options: Any) -> Any:
        # Of a cell that has a tracer in it, what is remembered would be a leak.
        if jax.config.jax_check_tracer_leaks:  # type: ignore[attr-defined]
            return function(cell, *arrays, **options)
        return program(_Same(cell), **options)(*arrays)

    return call


class _Same:
    """A cell, or any function, that equals those that do the same."""

    def __init__(self, cell: Any) -> None:
        self.cell, self.identity = cell, identity(cell)

    def __hash__(self) -> int:
        return hash(self.identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.identity == other.identity
