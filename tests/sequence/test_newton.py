"""``newton_unroll``: the numbers and gradients of ``unroll``, a report, and never what did not converge."""

import itertools
from functools import lru_cache, partial

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import Cell
from tests.cases import CELL_CASES, B, H, I, T, random_inputs, random_params, random_state
from tests.test_errors import check

pytestmark = pytest.mark.usefixtures("x64")

STEPS = 7

assert_close = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-11)

JACOBIANS = ["full", "diagonal"]

CASES = [
    *((name, "full") for name in ("elman_function", "gru_reset_before", "narx", "own_cell")),
    *((name, "diagonal") for name in ("lstm", "own_cell")),
]


def newton(cell, **options):
    """``(params, inputs, ...) -> final state, outputs, report``, compiled."""
    return jax.jit(partial(rnnjax.newton_unroll, cell, **options))


def scan(cell):
    return jax.jit(partial(rnnjax.unroll, cell))


def assert_trees_close(received, expected):
    assert jax.tree.structure(received) == jax.tree.structure(expected)
    jax.tree.map(assert_close, received, expected)


@lru_cache
def case(name):
    cell = CELL_CASES[name]()
    return cell, random_params(cell)


@lru_cache
def compiled(name, run, **options):
    """``(params, inputs, state, mask, reset) -> dL/d(params, inputs, state), all that the run returns``.

    L depends on the outputs and on the final state.
    """
    cell, _ = case(name)

    def loss(params, inputs, state, mask, reset):
        result = run(cell, params, inputs, state, mask=mask, reset=reset, **options)
        final = sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(result[0]))
        return jnp.sum(result[1] ** 2 + result[1] ** 3) + final, result

    @jax.jit
    def gradients(params, inputs, state=None, mask=None, reset=None):
        return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(params, inputs, state, mask, reset)

    return gradients


def assert_equals_unroll(name, arguments, options=None, **newton_options):
    options = options or {}
    gradients, (final, outputs, report) = compiled(name, rnnjax.newton_unroll, **options, **newton_options)(*arguments)
    expected_gradients, expected = compiled(name, rnnjax.unroll, **options)(*arguments)
    assert_trees_close((final, outputs), expected)
    assert_trees_close(gradients, expected_gradients)
    return report


# The same as unroll


@pytest.mark.parametrize(("name", "jacobian"), CASES)
def test_values_and_gradients_are_those_of_unroll(name, jacobian):
    cell, params = case(name)
    arguments = params, random_inputs(STEPS, B, I), random_state(cell, params)
    report = assert_equals_unroll(name, arguments, jacobian=jacobian)
    assert report.converged.all()
    assert (report.iterations >= 1).all()
    assert (report.iterations < STEPS).all()


@pytest.mark.parametrize("name", ["lru", "tdnn"])
def test_values_are_those_of_unroll_for_other_kinds_of_states(name):
    cell, params = case(name)
    arguments = params, random_inputs(STEPS, B, I), random_state(cell, params)
    final, outputs, report = newton(cell)(*arguments)
    assert_trees_close((final, outputs), scan(cell)(*arguments))
    assert report.converged


def complex_cell():
    """z_t = a z_{t-1} / (1 + |z_{t-1}|^2) + x_t, a nonlinear cell of complex numbers."""

    def init(key, input_size):
        return {"angle": jax.random.normal(key, (input_size,))}

    def initial_state(params, batch_shape=()):
        return {"z": jnp.zeros((*batch_shape, *params["angle"].shape), complex), "seen": jnp.zeros((*batch_shape, 1))}

    def advance(params, state, inputs):
        z, turn = state["z"], jax.lax.complex(jnp.cos(params["angle"]), jnp.sin(params["angle"]))
        size = jnp.square(z.real) + jnp.square(z.imag)
        new = jnp.broadcast_to(turn, z.shape) * z / jax.lax.complex(1 + size, jnp.zeros_like(size))
        return {"z": new + jax.lax.complex(inputs, jnp.zeros_like(inputs)), "seen": state["seen"] / 2 + inputs[..., :1]}

    def output(params, state):
        return jnp.concatenate([state["z"].real, state["z"].imag, state["seen"]], axis=-1)

    return Cell(init, initial_state, lambda params, inputs: inputs, advance, output)


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_complex_states_count_as_their_real_and_imaginary_part(jacobian):
    cell = complex_cell()
    params, inputs = random_params(cell), random_inputs(STEPS, B, I)

    def gradient(run):
        def loss(params, inputs):
            _, outputs, *report = run(cell, params, inputs)
            return jnp.sum(outputs**3), report

        return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, inputs)

    gradients, (report,) = gradient(partial(rnnjax.newton_unroll, jacobian=jacobian))
    assert_trees_close(gradients, gradient(rnnjax.unroll)[0])
    assert report.converged


# Masks, resets, direction


patterns = st.lists(st.booleans(), min_size=T * B, max_size=T * B).map(lambda bits: np.array(bits).reshape(T, B))


@pytest.mark.parametrize(
    ("name", "jacobian", "reverse"),
    [("gru_reset_before", "full", True), ("stack_of_learned_initial_states", "diagonal", False)],
)
@hypothesis.given(mask=patterns, reset=patterns)
def test_masks_and_resets_are_those_of_unroll(name, jacobian, reverse, mask, reset):
    cell, params = case(name)
    inputs = jnp.where(mask[..., None], random_inputs(), jnp.nan)
    arguments = params, inputs, random_state(cell, params), mask, reset
    report = assert_equals_unroll(name, arguments, {"reverse": reverse}, jacobian=jacobian)
    assert report.converged.all()


def test_a_layer_without_iteration_starts_afresh_from_what_the_whole_has_learned():
    cell = rnnjax.learned_initial_state(rnnjax.stack(rnnjax.min_gru(H), rnnjax.elman(H)))
    params, inputs, reset = random_params(cell), random_inputs(), np.arange(T * B).reshape(T, B) % 3 == 1

    def gradient(run):
        def loss(params):
            _, outputs, *report = run(cell, params, inputs, reset=reset)
            return jnp.sum(outputs**3), report

        return jax.jit(jax.grad(loss, has_aux=True))(params)

    gradients, (report,) = gradient(rnnjax.newton_unroll)
    assert_trees_close(gradients, gradient(rnnjax.unroll)[0])
    assert report.iterations[0] == 0


@hypothesis.settings(max_examples=4)
@hypothesis.given(steps=st.integers(1, 3), batch_shape=st.sampled_from([(), (1,), (3, 2)]))
def test_any_length_and_any_batch_axes(steps, batch_shape):
    cell, params = case("gru_reset_before")
    inputs = random_inputs(steps, *batch_shape, I)
    mask = np.random.default_rng(0).random((steps, *batch_shape)) < 0.7
    final, outputs, report = newton(cell)(params, inputs, mask=mask)
    assert_trees_close((final, outputs), scan(cell)(params, inputs, mask=mask))
    assert report.converged


# Convergence


def strong_elman(gain):
    """An Elman network whose recurrent kernel is ``gain`` times an orthogonal matrix: above 1, its states diverge."""
    cell = rnnjax.elman(H)
    params = cell.init(jax.random.key(3), I)
    return cell, params._replace(recurrent_kernel=gain * params.recurrent_kernel)


@pytest.mark.parametrize("jacobian", JACOBIANS)
@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_as_many_iterations_as_steps_are_enough_even_where_nothing_contracts(gain, jacobian):
    cell, params = strong_elman(gain)
    inputs = random_inputs(12, B, I)
    final, outputs, report = newton(cell, jacobian=jacobian, max_iterations=12)(params, inputs)
    assert report.converged
    assert report.iterations <= 12
    assert_trees_close((final, outputs), scan(cell)(params, inputs))


def test_a_state_that_moves_without_slope_is_right_one_step_an_iteration():
    plain, params = case("elman_tanh")
    cell = plain._replace(advance=lambda p, s, d: type(s)(jnp.round(5 * plain.advance(p, s, d).hidden)))
    inputs = random_inputs(6, B, I)
    final, outputs, report = newton(cell)(params, inputs)
    assert report.converged
    assert 3 <= report.iterations <= 5
    assert_trees_close((final, outputs), scan(cell)(params, inputs))


def test_a_linear_recurrence_takes_one_iteration():
    cell, params = case("elman_identity")
    assert newton(cell)(params, random_inputs())[2].iterations == 1


def test_convergence_is_quadratic_with_the_full_jacobian():
    cell, params = strong_elman(0.6)
    inputs = random_inputs(30, 1, I)
    found = [newton(cell, max_iterations=count)(params, inputs)[2] for count in (2, 3, 4, 5)]
    residuals = [float(report.residual) for report in found]
    assert found[-1].converged
    small = [(before, after) for before, after in itertools.pairwise(residuals) if 1e-7 < before < 0.1]
    assert small
    assert all(after < 2 * before**2 for before, after in small)


def test_the_diagonal_takes_more_iterations_than_the_full_jacobian():
    cell, params = strong_elman(0.6)
    inputs = random_inputs(30, 1, I)
    full, diagonal = (newton(cell, jacobian=jacobian)(params, inputs)[2] for jacobian in JACOBIANS)
    assert full.converged
    assert diagonal.converged
    assert full.iterations < diagonal.iterations


def test_the_diagonal_is_exact_for_units_that_do_not_see_each_other():
    cell, params = case("indrnn")
    inputs = random_inputs(12, B, I)
    full, diagonal = (newton(cell, jacobian=jacobian)(params, inputs)[2] for jacobian in JACOBIANS)
    assert full.iterations == diagonal.iterations


def test_a_looser_tolerance_takes_fewer_iterations_and_bounds_the_residual():
    cell, params = case("gru_reset_before")
    inputs = random_inputs(STEPS, B, I)
    loose = newton(cell, tolerance=1e-2)(params, inputs)[2]
    tight = newton(cell, tolerance=1e-13)(params, inputs)[2]
    assert loose.iterations < tight.iterations
    assert loose.residual <= 1e-2
    assert tight.residual <= 1e-13


# What does not converge


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_what_does_not_converge_in_time_is_scanned_and_says_so(jacobian):
    cell, params = case("lstm")
    arguments = params, random_inputs(STEPS, B, I), random_state(cell, params)
    report = assert_equals_unroll("lstm", arguments, jacobian=jacobian, max_iterations=1)
    assert not report.converged
    assert report.iterations == 1
    assert report.residual > 1e-3


def test_each_layer_has_its_own_report():
    cell = rnnjax.stack(rnnjax.min_gru(H), rnnjax.stack(rnnjax.elman(H), rnnjax.elman(H, "identity")))
    params, inputs = random_params(cell), random_inputs()
    final, outputs, report = newton(cell, max_iterations=1)(params, inputs)
    assert report.converged.tolist() == [True, False, True]
    assert report.iterations.tolist() == [0, 1, 1]
    assert_trees_close((final, outputs), scan(cell)(params, inputs))


def test_undefined_inputs_end_the_iteration_at_once():
    cell, params = case("gru_reset_before")
    inputs = random_inputs(STEPS, B, I).at[3, 1, 0].set(jnp.nan)
    final, outputs, report = newton(cell)(params, inputs)
    assert not report.converged
    assert report.iterations == 0
    assert_trees_close((final, outputs), scan(cell)(params, inputs))  # NaN equals NaN here
    assert jnp.isfinite(final.hidden[0]).all()


def test_products_of_slopes_beyond_the_range_of_floats_do_not_spread():
    """A chaotic network of bounded states: 30^300 is no float64, but the gradient of a loss at first steps is small."""
    cell = rnnjax.elman(H, jnp.sin)
    params, inputs = random_params(cell), random_inputs(300, 1, I)
    params = params._replace(recurrent_kernel=30 * jnp.eye(H))

    def gradient(run):
        def loss(params):
            _, outputs, *report = run(cell, params, inputs)
            return jnp.sum(outputs[:3] ** 2), report

        return jax.jit(jax.grad(loss, has_aux=True))(params)

    gradients, (report,) = gradient(partial(rnnjax.newton_unroll, max_iterations=20))
    assert not report.converged
    assert jnp.isfinite(report.residual)
    assert_trees_close(gradients, gradient(rnnjax.unroll)[0])


# Transformations


def test_vmap_gives_each_example_its_own_report():
    cell, params = case("gru_reset_before")
    inputs = random_inputs(STEPS, 3, I).at[:, 1].set(jnp.nan).at[:, 2].set(0.0)
    run = jax.jit(jax.vmap(partial(rnnjax.newton_unroll, cell, params), in_axes=1, out_axes=(0, 1, 0)))
    _, outputs, report = run(inputs)
    assert report.converged.tolist() == [True, False, True]
    assert report.iterations[0] > report.iterations[1] == 0
    assert_close(outputs, scan(cell)(params, inputs)[1])


def test_float32_converges_to_its_own_tolerance():
    cell, params = case("lstm")
    params, inputs = jax.tree.map(lambda x: x.astype(jnp.float32), (params, random_inputs(STEPS, B, I)))
    _, outputs, report = newton(cell)(params, inputs)
    assert outputs.dtype == jnp.float32
    assert report.converged
    np.testing.assert_allclose(outputs, scan(cell)(params, inputs)[1], atol=1e-5)


# Errors


@pytest.mark.parametrize(
    ("options", "error", "parts"),
    [
        ({"jacobian": "diag"}, ValueError, ["jacobian 'diag'", "did you mean 'diagonal'", "diagonal, full"]),
        ({"tolerance": 0.0}, ValueError, ["tolerance is 0", "expected a positive number"]),
        ({"tolerance": "small"}, TypeError, ["tolerance is 'small'", "expected a number"]),
        ({"max_iterations": 0}, ValueError, ["max_iterations is 0", "expected at least 1"]),
        ({"max_iterations": 2.5}, TypeError, ["max_iterations is 2.5", "expected a whole number"]),
        ({"mask": np.ones((T, B))}, TypeError, ["mask", "float64", "bool"]),
    ],
)
def test_options_that_are_none(options, error, parts):
    cell, params = case("lstm")
    check(error, parts, lambda: rnnjax.newton_unroll(cell, params, random_inputs(), **options))


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.bfloat16])
def test_states_without_slope_or_digits_are_refused(dtype):
    def initial_state(params, batch_shape=()):
        return {"hidden": jnp.zeros((*batch_shape, 2)), "steps": jnp.zeros((*batch_shape, 1), dtype)}

    cell = Cell(lambda key, width: jnp.zeros((width, 2)), initial_state, jnp.matmul, lambda params, state, drive: state)
    parts = ["state['steps']", np.dtype(dtype).name, "expected float32", "unroll"]
    check(TypeError, parts, lambda: rnnjax.newton_unroll(cell, jnp.zeros((I, 2)), random_inputs()))


def test_cells_without_forward_derivatives_are_refused():
    cell = rnnjax.clip_gradient_norm(rnnjax.gru(H), 1.0)
    parts = ["newton_unroll", "custom_vjp", "clip_gradient_norm", "rnnjax.unroll"]
    check(TypeError, parts, lambda: rnnjax.newton_unroll(cell, random_params(cell), random_inputs()))
