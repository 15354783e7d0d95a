"""Checks of arguments, done while tracing: they cost nothing in a compiled program.

Every message says what was received, what was expected, and what to do.
"""

import math
import operator
import weakref
from typing import Any

import jax
import jax.numpy as jnp


def positive_integer(name: str, value: Any) -> int:
    """Return ``value`` as an ``int``; raise ``TypeError`` if it is not a whole number, ``ValueError`` below 1."""
    number = check_whole_number(name, value)
    if number < 1:
        raise ValueError(f"{name} is {number}: expected at least 1")
    return number


def check_whole_number(name: str, value: Any) -> int:
    """Return ``value`` as an ``int``; raise ``TypeError`` if it is not a whole number."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} is {told(value)}: expected a whole number, such as 128")
    return number


def whole_numbers(name: str, value: Any) -> Any:
    """Return ``value`` as an array of whole numbers; raise ``TypeError`` if it is not one."""
    try:
        numbers = jnp.asarray(value)
    except (TypeError, ValueError, OverflowError):
        numbers = None
    if numbers is None or not jnp.issubdtype(numbers.dtype, jnp.integer):
        received = f"are {told(value)}" if numbers is None else f"have dtype {numbers.dtype}"
        raise TypeError(f"{name} {received}: expected whole numbers")
    return numbers


def check_key(key: Any) -> Any:
    """Return ``key``; raise ``TypeError`` if it is not a random key."""
    dtype = getattr(key, "dtype", None)
    if dtype is not None and (jnp.issubdtype(dtype, jax.dtypes.prng_key) or (dtype == jnp.uint32 and jnp.ndim(key))):
        return key
    raise TypeError(f"key is {told(key)}: expected a random key, such as jax.random.key(0)")


def as_arrays(name: str, tree: Any) -> Any:
    """Return a pytree with its numbers and NumPy arrays as JAX arrays; raise ``TypeError`` for other leaves."""
    for leaf in jax.tree.leaves(tree):
        is_array = hasattr(leaf, "dtype") and getattr(leaf.dtype, "kind", "f") not in "USOM"
        if not is_array and not isinstance(leaf, bool | int | float | complex):
            raise TypeError(f"{name} hold {told(leaf)}: expected arrays of numbers")
    return jax.tree.map(jnp.asarray, tree)


def check_batch_shape(batch_shape: Any) -> None:
    """Raise ``TypeError`` unless ``batch_shape`` is a tuple."""
    if not isinstance(batch_shape, tuple | list) or hasattr(batch_shape, "_fields"):
        raise TypeError(f"batch_shape is {told(batch_shape)}: expected a tuple, such as (32,), or () for one example")


def check_function(name: str, value: Any, example: str) -> None:
    """Raise ``TypeError`` unless ``value`` can be called."""
    if not callable(value):
        raise TypeError(f"{name} is {told(value)}: expected a function, such as {example}")


def check_flag(name: str, value: Any) -> None:
    """Raise ``TypeError`` unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {told(value)}: expected True or False")


def told(value: Any) -> str:
    """Describe a received value in a few words, without the contents of arrays."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    if any(hasattr(leaf, "shape") for leaf in jax.tree.leaves(value)):
        return f"a {type(value).__name__} of arrays"
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def number_between(name: str, value: Any, low: float, high: float) -> float:
    """Return ``value`` as a ``float``; raise ``TypeError`` if not a number, ``ValueError`` outside [low, high]."""
    number = check_number(name, value)
    if not low <= number <= high:
        expected = f"at least {low:g}" if high == math.inf else f"a number from {low:g} to {high:g}"
        raise ValueError(f"{name} is {number:g}: expected {expected}")
    return number


def positive_number(name: str, value: Any) -> float:
    """Return ``value`` as a ``float``; raise ``TypeError`` if not a number, ``ValueError`` unless 0 < value < inf."""
    number = check_number(name, value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} is {number:g}: expected a positive number")
    return number


def finite_number(name: str, value: Any) -> float:
    """Return ``value`` as a ``float``; raise ``TypeError`` if not a number, ``ValueError`` for NaN and infinities."""
    number = check_number(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}: expected a finite number, such as 1.0")
    return number


def check_number(name: str, value: Any) -> float:
    """Return ``value`` as a ``float``; raise ``TypeError`` if it is not a number."""
    has_axes = bool(getattr(value, "shape", ()))
    try:
        number = None if isinstance(value, str | bool) or has_axes else float(value)
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise TypeError(f"{name} is {told(value)}: expected a number, such as 0.5")
    return number


def check_sequence(inputs: Any) -> None:
    """Raise unless ``inputs`` are an array of shape (T, ..., I) with T >= 1."""
    _check_array(inputs)
    shape = jnp.shape(inputs)
    if len(shape) < 2:
        raise ValueError(
            f"inputs have shape {shape}: expected (T, ..., I), time first and input width last; "
            "add the missing axis, for instance inputs[:, None] for width 1"
        )
    if shape[0] == 0:
        raise ValueError(f"inputs have shape {shape}: an empty sequence; expected at least one time step on axis 0")


def check_params(cell: Any, params: Any, inputs: Any) -> None:
    """Raise unless ``inputs`` are real vectors and ``params`` belong to ``cell`` with inputs of this width."""
    _check_array(inputs)
    if not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise TypeError(
            f"inputs have dtype {inputs.dtype}: cells take real vectors; "
            "turn tokens into vectors first, for instance jax.nn.one_hot(tokens, vocabulary_size)"
        )
    if not inputs.shape:
        raise ValueError("inputs are a scalar: expected (..., I), input width last; wrap it, for instance inputs[None]")
    width = inputs.shape[-1]
    expected = _params_for_width(cell.init, width)
    remedy = "pass inputs of the width given to cell.init, and the params that this cell's init made"
    if expected is not None:
        _check_like("params", params, expected, f"for inputs of width {width}", remedy)


def check_state(cell: Any, params: Any, state: Any, batch_shape: tuple[int, ...]) -> None:
    """Raise unless ``state`` belongs to ``cell`` and has these batch axes."""
    expected = jax.eval_shape(lambda p: cell.initial_state(p, batch_shape), params)
    remedy = "make it with cell.initial_state(params, batch_shape), or pass state=None to start from the initial state"
    _check_like("state", state, expected, f"for batch shape {batch_shape}", remedy)


def check_advanced(state: Any, new_state: Any) -> None:
    """Raise unless the new state has structure, shapes and dtypes of the old one, as a scan requires of its carry."""
    remedy = "return the new state alone from advance, with the structure and shapes of the old one"
    _check_like("the new state", new_state, state, "before the step", remedy)
    for (path, leaf), old in zip(jax.tree_util.tree_leaves_with_path(new_state), jax.tree.leaves(state), strict=True):
        if leaf.dtype != old.dtype:
            raise TypeError(
                f"the new state{jax.tree_util.keystr(path)} is {leaf.dtype}, but {old.dtype} before the step; "
                f"give params, inputs and state one dtype, for instance inputs.astype({old.dtype})"
            )


def check_perturbation(state: Any, perturbation: Any, steps: int) -> None:
    """Raise unless ``perturbation`` has the structure of ``state`` with a leading time axis of ``steps``."""
    expected = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((steps, *jnp.shape(leaf)), leaf.dtype), state)
    remedy = "give every leaf of the state a leading time axis"
    _check_like("perturbation", perturbation, expected, f"for {steps} time steps", remedy)


def check_loss(value: Any) -> None:
    """Raise unless a loss returned a real scalar array."""
    if not hasattr(value, "shape") or not jnp.issubdtype(value.dtype, jnp.floating):
        received = value.dtype if hasattr(value, "dtype") else type(value).__name__
        raise TypeError(f"loss returned {received}: expected a real scalar array that depends on the outputs")
    if value.shape:
        raise ValueError(f"loss returned shape {value.shape}: expected a scalar; take its sum or mean")


def check_mask(mask: Any, expected: tuple[int, ...], name: str = "mask") -> None:
    """Raise unless a mask is boolean and has the expected shape (T, ...), that of the inputs without their width."""
    if not hasattr(mask, "dtype") or mask.dtype != jnp.bool_:
        received = getattr(mask, "dtype", type(mask).__name__)
        raise TypeError(f"{name} has dtype {received}: expected bool, True at real steps; compare, as in mask > 0")
    if jnp.shape(mask) != expected:
        raise ValueError(
            f"{name} has shape {jnp.shape(mask)}: expected {expected}, one boolean for each step of each example; "
            "from lengths, jnp.arange(T)[:, None] < lengths"
        )


def _check_array(inputs: Any) -> None:
    if not hasattr(inputs, "shape"):
        raise TypeError(f"inputs are a {type(inputs).__name__}: expected an array; wrap them in jnp.asarray")


# Weak references, so that a cell that was made inside a traced function is not kept alive with its tracers.
_params_by_init: "weakref.WeakKeyDictionary[Any, dict[int, Any]]" = weakref.WeakKeyDictionary()


def _params_for_width(init: Any, width: int) -> Any:
    """Return the shapes of the params that init makes, or None for an init that cannot be traced or looked up."""
    try:
        known = _params_by_init.setdefault(init, {})
        if width not in known:
            known[width] = jax.eval_shape(lambda: init(jax.random.key(0), width))
        return known[width]
    except (TypeError, jax.errors.JAXTypeError):
        return None


def _check_like(name: str, received: Any, expected: Any, circumstances: str, remedy: str) -> None:
    received_leaves, received_tree = jax.tree_util.tree_flatten_with_path(received)
    expected_leaves, expected_tree = jax.tree_util.tree_flatten_with_path(expected)
    if received_tree != expected_tree:  # type: ignore[operator]
        of_one: Any = jax.tree.structure(received[0]) if isinstance(received, tuple) and len(received) == 1 else None
        if of_one is not None and of_one == expected_tree:
            remedy = f"pass {name}[0], or put the cell into a stack, as in stack(lstm(64))"
        elif isinstance(received, dict | list) and not isinstance(expected, dict | list):
            remedy = f"restore {name} with a target, such as jax.eval_shape(lambda: cell.init(key, input_size))"
        elif (type(received).__name__, type(expected).__name__) == ("GRUResetAfterParams", "GRUParams"):
            remedy = "make the cell with gru(hidden_size, reset='after'), as PyTorch has it"
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
    if isinstance(tree, dict):
        return f"dict with {', '.join(map(repr, tree))}"
    if isinstance(tree, tuple | list):
        return f"{type(tree).__name__} of {len(tree)}: ({', '.join(map(_brief, tree))})"
    if hasattr(tree, "shape"):
        return f"array {tuple(tree.shape)}"
    return type(tree).__name__
