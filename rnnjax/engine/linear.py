"""A linear program with its constants multiplied together beforehand.

The program that ``jax.linearize`` makes of a step multiplies each tangent by one constant after the other. For the
memory of an LSTM, c_t = f c_{t-1} + i g, these are the other factor and the derivative of the activation of each gate.
A loop only needs their product:

    dc_t = f dc_{t-1} + (c_{t-1} f') dp_f + (g i') dp_i + (i g') dp_g
"""

import collections
import functools
import itertools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Jaxpr, JaxprEqn, Literal

from rnnjax.engine.program import Program, evaluate

Terms = dict[int, Any]
"""A sum of factor * slot: the factors by slot, where None stands for 1."""

Get = Callable[[list[Any], list[Any]], Any]
"""``(factors, slots) -> value``"""


class Linear(NamedTuple):
    """A linear function as a list of instructions, each of which fills the next slots from earlier ones."""

    instructions: list[Callable[[list[Any], list[Any]], list[Any]]]  # (factors, slots) -> the next slots
    results: list[int | None]  # their slots, None where nothing depends on the arguments

    def __call__(self, factors: list[Any], arguments: list[Any]) -> list[Any]:
        """Return the results for ``factors``, the arrays from ``multiply_out`` or one step of them.

        None stands for zeros, both for an argument and for a result that depends on such arguments only.
        """
        slots = list(arguments)
        for instruction in self.instructions:
            slots += instruction(factors, slots)
        return [None if slot is None else slots[slot] for slot in self.results]


def multiply_out(program: Program) -> tuple[list[Array], Linear]:
    """Split a program that is linear in all its arguments into factors and a function of factors and arguments."""
    variables = program.jaxpr.invars
    builder = _Builder(size=len(variables))
    terms: list[Terms] = [{slot: None} for slot in range(len(variables))]
    results = builder.walk(program.jaxpr, program.constants | dict(zip(variables, terms, strict=True)))
    slots = [builder.slot_of(result) if isinstance(result, dict) else None for result in results]
    return builder.factors, Linear(builder.instructions, slots)


def zeros(of: Any) -> Array:
    """Make zeros of this type (``jax.typeof``), on the devices that the type names."""
    made = jnp.zeros(of.shape, of.dtype)
    if any(axis is not None for axis in of.sharding.spec):
        made = jax.sharding.reshard(made, of.sharding)
    return jax.lax.pcast(made, tuple(of.mat.varying), to="varying")


class _Zeros(NamedTuple):
    """Zeros that are made only where they are used."""

    type: Any


class _Builder:
    """A walk through a linear program that keeps each value depending on the arguments as a sum of terms."""

    def __init__(self, size: int) -> None:
        self.size = size  # the number of slots so far
        self.instructions: list[Callable[[list[Any], list[Any]], list[Any]]] = []
        self.factors: list[Array] = []
        self.places: dict[int, int] = {}  # of factors, by id
        self.products: dict[tuple[int, int], tuple[Any, ...]] = {}  # of factors, by their ids, each with its factors

    def walk(self, jaxpr: Jaxpr, values: dict[Any, Any]) -> list[Any]:
        """Return the results of a jaxpr: arrays, or ``Terms`` where they depend on the arguments."""
        # Instructions keep it. From JAX 0.12 on a jaxpr holds its constants, and a trace's must not outlive the trace.
        empty = jaxpr.replace(constvars=[], invars=[], outvars=[], eqns=[])
        used = [*(operand for equation in jaxpr.eqns for operand in equation.invars), *jaxpr.outvars]
        uses = collections.Counter(operand for operand in used if not isinstance(operand, Literal))

        def value_of(operand: Any) -> Any:
            return operand.val if isinstance(operand, Literal) else values[operand]

        for equation in jaxpr.eqns:
            results = self.carry_out(empty, equation, [value_of(operand) for operand in equation.invars])
            for variable, result in zip(equation.outvars, results, strict=True):
                # A sum with several uses is computed once.
                several = isinstance(result, dict) and len(result) > 1 and uses[variable] > 1
                values[variable] = {self.slot_of(result): None} if several else result
        return [value_of(variable) for variable in jaxpr.outvars]

    def carry_out(self, empty: Jaxpr, equation: JaxprEqn, operands: list[Any]) -> list[Any]:
        if not any(isinstance(operand, dict) for operand in operands):
            return evaluate(empty, equation, operands)
        # A value that does not depend on the arguments is a constant factor or, as a summand, zero.
        match equation.primitive.name, operands:
            case ("mul", [dict() as terms, factor]) | ("mul", [factor, dict() as terms]):
                return [{slot: self.times(known, factor) for slot, known in terms.items()}]
            case "neg", [terms]:
                return [_minus(terms)]
            case "add" | "add_any", [one, other]:
                return [_plus(one, other)]
            case "sub", [one, other]:
                return [_plus(one, _minus(other))]
            case "jit", _:
                inner = equation.params["jaxpr"]
                constants = dict(zip(inner.jaxpr.constvars, inner.consts, strict=True))
                return self.walk(inner.jaxpr, constants | dict(zip(inner.jaxpr.invars, operands, strict=True)))
            case ("select_n", [which, *cases]):
                operands = [which, *(case if isinstance(case, dict) else _Zeros(jax.typeof(case)) for case in cases)]
            case ("concatenate", parts):
                operands = [part if isinstance(part, dict) else _Zeros(jax.typeof(part)) for part in parts]
        gets, depends = [self.get(operand) for operand in operands], [isinstance(value, dict) for value in operands]
        count = len(equation.outvars)

        def apply(factors: list[Any], slots: list[Any]) -> list[Any]:
            values = [get(factors, slots) for get in gets]
            if all(value is None for value in itertools.compress(values, depends)):
                return [None] * count
            made = [zeros(v.aval) if x is None else x for v, x in zip(equation.invars, values, strict=True)]
            return evaluate(empty, equation, made)

        first = self.fill(count, apply)
        return [{first + n: None} for n in range(count)]

    def slot_of(self, terms: Terms) -> int:
        """Return the slot of a sum; fill a new one if there is none."""
        match list(terms.items()):
            case [(slot, None)]:
                return int(slot)
        summands = [(slot, factor if factor is None else self.get(factor)) for slot, factor in terms.items()]

        def total(factors: list[Any], slots: list[Any]) -> list[Any]:
            there = [(slots[slot], get) for slot, get in summands if slots[slot] is not None]
            values = [value if get is None else get(factors, slots) * value for value, get in there]
            return [functools.reduce(operator.add, values) if values else None]

        return self.fill(1, total)

    def get(self, value: Any) -> Get:
        """Return a function that gets a value inside the loop."""
        if isinstance(value, dict):
            slot = self.slot_of(value)
            return lambda factors, slots: slots[slot]
        if isinstance(value, _Zeros):
            return lambda factors, slots: zeros(value.type)
        if not isinstance(value, Array):
            return lambda factors, slots: value
        place = self.places.setdefault(id(value), len(self.factors))
        if place == len(self.factors):
            self.factors.append(value)
        return lambda factors, slots: factors[place]

    def times(self, known: Any, factor: Any) -> Any:
        """Return the product of two factors, the same array for the same factors."""
        if known is None:
            return factor
        key = id(known), id(factor)
        if key not in self.products:
            self.products[key] = known * factor, known, factor
        return self.products[key][0]

    def fill(self, count: int, instruction: Callable[[list[Any], list[Any]], list[Any]]) -> int:
        """Fill ``count`` slots and return the first."""
        self.instructions.append(instruction)
        first, self.size = self.size, self.size + count
        return first


def _minus(terms: Any) -> Any:
    if not isinstance(terms, dict):
        return terms
    return {slot: -1 if known is None else -known for slot, known in terms.items()}


def _plus(one: Any, other: Any) -> Any:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return one if isinstance(one, dict) else other
    total = dict(one)
    for slot, factor in other.items():
        both = [1 if known is None else known for known in (total.get(slot, 0), factor)]
        total[slot] = both[0] + both[1] if slot in one else factor
    return total
