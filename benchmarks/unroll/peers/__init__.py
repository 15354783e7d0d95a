"""One recurrent layer in every library: the same work, written as each library's documentation would have it.

A builder takes a cell's name, a shape and the device, and returns the programs to time. All are float32 and jitted
where the library can be; the loss is the sum of squares of the outputs, differentiated with respect to all weights.
Beside the libraries stand two references: the matrix products alone, and a loop in PyTorch that measures gradients.
"""

from collections.abc import Callable

from benchmarks.common.device import Device
from benchmarks.unroll.peers import jax_libraries, own, pytorch
from benchmarks.unroll.peers.layer import Programs, Shape, weights_in_matrices

BUILDERS: dict[str, Callable[[str, Shape, Device], Programs]] = {
    "rnnjax": own.build_rnnjax,
    "rnnjax_2_devices": own.build_rnnjax_2_devices,
    "scan": own.build_scan,
    "flax": jax_libraries.build_flax,
    "nnx": jax_libraries.build_nnx,
    "haiku": jax_libraries.build_haiku,
    "equinox": jax_libraries.build_equinox,
    "keras": jax_libraries.build_keras,
    "cudnn": jax_libraries.build_cudnn,
    "torch": pytorch.build_torch,
    "torch_loop": pytorch.build_torch_loop,
    "matmul": own.build_products,
}

JAX_PEERS = ("scan", "flax", "nnx", "haiku", "equinox", "keras", "cudnn")
"""The programs that a researcher with JAX would otherwise use."""

PACKAGES = ("flax", "dm-haiku", "equinox", "keras", "torch")
"""The packages that peers come from; ``make peers`` installs all of them."""


def build(library: str, cell: str, shape: Shape, device: Device) -> Programs:
    """The programs of one library; an ``UnavailableError`` if it lacks the cell or cannot run on the device."""
    programs = BUILDERS[library](cell, shape, device)
    expected = (shape.steps, shape.batch, shape.hidden_size), weights_in_matrices(cell, shape)
    if programs[1:] != expected:
        raise AssertionError(f"{library} {cell} has outputs and weights {programs[1:]}, not {expected}: unequal work")
    return programs
