"""A scan with a shorter backward loop: backpropagation through time in which only the adjoints go step by step.

A step s_t = f(s_{t-1}, x_t) contains products p_t = a_t W whose operand a_t depends on the state. The forward pass
keeps the states and these products, together with what is added to them. From these the derivatives of all steps are
computed at once. The backward loop takes dL/ds_t to dL/ds_{t-1}, and keeps nothing else. What follows from these
adjoints is again computed for all steps at once: dL/dp_t, and the gradient of a kernel as one large product instead of
a sum of small ones:

    dL/dW = sum over t of a_t^T dL/dp_t

(If a product enters the operand of another one, as in a GRU's reset gate, dL/dp_t comes from the loop.)

Only the forward-mode derivative is written down here. Its loop is linear in the tangents ds_t and dp_t, and JAX
transposes it.
"""

import itertools
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import JaxprEqn, Literal

from rnnjax.engine.linear import Linear, multiply_out, zeros
from rnnjax.engine.norms import is_inexact
from rnnjax.engine.products import for_loop, product_of, shifted
from rnnjax.engine.program import (
    Program,
    Rest,
    evaluate,
    execute,
    has_own_backward_pass,
    program_of,
    quiet,
    reached,
    recurrent_products,
    users_of,
)

Leaves = list[Any]


def scan_through_time(step: Rest, state: Any, xs: Any, *, reverse: bool = False) -> tuple[Any, Any]:
    """Scan ``step(state, x) -> (state, output)`` as ``lax.scan`` does; derivatives are equal up to rounding.

    A step with a backward pass of its own (``jax.custom_vjp``, ``clip_gradient_norm``) is run by ``lax.scan`` itself.
    """
    if has_own_backward_pass(step.program):
        return jax.lax.scan(step, state, xs, reverse=reverse)
    parts = _take_apart(step, len(jax.tree.leaves(state)))

    @jax.custom_jvp
    def run(fixed: Leaves, state: Leaves, xs: Leaves) -> tuple[Leaves, Leaves]:
        return _scan(parts, reverse, fixed, state, xs)

    run.defjvp(partial(_derivative, parts, reverse))
    final, outputs = run(step.values, jax.tree.leaves(state), jax.tree.leaves(xs))
    return jax.tree.unflatten(step.program.results, [*final, *outputs])


class _Parts(NamedTuple):
    """The parts of a step."""

    program: Program  # (fixed leaves, state leaves, leaves of x) -> (new state, output)
    state_size: int
    products: list[JaxprEqn]  # a_t W
    drives: list[list["_Drive"]]  # of each product
    kept: list[Any]  # the sums of products and their drives, part by part; only these are used further
    homes: list[int | None]  # for each of these, the drive whose memory it can take over
    loose: list[int]  # the inputs x that are not drives and have a derivative
    inexact: list[bool]  # for each result, whether it has a derivative
    direct: list[bool]  # for each result, whether fixed values reach it other than through the products
    chained: bool  # whether a product's operand depends on another product, or on a loose x, of the same step


class _Drive(NamedTuple):
    """An input x that is added to a product, or to a part (gate) of it, and is used for nothing else.

    Its tangents can be added to the product's tangents before the loop. Its adjoints are a part of the product's
    adjoints and need not be kept twice.
    """

    x: int  # its index
    start: int  # where the part begins on the product's last axis


def _take_apart(step: Rest, state_size: int) -> _Parts:
    program, fixed = step.program, len(step.values)
    inputs = program.jaxpr.invars
    products = recurrent_products(program, fixed, state_size)
    xs = inputs[fixed + state_size :]
    drives, kept, homes = [], [], []
    for product in products:
        of_product, ends = _drives_of(program, product, xs)
        drives.append(of_product)
        kept += [end for end, _ in ends]
        homes += [home for _, home in ends]
    driving = {drive.x for of_product in drives for drive in of_product}
    loose = [index for index, x in enumerate(xs) if index not in driving and is_inexact(x.aval)]
    by_fixed = reached(program, (v for v in inputs[:fixed] if is_inexact(v.aval)), past=products)
    results = program.jaxpr.outvars
    inexact = [is_inexact(v.aval) for v in results]
    direct = [not isinstance(v, Literal) and v in by_fixed and is_inexact(v.aval) for v in results]
    others = [*(product.outvars[0] for product in products), *(xs[index] for index in loose)]
    chained = any(product.invars[0] in reached(program, others, past=products) for product in products)
    return _Parts(program, state_size, products, drives, kept, homes, loose, inexact, direct, chained)


def _drives_of(program: Program, product: JaxprEqn, xs: list[Any]) -> tuple[list[_Drive], list[tuple[Any, int | None]]]:
    """Return a product's drives, and the variables that hold its sums with them, each with the drive added last."""
    users = users_of(program.jaxpr)

    def follow(part: Any, start: int, last: int | None) -> tuple[list[_Drive], list[tuple[Any, int | None]]]:
        match users.get(part):
            case [JaxprEqn(primitive=jax.lax.add_p) as add]:
                added: list[Any] = [x for x in add.invars if x in xs and len(users[x]) == 1]
                if added and added[0].aval.shape == part.aval.shape:
                    drive = _Drive(xs.index(added[0]), start)
                    drives, ends = follow(add.outvars[0], start, drive.x)
                    return [drive, *drives], ends
            case [JaxprEqn(primitive=jax.lax.split_p) as split] if split.params["axis"] == part.aval.ndim - 1:
                starts = itertools.accumulate(split.params["sizes"][:-1], initial=start)
                parts = [follow(*part, None) for part in zip(split.outvars, starts, strict=True)]
                drives_of, ends_of = zip(*parts, strict=True)
                return list(itertools.chain(*drives_of)), list(itertools.chain(*ends_of))
        return [], [(part, last)]

    return follow(product.outvars[0], 0, None)


# Forward


def _scan(parts: _Parts, reverse: bool, fixed: Leaves, state: Leaves, xs: Leaves) -> tuple[Leaves, Leaves]:
    """Run all steps; return the final state and the outputs."""
    kernels = _kernels_in_loop(parts, fixed)

    def step(state: Leaves, x: Leaves) -> tuple[Leaves, Leaves]:
        results, _ = _advance(parts, fixed, kernels, state, x)
        return results[: parts.state_size], results[parts.state_size :]

    return jax.lax.scan(step, state, xs, reverse=reverse)


def _scan_and_keep(parts: _Parts, reverse: bool, fixed: Leaves, state: Leaves, xs: Leaves) -> Any:
    """Run all steps; return final state, outputs, the states before the steps, and what is kept of the products."""
    kernels = _kernels_in_loop(parts, fixed)

    def step(state: Leaves, x: Leaves) -> tuple[Leaves, Any]:
        results, kept = _advance(parts, fixed, kernels, state, x)
        return results[: parts.state_size], (results[parts.state_size :], state, kept)

    final, (outputs, before, kept) = jax.lax.scan(step, state, xs, reverse=reverse)
    return final, outputs, before, kept


def _scan_and_keep_in_place(parts: _Parts, reverse: bool, fixed: Leaves, state: Leaves, xs: Leaves) -> Any:
    """Do the same, but write what is kept over the drives, which are no longer needed; this touches less memory."""
    kernels = _kernels_in_loop(parts, fixed)
    homes = [home for home in parts.homes if home is not None]

    def step(carry: tuple[Leaves, Leaves], at: tuple[Array, Leaves]) -> tuple[tuple[Leaves, Leaves], Any]:
        (state, written), (t, others) = carry, at
        memory, rest = dict(zip(homes, written, strict=True)), iter(others)

        def read(index: int) -> Array:
            return jax.lax.dynamic_index_in_dim(memory[index], t, keepdims=False)

        def write(place: int, value: Array) -> Array:
            home = parts.homes[place]
            if home is None:
                return value
            memory[home] = jax.lax.dynamic_update_index_in_dim(memory[home], value, t, 0)
            return read(home)  # With the value itself, XLA would copy the whole array at every step.

        x = [read(index) if index in memory else next(rest) for index in range(len(xs))]
        results, kept = _advance(parts, fixed, kernels, state, x, write)
        stacked = [value for value, home in zip(kept, parts.homes, strict=True) if home is None]
        new = results[: parts.state_size], [memory[home] for home in homes]
        return new, (results[parts.state_size :], state, stacked)

    others = [x for index, x in enumerate(xs) if index not in homes]
    at = jnp.arange(xs[0].shape[0]), others
    first = state, [xs[home] for home in homes]
    (final, written), (outputs, before, stacked) = jax.lax.scan(step, first, at, reverse=reverse)
    found = iter(written), iter(stacked)
    return final, outputs, before, [next(found[home is None]) for home in parts.homes]


def _advance(
    parts: _Parts,
    fixed: Leaves,
    kernels: dict[int, Array],
    state: Leaves,
    x: Leaves,
    keep: Callable[[int, Array], Array] = lambda place, value: value,
) -> tuple[Leaves, Leaves]:
    """Run a step; return its results and what is kept of its products, as replaced by ``keep(place, value)``."""
    kept = dict[int, Array]()

    def note(place: int, value: Array) -> Array:
        kept[place] = keep(place, value)
        return kept[place]

    def multiply(place: int, operand: Array, kernel: Array) -> Array:
        made = product_of(parts.products[place], operand, kernels.get(place, kernel))
        return made if made.shape[-1] == kernel.shape[-1] else made[..., : kernel.shape[-1]]

    results = _execute(parts, [*fixed, *state, *x], multiply, note)
    return results, [kept[place] for place in range(len(parts.kept))]


def _kernels_in_loop(parts: _Parts, fixed: Leaves) -> dict[int, Array]:
    """Return, by place, the kernels of products that are among the fixed values, in their form for a loop."""
    values = dict(zip(parts.program.jaxpr.invars, fixed, strict=False))
    operands: list[Any] = [product.invars for product in parts.products]
    return {place: for_loop(values[w], x.aval.shape[:-1]) for place, (x, w) in enumerate(operands) if w in values}


# The forward-mode derivative


def _derivative(parts: _Parts, reverse: bool, primals: Any, tangents: Any) -> Any:
    fixed, state, xs = primals
    d_fixed, d_state, d_xs = tangents
    keeping = jax.custom_jvp(partial(_scan_and_keep_in_place, parts, reverse))
    keeping.defjvp(partial(jax.jvp, partial(_scan_and_keep, parts, reverse)))
    final, outputs, before, kept = keeping(fixed, state, xs)
    at_steps = before, xs, kept
    parts = parts._replace(program=quiet(parts.program))

    (kernels, products, _), (_, d_products, d_results) = _from_fixed(parts, fixed, d_fixed, at_steps)
    d_products = [_with_drives(d, drives, d_xs) for d, drives in zip(d_products, parts.drives, strict=True)]
    operands: list[Any] = [product.invars[0].aval for product in parts.products]
    turned = [for_loop(kernel.T, at.shape[:-1]) for kernel, at in zip(kernels, operands, strict=True)]
    shared = [*fixed, *turned]
    factors, linear_step = _linear_steps(parts, shared, products, at_steps)
    d_state, d_others = _inexact(state, d_state), [*d_products, *(d_xs[index] for index in parts.loose)]
    ahead, along = ([None for _ in d_others], d_others) if parts.chained else (d_others, [None for _ in d_others])

    def without_state(factors: Leaves, d_others: Leaves) -> Leaves:
        return linear_step(factors, [*(None for _ in d_state), *d_others])

    results = _chosen(parts.program.jaxpr.outvars, parts.inexact)
    from_others = jax.vmap(without_state)(factors, ahead) if jax.tree.leaves(ahead) else [None for _ in results]
    added, places = _added(parts, results, from_others, d_results)

    def d_step(d_state: Leaves, at: Any) -> tuple[Leaves, Leaves]:
        factors, d_others, added = at
        d_both = map(_sum, linear_step(factors, [*d_state, *d_others]), map(added.get, places))
        made = [zeros(result.aval) if d is None else d for d, result in zip(d_both, results, strict=True)]
        return made[: len(d_state)], made[len(d_state) :]

    d_final, d_outputs = jax.lax.scan(d_step, d_state, (factors, along, added), reverse=reverse)
    return (final, outputs), (_with_zeros(final, d_final), _with_zeros(outputs, d_outputs))


def _added(
    parts: _Parts, results: list[Any], from_others: Leaves, d_results: Leaves
) -> tuple[dict[int, Array | None], list[int]]:
    """Return what is added to the tangents of results, by place, and the place of each; equal results share one."""
    directly = iter(d_results)
    direct = [next(directly) if also else None for also in _chosen(parts.direct, parts.inexact)]
    places = [next(n for n, same in enumerate(results) if same is result) for result in results]
    return {place: _sum(*both) for place, *both in zip(places, from_others, direct, strict=True)}, places


def _sum(one: Array | None, other: Array | None) -> Array | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _from_fixed(parts: _Parts, fixed: Leaves, d_fixed: Leaves, at_steps: tuple[Leaves, ...]) -> Any:
    """Return kernels, products and direct results of all steps, and their tangents from those of the fixed values."""

    def at_step(moving: Leaves, before: Leaves, x: Leaves, kept: Leaves) -> tuple[Leaves, Leaves, Leaves]:
        operands, kernels = Leaves(), Leaves()

        def take_out(place: int, operand: Array, kernel: Array) -> Array:
            operands.append(operand)
            kernels.append(kernel)
            return product_of(parts.products[place], operand, kernel)

        results = _execute(parts, [*_put(fixed, moving), *before, *x], take_out, lambda place, _: kept[place])
        return _chosen(results, parts.direct), operands, kernels

    def at_every_step(moving: Leaves) -> tuple[Leaves, Leaves, Leaves]:
        mapped = jax.vmap(at_step, in_axes=(None, 0, 0, 0), out_axes=(0, 0, None))
        results, operands, kernels = mapped(moving, *at_steps)
        return kernels, list(map(product_of, parts.products, operands, kernels)), results

    return jax.jvp(at_every_step, (_inexact(fixed, fixed),), (_inexact(fixed, d_fixed),))


def _with_drives(d_product: Array, drives: list[_Drive], d_xs: Leaves) -> Array:
    """Add the tangents of its drives to the tangents of a product."""
    for drive in drives:
        d_drive = d_xs[drive.x]
        after = d_product.shape[-1] - drive.start - d_drive.shape[-1]
        d_product = d_product + jnp.pad(d_drive, [(0, 0)] * (d_drive.ndim - 1) + [(drive.start, after)])
    return d_product


def _linear_steps(
    parts: _Parts, shared: Leaves, products: Leaves, at_steps: tuple[Leaves, ...]
) -> tuple[Leaves, Callable[[Leaves, Leaves], Leaves]]:
    """Return the derivatives of all steps by (state, products, loose x): factors, and a linear function of one step."""
    fixed, turned = shared[: -len(parts.products) or None], shared[len(shared) - len(parts.products) :]
    found: list[tuple[Linear, list[int | None]]] = []

    def of_step(products: Leaves, before: Leaves, x: Leaves, kept: Leaves) -> Leaves:
        def step(state: Leaves, products: Leaves, loose: Leaves) -> Leaves:
            def shift(place: int, operand: Array, kernel: Array) -> Array:
                return shifted(parts.products[place], products[place], operand, turned[place])

            moved = list(x)
            for index, value in zip(parts.loose, loose, strict=True):
                moved[index] = value
            arguments = [*fixed, *_put(before, state), *moved]
            results = _execute(parts, arguments, shift, lambda place, value: known(kept[place], value))
            return _chosen(results, parts.inexact)

        tangents = _inexact(before, before), products, [x[index] for index in parts.loose]
        factors, linear = multiply_out(program_of(jax.linearize(step, *tangents)[1], *tangents))
        # A kernel is the same at all steps and is kept once.
        places = [next((n for n, value in enumerate(shared) if value is factor), None) for factor in factors]
        found.append((linear, places))
        return [factor for factor, place in zip(factors, places, strict=True) if place is None]

    factors_of_steps = jax.vmap(of_step)(products, *at_steps)
    linear, places = found[-1]

    def linear_step(factors: Leaves, tangents: Leaves) -> Leaves:
        own = iter(factors)
        return linear([next(own) if place is None else shared[place] for place in places], tangents)

    return factors_of_steps, linear_step


# A step with its products replaced


def _execute(
    parts: _Parts,
    arguments: Leaves,
    multiply: Callable[[int, Array, Array], Array],
    kept: Callable[[int, Array], Array],
) -> Leaves:
    """Run a step with ``multiply(place, operand, kernel)`` for products and ``kept(place, value)`` for what is kept."""
    products = {id(product): place for place, product in enumerate(parts.products)}
    places = {variable: place for place, variable in enumerate(parts.kept)}

    def replace(equation: JaxprEqn, operands: Leaves) -> Leaves | None:
        if id(equation) in products:
            results = [multiply(products[id(equation)], *operands)]
        elif places.keys() & set(equation.outvars):
            results = evaluate(parts.program.jaxpr, equation, operands)
        else:
            return None
        found = zip(equation.outvars, results, strict=True)
        return [kept(places[variable], value) if variable in places else value for variable, value in found]

    return jax.tree.leaves(execute(parts.program, arguments, replace))


@jax.custom_jvp
def known(value: Array, computed: Array) -> Array:
    """Return ``value`` with the derivative of ``computed``, the same value computed again."""
    return value


@known.defjvp
def _known_derivative(primals: Any, tangents: Any) -> tuple[Array, Array]:
    return primals[0], tangents[1]


# Leaves with and without a derivative


def _inexact(leaves: Leaves, of: Leaves) -> Leaves:
    """Select the elements of ``of`` at the places where the leaves have a derivative."""
    return _chosen(of, map(is_inexact, leaves))


def _put(leaves: Leaves, inexact: Leaves) -> Leaves:
    """Replace those of the leaves that have a derivative."""
    new = iter(inexact)
    return [next(new) if is_inexact(leaf) else leaf for leaf in leaves]


def _with_zeros(leaves: Leaves, tangents: Leaves) -> Leaves:
    """Return tangents for all leaves; for counters and keys these are JAX's zeros of dtype float0."""
    given = iter(tangents)
    return [next(given) if is_inexact(leaf) else np.zeros(leaf.shape, jax.dtypes.float0) for leaf in leaves]


def _chosen(leaves: Leaves, which: Iterable[bool]) -> Leaves:
    return list(itertools.compress(leaves, which))
