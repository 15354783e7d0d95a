"""``mean_field``: against Gauss-Hermite quadrature, closed forms, known values, and networks of width 512."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

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


def logistic(a):
    return (1 + np.tanh(a / 2)) / 2


def distribution(a):
    return special.erfc(-a / math.sqrt(2)) / 2


SELU = (1.0507009873554805, 1.6732632423543772)  # Klambauer et al., 2017

IN_NUMPY = {
    "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2),
    "sigmoid": (logistic, lambda a: logistic(a) * logistic(-a)),
    "relu": (lambda a: np.maximum(a, 0), lambda a: (a > 0) + 0.0),
    "elu": (lambda a: np.where(a > 0, a, np.expm1(np.minimum(a, 0))), lambda a: np.exp(np.minimum(a, 0))),
    "selu": (
        lambda a: SELU[0] * np.where(a > 0, a, SELU[1] * np.expm1(np.minimum(a, 0))),
        lambda a: SELU[0] * np.where(a > 0, 1, SELU[1] * np.exp(np.minimum(a, 0))),
    ),
    "gelu": (
        lambda a: a * distribution(a),
        lambda a: distribution(a) + a * np.exp(-(a**2) / 2) / math.sqrt(2 * math.pi),
    ),
    "softplus": (lambda a: np.logaddexp(0, a), logistic),
    "identity": (lambda a: a, np.ones_like),
    "leaky_relu": (lambda a: np.where(a > 0, a, 0.01 * a), lambda a: np.where(a > 0, 1, 0.01)),
}
"""phi and its derivative; of hard_tanh, whose kinks lie off 0, there is a closed form."""


def by_logarithms(functions, variance):
    """Trapezoidal rule over ln |a| on either side of 0: it sees every scale alike, and converges exponentially."""
    deviation = math.sqrt(variance)
    log_a, step = np.linspace(math.log(1e-16 * deviation), math.log(13 * deviation), 8001, retstep=True)
    a = np.exp(log_a)
    weights = step * a * np.exp(-((a / deviation) ** 2) / 2) / (math.sqrt(2 * math.pi) * deviation)
    return [float(weights @ f(a) ** 2 + weights @ f(-a) ** 2) for f in functions]


def of_hard_tanh(variance):
    """(E phi^2, E phi'^2) by the moments of a normal distribution cut at -1 and 1."""
    inside, outside = (side(1 / math.sqrt(2 * variance)) for side in (math.erf, math.erfc))
    within = variance * (inside - math.sqrt(2 / (math.pi * variance)) * math.exp(-1 / (2 * variance)))
    return within + outside, inside


def test_every_activation_has_a_function_to_compare_with():
    assert IN_NUMPY.keys() | {"hard_tanh"} == rnnjax.ACTIVATIONS.keys()


@pytest.mark.parametrize("activation", rnnjax.ACTIVATIONS)
def test_moments_are_right_at_variances_from_1e_minus_8_to_1e_8(activation):
    for variance in 10.0 ** np.arange(-8, 9):
        found = gaussian_moments(rnnjax.ACTIVATIONS[activation], variance)
        known = of_hard_tanh(variance) if activation == "hard_tanh" else by_logarithms(IN_NUMPY[activation], variance)
        np.testing.assert_allclose(found, known, rtol=1e-9, err_msg=f"variance {variance:g}")


@pytest.mark.parametrize("bias", [-1.0, -0.3, 0.9])
def test_moments_of_an_own_function_are_right_wherever_it_bends(bias):
    def shifted(a):
        return jnp.tanh(4 * (a + bias))

    in_numpy = (lambda a: np.tanh(4 * (a + bias)), lambda a: 4 * (1 - np.tanh(4 * (a + bias)) ** 2))
    for variance in 10.0 ** np.arange(-8, 9, 2):
        found = gaussian_moments(shifted, variance)
        np.testing.assert_allclose(found, by_logarithms(in_numpy, variance), rtol=1e-9, err_msg=f"variance {variance}")


def test_moments_of_an_own_function_are_right_wherever_it_has_kinks():
    """The closed form of a hard_tanh made smaller, with edges between those that quadrature begins with."""
    for variance in (0.01, 1.0, 100.0):
        of_value, of_slope = of_hard_tanh(variance / 0.37**2)
        found = gaussian_moments(lambda a: jnp.clip(a, -0.37, 0.37), variance)
        np.testing.assert_allclose(found, (0.37**2 * of_value, of_slope), rtol=1e-9)


def test_variance_at_which_tanh_is_a_sign_and_its_slope_a_spike():
    """E phi'^2 is the density at 0 times the integral of tanh'^2, 4/3, up to O(1/q)."""
    predicted = rnnjax.mean_field("tanh", 1.0, 1, start=1e8)
    np.testing.assert_allclose(predicted.factors, 4 / 3 / math.sqrt(2 * math.pi * 1e8), rtol=1e-7)


def test_variance_that_overflows_is_infinite_and_the_factors_of_relu_stay_what_they_are():
    predicted = rnnjax.mean_field("relu", 10.0, 400, input_variance=1.0)
    assert predicted.variances[-1] == np.inf
    np.testing.assert_allclose(predicted.factors, 50, rtol=1e-10)


@pytest.mark.parametrize(
    ("function", "variance"),
    [
        (lambda a: jnp.sin(1e6 * a), 1.0),  # bends too often
        (jnp.exp, 100.0),  # what matters is beyond 12 deviations
        (lambda a: jnp.sqrt(jnp.abs(a)), 1.0),  # the slope's mean square is infinite
        (jnp.log, 1.0),  # no number below 0
    ],
)
def test_functions_whose_moments_quadrature_does_not_find_are_refused(function, variance):
    parts = [f"not found at variance {variance:g}", "expected a function that is finite", "lower gain"]
    check(ValueError, parts, lambda: gaussian_moments(function, variance))
    with pytest.raises(ValueError, match="not found") as raised:
        rnnjax.mean_field(function, 1.0, 1, start=variance)
    assert len(str(raised.value)) <= 300


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
