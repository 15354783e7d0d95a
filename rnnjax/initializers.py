"""Initializers for recurrent networks that ``jax.nn.initializers`` does not have."""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from rnnjax.arguments import of_their_kinds
from rnnjax.checks import number_between, positive_number
from rnnjax.typing import Initializer, Key


@of_their_kinds
def orthogonal(scale: float = 1.0) -> Initializer:
    """A random orthogonal matrix (Saxe, McClelland & Ganguli, 2014); under ``vmap`` one is drawn after the other.

    The matrices are those of ``jax.nn.initializers.orthogonal``. They are not drawn as a batch, since several QR
    decompositions of batches in one program can deadlock: on a CPU each takes a thread and waits for more of them (seen
    in jaxlib 0.10 with two cores, for the weights of 20 seeds at once).
    """
    draw = jax.nn.initializers.orthogonal()

    def init(key: Key, shape: tuple[int, ...], dtype: DTypeLike = float) -> Array:
        drawn: Array = jax.custom_batching.sequential_vmap(lambda key: draw(key, shape, dtype))(key)
        return jnp.asarray(scale, drawn.dtype) * drawn

    return init


@of_their_kinds
def identity(scale: float = 1.0) -> Initializer:
    """The scaled identity, W = scale I, from which the IRNN starts (Le, Jaitly & Hinton, 2015).

    Raises:
        ValueError: from the initializer, if the shape is not square.
    """

    def init(key: Key, shape: tuple[int, ...], dtype: DTypeLike = float) -> Array:
        _check_square("identity", shape)
        return scale * jnp.eye(shape[0], dtype=dtype)

    return init


@of_their_kinds
def spectral_normal(radius: float) -> Initializer:
    """A Gaussian matrix scaled so that its largest eigenvalue modulus is exactly ``radius``.

    A linear recurrence decays if radius < 1 and grows if radius > 1 (Jaeger, 2001; Pascanu et al., 2013).

    Raises:
        ValueError: if ``radius`` is not positive, or, from the initializer, if the shape is not square.
    """
    radius = positive_number("radius", radius)

    def init(key: Key, shape: tuple[int, ...], dtype: DTypeLike = float) -> Array:
        _check_square("spectral_normal", shape)
        matrix = jax.random.normal(key, shape, dtype) / math.sqrt(shape[0])
        return matrix * (radius / spectral_radius(matrix))

    return init


@of_their_kinds
def chrono(longest: float) -> Initializer:
    """Biases of memory gates for time spans of 2 steps to the longest (Tallec & Ollivier, 2018).

        b = log u        u uniform over [1, longest - 1]

    A gate that stays at sigmoid(b) = u / (u + 1) keeps a memory for 1 + u steps, until about 1/e of it is left. The
    spans of the units are therefore spread evenly from 2 to ``longest``. Use it as ``lstm(H, forget_bias=chrono(100))``
    or ``gru(H, update_bias=chrono(100))``.

    Raises:
        ValueError: unless ``longest`` is at least 2.
    """
    number = number_between("longest", longest, 2, math.inf)

    def init(key: Key, shape: tuple[int, ...], dtype: DTypeLike = float) -> Array:
        return jnp.log(jax.random.uniform(key, shape, dtype, 1, number - 1))

    return init


def spectral_radius(matrix: Array) -> Array:
    """The largest eigenvalue modulus of a square matrix (H, H), computed from matrix products alone.

    It uses Gelfand's formula, rho(W) = lim ||W^k||^(1/k), with k = 2^50 reached by repeated squaring. Unlike an
    eigenvalue solver it compiles for every platform. The error of the limit is a factor kappa^(1/k), which is below
    rounding.
    """

    def square(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        power, log_norm = carry
        power = power @ power
        norm = jnp.linalg.norm(power)
        scale = jnp.where(norm > 0, norm, 1)  # a nilpotent matrix reaches 0: then rho = 0
        return power / scale, 2 * log_norm + jnp.log(norm)

    norm = jnp.linalg.norm(matrix)
    squarings = 50
    start = (matrix / jnp.where(norm > 0, norm, 1), jnp.log(norm))
    _, log_norm = jax.lax.fori_loop(0, squarings, square, start)
    return jnp.exp(log_norm / 2.0**squarings)


def _check_square(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"{name} received shape {shape}: expected a square matrix; use it for recurrent_init only")
