"""From a vector to a sequence, such as from an image to a caption or from a style to a melody.

The vector sets the state that a cell starts from.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Literal

from rnnjax.cell import Cell, check_cell
from rnnjax.cells.activations import activation_named
from rnnjax.checks import positive_integer
from rnnjax.engine.norms import is_inexact
from rnnjax.engine.program import program_of, reached
from rnnjax.origin import remembered, remembering
from rnnjax.sequence.unroll import unroll
from rnnjax.typing import Activation, Key, Params, State
from rnnjax.units import beside


class AffineParams(NamedTuple):
    kernel: Array  # (N, ...) for a leaf (...) of the state; for a complex one (N, ..., 2), real and imaginary part
    bias: Array  # (...) or (..., 2)


class OneToManyParams(NamedTuple):
    cell: Any  # the params of the cell itself
    state: Any  # like the cell's state, with an AffineParams for each leaf; None for a leaf that has no gradient


@remembering
class OneToMany(NamedTuple):
    """Pure functions from a vector and a sequence of inputs to a sequence of outputs.

    Attributes:
        init: ``(key, vector_size, input_size) -> OneToManyParams``.
        initial_state: ``(params, vector (..., N)) -> s_0``, from which the cell's own ``step`` can go on with
            ``params.cell``.
        apply: ``(params, vector (..., N), inputs (T, ..., I), mask=None) -> outputs (T, ..., O)``, zero where the
            boolean mask (T, ...) is False.
    """

    init: Callable[[Key, int, int], OneToManyParams]
    initial_state: Callable[[OneToManyParams, Array], State]
    apply: Callable[..., Array]


@remembered
def one_to_many(cell: Cell, activation: str | Activation = "tanh") -> OneToMany:
    """A cell whose initial state is computed from a vector.

        s_0 = s + g(v W + b)                         leaf by leaf; s is the cell's own initial state, mostly 0
        s_t = f(s_{t-1}, x_t)        y_t = g(s_t)        t = 1, ..., T

    The inputs are the sequence so far; to train on a caption, they are its words shifted by one step. Xu et al. (2015)
    start a caption from an image in this way, and Cho et al. (2014) a translation from a sentence. Both use tanh (Xu et
    al. in their code), which keeps s_0 in the range of later states of gated and tanh cells. The linear form,
    "identity", suits cells whose states are unbounded. To show the vector at every step as well, broadcast it over time
    and concatenate it with the inputs.

    A leaf through which no gradient passes, such as a count, a clock or a random key, starts as in the cell.

    Args:
        cell: any cell, stacks included.
        activation: g, a name or any elementwise function; it acts on real and imaginary parts separately.

    Raises:
        ValueError: for an unknown activation; from ``init``, for a cell without memory; from ``apply``, for vectors of
            another width or not one for each example.
        TypeError: if ``cell`` is not a cell; from ``apply``, if the vector does not hold real numbers.
    """
    check_cell("one_to_many", cell, "one_to_many(lstm(64))")
    g = activation_named(activation)

    def init(key: Key, vector_size: int, input_size: int) -> OneToManyParams:
        width = positive_integer("vector_size", vector_size)
        cell_key, state_key = jax.random.split(key)
        params = cell.init(cell_key, input_size)
        leaves, structure = jax.tree.flatten(cell.initial_state(params, ()))
        has_gradient = _has_gradient(cell, params, input_size)
        if not any(has_gradient):
            raise ValueError(
                "one_to_many received a cell whose next state has no gradient with respect to the last one: expected a "
                "recurrent one, such as lstm(64), since the vector only sets the state before the first step"
            )
        maps = [
            _affine(jax.random.fold_in(state_key, number), width, leaf) if has_gradient[number] else None
            for number, leaf in enumerate(leaves)
        ]
        return OneToManyParams(params, jax.tree.unflatten(structure, maps))

    def initial_state(params: OneToManyParams, vector: Array) -> State:
        _check_vector(params, vector)
        start = cell.initial_state(params.cell, vector.shape[:-1])
        return jax.tree.map(lambda leaf, affine: _moved(leaf, affine, vector, g), start, params.state)

    def apply(params: OneToManyParams, vector: Array, inputs: Array, mask: Array | None = None) -> Array:
        state = initial_state(params, vector)
        if jnp.shape(inputs)[1:-1] != vector.shape[:-1]:
            raise ValueError(
                f"vector has shape {vector.shape}, inputs {jnp.shape(inputs)}: expected (..., N) and (T, ..., I) with "
                "the same axes between, one vector for each example"
            )
        return unroll(cell, params.cell, inputs, state, mask=mask)[1]

    return OneToMany(init, initial_state, apply)


def _affine(key: Key, width: int, leaf: Array) -> AffineParams:
    shape = (*leaf.shape, 2) if jnp.iscomplexobj(leaf) else leaf.shape
    bias = jnp.zeros(shape, leaf.real.dtype)
    kernel = jax.nn.initializers.lecun_normal()(key, (width, bias.size), bias.dtype)
    return AffineParams(kernel.reshape(width, *shape), bias)


def _moved(leaf: Array, affine: AffineParams | None, vector: Array, g: Activation) -> Array:
    if affine is None:
        return leaf
    product = jnp.tensordot(vector, affine.kernel, axes=1)
    move = g(product + beside(affine.bias, product)).astype(leaf.real.dtype)
    return leaf + (jax.lax.complex(move[..., 0], move[..., 1]) if jnp.iscomplexobj(leaf) else move)


def _has_gradient(cell: Cell, params: Params, input_size: int) -> list[bool]:
    """Whether the state after a step has a gradient with respect to each leaf of the state before.

    A clock may be a float that is rounded before it is used. A learned start would set it to a random time that
    training could not correct. The backward pass of a step shows this: without a gradient no operation leads from the
    gradient of the new state to the gradient of the leaf.
    """
    state = cell.initial_state(params, ())
    leaves, structure = jax.tree.flatten(state)
    places = [place for place, leaf in enumerate(leaves) if is_inexact(leaf)]
    chosen = [leaves[place] for place in places]

    def backward(gradients: list[Array], chosen: list[Array]) -> list[Array]:
        def step(chosen: list[Array]) -> list[Array]:
            values = dict(enumerate(leaves)) | dict(zip(places, chosen, strict=True))
            inputs = jnp.zeros(input_size, chosen[0].real.dtype)
            drive = cell.project(params, inputs)
            new_state = cell.advance(params, jax.tree.unflatten(structure, values.values()), drive)
            return [jax.tree.leaves(new_state)[place] for place in places]

        return jax.vjp(step, chosen)[1](gradients)[0]

    program = program_of(backward, chosen, chosen)
    moving = reached(program, program.jaxpr.invars[: len(places)])
    found = [not isinstance(variable, Literal) and variable in moving for variable in program.jaxpr.outvars]
    return [place in places and found[places.index(place)] for place in range(len(leaves))]


def _check_vector(params: OneToManyParams, vector: Any) -> None:
    if not hasattr(vector, "dtype") or not jnp.issubdtype(vector.dtype, jnp.floating):
        received = f"has dtype {vector.dtype}" if hasattr(vector, "dtype") else f"is a {type(vector).__name__}"
        raise TypeError(f"vector {received}: expected an array (..., N) of real numbers, one vector for each example")
    width = jax.tree.leaves(params.state)[0].shape[0]
    if vector.shape[-1:] != (width,):
        raise ValueError(
            f"vector has shape {vector.shape}: expected (..., {width}), of the vector_size given to init; "
            "pass such vectors, or make params for these"
        )
