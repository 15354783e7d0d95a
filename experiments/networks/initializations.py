"""Initializations by name, ``NAME`` or ``NAME:NUMBER``, and which cells take them.

default        what the cell's constructor has, for most orthogonal recurrent kernels
orthogonal:s   recurrent kernels, of gated cells gate by gate, as in the next three; times s, by default 1
identity:s     s times the identity, by default 1
glorot         uniform, of variance 1 / H
gain:g         independent and Gaussian, of variance g^2 / H
radius:r       Gaussian, scaled to the spectral radius r
drive:d        input kernels, Gaussian, so that a one-hot input adds a standard deviation of d to every unit
forget_bias:b  the bias of the forget gate, of a GRU that of the update gate
chrono:T       the same, drawn so that the memories of the units last up to T steps (Tallec & Ollivier, 2018)
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
    keywords: tuple[str, ...]  # of constructors, any of them
    make: Callable[..., Any]  # what is given for it
    with_number: tuple[bool, ...]  # may it come without a number, with one


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
    """What to give to a constructor with these parameters; None if it cannot be initialized so.

    Raises:
        ValueError: for an initialization that cannot be.
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
        ValueError: for an initialization that cannot be.
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
    """Of an Elman network, what mean-field theory asks for; None of kernels that it does not speak of.

    A recurrent kernel of independent Gaussian weights has the gain g, an orthogonal one 1. A one-hot input drives a
    unit by the standard deviation of the input kernel, which by default is input_size^-1/2.
    """
    name, _, number = initialization.partition(":")
    if name == "gain":
        return float(number), input_size**-0.5
    return (1.0, float(number)) if name == "drive" else None
