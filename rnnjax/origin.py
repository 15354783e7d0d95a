"""What remembers how it was made: equal, hashed, shown, copied and pickled by its constructor and arguments.

``remembered`` decorates the constructors of cells and of what is made of cells. It puts an ``Origin`` in the place of
``init``, which is called as the function that it stands for. Whoever changes another function of the whole, as
``cell._replace(advance=...)`` does, has made something new: then the origin no longer fits, and the whole is known by
its functions alone.
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
    """A constructor whose results are equal where its arguments are, and say so."""

    @functools.wraps(constructor)
    def construct(*args: Arguments.args, **options: Arguments.kwargs) -> Made:
        bound = signature.bind(*args, **options)
        for name, value in bound.arguments.items():
            _check_option(signature.parameters[name], value)
        made: Any = constructor(*args, **options)
        if any(made is each for each in (*args, *options.values())):
            return made  # nothing was added to it
        if hasattr(made, "initial_state"):
            made = made._replace(initial_state=_of_its_params(made.initial_state))
        bound.apply_defaults()
        init, *others = made
        origin: Any = Origin(init, construct, bound.arguments, tuple(others))
        return type(made)(origin, *others)

    signature = inspect.signature(constructor)
    return construct


def _check_option(parameter: inspect.Parameter, value: Any) -> None:
    """What the name of a constructor's argument says of it."""
    name = parameter.name
    if name.endswith("_init") and value is not None:
        check_function(name, value, "jax.nn.initializers.normal(0.1)")
    elif name.endswith("bias") and (parameter.annotation is float or not callable(value)):
        finite_number(name, value)
    elif name in ("input_to_all", "all_to_output"):
        check_flag(name, value)


def _of_its_params(initial_state: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with a message for params that are not the cell's."""

    @functools.wraps(initial_state)
    def call(params: Any, batch_shape: tuple[int, ...] = ()) -> Any:
        try:
            return initial_state(params, batch_shape)
        except AttributeError as error:
            raise TypeError(f"params are {told(params)}: expected those that this cell's init made") from error

    return call


class Origin:
    """The ``init`` of what was made by a constructor, and how it was made.

    Attributes:
        init: the function itself.
        constructor: the public one.
        arguments: by name, defaults included.
        others: what stands beside ``init``.
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
        """The params, from a random key and the sizes that ``init`` takes.

        Raises:
            TypeError: if the key is none, or a size not a whole number.
            ValueError: for a size below 1.
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
        """What to call the constructor with, no more than is needed: arguments by place, and by name."""
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


# What a NamedTuple is known by whose first field is ``init``


def remembering(made: Class) -> Class:
    """The class decorator that goes with ``remembered``."""
    methods = {"eq": _equal, "hash": _hash, "repr": _shown, "reduce": _reduced}
    itself = {"copy": lambda self: self, "deepcopy": lambda self, memo: self}  # for it cannot be changed
    for name, method in (methods | itself).items():
        setattr(made, f"__{name}__", method)
    made.remembers = True  # type: ignore[attr-defined]
    return made


def origin_of(made: Any) -> Origin | None:
    """How something was made; None for what was put together by hand."""
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


# By value


def identity(value: Any) -> Any:
    """Something with a hash, equal for values that do the same: functions of the same code and surroundings, too."""
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
    """An array, by its values; one that is being traced has none yet, and equals itself alone."""

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


# In words, and in bytes


def described(value: Any) -> str:
    """Short, and without addresses in memory."""
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
    """The function that made this one, as ``jax.nn.initializers.normal`` does, and with what, if that is known."""
    name, inner, _ = function.__qualname__.partition(".<locals>")
    factory = getattr(sys.modules.get(function.__module__), name, None) if inner else None
    if factory is None:
        return None
    closed = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    around = {name: cell.cell_contents for name, cell in closed if _is_set(cell)}
    options = {name: around[name] for name in inspect.signature(factory).parameters if name in around}
    try:
        again = factory(**options)
    except Exception:  # whatever a stranger's function does when it is called without an argument
        return None
    return (factory, options) if identity(again) == identity(function) else None


def _portable(value: Any) -> Any:
    """What pickles as the value does, where that is a function that pickle does not find by its name, too."""
    return _Portable(value) if callable(value) and hasattr(value, "__qualname__") else value


class _Portable:
    """A function, pickled by its own name, or as what the function makes that it is inside of."""

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
