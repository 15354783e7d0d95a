"""Where gradients vanish or explode: dL/ds_t and each step's share of dL/dparams, at every step and layer at once.

Two zeros are added where they change nothing, and the gradient with respect to them is the measurement:

* a zero epsilon_t on the state *inside* the recurrence, whose gradient is dL/ds_t, the total derivative. (The gradient
  with respect to the states that an unrolled network *returns* is only the direct term: zero for a last-step loss.)
* a zero on the params as step t uses them. Its gradient, step t's contribution to dL/dparams, has the size of the
  params; only its norm leaves the step. So a sequence of T steps never holds T copies of the weights.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell
from rnnjax.checks import check_mask, check_sequence, check_step
from rnnjax.typing import Loss, Params, State
from rnnjax.unroll import perturb, run_layers, scan_masked


class GradientFlow(NamedTuple):
    """Norms of gradients, time step by time step; index t is the step, T - 1 the last.

    Attributes:
        loss: the loss itself, a scalar.
        state: like the cell's state, each leaf (T,): ||dL/ds_t|| of the whole batch, for every field and layer. The
            fields of one layer's state are separate coordinates: of an LSTM, dL/dc_t is what flows on along the
            memory, with h_t held fixed.
        examples: like the state, each leaf (T, ...): the same norm for each example.
        parameters: like the params, each leaf (T,): the norm of what step t adds to dL/dparams. (What the loss owes to
            a learned initial state is no step's: 0 there.)
    """

    loss: Array
    state: Any
    examples: Any
    parameters: Any


def gradient_flow(
    cell: Cell, params: Params, inputs: Array, loss: Loss, state: State | None = None, *, mask: Array | None = None
) -> GradientFlow:
    """Norms of dL/ds_t and of each step's contribution to dL/dparams, in one backward pass.

        dL/ds_t = (dy_t/ds_t)^T dL/dy_t + (ds_{t+1}/ds_t)^T dL/ds_{t+1}
        dL/dparams = sum over t of (ds_t/dparams)^T dL/ds_t            the norm of each term

    Args:
        cell: any cell, stacks included.
        params: from ``cell.init``.
        inputs: (T, ..., I).
        loss: ``outputs (T, ..., O) -> scalar``. For a mean over the batch, ||dL/ds_t|| shrinks with its size; for a
            sum, each example counts in full.
        state: s_0, by default ``cell.initial_state``.
        mask: (T, ...), True at real steps; padding has gradient 0.

    Returns:
        Norms, as a pytree that ``jax.jit`` and ``jax.vmap`` can return. ``rnnjax.decay`` condenses one of them.

    Raises:
        ValueError: shapes that do not fit together, a loss that is not a scalar.
        TypeError: inputs that are not real numbers.
    """
    check_sequence(inputs)
    batch_shape = inputs.shape[1:-1]
    if state is None:
        state = cell.initial_state(params, batch_shape)
    check_step(cell, params, state, inputs, batch_shape)
    if mask is not None:
        check_mask(mask, inputs.shape[:-1])
    steps = len(inputs)

    def run(cell: Cell, params: Params, inputs: Array, state: State, zeros: Any) -> tuple[State, Array]:
        epsilons, slots = zeros
        if cell.wiring:
            layer_slots = [slots for _, slots in cell.wiring.layers(slots)]
            return run_layers(cell, params, inputs, state, list(zip(epsilons, layer_slots, strict=True)), run)

        def step(state: State, xs: Any) -> tuple[State, Array]:
            inputs, epsilon, slots = xs
            probed, scale = _probe_params(params, slots, jnp.zeros((), _real_dtype(params)))
            state = perturb(cell.advance(probed, state, cell.project(probed, inputs)), epsilon)
            state = _measure_scale(state, scale)
            return state, cell.output(probed, state)

        return scan_masked(step, state, (inputs, epsilons, slots), mask)

    def loss_of(epsilons: State, slots: Params) -> Array:
        return loss(run(cell, params, inputs, state, (epsilons, slots))[1])

    epsilons = jax.tree.map(lambda leaf: jnp.zeros((steps, *leaf.shape), leaf.dtype), state)
    slots = jax.tree.map(lambda leaf: jnp.zeros(steps, jnp.finfo(leaf.dtype).dtype), params)
    value, vjp = jax.vjp(loss_of, epsilons, slots)
    if value.shape:
        raise ValueError(f"loss returned shape {value.shape}: expected a scalar; take its sum or mean")
    adjoints, contributions = vjp(jnp.ones_like(value))

    batch_axes = range(1, 1 + len(batch_shape))
    examples = jax.tree.map(lambda g: norm(g, tuple(range(1 + len(batch_shape), g.ndim))), adjoints)
    return GradientFlow(value, jax.tree.map(lambda g: norm(g, tuple(batch_axes)), examples), examples, contributions)


def norm(array: Array, axes: tuple[int, ...]) -> Array:
    """The Euclidean norm over ``axes``, safe from the squares' underflow and overflow."""
    largest = jnp.max(jnp.abs(array), axis=axes, keepdims=True)
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, jnp.ones_like(largest))
    return jnp.squeeze(scale, axes) * jnp.sqrt(jnp.sum(jnp.abs(array / scale) ** 2, axis=axes))


def _real_dtype(tree: Any) -> Any:
    return jnp.finfo(jnp.result_type(*jax.tree.leaves(tree))).dtype


@jax.custom_vjp
def _probe_params(params: Params, slots: Params, scale: Array) -> tuple[Params, Array]:
    """The params unchanged; in the backward pass each slot receives the norm of its leaf's gradient."""
    return params, scale


def _probe_params_backward(_: None, cotangents: tuple[Params, Array]) -> tuple[Params, Params, Array]:
    gradients, scale = cotangents
    # Squares leave the range of floats long before the gradients do, hence the division by max |dL/ds_t|: of the
    # same order, and known at little cost where a maximum over the weights' own gradient would be dear.
    scale = jnp.where((scale > 0) & jnp.isfinite(scale), scale, jnp.ones_like(scale))

    def scaled_norm(gradient: Array) -> Array:
        unit = scale.astype(jnp.finfo(gradient.dtype).dtype)
        return unit * jnp.sqrt(jnp.sum(jnp.abs(gradient / unit) ** 2))

    return gradients, jax.tree.map(scaled_norm, gradients), jnp.zeros_like(scale)


_probe_params.defvjp(lambda params, slots, scale: ((params, scale), None), _probe_params_backward)


@jax.custom_vjp
def _measure_scale(state: State, scale: Array) -> State:
    """The state unchanged; in the backward pass ``scale`` receives max |dL/ds_t|, which thus reaches the params."""
    return state


def _measure_scale_backward(_: None, adjoint: State) -> tuple[State, Array]:
    largest = [jnp.max(jnp.abs(leaf)).astype(_real_dtype(adjoint)) for leaf in jax.tree.leaves(adjoint)]
    return adjoint, jnp.max(jnp.stack(largest))


_measure_scale.defvjp(lambda state, scale: (state, None), _measure_scale_backward)
