"""Divides a batch among the cores of a CPU, each as a device, where that is faster than one device with all cores.

The threads of one device share each matrix product, but one of them alone does what lies between products. With a
device for each core everything is shared, but each core reads the whole of every kernel, for fewer examples.
"""

import os
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

LEAST_EXAMPLES = 16
"""The fewest examples that a device is given; with fewer it has not been measured to be faster."""

LARGEST_KERNEL = 7 << 19
"""Bytes, 3.5 MiB: with a larger recurrent kernel two devices gain little, as ``benchmarks.training`` measures."""

AXIS = "examples"


def number(batch_size: int, kernel_bytes: int, cores: int) -> int:
    """Among how many devices a batch is divided; each gets the same number of examples."""
    if kernel_bytes > LARGEST_KERNEL:
        return 1
    counts = range(1, min(cores, batch_size // LEAST_EXAMPLES) + 1)
    return max((count for count in counts if batch_size % count == 0), default=1)


def largest_recurrent_kernel(params: Any) -> int:
    """The bytes of the largest matrix among params, or among their shapes as ``jax.eval_shape`` returns them."""
    return max(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params) if leaf.ndim > 1)


def mesh(count: int) -> Mesh:
    """A mesh of ``count`` parts of the CPU, or of one device if JAX finds another platform than a CPU.

    It has fewer parts if JAX had already looked for its devices and found fewer.
    """
    if count > 1:
        try:
            jax.config.update("jax_num_cpu_devices", count)
        except RuntimeError:
            count = min(count, len(jax.devices()))  # JAX has looked for its devices already
    devices = jax.devices()
    return Mesh(np.array(devices[: count if devices[0].platform == "cpu" else 1]), (AXIS,))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def whole(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that is whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def divided(mesh: Mesh, axis: int) -> NamedSharding:
    """The sharding of an array that is divided along this axis, which is that of the examples."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))
