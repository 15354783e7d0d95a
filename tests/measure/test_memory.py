"""What is left of an input: derivatives against whole Jacobians, capacities against networks where they are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.cells.elman import ElmanParams
from tests.cases import CELL_CASES, B, H, I, T, random_inputs, random_params
from tests.test_errors import check

KEY = jax.random.key(0)


def linear_network(kernel, recurrent_kernel):
    """h_t = x_t W + h_{t-1} U, with one input."""
    kernel, recurrent_kernel = jnp.asarray(kernel)[None], jnp.asarray(recurrent_kernel)
    return rnnjax.elman(kernel.shape[1], "identity"), ElmanParams(kernel, recurrent_kernel, jnp.zeros_like(kernel[0]))


def delay_line(size):
    """A shift register: unit k holds the input k steps back."""
    return linear_network(np.eye(size)[0], np.eye(size, k=1))


# The derivative of the last output by every input


@pytest.mark.parametrize(
    ("name", "chunk"), [("stack_both_skips", 3), ("stack_both_skips", 100), ("lru", None), ("gru_reset_after", 1)]
)
def test_forward_memory_of_every_example_is_the_norm_of_its_jacobian(x64, name, chunk):
    cell = CELL_CASES[name]()
    params, inputs = random_params(cell), random_inputs()
    norms = jax.jit(lambda x: rnnjax.forward_memory(cell, params, x, chunk=chunk))(inputs)
    last_output = jax.jit(jax.jacfwd(lambda x: rnnjax.unroll(cell, params, x)[1][-1]))
    for example in range(B):
        expected = np.sqrt((np.asarray(last_output(inputs[:, example])) ** 2).sum(axis=(0, 2)))
        np.testing.assert_allclose(norms[:, example], expected, rtol=1e-10)


def test_forward_memory_of_a_linear_network_is_the_norm_of_powers_of_its_kernel(x64):
    cell = rnnjax.elman(H, "identity")
    params = random_params(cell)
    norms = jax.jit(lambda x: rnnjax.forward_memory(cell, params, x))(random_inputs(T, I))
    W, U = np.asarray(params.kernel), np.asarray(params.recurrent_kernel)
    expected = [np.linalg.norm(W @ np.linalg.matrix_power(U, lag)) for lag in reversed(range(T))]
    np.testing.assert_allclose(norms, expected, rtol=1e-11)


def test_forward_memory_is_that_from_the_given_state(x64):
    cell = rnnjax.gru(H)
    params, inputs = random_params(cell), random_inputs()
    middle, _ = rnnjax.unroll(cell, params, inputs)
    memory_of = jax.jit(lambda x, state: rnnjax.forward_memory(cell, params, x, state))
    late, whole = memory_of(inputs, middle), memory_of(jnp.concatenate([inputs, inputs]), None)
    np.testing.assert_allclose(late, whole[T:], rtol=1e-11)


def test_chunks_that_are_none():
    cell = rnnjax.gru(H)
    for chunk, error in ((0, ValueError), (1.5, TypeError)):
        check(
            error,
            ["chunk is", repr(chunk), "expected"],
            lambda c=chunk: rnnjax.forward_memory(cell, random_params(cell), random_inputs(), chunk=c),
        )


# Linear memory capacity


def test_capacity_of_a_delay_line_is_its_length(x64):
    memory = rnnjax.memory_capacity(*delay_line(6), KEY, 12)
    assert memory.r_squared.shape == (12,)
    np.testing.assert_allclose(memory.r_squared[:6], 1, rtol=1e-9)
    assert (np.abs(memory.r_squared[6:]) < 0.02).all()
    assert abs(memory.capacity - 6) < 0.02
    above = memory.r_squared[memory.r_squared > 0]
    assert len(above) < 12
    np.testing.assert_allclose(memory.capacity, above.sum(), rtol=1e-14)


@pytest.mark.parametrize("decay", [0.0, 0.6, 0.9])
def test_memory_of_a_leaky_integrator_decays_with_the_square_of_its_factor(x64, decay):
    """s_t = a s_{t-1} + u_t: the correlation of u_{t-k} with s_t is a^k sqrt(1 - a^2)."""
    memory = rnnjax.memory_capacity(*linear_network([1.0], [[decay]]), KEY, 20, steps=20_000)
    expected = (1 - decay**2) * decay ** (2 * np.arange(20))
    np.testing.assert_allclose(memory.r_squared, expected, atol=0.02)
    assert abs(memory.capacity - expected.sum()) < 0.05


def test_capacity_of_a_linear_network_with_distinct_eigenvalues_is_its_number_of_units(x64):
    # Jaeger (2001). The lags share it: none is recalled as a delay line would.
    network = linear_network([1.0, 1.0, 1.0, 1.0], np.diag([0.8, 0.4, -0.4, -0.8]))
    memory = rnnjax.memory_capacity(*network, KEY, 30, ridge=0.0, steps=40_000)
    assert abs(memory.capacity - 4) < 0.1
    assert memory.r_squared.max() < 0.99


def found_and_exact(size, radius, lags, seed, steps=20_000):
    """The capacity of a random linear network, and its closed form: the sum of m_k C^-1 m_k over these lags.

    m_k = W U^k is the impulse response, and C the sum of m_k^T m_k over all of them. With M = QR, the rows m_k^T, the
    sum is that of the squares of Q: C, which has no digits left, is not formed.
    """
    cell = rnnjax.elman(size, "identity", recurrent_init=rnnjax.initializers.spectral_normal(radius))
    params = cell.init(jax.random.key(seed), 1)
    found = rnnjax.memory_capacity(cell, params, jax.random.key(seed + 1), lags, steps=steps).capacity
    kernel, recurrent = (np.asarray(leaf, np.float64) for leaf in (params.kernel, params.recurrent_kernel))
    responses = [kernel[0]]
    for _ in range(lags + int(30 / (1 - radius))):
        responses.append(responses[-1] @ recurrent)
    orthonormal, _ = np.linalg.qr(np.array(responses))
    return found, float((orthonormal[:lags] ** 2).sum())


def test_capacity_of_a_linear_network_in_single_precision_is_its_number_of_units():
    cell = rnnjax.elman(20, "identity", recurrent_init=rnnjax.initializers.spectral_normal(0.9))
    params = cell.init(jax.random.key(10), 1)
    found = rnnjax.memory_capacity(cell, params, jax.random.key(4), 60, steps=20_000).capacity
    assert abs(found - 20) < 0.4


@pytest.mark.parametrize(("size", "radius", "lags"), [(5, 0.5, 15), (5, 0.99, 400), (20, 0.5, 60), (20, 0.99, 400)])
def test_capacity_of_a_linear_network_is_that_of_the_closed_form_at_any_spectral_radius(size, radius, lags):
    found, exact = found_and_exact(size, radius, lags, seed=1)
    assert abs(exact - size) < 0.1
    assert abs(found - exact) < 0.4


def test_capacity_of_a_linear_network_is_the_same_in_double_precision(x64):
    found, exact = found_and_exact(20, 0.9, 60, seed=10)
    assert abs(found - exact) < 0.4


def test_capacity_of_fifty_units_is_found_up_to_what_double_precision_does_not_resolve():
    found, exact = found_and_exact(50, 0.9, 150, seed=1)
    assert abs(exact - 50) < 0.1
    assert 47 < found < 50.4


@pytest.mark.parametrize("name", ["elman_tanh", "gru_reset_before", "lstm", "stack"])
def test_capacity_is_never_over_the_numbers_in_the_state(name):
    cell = CELL_CASES[name]()
    params = random_params(cell, input_size=1)
    size = sum(leaf.size for leaf in jax.tree.leaves(cell.initial_state(params, ())))
    memory = rnnjax.memory_capacity(cell, params, KEY, 3 * size, amplitude=0.5)
    assert 0.5 < memory.capacity < size
    assert memory.r_squared.max() <= 1


def test_a_network_without_recurrence_recalls_the_present_input_alone(x64):
    memory = rnnjax.memory_capacity(*linear_network(np.ones(3), np.zeros((3, 3))), KEY, 4)
    np.testing.assert_allclose(memory.r_squared, [1, 0, 0, 0], atol=0.02)


def test_ridge_shrinks_the_readout(x64):
    # With as much penalty as variance the readout is halved: 1 - (1 - 1/2)^2.
    memory = rnnjax.memory_capacity(*linear_network([1.0], [[0.0]]), KEY, 1, ridge=1.0)
    np.testing.assert_allclose(memory.r_squared, [0.75], atol=0.01)


def test_the_signal_enters_along_the_direction(x64):
    cell = rnnjax.elman(2, "identity")
    kernel = jnp.asarray([[1.0, 0.0], [0.0, 1.0]])
    params = ElmanParams(kernel, jnp.zeros((2, 2)), jnp.zeros(2))
    along = rnnjax.memory_capacity(cell, params, KEY, 2, direction=jnp.asarray([0.0, 0.5]))
    nowhere = rnnjax.memory_capacity(cell, params, KEY, 2, direction=jnp.zeros(2))
    assert along.r_squared[0] > 1 - 1e-9
    assert (nowhere.r_squared < 0.01).all()


def test_capacity_is_measured_on_steps_that_the_readout_has_not_seen(x64):
    """As many units as steps to fit: on those the readout would be right at every lag."""
    random = np.random.default_rng(0)
    network = linear_network(random.normal(size=60), np.linalg.qr(random.normal(size=(60, 60)))[0] * 0.5)
    memory = rnnjax.memory_capacity(*network, KEY, 80, steps=80, ridge=0.0)
    assert (memory.r_squared[60:] < 0.5).all()


@pytest.mark.parametrize(
    ("options", "error", "parts"),
    [
        ({"lags": 0}, ValueError, ["lags is 0", "at least 1"]),
        ({"steps": 1.5}, TypeError, ["steps is 1.5", "whole number"]),
        ({"steps": 4, "held_out": 0.1}, ValueError, ["held_out is 0.1", "0 of 4 steps", "at least 2", "raise steps"]),
        ({"held_out": 1.0}, ValueError, ["held_out is 1", "4000 of 4000 steps", "raise steps"]),
        ({"amplitude": 0}, ValueError, ["amplitude is 0", "positive"]),
        ({"ridge": -1.0}, ValueError, ["ridge is -1"]),
        ({"direction": jnp.zeros((2, 1))}, ValueError, ["direction", "(2, 1)", "(I,)"]),
        ({"direction": jnp.ones(2)}, ValueError, ["params.kernel", "(1, 3)", "width 2"]),
        ({"direction": jnp.ones(1, int)}, ValueError, ["direction", "int32", "real numbers"]),
    ],
)
def test_measurements_that_are_none(options, error, parts):
    cell, params = delay_line(3)
    check(error, parts, lambda: rnnjax.memory_capacity(cell, params, KEY, **{"lags": 3} | options))
