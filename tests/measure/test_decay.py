"""``decay``: from a curve of norms to a rate, a half-life and a verdict; and how means over examples are taken."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.cases import B, flow_of, random_inputs, random_params


def exponential(per_step, steps, dtype=np.float64):
    """Norms, time forward, that multiply by ``per_step`` with every step back from the last."""
    return (3 * per_step ** np.arange(steps, dtype=np.float64))[::-1].astype(dtype)


@hypothesis.given(per_step=st.floats(0.2, 3.0), steps=st.integers(3, 60))
def test_exponential_curve_gives_its_rate_exactly(per_step, steps):
    hypothesis.assume(abs(per_step - 1) > 1e-3)
    measured = rnnjax.decay(exponential(per_step, steps))
    np.testing.assert_allclose(measured.asymptotic_rate, per_step, rtol=1e-12)
    np.testing.assert_allclose(measured.r_squared, 1, rtol=1e-9)
    np.testing.assert_allclose(
        measured.asymptotic_half_life, np.log(0.5) / np.log(per_step) if per_step < 1 else np.inf, rtol=1e-9
    )
    assert (measured.first_lag, measured.last_lag) == (0, steps - 1)
    assert (measured.underflowed, measured.overflowed) == (0, 0)


def test_asymptotic_half_life_of_halving_is_one_step():
    np.testing.assert_allclose(rnnjax.decay(exponential(0.5, 10)).asymptotic_half_life, 1, rtol=1e-14)


def test_constant_curve_is_preserved_and_never_halves():
    measured = rnnjax.decay(np.full(10, 0.7))
    assert measured.asymptotic_rate == 1
    assert measured.asymptotic_half_life == np.inf
    assert measured.r_squared == 1
    assert measured.thousandth_lag is None
    assert measured.verdict == "preserved"


def test_r_squared_falls_with_what_the_line_leaves_over():
    lags = np.arange(40)
    logs = -0.1 * lags + 0.5 * (-1.0) ** lags
    measured = rnnjax.decay(np.exp(logs)[::-1])
    slope, offset = np.polyfit(lags, logs, 1)
    expected = 1 - np.var(logs - slope * lags - offset) / np.var(logs)
    np.testing.assert_allclose(measured.asymptotic_rate, np.exp(slope), rtol=1e-12)
    np.testing.assert_allclose(measured.r_squared, expected, rtol=1e-9)
    assert 0.5 < expected < 0.95


@pytest.mark.parametrize(("per_step", "lag"), [(0.09, 3), (0.5, 10), (0.999, None), (1.1, None)])
def test_thousandth_lag_is_the_first_below_a_thousandth_of_the_norm_at_the_loss(per_step, lag):
    assert rnnjax.decay(exponential(per_step, 12)).thousandth_lag == lag


def test_underflowed_norms_are_counted_and_left_out_of_the_fit():
    norms = exponential(0.1, 60, np.float32)
    assert (norms == 0).sum() > 5
    assert ((norms > 0) & (norms < 1e-38)).any()  # subnormal numbers, which have lost their digits
    measured = rnnjax.decay(norms)
    # 3 x 10^-lag is above float32's floor, about 1e-31, up to lag 31.
    assert measured.last_lag == 31
    assert measured.underflowed == 60 - 32
    np.testing.assert_allclose(measured.asymptotic_rate, 0.1, rtol=1e-6)
    np.testing.assert_allclose(measured.r_squared, 1, rtol=1e-6)
    assert measured.verdict == "vanishes"


def test_the_same_curve_in_double_precision_does_not_underflow():
    measured = rnnjax.decay(exponential(0.1, 60, np.float64))
    assert (measured.underflowed, measured.last_lag) == (0, 59)


def test_a_zero_is_not_a_small_norm():
    norms = exponential(0.9, 20)
    norms[4] = 0
    measured = rnnjax.decay(norms)
    assert measured.underflowed == 1
    np.testing.assert_allclose(measured.asymptotic_rate, 0.9, rtol=1e-12)
    assert measured.verdict == "preserved"


def test_norms_that_are_all_zero_vanish_and_have_no_rate():
    measured = rnnjax.decay(np.zeros(8))
    assert np.isnan(measured.asymptotic_rate)
    assert np.isnan(measured.asymptotic_half_life)
    assert measured.underflowed == 8
    assert measured.verdict == "vanishes"


def test_of_a_gradient_that_is_exactly_zero_from_some_lag_on_no_line_decides():
    lags = np.arange(100)
    assert rnnjax.decay(np.where(lags < 10, 0.99**lags, 0)[::-1]).verdict == "vanishes"
    assert rnnjax.decay(np.where(lags < 10, 2.0**lags, 0)[::-1]).verdict == "vanishes"
    assert rnnjax.decay(np.where(lags < 1, 1.0, 0)[::-1]).verdict == "vanishes"
    stack = rnnjax.stack(rnnjax.tdnn(8), rnnjax.tdnn(8))  # it sees eight inputs, and nothing before them
    params = stack.init(jax.random.key(0), 3)
    flow = flow_of(stack, params, random_inputs(40, B, 3), lambda y: jnp.sum(y[-1]))
    measured = rnnjax.decay(jax.tree.leaves(flow.state)[0])
    assert measured.underflowed > 30
    assert measured.verdict == "vanishes"


@pytest.mark.parametrize("steps", [2, 20, 400])
def test_one_drop_and_a_floor_has_vanished_and_is_not_exponential(steps):
    measured = rnnjax.decay(np.array([1.0] + [1e-12] * steps)[::-1])
    assert measured.verdict == "vanishes"
    assert (measured.half_lag, measured.tenth_lag, measured.thousandth_lag) == (1, 1, 1)
    assert not measured.exponential
    assert np.isnan(measured.asymptotic_half_life)


@pytest.mark.parametrize("peak", [10, 40, 70])
def test_rising_a_hundredfold_and_coming_back_has_no_trend(peak):
    logs = np.interp(np.arange(81), [0, peak, 80], [0, 2, 0])
    assert rnnjax.decay((10**logs)[::-1]).verdict == "no trend"


def test_growth_that_ends_at_a_level_is_no_explosion():
    rising = 100 ** np.minimum(np.arange(81) / 20, 1)
    assert rnnjax.decay(rising[::-1]).verdict == "no trend"
    assert rnnjax.decay((1 + np.arange(81.0))[::-1]).verdict == "no trend"  # a sum, of fresh gradients of every step
    assert rnnjax.decay(rising[:21][::-1]).verdict == "explodes"


@pytest.mark.parametrize("deviation", [0.1, 1.0, 3.0])
def test_noise_about_a_level_has_no_trend_however_large_it_is(deviation):
    noise = np.random.default_rng(0).normal(size=(200, 100))
    verdicts = [rnnjax.decay(np.exp(deviation * row)).verdict for row in noise]
    assert verdicts.count("no trend") >= 198  # of ends that are ten times apart by chance, as good as none


def test_a_verdict_does_not_rest_on_a_slope_drawn_beyond_what_was_seen():
    norms = np.full(200, np.nan)
    norms[-4:] = exponential(0.9, 4)
    assert rnnjax.decay(norms).verdict == "not measured"
    assert rnnjax.decay(norms[-4:]).verdict == "preserved"


@pytest.mark.parametrize("norms", [np.full(20, np.nan), np.ones(1), np.zeros(1), np.array([np.nan, 1.0])])
def test_what_was_not_measured_has_no_verdict(norms):
    assert rnnjax.decay(norms).verdict == "not measured"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["elman", "gru", "lstm", "antisymmetric", "orthogonal_rnn", "leaky"])
def test_with_a_loss_at_every_step_no_trend_is_seen(name):
    # Whatever becomes of a gradient on its way back: every state has a fresh one of its own beside it.
    cell = rnnjax.CELLS[name](32)
    params = cell.init(jax.random.key(0), 16)
    tokens = jax.random.randint(jax.random.key(1), (100, B), 0, 16)
    weights = jax.random.normal(jax.random.key(2), (100, B, 32))
    flow = flow_of(cell, params, jax.nn.one_hot(tokens, 16), lambda y: jnp.sum(weights * y))
    measured = rnnjax.decay(jax.tree.leaves(flow.state)[-1])
    assert measured.verdict not in ("vanishes", "explodes")
    if name in ("elman", "gru", "lstm"):
        assert measured.verdict == "no trend"


@pytest.mark.parametrize(("share", "lag"), [(1 / 2, 1), (0.26, 2), (0.25, 2), (1e-9, None)])
def test_first_lag_below_is_the_first_at_which_at_most_that_share_is_left(share, lag):
    assert rnnjax.first_lag_below(exponential(0.5, 12), share) == lag
    late = np.concatenate([exponential(0.5, 12), [0.0]])  # as the memory of an LSTM, which has nothing at the loss
    assert rnnjax.first_lag_below(late, share) == (None if lag is None else lag + 1)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_infinite_and_undefined_norms_are_counted_and_explode(bad):
    norms = exponential(1.5, 20)
    norms[:3] = bad
    measured = rnnjax.decay(norms)
    assert measured.overflowed == 3
    assert (measured.first_lag, measured.last_lag) == (0, 16)
    np.testing.assert_allclose(measured.asymptotic_rate, 1.5, rtol=1e-12)
    assert measured.verdict == "explodes"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [(0.09, "vanishes"), (0.11, "preserved"), (1.0, "preserved"), (9.0, "preserved"), (11.0, "explodes")],
)
@pytest.mark.parametrize("lags", [5, 500])
def test_verdict_is_by_a_factor_of_ten_over_the_lags_seen(lags, change, verdict):
    assert rnnjax.decay(exponential(change ** (1 / lags), lags + 1)).verdict == verdict


def test_loss_step_is_where_lags_are_counted_from():
    norms = np.concatenate([exponential(0.8, 15), np.zeros(6)])
    measured = rnnjax.decay(norms, loss_step=14)
    np.testing.assert_allclose(measured.asymptotic_rate, 0.8, rtol=1e-12)
    assert (measured.first_lag, measured.last_lag, measured.underflowed) == (0, 14, 0)
    assert rnnjax.decay(norms, loss_step=-7) == measured


def test_memory_of_an_lstm_has_a_thousandth_lag_too():
    # dL/dc_T = 0 with h_T held fixed, so the norm to compare with is not the last one.
    cell = rnnjax.lstm(4, forget_bias=0, recurrent_init=jax.nn.initializers.zeros)
    params = cell.init(jax.random.key(0), 3)
    flow = flow_of(cell, params, jnp.zeros((20, 3)), lambda y: jnp.sum(y[-1]))
    measured = rnnjax.decay(flow.state.cell)
    np.testing.assert_allclose(measured.asymptotic_half_life, 1, rtol=1e-5)
    assert (measured.half_lag, measured.first_lag) == (2, 1)
    assert measured.thousandth_lag == 11  # halving from lag 1 on: 2^-10 < 1e-3


def test_mean_of_log_norms_is_not_the_log_of_the_mean_and_examples_give_both():
    cell = rnnjax.elman(4)
    params = random_params(cell)
    # One example saturates, the other does not: their gradients fall at different rates.
    inputs = random_inputs(12, B, 3) * np.array([4.0, 0.1], np.float32)[None, :, None]
    flow = flow_of(cell, params, inputs, lambda y: jnp.sum(y[-1]))
    examples = np.asarray(flow.examples.hidden, np.float64)
    assert examples.shape == (12, B)
    np.testing.assert_allclose(np.sqrt((examples**2).sum(1)), flow.state.hidden, rtol=1e-5)

    condensed = rnnjax.example_norms(flow.examples.hidden)
    mean_of_logs = np.log(examples).mean(1)
    log_of_mean = np.log(examples.mean(1))
    np.testing.assert_allclose(condensed.mean_of_log, mean_of_logs, rtol=1e-12)
    np.testing.assert_allclose(condensed.log_of_mean, log_of_mean, rtol=1e-12)
    assert (condensed.underflowed == 0).all()
    gap = log_of_mean - mean_of_logs
    assert (gap >= 0).all()  # Jensen's inequality
    assert gap[0] > 1
    assert gap[0] > 5 * gap[-1]
    typical, dominated = rnnjax.decay(np.exp(mean_of_logs)), rnnjax.decay(examples.mean(1))
    assert typical.asymptotic_rate < dominated.asymptotic_rate


def test_examples_below_the_floor_are_counted_and_left_out_of_the_mean_of_logs():
    norms = np.array([[[1.0, 0.0], [1e-40, 4.0]], [[0.0, 0.0], [0.0, 0.0]]], np.float32)
    condensed = rnnjax.example_norms(norms)
    np.testing.assert_array_equal(condensed.underflowed, [2, 4])
    np.testing.assert_allclose(condensed.mean_of_log, [np.log(4) / 2, np.nan], rtol=1e-12)
    np.testing.assert_allclose(condensed.log_of_mean, [np.log(5 / 4), -np.inf], rtol=1e-12)
