"""Saturated units and gates, against a NumPy loop; and the spectra of recurrent kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import Cell
from rnnjax.units import beside
from tests.cases import CELL_CASES, B, H, I, random_inputs, random_params
from tests.test_errors import check

WIDE, STEPS = 16, 8


def saturating(cell, seed=0, scale=4.0):
    """Params and inputs at which some units are saturated, and some not."""
    return jax.tree.map(lambda leaf: scale * leaf, random_params(cell, seed)), random_inputs(STEPS, B, I)


def fractions(values, saturated):
    """(operations, T) from values (operations, T, B, H)."""
    return saturated(np.asarray(values)).mean(axis=(2, 3))


def assert_some(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert 0.01 < expected.mean() < 0.99


# Saturation


def numpy_lstm(params, inputs):
    """The results of all gates f, i, o, and of both tanh, (operations, T, B, H)."""
    W, U, b = (np.asarray(leaf) for leaf in params)
    h = c = np.zeros((B, WIDE))
    gates, tanhs = [], []
    for x in np.asarray(inputs):
        i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=-1)
        i, f, o = (1 / (1 + np.exp(-z)) for z in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        gates.append([f, i, o])
        tanhs.append([np.tanh(g), np.tanh(c)])
    return np.stack(gates, axis=1), np.stack(tanhs, axis=1)


def test_saturation_of_an_lstm_equals_that_counted_in_a_loop(x64):
    cell = rnnjax.lstm(WIDE)
    params, inputs = saturating(cell)
    found = jax.jit(lambda p: rnnjax.saturation(cell, p, inputs))(params)
    gates, tanhs = numpy_lstm(params, inputs)
    assert_some(found.tanh, fractions(tanhs, lambda y: np.abs(y) > 0.99))
    assert_some(found.closed, fractions(gates, lambda y: y < 0.01))
    assert_some(found.open, fractions(gates, lambda y: y > 0.99))


def test_limits_are_where_saturation_begins(x64):
    cell = rnnjax.lstm(WIDE)
    params, inputs = saturating(cell)
    found = rnnjax.saturation(cell, params, inputs, tanh_limit=0.5, gate_limit=0.2)
    gates, tanhs = numpy_lstm(params, inputs)
    assert_some(found.tanh, fractions(tanhs, lambda y: np.abs(y) > 0.5))
    assert_some(found.closed, fractions(gates, lambda y: y < 0.2))
    assert_some(found.open, fractions(gates, lambda y: y > 0.8))


def test_saturation_of_every_layer_of_a_stack_is_that_of_the_layer_on_the_outputs_below():
    layers = rnnjax.elman(WIDE), rnnjax.gru(WIDE)
    cell = rnnjax.stack(*layers)
    params, inputs = saturating(cell)
    found = rnnjax.saturation(cell, params, inputs)
    below = rnnjax.unroll(layers[0], params[0], inputs)[1]
    for layer, of_layer, p, x in zip(layers, found, params, (inputs, below), strict=True):
        alone = rnnjax.saturation(layer, p, x)
        jax.tree.map(np.testing.assert_array_equal, of_layer, alone)
    assert [leaf.shape for leaf in found[0]] == [(1, STEPS), (0, STEPS), (0, STEPS)]
    assert [leaf.shape for leaf in found[1]] == [(1, STEPS), (2, STEPS), (2, STEPS)]
    assert 0 < found[1].closed.mean() < 1


def test_saturation_of_repeated_layers_equals_that_of_a_stack():
    cell = rnnjax.repeat(rnnjax.gru(I), 2)
    params, inputs = saturating(cell)
    found = rnnjax.saturation(cell, params, inputs)
    layers = tuple(jax.tree.map(lambda leaf, n=n: leaf[n], params) for n in range(2))
    expected = rnnjax.saturation(rnnjax.stack(rnnjax.gru(I), rnnjax.gru(I)), layers, inputs)
    jax.tree.map(np.testing.assert_allclose, found, expected)
    assert (found[0].open != found[1].open).any()


def test_operations_within_jit_and_functions_with_their_own_derivative_are_found():
    @jax.custom_jvp
    def own_tanh(x):
        return jnp.tanh(x)

    own_tanh.defjvps(lambda dx, y, x: dx)

    @jax.custom_vjp
    def own_gate(x):
        return jax.nn.sigmoid(x)

    own_gate.defvjp(lambda x: (own_gate(x), None), lambda _, g: (g,))

    @jax.jit
    def update(state, drive):
        scale = jnp.asarray([1.0, 2.0, 4.0])  # a constant of the inner program
        return jax.jit(own_tanh)(beside(scale, drive) * drive) + 0 * own_gate(drive) * state

    cell = Cell(
        init=lambda key, input_size: (),
        initial_state=lambda params, batch_shape=(): jnp.zeros((*batch_shape, I)),
        project=lambda params, inputs: 3 * inputs,
        advance=lambda params, state, drive: update(state, drive),
    )
    inputs = random_inputs(STEPS, 20, I)
    found = rnnjax.saturation(cell, (), inputs)
    drive = 3 * np.asarray(inputs)[None]
    assert_some(found.tanh, fractions(np.tanh(drive * np.array([1, 2, 4])), lambda y: np.abs(y) > 0.99))
    assert_some(found.closed, fractions(1 / (1 + np.exp(-drive)), lambda y: y < 0.01))


def test_gates_that_need_no_state_are_found_too():
    cell = rnnjax.highway(rnnjax.elman(I))
    params, inputs = saturating(cell)
    params = params._replace(gate=jax.tree.map(lambda leaf: 4 * leaf, params.gate))
    closed = rnnjax.saturation(cell, params, inputs)[1].closed
    gate = 1 / (1 + np.exp(-np.float64(inputs @ params.gate.kernel + params.gate.bias[None, None])))
    assert_some(closed, fractions([gate], lambda y: y < 0.01))


def test_saturation_begins_at_the_given_state():
    cell = rnnjax.elman(WIDE)
    params, inputs = saturating(cell)
    middle, _ = rnnjax.unroll(cell, params, inputs[:3])
    late, whole = (rnnjax.saturation(cell, params, x, s).tanh for x, s in ((inputs[3:], middle), (inputs, None)))
    np.testing.assert_array_equal(late, whole[:, 3:])
    assert (late != rnnjax.saturation(cell, params, inputs[3:]).tanh).any()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"tanh_limit": 1.5}, ["tanh_limit is 1.5", "from 0 to 1"]),
        ({"gate_limit": 0.6}, ["gate_limit is 0.6", "from 0 to 0.5"]),
    ],
)
def test_limits_that_are_none(options, parts):
    cell = rnnjax.gru(H)
    check(ValueError, parts, lambda: rnnjax.saturation(cell, random_params(cell), random_inputs(), **options))


# Spectra of recurrent kernels


def expected_spectrum(kernel, gates):
    blocks = np.split(np.asarray(kernel), gates, axis=1)
    radius = [np.abs(np.linalg.eigvals(block)).max() for block in blocks]
    return radius, [np.linalg.svd(block, compute_uv=False)[0] for block in blocks]


def assert_spectrum(found, kernel, gates):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), tuple(found), expected_spectrum(kernel, gates)
    )


def test_spectra_of_a_stack_are_those_of_each_gate_of_each_kernel(x64):
    cell = rnnjax.stack(rnnjax.lstm(H), rnnjax.elman(H - 1), rnnjax.gru(H))
    params = random_params(cell)
    lstm, elman, gru = jax.jit(lambda p: rnnjax.recurrent_spectra(cell, p, I))(params)
    assert [len(lstm), len(elman), len(gru)] == [1, 1, 2]
    assert_spectrum(lstm[0], params[0].recurrent_kernel, 4)
    assert_spectrum(elman[0], params[1].recurrent_kernel, 1)
    assert_spectrum(gru[0], params[2].recurrent_kernel[:, : 2 * H], 2)
    assert_spectrum(gru[1], params[2].recurrent_kernel[:, 2 * H :], 1)


def test_spectra_of_repeated_layers_are_those_of_each(x64):
    cell = rnnjax.repeat(rnnjax.elman(I), 3)
    params = random_params(cell)
    found = rnnjax.recurrent_spectra(cell, params, I)
    assert len(found) == 3
    for (spectrum,), kernel in zip(found, params.recurrent_kernel, strict=True):
        assert_spectrum(spectrum, kernel, 1)


def test_spectrum_of_a_kernel_that_is_not_normal_has_two_different_numbers(x64):
    cell = rnnjax.elman(2)
    params = random_params(cell)._replace(recurrent_kernel=jnp.asarray([[0.5, 3.0], [0.0, 0.9]]))
    (spectrum,) = rnnjax.recurrent_spectra(cell, params, I)
    np.testing.assert_allclose(spectrum.spectral_radius, [0.9], rtol=1e-12)
    # The squares of the singular values add to 10.06 and multiply to 0.2025.
    np.testing.assert_allclose(spectrum.largest_singular_value, [np.sqrt(5.03 + np.sqrt(5.03**2 - 0.2025))], rtol=1e-12)


def test_spectrum_is_that_of_the_matrix_that_the_step_makes_from_the_params(x64):
    cell = CELL_CASES["orthogonal_rnn"]()
    (spectrum,) = rnnjax.recurrent_spectra(cell, random_params(cell), I)
    np.testing.assert_allclose(np.concatenate(spectrum), 1, rtol=1e-10)


def test_spectra_are_found_where_a_function_of_the_state_is_multiplied_and_in_a_cell_of_ones_own(x64):
    cell = CELL_CASES["own_cell"]()
    params = random_params(cell)
    (spectrum,) = rnnjax.recurrent_spectra(cell, params, I)
    assert_spectrum(spectrum, params["recurrent"], 1)


def test_kernel_that_is_not_square_has_no_spectral_radius(x64):
    cell = rnnjax.jordan(H, H - 1)
    params = random_params(cell)
    back, out = rnnjax.recurrent_spectra(cell, params, I)
    assert np.isnan(np.concatenate([back.spectral_radius, out.spectral_radius])).all()
    for spectrum, kernel in ((back, params.recurrent_kernel), (out, params.output_kernel)):
        expected = np.linalg.svd(kernel, compute_uv=False)[:1]
        np.testing.assert_allclose(spectrum.largest_singular_value, expected, rtol=1e-10)


def test_cell_that_multiplies_unit_by_unit_has_no_kernels():
    for name in ("indrnn", "lru"):
        cell = CELL_CASES[name]()
        assert rnnjax.recurrent_spectra(cell, random_params(cell), I) == ()


def test_spectra_of_other_things_than_a_cell_and_its_params():
    cell = rnnjax.lstm(H)
    check(TypeError, ["recurrent_spectra", "lstm", "expected"], lambda: rnnjax.recurrent_spectra(rnnjax.lstm, (), I))
    parts = ["params.kernel", "(3, 16)", "width 7", "(7, 16)"]
    check(ValueError, parts, lambda: rnnjax.recurrent_spectra(cell, random_params(cell), 7))
    check(TypeError, ["input_size is 2.5"], lambda: rnnjax.recurrent_spectra(cell, random_params(cell), 2.5))
