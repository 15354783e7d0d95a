"""``jax.jit`` as experiments use it: faster to compile on a CPU, and refused where there is too little memory.

Without that check an operating system may grant more memory than it has, and kill the process that then uses it.
"""

import functools
import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from experiments.common.errors import ExperimentError

T = TypeVar("T")

_LEVEL = "xla_backend_optimization_level"

_THRESHOLD = "xla_cpu_small_while_loop_byte_threshold"
"""XLA's own name of how many bytes a turn of a loop may read and write at most to be compiled so."""


def options() -> dict[str, str | bool]:
    """Compiler options: on a CPU, LLVM at -O1 compiles in less time than at XLA's -O3, and networks run as fast.

    A level that is given by ``XLA_FLAGS=--xla_backend_optimization_level=...`` is left as it is.
    """
    given = _LEVEL in os.environ.get("XLA_FLAGS", "")
    return {_LEVEL: "1"} if jax.default_backend() == "cpu" and not given else {}


def compile_loops_whole() -> None:
    """Has XLA compile a loop over small vectors as one function, where it calls one for each operation otherwise.

    For networks that see one sequence at a time, on a CPU; loops with products of matrices stay as they are. From JAX
    0.12 on, XLA does so by itself. It has no effect once JAX has looked for its devices. A threshold that ``XLA_FLAGS``
    gives is left as it is.
    """
    given = os.environ.get("XLA_FLAGS", "")
    if _THRESHOLD not in given:
        os.environ["XLA_FLAGS"] = f"{given} --xla_backend_extra_options={_THRESHOLD}={100_000_000}".strip()


def jit(function: Callable[..., T], **given: Any) -> Callable[..., T]:
    """``jax.jit`` of a function that is called with arrays of the same shapes each time.

    Raises:
        ExperimentError: at the first call, if the machine has too little memory for it.
    """
    compiled = jax.jit(function, compiler_options=options(), **given)
    fits = False

    @functools.wraps(function)
    def checked(*arguments: Any, **named: Any) -> T:
        nonlocal fits
        if not fits:  # the call below reuses what is compiled here
            needs = compiled.lower(*arguments, **named).compile().memory_analysis()
            if needs is not None:
                parts = ("argument", "output", "temp", "generated_code")
                sizes = {part: getattr(needs, f"{part}_size_in_bytes") for part in parts}
                require_memory(sum(sizes.values()) - needs.alias_size_in_bytes)
            fits = True
        result: T = compiled(*arguments, **named)
        return result

    return checked


def require_room(shapes: Any) -> None:
    """Raises ``ExperimentError`` if arrays of these shapes, from ``jax.eval_shape``, do not fit into the memory."""
    require_memory(sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes)))


def require_memory(size: int) -> None:
    """Raises ``ExperimentError`` if the device has less than this many bytes of memory."""
    stats = jax.devices()[0].memory_stats() or {}
    there = stats.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > there:
        raise ExperimentError(
            f"not enough memory: about {size / 1e9:,.1f} GB are needed, and the machine has {there / 1e9:,.1f} GB; "
            "choose smaller sizes; what was finished is kept"
        )
