"""The cores of a CPU as devices, each with some examples of a batch, where that is faster than a device with all cores.

One device has its threads share each matrix product; what lies between products is done by one of them. With a device
a core everything is shared, but each core reads the whole of every kernel, and has fewer examples to use it for.
"""

import os
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

LEAST_EXAMPLES = 16
"""Examples of a device, below which it was not measured to pay."""

LARGEST_KERNEL = 7 << 19
"""Bytes, 3.5 MiB: a greater recurrent kernel stays with one device. ``benchmarks.training`` shows where that lies."""

AXIS = "examples"


def number(batch_size: int, kernel_bytes: int, cores: int) -> int:
    """How many devices a batch is divided among, each with as many examples."""
    if kernel_bytes > LARGEST_KERNEL:
        return 1
    counts = range(1, min(cores, batch_size // LEAST_EXAMPLES) + 1)
    return max((count for count in counts if batch_size % count == 0), default=1)


def largest_recurrent_kernel(params: Any) -> int:
    """Bytes of the largest matrix, of params or of what ``jax.eval_shape`` makes of them."""
    return max(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params) if leaf.ndim > 1)


def mesh(count: int) -> Mesh:
    """So many devices in a row, parts of the CPU if JAX has not looked for its devices yet and finds a CPU."""
    if count > 1:
        try:
            jax.config.update("jax_num_cpu_devices", count)
        except RuntimeError:
            count = min(count, len(jax.devices()))  # whoever was first has chosen
    devices = jax.devices()
    return Mesh(np.array(devices[: count if devices[0].platform == "cpu" else 1]), (AXIS,))


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def whole(mesh: Mesh) -> NamedSharding:
    """On every device."""
    return NamedSharding(mesh, PartitionSpec())


def divided(mesh: Mesh, axis: int) -> NamedSharding:
    """Along an axis, the examples."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))
