"""Spectral radius and largest singular value of every recurrent kernel.

They are two bounds on how a gradient can grow.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn

from rnnjax.cell import Cell, check_cell
from rnnjax.checks import as_arrays, check_params, positive_integer
from rnnjax.engine.norms import is_inexact, widened
from rnnjax.engine.program import execute, program_of, recurrent_products
from rnnjax.engine.wiring import run_layers
from rnnjax.typing import Drive, Params, State


class KernelSpectrum(NamedTuple):
    """The spectrum of a recurrent kernel, or of each of its k blocks for gates, in their order.

    Attributes:
        spectral_radius: (k,), the largest modulus of an eigenvalue; NaN for a kernel that is not square.
        largest_singular_value: (k,).
    """

    spectral_radius: Array
    largest_singular_value: Array


def recurrent_spectra(cell: Cell, params: Params, input_size: int) -> Any:
    """The ``KernelSpectrum`` of each matrix that, in a step, multiplies something computed from the old state.

    A matrix is taken as the step uses it, as U in x @ U, where U is made from the params in any way. A matrix of shape
    (H, kH), k gates side by side, counts as k square blocks. Elementwise weights, as in ``indrnn`` or ``lru``, are not
    kernels; products within a ``jax.jit`` or a loop inside the step are not found. For an Elman network
    ||dh_T/dh_t|| <= (gamma * largest_singular_value)^(T - t), with gamma = 1 for tanh and 1/4 for sigmoid (Pascanu et
    al., 2013).

    To follow the spectra over training, call it on the params between steps. It can be jitted on platforms where JAX
    has eigenvalues of general matrices, such as CPUs.

    Args:
        cell: any cell, stacks included.
        params: from ``cell.init``.
        input_size: I, as given to ``cell.init``.

    Returns:
        A tuple with one ``KernelSpectrum`` for each kernel, in the order of the products; for a composed cell a tuple
        of such tuples, nested as its layers are.

    Raises:
        ValueError: if params or input_size are not this cell's.
        TypeError: if input_size is not a whole number, or ``cell`` is not a cell.
    """
    check_cell("recurrent_spectra", cell, "lstm(64)")
    params = as_arrays("params", params)
    leaves = [leaf for leaf in jax.tree.leaves(params) if is_inexact(jnp.asarray(leaf))]
    dtype = leaves[0].real.dtype if leaves else None
    inputs = jnp.zeros(positive_integer("input_size", input_size), dtype)
    check_params(cell, params, inputs)

    def run(cell: Cell, params: Params, inputs: Array, state: State, extra: None) -> tuple[Any, Array]:
        if cell.wiring:
            return run_layers(cell.wiring, params, inputs, state, [None] * len(state), run)
        drive = cell.project(params, inputs)
        spectra = tuple(map(_spectrum, _kernels(cell, params, state, drive)))
        return spectra, cell.output(params, cell.advance(params, state, drive))

    return run(cell, params, inputs, cell.initial_state(params, ()), None)[0]


def _kernels(cell: Cell, params: Params, state: State, drive: Drive) -> list[Array]:
    program = program_of(cell.advance, params, state, drive)
    products = recurrent_products(program, *(len(jax.tree.leaves(tree)) for tree in (params, state)))
    places, kernels = set(map(id, products)), list[Array]()

    def note(equation: JaxprEqn, operands: list[Any]) -> None:
        if id(equation) in places:
            kernels.append(operands[1])

    execute(program, jax.tree.leaves((params, state, drive)), note)
    return kernels


def _spectrum(kernel: Array) -> KernelSpectrum:
    rows, columns = kernel.shape
    gates = columns // rows if columns % rows == 0 else 1
    blocks = jnp.stack(jnp.split(widened(kernel), gates, axis=1))
    largest = jnp.linalg.norm(blocks, ord=2, axis=(-2, -1))
    if blocks.shape[-1] != rows:
        return KernelSpectrum(jnp.full_like(largest, jnp.nan), largest)
    return KernelSpectrum(jnp.max(jnp.abs(jnp.linalg.eigvals(blocks)), axis=-1), largest)
