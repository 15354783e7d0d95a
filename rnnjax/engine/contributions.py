"""The norm of what each step adds to dL/dparams, mostly without forming it.

The params enter a step in known places with known cotangents (``rnnjax.gradient_flow``), and the contribution of step t
is the gradient through these places. Most params are a kernel W in a single product x W. Its contribution is x^T delta,
where delta (B, N) is the gradient of the product. The norm of x^T delta follows from two small matrices, the Gram
matrices of the examples (the "ghost norm" of Goodfellow, 2015):

    ||x^T delta||^2 = sum over examples b, c of (x_b . x_c) (delta_b . delta_c)
"""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Jaxpr, JaxprEqn, Var
from jax.sharding import NamedSharding, PartitionSpec

from rnnjax.engine.norms import is_inexact, norm, norm_dtype, widened
from rnnjax.engine.program import evaluate, execute, is_matrix_product, program_of, quiet, users_of
from rnnjax.typing import Params

Leaves = list[Any]


def contribution_norms(step: Callable[..., Leaves], params: Params, arguments: Any, cotangents: Leaves) -> Params:
    """The norms ||(d step_t / dparams)^T cotangents_t||, leaf by leaf, for all steps t.

    Args:
        step: ``(params, *arguments) -> arrays`` of one step.
        params: a pytree of arrays.
        arguments: a tuple of pytrees of arrays (T, ...).
        cotangents: of the arrays that the step returns, each (T, ...).

    Returns:
        Like the params, each leaf (T,); 0 for leaves that have no gradient.
    """
    leaves, structure = jax.tree.flatten(params)
    of_a_step = jax.eval_shape(lambda: jax.tree.map(lambda leaf: leaf[0], arguments))
    program = quiet(program_of(step, params, *of_a_step))
    kernels = _kernels(program.jaxpr, program.jaxpr.invars[: len(leaves)])
    products = [product for of_kernel in kernels.values() for product in of_kernel]

    def run(moving: dict[int, Array], shifts: Leaves, arguments: Any) -> tuple[Leaves, Leaves]:
        """One step for given values of some leaves and shifts of the products; and the operands of the products."""
        places, operands = {id(product): place for place, product in enumerate(products)}, dict[int, Array]()

        def shift(equation: JaxprEqn, values: Leaves) -> Leaves | None:
            if id(equation) not in places:
                return None
            place = places[id(equation)]
            operands[place] = values[0]
            return [evaluate(program.jaxpr, equation, values)[0] + shifts[place]]

        weights = [moving.get(place, leaf) for place, leaf in enumerate(leaves)]
        results = execute(program, [*weights, *jax.tree.leaves(arguments)], shift)
        return results, [operands[place] for place in range(len(products))]

    # A gradient no larger than what a step takes and returns can be computed for all steps at once.
    steps, room = len(cotangents[0]), sum(array[0].size for array in (*jax.tree.leaves(arguments), *cotangents))
    others = {n: leaf for n, leaf in enumerate(leaves) if n not in kernels and is_inexact(leaf)}
    small = {n: jnp.broadcast_to(leaf, (steps, *leaf.shape)) for n, leaf in others.items() if leaf.size <= room}
    large = {n: leaf for n, leaf in others.items() if leaf.size > room}

    made: list[Any] = [product.outvars[0].aval for product in products]
    shifts = [jnp.zeros((steps, *product.shape), product.dtype) for product in made]
    _, vjp, operands = jax.vjp(partial(jax.vmap(run), arguments=arguments), small, shifts, has_aux=True)
    gradients, deltas = vjp(cotangents)
    norms = {n: norm(gradient, tuple(range(1, gradient.ndim))) for n, gradient in gradients.items()}
    of_products = map(_norms_of_products, operands, deltas)
    for n, of_kernel in kernels.items():
        norms[n] = norm(jnp.stack([next(of_products) for _ in of_kernel]), (0,))
    if large:
        unshifted = partial(run, shifts=[0] * len(products))
        norms |= _one_step_after_the_other(unshifted, large, arguments, cotangents)
    nothing = jnp.zeros(steps, norm_dtype(cotangents[0].dtype))
    return jax.tree.unflatten(structure, [norms.get(n, nothing) for n in range(len(leaves))])


def _one_step_after_the_other(
    run: Any, large: dict[int, Array], arguments: Any, cotangents: Leaves
) -> dict[int, Array]:
    def of_step(at: tuple[Any, Leaves]) -> dict[int, Array]:
        arguments, cotangents = at
        _, vjp, _ = jax.vjp(partial(run, arguments=arguments), large, has_aux=True)
        (gradients,) = vjp(cotangents)
        return {n: norm(gradient, tuple(range(gradient.ndim))) for n, gradient in gradients.items()}

    return jax.lax.map(of_step, (arguments, cotangents))


def _kernels(jaxpr: Jaxpr, variables: list[Var]) -> dict[int, list[JaxprEqn]]:
    """By place, the params that are used only as W in a product x W, as a whole or each part in one."""
    users = users_of(jaxpr)

    def products_of(variable: Any) -> list[JaxprEqn] | None:
        match users.get(variable):
            case [JaxprEqn(primitive=jax.lax.split_p) as split]:
                of_parts = [products_of(part) or [] for part in split.outvars]
                return list(itertools.chain(*of_parts)) if all(of_parts) else None
            case [JaxprEqn() as product] if product.invars[1:] == [variable] and _is_cheaper_by_gram(product):
                return [product]
        return None

    found = {place: products_of(variable) for place, variable in enumerate(variables)}
    return {place: products for place, products in found.items() if products is not None}


def _is_cheaper_by_gram(equation: JaxprEqn) -> bool:
    if not is_matrix_product(equation):
        return False
    x, kernel = (variable.aval for variable in equation.invars)
    examples = math.prod(x.shape[:-1])  # type: ignore[attr-defined]
    return is_inexact(kernel) and examples * sum(kernel.shape) < 2 * math.prod(kernel.shape)  # type: ignore[attr-defined]


def _norms_of_products(x: Array, delta: Array) -> Array:
    """||x_t^T delta_t|| for arrays (T, ..., K) and (T, ..., N)."""
    x, delta = (widened(_on_every_device(array)).reshape(len(array), -1, array.shape[-1]) for array in (x, delta))
    x_gram, delta_gram = (jnp.einsum("tbi,tci->tbc", array, array.conj()) for array in (x, delta))
    squares = jnp.sum(x_gram * delta_gram.conj(), axis=(1, 2)).real
    # Where the contributions of the examples cancel, rounding leaves few correct digits of the sum.
    uncancelled = jnp.sum(jnp.einsum("tbb->tb", x_gram) * jnp.einsum("tbb->tb", delta_gram), axis=1).real
    trusted = _holds_digits(squares) & (squares > 1e-2 * uncancelled)

    def formed(at: Any) -> Array:
        trusted, square, x, delta = at
        return jax.lax.cond(trusted, lambda: jnp.sqrt(square), lambda: norm(x.T @ delta, (0, 1)))

    return jax.lax.cond(
        trusted.all(), lambda: jnp.sqrt(squares), lambda: jax.lax.map(formed, (trusted, squares, x, delta))
    )


def _on_every_device(array: Array) -> Array:
    """In a mesh of explicit axes, the whole array on every device, since Gram matrices need all examples."""
    placed = jax.typeof(array).sharding
    if all(axis is None for axis in placed.spec):
        return array
    return jax.sharding.reshard(array, NamedSharding(placed.mesh, PartitionSpec()))


def _holds_digits(square_sum: Array) -> Array:
    info = jnp.finfo(square_sum.dtype)
    return (square_sum > float(info.smallest_normal) / float(info.eps) ** 2) & jnp.isfinite(square_sum)
