"""Cells that are fed their own last output, or the true one instead.

All kinds of feedback are one cell under ``unroll`` with different flags in its inputs: the true outputs in training
(teacher forcing), a coin toss for each step or sequence (scheduled sampling, Bengio et al., 2015), and the network's
own outputs when it runs freely.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, check_cell, output_like
from rnnjax.checks import check_function, positive_integer, told
from rnnjax.combinators.keys import each_key, next_keys, numbered, own_key
from rnnjax.names import lookup
from rnnjax.origin import remembered
from rnnjax.typing import Key, Params


class FeedbackState(NamedTuple):
    cell: Any  # the state of the cell itself
    choice: Array  # (..., F), made of this step's outputs, to be fed back at the next step
    key: Array | None  # (...), a random key for each example if something is drawn, else None


def _probabilities(outputs: Array) -> Array:
    return jax.nn.softmax(outputs)


def _argmax(outputs: Array) -> Array:
    return jax.nn.one_hot(jnp.argmax(outputs, axis=-1), outputs.shape[-1], dtype=outputs.dtype)


CHOICES: dict[str, Callable[[Array], Array]] = {
    "outputs": lambda outputs: outputs,
    "probabilities": _probabilities,
    "argmax": _argmax,
}


@remembered
def feedback(cell: Cell, choice: str | Callable[..., Array], key: Key | None = None) -> Cell:
    """A cell with its own last output among its inputs, or the true one where a flag in the inputs says so.

        f_t = m_t y*_{t-1} + (1 - m_t) c(y_{t-1})        m_t is 0 or 1, y* true, c what is chosen of an output
        s_t = f(s_{t-1}, [x_t, f_t])        y_t = g(s_t)        inputs [x_t, y*_{t-1}, m_t] (..., I + F + 1)

    The true value of one step ago and the flag come with the inputs, behind x_t, which may be missing. This is training
    by teacher forcing:

        previous = jnp.concatenate([jnp.zeros_like(true[:1]), true[:-1]])                       (T, ..., F)
        inputs = jnp.concatenate([x, previous, jnp.ones_like(true[..., :1])], axis=-1)
        _, outputs = unroll(feedback(stack(gru(64), dense(F)), "sampled", key), params, inputs)

    With zeros instead of the ones the network runs freely; with a coin toss for each step or each sequence it is
    scheduled sampling (Bengio et al., 2015). Params are those of ``cell``, which may be a stack with its readout, and
    are the same in all cases. The layers of a stack run together, step by step, here.

    What will be fed back is the field ``choice`` of the state, zero at the start. To see it at every step, make it the
    output: ``cell._replace(output=lambda params, state: state.choice)``. ``gradient_flow`` distinguishes what reaches a
    step through the cell's own state, dL/dstate.cell, from what reaches it through the fed output, dL/dstate.choice,
    which is 0 where the truth was fed.

    Args:
        cell: any cell, stacks included.
        choice: what is fed back: "outputs", the outputs unchanged; "probabilities", their softmax; "argmax", 1 at the
            largest and 0 elsewhere; "sampled", 1 at one drawn from the softmax and 0 elsewhere; or a function from
            outputs (..., O) to (..., F). No gradient flows through "argmax" and "sampled".
        key: for "sampled", which draws with it, and for no other choice. Each training step makes its cell with a new
            key.

    Raises:
        TypeError: if ``cell`` is not a cell, ``choice`` is neither a name nor a function, or ``key`` is not a key.
        ValueError: for an unknown choice, a key where nothing is drawn, or none where something is; from ``init``, for
            inputs too narrow for the true value and the flag.
    """
    check_cell("feedback", cell, 'feedback(stack(lstm(64), dense(10)), "argmax")')
    choose = _chosen(choice)
    draws = isinstance(choice, str) and choice == "sampled"
    if draws == (key is None):
        raise ValueError(
            "feedback draws what is fed back: expected a key, such as jax.random.key(0)"
            if draws
            else f"feedback received a key, but draws nothing with choice {told(choice)}: expected no key; leave it out"
        )
    start = own_key("feedback", key) if draws else None

    def like(params: Params) -> jax.ShapeDtypeStruct:
        return jax.eval_shape(choose, output_like(cell, params))

    def init(key: Key, input_size: int) -> Params:
        size = positive_integer("input_size", input_size)
        params = cell.init(key, max(1, size - 1))
        width = like(params).shape[-1]
        if size <= width:
            raise ValueError(
                f"input_size is {size}: expected at least {width + 1}, since feedback takes [x_t, true value of step "
                f"t - 1 ({width} wide), flag] side by side"
            )
        return params

    def initial_state(params: Params, batch_shape: tuple[int, ...] = ()) -> FeedbackState:
        inner, wanted = cell.initial_state(params, batch_shape), like(params)
        keys = None if start is None else jax.random.split(start, batch_shape)
        return FeedbackState(inner, jnp.zeros((*batch_shape, *wanted.shape), wanted.dtype), keys)

    def advance(params: Params, state: FeedbackState, inputs: Array) -> FeedbackState:
        width = state.choice.shape[-1]
        true, forced = inputs[..., -1 - width : -1], inputs[..., -1:] > 0.5
        fed = jnp.where(forced, true, state.choice)
        drive = cell.project(params, jnp.concatenate([inputs[..., : -1 - width], fed], axis=-1))
        inner = cell.advance(params, state.cell, drive)
        outputs = cell.output(params, inner)
        if state.key is None:
            return FeedbackState(inner, choose(outputs), None)
        drawn = each_key(jax.random.categorical, numbered(state.key, 0), outputs)
        said = jax.nn.one_hot(drawn, outputs.shape[-1], dtype=outputs.dtype)
        return FeedbackState(inner, said, next_keys(state.key))

    def output(params: Params, state: FeedbackState) -> Array:
        return cell.output(params, state.cell)

    return Cell(init, initial_state, lambda params, inputs: inputs, advance, output)


def _chosen(choice: str | Callable[..., Array]) -> Callable[[Array], Array]:
    if isinstance(choice, str):
        return lookup("choice", choice, CHOICES | {"sampled": _argmax})
    check_function("choice", choice, "jax.nn.softmax")
    return choice
