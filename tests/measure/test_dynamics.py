"""State Jacobians and Lyapunov exponents: against differences, NumPy, and systems whose exponents are known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import Cell
from tests.cases import CELL_CASES, B, H, I, T, random_inputs, random_params, random_state
from tests.test_errors import check


def map_cell(function, size, start):
    """An autonomous system x_t = function(x_{t-1}) as a cell; its inputs are ignored."""
    return Cell(
        init=lambda key, input_size: jnp.asarray(start),
        initial_state=lambda params, batch_shape=(): jnp.broadcast_to(params, (*batch_shape, size)),
        project=lambda params, inputs: inputs,
        advance=lambda params, state, drive: function(state),
    )


def linear(kernel):
    """A linear Elman network with this recurrent kernel, and its params: h_t = x_t W + h_{t-1} U."""
    cell = rnnjax.elman(len(kernel), "identity")
    return cell, random_params(cell)._replace(recurrent_kernel=jnp.asarray(kernel))


def random_orthogonal(size, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


# Jacobians


def flat(state, batch_rank):
    """The documented order: leaf after leaf, real before imaginary, nothing for counters and keys."""
    parts = []
    for leaf in jax.tree.leaves(state):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            leaf = leaf.reshape(*leaf.shape[:batch_rank], -1)
            parts += [leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf]
    return jnp.concatenate(parts, axis=-1)


def moved(state, size, epsilon):
    """A state (B, ...) with a leading axis, along which one number after the other is ``epsilon`` larger."""
    place = 0

    def move(leaf):
        nonlocal place
        leaves = jnp.broadcast_to(leaf, (size, *leaf.shape))
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaves
        for unit in [1, 1j] if jnp.iscomplexobj(leaf) else [1]:
            for index in np.ndindex(leaf.shape[1:]):
                leaves = leaves.at[place, :, *index].add(jnp.asarray(epsilon * unit, leaf.dtype))
                place += 1
        return leaves

    return jax.tree.map(move, state)


def check_against_differences(cell, params, state, steps=3, epsilon=1e-5):
    inputs = random_inputs(steps, B, I)
    size = flat(state, 1).shape[-1]
    jacobians = jax.jit(lambda p: rnnjax.state_jacobians(cell, p, inputs, state))(params)
    assert jacobians.shape == (steps, B, size, size)

    @jax.jit
    def differences(state, x):
        # The directions are the first axis of a larger batch.
        xs = jnp.broadcast_to(x, (size, *x.shape))
        up, down = (flat(cell.step(params, moved(state, size, sign * epsilon), xs)[0], 2) for sign in (1, -1))
        return cell.step(params, state, x)[0], jnp.moveaxis((up - down) / (2 * epsilon), 0, -1)

    for x, jacobian in zip(inputs, jacobians, strict=True):
        state, expected = differences(state, x)
        np.testing.assert_allclose(jacobian, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["lstm", "stack", "repeat", "lru", "clockwork", "mist"])
def test_jacobian_of_every_step_and_example_equals_differences(x64, name):
    cell = CELL_CASES[name]()
    params = random_params(cell)
    check_against_differences(cell, params, cell.initial_state(params, (B,)))


def test_jacobian_of_a_cell_with_random_keys_in_its_state_is_that_of_the_numbers(x64):
    cell = rnnjax.zoneout(rnnjax.gru(H), 0.3, jax.random.key(5))
    params = random_params(cell)
    check_against_differences(cell, params, cell.initial_state(params, (B,)))


@pytest.mark.slow
def test_jacobian_of_every_cell_equals_differences(x64, cell):
    params = random_params(cell)
    check_against_differences(cell, params, random_state(cell, params))


def test_product_of_jacobians_in_order_of_time_is_the_derivative_of_the_last_state_by_the_first(x64):
    cell = CELL_CASES["stack"]()
    params, inputs = random_params(cell), random_inputs(T, I)
    start = random_state(cell, params, ())
    jacobians = np.asarray(jax.jit(lambda p: rnnjax.state_jacobians(cell, p, inputs, start))(params))
    expected = jax.jit(jax.jacrev(lambda state: rnnjax.unroll(cell, params, inputs, state)[0]))(start)
    rows = [jnp.concatenate(jax.tree.leaves(row), axis=-1) for row in _rows(expected)]
    product, reversed_product = np.eye(15), np.eye(15)
    for jacobian in jacobians:
        product, reversed_product = jacobian @ product, reversed_product @ jacobian
    np.testing.assert_allclose(product, jnp.concatenate(rows), rtol=1e-9, atol=1e-14)
    assert np.abs(product - reversed_product).max() > 1e-2


def _rows(jacobian):
    """A Jacobian as a state of states, by the leaves of the outer one."""
    return [row for layer in jacobian for row in layer]


def test_jacobian_of_a_stack_is_block_lower_triangular():
    cell = rnnjax.stack(rnnjax.lstm(2), rnnjax.gru(3))
    inputs = random_inputs(2, I)
    jacobians = jax.jit(lambda p: rnnjax.state_jacobians(cell, p, inputs))(random_params(cell))
    assert (jacobians[:, :4, 4:] == 0).all()
    assert (jnp.abs(jacobians[:, 4:, :2]).max(axis=(1, 2)) > 1e-3).all()


def test_jacobian_of_a_gru_at_rest_is_half_the_identity_and_a_quarter_of_the_weights(x64):
    cell = rnnjax.gru(H)
    params = cell.init(jax.random.key(0), I)
    jacobian = jax.jit(lambda p: rnnjax.state_jacobians(cell, p, jnp.zeros((1, I))))(params)[0]
    candidate = params.recurrent_kernel[:, 2 * H :]
    np.testing.assert_allclose(jacobian, np.eye(H) / 2 + candidate.T / 4, rtol=1e-12, atol=1e-15)


def test_memory_of_an_lstm_without_recurrent_weights_has_the_forget_gates_for_a_jacobian(x64):
    cell = rnnjax.lstm(H)
    params, inputs = random_params(cell), random_inputs(T, I)
    params = params._replace(recurrent_kernel=jnp.zeros_like(params.recurrent_kernel))
    jacobians = jax.jit(lambda p: rnnjax.state_jacobians(cell, p, inputs))(params)
    forget = jax.nn.sigmoid(inputs @ params.kernel + params.bias[None])[:, H : 2 * H]
    expected = [np.diag(gates) for gates in np.asarray(forget)]
    np.testing.assert_allclose(jacobians[:, H:, H:], expected, rtol=1e-12, atol=1e-15)
    assert (jacobians[:, :, :H] == 0).all()


def test_jacobians_in_16_bits_are_given_in_32():
    cell = rnnjax.elman(H)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), random_params(cell))
    inputs = random_inputs(2, I).astype(jnp.bfloat16)
    jacobians = jax.jit(lambda p: rnnjax.state_jacobians(cell, p, inputs))(params)
    assert jacobians.dtype == jnp.float32
    # At the first step h_0 = 0: the derivative of tanh times U^T.
    slope = 1 - np.tanh(np.float32(random_inputs(2, I)[0] @ random_params(cell).kernel + random_params(cell).bias)) ** 2
    np.testing.assert_allclose(jacobians[0], slope[:, None] * random_params(cell).recurrent_kernel.T, rtol=0.05)


# Lyapunov exponents of known systems


def test_exponents_of_an_orthogonal_linear_network_are_0(x64):
    cell, params = linear(random_orthogonal(5))
    spectrum = jax.jit(lambda x: rnnjax.lyapunov_spectrum(cell, params, x))(random_inputs(300, B, I))
    assert spectrum.exponents.shape == spectrum.standard_errors.shape == (B, 5)
    np.testing.assert_allclose(spectrum.exponents, 0, atol=1e-14)
    np.testing.assert_allclose(spectrum.standard_errors, 0, atol=1e-14)


def test_exponents_of_a_diagonal_linear_network_are_the_logs_of_its_entries(x64):
    cell, params = linear(np.diag([0.5, 0.9, 1.1]))
    spectrum = rnnjax.lyapunov_spectrum(cell, params, random_inputs(400, I), warm_up=200)
    np.testing.assert_allclose(spectrum.exponents, np.log([1.1, 0.9, 0.5]), rtol=1e-12)


def test_exponents_of_a_linear_network_are_logs_of_moduli_of_eigenvalues_and_not_of_singular_values(x64):
    kernel = np.array([[0.9, 2.0, -1.0], [-0.4, 0.8, 3.0], [0.0, 0.0, 0.3]])  # a pair of complex eigenvalues, and 0.3
    cell, params = linear(kernel)
    exponents = rnnjax.lyapunov_spectrum(cell, params, jnp.zeros((4000, I))).exponents
    expected = np.log(np.abs(np.linalg.eigvals(kernel)))
    np.testing.assert_allclose(exponents, np.sort(expected)[::-1], atol=2e-3)
    assert np.abs(exponents - np.log(np.linalg.svd(kernel, compute_uv=False))).max() > 0.5


def test_exponent_of_the_logistic_map_is_ln_2(x64):
    cell = map_cell(lambda x: 4 * x * (1 - x), 1, [0.3])
    spectrum = rnnjax.lyapunov_spectrum(cell, cell.init(None, 1), jnp.zeros((20_000, 1)))
    np.testing.assert_allclose(spectrum.exponents, math.log(2), atol=1e-3)
    assert spectrum.standard_errors < 2e-3


def test_exponents_of_the_henon_map_are_the_known_one_and_add_to_ln_b(x64):
    def henon(state):
        x, y = state[..., 0], state[..., 1]
        return jnp.stack([1 - 1.4 * x**2 + y, 0.3 * x], axis=-1)

    cell = map_cell(henon, 2, [0.1, 0.1])
    exponents, errors = rnnjax.lyapunov_spectrum(cell, cell.init(None, 1), jnp.zeros((20_000, 1)))
    np.testing.assert_allclose(exponents.sum(), math.log(0.3), rtol=1e-12)
    assert abs(exponents[0] - 0.4192) < 4 * errors[0] < 0.02  # Benettin et al. (1980), Sprott (2003)


@pytest.mark.parametrize(
    ("warm_up", "skipped"),
    [
        (7, 10),  # 43 steps are 4 blocks of 10, and 3 more for the warm-up
        (None, 6),  # a tenth is left out, and 1 more
        (0, 2),
    ],
)
def test_exponent_and_its_standard_error_are_those_of_the_blocks_after_the_warm_up(x64, warm_up, skipped):
    """Of s_t = exp(x_t) s_{t-1}, the logs to be averaged are the inputs."""
    cell = Cell(
        init=lambda key, input_size: (),
        initial_state=lambda params, batch_shape=(): jnp.ones((*batch_shape, 1)),
        project=lambda params, inputs: inputs,
        advance=lambda params, state, drive: jnp.exp(drive) * state,
    )
    inputs = random_inputs(50, B, 1)
    exponents, errors = rnnjax.lyapunov_spectrum(cell, (), inputs, warm_up=warm_up, blocks=4)
    means = np.asarray(inputs)[skipped:].reshape(4, -1, B, 1).mean(axis=1)
    np.testing.assert_allclose(exponents, means.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(errors, means.std(axis=0, ddof=1) / 2, rtol=1e-10)


def test_standard_error_is_the_spread_of_independent_runs(x64):
    cell = rnnjax.elman(H)
    params = random_params(cell)
    spectrum = jax.jit(lambda x: rnnjax.lyapunov_spectrum(cell, params, x))(random_inputs(1000, 64, I))
    spread = np.std(spectrum.exponents, axis=0, ddof=1)
    np.testing.assert_allclose(spread, np.sqrt(np.mean(spectrum.standard_errors**2, axis=0)), rtol=0.3)


# Lyapunov exponents of any cell


def numpy_exponents(jacobians, seed):
    """Benettin's method on stored Jacobians, from another start."""
    basis, logs = random_orthogonal(jacobians.shape[-1], seed), []
    for jacobian in jacobians:
        basis, triangle = np.linalg.qr(jacobian @ basis)
        logs.append(np.log(np.abs(np.diag(triangle))))
    return np.asarray(logs)


@pytest.mark.parametrize("name", ["elman_tanh", "stack"])
def test_exponents_without_jacobians_equal_those_of_stored_ones(x64, name):
    cell = CELL_CASES[name]()
    params, inputs = random_params(cell), random_inputs(220, I)
    spectrum = jax.jit(lambda x: rnnjax.lyapunov_spectrum(cell, params, x, warm_up=20, blocks=10))(inputs)
    jacobians = np.asarray(jax.jit(lambda x: rnnjax.state_jacobians(cell, params, x))(inputs))
    expected = numpy_exponents(jacobians, seed=1)[20:].mean(axis=0)
    # How much volumes shrink does not depend on the start.
    volumes = np.linalg.slogdet(jacobians[20:])[1].mean()
    np.testing.assert_allclose(spectrum.exponents.sum(), volumes, rtol=1e-9)
    np.testing.assert_allclose(spectrum.exponents, np.sort(expected)[::-1], atol=0.03)


def test_the_largest_exponents_alone_are_those_of_all(x64):
    cell = rnnjax.gru(H)
    params, inputs = random_params(cell), random_inputs(100, I)
    all_of_them, largest = (
        jax.jit(lambda x, count=count: rnnjax.lyapunov_spectrum(cell, params, x, count=count))(inputs)
        for count in (None, 2)
    )
    np.testing.assert_allclose(largest.exponents, all_of_them.exponents[:2], rtol=1e-12)
    np.testing.assert_allclose(largest.standard_errors, all_of_them.standard_errors[:2], rtol=1e-9)


def test_exponents_of_a_hundred_thousand_steps_need_no_memory_beside_the_inputs():
    cell = rnnjax.elman(16)
    params, inputs = random_params(cell, input_size=1), jax.ShapeDtypeStruct((100_000, 1), jnp.float32)
    compiled = jax.jit(lambda x: rnnjax.lyapunov_spectrum(cell, params, x)).lower(inputs).compile()
    needed = compiled.memory_analysis().temp_size_in_bytes
    assert needed < 3 * 400_000  # the Jacobians would take 256 times 400 kB
    assert (jnp.isfinite(compiled(random_inputs(100_000, 1)).exponents)).all()


# Errors


def test_cells_with_a_backward_pass_of_their_own_are_refused():
    cell = rnnjax.clip_gradient_norm(rnnjax.gru(H), 1.0)
    params, inputs = random_params(cell), random_inputs(T, I)
    for function in (rnnjax.state_jacobians, rnnjax.lyapunov_spectrum):
        parts = [function.__name__, "jax.custom_vjp", "clip_gradient_norm or mixed_precision", "without it"]
        check(TypeError, parts, lambda f=function: f(cell, params, inputs))


def test_states_without_a_derivative_are_refused():
    counter = map_cell(lambda count: count + 1, 1, np.array([0]))
    parts = ["int32", "expected real or complex numbers", "derivative"]
    check(TypeError, parts, lambda: rnnjax.state_jacobians(counter, counter.init(None, 1), jnp.zeros((T, 1))))


@pytest.mark.parametrize(
    ("options", "error", "parts"),
    [
        ({"count": H + 1}, ValueError, ["count is 5", "expected at most 4"]),
        ({"count": 0}, ValueError, ["count is 0", "at least 1"]),
        ({"blocks": 1}, ValueError, ["blocks is 1", "at least 2"]),
        ({"blocks": 2.0}, TypeError, ["blocks is 2.0", "whole number"]),
        ({"blocks": 6}, ValueError, ["blocks is 6", "5 steps", "more inputs"]),
        ({"warm_up": -1, "blocks": 2}, ValueError, ["warm_up is -1", "expected at least 0"]),
        ({"warm_up": 4, "blocks": 2}, ValueError, ["warm_up is 4", "5 steps", "more inputs"]),
        ({"warm_up": 1.5, "blocks": 2}, TypeError, ["warm_up is 1.5", "whole number"]),
    ],
)
def test_divisions_that_are_none(options, error, parts):
    cell = rnnjax.elman(H)
    check(error, parts, lambda: rnnjax.lyapunov_spectrum(cell, random_params(cell), random_inputs(T, I), **options))
