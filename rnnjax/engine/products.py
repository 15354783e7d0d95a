"""Matrix products x W in the forms that take a CPU least time; on other devices, and over several, as they are."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn

from rnnjax.engine.program import execute, is_matrix_product, program_of


def at_all_steps(function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(*arguments)`` of arrays (T, ..., N), its products x W by ``product_of``."""
    program = program_of(function, *arguments)

    def replace(equation: JaxprEqn, operands: list[Any]) -> list[Any] | None:
        return [product_of(equation, *operands)] if is_matrix_product(equation) else None

    return execute(program, jax.tree.leaves(arguments), replace)


def product_of(equation: JaxprEqn, operand: Array, kernel: Array) -> Array:
    """Operand W, with steps and examples on one axis where that pays.

    A CPU takes twice as long for the gradient of W, a product over steps and examples, where these are two axes. But
    a batch that is spread over several devices would have to be gathered.
    """
    flat = operand
    if operand.ndim > 2 and _on_one_cpu():
        flat = operand.reshape(-1, operand.shape[-1])
    along = (((flat.ndim - 1,), (0,)), ((), ()))
    made = jax.lax.dot_general(flat, kernel, along, **dict(_options(equation)))
    return made.reshape(*operand.shape[:-1], kernel.shape[-1])


def for_loop(kernel: Array, batch_shape: tuple[int, ...]) -> Array:
    """A kernel to be multiplied with at every step of a loop: the same, but for columns that may be added at the end.

    Where rows lie a multiple of 4 KiB apart, a column's elements share a few places in a CPU's first cache. To gather
    them, which every product does, then takes up to twice as long. A few more columns move the rows apart.
    """
    row = kernel.shape[1] * kernel.dtype.itemsize
    large = kernel.shape[0] * row >= 2**21 and math.prod(batch_shape) >= 16
    if row % 4096 or not large or not _on_one_cpu():
        return kernel
    return jnp.pad(kernel, ((0, 0), (0, 64 // kernel.dtype.itemsize)))


def shifted(equation: JaxprEqn, product: Array, operand: Array, turned: Array) -> Array:
    """A product p = a W, whose derivative is dp + da W. ``turned`` is the transpose of W: read faster backward."""
    return _shifted(_options(equation), product, operand, turned)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _shifted(options: tuple[tuple[str, Any], ...], product: Array, operand: Array, turned: Array) -> Array:
    return product


@_shifted.defjvp
def _shifted_derivative(options: Any, primals: Any, tangents: Any) -> tuple[Array, Array]:
    product, _, turned = primals
    d_product, d_operand, _ = tangents
    along = (((d_operand.ndim - 1,), (1,)), ((), ()))
    return product, jax.lax.dot_general(d_operand, turned, along, **dict(options)) + d_product


def _options(equation: JaxprEqn) -> tuple[tuple[str, Any], ...]:
    return tuple((name, equation.params[name]) for name in ("precision", "preferred_element_type"))


def _on_one_cpu() -> bool:
    alone = jax.device_count() == 1 or jax.sharding.get_abstract_mesh().manual_axes
    return bool(alone) and jax.default_backend() == "cpu"
