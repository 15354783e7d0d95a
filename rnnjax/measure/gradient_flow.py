"""Where gradients vanish or explode: their norms at every step and layer."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell
from rnnjax.checks import as_arrays, check_flag, check_function, check_loss
from rnnjax.engine.linear import zeros
from rnnjax.engine.norms import norm
from rnnjax.measure.measured import Slots, measured_unroll, zero_slots
from rnnjax.sequence.unroll import prepare, state_beside
from rnnjax.typing import Loss, Params, State


class GradientFlow(NamedTuple):
    """Norms of gradients at every time step; index t is the step, and T - 1 the last one.

    Attributes:
        loss: the loss itself, a scalar.
        state: like the cell's state, each leaf (T,): ||dL/ds_t|| of the whole batch, for every field and layer. The
            fields of one layer's state are separate coordinates: for an LSTM, dL/dc_t is taken with h_t held fixed, so
            it is what flows on along the memory, and is 0 at the very last step.
        examples: like the state, each leaf (T, ...): the same norm for each example.
        parameters: like the params, each leaf (T,): the norm of what step t adds to dL/dparams. A learned initial state
            belongs to no step, so its norms are 0. In a ``repeat`` each leaf is (layers, T).
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
    reverse: bool = False,
) -> GradientFlow:
    """Norms of dL/ds_t and of each step's contribution to dL/dparams, in one backward pass.

        dL/ds_t = (dy_t/ds_t)^T dL/dy_t + (ds_{t+1}/ds_t)^T dL/ds_{t+1}
        dL/dparams = sum over t of (ds_t/dparams)^T dL/ds_t            the norm of each term

    Args:
        cell: any cell, stacks included; a ``bidirectional`` has norms for each direction. A cell that runs other cells
            inside its own ``advance``, without ``Wiring``, is treated as a single layer: the states of its inner layers
            are measured only through what enters the next step.
        params: from ``cell.init``.
        inputs: (T, ..., I).
        loss: ``outputs (T, ..., O) -> scalar``. With a mean over the batch, ||dL/ds_t|| shrinks with the size of the
            batch; with a sum, each example counts in full.
        state: s_0, by default ``cell.initial_state``.
        mask: (T, ...), True at real steps; padding has gradient 0.
        reset: (T, ...), True where a step starts from the initial state; no gradient crosses it.
        reverse: run from the last step to the first.

    The result can itself be differentiated in reverse mode, for a loss that contains gradient norms.

    Returns:
        Norms, as a pytree that ``jax.jit`` and ``jax.vmap`` can return. ``rnnjax.decay`` summarizes one leaf of
        ``state``.

    Raises:
        ValueError: for shapes that do not fit together, or a loss that is not a scalar.
        TypeError: for inputs or a loss that are not real numbers.
    """
    check_function("loss", loss, "lambda outputs: outputs[-1].sum()")
    params = as_arrays("params", params)
    inputs, state = prepare(cell, params, inputs, state, mask, reset)

    def loss_of(slots: Slots) -> Array:
        unroll = partial(_unroll, lambda *call: slots)
        value = loss(unroll(cell, params, inputs, state, mask=mask, reset=reset, reverse=reverse)[1])
        check_loss(value)
        return value

    value, vjp = jax.vjp(loss_of, zero_slots(cell, params, inputs, state))
    (norms,) = vjp(jnp.ones_like(value))
    return _flow(value, norms)


def value_grad_and_flow(loss: Callable[..., Any], has_aux: bool = False) -> Callable[..., Any]:
    """A loss, its gradient with respect to all params, and the norms at every step, in one backward pass.

        def loss(unroll, params, tokens, targets, state):
            state, outputs = unroll(cell, params["cell"], params["embedding"][tokens], state)
            return cross_entropy(outputs @ params["head"], targets), state

        (value, state), gradient, (flow,) = value_grad_and_flow(loss, has_aux=True)(params, tokens, targets, state)

    It works like ``jax.value_and_grad``, for a loss that receives an ``unroll`` as its first argument. This ``unroll``
    has the values and gradients of ``rnnjax.unroll`` and takes ``(cell, params, inputs, state=None, *, mask, reset,
    reverse)``. The rest of the loss, such as a head or an embedding, is differentiated as usual. The loss may call
    ``unroll`` several times, but not inside ``jax.vmap`` or a loop: each call has one flow.

    Args:
        loss: ``(unroll, params, *arguments) -> scalar``, or with ``has_aux`` ``-> (scalar, anything)``.
        has_aux: whether the loss also returns something else, such as the state to go on from.

    Returns:
        A function ``(params, *arguments) -> (value, gradient, flows)``: the value as ``loss`` returns it, the gradient
        like the params, and a tuple with a ``GradientFlow`` for each call of ``unroll``, in their order.

    Raises:
        TypeError: if ``loss`` is not a function; from the returned function, if its value is not a real number.
        ValueError: from the returned function, if the value of the loss is not a scalar, or it does not call
            ``unroll``.
    """
    check_function("loss", loss, "lambda unroll, params, xs: unroll(cell, params, xs)[1].sum()")
    check_flag("has_aux", has_aux)

    def compute(params: Params, *arguments: Any, **options: Any) -> tuple[Any, Params, tuple[GradientFlow, ...]]:
        made: list[Slots] = []

        def new_slots(*call: Any) -> Slots:
            slots = zero_slots(*call)
            made.append(jax.tree.map(jax.typeof, slots))
            return slots

        def value_of(params: Params, take: Callable[..., Slots]) -> tuple[Array, Any]:
            returned = loss(partial(_unroll, take), params, *arguments, **options)
            if has_aux and not (isinstance(returned, tuple) and len(returned) == 2):
                raise TypeError(
                    f"loss returned a {type(returned).__name__}: expected (loss, anything), as has_aux says"
                )
            value, beside = returned if has_aux else (returned, None)
            check_loss(value)
            return value, beside

        def with_slots(params: Params, slots: list[Slots]) -> tuple[Array, Any]:
            left = iter(slots)
            return value_of(params, lambda *call: next(left))

        jax.eval_shape(lambda: value_of(params, new_slots))
        if not made:
            raise ValueError(
                "loss did not call the unroll that it received, its first argument: expected at least once"
            )
        at_zero = jax.tree.map(zeros, made)
        (value, beside), (gradient, norms) = jax.value_and_grad(with_slots, (0, 1), has_aux=True)(params, at_zero)
        flows = tuple(_flow(value, of_call) for of_call in norms)
        return (value, beside) if has_aux else value, gradient, flows

    return compute


def _unroll(
    take: Callable[..., Slots],
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State | None = None,
    *,
    mask: Array | None = None,
    reset: Array | None = None,
    reverse: bool = False,
) -> tuple[State, Array]:
    check_flag("reverse", reverse)
    inputs, state = prepare(cell, params, inputs, state, mask, reset)
    fresh = state_beside(inputs, cell, params)
    slots = take(cell, params, inputs, state)
    return measured_unroll(cell, params, inputs, state, fresh, slots, mask, reset, reverse)


def _flow(value: Array, norms: Slots) -> GradientFlow:
    of_batch = jax.tree.map(lambda each: norm(each, tuple(range(1, each.ndim))), norms.examples)
    return GradientFlow(value, of_batch, *norms)
