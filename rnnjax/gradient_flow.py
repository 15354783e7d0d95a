"""Where gradients vanish or explode: dL/ds_t and each step's share of dL/dparams, at every step and layer at once.

Two zeros are added where they change nothing, and the gradient with respect to them is the measurement:

* a zero epsilon_t on the state *inside* the recurrence, whose gradient is dL/ds_t, the total derivative. (The gradient
  with respect to the states that an unrolled network *returns* is only the direct term: zero for a last-step loss.)
* a zero on the params as step t uses them. Its gradient, step t's contribution to dL/dparams, has the size of the
  params; only its norm leaves the step, see ``rnnjax.contributions``. A sequence of T steps never holds T copies.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, Repetition
from rnnjax.contributions import is_inexact, norm, norm_dtype, step_with_slots
from rnnjax.typing import Loss, Params, State
from rnnjax.unroll import perturbed_step, prepare, scan_masked, state_beside
from rnnjax.wiring import layers_of, run_layers


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
    params = jax.tree.map(jnp.asarray, params)
    inputs, state = prepare(cell, params, inputs, state, mask, reset)
    batch_shape = inputs.shape[1:-1]
    steps = len(inputs)

    fresh = state_beside(inputs, cell, params)

    def run(cell: Cell, params: Params, inputs: Array, state: State, extras: Any) -> tuple[State, Array]:
        epsilons, slots, fresh = extras
        if cell.wiring:
            layer_slots = [slots for _, slots in layers_of(cell.wiring, slots)]
            return run_layers(
                cell.wiring, params, inputs, state, list(zip(epsilons, layer_slots, fresh, strict=True)), run
            )

        def step(params: Params, state: State, inputs: Array, epsilon: State) -> tuple[State, Array]:
            return perturbed_step(cell, params, state, cell.project(params, inputs), epsilon)

        def probed_step(state: State, xs: Any) -> tuple[State, Array]:
            inputs, epsilon, slots = xs
            return step_with_slots(step, params, slots, state, inputs, epsilon)

        return scan_masked(probed_step, state, (inputs, epsilons, slots), mask, reset, fresh)

    def loss_of(epsilons: State, slots: Params) -> Array:
        value = loss(run(cell, params, inputs, state, (epsilons, slots, fresh))[1])
        _check_loss(value)
        return value

    def zeros_for(leaf: Array) -> Array:
        # A counter or a random key has no gradient and is not perturbed: its norms are 0.
        if is_inexact(leaf):
            return jnp.broadcast_to(jnp.zeros_like(leaf), (steps, *leaf.shape))
        return jnp.zeros((steps, *batch_shape), norm_dtype(inputs.dtype))

    epsilons = jax.tree.map(zeros_for, state)
    leaves, structure = jax.tree.flatten(params)
    repeated = _repetitions(cell, jax.tree.unflatten(structure, range(len(leaves))))
    slots = jax.tree.unflatten(
        structure,
        [
            jnp.zeros((*repeated.get(place, ()), steps), norm_dtype(leaf.dtype if is_inexact(leaf) else inputs.dtype))
            for place, leaf in enumerate(leaves)
        ],
    )
    value, vjp = jax.vjp(loss_of, epsilons, slots)
    adjoints, contributions = vjp(jnp.ones_like(value))

    batch_axes = range(1, 1 + len(batch_shape))
    examples = jax.tree.map(lambda g: norm(g, tuple(range(1 + len(batch_shape), g.ndim))), adjoints)
    return GradientFlow(value, jax.tree.map(lambda g: norm(g, tuple(batch_axes)), examples), examples, contributions)


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


def _check_loss(value: Any) -> None:
    if not hasattr(value, "shape") or not jnp.issubdtype(value.dtype, jnp.floating):
        received = value.dtype if hasattr(value, "dtype") else type(value).__name__
        raise TypeError(f"loss returned {received}: expected a real scalar array that depends on the outputs")
    if value.shape:
        raise ValueError(f"loss returned shape {value.shape}: expected a scalar; take its sum or mean")
