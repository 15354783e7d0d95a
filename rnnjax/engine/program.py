"""Functions as lists of operations (jaxprs), to be executed in part or with some operations replaced."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jax.extend.core import Jaxpr, JaxprEqn, Literal

Values = dict[Any, Any]
"""Arrays by the variables of a jaxpr."""

Replace = Callable[[JaxprEqn, list[Any]], list[Any] | None]
"""``(operation, operands) -> results``, or None for the usual ones."""


class Program(NamedTuple):
    """The operations of a function, from ``program_of``."""

    jaxpr: Jaxpr
    constants: Values
    results: Any  # the pytree structure of what the function returns


def program_of(function: Callable[..., Any], *arguments: Any) -> Program:
    """The operations of ``function``, for arguments (pytrees of arrays or their shapes) like these."""
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    constants = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    return Program(closed.jaxpr, constants, jax.tree.structure(shape))


def quiet(program: Program) -> Program:
    """The program without operations that only have an effect, such as ``jax.debug.print``, to be run a second time."""
    kept = [equation for equation in program.jaxpr.eqns if equation.outvars or not equation.effects]
    return program._replace(jaxpr=program.jaxpr.replace(eqns=kept))


@dataclass(frozen=True, eq=False)
class Rest:
    """A function of the other arguments alone, as ``fix_first`` makes it."""

    values: list[Any]  # computed from the fixed argument, and needed by the program
    program: Program  # a function of these values and of the leaves of the other arguments

    def __call__(self, *others: Any) -> Any:
        """Return what the function returns for the other arguments."""
        return execute(self.program, [*self.values, *jax.tree.leaves(others)])


def execute(program: Program, arguments: list[Any], replace: Replace = lambda equation, operands: None) -> Any:
    """The results of a program for ``arguments``, the leaves of the pytrees, with some operations replaced."""
    values = program.constants | dict(zip(program.jaxpr.invars, arguments, strict=True))
    _carry_out(program.jaxpr, program.jaxpr.eqns, values, replace)
    return _results(program, values)


def fix_first(function: Callable[..., Any], fixed: Any, *others: Any) -> Rest:
    """``function`` with its first argument fixed; what depends on that argument alone is computed now, once.

    This takes such operations out of a scan's loop, and out of its backward loop too: the gradient with respect to a
    matrix that is made from the params is first summed over the steps and then passed once through the computation of
    the matrix.

    Args:
        function: any function of pytrees.
        fixed: its first argument.
        *others: the other arguments, or their shapes.
    """
    program = program_of(function, fixed, *others)
    variables, leaves = program.jaxpr.invars, jax.tree.leaves(fixed)
    values = program.constants | dict(zip(variables, leaves, strict=False))
    now, later = _divide(program.jaxpr, set(values))
    _carry_out(program.jaxpr, now, values)
    results = (variable for variable in program.jaxpr.outvars if not isinstance(variable, Literal))
    used = set(results).union(*map(operands_of, later))
    kept = [variable for variable in values if variable in used]
    inputs = [*kept, *variables[len(leaves) :]]
    names = program.jaxpr.debug_info.with_unknown_names()
    jaxpr = program.jaxpr.replace(constvars=[], invars=inputs, eqns=later, debug_info=names)
    return Rest([values[variable] for variable in kept], Program(jaxpr, {}, program.results))


def reached(program: Program, variables: Iterable[Any], past: Iterable[JaxprEqn] = ()) -> set[Any]:
    """The variables and all that depend on them, except for those that do so only through the operations ``past``."""
    found, barred = set(variables), set(map(id, past))
    for equation in program.jaxpr.eqns:
        if operands_of(equation) & found and id(equation) not in barred:
            found |= set(equation.outvars)
    return found


def recurrent_products(program: Program, fixed: int, state: int) -> list[JaxprEqn]:
    """The products x W of a step in which W depends on the fixed values alone, and x on the state.

    Args:
        program: of a step with the arguments (fixed values, state, anything else).
        fixed: the number of leaves of the fixed values.
        state: the number of leaves of the state.
    """
    inputs = program.jaxpr.invars
    of_state, not_fixed = reached(program, inputs[fixed : fixed + state]), reached(program, inputs[fixed:])

    def is_recurrent(x: Any, kernel: Any) -> bool:
        return x in of_state and not isinstance(kernel, Literal) and kernel not in not_fixed

    return [e for e in program.jaxpr.eqns if is_matrix_product(e) and is_recurrent(*e.invars)]


def is_matrix_product(equation: JaxprEqn) -> bool:
    """Whether an operation is x W, the last axis of x (..., I) with the first axis of W (I, O)."""
    if equation.primitive is not jax.lax.dot_general_p:
        return False
    x, kernel = (operand.aval.shape for operand in equation.invars)  # type: ignore[attr-defined]
    along = (((len(x) - 1,), (0,)), ((), ()))
    return len(kernel) == 2 and equation.params["dimension_numbers"] == along


def operands_of(equation: JaxprEqn) -> set[Any]:
    """The variables that an operation takes."""
    return {operand for operand in equation.invars if not isinstance(operand, Literal)}


def has_own_backward_pass(program: Program) -> bool:
    """Whether the gradients of some operation do not follow from its forward-mode derivative."""
    text = str(program.jaxpr)
    return "custom_vjp" in text or "linear_with_own_transpose" in text


def users_of(jaxpr: Jaxpr) -> dict[Any, list[JaxprEqn | None]]:
    """By variable, the operations that take it, once for each use; None stands for the results."""
    users: dict[Any, list[JaxprEqn | None]] = {}
    for equation in [*jaxpr.eqns, None]:
        for variable in jaxpr.outvars if equation is None else equation.invars:
            if not isinstance(variable, Literal):
                users.setdefault(variable, []).append(equation)
    return users


def _divide(jaxpr: Jaxpr, fixed: set[Any]) -> tuple[list[JaxprEqn], list[JaxprEqn]]:
    """The operations that can be done once, ahead of all calls, and the others."""
    known, possible, later = set(fixed), [], []
    for equation in jaxpr.eqns:
        if operands_of(equation) <= known and not equation.effects:
            known |= set(equation.outvars)
            possible.append(equation)
        else:
            later.append(equation)

    now: list[JaxprEqn] = []
    used_now: set[Any] = set()
    used_later = {variable for variable in jaxpr.outvars if not isinstance(variable, Literal)}.union(
        *map(operands_of, later)
    )
    for equation in reversed(possible):
        results = set(equation.outvars)
        # A result that is larger than its operands, such as a bias repeated for each example, is better made where it
        # is used than kept.
        grows = _size(equation.outvars) > _size(operands_of(equation))
        if grows and results & used_later:
            later.insert(0, equation)
            used_later |= operands_of(equation)
        if results & used_now or (results & used_later and not grows):
            now.insert(0, equation)
            used_now |= operands_of(equation)
    return now, later


def _size(variables: Iterable[Any]) -> int:
    return sum(math.prod(variable.aval.shape) for variable in variables)


def _carry_out(
    jaxpr: Jaxpr, equations: list[JaxprEqn], values: Values, replace: Replace = lambda equation, operands: None
) -> None:
    """Execute operations of a jaxpr and add their results to ``values``."""
    for equation in equations:
        operands = [o.val if isinstance(o, Literal) else values[o] for o in equation.invars]
        results = replace(equation, operands)
        if results is None:
            results = evaluate(jaxpr, equation, operands)
        values.update(zip(equation.outvars, results, strict=True))


def evaluate(jaxpr: Jaxpr, equation: JaxprEqn, operands: list[Any]) -> list[Any]:
    """The results of one equation, run as a program: how primitives are called differs between versions of JAX."""
    variables = {v: x for v, x in zip(equation.invars, operands, strict=True) if not isinstance(v, Literal)}
    alone = jaxpr.replace(constvars=[], invars=list(variables), outvars=equation.outvars, eqns=[equation])
    return jax.core.eval_jaxpr(alone, (), *variables.values())


def _results(program: Program, values: Values) -> Any:
    leaves = [v.val if isinstance(v, Literal) else values[v] for v in program.jaxpr.outvars]
    return jax.tree.unflatten(program.results, leaves)
