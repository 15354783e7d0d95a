"""Gradients clipped inside time, against a backward pass done step by step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.cases import B, H, I, T, random_inputs, random_params, random_state
from tests.test_errors import check

CELL = rnnjax.lstm(H)
CLIPS = [rnnjax.clip_gradient_norm, rnnjax.clip_gradient_values]
assert_equal = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-13)


def assert_trees_equal(received, expected):
    assert jax.tree.structure(received) == jax.tree.structure(expected)
    jax.tree.map(assert_equal, received, expected)


def loss(outputs):
    return jnp.sum(jnp.sin(3 * outputs) ** 2)


def gradients(cell, params, inputs, start):
    """dL/dparams, dL/dinputs, dL/ds_0 and dL/ds_t, and the outputs."""
    zeros = jax.tree.map(lambda leaf: jnp.zeros((T, *leaf.shape), leaf.dtype), start)

    def loss_of(params, inputs, start, perturbation):
        _, outputs = rnnjax.unroll(cell, params, inputs, start, perturbation=perturbation)
        return loss(outputs), outputs

    return jax.jit(jax.grad(loss_of, argnums=(0, 1, 2, 3), has_aux=True))(params, inputs, start, zeros)


def clipped(clip, limit, gradient):
    """One example's gradient, a list of vectors, one for each field of the state."""
    gradient = jax.tree.map(np.asarray, gradient)
    if clip is rnnjax.clip_gradient_values:
        return jax.tree.map(lambda g: np.clip(g, -limit, limit), gradient)
    length = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradient)))
    return jax.tree.map(lambda g: g * min(1.0, limit / length), gradient)


def backward_by_hand(clip, limit, cell, params, inputs, start):
    """What ``gradients`` is to return for one example, by the vector-Jacobian products of the plain cell's steps."""
    states, outputs = [start], []
    step = jax.jit(cell.step)
    step_back = jax.jit(lambda arguments, gradient: jax.vjp(cell.step, *arguments)[1](gradient))
    for x in inputs:
        state, output = step(params, states[-1], x)
        states.append(state)
        outputs.append(output)
    direct = jax.grad(loss)(jnp.stack(outputs))

    carried = jax.tree.map(jnp.zeros_like, start)
    d_params, d_inputs, d_states = jax.tree.map(jnp.zeros_like, params), [None] * T, [None] * T
    for t in reversed(range(T)):
        _, of_output = jax.vjp(partial(cell.output, params), states[t + 1])
        d_states[t] = jax.tree.map(jnp.add, carried, of_output(direct[t])[0])
        of_step, back, d_inputs[t] = step_back((params, states[t], inputs[t]), (d_states[t], jnp.zeros_like(direct[t])))
        d_params = jax.tree.map(jnp.add, d_params, of_step)
        carried = jax.tree.map(jnp.asarray, clipped(clip, limit, back))
    return d_params, jnp.stack(d_inputs), carried, jax.tree.map(lambda *leaves: jnp.stack(leaves), *d_states)


@pytest.mark.parametrize(("clip", "limit"), [(CLIPS[0], 0.3), (CLIPS[1], 0.1)])
def test_gradients_are_those_of_a_backward_pass_that_clips_at_every_step_for_each_example(x64, clip, limit):
    plain = rnnjax.lstm(H)
    params, inputs = random_params(plain), random_inputs()
    start = random_state(plain, params)
    (d_params, *received), outputs = gradients(clip(plain, limit), params, inputs, start)
    unclipped, plain_outputs = gradients(plain, params, inputs, start)
    forward = [jax.jit(partial(rnnjax.unroll, cell))(params, inputs, start)[1] for cell in (clip(plain, limit), plain)]
    np.testing.assert_array_equal(*forward)
    # Beside a gradient they come from different programs, which round differently.
    np.testing.assert_allclose(outputs, plain_outputs, rtol=1e-13)

    sum_over_examples = jax.tree.map(jnp.zeros_like, params)
    for b in range(B):
        alone = jax.tree.map(lambda leaf, b=b: leaf[b], start)
        of_example, *expected = backward_by_hand(clip, limit, plain, params, inputs[:, b], alone)
        sum_over_examples = jax.tree.map(jnp.add, sum_over_examples, of_example)
        d_inputs, d_start, d_states = received
        mine = jax.tree.map(lambda leaf, b=b: leaf[b], d_start), jax.tree.map(lambda leaf, b=b: leaf[:, b], d_states)
        assert_trees_equal((d_inputs[:, b], *mine), tuple(expected))
    assert_trees_equal(d_params, sum_over_examples)
    # The limit was of consequence.
    assert jnp.abs(unclipped[0].recurrent_kernel - d_params.recurrent_kernel).max() > 1e-2


@pytest.mark.parametrize("clip", CLIPS)
def test_derivatives_forward_are_those_of_the_cell_without_it(x64, clip):
    plain = rnnjax.stack(rnnjax.lstm(H), rnnjax.gru(H))
    params, inputs = random_params(plain), random_inputs()

    def derivative(cell):
        return jax.jvp(lambda p, x: rnnjax.unroll(cell, p, x), (params, inputs), (params, jnp.cos(inputs)))

    assert_trees_equal(derivative(clip(plain, 1e-3)), derivative(plain))


@pytest.mark.parametrize("clip", CLIPS)
def test_a_large_limit_changes_nothing(x64, clip):
    plain = rnnjax.gru(H)
    params, inputs = random_params(plain), random_inputs()
    start = random_state(plain, params)
    assert_trees_equal(gradients(clip(plain, 1e6), params, inputs, start), gradients(plain, params, inputs, start))


@pytest.mark.parametrize("clip", CLIPS)
def test_a_limit_near_zero_cuts_the_gradient_after_one_step(x64, clip):
    plain = rnnjax.lstm(H)
    params, inputs = random_params(plain), random_inputs()
    start = random_state(plain, params)
    (received, *_), _ = gradients(clip(plain, 1e-30), params, inputs, start)
    cut = plain._replace(advance=lambda p, state, drive: plain.advance(p, jax.lax.stop_gradient(state), drive))
    (expected, *_), _ = gradients(cut, params, inputs, start)
    assert_trees_equal(received, expected)


@pytest.mark.parametrize("clip", CLIPS)
def test_every_layer_of_a_stack_is_clipped_by_itself_and_hands_its_gradient_down_unclipped(x64, clip):
    layers = [rnnjax.elman(H), rnnjax.elman(H)]
    plain = rnnjax.stack(*layers)
    params, inputs = random_params(plain), random_inputs()
    start = random_state(plain, params)
    whole, _ = gradients(clip(plain, 0.1), params, inputs, start)
    each, _ = gradients(rnnjax.stack(*(clip(layer, 0.1) for layer in layers)), params, inputs, start)
    assert_trees_equal(whole, each)
    # With one step nothing flows back in time, so all the way down through the layers nothing is clipped.
    tiny, unclipped = (
        jax.jit(jax.grad(lambda p, cell=cell: loss(rnnjax.unroll(cell, p, inputs[:1], start)[1])))(params)
        for cell in (clip(plain, 1e-9), plain)
    )
    assert_trees_equal(tiny, unclipped)


@pytest.mark.parametrize("batch_shape", [(), (2, 3)])
@pytest.mark.parametrize("clip", CLIPS)
def test_any_batch_axes_are_of_examples_clipped_each_by_itself(x64, clip, batch_shape):
    cell = clip(rnnjax.elman(H), 0.1)
    params, inputs = random_params(cell), random_inputs(T, *batch_shape, I)
    d_inputs = jax.jit(jax.grad(lambda x: loss(rnnjax.unroll(cell, params, x)[1])))
    one_by_one = jax.vmap(d_inputs, in_axes=1, out_axes=1)(inputs.reshape(T, -1, I)).reshape(inputs.shape)
    assert_equal(d_inputs(inputs), one_by_one)


@pytest.mark.parametrize(("clip", "largest_norm"), [(CLIPS[0], 1.0), (CLIPS[1], np.sqrt(H))])
def test_a_gradient_that_explodes_stays_within_limit_and_direct_term(x64, clip, largest_norm):
    steps, gain = 40, 2.0
    plain = rnnjax.elman(H, "identity", recurrent_init=rnnjax.initializers.identity(gain))
    params = plain.init(jax.random.key(0), I)
    inputs = random_inputs(steps, I)

    def norms(cell):
        return jax.jit(lambda p: rnnjax.gradient_flow(cell, p, inputs, jnp.sum).state.hidden)(params)

    direct = np.sqrt(H)  # of a sum of outputs, at every step
    # Without: 1 + 2 + 4 + ... in every unit.
    assert_equal(norms(plain), direct * (gain ** np.arange(steps, 0, -1) - 1))
    received = norms(clip(plain, 1.0))
    assert (received <= (largest_norm + direct) * (1 + 1e-12)).all()
    assert_equal(received[:-1], largest_norm + direct)
    assert_equal(received[-1], direct)


# States with leaves of other kinds


@pytest.mark.parametrize(
    ("clip", "make"),
    [
        (CLIPS[0], lambda: rnnjax.clockwork(H, (1, 2, 3))),
        (CLIPS[0], lambda: rnnjax.zoneout(rnnjax.elman(H), 0.1, jax.random.key(0))),
        (CLIPS[1], lambda: rnnjax.zoneout(rnnjax.elman(H), 0.1, jax.random.key(0))),
    ],
    ids=["counter", "key", "key_values"],
)
def test_counters_and_random_keys_in_a_state_are_left_alone(clip, make):
    plain = make()
    params, inputs = random_params(plain), random_inputs()

    def value_and_gradient(cell):
        return jax.jit(jax.value_and_grad(lambda p: loss(rnnjax.unroll(cell, p, inputs)[1])))(params)

    (value, unclipped), (same, gradient) = value_and_gradient(plain), value_and_gradient(clip(plain, 1e-2))
    assert value == same
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert jnp.abs(gradient.recurrent_kernel - unclipped.recurrent_kernel).max() > 1e-3


def test_norm_of_a_complex_state_is_that_of_its_real_and_imaginary_parts(x64):
    plain = rnnjax.lru(H)
    params = random_params(plain)
    gradient = random_state(plain, params)
    for clip, limit in ((CLIPS[0], 0.7), (CLIPS[1], 0.2)):
        cell = clip(plain._replace(advance=lambda params, state, drive: state), limit)
        drive = plain.project(params, random_inputs(B, I))
        _, vjp = jax.vjp(lambda state, cell=cell, drive=drive: cell.advance(params, state, drive), gradient)
        (received,) = vjp(gradient)
        for b in range(B):
            parts = [gradient.memory[b].real, gradient.memory[b].imag, gradient.skip[b]]
            real, imaginary, skip = clipped(clip, limit, parts)
            assert_equal(received.memory[b], real + 1j * imaginary)
            assert_equal(received.skip[b], skip)


@pytest.mark.parametrize("clip", CLIPS)
def test_half_precision_stays_half_precision(clip):
    cell = clip(rnnjax.lstm(H), 0.1)
    params, inputs = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (random_params(cell), random_inputs()))
    gradient = jax.eval_shape(jax.grad(lambda p: loss(rnnjax.unroll(cell, p, inputs)[1])), params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype(jnp.bfloat16)}


# Errors


@pytest.mark.parametrize("clip", CLIPS)
def test_limits_that_are_none(clip):
    for limit in (0, -1.0, float("inf"), float("nan")):
        check(ValueError, ["largest is", f"{limit:g}", "expected a positive number"], lambda n=limit: clip(CELL, n))
    for limit in ("1", None, True):
        check(TypeError, ["largest is", repr(limit), "expected a number"], lambda n=limit: clip(CELL, n))


@pytest.mark.parametrize("clip", CLIPS)
def test_clipping_of_something_else(clip):
    parts = [f"{clip.__name__} received lstm", "expected cells", f"{clip.__name__}(lstm(64), 1.0)"]
    check(TypeError, parts, lambda: clip(rnnjax.lstm, 1.0))
