"""Matrix products x W in the forms that are fastest on a single CPU; on any other devices they are left unchanged."""

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
    """``function(*arguments)`` for arrays (T, ..., N), with products x W computed by ``product_of``."""
    program = program_of(function, *arguments)

    def replace(equation: JaxprEqn, operands: list[Any]) -> list[Any] | None:
        return [product_of(equation, *operands)] if is_matrix_product(equation) else None

    return execute(program, jax.tree.leaves(arguments), replace)


def product_of(equation: JaxprEqn, operand: Array, kernel: Array) -> Array:
    """The product of operand and kernel, with steps and examples merged into one axis where that is faster.

    The gradient of W is a product over steps and examples, for which a CPU takes twice as long if these are two axes.
    With several devices the axes stay apart, since merging them would gather a batch that is spread over the devices.
    """
    flat = operand
    if operand.ndim > 2 and _on_one_cpu():
        flat = operand.reshape(-1, operand.shape[-1])
    along = (((flat.ndim - 1,), (0,)), ((), ()))
    made = jax.lax.dot_general(flat, kernel, along, **dict(_options(equation)))
    return made.reshape(*operand.shape[:-1], kernel.shape[-1])


def for_loop(kernel: Array, batch_shape: tuple[int, ...]) -> Array:
    """The kernel for products at every step of a loop, possibly with a few columns of zeros added at the end.

    If rows lie a multiple of 4 KiB apart, the elements of a column share a few places in the CPU's first-level cache.
    Every product gathers these elements, which then takes up to twice as long. A few more columns shift the rows.
    """
    row = kernel.shape[1] * kernel.dtype.itemsize
    large = kernel.shape[0] * row >= 2**21 and math.prod(batch_shape) >= 16
    if row % 4096 or not large or not _on_one_cpu():
        return kernel
    return jnp.pad(kernel, ((0, 0), (0, 64 // kernel.dtype.itemsize)))


def shifted(equation: JaxprEqn, product: Array, operand: Array, turned: Array) -> Array:
    """The product p = a W with the derivative dp + da W; ``turned``, the transpose of W, is faster to read backward."""
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
