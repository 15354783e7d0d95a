"""Layers over whole sequences: two directions, outputs that come late, feed-forward layers between, lengths."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnjax
from rnnjax.sequence.bidirectional import BidirectionalParams
from tests.cases import B, H, I, T, random_inputs, random_params, random_state

pytestmark = pytest.mark.usefixtures("x64")


def two_directions():
    forward, backward = rnnjax.gru(H), rnnjax.stack(rnnjax.lstm(H), rnnjax.elman(H - 1))
    params = BidirectionalParams(random_params(forward, 0), random_params(backward, 1))
    return forward, backward, params


def test_each_direction_is_a_loop_of_its_own_steps():
    forward, backward, params = two_directions()
    inputs = random_inputs()
    outputs = np.asarray(jax.jit(rnnjax.bidirectional(forward, backward).apply)(params, inputs))
    step_ahead, step_behind = jax.jit(forward.step), jax.jit(backward.step)
    ahead, behind = forward.initial_state(params.forward, (B,)), backward.initial_state(params.backward, (B,))
    for t in range(T):
        ahead, expected = step_ahead(params.forward, ahead, inputs[t])
        np.testing.assert_allclose(outputs[t, :, :H], expected, rtol=1e-12)
        behind, expected = step_behind(params.backward, behind, inputs[T - 1 - t])
        np.testing.assert_allclose(outputs[T - 1 - t, :, H:], expected, rtol=1e-12)


@lru_cache
def compiled():
    forward, backward, params = two_directions()
    return jax.jit(rnnjax.bidirectional(forward, backward).apply), params


@settings(max_examples=8)
@given(lengths=st.lists(st.integers(0, T), min_size=B, max_size=B), seed=st.integers(0, 2))
def test_padding_changes_nothing_and_reversal_acts_within_lengths(lengths, seed):
    apply, params = compiled()
    inputs = random_inputs(T, B, I, seed=seed)
    mask = rnnjax.length_mask(jnp.array(lengths), T)
    padded = apply(params, jnp.where(mask[..., None], inputs, jnp.nan), mask)
    for example, length in enumerate(lengths):
        assert (padded[length:, example] == 0).all()
        if length:
            alone = apply(params, inputs[:length, example])
            np.testing.assert_allclose(padded[:length, example], alone, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("steps", [0, 1, T + 2])
def test_delayed_outputs_are_those_of_later_steps_of_a_loop(steps):
    cell = rnnjax.stack(rnnjax.lstm(H), rnnjax.elman(H - 1))
    params, inputs = random_params(cell), random_inputs()
    outputs, step = np.asarray(jax.jit(rnnjax.delayed(cell, steps).apply)(params, inputs)), jax.jit(cell.step)
    state = cell.initial_state(params, (B,))
    for t in range(T + steps):
        state, expected = step(params, state, inputs[t] if t < T else jnp.zeros((B, I)))
        if t >= steps:
            np.testing.assert_allclose(outputs[t - steps], expected, rtol=1e-12)
    assert outputs.shape == (T, B, H - 1)


@pytest.mark.slow
def test_padding_anywhere_changes_nothing_of_delayed_outputs():
    cell, length = rnnjax.gru(H), 3  # each length is compiled
    layer, params = rnnjax.delayed(cell, 2), random_params(cell)
    inputs, weights = np.asarray(random_inputs(length, B, I)), random_inputs(length, B, H, seed=5)

    def outputs_and_gradients(inputs, weights, mask=None):
        def loss(params, inputs):
            outputs = layer.apply(params, inputs, mask)
            return jnp.sum(jnp.sin(outputs * weights)), outputs

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, inputs)

    padded, alone = jax.jit(outputs_and_gradients), jax.jit(outputs_and_gradients)

    @settings(max_examples=8)
    @given(mask=st.lists(st.lists(st.booleans(), min_size=B, max_size=B), min_size=length, max_size=length))
    def check(mask):
        mask = np.array(mask)
        (d_params, d_inputs), outputs = padded(np.where(mask[..., None], inputs, np.nan), weights, mask)
        assert not outputs[~mask].any()
        assert not d_inputs[~mask].any()
        total = jax.tree.map(jnp.zeros_like, params)
        for example, real in enumerate(mask.T):
            if real.any():
                (e_params, e_inputs), expected = alone(inputs[real, example], weights[real, example])
                np.testing.assert_allclose(outputs[real, example], expected, rtol=1e-11, atol=1e-13)
                np.testing.assert_allclose(d_inputs[real, example], e_inputs, rtol=1e-10, atol=1e-13)
                total = jax.tree.map(jnp.add, total, e_params)
        for received, wanted in zip(d_params, total, strict=True):
            np.testing.assert_allclose(received, wanted, rtol=1e-10, atol=1e-13)

    check()


def test_delayed_layers_in_a_chain_and_by_wrong_steps():
    layer = rnnjax.delayed(rnnjax.gru(3), 2)
    model = rnnjax.chain(layer, rnnjax.elman(H))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), I))
    assert params[1].kernel.shape == (3, H)
    assert jax.eval_shape(model.apply, params, random_inputs()).shape == (T, B, H)
    with pytest.raises(ValueError, match="steps is -1: expected at least 0"):
        rnnjax.delayed(rnnjax.gru(3), -1)
    with pytest.raises(TypeError, match=r"steps is 1\.5"):
        rnnjax.delayed(rnnjax.gru(3), 1.5)
    with pytest.raises(TypeError, match="steps is None"):
        rnnjax.delayed(rnnjax.gru(3), None)
    with pytest.raises(TypeError, match="delayed received gru: expected cells"):
        rnnjax.delayed(rnnjax.gru, 1)
    with pytest.raises(ValueError, match=r"mask has shape \(2, 5\): expected \(5, 2\)"):
        layer.apply(layer.init(jax.random.key(0), I), random_inputs(), jnp.ones((B, T), bool))


def test_a_chain_runs_its_layers_in_turn_with_flax_modules_between():
    nn = pytest.importorskip("flax.linen", reason="flax is not installed")
    dense = nn.Dense(6, param_dtype=jnp.float64)
    model = rnnjax.chain(rnnjax.bidirectional(rnnjax.gru(H), rnnjax.lstm(H)), dense, rnnjax.elman(H))
    params = model.init(jax.random.key(0), I)
    inputs = random_inputs()
    mask = rnnjax.length_mask(jnp.array([3, 0]), T)

    @jax.jit
    def one_after_the_other(params):
        first = rnnjax.bidirectional(rnnjax.gru(H), rnnjax.lstm(H)).apply(params[0], inputs, mask)
        between = first @ params[1]["params"]["kernel"] + params[1]["params"]["bias"][None, None]
        return rnnjax.unroll(rnnjax.elman(H), params[2], between, mask=mask)[1]

    @jax.jit
    def outputs_and_gradient(params):
        outputs, vjp = jax.vjp(lambda params: model.apply(params, inputs, mask), params)
        return outputs, vjp(jnp.ones_like(outputs))

    outputs, gradient = map(partial(jax.tree.map, np.asarray), outputs_and_gradient(params))
    np.testing.assert_allclose(outputs, one_after_the_other(params), rtol=1e-12)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert (outputs[:, 1] == 0).all()


def test_a_chain_takes_chains():
    inner = rnnjax.chain(rnnjax.gru(H), rnnjax.elman(3))
    params = rnnjax.chain(inner, rnnjax.lstm(5)).init(jax.random.key(0), I)
    assert params[1].kernel.shape == (3, 20)


def test_lengths_make_masks_with_any_axes():
    np.testing.assert_array_equal(rnnjax.length_mask(jnp.array([2, 0, 3]), 3).T, [[1, 1, 0], [0, 0, 0], [1, 1, 1]])
    assert rnnjax.length_mask(jnp.array([[1], [2]]), 4).shape == (4, 2, 1)
    with pytest.raises(TypeError, match="lengths have dtype float64: expected whole numbers"):
        rnnjax.length_mask(jnp.array([1.5]), 3)


def test_layers_that_are_none_are_named():
    with pytest.raises(TypeError, match=r"chain received lstm: expected cells, sequence layers or flax modules"):
        rnnjax.chain(rnnjax.lstm)
    with pytest.raises(ValueError, match="chain received no layers: expected at least one"):
        rnnjax.chain()
    with pytest.raises(TypeError, match="bidirectional received lstm: expected cells"):
        rnnjax.bidirectional(rnnjax.lstm, rnnjax.lstm(3))


def test_outputs_and_gradients_equal_those_of_pytorchs_bidirectional_lstm():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: make peers")
    cell = rnnjax.lstm(H)
    layer = rnnjax.bidirectional(cell, cell)
    params = BidirectionalParams(random_params(cell, 0), random_params(cell, 1))
    inputs = random_inputs()
    module = torch.nn.LSTM(I, H, bidirectional=True, dtype=torch.float64)
    with torch.no_grad():
        for suffix, direction in (("l0", params.forward), ("l0_reverse", params.backward)):
            getattr(module, f"weight_ih_{suffix}").copy_(torch.tensor(np.asarray(direction.kernel.T)))
            getattr(module, f"weight_hh_{suffix}").copy_(torch.tensor(np.asarray(direction.recurrent_kernel.T)))
            getattr(module, f"bias_ih_{suffix}").copy_(torch.tensor(np.asarray(direction.bias)))
            getattr(module, f"bias_hh_{suffix}").zero_()
    expected, _ = module(torch.tensor(np.asarray(inputs)))
    (expected**2).sum().backward()

    def loss(params):
        outputs = layer.apply(params, inputs)
        return jnp.sum(outputs**2), outputs

    (value, outputs), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    np.testing.assert_allclose(outputs, expected.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(value, (expected**2).sum().item(), rtol=1e-10)
    np.testing.assert_allclose(gradient.backward.kernel.T, module.weight_ih_l0_reverse.grad.numpy(), rtol=1e-9)
    np.testing.assert_allclose(gradient.forward.recurrent_kernel.T, module.weight_hh_l0.grad.numpy(), rtol=1e-9)


# Two directions wherever a cell goes over whole sequences

MASK = np.arange(T)[:, None] < np.array([T, 3])
RESET = np.zeros((T, B), bool)
RESET[[1, 3], [0, 1]] = True
WHERE = {"mask": MASK, "reset": RESET}


def close(received, expected):
    assert jax.tree.structure(received) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-13), received, expected)


@pytest.mark.parametrize("way", ["scan", "remat", "newton"])
def test_states_outputs_and_gradients_are_those_of_both_directions(way):
    forward, backward, params = two_directions()
    both, inputs = rnnjax.bidirectional(forward, backward), random_inputs()
    weights = random_inputs(T, B, 2 * H - 1, seed=5)
    state = random_state(forward, params.forward), random_state(backward, params.backward)
    unroll = {
        "scan": rnnjax.unroll,
        "remat": partial(rnnjax.unroll, remat=2),
        "newton": lambda *arguments, **options: rnnjax.newton_unroll(*arguments, **options)[:2],
    }[way]

    def of_both(params, inputs, state):
        final, outputs = unroll(both, params, inputs, state, **WHERE)
        return jnp.sum(outputs * weights) + sum(map(jnp.sum, jax.tree.leaves(final))), (final, outputs)

    def of_each(params, inputs, state):
        ahead, first = rnnjax.unroll(forward, params.forward, inputs, state[0], **WHERE)
        behind, second = rnnjax.unroll(backward, params.backward, inputs, state[1], reverse=True, **WHERE)
        outputs, final = jnp.concatenate([first, second], axis=-1), (ahead, behind)
        return jnp.sum(outputs * weights) + sum(map(jnp.sum, jax.tree.leaves(final))), (final, outputs)

    ways = [jax.jit(jax.grad(way, (0, 1, 2), has_aux=True)) for way in (of_both, of_each)]
    close(*(way(params, inputs, state) for way in ways))


def test_reverse_exchanges_the_directions():
    forward, backward, params = two_directions()
    both, turned = rnnjax.bidirectional(forward, backward), rnnjax.bidirectional(backward, forward)
    final, outputs = rnnjax.unroll(both, params, random_inputs(), reverse=True, **WHERE)
    exchanged = BidirectionalParams(params.backward, params.forward)
    (its_first, its_second), its_outputs = rnnjax.unroll(turned, exchanged, random_inputs(), **WHERE)
    close(final, (its_second, its_first))
    close(outputs, jnp.concatenate([its_outputs[..., H - 1 :], its_outputs[..., : H - 1]], axis=-1))


def test_the_flow_has_norms_for_each_direction():
    forward, backward, params = two_directions()
    both, inputs, weights = rnnjax.bidirectional(forward, backward), random_inputs(), random_inputs(T, B, 7, seed=5)
    flow = jax.jit(lambda p: rnnjax.gradient_flow(both, p, inputs, lambda y: jnp.sum(weights * y), **WHERE))(params)
    halves = weights[..., :H], weights[..., H:]

    @jax.jit
    def of_each(params):
        ahead, behind = (lambda y: jnp.sum(halves[0] * y)), (lambda y: jnp.sum(halves[1] * y))
        first = rnnjax.gradient_flow(forward, params.forward, inputs, ahead, **WHERE)
        return first, rnnjax.gradient_flow(backward, params.backward, inputs, behind, reverse=True, **WHERE)

    first, second = of_each(params)
    close(flow.state, (first.state, second.state))
    close(flow.examples, (first.examples, second.examples))
    close(flow.parameters, BidirectionalParams(first.parameters, second.parameters))


def test_perturbations_of_both_directions_are_where_the_flow_is_measured():
    forward, backward, params = two_directions()
    both, inputs = rnnjax.bidirectional(forward, backward), random_inputs()
    zeros = jax.tree.map(lambda leaf: jnp.zeros((T, *leaf.shape)), both.initial_state(params, (B,)))
    loss = lambda y: jnp.sum(jnp.sin(y))  # noqa: E731
    adjoints = jax.grad(lambda e: loss(rnnjax.unroll(both, params, inputs, perturbation=e)[1]))(zeros)
    norms = jax.tree.map(lambda g: np.sqrt((np.asarray(g) ** 2).sum((1, 2))), adjoints)
    close(rnnjax.gradient_flow(both, params, inputs, loss).state, norms)


def test_two_directions_in_a_stack_learn_a_state_and_go_through_noise():
    both = rnnjax.bidirectional(rnnjax.gru(3), rnnjax.lstm(2))
    upper = rnnjax.bidirectional(rnnjax.gru(3), rnnjax.gru(2))
    cell = rnnjax.learned_initial_state(rnnjax.stack(both, rnnjax.residual(upper)))
    params, inputs = random_params(cell), random_inputs()
    first = both.apply(params.cell[0], inputs, MASK)  # its own initial state is 0, not what was learned
    assert first.shape == (T, B, 5)

    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (B, *leaf.shape)), params.state)
    _, hidden = rnnjax.unroll(both, params.cell[0], inputs, state[0], mask=MASK)
    _, more = rnnjax.unroll(upper, params.cell[1], hidden, state[1][0], mask=MASK)
    _, outputs = rnnjax.unroll(cell, params, inputs, mask=MASK)
    close(outputs, hidden + more)
    without = rnnjax.zoneout(cell, 0.0, jax.random.key(1))
    close(rnnjax.unroll(without, params, inputs, mask=MASK)[1], outputs)


@pytest.mark.slow
def test_saturation_and_penalties_see_the_second_direction_run_backward():
    cell = rnnjax.gru(H)
    both, params, inputs = (
        rnnjax.bidirectional(cell, cell),
        (random_params(cell, 0), random_params(cell, 1)),
        random_inputs(),
    )
    params = BidirectionalParams(*params)
    _, behind = rnnjax.saturation(both, params, inputs, tanh_limit=0.5)
    alone = rnnjax.saturation(cell, params.backward, inputs[::-1], tanh_limit=0.5)
    close(behind, jax.tree.map(lambda leaf: leaf[:, ::-1], alone))

    def penalty(cell, params, inputs, weights, reset):
        loss = lambda y: jnp.sum(weights * y[..., -H:])  # noqa: E731
        return rnnjax.gradient_preserving_penalty(cell, params, inputs, loss, reset=reset)

    weights, turned = random_inputs(T, B, H, seed=5), np.roll(RESET, -1, 0)[::-1]
    alone = penalty(cell, params.backward, inputs[::-1], weights[::-1], turned)
    np.testing.assert_allclose(penalty(both, params, inputs, weights, RESET), alone, rtol=1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda both, params, x: both.step(params, both.initial_state(params, (B,)), x[0]),
        lambda both, params, x: rnnjax.stack(both).step((params,), (both.initial_state(params, (B,)),), x[0]),
        lambda both, params, x: rnnjax.lyapunov_spectrum(both, params, x),
        lambda both, params, x: rnnjax.memory_capacity(both, both.init(jax.random.key(0), 1), jax.random.key(0), 3),
        lambda both, params, x: rnnjax.state_jacobians(both, params, x),
    ],
)
def test_what_goes_one_step_at_a_time_says_what_two_directions_can_do(call):
    both = rnnjax.bidirectional(rnnjax.gru(H), rnnjax.gru(H))
    params = both.init(jax.random.key(0), I)
    with pytest.raises(TypeError, match=r"bidirectional cell received one step.*with unroll, gradient_flow or chain"):
        call(both, params, random_inputs())


def test_two_directions_know_what_they_are():
    make = lambda: rnnjax.bidirectional(rnnjax.gru(H), rnnjax.stack(rnnjax.lstm(2)))  # noqa: E731
    assert make() == make()
    assert repr(make()) == "bidirectional(gru(4), stack(lstm(2)))"
    assert "gru(4)" in rnnjax.summary(make(), I)
