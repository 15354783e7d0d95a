"""A network whose recurrent matrix stays orthogonal under any optimizer.

The params hold a skew-symmetric matrix, from which the orthogonal one is computed.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, zero_state
from rnnjax.cells.activations import ACTIVATIONS
from rnnjax.checks import positive_integer
from rnnjax.names import lookup
from rnnjax.origin import remembered
from rnnjax.typing import Activation, Initializer, Key
from rnnjax.units import beside

Response = Callable[[Array, Array], Array]
"""``(pre_activation, bias) -> hidden``."""


class OrthogonalParams(NamedTuple):
    kernel: Array  # (I, H)
    skew: Array  # (H, H), of which only the part above the diagonal is read
    bias: Array  # (H,)


class OrthogonalState(NamedTuple):
    hidden: Array  # (..., H)


class Parametrization(NamedTuple):
    orthogonal_of: Callable[[Array], Array]  # skew-symmetric matrix -> orthogonal matrix
    skew_init: Initializer


@remembered
def orthogonal_rnn(
    hidden_size: int,
    parametrization: Literal["exponential", "cayley"] = "exponential",
    activation: str | Activation = "modrelu",
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    skew_init: Initializer | None = None,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Cell:
    """A network with an orthogonal recurrent matrix (Lezcano-Casado & Martinez-Rubio, 2019; Helfrich et al., 2018).

        A = S - S^T                          S strictly upper triangular
        U = exp(A)                           "exponential" (expRNN: Lezcano-Casado & Martinez-Rubio, 2019), or
        U = (I + A)^-1 (I - A)               "cayley" (scoRNN: Helfrich et al., 2018)
        z_t = x_t W + h_{t-1} U
        h_t = sign(z_t) * relu(|z_t| + b)    "modrelu" (Arjovsky et al., 2016), or
        h_t = g(z_t + b)                     any other activation g

    Invented so that the recurrent matrix, which keeps every norm, lets gradients neither vanish nor explode, while any
    ordinary optimizer can train S. "exponential" reaches every rotation. "cayley" reaches those without the eigenvalue
    -1 (scoRNN reaches the others by a fixed diagonal of signs, which is the identity here).

    Args:
        hidden_size: H, the number of units.
        parametrization: "exponential" or "cayley".
        activation: "modrelu", or g as for ``elman``; "relu" and similar ones do not keep norms.
        kernel_init: for W (I, H).
        skew_init: for S (H, H), by default rotations of pairs of units, as in the papers, by angles uniform in
            [-pi, pi] for "exponential" (Henaff et al., 2016) and in [0, pi/2] for "cayley".
        bias_init: for b (H,).

    Raises:
        ValueError: for another parametrization, an unknown activation, or hidden_size < 1.
        TypeError: if hidden_size is not a whole number.
    """
    size = positive_integer("hidden_size", hidden_size)
    orthogonal_of, usual_init = lookup("parametrization", parametrization, PARAMETRIZATIONS)
    respond = _biased(activation) if callable(activation) else lookup("activation", activation, RESPONSES)

    def init(key: Key, input_size: int) -> OrthogonalParams:
        kernel_key, skew_key, bias_key = jax.random.split(key, 3)
        return OrthogonalParams(
            kernel=kernel_init(kernel_key, (positive_integer("input_size", input_size), size)),
            skew=(usual_init if skew_init is None else skew_init)(skew_key, (size, size)),
            bias=bias_init(bias_key, (size,)),
        )

    def initial_state(params: OrthogonalParams, batch_shape: tuple[int, ...] = ()) -> OrthogonalState:
        return OrthogonalState(*zero_state(batch_shape, (size,), params.skew.dtype))

    def project(params: OrthogonalParams, inputs: Array) -> Array:
        return inputs @ params.kernel

    def advance(params: OrthogonalParams, state: OrthogonalState, drive: Array) -> OrthogonalState:
        recurrent_kernel = orthogonal_of(_skew_symmetric(params.skew)).astype(params.skew.dtype)
        return OrthogonalState(respond(drive + state.hidden @ recurrent_kernel, params.bias))

    return Cell(init, initial_state, project, advance)


def _skew_symmetric(skew: Array) -> Array:
    # There is no linear solver for 16 bits.
    upper = jnp.triu(skew, 1).astype(skew.dtype if skew.dtype.itemsize >= 4 else jnp.float32)
    return upper - upper.T


def _exponential(skew: Array) -> Array:
    return jax.scipy.linalg.expm(skew)


def _cayley(skew: Array) -> Array:
    identity = jnp.eye(len(skew), dtype=skew.dtype)
    return jnp.linalg.solve(identity + skew, identity - skew)


def _pairwise_rotations(entries: Callable[[Key, tuple[int, ...]], Array]) -> Initializer:
    """One entry above the diagonal for each pair of units: the plane in which they rotate."""

    def init(key: Key, shape: tuple[int, ...]) -> Array:
        first = jnp.arange(0, shape[0] - 1, 2)
        return jnp.zeros(shape).at[first, first + 1].set(entries(key, first.shape))

    return init


def _angles(key: Key, shape: tuple[int, ...]) -> Array:
    return jax.random.uniform(key, shape, minval=-jnp.pi, maxval=jnp.pi)


def _half_tangents(key: Key, shape: tuple[int, ...]) -> Array:
    """Entries that the Cayley transform turns into angles in [0, pi/2]: -sqrt((1 - cos) / (1 + cos)) of the angles."""
    return -jnp.tan(jax.random.uniform(key, shape, maxval=jnp.pi / 2) / 2)


PARAMETRIZATIONS = {
    "exponential": Parametrization(_exponential, _pairwise_rotations(_angles)),
    "cayley": Parametrization(_cayley, _pairwise_rotations(_half_tangents)),
}


def _modrelu(pre_activation: Array, bias: Array) -> Array:
    return jnp.sign(pre_activation) * jax.nn.relu(jnp.abs(pre_activation) + beside(bias, pre_activation))


def _biased(g: Activation) -> Response:
    return lambda pre_activation, bias: g(pre_activation + beside(bias, pre_activation))


# Only modReLU has its bias inside.
RESPONSES: dict[str, Response] = {"modrelu": _modrelu} | {name: _biased(g) for name, g in ACTIVATIONS.items()}
