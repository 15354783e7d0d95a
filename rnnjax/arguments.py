"""Checks that the arguments of public functions are of the kinds that their annotations name."""

import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, Union

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax import Array

from rnnjax.checks import check_flag, check_function, check_key, check_number, check_whole_number, told

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def of_their_kinds(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Wrap a function so that it raises ``TypeError`` for an argument of another kind than its annotation.

    The kinds are whole numbers, numbers, flags, strings, functions, arrays of numbers and random keys. Other
    requirements, such as a range or a shape, are checked by the function itself.
    """
    signature = inspect.signature(function)
    checks = {name: _check_of(name, each.annotation) for name, each in signature.parameters.items()}

    @functools.wraps(function)
    def call(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
        for name, value in signature.bind(*args, **options).arguments.items():
            checks[name](name, value)
        return function(*args, **options)

    return call


def _check_of(name: str, annotation: Any) -> Callable[[str, Any], Any]:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        others = [each for each in inner if each is not types.NoneType]
        check = _check_of(name, others[0]) if len(others) == 1 else _accept
        return functools.partial(_unless_none, check) if len(others) < len(inner) else check
    if name == "key":
        return lambda name, value: check_key(value)
    if name == "path":
        return _check_path
    if name == "logits":
        return _check_logits
    if annotation is np.random.Generator or getattr(annotation, "__name__", "") == "Vocabulary":
        return functools.partial(_check_made, annotation)
    return _BY_KIND.get(origin or annotation, _accept)


def _accept(name: str, value: Any) -> None:
    """Accept any value: the function checks it itself."""


def _unless_none(check: Callable[[str, Any], Any], name: str, value: Any) -> None:
    if value is not None:
        check(name, value)


def _check_word(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} is {told(value)}: expected a text in quotes")


def _check_path(name: str, value: Any) -> None:
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} is {told(value)}: expected a path, such as 'text.txt'")


def _check_made(kind: type, name: str, value: Any) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {told(value)}: expected a {kind.__name__}")


def _check_logits(name: str, value: Any) -> None:
    if not hasattr(value, "shape") or not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"{name} are {told(value)}: expected an array of real numbers")


def _check_array(name: str, value: Any) -> None:
    if not hasattr(value, "shape") or not _is_numeric(getattr(value, "dtype", None)):
        raise TypeError(f"{name} is {told(value)}: expected an array of numbers")


def _is_numeric(dtype: Any) -> bool:
    return dtype is not None and bool(jnp.issubdtype(dtype, jnp.number) or dtype == jnp.bool_)


def _check_mapping(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is {told(value)}: expected a mapping of names to arrays")


def _check_count(name: str, value: Any) -> None:
    if not jax.export.is_symbolic_dim(value):
        check_whole_number(name, value)


def _check_float(name: str, value: Any) -> None:
    # A number that is being differentiated has no value to check.
    if not (isinstance(value, Array) and not value.shape and jnp.issubdtype(value.dtype, jnp.floating)):
        check_number(name, value)


_BY_KIND: dict[Any, Callable[[str, Any], Any]] = {
    int: _check_count,
    float: _check_float,
    bool: check_flag,
    str: _check_word,
    typing.Literal: _check_word,
    Callable: lambda name, value: check_function(name, value, "lambda x: x"),
    Array: _check_array,
    np.ndarray: _check_array,
    Mapping: _check_mapping,
}
