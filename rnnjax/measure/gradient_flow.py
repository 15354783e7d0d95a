"""Where gradients vanish or explode: dL/ds_t and each step's share of dL/dparams, at every step and layer at once.

Zeros are added where they change nothing, and the gradient with respect to them is the measurement:

* a zero epsilon_t on the state *inside* the recurrence, whose gradient is dL/ds_t, the total derivative. (The gradient
  with respect to the states that an unrolled network *returns* is only the direct term: zero for a last-step loss.)
* a zero on each product of the state with a kernel. With its gradient, dL/ds_t and the inputs' share, all is known from
  which step t's contribution to dL/dparams is made. That has the size of the params; its norm mostly follows without
  it, see ``rnnjax.engine.contributions``. A sequence of T steps never holds T copies of the params.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn

from rnnjax.cell import Cell, Repetition
from rnnjax.checks import check_advanced, check_function, check_loss
from rnnjax.engine.contributions import contribution_norms
from rnnjax.engine.norms import is_inexact, norm, norm_dtype
from rnnjax.engine.products import at_all_steps
from rnnjax.engine.program import Program, execute, program_of, recurrent_products
from rnnjax.engine.through_time import known
from rnnjax.engine.tracing import traced_once
from rnnjax.engine.wiring import layers_of, run_layers
from rnnjax.sequence.unroll import perturb, prepare, scan_masked, state_beside, zero_perturbation
from rnnjax.typing import Drive, Loss, Params, State


class GradientFlow(NamedTuple):
    """Norms of gradients, time step by time step; index t is the step, T - 1 the last.

    Attributes:
        loss: the loss itself, a scalar.
        state: like the cell's state, each leaf (T,): ||dL/ds_t|| of the whole batch, for every field and layer. The
            fields of one layer's state are separate coordinates: of an LSTM, dL/dc_t is what flows on along the
            memory, with h_t held fixed (so it is 0 at the very last step).
        examples: like the state, each leaf (T, ...): the same norm for each example.
        parameters: like the params, each leaf (T,): the norm of what step t adds to dL/dparams. (What the loss owes to
            a learned initial state is no step's: 0 there.) In a ``repeat`` (layers, T).
    """

    loss: Array
    state: Any
    examples: Any
    parameters: Any


def gradient_flow(
    cell: Cell,
    params: Params,
    inputs: Array,
    loss: Loss,
    state: State | None = None,
    *,
    mask: Array | None = None,
    reset: Array | None = None,
) -> GradientFlow:
    """Norms of dL/ds_t and of each step's contribution to dL/dparams, in one backward pass.

        dL/ds_t = (dy_t/ds_t)^T dL/dy_t + (ds_{t+1}/ds_t)^T dL/ds_{t+1}
        dL/dparams = sum over t of (ds_t/dparams)^T dL/ds_t            the norm of each term

    Args:
        cell: any cell, stacks included. A cell that runs other cells inside its own ``advance``, without ``Wiring``, is
            one piece here: of an inner layer's state only what enters the next step is seen.
        params: from ``cell.init``.
        inputs: (T, ..., I).
        loss: ``outputs (T, ..., O) -> scalar``. For a mean over the batch, ||dL/ds_t|| shrinks with its size; for a
            sum, each example counts in full.
        state: s_0, by default ``cell.initial_state``.
        mask: (T, ...), True at real steps; padding has gradient 0.
        reset: (T, ...), True where a step starts afresh; nothing flows across.

    The result can be differentiated in its turn, in reverse mode, for a loss that speaks of gradient norms.

    Returns:
        Norms, as a pytree that ``jax.jit`` and ``jax.vmap`` can return. ``rnnjax.decay`` condenses one of them.

    Raises:
        ValueError: shapes that do not fit together, a loss that is not a scalar.
        TypeError: inputs or a loss that are not real numbers.
    """
    check_function("loss", loss, "lambda outputs: outputs[-1].sum()")
    params = jax.tree.map(jnp.asarray, params)
    inputs, state = prepare(cell, params, inputs, state, mask, reset)
    fresh = state_beside(inputs, cell, params)

    def run(cell: Cell, params: Params, inputs: Array, state: State, extras: Any) -> tuple[State, Array]:
        slots, fresh = extras
        if cell.wiring:
            of_layers = [of_layer for _, of_layer in layers_of(cell.wiring, slots.parameters)]
            layer_slots = [_Slots(*each) for each in zip(slots.examples, of_layers, strict=True)]
            return run_layers(cell.wiring, params, inputs, state, list(zip(layer_slots, fresh, strict=True)), run)
        return state, _measured(cell, (params, inputs, state, mask, reset, fresh), slots)

    def loss_of(slots: _Slots) -> Array:
        value = loss(run(cell, params, inputs, state, (slots, fresh))[1])
        check_loss(value)
        return value

    leaves, structure = jax.tree.flatten(params)
    repeated = _repetitions(cell, jax.tree.unflatten(structure, range(len(leaves))))
    parameters = [
        jnp.zeros((*repeated.get(place, ()), len(inputs)), norm_dtype(_dtype_of_gradient(leaf, inputs)))
        for place, leaf in enumerate(leaves)
    ]
    examples = jax.tree.map(
        lambda leaf: jnp.zeros_like(inputs[..., 0], norm_dtype(_dtype_of_gradient(leaf, inputs))), state
    )
    value, vjp = jax.vjp(loss_of, _Slots(examples, jax.tree.unflatten(structure, parameters)))
    (norms,) = vjp(jnp.ones_like(value))

    batch_axes = tuple(range(1, inputs.ndim - 1))
    return GradientFlow(value, jax.tree.map(lambda g: norm(g, batch_axes), norms.examples), *norms)


class _Slots(NamedTuple):
    """Zeros whose gradients are the norms of ``GradientFlow``."""

    examples: Any
    parameters: Any


def _dtype_of_gradient(leaf: Array, inputs: Array) -> Any:
    # A counter or a random key has no gradient: its norms are 0.
    return leaf.dtype if is_inexact(leaf) else inputs.dtype


class _Zeros(NamedTuple):
    """What is added inside a step."""

    state: Any  # to the new state
    products: list[Array]  # to the products of the state with a kernel


class _Before(NamedTuple):
    """What of a step is known when its products are formed."""

    state: Any  # before the step
    operands: list[Array]  # of the products, but for those that are leaves of the state


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _measured(cell: Cell, arguments: tuple[Any, ...], slots: _Slots) -> Array:
    """A layer's outputs for (params, inputs, state, mask, reset, fresh); backward, the slots receive the norms."""
    return _forward(cell, arguments, slots)[0]


@traced_once
def _forward(cell: Cell, arguments: tuple[Any, ...], slots: _Slots) -> tuple[Array, Any]:
    params, inputs, state, mask, reset, fresh = arguments
    drive, to_inputs = jax.vjp(partial(at_all_steps, cell.project, params), inputs)

    of_a_step = jax.eval_shape(lambda: jax.tree.map(lambda leaf: leaf[0], drive))
    advance = _Advance.of(cell, params, state, of_a_step)

    def run(drive: Drive, zeros: _Zeros) -> tuple[Array, _Before]:
        def step(params: Params, state: State, xs: Any) -> tuple[State, tuple[Array, _Before]]:
            drive, zeros = xs
            operands = list[Array]()

            def shift(operand: Array, kernel: Array) -> Array:
                place = len(operands)
                operands.append(operand)
                return advance.product(place, operand, kernel) + zeros.products[place]

            new_state = perturb(advance(params, state, drive, shift), zeros.state)
            return new_state, (cell.output(params, new_state), _Before(state, advance.not_in_state(operands)))

        return scan_masked(step, params, state, (drive, zeros), mask, reset, fresh)[1]

    made: list[Any] = [product.outvars[0].aval for product in advance.products]
    shifts = [jnp.zeros((len(inputs), *product.shape), product.dtype) for product in made]
    zeros = _Zeros(zero_perturbation(state, inputs), shifts)
    outputs, back, before = jax.vjp(run, drive, zeros, has_aux=True)
    return outputs, (params, inputs, before, mask, to_inputs, back)


@traced_once
def _backward(cell: Cell, kept: Any, d_outputs: Array) -> tuple[Any, _Slots]:
    params, inputs, before, mask, to_inputs, back = kept
    d_drive, adjoints = back(d_outputs)
    (d_inputs,) = to_inputs(d_drive)
    if mask is not None:
        d_outputs = jnp.where(mask[..., None], d_outputs, jnp.zeros_like(d_outputs))
    examples = jax.tree.map(lambda g: norm(g, tuple(range(inputs.ndim - 1, g.ndim))), adjoints.state)

    of_state = zip(jax.tree.leaves(adjoints.state), jax.tree.leaves(before.state), strict=True)
    found = [*_inexact(d_drive), *(g for g, leaf in of_state if is_inexact(leaf)), *adjoints.products, d_outputs]
    parameters = contribution_norms(partial(_where_params_enter, cell, params), params, (inputs, before), found)
    return (None, d_inputs, None, None, None, None), _Slots(examples, parameters)


def _where_params_enter(cell: Cell, fixed: Params, params: Params, inputs: Array, before: _Before) -> list[Array]:
    """What of a step depends on params directly: drive, state, products, output. What goes into each comes from fixed.

    ``fixed`` are the same params. To stop gradients instead would stop those of the norms, too.
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
    """``cell.advance`` with something done to its products of the state with a kernel."""

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


_measured.defvjp(_forward, _backward)


def _repetitions(cell: Cell, places: Any) -> dict[int, tuple[int, ...]]:
    """By its place among the leaves of the params: the leading axes of a leaf that stand for repeated layers."""
    if cell.wiring is None:
        return dict.fromkeys(jax.tree.leaves(places), ())
    if isinstance(cell.wiring, Repetition):
        inside = _repetitions(cell.wiring.cell, cell.wiring.layers(places))
        return {place: (cell.wiring.times, *counts) for place, counts in inside.items()}
    found: dict[int, tuple[int, ...]] = {}
    for layer, of_layer in cell.wiring.layers(places):
        found = _repetitions(layer, of_layer) | found
    return found
