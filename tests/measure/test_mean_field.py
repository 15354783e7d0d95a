"""``mean_field``: against Gauss-Hermite quadrature, closed forms, known values, and networks of width 512."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.measure.mean_field import gaussian_moments
from tests.test_errors import check


def test_recursion_for_tanh_equals_that_by_gauss_hermite_quadrature():
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    predicted = rnnjax.mean_field("tanh", 1.3, 20, input_variance=0.25)
    variance = 0.25
    for found_variance, found_factor in zip(*predicted, strict=True):
        a = np.sqrt(variance) * nodes
        np.testing.assert_allclose(found_variance, variance, rtol=1e-8)
        np.testing.assert_allclose(found_factor, 1.3**2 * weights @ np.cosh(a) ** -4.0, rtol=1e-8)
        variance = 1.3**2 * weights @ np.tanh(a) ** 2 + 0.25


def phi(x):
    """The standard normal distribution function."""
    return math.erfc(-x / math.sqrt(2)) / 2


@pytest.mark.parametrize("q", [0.01, 0.7, 5.0])
def test_gaussian_moments_are_the_closed_forms(q):
    root = math.sqrt(q)
    tail = math.exp(2 * q) * phi(-2 * root)
    closed = {
        "identity": (q, 1.0),
        "relu": (q / 2, 0.5),
        "leaky_relu": (q / 2 * (1 + 0.01**2), 0.5 * (1 + 0.01**2)),
        "elu": (q / 2 + tail - 2 * math.exp(q / 2) * phi(-root) + 0.5, 0.5 + tail),
    }
    for name, expected in closed.items():
        np.testing.assert_allclose(gaussian_moments(rnnjax.ACTIVATIONS[name], q), expected, rtol=1e-10)
    arcsine = 2 / math.pi * math.asin(2 * q / (1 + 2 * q))  # Williams, 1997
    np.testing.assert_allclose(
        gaussian_moments(jax.lax.erf, q), (arcsine, 4 / math.pi / math.sqrt(1 + 4 * q)), rtol=1e-10
    )


@pytest.mark.parametrize(("activation", "kept"), [("identity", 1.0), ("relu", 0.5)])
def test_variance_of_a_linear_network_is_a_geometric_sum_and_relu_halves_every_term(activation, kept):
    predicted = rnnjax.mean_field(activation, 0.8, 7, input_variance=0.3, start=2.0)
    ratio = 0.64 * kept
    expected = [2.0 * ratio**t + 0.3 * (1 - ratio**t) / (1 - ratio) for t in range(7)]
    np.testing.assert_allclose(predicted.variances, expected, rtol=1e-12)
    np.testing.assert_allclose(predicted.factors, ratio, rtol=1e-12)


def test_state_that_was_zero_begins_with_the_variance_of_the_inputs():
    np.testing.assert_allclose(rnnjax.mean_field("tanh", 0.9, 1, input_variance=0.25).variances, [0.25])
    silent = rnnjax.mean_field("tanh", 0.9, 3)
    np.testing.assert_allclose(silent.variances, 0)
    np.testing.assert_allclose(silent.factors, 0.81)  # without inputs, tanh'(0) = 1


SLOPES = {0.9: -0.357, 1.2: -0.151, 1.5: -0.023}
"""Of ln ||dL/dh_t|| per step, tanh, inputs of deviation 0.5, to within 0.015."""


@pytest.mark.parametrize("gain", SLOPES)
def test_slopes_of_driven_tanh_networks_are_those_known(gain):
    predicted = rnnjax.mean_field("tanh", gain, 60, input_variance=0.25)
    np.testing.assert_allclose(np.log(predicted.factors[-1]) / 2, SLOPES[gain], atol=0.015)


@pytest.mark.parametrize(
    ("variance", "factors"),
    [
        (1 / 3, {"sigmoid": 0.141, "relu": 0.408, "tanh": 0.577, "elu": 0.577}),
        (1, {"sigmoid": 0.236, "relu": 0.707, "tanh": 0.98, "elu": 0.96}),
        (2, {"sigmoid": 0.318, "relu": 1.00, "tanh": 1.05, "elu": 1.08}),
    ],
)
def test_factors_per_layer_of_19_layers_are_those_known(variance, factors):
    for activation, factor in factors.items():
        predicted = rnnjax.mean_field(activation, variance**0.5, 19, start=variance)
        np.testing.assert_allclose(predicted.factors[-1] ** 0.5, factor, atol=0.03)


def test_own_function_and_a_name_are_the_same():
    by_name, own = (rnnjax.mean_field(phi, 1.1, 4, input_variance=1.0) for phi in ("tanh", jnp.tanh))
    jax.tree.map(np.testing.assert_array_equal, by_name, own)


@pytest.mark.slow
@pytest.mark.parametrize("gain", SLOPES)
def test_gradient_in_a_wide_network_falls_as_predicted_up_to_the_root_of_the_width(gain):
    width, steps, batch = 512, 60, 16
    recurrent_init = jax.nn.initializers.variance_scaling(gain**2, "fan_in", "normal")
    cell = rnnjax.elman(width, recurrent_init=recurrent_init)
    kernel = 0.5 * jnp.eye(width)  # every unit has an input of its own, of deviation 0.5

    @jax.jit
    def log_norms(key):
        params_key, inputs_key, readout_key = jax.random.split(key, 3)
        params = cell.init(params_key, width)._replace(kernel=kernel)
        inputs = jax.random.normal(inputs_key, (steps, batch, width))
        readout = jax.random.normal(readout_key, (width,))
        flow = rnnjax.gradient_flow(cell, params, inputs, lambda y: jnp.sum(y[-1] @ readout))
        return jnp.log(flow.state.hidden)

    measured = np.mean([log_norms(jax.random.key(seed)) for seed in range(4)], axis=0)[::-1]
    lag = int(width**0.5)
    predicted = rnnjax.mean_field("tanh", gain, steps, input_variance=0.25)
    expected = np.log(predicted.factors[::-1][:lag]).mean() / 2
    np.testing.assert_allclose((measured[lag] - measured[0]) / lag, expected, atol=0.015)


@pytest.mark.parametrize(
    ("arguments", "options", "parts"),
    [
        (("tahn", 1.0, 3), {}, ["unknown activation 'tahn'", "tanh"]),
        (("tanh", 0.0, 3), {}, ["gain is 0", "positive"]),
        (("tanh", 1.0, 0), {}, ["steps is 0", "at least 1"]),
        (("tanh", 1.0, 3), {"input_variance": -1.0}, ["input_variance is -1", "at least 0"]),
        (("tanh", 1.0, 3), {"start": -1.0}, ["start is -1", "at least 0"]),
    ],
)
def test_numbers_that_cannot_be(arguments, options, parts):
    check(ValueError, parts, lambda: rnnjax.mean_field(*arguments, **options))
