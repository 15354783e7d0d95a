"""What a wide random network's gradient does on average: the mean-field prediction of its growth or decay."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rnnjax.cells.activations import activation_named
from rnnjax.checks import number_between, positive_integer, positive_number
from rnnjax.typing import Activation


class MeanField(NamedTuple):
    """Predictions for every step through time, or for every layer.

    Attributes:
        variances: (T,), q_t of the pre-activations.
        factors: (T,), chi_t, by which one step back multiplies the mean square of the gradient: its norm by
            sqrt(chi_t), or by exp(log(chi_t) / 2).
    """

    variances: np.ndarray
    factors: np.ndarray


def mean_field(
    activation: str | Activation, gain: float, steps: int, *, input_variance: float = 0.0, start: float | None = None
) -> MeanField:
    """Variance of pre-activations and decay of gradients in a network of infinite width with random Gaussian weights.

        a_{t+1} = phi(a_t) U + u_{t+1}        U[i, j] ~ N(0, g^2 / H),  u[i] ~ N(0, s^2)
        q_{t+1} = g^2 E[phi(sqrt(q_t) z)^2] + s^2        z ~ N(0, 1)
        chi_t   = g^2 E[phi'(sqrt(q_t) z)^2]             ||dL/da_t||^2 = chi_t ||dL/da_{t+1}||^2

    Recurrent networks by Sompolinsky et al. (1988), layers by Poole et al. (2016) and Schoenholz et al. (2017). Of an
    Elman network s^2 is the variance that inputs and bias give to a pre-activation; dL/dh_t, with the last h_T
    apart, falls as dL/da_t. Of a feed-forward network t counts layers, s^2 is the variance of the bias, and ``start``
    what the inputs make of the first layer's pre-activations. It holds at initialization. Through time, where every
    step has the same weights, it holds for lags up to about sqrt(H): beyond, the largest eigenvalues lead.

    Args:
        activation: phi, a name or any elementwise function.
        gain: g, the standard deviation of a weight times sqrt(H).
        steps: T.
        input_variance: s^2.
        start: q_1, by default s^2: a state that was zero.

    Raises:
        ValueError: for an unknown activation, steps < 1, a gain that is not positive, or a negative variance.
        TypeError: for numbers that are none.
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
    """E[phi(a)^2] and E[phi'(a)^2] over a ~ N(0, variance), in float64.

    By Gauss-Legendre quadrature of the negative and the positive half, so that a kink at 0 falls between the two.
    """
    with jax.enable_x64(True):
        of_value, of_slope = _moments(activation, jnp.sqrt(jnp.asarray(variance, float)))
        return float(of_value), float(of_slope)


@functools.partial(jax.jit, static_argnums=0)
def _moments(activation: Activation, deviation: Array) -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    z = 6 * (nodes + 1)  # from 0 to 12 deviations
    weights = weights * np.exp(-(z**2) / 2)
    a = deviation * np.concatenate([-z, z])
    values, slopes = jax.jvp(activation, (a,), (jnp.ones_like(a),))
    density = jnp.asarray(np.tile(weights / (2 * weights.sum()), 2))
    return density @ jnp.square(values), density @ jnp.square(slopes)
