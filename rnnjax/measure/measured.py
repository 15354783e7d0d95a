"""Running a cell over a whole sequence with a backward pass that finds norms beside the gradients.

Zeros are added to the computation, and the gradients with respect to them are the measurements:

* a zero epsilon_t on the state *inside* the recurrence, whose gradient is dL/ds_t, the total derivative. (The gradient
  with respect to the states that an unrolled network *returns* is only the direct term: zero for a last-step loss.)
* a zero on each product of the state with a kernel. Its gradient, dL/ds_t and the share of the inputs determine what
  step t contributes to dL/dparams. That contribution has the size of the params, but its norm mostly follows without
  forming it (``rnnjax.engine.contributions``). A sequence of T steps never needs T copies of the params.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import JaxprEqn

from rnnjax.cell import Cell, Repetition
from rnnjax.checks import check_advanced
from rnnjax.engine.contributions import contribution_norms
from rnnjax.engine.norms import is_inexact, norm, norm_dtype
from rnnjax.engine.products import at_all_steps
from rnnjax.engine.program import Program, execute, program_of, recurrent_products
from rnnjax.engine.through_time import known
from rnnjax.engine.tracing import traced_once
from rnnjax.engine.wiring import layers_of, run_layers
from rnnjax.origin import traced_arrays
from rnnjax.sequence.unroll import first_steps, perturb, scan_masked, zero_perturbation
from rnnjax.typing import Drive, Params, State


class Slots(NamedTuple):
    """Zeros whose gradients are norms."""

    examples: Any  # like the state, each leaf (T, ...): ||dL/ds_t|| for each example
    parameters: (
        Any  # like the params, each leaf (T,), of repeated layers (layers, T): of what step t adds to dL/dparams
    )


def zero_slots(cell: Cell, params: Params, inputs: Array, state: State) -> Slots:
    """Make the slots of a cell for these inputs."""
    leaves, structure = jax.tree.flatten(params)
    repeated = _repetitions(cell, jax.tree.unflatten(structure, range(len(leaves))))
    parameters = [
        jnp.zeros((*repeated.get(place, ()), len(inputs)), norm_dtype(_dtype_of_gradient(leaf, inputs)))
        for place, leaf in enumerate(leaves)
    ]
    examples = jax.tree.map(
        lambda leaf: jnp.zeros_like(inputs[..., 0], norm_dtype(_dtype_of_gradient(leaf, inputs))), state
    )
    return Slots(examples, jax.tree.unflatten(structure, parameters))


def measured_unroll(
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State,
    fresh: State,
    slots: Slots,
    mask: Array | None,
    reset: Array | None,
    reverse: bool,
) -> tuple[State, Array]:
    """Run ``rnnjax.unroll``; ``fresh`` is the state after a reset, and the gradients of the slots are the norms."""

    def run(cell: Cell, params: Params, inputs: Array, state: State, extras: Any) -> tuple[State, Array]:
        slots, fresh = extras
        if cell.wiring:
            of_layers = [of_layer for _, of_layer in layers_of(cell.wiring, slots.parameters)]
            layer_slots = [Slots(*each) for each in zip(slots.examples, of_layers, strict=True)]
            return run_layers(cell.wiring, params, inputs, state, list(zip(layer_slots, fresh, strict=True)), run)
        backward = reverse != cell.reverse
        starts = first_steps(reset, backward)
        around = _around(cell, params, inputs, state)
        arguments = params, inputs, state, fresh, around
        return _measured(partial(_bound, cell, around), backward, arguments, (mask, starts), slots)

    return run(cell, params, inputs, state, (slots, fresh))


def _dtype_of_gradient(leaf: Array, inputs: Array) -> Any:
    # A counter or a random key has no gradient: its norms are 0.
    return leaf.dtype if is_inexact(leaf) else inputs.dtype


class _Zeros(NamedTuple):
    """The zeros that are added inside a step."""

    state: Any  # to the new state
    products: list[Array]  # to the products of the state with a kernel


class _Before(NamedTuple):
    """The values of a step that are known when its products are formed."""

    state: Any  # before the step
    operands: list[Array]  # of the products, except those that are leaves of the state


MakeCell = Callable[[list[Array]], Cell]
"""A cell, given the arrays that its functions take from around them."""


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _measured(make: MakeCell, reverse: bool, arguments: Any, where: Any, slots: Slots) -> tuple[State, Array]:
    """Return a layer's final state and outputs for (params, inputs, state, fresh, around) and (mask, reset)."""
    return _forward(make, arguments, where, slots, reverse=reverse)[0]


def _there(make: MakeCell, reverse: bool, arguments: Any, where: Any, slots: Slots) -> tuple[Any, Any]:
    return _forward(make, arguments, where, slots, reverse=reverse)


def _back(make: MakeCell, reverse: bool, kept: Any, d_results: tuple[State, Array]) -> tuple[Any, None, Slots]:
    d_final, d_outputs = d_results
    leaves, structure = jax.tree.flatten(kept.arguments)
    d_inexact, slots = _backward(make, kept, _inexact(d_final), d_outputs)
    found = iter(d_inexact)
    return jax.tree.unflatten(structure, [next(found) if is_inexact(leaf) else None for leaf in leaves]), None, slots


class _Kept(NamedTuple):
    """What the backward pass needs from the forward pass."""

    arguments: tuple[Params, Array, State, State, list[Array]]
    before: _Before  # at all steps
    mask: Array | None
    to_inputs: Any
    back: Any


@traced_once
def _forward(make: MakeCell, arguments: Any, where: Any, slots: Slots, *, reverse: bool) -> tuple[Any, _Kept]:
    params, inputs, state, fresh, around = arguments
    mask, reset = where

    def project(params: Params, inputs: Array, around: list[Array]) -> Drive:
        return at_all_steps(make(around).project, params, inputs)

    drive, to_inputs = jax.vjp(project, params, inputs, around)
    of_a_step = jax.eval_shape(lambda: jax.tree.map(lambda leaf: leaf[0], drive))
    whole = _Advance.of(make(around), params, state, of_a_step)

    def run(
        params: Params, state: State, fresh: State, around: list[Array], drive: Drive, zeros: _Zeros
    ) -> tuple[Any, _Before]:
        cell = make(around)
        advance = _Advance.of(cell, params, state, of_a_step) if around else whole

        def step(params: Params, state: State, xs: Any) -> tuple[State, tuple[Array, _Before]]:
            drive, zeros = xs
            operands = list[Array]()

            def shift(operand: Array, kernel: Array) -> Array:
                place = len(operands)
                operands.append(operand)
                return advance.product(place, operand, kernel) + zeros.products[place]

            new_state = perturb(advance(params, state, drive, shift), zeros.state)
            return new_state, (cell.output(params, new_state), _Before(state, advance.not_in_state(operands)))

        xs = drive, zeros
        final, (outputs, before) = scan_masked(step, params, state, xs, mask, reset, fresh, reverse=reverse)
        return (final, outputs), before

    made: list[Any] = [product.outvars[0].aval for product in whole.products]
    shifts = [jnp.zeros((len(inputs), *product.shape), product.dtype) for product in made]
    zeros = _Zeros(zero_perturbation(state, inputs), shifts)
    results, back, before = jax.vjp(run, params, state, fresh, around, drive, zeros, has_aux=True)
    return results, _Kept(arguments, before, mask, to_inputs, back)


@traced_once
def _backward(make: MakeCell, kept: _Kept, d_final: list[Array], d_outputs: Array) -> tuple[list[Array], Slots]:
    (params, inputs, state, fresh, around), before, mask, to_inputs, back = kept
    given = iter(d_final)
    d_final = jax.tree.map(lambda leaf: next(given) if is_inexact(leaf) else _nothing(leaf), state)
    d_params, d_state, d_fresh, d_around, d_drive, adjoints = back((d_final, d_outputs))
    d_params_ahead, d_inputs, d_around_ahead = to_inputs(d_drive)
    d_params = map(jnp.add, *(_inexact_of(params, d) for d in (d_params, d_params_ahead)))
    d_around = map(jnp.add, *(_inexact_of(around, d) for d in (d_around, d_around_ahead)))
    d_states = [*_inexact_of(state, d_state), *_inexact_of(fresh, d_fresh)]
    d_inexact = [*d_params, d_inputs, *d_states, *d_around]

    if mask is not None:
        d_outputs = jnp.where(mask[..., None], d_outputs, jnp.zeros_like(d_outputs))
    examples = jax.tree.map(lambda g: norm(g, tuple(range(inputs.ndim - 1, g.ndim))), adjoints.state)
    of_state = _inexact_of(before.state, adjoints.state)
    found = [*_inexact(d_drive), *of_state, *adjoints.products, d_outputs]
    parameters = contribution_norms(partial(_where_params_enter, make(around), params), params, (inputs, before), found)
    return d_inexact, Slots(examples, parameters)


_measured.defvjp(_there, _back)


# What a cell's functions take from around them, such as the memory that an attention reads


def _around(cell: Cell, params: Params, inputs: Array, state: State) -> list[Array]:
    """Return the traced arrays in the cell's functions: their gradient needs them to be arguments of ``_measured``."""
    if not traced_arrays(cell):
        return []
    drive = jax.eval_shape(cell.project, params, jax.eval_shape(lambda: inputs[0]))
    programs = (
        program_of(cell.project, params, jax.eval_shape(lambda: inputs[0])),
        program_of(cell.advance, params, state, drive),
        program_of(cell.output, params, state),
    )
    constants = (value for program in programs for value in program.constants.values())
    return list({id(value): value for value in constants if isinstance(value, jax.core.Tracer)}.values())


def _bound(cell: Cell, around: list[Array], values: list[Array]) -> Cell:
    """Return the cell with values in the places of the arrays that its functions take from around them."""
    if not around:
        return cell
    instead = dict(zip(map(id, around), values, strict=True))

    def bound(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            program = program_of(function, *arguments)
            constants = {name: instead.get(id(value), value) for name, value in program.constants.items()}
            return execute(program._replace(constants=constants), jax.tree.leaves(arguments))

        return call

    return cell._replace(
        project=bound(cell.project),
        advance=bound(cell.advance),
        output=bound(cell.output),
        wiring=cell.wiring,
        affine=cell.affine,
        memoryless=cell.memoryless,
    )


def _inexact_of(tree: Any, gradients: Any) -> list[Array]:
    """Select the gradients of those leaves of a tree that can have one."""
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(gradients), strict=True)
    return [gradient for leaf, gradient in pairs if is_inexact(leaf)]


def _nothing(leaf: Array) -> np.ndarray:
    """Return JAX's placeholder for the gradient of a leaf that has none."""
    return np.zeros(leaf.shape, jax.dtypes.float0)


def _where_params_enter(cell: Cell, fixed: Params, params: Params, inputs: Array, before: _Before) -> list[Array]:
    """Return what depends on params directly in a step: drive, state, products, output; their inputs come from fixed.

    ``fixed`` are the same params. Stopping gradients instead would also stop those of the norms.
    """
    fixed_drive = cell.project(fixed, inputs)
    advance = _Advance.of(cell, params, before.state, fixed_drive)
    operands = advance.operands(before)
    kernels, made = list[Array](), list[Array]()

    def note(_: Array, kernel: Array) -> Array:
        kernels.append(kernel)
        return advance.product(len(kernels) - 1, operands[len(kernels) - 1], kernel)

    def exchange(operand: Array, kernel: Array) -> Array:
        place = len(made)
        made.append(advance.product(place, known(operands[place], operand), kernel))
        return advance.product(place, operands[place], kernels[place])

    fixed_state = advance(fixed, before.state, fixed_drive, note)
    new_state = advance(params, before.state, fixed_drive, exchange)
    return [*_inexact(cell.project(params, inputs)), *_inexact(new_state), *made, cell.output(params, fixed_state)]


def _inexact(tree: Any) -> list[Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if is_inexact(leaf)]


class _Advance(NamedTuple):
    """``cell.advance`` with its products of the state and a kernel replaced."""

    program: Program
    products: list[JaxprEqn]
    places: list[int | None]  # of the products' operands among the leaves of the state

    @classmethod
    def of(cls, cell: Cell, params: Params, state: State, drive: Drive) -> "_Advance":
        program = program_of(cell.advance, params, state, drive)
        check_advanced(state, jax.tree.unflatten(program.results, [v.aval for v in program.jaxpr.outvars]))
        fixed, size = (len(jax.tree.leaves(tree)) for tree in (params, state))
        products = recurrent_products(program, fixed, size)
        leaves: list[Any] = program.jaxpr.invars[fixed : fixed + size]
        operands = [product.invars[0] for product in products]
        places = [leaves.index(operand) if operand in leaves else None for operand in operands]
        return cls(program, products, places)

    def __call__(self, params: Params, state: State, drive: Drive, multiply: Callable[[Array, Array], Array]) -> State:
        found = set(map(id, self.products))

        def replace(equation: JaxprEqn, operands: list[Any]) -> list[Any] | None:
            return [multiply(*operands)] if id(equation) in found else None

        return execute(self.program, jax.tree.leaves((params, state, drive)), replace)

    def product(self, place: int, operand: Array, kernel: Array) -> Array:
        product: Array = self.products[place].primitive.bind(operand, kernel, **self.products[place].params)
        return product

    def not_in_state(self, operands: list[Array]) -> list[Array]:
        return [operand for operand, place in zip(operands, self.places, strict=True) if place is None]

    def operands(self, before: _Before) -> list[Array]:
        leaves, others = jax.tree.leaves(before.state), iter(before.operands)
        return [next(others) if place is None else leaves[place] for place in self.places]


def _repetitions(cell: Cell, places: Any) -> dict[int, tuple[int, ...]]:
    """Return, by place of a leaf among the params, its leading axes that stand for repeated layers."""
    if cell.wiring is None:
        return dict.fromkeys(jax.tree.leaves(places), ())
    if isinstance(cell.wiring, Repetition):
        inside = _repetitions(cell.wiring.cell, cell.wiring.layers(places))
        return {place: (cell.wiring.times, *counts) for place, counts in inside.items()}
    found: dict[int, tuple[int, ...]] = {}
    for layer, of_layer in cell.wiring.layers(places):
        found = _repetitions(layer, of_layer) | found
    return found
