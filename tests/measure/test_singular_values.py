"""Singular values of products of Jacobians: against closed forms, NumPy, and decimal numbers of 700 digits."""

import decimal
import math
from decimal import Decimal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.cases import H, I, T, random_inputs, random_params
from tests.measure.test_dynamics import linear, random_orthogonal
from tests.test_errors import check

singular_values = jax.jit(rnnjax.product_singular_values)


def of_network(cell, params, inputs):
    return jax.jit(lambda p: rnnjax.product_singular_values(rnnjax.state_jacobians(cell, p, inputs)))(params)


def lags_of(steps):
    return np.arange(steps, 0, -1)


# Closed forms


def test_singular_values_of_an_orthogonal_linear_network_stay_1_over_a_thousand_steps(x64):
    cell, params = linear(random_orthogonal(5))
    result = of_network(cell, params, random_inputs(1000, I))
    assert result.logs.shape == (1000, 5)
    np.testing.assert_allclose(result.logs, 0, atol=1e-12)
    np.testing.assert_allclose(result.log_condition, 0, atol=2e-12)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 1e-3)])
def test_singular_values_of_a_diagonal_linear_network_are_powers_over_five_thousand_steps(x64, dtype, rtol):
    cell, params = linear(np.diag([0.5, 0.9, 1.1]))
    params, inputs = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (params, random_inputs(5000, I)))
    result = of_network(cell, params, inputs)
    assert 0.5**5000 == 0  # where a plain product is
    expected = lags_of(5000)[:, None] * np.log([1.1, 0.9, 0.5])
    np.testing.assert_allclose(result.logs, expected, rtol=rtol)
    np.testing.assert_allclose(result.log_condition, expected[:, 0] - expected[:, 2], rtol=rtol)


def test_equal_close_and_far_singular_values_of_one_product_are_all_right(x64):
    """J_t = Q_t D Q_{t-1}^T: the product of n is Q_T D^n Q_{T-n}^T, though no two of the factors commute."""
    D, steps = np.array([1.5, 1.5, 1.5 - 1e-9, 1.0, 1e-3]), 400
    bases = [random_orthogonal(5, seed) for seed in range(steps + 1)]
    jacobians = np.stack([bases[t + 1] * D @ bases[t].T for t in range(steps)])
    result = singular_values(jnp.asarray(jacobians))
    expected = lags_of(steps)[:, None] * np.log(D)
    np.testing.assert_allclose(result.logs, expected, rtol=1e-12, atol=1e-11)
    assert result.logs[0, 0] - result.logs[0, 4] > 1000 * math.log(10)


def test_scales_within_one_factor_may_lie_hundreds_of_orders_of_magnitude_apart(x64):
    random = np.random.default_rng(0)
    scales = np.stack([random.permutation([1e-200, 1e-3, 1.0, 1e150]) for _ in range(30)])
    jacobians = scales[:, :, None] * np.eye(4)
    expected = np.log(scales)[::-1].cumsum(axis=0)[::-1]
    logs = singular_values(jnp.asarray(jacobians)).logs
    np.testing.assert_allclose(logs, -np.sort(-expected, axis=1), rtol=1e-12)


def test_singular_values_of_an_lstm_without_recurrent_weights_follow_from_its_gates(x64):
    """ds_T/ds_t = [[0, o_T (1 - tanh^2 c_T) F], [0, F]] with F the product of the forget gates, unit by unit."""
    cell = rnnjax.lstm(H)
    params, inputs = random_params(cell), random_inputs(T, I)
    params = params._replace(recurrent_kernel=jnp.zeros_like(params.recurrent_kernel))
    result = of_network(cell, params, inputs)
    final, _ = rnnjax.unroll(cell, params, inputs)
    forget = jax.nn.sigmoid(inputs @ params.kernel + params.bias[None])[:, H : 2 * H]
    # h_T = o_T tanh(c_T), so o_T = h_T / tanh(c_T).
    to_hidden = final.hidden / jnp.tanh(final.cell) * (1 - jnp.tanh(final.cell) ** 2)
    for t in range(T):
        logs = np.log(forget[t:]).sum(axis=0) + np.log(1 + to_hidden**2) / 2
        np.testing.assert_allclose(result.logs[t, :H], np.sort(logs)[::-1], rtol=1e-11)
    assert (result.logs[:, H:] == -np.inf).all()
    assert (result.log_condition == np.inf).all()


@pytest.mark.parametrize(("activation", "gamma"), [("tanh", 1), ("sigmoid", 1 / 4)])
def test_largest_singular_value_stays_under_the_bound_of_the_kernel(x64, activation, gamma):
    cell = rnnjax.elman(H, activation)
    params, inputs = random_params(cell), random_inputs(12, I)
    logs_of = jax.jit(lambda p: rnnjax.product_singular_values(rnnjax.state_jacobians(cell, p, inputs)).logs)
    for gain in (0.7, 1.5):
        U = gain * params.recurrent_kernel
        bound = lags_of(12) * np.log(gamma * np.linalg.svd(U, compute_uv=False)[0])
        assert (logs_of(params._replace(recurrent_kernel=U))[:, 0] < bound).all()


def test_the_bound_is_reached_by_a_linear_network_with_a_normal_kernel(x64):
    cell, params = linear(np.diag([1.3, 0.5, 0.2, 0.1]))
    spectrum = rnnjax.recurrent_spectra(cell, params, I)[0]
    largest = of_network(cell, params, random_inputs(12, I)).logs[:, 0]
    np.testing.assert_allclose(largest, lags_of(12) * np.log(spectrum.largest_singular_value[0]), rtol=1e-12)


# Brute force


def test_singular_values_of_short_products_equal_numpys_and_the_order_of_factors_matters(x64):
    jacobians = np.random.default_rng(0).normal(size=(4, 2, 3, 6, 6))  # a batch of 2 x 3
    result = singular_values(jnp.asarray(jacobians))
    product = other_order = np.eye(6)
    for t in reversed(range(4)):
        product, other_order = product @ jacobians[t], jacobians[t] @ other_order
        values = np.linalg.svd(product, compute_uv=False)
        np.testing.assert_allclose(result.logs[t], np.log(values), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(np.exp(result.log_condition[t]), np.linalg.cond(product), rtol=1e-9)
    assert np.abs(result.logs[0] - np.log(np.linalg.svd(other_order, compute_uv=False))).max() > 0.1


def decimal_log_singular_values(product):
    """By rotations of pairs of columns (Hestenes, 1958) in decimal arithmetic."""
    columns = [list(column) for column in zip(*product, strict=True)]

    def dot(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    for _ in range(60):
        largest = Decimal(0)
        for p in range(len(columns)):
            for q in range(p + 1, len(columns)):
                a, b = columns[p], columns[q]
                between = dot(a, b)
                cosine = abs(between) / (dot(a, a) * dot(b, b)).sqrt()
                largest = max(largest, cosine)
                if cosine < Decimal("1e-30"):
                    continue
                cotangent = (dot(b, b) - dot(a, a)) / (2 * between)
                tangent = (1 if cotangent >= 0 else -1) / (abs(cotangent) + (1 + cotangent**2).sqrt())
                c = 1 / (1 + tangent**2).sqrt()
                columns[p] = [c * (x - tangent * y) for x, y in zip(a, b, strict=True)]
                columns[q] = [c * (y + tangent * x) for x, y in zip(a, b, strict=True)]
        if largest < Decimal("1e-30"):
            return sorted((float(dot(a, a).ln() / 2) for a in columns), reverse=True)
    raise AssertionError("the rotations did not converge")


def decimal_product(jacobians):
    """J_T ... J_1 of exact decimals."""
    product = [[Decimal(float(x)) for x in row] for row in jacobians[0]]
    for jacobian in jacobians[1:]:
        exact = [[Decimal(float(x)) for x in row] for row in jacobian]
        product = [
            [sum(a * b for a, b in zip(row, c, strict=True)) for c in zip(*product, strict=True)] for row in exact
        ]
    return product


def graded(random, steps, size, range_of_scales):
    """Gaussian matrices with rows and columns of very different sizes."""
    scales = 10.0 ** random.uniform(-range_of_scales, range_of_scales, size=(2, steps, size))
    return random.normal(size=(steps, size, size)) * scales[0][:, :, None] * scales[1][:, None, :]


FACTORS = {
    "gaussian": lambda random: random.normal(size=(150, 4, 4)),
    "shrinking": lambda random: 1e-9 * random.normal(size=(150, 4, 4)),
    "nearly_orthogonal": lambda random: random_orthogonal(4) + 1e-6 * random.normal(size=(150, 4, 4)),
    "graded": lambda random: graded(random, 60, 4, 2),
    # The larger eigenvalue stands last: QR without another order would keep it there.
    "triangular": lambda random: np.broadcast_to([[0.2, 1.0, 0.3], [0, 0.9, 1e-8], [0, 0, 1.7]], (150, 3, 3)),
    "almost_diagonal": lambda random: np.diag([0.1, 0.5, 2.0]) + 1e-14 * random.normal(size=(150, 3, 3)),
    "rotations_and_stretches": lambda random: (
        np.array([[0.0, 30.0], [1 / 30, 0.0]]) + 0 * random.normal(size=(75, 2, 2))
    ),
}


@pytest.mark.parametrize("name", FACTORS)
def test_singular_values_of_long_products_equal_those_of_exact_arithmetic(x64, name):
    jacobians = np.asarray(FACTORS[name](np.random.default_rng(3)))
    with decimal.localcontext() as context:
        context.prec = 700
        expected = decimal_log_singular_values(decimal_product(jacobians))
    condition = np.linalg.cond(jacobians).max()
    tolerance = len(jacobians) * jacobians.shape[-1] * condition * np.finfo(np.float64).eps
    assert tolerance < 1e-3
    logs = singular_values(jnp.asarray(jacobians)).logs[0]
    np.testing.assert_allclose(logs, expected, rtol=len(jacobians) * np.finfo(np.float64).eps, atol=tolerance)


def test_logs_add_to_that_of_the_determinant(x64):
    jacobians = np.random.default_rng(0).normal(size=(200, 7, 7))
    logs = singular_values(jnp.asarray(jacobians)).logs
    determinants = np.linalg.slogdet(jacobians)[1][::-1].cumsum()[::-1]
    np.testing.assert_allclose(logs.sum(axis=-1), determinants, rtol=1e-11)
    assert (np.diff(logs, axis=-1) <= 0).all()
    assert logs[0, 0] - logs[0, -1] > 300


def test_product_that_is_zero_has_singular_values_0_and_no_condition():
    result = singular_values(jnp.zeros((3, 2, 2)))
    assert (result.logs == -np.inf).all()
    assert np.isnan(result.log_condition).all()


def test_one_number_is_its_own_singular_value():
    result = singular_values(jnp.asarray([[[-2.0]], [[0.5]], [[3.0]]]))
    np.testing.assert_allclose(result.logs[:, 0], np.log([3, 1.5, 3]), rtol=1e-6)


# Errors


@pytest.mark.parametrize("shape", [(3, 3), (5, 3, 4), (0, 3, 3), (5, 0, 0)])
def test_jacobians_that_are_no_square_matrices(shape):
    parts = ["jacobians have shape", str(shape), "(T, ..., S, S)", "state_jacobians"]
    check(ValueError, parts, lambda: rnnjax.product_singular_values(jnp.zeros(shape)))


def test_jacobians_of_other_numbers():
    for dtype in ("int32", "bfloat16", "complex64"):
        parts = ["jacobians are", dtype, "float32 or float64"]
        check(TypeError, parts, lambda d=dtype: rnnjax.product_singular_values(jnp.zeros((2, 3, 3), d)))
