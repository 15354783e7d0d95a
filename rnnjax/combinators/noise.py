"""Random regularizers: several kinds of dropout, zoneout, and dropped weights.

Each function takes a cell and a key and returns the cell to train with, which has the same params. The key is explicit:
every training step makes its cell with a new key, inside the function that is differentiated. Without a key the
functions return the cell to evaluate with.

    def loss(params, key, inputs):
        cell = rnnjax.zoneout(rnnjax.lstm(64), 0.1, key)
        return jnp.sum(rnnjax.unroll(cell, params, inputs)[1] ** 2)

In a ``stack`` and other composed cells every layer that has a memory is changed, each with its own key. The state
carries a key for each example, from which all draws of a sequence follow. Single steps therefore draw the same as
``unroll``, and a state that is carried on continues the draws. After a ``reset`` the draws are those of a first step.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn

from rnnjax.cell import Cell, check_cell
from rnnjax.checks import number_between, told
from rnnjax.combinators.compose import each_layer
from rnnjax.combinators.keys import each_key, next_keys, numbered, own_key
from rnnjax.engine.norms import is_inexact
from rnnjax.engine.program import Program, execute, operands_of, program_of, reached, recurrent_products
from rnnjax.names import lookup
from rnnjax.origin import remembered
from rnnjax.typing import Drive, Key, Params, State

RECURRENT = (
    "recurrent_kernel",
    "recurrent_weight",
    "mixture_recurrent_kernel",
    "linear_kernel",
    "velocity_kernel",
    "memory_kernel",
)
"""The names that the cells of rnnjax give to the weights that multiply a state."""


class NoisyState(NamedTuple):
    cell: Any  # the state of the cell itself
    key: Array  # (...), a random key for each example


@remembered
def dropout(cell: Cell, rate: float, key: Key | None = None, each: Literal["step", "sequence"] = "step") -> Cell:
    """A cell with outputs dropped at random, for dropout between layers (Zaremba et al., 2014).

        y_t = m_t * y'_t / (1 - rate)        m_t = 1 with probability 1 - rate, else 0; y' the outputs of ``cell``

    The recurrence itself does not change. In a stack the outputs of every layer are subject to dropout, also those of
    the last. ``residual``, ``highway`` and ``layer_norm`` act on the outputs of a layer after dropout.

    Args:
        cell: any cell.
        rate: the probability that an output is dropped.
        key: for training; without one nothing is dropped.
        each: "step" draws m_t at each step, "sequence" once for a whole sequence (Gal & Ghahramani, 2016).

    Raises:
        TypeError: if ``cell`` is not a cell, or ``key`` is not a key.
        ValueError: for a rate outside [0, 1), or another ``each``.
    """
    kept = 1 - _rate("dropout", cell, rate)
    move_on = lookup("each", each, {"step": next_keys, "sequence": lambda keys: keys})
    if key is None:
        return cell

    def change(layer: Cell, key: Callable[[], Key]) -> Cell:
        def advance(params: Params, state: NoisyState, drive: Drive) -> NoisyState:
            return NoisyState(layer.advance(params, state.cell, drive), move_on(state.key))

        def output(params: Params, state: NoisyState) -> Array:
            return _dropped(numbered(state.key, 0), kept, layer.output(params, state.cell))

        return _noisy(layer, key, advance, output)

    return _changed("dropout", cell, change, key)


@remembered
def variational_dropout(cell: Cell, rate: float, key: Key | None = None) -> Cell:
    """A cell with recurrent dropout that is the same at all steps of a sequence (Gal & Ghahramani, 2016).

        h_{t-1} U   becomes   (m * h_{t-1} / (1 - rate)) U        m drawn once for each sequence and product

    It acts on the operands of the recurrent products, that is, of all matrices U that multiply something computed from
    the old state. What enters the new state directly, such as z_t * h_{t-1} in a GRU, is not dropped, since it would be
    forgotten for good. The four gates of an LSTM share one mask.

    Args:
        cell: any cell with recurrent matrices; linear diagonal cells have none.
        rate: the probability that a unit is dropped.
        key: for training; without one nothing is dropped.

    Raises:
        TypeError: if ``cell`` is not a cell, or ``key`` is not a key.
        ValueError: for a rate outside [0, 1); from a step, if it has no product with a matrix of params, or one that
            is not of the form x @ W.
    """
    kept = 1 - _rate("variational_dropout", cell, rate)
    if key is None:
        return cell

    def change(layer: Cell, key: Callable[[], Key]) -> Cell:
        def advance(params: Params, state: NoisyState, drive: Drive) -> NoisyState:
            program = program_of(layer.advance, params, state.cell, drive)
            products = {id(equation): n for n, equation in enumerate(_changeable_products(program, params, state.cell))}

            def drop(equation: JaxprEqn, operands: list[Any]) -> list[Any] | None:
                if id(equation) not in products:
                    return None
                hidden, kernel = operands
                dropped = _dropped(numbered(state.key, products[id(equation)]), kept, hidden)
                return [equation.primitive.bind(dropped, kernel, **equation.params)]

            leaves = jax.tree.leaves((params, state.cell, drive))
            return NoisyState(execute(program, leaves, drop), state.key)

        return _noisy(layer, key, advance, lambda params, state: layer.output(params, state.cell))

    return _changed("variational_dropout", cell, change, key)


@remembered
def zoneout(cell: Cell, rate: Any, key: Key | None = None) -> Cell:
    """A cell whose units keep their old state at random steps (Krueger et al., 2017).

        s_t = m_t * s_{t-1} + (1 - m_t) * f(s_{t-1}, x_t)        m_t = 1 with probability rate, else 0

    Unlike dropout it loses neither the information nor the gradient. Without a key m_t is its expectation, the rate, as
    in the paper at test time. Counters and keys in a state always advance. Each field has its own draws, also fields
    that belong together, such as the memory and the normalizer of ``slstm``: give rates by field where that matters.

    Args:
        cell: any cell.
        rate: the probability that a unit keeps its state; or one for each field, in the type of the state, such as
            ``LSTMState(hidden=0.05, cell=0.5)``.
        key: for training; without one m_t is the rate.

    Raises:
        TypeError: if ``cell`` is not a cell, or ``key`` is not a key.
        ValueError: for a rate outside [0, 1]; from a step, for rates that are not like the state.
    """
    check_cell("zoneout", cell, "zoneout(lstm(64), 0.1, key)")
    rate = jax.tree.map(lambda one: number_between("rate", one, 0, 1), rate, is_leaf=lambda one: one is None)

    def expected(layer: Cell, path: tuple[int, ...]) -> Cell:
        def advance(params: Params, state: State, drive: Drive) -> State:
            def mix(rate: float, old: Array, new: Array) -> Array:
                return rate * old + (1 - rate) * new if is_inexact(old) else new

            return jax.tree.map(mix, _rates(rate, state), state, layer.advance(params, state, drive))

        return layer._replace(advance=advance)

    if key is None:
        return each_layer(cell, expected)

    def change(layer: Cell, key: Callable[[], Key]) -> Cell:
        def advance(params: Params, state: NoisyState, drive: Drive) -> NoisyState:
            keys = next_keys(state.key)
            olds, structure = jax.tree.flatten(state.cell)
            news = jax.tree.leaves(layer.advance(params, state.cell, drive))
            rates = jax.tree.leaves(_rates(rate, state.cell))
            mixed = [
                jnp.where(_draw(numbered(keys, n), rate, old), old, new) if is_inexact(old) else new
                for n, (rate, old, new) in enumerate(zip(rates, olds, news, strict=True))
            ]
            return NoisyState(jax.tree.unflatten(structure, mixed), keys)

        return _noisy(layer, key, advance, lambda params, state: layer.output(params, state.cell))

    return _changed("zoneout", cell, change, key)


@remembered
def drop_connect(
    cell: Cell,
    rate: float,
    key: Key | None = None,
    names: str | tuple[str, ...] = RECURRENT,
) -> Cell:
    """A cell with recurrent weights dropped at random (Wan et al., 2013; in recurrent networks Merity et al., 2018).

        U   becomes   M * U / (1 - rate)        M drawn once for a sequence and all examples of a batch

    Each weight has its own draw. The recurrence can be any, since its products are those of a plain cell. In a
    ``repeat`` the same weights of every layer are dropped.

    Args:
        cell: any cell.
        rate: the probability that a weight is dropped.
        key: for training; without one nothing is dropped.
        names: the fields of the params from which weights are dropped, by default all recurrent weights.

    Raises:
        TypeError: if ``cell`` is not a cell, or ``key`` is not a key.
        ValueError: for a rate outside [0, 1); from a step, if the params of a layer have no field of these names.
    """
    kept = 1 - _rate("drop_connect", cell, rate)
    among = (names,) if isinstance(names, str) else names
    if not isinstance(among, tuple | list) or not among or not all(isinstance(name, str) for name in among):
        raise TypeError(f"names are {told(names)}: expected names of params, such as ('recurrent_kernel',)")
    if key is None:
        return cell

    def change(layer: Cell, key: Callable[[], Key]) -> Cell:
        def thinned(params: Params) -> Params:
            leaves, structure = jax.tree_util.tree_flatten_with_path(params)
            chosen = [any(jax.tree_util.keystr((part,), simple=True) in among for part in path) for path, _ in leaves]
            if not any(chosen):
                raise ValueError(
                    f"drop_connect found no {' or '.join(among)} among the params of a layer "
                    f"({', '.join(jax.tree_util.keystr(path) for path, _ in leaves)}); pass names of these"
                )
            dropped = [
                _dropped(jax.random.fold_in(key(), n), kept, leaf) if drop else leaf
                for n, (drop, (_, leaf)) in enumerate(zip(chosen, leaves, strict=True))
            ]
            return jax.tree.unflatten(structure, dropped)

        def project(params: Params, inputs: Array) -> Drive:
            return layer.project(thinned(params), inputs)

        def advance(params: Params, state: State, drive: Drive) -> State:
            return layer.advance(thinned(params), state, drive)

        def output(params: Params, state: State) -> Array:
            return layer.output(thinned(params), state)

        return layer._replace(project=project, advance=advance, output=output)

    return _changed("drop_connect", cell, change, key)


# Draws


def _rate(receiver: str, cell: Cell, rate: Any) -> float:
    check_cell(receiver, cell, f"{receiver}(lstm(64), 0.1, key)")
    probability = number_between("rate", rate, 0, 1)
    if probability == 1:
        raise ValueError("rate is 1: expected less than 1, or nothing is left")
    return probability


def _changed(receiver: str, cell: Cell, change: Callable[[Cell, Callable[[], Key]], Cell], key: Any) -> Cell:
    """The cell with every layer changed, each with its own key, which also depends on the receiver.

    The key of a layer is made where it is used, since layers may be changed inside a loop whose gradient is taken
    outside.
    """
    start = own_key(receiver, key)
    return each_layer(
        cell, lambda layer, path: change(layer, functools.partial(functools.reduce, jax.random.fold_in, path, start))
    )


def _noisy(
    layer: Cell,
    key: Callable[[], Key],
    advance: Callable[[Params, Any, Drive], Any],
    output: Callable[[Params, Any], Array],
) -> Cell:
    def initial_state(params: Params, batch_shape: tuple[int, ...] = ()) -> NoisyState:
        return NoisyState(layer.initial_state(params, batch_shape), jax.random.split(key(), batch_shape))

    return Cell(layer.init, initial_state, layer.project, advance, output)


def _changeable_products(program: Program, params: Params, state: State) -> list[JaxprEqn]:
    """The ``recurrent_products``; raises ``ValueError`` if there are none, or other products with params."""
    inputs, counts = program.jaxpr.invars, [len(jax.tree.leaves(tree)) for tree in (params, state)]
    of_state = reached(program, inputs[counts[0] : sum(counts)])
    not_of_params = reached(program, inputs[counts[0] :])
    products = recurrent_products(program, *counts)
    chosen = set(map(id, products))
    for equation in program.jaxpr.eqns:
        inside = operands_of(equation) & of_state and "dot_general" in f"{equation.primitive} {equation.params}"
        if inside and id(equation) not in chosen and not operands_of(equation) <= not_of_params:
            raise ValueError(
                "variational_dropout found a product with params that it cannot change: expected x @ W, W (I, O), and "
                "not inside a jax.jit, a loop or a jax.checkpoint of the cell itself; remove those, or use dropout"
            )
    if not products:
        raise ValueError(
            "variational_dropout found no product of the state with a matrix of params in a step: expected a cell with "
            "recurrent matrices, such as lstm or gru; dropout, zoneout and drop_connect take any cell"
        )
    return products


def _dropped(keys: Array, kept: float, x: Array) -> Array:
    """``x / kept`` with probability ``kept``, else 0, so that the expectation is ``x``."""
    return jnp.where(_draw(keys, kept, x), x / kept, jnp.zeros_like(x))


def _draw(keys: Array, probability: float, like: Array) -> Array:
    """Booleans, True with this probability, in the shape of ``like``, whose leading axes are those of the keys."""
    shape = like.shape[keys.ndim :]
    return each_key(lambda key: jax.random.bernoulli(key, probability, shape), keys)


def _rates(rate: Any, state: State) -> Any:
    if isinstance(rate, float):
        return jax.tree.map(lambda _: rate, state)
    if jax.tree.structure(rate) != jax.tree.structure(state):  # type: ignore[operator]
        raise ValueError(
            f"zoneout: rate is {told(rate)}, but the state is a {type(state).__name__}: expected one number, or "
            "numbers in the state's own type"
        )
    return rate
