"""Singular values of long products of Jacobians, as logarithms.

They bound how much gradients can grow or shrink through time. A plain product overflows, underflows, or loses all but
its largest singular value. Here the product is kept as

    ds_T/ds_t = W diag(exp(l)) V^T        with orthogonal W, V

In this form small singular values keep their digits however far they lie below the largest. One more factor J on the
left gives J W diag(exp(l)), a matrix with graded columns. A QR decomposition with sorted columns (Stewart, 1994) makes
it triangular, and rotations of pairs of rows (Hestenes, 1958; Drmac & Veselic, 2008) make its rows orthogonal. The
rotations are computed from the ratios of scales, never from the scales themselves. Close or equal singular values need
no special treatment.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rnnjax.arguments import of_their_kinds
from rnnjax.engine.norms import norm

SWEEPS = 30
"""An upper limit far above what the rotations need: they converge quadratically, mostly in three to eight sweeps."""


class ProductSingularValues(NamedTuple):
    """The singular values of ds_T/ds_t for t = 0, ..., T - 1, where element t has the lag T - t.

    Attributes:
        logs: (T, ..., S), natural logs, largest first; -inf for a singular value of 0.
        log_condition: (T, ...), ln of the condition number: the largest of the logs minus the smallest. inf if the
            product is singular, NaN if it is zero.
    """

    logs: Array
    log_condition: Array


@of_their_kinds
def product_singular_values(jacobians: Array) -> ProductSingularValues:
    """The log singular values of ds_T/ds_t for every t.

        ds_T/ds_t = J_T J_{T-1} ... J_{t+1}        t = 0, ..., T - 1

    With n factors whose condition numbers are at most kappa, the error of the logs is about n S kappa epsilon or, for
    large logs, n epsilon times their size; epsilon is 2e-16 in float64 and 1e-7 in float32. This holds for each of
    them, even hundreds of orders of magnitude below the largest. If a single J is singular to working precision, the
    directions that it loses come out as -inf or lower by about ln(epsilon).

    For gradients that flow back, ||dL/ds_t|| <= exp(logs[t, 0]) ||dL/ds_T||.

    Args:
        jacobians: (T, ..., S, S) from ``state_jacobians``, or any square matrices.

    Raises:
        ValueError: if they are not square matrices, or there are none.
        TypeError: if they are not float32 or float64.
    """
    _check_matrices(jacobians)
    size, dtype = jacobians.shape[-1], jacobians.dtype

    def back(carry: tuple[Array, Array], jacobian: Array) -> tuple[tuple[Array, Array], Array]:
        # Transposed, the products grow on the left.
        basis, logs = jnp.vectorize(_times, signature="(s,s),(s,s),(s)->(s,s),(s)")(jacobian.mT, *carry)
        return (basis, logs), logs

    batch_shape = jacobians.shape[1:-2]
    start = jnp.broadcast_to(jnp.eye(size, dtype=dtype), jacobians.shape[1:]), jnp.zeros((*batch_shape, size), dtype)
    _, logs = jax.lax.scan(back, start, jacobians, reverse=True)
    return ProductSingularValues(logs, logs[..., 0] - logs[..., -1])


def _times(jacobian: Array, basis: Array, logs: Array) -> tuple[Array, Array]:
    """The left basis and the log singular values of J W diag(exp(l)); l is in descending order before and after."""
    columns = jacobian @ basis
    sizes = norm(columns, (0,))
    logs = logs + jnp.log(sizes)
    order = jnp.argsort(logs, descending=True)
    logs = logs[order]
    columns = (columns / jnp.where(sizes > 0, sizes, jnp.ones_like(sizes))[None])[:, order]
    basis, triangle = jnp.linalg.qr(columns)
    # R diag(exp(l)) = diag(exp(l)) U. Above the diagonal the ratios of scales are at most 1; below it R is 0.
    ratios = _ratios(logs)
    rows, rotation = _orthogonal_rows(triangle * ratios, ratios)
    logs = logs + jnp.log(norm(rows, (1,)))
    order = jnp.argsort(logs, descending=True)
    return (basis @ rotation.T)[:, order], logs[order]


def _ratios(logs: Array) -> Array:
    """exp(l_j - l_i) for j >= i, else 0; also 0 where l_j is -inf."""
    finite = jnp.where(jnp.isneginf(logs), jnp.zeros_like(logs), logs)
    differences = jnp.where(jnp.isneginf(logs), -jnp.inf * jnp.ones_like(logs), finite[None, :] - finite[:, None])
    return jnp.exp(jnp.triu(differences)) * jnp.triu(jnp.ones_like(differences))


def _orthogonal_rows(rows: Array, ratios: Array) -> tuple[Array, Array]:
    """The u_i and the rotation, for rows exp(l_i) u_i of graded sizes that are rotated until they are orthogonal."""
    size, epsilon = len(rows), float(jnp.finfo(rows.dtype).eps)
    pairs = _pairs(size)

    def goes_on(carry: tuple[Array, Array, Array]) -> Array:
        sweeps, rows, _ = carry
        sizes = norm(rows, (1,))
        unit = rows / jnp.where(sizes > 0, sizes, jnp.ones_like(sizes))[:, None]
        cosines = jnp.abs(jnp.triu(unit @ unit.T, 1))
        return (jnp.max(cosines) > max(10, size) * epsilon) & (sweeps < SWEEPS)  # False for a NaN

    def sweep(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        sweeps, rows, rotation = carry
        (rows, rotation), _ = jax.lax.scan(rotate, (rows, rotation), pairs)
        return sweeps + 1, rows, rotation

    def rotate(carry: tuple[Array, Array], pair: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        rows, rotation = carry
        p, q = pair
        ratio = ratios[p, q]
        scaled = _scaled_tangents(rows[p], rows[q], ratio)
        tangent = scaled * ratio
        cosine = jax.lax.rsqrt(1 + tangent**2)
        rows = _turned(rows, pair, cosine, tangent * ratio, scaled)
        return (rows, _turned(rotation, pair, cosine, tangent, tangent)), None

    start = jnp.array(0), rows, jnp.eye(size, dtype=rows.dtype)
    _, rows, rotation = jax.lax.while_loop(goes_on, sweep, start)
    return rows, rotation


def _scaled_tangents(u_p: Array, u_q: Array, ratio: Array) -> Array:
    """tan(angle) / ratio of the rotation that makes a_p and a_q orthogonal, for the smaller of the two angles.

    tan(2 angle) = 2 a_p . a_q / (|a_p|^2 - |a_q|^2)        a_p = u_p, a_q = ratio u_q
    """
    between = jnp.sum(u_p * u_q, axis=-1)
    difference = jnp.sum(u_p**2, axis=-1) - ratio**2 * jnp.sum(u_q**2, axis=-1)
    root = jnp.sqrt(difference**2 + (2 * ratio * between) ** 2)
    below = difference + jnp.where(difference < 0, -root, root)
    return jnp.where(below == 0, jnp.zeros_like(below), 2 * between / jnp.where(below == 0, 1, below))


def _turned(rows: Array, pair: tuple[Array, Array], cosine: Array, to_p: Array, to_q: Array) -> Array:
    """The rows, with p replaced by cosine (r_p + to_p r_q) and q by cosine (r_q - to_q r_p)."""
    p, q = pair
    r_p, r_q, cosine = rows[p], rows[q], cosine[:, None]
    turned_p, turned_q = cosine * (r_p + to_p[:, None] * r_q), cosine * (r_q - to_q[:, None] * r_p)
    return rows.at[p].set(turned_p, unique_indices=True).at[q].set(turned_q, unique_indices=True)


def _pairs(size: int) -> tuple[Array, Array]:
    """First and second places of all pairs, (rounds, size // 2); pairs of a round are disjoint, as in a tournament."""
    players = size + size % 2
    circle = np.arange(players)
    rounds = []
    for _ in range(players - 1):
        pairs = np.sort(np.stack([circle[: players // 2], circle[: players // 2 - 1 : -1]]), axis=0)
        rounds.append(pairs[:, pairs[1] < size])
        circle[1:] = np.roll(circle[1:], 1)
    first, second = np.stack(rounds, axis=1)
    return jnp.asarray(first), jnp.asarray(second)


def _check_matrices(jacobians: Array) -> None:
    shape = jnp.shape(jacobians)
    if len(shape) < 3 or shape[-1] != shape[-2] or 0 in (shape[0], shape[-1]):
        raise ValueError(
            f"jacobians have shape {shape}: expected (T, ..., S, S), at least one square matrix, time first; "
            "make them with state_jacobians"
        )
    received = getattr(jacobians, "dtype", type(jacobians).__name__)
    if str(received) not in ("float32", "float64"):
        raise TypeError(f"jacobians are {received}: expected float32 or float64; use astype")
