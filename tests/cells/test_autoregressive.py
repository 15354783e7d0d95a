"""TDNN and NARX: their equations in NumPy, the finite response, the three feedbacks, training and forecasting."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from jax.flatten_util import ravel_pytree

import rnnjax
from tests import reference_autoregressive as reference
from tests.cases import B, H, I, flow_of, random_inputs, random_params, random_state

pytestmark = pytest.mark.usefixtures("x64")

LONG = 9  # steps, more than any window below
O = 2  # noqa: E741  output width
TAPS = [(1, 1), (3, 2), (2, 4)]  # of outputs, of inputs

assert_close = partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-14)


def numpy_tuple(params):
    return tuple(map(np.asarray, params))


def with_previous(inputs, true):
    """[x_t, y*_{t-1}], y*_0 = 0."""
    return jnp.concatenate([inputs, jnp.concatenate([jnp.zeros_like(true[:1]), true[:-1]])], axis=-1)


def narx_and_data(past, window, **options):
    cell = rnnjax.narx(H, O, past, window, **options)
    return cell, random_params(cell), random_inputs(LONG, B, I), random_inputs(LONG, B, O, seed=5)


# TDNN


@pytest.mark.parametrize("taps", [1, 2, 4, LONG + 3])
def test_tdnn_computes_its_equation(taps):
    cell = rnnjax.tdnn(H, taps)
    params, inputs = random_params(cell), random_inputs(LONG, B, I)
    outputs = jax.jit(partial(rnnjax.unroll, cell))(params, inputs)[1]
    assert_close(outputs, reference.tdnn(numpy_tuple(params), np.asarray(inputs), taps))


def steps_that_an_input_acts_on(cell, at=2):
    """The steps whose outputs move when the input of step ``at`` does."""
    params, inputs = random_params(cell), random_inputs(LONG, I)
    outputs = [rnnjax.unroll(cell, params, x)[1] for x in (inputs, inputs.at[at].add(1.0))]
    return np.flatnonzero(np.abs(outputs[1] - outputs[0]).max(axis=1)).tolist()


@pytest.mark.parametrize("taps", [1, 3])
def test_what_happens_today_acts_on_exactly_as_many_steps_as_there_are_taps(taps):
    assert steps_that_an_input_acts_on(rnnjax.tdnn(H, taps)) == list(range(2, 2 + taps))


def test_windows_of_stacked_tdnns_add_up():
    assert steps_that_an_input_acts_on(rnnjax.stack(rnnjax.tdnn(H, 2), rnnjax.tdnn(H, 3))) == [2, 3, 4, 5]


def test_gradient_flow_of_a_tdnn_ends_after_its_window():
    cell = rnnjax.tdnn(H, 3)
    flow = flow_of(cell, random_params(cell), random_inputs(LONG, B, I), lambda y: jnp.sum(y[-1]))
    np.testing.assert_array_equal(np.flatnonzero(flow.state.pending), np.arange(LONG - 3, LONG))


def test_tdnn_of_one_tap_is_elman_without_recurrence():
    cell, elman = rnnjax.tdnn(H, 1), rnnjax.elman(H)
    params, inputs = random_params(cell), random_inputs()
    feed_forward = random_params(elman)._replace(recurrent_kernel=jnp.zeros((H, H)), **params._asdict())
    assert_close(rnnjax.unroll(cell, params, inputs)[1], rnnjax.unroll(elman, feed_forward, inputs)[1])


@pytest.mark.parametrize("make", [rnnjax.tdnn, lambda size, taps: rnnjax.narx(size, 1, 1, taps)])
def test_initial_weights_of_the_inputs_are_scaled_by_all_taps_together(make):
    kernel = make(200, 4).init(jax.random.key(0), 25).kernel
    assert kernel.shape == (25, 4 * 200)
    np.testing.assert_allclose(np.std(kernel), (25 * 4) ** -0.5, rtol=0.03)


# NARX and its three feedbacks


@pytest.mark.parametrize(("past", "window"), TAPS)
def test_narx_feeds_back_its_predictions(past, window):
    cell, params, inputs, _ = narx_and_data(past, window)
    outputs = jax.jit(partial(rnnjax.unroll, cell))(params, inputs)[1]
    expected = reference.narx(numpy_tuple(params), np.asarray(inputs), (past, window), lambda t, y: y[t])
    assert_close(outputs, expected)


@pytest.mark.parametrize(("past", "window"), TAPS)
def test_series_parallel_feeds_back_the_true_outputs(past, window):
    cell, params, inputs, true = narx_and_data(past, window)
    outputs = jax.jit(partial(rnnjax.unroll, rnnjax.series_parallel(cell)))(params, with_previous(inputs, true))[1]
    expected = reference.narx(numpy_tuple(params), np.asarray(inputs), (past, window), lambda t, y: np.asarray(true[t]))
    assert_close(outputs, expected)


@pytest.mark.parametrize(("past", "window"), TAPS)
def test_error_feedback_feeds_back_true_less_predicted_outputs(past, window):
    cell, params, inputs, true = narx_and_data(past, window)
    outputs = jax.jit(partial(rnnjax.unroll, rnnjax.error_feedback(cell)))(params, with_previous(inputs, true))[1]
    expected = reference.narx(
        numpy_tuple(params), np.asarray(inputs), (past, window), lambda t, y: np.asarray(true[t]) - y[t]
    )
    assert_close(outputs, expected)


def test_state_before_the_sequence_is_what_the_steps_before_left():
    cell, params, inputs, _ = narx_and_data(3, 2)
    middle = rnnjax.unroll(cell, params, inputs[:4])[0]
    final, later = rnnjax.unroll(cell, params, inputs[4:], middle)
    whole_final, whole = rnnjax.unroll(cell, params, inputs)
    assert_close(later, whole[4:])
    jax.tree.map(assert_close, final, whole_final)
    assert_close(final.outputs, jnp.concatenate([whole[-1], whole[-2], whole[-3]], axis=-1))


def test_one_tap_is_jordans_network():
    cell, jordan = rnnjax.narx(H, O, 1, 1, "tanh"), rnnjax.jordan(H, O, "tanh")
    params, inputs = random_params(cell), random_inputs(LONG, B, I)
    start = random_state(jordan, random_params(jordan))
    state = cell.initial_state(params, (B,))._replace(outputs=start.output)
    expected = rnnjax.unroll(jordan, random_params(jordan)._replace(**params._asdict()), inputs, start)[1]
    assert_close(rnnjax.unroll(cell, params, inputs, state)[1], expected)


def test_the_three_feedbacks_share_params_and_states():
    cell = rnnjax.narx(H, O)
    params = cell.init(jax.random.key(0), I)
    for fed in (rnnjax.series_parallel(cell), rnnjax.error_feedback(cell)):
        jax.tree.map(np.testing.assert_array_equal, fed.init(jax.random.key(0), I + O), params)
        jax.tree.map(np.testing.assert_array_equal, fed.initial_state(params, (B,)), cell.initial_state(params, (B,)))


@pytest.mark.parametrize(("past", "window"), TAPS)
def test_with_its_own_predictions_for_true_outputs_series_parallel_is_the_closed_loop(past, window):
    cell, params, inputs, _ = narx_and_data(past, window)
    final, predictions = rnnjax.unroll(cell, params, inputs)
    received = rnnjax.unroll(rnnjax.series_parallel(cell), params, with_previous(inputs, predictions))
    jax.tree.map(assert_close, received, (final, predictions))


def test_without_errors_error_feedback_feeds_back_nothing():
    cell, params, inputs, _ = narx_and_data(2, 3)
    silent = params._replace(recurrent_kernel=jnp.zeros_like(params.recurrent_kernel))
    predictions = rnnjax.unroll(cell, silent, inputs)[1]
    received = rnnjax.unroll(rnnjax.error_feedback(cell), params, with_previous(inputs, predictions))[1]
    assert_close(received, predictions)


def test_error_feedback_forecasts_with_expected_errors_of_zero():
    known, (cell, params, inputs, true) = 5, narx_and_data(3, 2)
    fed = rnnjax.error_feedback(cell)
    state, _ = rnnjax.unroll(fed, params, with_previous(inputs, true)[:known])

    def forecast_step(state, x):
        return fed.step(params, state, jnp.concatenate([x, fed.output(params, state)], axis=-1))

    _, forecast = jax.lax.scan(forecast_step, state, inputs[known:])

    def error(t, predictions):
        return np.asarray(true[t]) - predictions[t] if t < known - 1 else np.zeros((B, O))

    expected = reference.narx(numpy_tuple(params), np.asarray(inputs), (3, 2), error)
    assert_close(forecast, expected[known:])


@pytest.mark.parametrize(("past", "window"), TAPS)
def test_a_closed_loop_forecast_goes_on_from_the_true_outputs(past, window):
    known, (cell, params, inputs, true) = 5, narx_and_data(past, window)
    state, _ = rnnjax.unroll(rnnjax.series_parallel(cell), params, with_previous(inputs, true)[:known])
    forecast = rnnjax.unroll(cell, params, inputs[known:], state)[1]

    def fed(t, predictions):  # the last known step's true output never came
        return np.asarray(true[t]) if t < known - 1 else predictions[t]

    expected = reference.narx(numpy_tuple(params), np.asarray(inputs), (past, window), fed)
    assert_close(forecast, expected[known:])


def test_a_learned_initial_state_stands_for_the_outputs_before_the_sequence():
    cell = rnnjax.narx(H, O, 2, 2)
    learned = rnnjax.learned_initial_state(cell)
    params, inputs, true = random_params(learned), random_inputs(LONG, B, I), random_inputs(LONG, B, O, seed=5)
    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (B, *leaf.shape)), params.state)
    inputs = with_previous(inputs, true)
    received = rnnjax.unroll(rnnjax.series_parallel(learned), params, inputs)[1]
    assert_close(received, rnnjax.unroll(rnnjax.series_parallel(cell), params.cell, inputs, start)[1])


# Gradients


def test_no_gradient_flows_through_predictions_in_series_parallel():
    cell, params, inputs, true = narx_and_data(3, 1)
    flow = flow_of(rnnjax.series_parallel(cell), params, with_previous(inputs, true), lambda y: jnp.sum(y[-1]))
    assert (np.asarray(flow.parameters.kernel[:-1]) == 0).all()
    assert flow.parameters.kernel[-1] > 0


def test_gradient_comes_as_many_steps_back_in_one_as_there_are_output_taps():
    past, steps, weight = 3, 10, 0.5
    cell = rnnjax.narx(1, 1, past, 1, "identity")
    params = jax.tree.map(jnp.ones_like, cell.init(jax.random.key(0), 1))
    params = params._replace(recurrent_kernel=jnp.array([[0.0], [0.0], [weight]]))
    gradient = jax.jit(jax.grad(lambda x: rnnjax.unroll(cell, params, x)[1][-1, 0]))(random_inputs(steps, 1))
    expected = np.zeros(steps)
    expected[::-past] = weight ** np.arange(4)
    np.testing.assert_array_equal(gradient[:, 0], expected)


# Training teacher-forced, forecasting in closed loop


def linear_series(steps, inputs, past, now, noise=0.0):
    """y_t = sum past_k y_{t-k} + sum now_l x_{t-l} + 0.3, noise of that size added in every step."""
    random, outputs = np.random.default_rng(1), np.zeros(steps)
    for t in range(steps):
        outputs[t] = 0.3 + noise * random.normal()
        outputs[t] += sum(a * outputs[t - k] for k, a in enumerate(past, 1) if t >= k)
        outputs[t] += sum(c * inputs[t - lag] for lag, c in enumerate(now) if t >= lag)
    return outputs


def trained_teacher_forced(cell, inputs, true):
    """The params of least squared error, from ``init``, by BFGS."""
    start, unravel = ravel_pytree(cell.init(jax.random.key(0), 1))
    forced, data = rnnjax.series_parallel(cell), with_previous(inputs, true)

    @jax.jit
    @jax.value_and_grad
    def loss(flat):
        return jnp.mean((rnnjax.unroll(forced, unravel(flat), data)[1] - true) ** 2)

    found = scipy.optimize.minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-9})
    return unravel(jnp.asarray(found.x))


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_training_teacher_forced_finds_the_coefficients_of_least_squares_and_their_forecast(noise):
    past, now, known, steps = [0.6, -0.3], [1.0, 0.5], 60, 80
    inputs = np.random.default_rng(0).normal(size=steps)
    outputs = linear_series(steps, inputs, past, now, noise)
    x, true = jnp.asarray(inputs)[:, None], jnp.asarray(outputs)[:, None]
    cell = rnnjax.narx(1, 1, 2, 2, "identity")
    params = trained_teacher_forced(cell, x[:known], true[:known])

    expected = reference.least_squares(inputs[:known], outputs[:known], 2, 2)
    if noise == 0:
        np.testing.assert_allclose(expected, [*now, *past, 0.3], rtol=1e-10)
    (V,) = params.output_kernel[0]
    coefficients = np.concatenate([params.kernel[0], params.recurrent_kernel[:, 0], params.bias]) * V
    received = coefficients + np.array([0, 0, 0, 0, params.output_bias[0]])
    np.testing.assert_allclose(received, expected, rtol=1e-5)

    state, _ = rnnjax.unroll(rnnjax.series_parallel(cell), params, with_previous(x, true)[: known + 1])
    forecast = rnnjax.unroll(cell, params, x[known + 1 :], state)[1][:, 0]
    series = list(outputs[:known])
    for t in range(known, steps):
        series.append(np.dot(expected, [inputs[t], inputs[t - 1], series[t - 1], series[t - 2], 1.0]))
    np.testing.assert_allclose(forecast, series[known + 1 :], rtol=1e-4, atol=1e-5)
    if noise == 0:
        np.testing.assert_allclose(forecast, outputs[known + 1 :], rtol=1e-4, atol=1e-5)


# Bad arguments

BAD = {
    "tdnn size": (partial(rnnjax.tdnn, 0), ValueError, ["hidden_size is 0", "at least 1"]),
    "tdnn taps": (partial(rnnjax.tdnn, H, 0), ValueError, ["taps is 0", "at least 1"]),
    "tdnn taps type": (partial(rnnjax.tdnn, H, 2.0), TypeError, ["taps is 2.0 (float)", "whole number"]),
    "tdnn activation": (partial(rnnjax.tdnn, H, 2, "tan"), ValueError, ["'tan'", "'tanh'"]),
    "narx output size": (partial(rnnjax.narx, H, 0), ValueError, ["output_size is 0", "at least 1"]),
    "narx output taps": (partial(rnnjax.narx, H, O, 0), ValueError, ["output_taps is 0", "at least 1"]),
    "narx input taps": (partial(rnnjax.narx, H, O, 1, True), TypeError, ["input_taps is True (bool)", "whole"]),
    "narx activation": (partial(rnnjax.narx, H, O, 1, 1, "sigmoids"), ValueError, ["'sigmoids'", "'sigmoid'"]),
    "not a cell": (partial(rnnjax.series_parallel, rnnjax.narx), TypeError, ["series_parallel received narx", "cells"]),
    "another cell": (
        lambda: rnnjax.series_parallel(rnnjax.jordan(H, O)),
        TypeError,
        ["series_parallel received", "JordanState", "expected a narx cell", "series_parallel(narx(16, 1))"],
    ),
    "a stack": (
        lambda: rnnjax.error_feedback(rnnjax.stack(rnnjax.narx(H, O))),
        TypeError,
        ["error_feedback received", "tuple", "expected a narx cell"],
    ),
    "true outputs twice": (
        lambda: rnnjax.series_parallel(rnnjax.series_parallel(rnnjax.narx(H, O))),
        TypeError,
        ["series_parallel received", "given true outputs already", "series_parallel(narx(16, 1))", "once"],
    ),
    "true outputs twice, below a learned state": (
        lambda: rnnjax.error_feedback(rnnjax.learned_initial_state(rnnjax.series_parallel(rnnjax.narx(H, O)))),
        TypeError,
        ["error_feedback received", "given true outputs already", "error_feedback(narx(16, 1))"],
    ),
    "no inputs": (
        lambda: rnnjax.error_feedback(rnnjax.narx(H, O)).init(jax.random.key(0), O),
        ValueError,
        ["input_size is 2", "more than the 2", "error_feedback", "side by side", "constant"],
    ),
    "no inputs unrolled": (
        lambda: rnnjax.unroll(
            rnnjax.series_parallel(rnnjax.narx(H, O)), random_params(rnnjax.narx(H, O)), random_inputs(LONG, B, O)
        ),
        ValueError,
        ["input_size is 2", "more than the 2", "series_parallel", "side by side"],
    ),
    "true outputs forgotten": (
        lambda: rnnjax.unroll(
            rnnjax.series_parallel(rnnjax.narx(H, O)), random_params(rnnjax.narx(H, O)), random_inputs(LONG, B, I)
        ),
        ValueError,
        ["params.kernel has shape (3, 12)", "width 3", "(1, 12)"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_meet_a_clear_error(name):
    make, error, parts = BAD[name]
    with pytest.raises(error) as raised:
        make()
    message = str(raised.value)
    assert len(message) < 300
    position = 0
    for part in parts:
        assert part in message[position:], f"{part!r} is not where expected in: {message}"
        position = message.index(part, position) + len(part)
