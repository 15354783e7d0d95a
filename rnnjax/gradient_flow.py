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
from rnnjax.typing import Loss, Params, State
from rnnjax.unroll import perturb, prepare, run_layers, scan_masked


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
        TypeError: inputs or a loss that are not real numbers.
    """
    inputs, state = prepare(cell, params, inputs, state, mask)
    batch_shape = inputs.shape[1:-1]
    steps = len(inputs)

    def run(cell: Cell, params: Params, inputs: Array, state: State, zeros: Any) -> tuple[State, Array]:
        epsilons, slots = zeros
        if cell.wiring:
            layer_slots = [slots for _, slots in cell.wiring.layers(slots)]
            return run_layers(cell, params, inputs, state, list(zip(epsilons, layer_slots, strict=True)), run)

        def step(state: State, xs: Any) -> tuple[State, Array]:
            inputs, epsilon, slots = xs
            probed = _probe(params, slots)
            state = perturb(cell.advance(probed, state, cell.project(probed, inputs)), epsilon)
            return state, cell.output(probed, state)

        return scan_masked(step, state, (inputs, epsilons, slots), mask)

    def loss_of(epsilons: State, slots: Params) -> Array:
        value = loss(run(cell, params, inputs, state, (epsilons, slots))[1])
        _check_loss(value)
        return value

    epsilons = jax.tree.map(lambda leaf: jnp.zeros((steps, *leaf.shape), leaf.dtype), state)
    slots = jax.tree.map(lambda leaf: jnp.zeros(steps, jnp.finfo(leaf.dtype).dtype), params)
    value, vjp = jax.vjp(loss_of, epsilons, slots)
    adjoints, contributions = vjp(jnp.ones_like(value))

    batch_axes = range(1, 1 + len(batch_shape))
    examples = jax.tree.map(lambda g: norm(g, tuple(range(1 + len(batch_shape), g.ndim))), adjoints)
    return GradientFlow(value, jax.tree.map(lambda g: norm(g, tuple(batch_axes)), examples), examples, contributions)


def norm(array: Array, axes: tuple[int, ...]) -> Array:
    """The Euclidean norm over ``axes``, safe from the squares' underflow and overflow."""
    largest = jnp.max(jnp.abs(array), axis=axes, keepdims=True)
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, jnp.ones_like(largest))
    return jnp.squeeze(scale, axes) * jnp.sqrt(jnp.sum(jnp.abs(array / scale) ** 2, axis=axes))


def _check_loss(value: Any) -> None:
    if not hasattr(value, "shape") or not jnp.issubdtype(value.dtype, jnp.floating):
        received = value.dtype if hasattr(value, "dtype") else type(value).__name__
        raise TypeError(f"loss returned {received}: expected a real scalar array that depends on the outputs")
    if value.shape:
        raise ValueError(f"loss returned shape {value.shape}: expected a scalar; take its sum or mean")


@jax.custom_vjp
def _probe(params: Params, slots: Params) -> Params:
    """The params unchanged; in the backward pass each slot receives the norm of its leaf's gradient."""
    return params


def _probe_backward(_: None, gradients: Params) -> tuple[Params, Params]:
    leaves, tree = jax.tree.flatten(gradients)
    squares = [jnp.sum(jnp.abs(leaf) ** 2) for leaf in leaves]
    # Squares leave the range of floats long before the gradients do; norms safe from that take a second pass over
    # the weights' gradient, which is only worth its time where they are needed.
    safe = jnp.stack([_holds_digits(square) for square in squares]).all()
    norms = jax.lax.cond(
        safe,
        lambda: [jnp.sqrt(square) for square in squares],
        lambda: [norm(leaf, tuple(range(leaf.ndim))) for leaf in leaves],
    )
    return gradients, jax.tree.unflatten(tree, norms)


def _holds_digits(square_sum: Array) -> Array:
    info = jnp.finfo(square_sum.dtype)
    return (square_sum > float(info.smallest_normal) / float(info.eps) ** 2) & jnp.isfinite(square_sum)


_probe.defvjp(lambda params, slots: (params, None), _probe_backward)
