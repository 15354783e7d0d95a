"""What holds of noise in every form: draws go by key, layer and example; values without noise stay; what is refused.

Keys are fixed, so that a test about chances has one outcome.
"""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.combinators.noise import NoisyState
from tests.cases import B, H, I, T, random_inputs, random_like, random_params, random_state
from tests.noise_cases import (
    COUNTER,
    DROPS,
    HANDS_ON,
    LINEAR,
    ONES,
    RATE,
    assert_equal,
    key,
    linear_params,
)
from tests.test_errors import check

pytestmark = pytest.mark.usefixtures("x64")


# Without a key


@pytest.mark.parametrize("drop", [rnnjax.dropout, rnnjax.variational_dropout, rnnjax.drop_connect])
def test_without_a_key_nothing_is_dropped(drop):
    cell = rnnjax.stack(rnnjax.lstm(H), rnnjax.gru(H))
    assert drop(cell, RATE) is cell


# With a key


def words(tree):
    """The tree with the words of random keys, which can be compared, in their place."""
    return jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf, tree
    )


@lru_cache
def two_counters(name):
    """A stack of two counters of 16 units, changed; ``run(key, inputs, state) -> unroll`` and single steps."""
    linear = rnnjax.elman(16, "identity")
    params = tuple(linear_params(np.eye(16), 1)._replace(kernel=jnp.zeros((width, 16))) for width in (I, 16))

    def cell(key):
        return DROPS[name](rnnjax.stack(linear, linear, all_to_output=True), 0.5, key)

    @jax.jit
    def run(key, inputs, state):
        return rnnjax.unroll(cell(key), params, inputs, state)

    @jax.jit
    def step_by_step(key, inputs, state):
        outputs = []
        for x in inputs:
            state, output = cell(key).step(params, state, x)
            outputs.append(output)
        return state, jnp.stack(outputs)

    return run, step_by_step, lambda key: cell(key).initial_state(params, (B,))


@pytest.mark.parametrize("name", DROPS)
def test_draws_depend_on_key_and_layer_and_example_and_go_on_where_a_state_is_carried_on(name):
    run, step_by_step, start = two_counters(name)
    inputs = jnp.zeros((6, B, I))

    middle, first = run(key(0), inputs[:3], start(key(0)))
    again, other = (run(key(seed), inputs[:3], start(key(seed)))[1] for seed in (0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[..., :16] != first[..., 16:]).any()  # layer by layer
    alike = (first[:, 0] == first[:, 1]).all()
    assert alike == (name == "drop_connect")  # whose weights serve all examples

    final, second = run(key(0), inputs[3:], middle)
    stepped, stepwise = step_by_step(key(0), inputs, start(key(0)))
    assert_equal(stepwise, np.concatenate([first, second]))
    jax.tree.map(assert_equal, words(stepped), words(final))


@pytest.mark.parametrize("name", DROPS)
def test_a_rate_of_zero_changes_no_value(name):
    plain = rnnjax.gru(H)
    params, inputs = random_params(plain), random_inputs()
    cell = DROPS[name](plain, 0.0, key(0))
    np.testing.assert_array_equal(rnnjax.unroll(cell, params, inputs)[1], rnnjax.unroll(plain, params, inputs)[1])


@pytest.mark.parametrize("name", DROPS)
def test_keys_of_the_old_kind_are_the_same_keys(name):
    state = random_state(LINEAR, HANDS_ON)

    def one_step(key):
        cell = DROPS[name](LINEAR, 0.5, key)
        fresh = cell.initial_state(HANDS_ON, (B,))
        return cell.step(
            HANDS_ON, fresh._replace(cell=state) if isinstance(fresh, NoisyState) else state, jnp.zeros((B, I))
        )

    old, new = jax.random.PRNGKey(5), key(5)
    np.testing.assert_array_equal(one_step(old)[1], one_step(new)[1])


@pytest.mark.parametrize("name", DROPS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtype_of_params_stays_the_dtype(name, dtype):
    cell = DROPS[name](rnnjax.lstm(H), RATE, key(0))
    params, inputs = jax.tree.map(lambda leaf: leaf.astype(dtype), (random_params(cell), random_inputs()))
    start = jax.eval_shape(lambda: cell.initial_state(params, (B,)))
    final, outputs = jax.eval_shape(partial(rnnjax.unroll, cell), params, inputs)
    assert outputs.dtype == dtype
    assert jax.tree.map(lambda leaf: leaf.dtype, final) == jax.tree.map(lambda leaf: leaf.dtype, start)


@pytest.mark.parametrize("name", DROPS)
def test_learned_initial_states_are_where_a_noisy_sequence_starts(name):
    plain = rnnjax.learned_initial_state(rnnjax.stack(rnnjax.lstm(H), rnnjax.gru(H)))
    params = random_params(plain)
    fresh = DROPS[name](plain, RATE, key(0)).initial_state(params, (B,))
    layers = [layer.cell if isinstance(layer, NoisyState) else layer for layer in fresh]
    jax.tree.map(np.testing.assert_array_equal, layers, list(plain.initial_state(params, (B,))))


def test_after_a_reset_the_draws_are_those_of_the_first_steps_again():
    cell = rnnjax.zoneout(LINEAR, 0.5, key(0))
    inputs = jnp.zeros((6, B, I))
    _, outputs = rnnjax.unroll(cell, COUNTER, inputs, reset=jnp.zeros((6, B), bool).at[3].set(True))
    np.testing.assert_array_equal(outputs[3:], outputs[:3])


def test_padding_draws_nothing():
    cell = rnnjax.dropout(LINEAR, 0.5, key(0))
    inputs, mask = jnp.zeros((6, B, I)), np.array([1, 0, 1, 0, 0, 1], bool)[:, None].repeat(B, axis=1)
    _, padded = rnnjax.unroll(cell, ONES, inputs, mask=mask)
    _, outputs = rnnjax.unroll(cell, ONES, inputs[:3])
    np.testing.assert_array_equal(padded[mask[:, 0]], outputs)


@pytest.mark.slow
def test_gradients_under_a_fixed_key_are_the_slopes():
    cell = rnnjax.gru(H)
    for seed, drop in enumerate([*DROPS.values(), rnnjax.dropout]):
        cell = drop(cell, RATE, key(seed))
    params, inputs, weights = random_params(cell), random_inputs(), random_inputs(T, B, H, seed=8)

    @jax.jit
    def loss(params):
        return jnp.sum(weights * rnnjax.unroll(cell, params, inputs)[1])

    gradient = jax.jit(jax.grad(loss))(params)
    assert all((leaf != 0).any() for leaf in jax.tree.leaves(gradient))
    for seed in range(3):
        direction = random_like(params, 20 + seed)
        there, back = (loss(jax.tree.map(lambda p, d, h=h: p + h * d, params, direction)) for h in (1e-5, -1e-5))
        slope = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
        np.testing.assert_allclose((there - back) / 2e-5, slope, rtol=1e-6)


def test_noisy_gradients_export_to_cpu_cuda_and_tpu():
    params, inputs = random_params(LINEAR), random_inputs()

    def gradient(seed, params):
        cell = LINEAR
        for drop in DROPS.values():
            cell = drop(cell, RATE, key(seed))
        return jax.grad(lambda p: jnp.sum(rnnjax.unroll(cell, p, inputs)[1] ** 2))(params)

    platforms = ("cpu", "cuda", "tpu")
    assert jax.export.export(jax.jit(gradient), platforms=platforms)(0, params).platforms == platforms


# Errors

LSTM = rnnjax.lstm(H)


@pytest.mark.parametrize("name", DROPS)
def test_rates_that_are_none(name):
    for rate in (-0.1, 1.5, float("nan")):
        check(
            ValueError, ["rate is", "expected a number from 0 to 1"], lambda rate=rate: DROPS[name](LSTM, rate, key(0))
        )
    for rate in ("0.5", None, True):
        check(
            TypeError, ["rate is", repr(rate), "expected a number"], lambda rate=rate: DROPS[name](LSTM, rate, key(0))
        )


@pytest.mark.parametrize("name", [name for name in DROPS if name != "zoneout"])
def test_a_rate_that_leaves_nothing(name):
    check(ValueError, ["rate is 1", "expected less than 1"], lambda: DROPS[name](LSTM, 1.0))


@pytest.mark.parametrize("name", DROPS)
@pytest.mark.parametrize("bad", [0, "key", jnp.zeros(2), np.zeros(2)])
def test_keys_that_are_none(name, bad):
    parts = ["key is", "expected a random key", "jax.random.key(0)", "None to evaluate"]
    check(TypeError, parts, lambda: DROPS[name](LSTM, RATE, bad))


@pytest.mark.parametrize("name", DROPS)
@pytest.mark.parametrize("k", [None, 0])
def test_noise_in_something_else(name, k):
    receiver = name.removesuffix("_of_sequences")
    parts = [f"{receiver} received lstm", "expected cells", f"{receiver}(lstm(64), 0.1, key)"]
    check(TypeError, parts, lambda: DROPS[name](rnnjax.lstm, RATE, k if k is None else key(k)))
