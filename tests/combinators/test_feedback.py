"""What is fed back, against the cell without it, a loop of single steps, ``generate``, and Jordan's network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.cases import B, H, T, flow_of, random_inputs, random_params, unrolled
from tests.test_errors import check

V = 5
"""Symbols."""
NET = rnnjax.stack(rnnjax.gru(H), rnnjax.dense(V))
KEY = jax.random.key(1)
CHOICES = ["outputs", "probabilities", "argmax", "sampled", jnp.tanh]


def fed_back(choice):
    return rnnjax.feedback(NET, choice, KEY if choice == "sampled" else None)


def params():
    return random_params(NET, input_size=V)


def symbols():
    return jax.nn.one_hot(np.random.default_rng(0).integers(V, size=(T, B)), V, dtype=jnp.zeros(()).dtype)


def inputs(true, flags):
    return jnp.concatenate([true, jnp.broadcast_to(jnp.asarray(flags, true.dtype), (T, B))[..., None]], axis=-1)


@pytest.mark.parametrize("choice", CHOICES)
def test_with_the_truth_at_every_step_it_is_the_cell_itself_in_outputs_and_gradients(x64, choice):
    true = symbols()

    def loss(cell, given):
        return lambda p: jnp.sum(jnp.sin(rnnjax.unroll(cell, p, given)[1]))

    plain = jax.jit(jax.value_and_grad(loss(NET, true)))(params())
    forced = jax.jit(jax.value_and_grad(loss(fed_back(choice), inputs(true, 1))))(params())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), forced, plain)


def test_with_its_own_choice_at_every_step_it_says_what_generate_says(x64):
    start = symbols()[0]
    state, logits = NET.step(params(), NET.initial_state(params(), (B,)), start)
    said = rnnjax.generate(
        NET,
        params(),
        state,
        logits,
        KEY,
        embed=lambda token: jax.nn.one_hot(token, V, dtype=logits.dtype),
        readout=lambda outputs: outputs,
        length=T,
        choose=rnnjax.greedy,
    )
    flags = jnp.arange(T)[:, None] == 0
    end, outputs = unrolled(fed_back("argmax"), params(), inputs(jnp.zeros((T, B, V)).at[0].set(start), flags))
    np.testing.assert_array_equal(jnp.argmax(outputs, -1), said.tokens)
    np.testing.assert_array_equal(jnp.argmax(end.choice, -1), said.tokens[-1])
    log_probabilities = jax.nn.log_softmax(outputs).max(-1)
    np.testing.assert_allclose(log_probabilities, said.log_probabilities, rtol=1e-6)


REFERENCES = {
    "outputs": lambda y: y,
    "probabilities": lambda y: np.exp(y) / np.exp(y).sum(-1, keepdims=True),
    "argmax": lambda y: np.eye(V)[y.argmax(-1)],
    jnp.tanh: np.tanh,
}


@pytest.mark.parametrize("choice", REFERENCES)
def test_each_flag_decides_for_its_own_step_and_example(x64, choice):
    x, true = random_inputs(T, B, 2), symbols()
    flags = np.random.default_rng(1).integers(2, size=(T, B))
    weights = random_params(NET, input_size=2 + V)
    _, outputs = unrolled(fed_back(choice), weights, jnp.concatenate([x, inputs(true, flags)], -1))
    state, chosen = NET.initial_state(weights, (B,)), np.zeros((B, V))
    step = jax.jit(NET.step)
    for t in range(T):
        fed = np.where(flags[t][:, None] == 1, true[t], chosen)
        state, expected = step(weights, state, jnp.concatenate([x[t], fed], -1))
        chosen = REFERENCES[choice](np.asarray(expected))
        np.testing.assert_allclose(outputs[t], expected, rtol=1e-12, atol=1e-14)


def test_fed_with_its_own_outputs_a_feed_forward_network_is_jordans(x64):
    jordan = rnnjax.jordan(H, 2, "tanh", "softplus")
    weights = random_params(jordan, input_size=3)
    hidden = (jnp.concatenate([weights.kernel, weights.recurrent_kernel]), weights.bias)
    network = rnnjax.stack(rnnjax.dense(H, "tanh"), rnnjax.dense(2, "softplus"))
    like = jax.eval_shape(lambda: network.init(KEY, 5))
    same = jax.tree.unflatten(jax.tree.structure(like), [*hidden, weights.output_kernel, weights.output_bias])
    x = random_inputs(T, B, 3)
    _, expected = unrolled(jordan, weights, x)
    _, outputs = unrolled(
        rnnjax.feedback(network, "outputs"), same, jnp.concatenate([x, jnp.zeros((T, B, 3), x.dtype)], -1)
    )
    np.testing.assert_allclose(outputs, expected, rtol=1e-12)


def test_what_is_drawn_has_the_frequencies_of_the_softmax_and_follows_the_key(x64):
    many = 20_000
    cell, weights = rnnjax.feedback(rnnjax.dense(V), "sampled", KEY), random_params(rnnjax.dense(V), input_size=V)
    given = jnp.zeros((2, many, V + 1)).at[0, :, -1].set(1)
    state, outputs = unrolled(cell, weights, given)
    again, _ = unrolled(cell, weights, given)
    other, _ = unrolled(rnnjax.feedback(rnnjax.dense(V), "sampled", jax.random.key(2)), weights, given)
    np.testing.assert_array_equal(state.choice, again.choice)
    assert (state.choice != other.choice).any()
    assert set(np.unique(state.choice)) == {0, 1}
    np.testing.assert_array_equal(state.choice.sum(-1), 1)
    # The first output is the same everywhere; what was drawn of it makes the second one.
    expected, tolerance = jax.nn.softmax(outputs[0, 0]), 4 * np.sqrt(0.25 / many)
    of_symbol = unrolled(rnnjax.dense(V), weights, jnp.eye(V)[None])[1][0]
    drawn = np.abs(np.asarray(outputs[1])[:, None] - np.asarray(of_symbol)).sum(-1).argmin(-1)
    np.testing.assert_allclose(np.bincount(drawn, minlength=V) / many, expected, atol=tolerance)
    # Two draws of an example, and those of two examples, do not hang together.
    same = drawn == jnp.argmax(state.choice, -1)
    np.testing.assert_allclose(same.mean(), (expected * jax.nn.softmax(of_symbol, -1).diagonal()).sum(), atol=tolerance)
    np.testing.assert_allclose((drawn[1:] == drawn[:-1]).mean(), (expected**2).sum(), atol=tolerance)


def test_single_steps_draw_what_unroll_draws(x64):
    cell, given = fed_back("sampled"), inputs(symbols(), 0)
    end, outputs = unrolled(cell, params(), given)
    _, drawn = unrolled(cell._replace(output=lambda params, state: state.choice), params(), given)
    state, step = cell.initial_state(params(), (B,)), jax.jit(cell.step)
    for t in range(T):
        state, output = step(params(), state, given[t])
        np.testing.assert_allclose(output, outputs[t], rtol=1e-12)
        np.testing.assert_array_equal(state.choice, drawn[t])
    np.testing.assert_array_equal(state.choice, end.choice)


@pytest.mark.slow
def test_the_gradient_of_a_choice_is_what_comes_by_the_output_and_nothing_where_the_truth_is_fed(x64):
    flags = (jnp.arange(T) % 2 == 0)[:, None]

    def loss(outputs):
        return jnp.sum(jnp.sin(outputs[-1]))

    flow = flow_of(fed_back("probabilities"), params(), inputs(symbols(), flags), loss)
    of_choice = np.asarray(flow.state.choice)
    fed = np.append(~np.asarray(flags[1:, 0]), False)  # after step t, at step t + 1
    assert (of_choice[fed] > 0).all()
    np.testing.assert_array_equal(of_choice[~fed], 0)
    # What is chosen without a gradient leaves only the way by the cell's own state: that of the forced network.
    forced = flow_of(NET, params(), symbols(), loss).state
    free = flow_of(fed_back("argmax"), params(), inputs(symbols(), 1), loss).state
    np.testing.assert_allclose(free.cell[0].hidden[:-1], forced[0].hidden[:-1], rtol=1e-10)


def test_what_cannot_be_fed_back_is_refused():
    check(ValueError, ["draws", "expected a key"], lambda: rnnjax.feedback(NET, "sampled"))
    check(ValueError, ["received a key", "argmax"], lambda: rnnjax.feedback(NET, "argmax", KEY))
    check(ValueError, ["choice 'armgax'", "did you mean 'argmax'"], lambda: rnnjax.feedback(NET, "armgax"))
    check(TypeError, ["choice is 3", "expected a function"], lambda: rnnjax.feedback(NET, 3))
    check(TypeError, ["key is 3", "random key"], lambda: rnnjax.feedback(NET, "sampled", 3))
    check(TypeError, ["feedback received gru", "expected cells"], lambda: rnnjax.feedback(rnnjax.gru, "argmax"))
    parts = ["input_size is 5", "at least 6", "flag"]
    check(ValueError, parts, lambda: rnnjax.feedback(NET, "argmax").init(KEY, V))
