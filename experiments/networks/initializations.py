"""Initializations by name, ``NAME`` or ``NAME:NUMBER``, and which cells take them.

default        the defaults of the cell's constructor: for most cells, orthogonal recurrent kernels
orthogonal:s   orthogonal recurrent kernels times s, by default 1; a gated cell has one for each gate, here and below
identity:s     the identity times s, by default 1
glorot         uniform, of variance 1 / H
gain:g         independent and Gaussian, of variance g^2 / H
radius:r       Gaussian, scaled to the spectral radius r
drive:d        input kernels, Gaussian, so that a one-hot input adds a standard deviation of d to every unit
forget_bias:b  b as the bias of the forget gate, or of the update gate in a GRU
chrono:T       the same bias, drawn so that the units remember for up to T steps (Tallec & Ollivier, 2018)
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax

import rnnjax
from rnnjax.checks import positive_number
from rnnjax.names import lookup
from rnnjax.typing import Initializer


class _Kind(NamedTuple):
    keywords: tuple[str, ...]  # arguments of constructors; the first that the cell's constructor has is given
    make: Callable[..., Any]  # makes the value of that argument, from the number if there is one
    with_number: tuple[bool, ...]  # False: it may come without a number, True: it may come with one


def _orthogonal(scale: float = 1.0) -> Initializer:
    return rnnjax.initializers.orthogonal(positive_number("scale", scale))


def _gaussian(gain: float) -> Initializer:
    return jax.nn.initializers.variance_scaling(positive_number("gain", gain) ** 2, "fan_in", "normal")


def _driving(deviation: float) -> Initializer:
    return jax.nn.initializers.normal(positive_number("drive", deviation))


_RECURRENT, _GATE = ("recurrent_init",), ("forget_bias", "update_bias")
_KINDS = {
    "orthogonal": _Kind(_RECURRENT, _orthogonal, (False, True)),
    "identity": _Kind(_RECURRENT, rnnjax.initializers.identity, (False, True)),
    "glorot": _Kind(_RECURRENT, jax.nn.initializers.glorot_uniform, (False,)),
    "gain": _Kind(_RECURRENT, _gaussian, (True,)),
    "radius": _Kind(_RECURRENT, rnnjax.initializers.spectral_normal, (True,)),
    "drive": _Kind(("kernel_init",), _driving, (True,)),
    "forget_bias": _Kind(_GATE, float, (True,)),
    "chrono": _Kind(_GATE, rnnjax.initializers.chrono, (True,)),
    "default": _Kind((), dict, (False,)),
}


def options(initialization: str, parameters: Iterable[str]) -> dict[str, Any] | None:
    """The arguments that initialize a cell so, for a constructor with these parameters; None if it has none for that.

    Raises:
        ValueError: if the initialization is unknown, or its number is missing, superfluous or impossible.
    """
    name, colon, number = initialization.partition(":")
    kind = lookup("initialization", name, _KINDS)
    if bool(colon) not in kind.with_number:
        expected = f"a number, as in {name}:2" if colon == "" else f"{name} alone"
        raise ValueError(f"initialization is {initialization!r}: expected {expected}")
    try:
        made = kind.make(float(number)) if colon else kind.make()
    except ValueError as error:
        raise ValueError(f"initialization {initialization!r}: {error}") from error
    if name == "default":
        return {}
    taken = [keyword for keyword in kind.keywords if keyword in parameters]
    return {taken[0]: made} if taken else None


def is_taken(initialization: str, cell: str, hidden_size: int) -> bool:
    """Whether the cell of that name can be initialized so.

    Raises:
        ValueError: as ``options``, and for an unknown cell.
    """
    constructor = rnnjax.cell_named(cell)
    chosen = options(initialization, inspect.signature(constructor).parameters)
    if chosen:
        try:
            jax.eval_shape(lambda: constructor(hidden_size, **chosen).init(jax.random.key(0), 1))
        except ValueError:  # weights that are no square matrix
            return False
    return chosen is not None


def gain_and_drive(initialization: str, input_size: int) -> tuple[float, float] | None:
    """The gain g and the drive of an Elman network, which mean-field theory needs; None for other initializations.

    A recurrent kernel of independent Gaussian weights has the gain g, an orthogonal one the gain 1. The drive is the
    standard deviation that a one-hot input adds to a unit, that of the input kernel: by default input_size^-1/2.
    """
    name, _, number = initialization.partition(":")
    if name == "gain":
        return float(number), input_size**-0.5
    return (1.0, float(number)) if name == "drive" else None
