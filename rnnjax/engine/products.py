"""Matrix products x W in the forms that are fastest on a single CPU; on any other devices they are left unchanged."""

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import JaxprEqn

from rnnjax.engine.program import execute, is_matrix_product, program_of

_Options = tuple[tuple[str, Any], ...]
"""Of a product in a program: the precision, and the dtype that it is summed in."""


def at_all_steps(function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(*arguments)`` for arrays (T, ..., N), with products x W computed by ``product_of``."""
    program = program_of(function, *arguments)

    def replace(equation: JaxprEqn, operands: list[Any]) -> list[Any] | None:
        return [product_of(equation, *operands)] if is_matrix_product(equation) else None

    return execute(program, jax.tree.leaves(arguments), replace)


def product_of(equation: JaxprEqn, operand: Array, kernel: Array) -> Array:
    """The product of operand and kernel, with steps and examples merged into one axis where that is faster.

    The gradient of W is a product over steps and examples, for which a CPU takes up to 1.3 times as long if these are
    two axes. With several devices the axes stay apart, since merging them would gather a batch that is spread over
    them.
    """
    if operand.ndim < 3 or not _on_one_cpu():
        return _product(_options(equation), operand, kernel)
    flat = operand.reshape(-1, operand.shape[-1])
    copied = kernel.size * kernel.dtype.itemsize >= 2**21 and _in_few_places(kernel)
    multiply = _product_with_copies if copied else _product
    return multiply(_options(equation), flat, kernel).reshape(*operand.shape[:-1], kernel.shape[-1])


def _product(options: _Options, operand: Array, kernel: Array) -> Array:
    return jax.lax.dot_general(operand, kernel, (((operand.ndim - 1,), (0,)), ((), ())), **dict(options))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _product_with_copies(options: _Options, operand: Array, kernel: Array) -> Array:
    """The same product, for whose gradient by W the operand of all steps is transposed in memory.

    XLA otherwise reads both operands of that gradient along their columns. If the elements of a column share a few
    places in the cache, as in ``for_loop``, this takes twice as long on one core, and up to 1.3 times as long on two.
    With smaller kernels two cores gain nothing.
    """
    return _product(options, operand, kernel)


@partial(_product_with_copies.defjvp, symbolic_zeros=True)
def _derivative_with_copies(options: _Options, primals: Any, tangents: Any) -> tuple[Array, Array]:
    (operand, kernel), (d_operand, d_kernel) = primals, tangents
    made, parts = _product(options, operand, kernel), []
    if not isinstance(d_operand, SymbolicZero):
        parts.append(_product(options, d_operand, kernel))
    if not isinstance(d_kernel, SymbolicZero):
        turned = jax.lax.optimization_barrier(operand.T)
        parts.append(jax.lax.dot_general(turned, d_kernel, (((0,), (0,)), ((), ())), **dict(options)))
    return made, reduce(jnp.add, parts)


def for_loop(kernel: Array, batch_shape: tuple[int, ...]) -> Array:
    """The kernel for products at every step of a loop, possibly with a few columns of zeros added at the end.

    If rows lie a multiple of 2 KiB apart, the elements of a column share a few places in the CPU's first-level cache.
    Every product gathers these elements, which then takes up to twice as long. A few more columns shift the rows.
    """
    large = kernel.size * kernel.dtype.itemsize >= 2**20 and math.prod(batch_shape) >= 16
    if not (large and _in_few_places(kernel) and _on_one_cpu()):
        return kernel
    return jnp.pad(kernel, ((0, 0), (0, 64 // kernel.dtype.itemsize)))


def _in_few_places(kernel: Array) -> bool:
    return kernel.shape[1] * kernel.dtype.itemsize % 2048 == 0


def shifted(equation: JaxprEqn, product: Array, operand: Array, turned: Array) -> Array:
    """The product p = a W with the derivative dp + da W.

    ``turned``, the transpose of W in its form for a loop, is faster to read backward.
    """
    return _shifted(_options(equation), product, operand, turned)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _shifted(options: _Options, product: Array, operand: Array, turned: Array) -> Array:
    return product


@_shifted.defjvp
def _shifted_derivative(options: Any, primals: Any, tangents: Any) -> tuple[Array, Array]:
    product, operand, turned = primals
    d_product, d_operand, _ = tangents
    if added := turned.shape[1] - operand.shape[-1]:
        d_operand = jnp.pad(d_operand, [*[(0, 0)] * (operand.ndim - 1), (0, added)])
    along = (((d_operand.ndim - 1,), (1,)), ((), ()))
    return product, jax.lax.dot_general(d_operand, turned, along, **dict(options)) + d_product


def _options(equation: JaxprEqn) -> _Options:
    return tuple((name, equation.params[name]) for name in ("precision", "preferred_element_type"))


def _on_one_cpu() -> bool:
    alone = jax.device_count() == 1 or jax.sharding.get_abstract_mesh().manual_axes
    return bool(alone) and jax.default_backend() == "cpu"
