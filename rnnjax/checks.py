"""Checks of arguments, done while tracing: they cost nothing in a compiled program.

Every message says what was received, what was expected, and what to do.
"""

import operator
import weakref
from typing import Any

import jax
import jax.numpy as jnp


def positive_integer(name: str, value: Any) -> int:
    """``value`` as an ``int``; raises ``TypeError`` if it is not a whole number, ``ValueError`` below 1."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}): expected a whole number, such as 128")
    if number < 1:
        raise ValueError(f"{name} is {number}: expected at least 1")
    return number


def check_sequence(inputs: Any) -> None:
    """Raises unless ``inputs`` are real numbers of shape (T, ..., I) with T >= 1."""
    shape = jnp.shape(inputs)
    if len(shape) < 2:
        raise ValueError(
            f"inputs have shape {shape}: expected (T, ..., I), time first and input width last; "
            "add the missing axis, for instance inputs[:, None] for width 1"
        )
    if shape[0] == 0:
        raise ValueError(f"inputs have shape {shape}: an empty sequence; expected at least one time step on axis 0")
    _check_real(inputs)


def check_params(cell: Any, params: Any, inputs: Any) -> None:
    """Raises unless ``params`` are those of ``cell`` for inputs of this width."""
    _check_real(inputs)
    if not jnp.shape(inputs):
        raise ValueError("inputs are a scalar: expected (..., I), input width last; wrap it, for instance inputs[None]")
    width = jnp.shape(inputs)[-1]
    expected = _params_for_width(cell.init, width, jax.dtypes.canonicalize_dtype(float))
    remedy = "pass inputs of the width given to cell.init, and the params that this cell's init made"
    _check_like("params", params, expected, f"for inputs of width {width}", remedy)


def check_state(cell: Any, params: Any, state: Any, batch_shape: tuple[int, ...]) -> None:
    """Raises unless ``state`` belongs to ``cell`` and has these batch axes."""
    expected = jax.eval_shape(lambda p: cell.initial_state(p, batch_shape), params)
    remedy = "make it with cell.initial_state(params, batch_shape), or pass state=None to start afresh"
    _check_like("state", state, expected, f"for batch shape {batch_shape}", remedy)


def check_perturbation(state: Any, perturbation: Any, steps: int) -> None:
    """Raises unless ``perturbation`` has the structure of ``state`` with a leading time axis of ``steps``."""
    expected = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((steps, *jnp.shape(leaf)), leaf.dtype), state)
    remedy = "give every leaf of the state a leading time axis"
    _check_like("perturbation", perturbation, expected, f"for {steps} time steps", remedy)


def check_mask(mask: Any, expected: tuple[int, ...]) -> None:
    """Raises unless ``mask`` is boolean with the shape (T, ...) of the inputs less their width."""
    if jnp.result_type(mask) != jnp.bool_:
        received = jnp.result_type(mask)
        raise TypeError(f"mask has dtype {received}: expected bool, True at real steps; compare, as in mask > 0")
    if jnp.shape(mask) != expected:
        raise ValueError(
            f"mask has shape {jnp.shape(mask)}: expected {expected}, one boolean for each step of each example; "
            "from lengths, jnp.arange(T)[:, None] < lengths"
        )


def _check_real(inputs: Any) -> None:
    if not jnp.issubdtype(jnp.result_type(inputs), jnp.floating):
        raise TypeError(
            f"inputs have dtype {jnp.result_type(inputs)}: cells take real vectors; "
            "turn tokens into vectors first, for instance jax.nn.one_hot(tokens, vocabulary_size)"
        )


# Weak, so that a cell made inside a traced function is not kept alive after it, nor its tracers.
_params_by_init: "weakref.WeakKeyDictionary[Any, dict[Any, Any]]" = weakref.WeakKeyDictionary()


def _params_for_width(init: Any, width: int, dtype: Any) -> Any:
    # dtype is part of the key alone: with x64 switched on, the same init makes other params.
    known = _params_by_init.setdefault(init, {})
    if (width, dtype) not in known:
        key = jax.eval_shape(lambda: jax.random.key(0))
        known[width, dtype] = jax.eval_shape(lambda k: init(k, width), key)
    return known[width, dtype]


def _check_like(name: str, received: Any, expected: Any, circumstances: str, remedy: str) -> None:
    received_leaves, received_tree = jax.tree_util.tree_flatten_with_path(received)
    expected_leaves, expected_tree = jax.tree_util.tree_flatten_with_path(expected)
    if received_tree != expected_tree:  # type: ignore[operator]
        raise ValueError(
            f"{name}: received {_structure(received)}, but this cell {circumstances} "
            f"has {_structure(expected)}; {remedy}"
        )
    for (path, leaf), (_, wanted) in zip(received_leaves, expected_leaves, strict=True):
        if jnp.shape(leaf) != wanted.shape:
            where = name + jax.tree_util.keystr(path)
            raise ValueError(
                f"{where} has shape {jnp.shape(leaf)}, but this cell {circumstances} has {wanted.shape}; {remedy}"
            )


def _structure(tree: Any) -> str:
    if hasattr(tree, "_fields"):
        return f"{type(tree).__name__}({', '.join(map(_brief, tree))})"
    return _brief(tree)


def _brief(tree: Any) -> str:
    if hasattr(tree, "_fields"):
        return type(tree).__name__
    if isinstance(tree, tuple | list):
        return f"{type(tree).__name__} of {len(tree)}: ({', '.join(map(_brief, tree))})"
    if hasattr(tree, "shape"):
        return f"array {tuple(tree.shape)}"
    return type(tree).__name__
