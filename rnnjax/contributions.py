"""The norm of what one step adds to dL/dparams, without keeping or, mostly, even forming it.

A zero stands on each of the params as the step uses them; the gradient with respect to it is the step's contribution,
and only its norm leaves the step, as the cotangent of a scalar, the *slot*. Most params are a kernel W in a single
product x W. There the contribution is x^T delta, where delta (B, N) is the gradient of the product, and its norm
follows from two small matrices, the Gram matrices of the examples (the "ghost norm" of Goodfellow, 2015):

    ||x^T delta||^2 = sum over examples b, c of (x_b . x_c) (delta_b . delta_c)
"""

import collections
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var
from jax.sharding import NamedSharding, PartitionSpec

from rnnjax.program import execute, is_matrix_product, program_of
from rnnjax.typing import Params


def step_with_slots(step: Callable[..., Any], params: Params, slots: Params, *arguments: Any) -> Any:
    """``step(params, *arguments)``, whose backward pass gives each slot the norm of its leaf's gradient.

    Args:
        step: any function of the params and of other arguments.
        params: a pytree of arrays.
        slots: like the params, each leaf a real scalar. Their value does not matter.
        *arguments: pytrees of arrays.
    """
    program = program_of(step, params, *arguments)
    leaves, slot_leaves = jax.tree.leaves(params), jax.tree.leaves(slots)
    variables = program.jaxpr.invars[: len(leaves)]
    products = _single_products(program.jaxpr, variables)
    slot_of = {id(products[v]): slot for v, slot in zip(variables, slot_leaves, strict=True) if v in products}

    rest = [i for i, variable in enumerate(variables) if variable not in products and is_inexact(leaves[i])]
    probed = _probe([leaves[index] for index in rest], [slot_leaves[index] for index in rest])
    for index, leaf in zip(rest, probed, strict=True):
        leaves[index] = leaf

    def measure(equation: JaxprEqn, operands: list[Any]) -> list[Any] | None:
        if id(equation) not in slot_of:
            return None
        return [_product(tuple(sorted(equation.params.items())), *operands, slot_of[id(equation)])]

    return execute(program, [*leaves, *jax.tree.leaves(arguments)], measure)


def _single_products(jaxpr: Jaxpr, variables: list[Var]) -> dict[Any, JaxprEqn]:
    """The params used once only, as W in a product x W that is cheaper to measure by Gram matrices."""
    operands = [*(variable for equation in jaxpr.eqns for variable in equation.invars), *jaxpr.outvars]
    uses = collections.Counter(variable for variable in operands if not isinstance(variable, Literal))
    products = {equation.invars[1]: equation for equation in jaxpr.eqns if _is_cheaper_by_gram(equation)}
    return {variable: products[variable] for variable in variables if variable in products and uses[variable] == 1}


def _is_cheaper_by_gram(equation: JaxprEqn) -> bool:
    if not is_matrix_product(equation) or isinstance(equation.invars[1], Literal):
        return False
    x, kernel = (variable.aval for variable in equation.invars)
    examples = math.prod(x.shape[:-1])  # type: ignore[attr-defined]
    return is_inexact(kernel) and examples * sum(kernel.shape) < 2 * math.prod(kernel.shape)  # type: ignore[attr-defined]


@jax.custom_vjp
def _probe(leaves: list[Array], slots: list[Array]) -> list[Array]:
    """The leaves unchanged; in the backward pass each slot receives the norm of its leaf's gradient."""
    return leaves


def _probe_backward(_: None, gradients: list[Array]) -> tuple[list[Array], list[Array]]:
    wide = [_widened(gradient) for gradient in gradients]
    squares = [jnp.sum(jnp.abs(gradient) ** 2) for gradient in wide]
    # Squares leave the range of floats long before the gradients do; a norm safe from that takes a second pass over
    # the gradient, which is only worth its time where it is needed.
    norms = jax.lax.cond(
        jnp.stack([_holds_digits(square) for square in squares]).all(),
        lambda: [jnp.sqrt(square) for square in squares],
        lambda: [norm(gradient, tuple(range(gradient.ndim))) for gradient in wide],
    )
    return gradients, norms


_probe.defvjp(lambda leaves, slots: (leaves, None), _probe_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(options: tuple[tuple[str, Any], ...], x: Array, kernel: Array, slot: Array) -> Array:
    """The product x W; in the backward pass the slot receives the norm of W's gradient."""
    return jax.lax.dot_general_p.bind(x, kernel, **dict(options))


def _product_forward(
    options: tuple[tuple[str, Any], ...], x: Array, kernel: Array, slot: Array
) -> tuple[Array, tuple[Array, Array]]:
    return _product(options, x, kernel, slot), (x, kernel)


def _product_backward(
    options: tuple[tuple[str, Any], ...], residuals: tuple[Array, Array], delta: Array
) -> tuple[Array, Array, Array]:
    _, vjp = jax.vjp(lambda x, kernel: jax.lax.dot_general_p.bind(x, kernel, **dict(options)), *residuals)
    # The kernel's gradient is for whoever differentiates the norms themselves; unused, it is not computed.
    x, _ = residuals
    flat = [_on_every_device(array).reshape(-1, array.shape[-1]) for array in (x, delta)]
    return *vjp(delta), _norm_of_product(*map(_widened, flat))


_product.defvjp(_product_forward, _product_backward)


def _norm_of_product(x: Array, delta: Array) -> Array:
    """||x^T delta||, examples on axis 0."""
    x_gram, delta_gram = x @ x.conj().T, delta @ delta.conj().T
    square = jnp.sum(x_gram * delta_gram.conj()).real
    # Where the examples' contributions cancel, the sum has few digits left.
    uncancelled = jnp.sum(jnp.diagonal(x_gram) * jnp.diagonal(delta_gram)).real
    return jax.lax.cond(
        _holds_digits(square) & (square > 1e-2 * uncancelled),
        lambda: jnp.sqrt(square),
        lambda: norm(x.T @ delta, (0, 1)),
    )


def _on_every_device(array: Array) -> Array:
    """In a mesh of explicit axes, the whole array everywhere: Gram matrices are between all examples."""
    placed = jax.typeof(array).sharding
    if all(axis is None for axis in placed.spec):
        return array
    return jax.sharding.reshard(array, NamedSharding(placed.mesh, PartitionSpec()))


def _holds_digits(square_sum: Array) -> Array:
    info = jnp.finfo(square_sum.dtype)
    return (square_sum > float(info.smallest_normal) / float(info.eps) ** 2) & jnp.isfinite(square_sum)


def norm(array: Array, axes: tuple[int, ...]) -> Array:
    """The Euclidean norm over ``axes``, in at least float32, safe from the squares' underflow and overflow."""
    array = _widened(array)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(array), axis=axes, keepdims=True, initial=0))
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, jnp.ones_like(largest))
    squares = jnp.sum((jnp.abs(array) / scale) ** 2, axis=axes)
    # The square root of 0 has no derivative; the norm of 0 is taken to have derivative 0.
    root = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, jnp.ones_like(squares))), squares)
    return jnp.squeeze(scale, axes) * root


def is_inexact(leaf: Any) -> bool:
    """Whether a leaf has a gradient: counters and random keys have none."""
    return bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def norm_dtype(dtype: Any) -> Any:
    """The dtype of norms of such gradients: real, and at least float32."""
    info = jnp.finfo(dtype)
    return info.dtype if info.bits >= 32 else jnp.dtype(jnp.float32)


def _widened(array: Array) -> Array:
    return array if jnp.finfo(array.dtype).bits >= 32 else array.astype(jnp.float32)
