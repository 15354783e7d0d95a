"""The mean-field prediction of gradients in a wide random network."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rnnjax.arguments import of_their_kinds
from rnnjax.cells.activations import activation_named
from rnnjax.checks import number_between, positive_integer, positive_number
from rnnjax.typing import Activation


class MeanField(NamedTuple):
    """Predictions for every step through time, or for every layer.

    Attributes:
        variances: (T,), q_t of the pre-activations.
        factors: (T,), chi_t, by which one step back multiplies the mean square of the gradient. It multiplies the norm
            by sqrt(chi_t).
    """

    variances: np.ndarray
    factors: np.ndarray


@of_their_kinds
def mean_field(
    activation: str | Activation, gain: float, steps: int, *, input_variance: float = 0.0, start: float | None = None
) -> MeanField:
    """The variance of pre-activations and the decay of gradients in an infinitely wide network with Gaussian weights.

        a_{t+1} = phi(a_t) U + u_{t+1}        U[i, j] ~ N(0, g^2 / H),  u[i] ~ N(0, s^2)
        q_{t+1} = g^2 E[phi(sqrt(q_t) z)^2] + s^2        z ~ N(0, 1)
        chi_t   = g^2 E[phi'(sqrt(q_t) z)^2]             ||dL/da_t||^2 = chi_t ||dL/da_{t+1}||^2

    For recurrent networks the theory is from Sompolinsky et al. (1988), for layers from Poole et al. (2016) and
    Schoenholz et al. (2017). In an Elman network s^2 is the variance that inputs and bias give to a pre-activation;
    except at the last step, dL/dh_t falls as dL/da_t does. In a feed-forward network t counts layers, s^2 is the
    variance of the bias, and ``start`` is the variance that the inputs give to the first layer's pre-activations. The
    prediction is for initialization. Through time, where every step has the same weights, it holds for lags up to about
    sqrt(H); beyond that the largest eigenvalues dominate.

    Args:
        activation: phi, a name or any elementwise function.
        gain: g, the standard deviation of a weight times sqrt(H).
        steps: T, the number of steps or layers.
        input_variance: s^2.
        start: q_1, by default s^2, as for an initial state of zero.

    Raises:
        ValueError: for an unknown activation, steps < 1, a gain that is not positive, a negative variance, or an
            activation whose expectations ``gaussian_moments`` does not find.
        TypeError: for numbers of another type.
    """
    phi = activation_named(activation)
    gain, steps = positive_number("gain", gain), positive_integer("steps", steps)
    input_variance = number_between("input_variance", input_variance, 0, math.inf)
    variance = input_variance if start is None else number_between("start", start, 0, math.inf)
    variances, factors = np.empty(steps), np.empty(steps)
    for step in range(steps):
        of_value, of_slope = gaussian_moments(phi, variance)
        variances[step], factors[step] = variance, gain**2 * of_slope
        variance = gain**2 * of_value + input_variance
    return MeanField(variances, factors)


def gaussian_moments(activation: Activation, variance: float) -> tuple[float, float]:
    """E[phi(a)^2] and E[phi'(a)^2] over a ~ N(0, variance), in float64, to ten digits or else an error.

    They are computed by Gauss-Legendre quadrature on panels from -12 to 12 deviations. The first panels are narrow
    enough for the density and for usual activations: their edges are powers of 2 towards 0, in units of a, and whole
    numbers, where kinks are. A panel that differs from the sum of its halves is halved, until none does.

    Raises:
        ValueError: if this does not end, or if the range beyond 12 deviations matters.
    """
    deviation = math.sqrt(variance)
    total, panels = np.zeros(2), _first_panels(deviation)
    for _ in range(_ROUNDS):
        whole, halves = _integrals_over(activation, deviation, panels)
        with np.errstate(invalid="ignore"):  # where phi overflows, inf - inf
            error = np.where(whole == halves, 0, np.abs(whole - halves))
            # In the outermost panels only a phi that outgrows the density contributes anything.
            error = np.where(np.abs(panels).max(axis=1) > 11, np.maximum(error, halves), error)
            done = (error <= _TOLERANCE * (total + halves.sum(axis=1))[:, None]).all(axis=0)
        total, panels = total + halves[:, done].sum(axis=1), _halved(panels[~done])
        if not 0 < len(panels) <= _MOST_PANELS:
            break
    if len(panels):
        raise ValueError(
            f"the mean squares of the activation and its slope are not found at variance {variance:g}: expected a "
            "function that is finite, and smooth but for a few places; lower gain, start or input_variance, or pass "
            "another one"
        )
    return float(total[0]), float(total[1])


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_TOLERANCE = 1e-12  # of a panel, relative to the whole integral
_ROUNDS, _MOST_PANELS = 50, 1024


def _first_panels(deviation: float) -> np.ndarray:
    """The bounds (P, 2) of the first panels, in deviations; P is always the same."""
    of_density = np.linspace(0, 12, 17)
    of_activation = np.concatenate([2.0 ** np.arange(-16, 18), [3, 5, 6, 7]])
    with np.errstate(divide="ignore"):
        edges = np.sort(np.concatenate([of_density, np.minimum(of_activation / np.float64(deviation), 12)]))
    positive = np.stack([edges[:-1], edges[1:]], axis=1)
    return np.concatenate([-positive[:, ::-1], positive])


def _halved(panels: np.ndarray) -> np.ndarray:
    low, high = panels.T
    middle = (low + high) / 2
    return np.concatenate([np.stack([low, middle], axis=1), np.stack([middle, high], axis=1)])


def _integrals_over(activation: Activation, deviation: float, panels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ``_integrals`` of panels, padded with empty ones to a power of two, so that few shapes are compiled."""
    count = len(panels)
    padded = np.pad(panels, ((0, 2 ** (count - 1).bit_length() - count), (0, 0)))
    with jax.enable_x64(True):
        whole, halves = _integrals(activation, deviation, padded)
        return np.asarray(whole)[:, :count], np.asarray(halves)[:, :count]


@functools.partial(jax.jit, static_argnums=0)
def _integrals(activation: Activation, deviation: Array, panels: Array) -> tuple[Array, Array]:
    """Integrals (2, P) of phi^2 and phi'^2 times the density over each panel, at once and as the sum of its halves."""

    def integral(low: Array, high: Array) -> Array:
        middle, half = (low + high)[:, None] / 2, (high - low)[:, None] / 2
        z = middle + half * _NODES[None]
        values, slopes = jax.jvp(activation, (deviation * z,), (jnp.ones_like(z),))
        weights = half * _WEIGHTS[None] * jnp.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        return jnp.stack([jnp.sum(jnp.where(half > 0, weights * f**2, 0), axis=1) for f in (values, slopes)])

    low, high = panels[:, 0], panels[:, 1]
    middle = (low + high) / 2
    return integral(low, high), integral(low, middle) + integral(middle, high)
