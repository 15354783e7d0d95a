"""Diagonal linear recurrences: their equations, the parallel prefix, the LRU's eigenvalues, their errors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests import reference_gated
from tests.cases import B, H, I, T, flow_of, random_inputs, random_params, random_state
from tests.test_errors import check

NAMES = ["min_gru", "min_lstm", "qrnn", "sru", "lru"]
MEMORY = {"min_gru": "hidden", "min_lstm": "hidden", "qrnn": "cell", "sru": "cell", "lru": "memory"}


def numpy_tree(tree):
    return jax.tree.map(np.asarray, tree)


def assert_trees_close(received, expected, rtol=1e-12):
    for a, b in zip(jax.tree.leaves(received), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14)


# Equations


@pytest.mark.parametrize("name", NAMES)
def test_linear_cells_compute_their_equations(x64, name):
    cell = getattr(rnnjax, name)(H)
    params, inputs = random_params(cell), random_inputs()
    start = random_state(cell, params)
    _, outputs = rnnjax.unroll(cell, params, inputs, start)
    expected = getattr(reference_gated, name)(*numpy_tree((tuple(params), inputs, getattr(start, MEMORY[name]))))
    assert outputs.dtype == jnp.float64
    np.testing.assert_allclose(outputs, expected, rtol=1e-12, atol=1e-14)


def test_srus_highway_is_the_input_itself_where_the_widths_agree(x64):
    cell = rnnjax.sru(H)
    params, inputs = random_params(cell, input_size=H), random_inputs(T, B, H)
    assert params.highway_kernel is None
    _, outputs = rnnjax.unroll(cell, params, inputs)
    expected = reference_gated.sru(numpy_tree(tuple(params)), np.asarray(inputs), np.zeros((B, H)))
    np.testing.assert_allclose(outputs, expected, rtol=1e-12)

    shut = params._replace(bias=params.bias.at[H:].set(-1000.0))
    np.testing.assert_array_equal(rnnjax.unroll(cell, shut, inputs)[1], inputs)


def test_min_lstms_gates_are_normalized_even_where_both_are_shut():
    cell = rnnjax.min_lstm(H)
    params = random_params(cell)
    shut = params._replace(bias=params.bias.at[: 2 * H].set(-200.0))  # sigmoid is 0 in float32
    factor, _ = cell.affine(shut, cell.project(shut, jnp.zeros((B, I))))
    np.testing.assert_allclose(factor.hidden, 0.5, rtol=1e-6)


# The linear recurrence


@pytest.mark.parametrize("name", NAMES)
def test_factors_and_terms_of_the_inputs_alone_make_the_next_state(x64, name):
    cell = getattr(rnnjax, name)(H)
    params, inputs = random_params(cell), random_inputs(B, I)
    drive = cell.project(params, inputs)
    factor, term = cell.affine(params, drive)
    for seed in range(2):
        state = random_state(cell, params, seed=seed)
        expected = cell.advance(params, state, drive)
        assert jax.tree.structure(factor) == jax.tree.structure(term) == jax.tree.structure(state)
        for a, b, leaf in zip(*map(jax.tree.leaves, (factor, term, state)), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype) == (leaf.shape, leaf.dtype)
        assert_trees_close(jax.tree.map(lambda a, s, b: a * s + b, factor, state, term), expected, rtol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_states_by_parallel_prefix_are_those_of_the_scan(x64, name):
    cell = getattr(rnnjax, name)(H)
    params, inputs = random_params(cell), random_inputs(9, B, I)
    start = random_state(cell, params)
    final, outputs = rnnjax.unroll(cell, params, inputs, start)
    factors, terms = cell.affine(params, cell.project(params, inputs))  # all time steps at once

    def compose(first, second):
        return jax.tree.map(jnp.multiply, second[0], first[0]), jax.tree.map(
            lambda a, b, c: a * b + c, second[0], first[1], second[1]
        )

    products, sums = jax.lax.associative_scan(compose, (factors, terms))
    states = jax.tree.map(lambda p, s, b: p * s[None] + b, products, start, sums)
    assert_trees_close(jax.tree.map(lambda leaf: leaf[-1], states), final)
    np.testing.assert_allclose(cell.output(params, states), outputs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_flows_back_along_the_memory_by_the_factors_alone(x64, name):
    cell, field = getattr(rnnjax, name)(1), MEMORY[name]
    params, inputs = random_params(cell), random_inputs(T, I)
    factors = getattr(cell.affine(params, cell.project(params, inputs))[0], field)
    flow = flow_of(cell, params, inputs, lambda y: jnp.sum(y[-1]))
    norms = getattr(flow.state, field)
    np.testing.assert_allclose(norms[:-1], norms[1:] * np.abs(factors[1:, 0]), rtol=1e-12)


# The linear recurrent unit


def eigenvalues_of(params):
    nu, theta = np.asarray(params.log_decay, np.float64), np.asarray(params.log_phase, np.float64)
    return np.exp(-np.exp(nu) + 1j * np.exp(theta))


@pytest.mark.parametrize(("r_min", "r_max", "max_phase"), [(0.9, 0.999, 0.3), (0.0, 1.0, 2 * math.pi), (0, 0.1, 1)])
def test_lrus_eigenvalues_fill_the_ring(r_min, r_max, max_phase):
    cell = rnnjax.lru(500, r_min=r_min, r_max=r_max, max_phase=max_phase)
    params = cell.init(jax.random.key(0), 1)
    eigenvalues = eigenvalues_of(params)
    modulus, angle = np.abs(eigenvalues), np.angle(eigenvalues) % (2 * math.pi)
    assert r_min <= modulus.min() + 1e-6
    assert modulus.max() < min(r_max + 1e-6, 1)
    assert angle.max() < max_phase + 1e-5
    # Uniform in area and in angle: |lambda|^2 and arg lambda have the means of uniform numbers (4 standard errors).
    share = (modulus**2 - r_min**2) / (r_max**2 - r_min**2)
    for uniform in (share, angle / max_phase):
        assert abs(uniform.mean() - 1 / 2) < 4 / math.sqrt(12 * 500)
    np.testing.assert_allclose(np.exp(params.log_scale), np.sqrt(1 - modulus**2), rtol=1e-3)


def test_lrus_eigenvalues_stay_within_the_unit_circle_whatever_its_params(x64):
    params = random_params(rnnjax.lru(H))
    for nu in (-6.0, 0.0, 3.0):
        assert (np.abs(eigenvalues_of(params._replace(log_decay=jnp.full(H, nu)))) < 1).all()


def test_lrus_impulse_response_is_made_of_powers_of_its_eigenvalues(x64):
    cell = rnnjax.lru(H)
    params = cell.init(jax.random.key(0), I)
    impulse = jnp.zeros((12, I)).at[0].set(1.0)
    _, outputs = rnnjax.unroll(cell, params, impulse)
    *_, gamma, B_real, B_imaginary, C_real, C_imaginary, D = numpy_tree(tuple(params))
    entry = np.exp(gamma) * (B_real + 1j * B_imaginary).sum(0)
    powers = eigenvalues_of(params) ** np.arange(12)[:, None]
    expected = ((powers * entry) @ (C_real + 1j * C_imaginary)).real
    expected[0] += D.sum(0)  # D passes the input on at its own step only
    np.testing.assert_allclose(outputs, expected, rtol=1e-11, atol=1e-14)


def test_lrus_normalized_memory_has_the_variance_of_the_normalized_input():
    # Of white noise: sum over t of gamma^2 |lambda|^2t = 1.
    cell = rnnjax.lru(H, r_min=0.5, r_max=0.9)
    params = cell.init(jax.random.key(0), I)
    final, _ = jax.jit(lambda x: rnnjax.unroll(cell, params, x))(random_inputs(60, 4000, I))
    expected = (params.input_real**2 + params.input_imaginary**2).sum(0)
    np.testing.assert_allclose((jnp.abs(final.memory) ** 2).mean(0), expected, rtol=0.12)


def test_lrus_params_are_real_and_its_memory_complex(x64):
    cell = rnnjax.lru(H)
    for dtype, complex_dtype in [
        (jnp.bfloat16, jnp.complex64),
        (jnp.float32, jnp.complex64),
        (jnp.float64, jnp.complex128),
    ]:
        params = jax.tree.map(lambda leaf, dtype=dtype: leaf.astype(dtype), cell.init(jax.random.key(0), I))
        final, outputs = rnnjax.unroll(cell, params, random_inputs().astype(dtype))
        assert {leaf.dtype for leaf in params} == {jnp.dtype(dtype)}
        assert (final.memory.dtype, final.skip.dtype, outputs.dtype) == (complex_dtype, dtype, dtype)


def test_lru_keeps_its_state_through_padding_and_starts_from_a_learned_one(x64):
    cell = rnnjax.learned_initial_state(rnnjax.lru(H))
    params, inputs = random_params(cell), random_inputs()
    mask = np.arange(T)[:, None] < np.array([T, 3])
    final, outputs = rnnjax.unroll(cell, params, inputs, mask=mask)
    short, _ = rnnjax.unroll(cell, params, inputs[:3, 1:])
    np.testing.assert_allclose(final.memory[1], short.memory[0], rtol=1e-13)
    assert (outputs[3:, 1] == 0).all()


# Initial params and errors


@pytest.mark.parametrize(
    ("name", "options", "bias"),
    [
        ("min_gru", {}, [0, 0]),
        ("min_lstm", {"forget_bias": 2.0}, [0, 2, 0]),
        ("qrnn", {"forget_bias": 2.0}, [2, 0, 0]),
        ("sru", {"forget_bias": 2.0}, [2, 0]),
    ],
)
def test_biases_start_at_zero_but_the_one_that_is_asked_for(name, options, bias):
    params = getattr(rnnjax, name)(H, **options).init(jax.random.key(0), I)
    np.testing.assert_array_equal(params.bias.reshape(-1, H), np.outer(bias, np.ones(H)))


@pytest.mark.parametrize("name", NAMES)
def test_sizes_that_are_none(name):
    make = getattr(rnnjax, name)
    check(ValueError, ["hidden_size is 0", "at least 1"], lambda: make(0))
    check(TypeError, ["hidden_size is 2.0 (float)", "whole number"], lambda: make(2.0))
    check(ValueError, ["input_size is 0", "at least 1"], lambda: make(H).init(jax.random.key(0), 0))


@pytest.mark.parametrize(("r_min", "r_max"), [(-0.1, 1), (0.5, 0.5), (0.9, 0.1), (0.5, 1.1), (0, math.nan)])
def test_rings_that_are_none(r_min, r_max):
    parts = [f"r_min is {r_min:g}", f"r_max is {r_max:g}", "0 <= r_min < r_max <= 1", "such as"]
    check(ValueError, parts, lambda: rnnjax.lru(H, r_min=r_min, r_max=r_max))


@pytest.mark.parametrize("max_phase", [0, -1.0, 7.0, math.nan])
def test_phases_that_are_none(max_phase):
    check(ValueError, [f"max_phase is {max_phase}", "2 pi"], lambda: rnnjax.lru(H, max_phase=max_phase))
