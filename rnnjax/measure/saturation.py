"""The fraction of saturated units and gates.

Where tanh and the logistic function are flat, no gradient passes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn

from rnnjax.arguments import of_their_kinds
from rnnjax.cell import Cell
from rnnjax.checks import number_between
from rnnjax.engine.program import Program, execute, program_of
from rnnjax.engine.wiring import run_layers
from rnnjax.sequence.unroll import prepare
from rnnjax.typing import Params, State


class Saturation(NamedTuple):
    """Fractions of saturated units, over all examples, at every step of one layer.

    The operations are in the order in which ``project`` and then ``advance`` compute them: for an LSTM the gates f, i,
    o, and tanh of the candidate and of the memory.

    Attributes:
        tanh: (operations, T), with |tanh| above ``tanh_limit``.
        closed: (gates, T), with the logistic function below ``gate_limit``.
        open: (gates, T), with the logistic function above 1 - ``gate_limit``.
    """

    tanh: Array
    closed: Array
    open: Array


@of_their_kinds
def saturation(
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State | None = None,
    *,
    tanh_limit: float = 0.99,
    gate_limit: float = 0.01,
) -> Any:
    """The fraction of saturated units in every tanh and every logistic function of a cell, step by step.

    The functions are found among the operations of the step, whatever names the cell uses. They are also found inside
    ``jax.jit`` and functions with a custom derivative, but not inside loops within the step.

    Args:
        cell: any cell, stacks included.
        params: from ``cell.init``.
        inputs: (T, ..., I).
        state: s_0, by default ``cell.initial_state``.
        tanh_limit: |tanh| counts as saturated above it; with the default its derivative is then below 0.02.
        gate_limit: a gate counts as closed below it and as open above 1 - ``gate_limit``.

    Returns:
        A ``Saturation``; for a composed cell a tuple of them, nested as its layers are.

    Raises:
        ValueError: for shapes that do not fit together, a tanh_limit outside [0, 1] or a gate_limit outside [0, 0.5].
        TypeError: for inputs that are not real numbers, or limits that are not numbers.
    """
    inputs, state = prepare(cell, params, inputs, state)
    tanh_limit = number_between("tanh_limit", tanh_limit, 0, 1)
    gate_limit = number_between("gate_limit", gate_limit, 0, 0.5)

    def fractions(found: dict[str, list[Array]]) -> Saturation:
        def of(name: str, saturated: Callable[[Array], Array]) -> Array:
            shares = [jnp.mean(saturated(results), dtype=jnp.float32) for results in found[name]]
            return jnp.stack(shares) if shares else jnp.zeros(0, jnp.float32)

        return Saturation(
            tanh=of("tanh", lambda y: jnp.abs(y) > tanh_limit),
            closed=of("logistic", lambda y: y < gate_limit),
            open=of("logistic", lambda y: y > 1 - gate_limit),
        )

    def run(cell: Cell, params: Params, inputs: Array, state: State, extra: None) -> tuple[Any, Array]:
        if cell.wiring:
            return run_layers(cell.wiring, params, inputs, state, [None] * len(state), run)

        def step(state: State, x: Array) -> tuple[State, tuple[Saturation, Array]]:
            new_state, found = _watched(partial(_advance, cell), params, state, x)
            return new_state, (fractions(found), cell.output(params, new_state))

        _, (of_steps, outputs) = jax.lax.scan(step, state, inputs, reverse=cell.reverse)
        return jax.tree.map(jnp.transpose, of_steps), outputs

    return run(cell, params, inputs, state, None)[0]


def _advance(cell: Cell, params: Params, state: State, inputs: Array) -> State:
    return cell.advance(params, state, cell.project(params, inputs))


def _watched(function: Callable[..., Any], *arguments: Any) -> tuple[Any, dict[str, list[Array]]]:
    """The result of the function, and the results of its operations tanh and logistic."""
    found: dict[str, list[Array]] = {"tanh": [], "logistic": []}

    def watch(equation: JaxprEqn, operands: list[Any]) -> list[Any] | None:
        called = _called(equation)
        if called is not None:
            constants = dict(zip(called.jaxpr.constvars, called.consts, strict=True))
            results = jax.tree.structure([0] * len(equation.outvars))
            return list(execute(Program(called.jaxpr, constants, results), operands, watch))
        if equation.primitive.name not in found:
            return None
        result = equation.primitive.bind(*operands, **equation.params)
        found[equation.primitive.name].append(result)
        return [result]

    return execute(program_of(function, *arguments), jax.tree.leaves(arguments), watch), found


def _called(equation: JaxprEqn) -> Any:
    """The closed jaxpr that an operation stands for, if it is a call."""
    match equation.primitive.name:
        case "jit" | "pjit":
            return equation.params["jaxpr"]
        case "custom_jvp_call" | "custom_vjp_call":
            return equation.params["call_jaxpr"]
    return None
