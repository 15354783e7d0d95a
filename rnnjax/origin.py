"""Objects that know how they were made: they are compared, hashed, shown, copied and pickled by their constructor call.

``remembered`` decorates the constructors of cells and of objects that are made of cells. It replaces the field ``init``
by an ``Origin``, which is called like the original function. Changing another field, as ``cell._replace(advance=...)``
does, makes something new: the origin then no longer applies, and the object is identified by its functions alone.
"""

import functools
import importlib
import inspect
import pickle
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.checks import check_flag, check_function, check_key, finite_number, positive_integer, told

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made", bound=tuple[Any, ...])
Class = TypeVar("Class", bound=type)


def remembered(constructor: Callable[Arguments, Made]) -> Callable[Arguments, Made]:
    """Decorate a constructor so that its results are equal if its arguments are, and are shown as the call."""

    @functools.wraps(constructor)
    def construct(*args: Arguments.args, **options: Arguments.kwargs) -> Made:
        bound = signature.bind(*args, **options)
        for name, value in bound.arguments.items():
            _check_option(signature.parameters[name], value)
        made: Any = constructor(*args, **options)
        if any(made is each for each in (*args, *options.values())):
            return made  # the constructor has returned one of its arguments
        if hasattr(made, "initial_state"):
            made = made._replace(initial_state=_of_its_params(made.initial_state))
        bound.apply_defaults()
        init, *others = made
        origin: Any = Origin(init, construct, bound.arguments, tuple(others))
        return type(made)(origin, *others)

    signature = inspect.signature(constructor)
    return construct


def _check_option(parameter: inspect.Parameter, value: Any) -> None:
    """Check an argument of a constructor by what its name implies."""
    name = parameter.name
    if name.endswith("_init") and value is not None:
        check_function(name, value, "jax.nn.initializers.normal(0.1)")
    elif name.endswith("bias") and (parameter.annotation is float or not callable(value)):
        finite_number(name, value)
    elif name in ("input_to_all", "all_to_output"):
        check_flag(name, value)


def _of_its_params(initial_state: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``initial_state`` to raise a clear error for params that are not the cell's."""

    @functools.wraps(initial_state)
    def call(params: Any, batch_shape: tuple[int, ...] = ()) -> Any:
        try:
            return initial_state(params, batch_shape)
        except AttributeError as error:
            raise TypeError(f"params are {told(params)}: expected the params that this cell's init made") from error

    return call


class Origin:
    """The ``init`` of an object, with the constructor call that made the object.

    Attributes:
        init: the function itself.
        constructor: the public constructor.
        arguments: by name, defaults included.
        others: the other fields of the object.
    """

    def __init__(
        self,
        init: Callable[..., Any],
        constructor: Callable[..., Any],
        arguments: Mapping[str, Any],
        others: tuple[Any, ...],
    ) -> None:
        self.init, self.constructor, self.arguments, self.others = init, constructor, arguments, others
        self._identity = constructor.__module__, constructor.__qualname__, identity(tuple(arguments.values()))
        self._hash = hash(self._identity)
        self._signature = inspect.signature(init)
        self.__doc__ = init.__doc__

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Make the params from a random key and the sizes that ``init`` takes.

        Raises:
            TypeError: if ``key`` is not a random key, or a size is not a whole number.
            ValueError: if a size is below 1.
        """
        given = self._signature.bind(*args, **options)
        for name, value in given.arguments.items():
            if name == "key":
                check_key(value)
            elif name.endswith("_size"):
                given.arguments[name] = positive_integer(name, value)
        return self.init(*given.args, **given.kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin) and self._identity == other._identity

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        args, options = self.call()
        shown = [*map(described, args), *(f"{name}={described(value)}" for name, value in options.items())]
        return f"{self.constructor.__name__}({', '.join(shown)})"

    def call(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and the named arguments of the shortest call that makes the object."""
        args: list[Any] = []
        options: dict[str, Any] = {}
        left_out = False
        for name, parameter in inspect.signature(self.constructor).parameters.items():
            value = self.arguments[name]
            if parameter.kind == parameter.VAR_POSITIONAL:
                args += value
            elif parameter.default is not parameter.empty and identity(value) == identity(parameter.default):
                left_out = True
            elif left_out or parameter.kind == parameter.KEYWORD_ONLY:
                options[name] = value
            else:
                args.append(value)
        return args, options


# Methods of NamedTuples whose first field is ``init``


def remembering(made: Class) -> Class:
    """Decorate a class whose constructors are ``remembered``."""
    methods = {"eq": _equal, "hash": _hash, "repr": _shown, "reduce": _reduced}
    itself = {"copy": lambda self: self, "deepcopy": lambda self, memo: self}  # since it cannot be changed
    for name, method in (methods | itself).items():
        setattr(made, f"__{name}__", method)
    made.remembers = True  # type: ignore[attr-defined]
    return made


def origin_of(made: Any) -> Origin | None:
    """Return how an object was made; None if it was assembled by hand."""
    init = made[0]
    return init if isinstance(init, Origin) and init.others == tuple(made[1:]) else None


def _equal(self: Any, other: object) -> bool:
    return type(self) is type(other) and identity(self) == identity(other)


def _hash(self: Any) -> int:
    return hash(identity(self))


def _shown(self: Any) -> str:
    origin = origin_of(self)
    name = type(self).__name__
    return repr(origin) if origin else f"{name}({', '.join(map(described, self))})"


def _reduced(self: Any) -> tuple[Any, ...]:
    origin = origin_of(self)
    if origin is None:
        return type(self), tuple(self)
    args, options = origin.call()
    by_name = {name: _portable(value) for name, value in options.items()}
    return functools.partial(origin.constructor, **by_name), tuple(map(_portable, args))


# Comparison by value


def identity(value: Any) -> Any:
    """Return a hashable that is equal for values that do the same, also for functions with equal code and closures."""
    return _identity(value, ())


def _identity(value: Any, inside: tuple[Any, ...]) -> Any:
    if any(value is each for each in inside):
        return len(inside)  # a function that calls itself
    if getattr(type(value), "remembers", False):
        return origin_of(value) or _Itself(tuple(value))
    if isinstance(value, Origin):
        return value

    def within(part: Any) -> Any:
        return _identity(part, (*inside, value))

    if isinstance(value, types.FunctionType):
        around = [within(cell.cell_contents) if _is_set(cell) else None for cell in value.__closure__ or ()]
        defaults = within((value.__defaults__, value.__kwdefaults__))
        return value.__code__, id(value.__globals__), defaults, tuple(around)
    if isinstance(value, functools.partial):
        return "partial", within(value.func), within(value.args), within(value.keywords)
    if isinstance(value, types.MethodType):
        return value.__func__, within(value.__self__)
    if isinstance(value, Mapping):
        return type(value), tuple((name, within(part)) for name, part in value.items())
    if isinstance(value, tuple | list):
        return type(value), tuple(map(within, value))
    if isinstance(value, np.ndarray | jax.Array):
        return _Values(value)
    try:
        hash(value)
    except TypeError:
        return _Itself((value,))
    return type(value), value


def traced_arrays(value: Any) -> list[Any]:
    """Return the traced arrays that a value contains, also in the closures of its functions."""

    def within(part: Any) -> list[Any]:
        if isinstance(part, _Values):
            return [part.array] if isinstance(part.array, jax.core.Tracer) else []
        if isinstance(part, Origin):
            return within(part._identity)
        if isinstance(part, _Itself):
            functions = (thing for thing in part.things if isinstance(thing, types.FunctionType | functools.partial))
            return [array for function in functions for array in within(identity(function))]
        return [array for each in part for array in within(each)] if isinstance(part, tuple) else []

    return within(identity(value))


def _is_set(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


class _Itself:
    """Things that equal nothing but themselves."""

    def __init__(self, things: tuple[Any, ...]) -> None:
        self.things = things

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Itself)
            and len(self.things) == len(other.things)
            and all(mine is yours for mine, yours in zip(self.things, other.things, strict=True))
        )

    def __hash__(self) -> int:
        return hash(tuple(map(id, self.things)))


class _Values:
    """An array, compared by its values; a traced array has no values yet and equals only itself."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Values):
            return False
        mine, yours = self.array, other.array
        if mine is yours or mine.shape != yours.shape or mine.dtype != yours.dtype:
            return mine is yours
        return not isinstance(mine, jax.core.Tracer) and not isinstance(yours, jax.core.Tracer) and _same(mine, yours)

    def __hash__(self) -> int:
        return hash((self.array.shape, str(self.array.dtype)))


def _same(mine: Any, yours: Any) -> bool:
    if jnp.issubdtype(mine.dtype, jax.dtypes.prng_key):
        mine, yours = jax.random.key_data(mine), jax.random.key_data(yours)
    return bool(np.array_equal(mine, yours))


# Descriptions and pickles


def described(value: Any) -> str:
    """Describe a value briefly, without addresses in memory."""
    if isinstance(value, np.ndarray | jax.Array):
        return "key" if jnp.issubdtype(value.dtype, jax.dtypes.prng_key) else f"{value.dtype}{list(value.shape)}"
    if isinstance(value, types.FunctionType):
        made_by = _factory_of(value)
        if made_by is None:
            return value.__name__
        factory, options = made_by
        return f"{factory.__name__}({', '.join(f'{name}={described(each)}' for name, each in options.items())})"
    if isinstance(value, Origin):
        return "init"
    text = repr(value)
    return text if " at 0x" not in text else getattr(value, "__name__", type(value).__name__)


def _factory_of(function: types.FunctionType) -> tuple[Callable[..., Any], dict[str, Any]] | None:
    """Return the function that made this one, such as ``jax.nn.initializers.normal``, and its arguments, if known."""
    name, inner, _ = function.__qualname__.partition(".<locals>")
    factory = getattr(sys.modules.get(function.__module__), name, None) if inner else None
    if factory is None:
        return None
    closed = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    around = {name: cell.cell_contents for name, cell in closed if _is_set(cell)}
    options = {name: around[name] for name in inspect.signature(factory).parameters if name in around}
    try:
        again = factory(**options)
    except Exception:  # a user's function may raise anything when an argument is missing
        return None
    return (factory, options) if identity(again) == identity(function) else None


def _portable(value: Any) -> Any:
    """Return a stand-in that can be pickled, also for a function that pickle does not find by its name."""
    return _Portable(value) if callable(value) and hasattr(value, "__qualname__") else value


class _Portable:
    """A function that is pickled by its own name, or as a call of the function that made it."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:
        function = self.function
        name: str = function.__qualname__
        for module in (function.__module__, "jax.numpy", "jax.nn", "jax.lax"):
            if getattr(sys.modules.get(module), name, None) is function:
                return _found, (module, name)
        made_by = _factory_of(function) if inspect.isfunction(function) else None
        if made_by is None:
            raise pickle.PicklingError(
                f"{name} cannot be pickled: expected a function that has a name in its module; define it there with def"
            )
        return functools.partial(made_by[0], **made_by[1]), ()


def _found(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)
