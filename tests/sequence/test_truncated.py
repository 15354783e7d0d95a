"""Truncated backpropagation through time: against windows cut by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.cases import B, H, I, random_inputs, random_params, random_state, unrolled

pytestmark = pytest.mark.usefixtures("x64")

STEPS = 12


def make():
    return rnnjax.stack(rnnjax.gru(H), rnnjax.lstm(H))


def problem():
    cell = make()
    params = random_params(cell)
    targets = {"output": random_inputs(STEPS, B, H, seed=5), "weight": jnp.arange(1.0, STEPS + 1)}
    return cell, params, random_inputs(STEPS, B, I), targets, random_state(cell, params)


def loss(outputs, targets):
    return jnp.sum(targets["weight"][:, None, None] * (outputs - targets["output"]) ** 2)


def windows_by_hand(cell, params, inputs, targets, state, every, through):
    """For each end of a window: steps without gradient up to its beginning, then steps with."""
    value, gradient = 0.0, jax.tree.map(jnp.zeros_like, params)
    for end in range(every, len(inputs) + 1, every):
        start = max(0, end - through)
        first = state
        for t in range(start):
            first, _ = cell.step(params, first, inputs[t])

        def window(params, first=first, start=start, end=end):
            s, outputs = first, []
            for t in range(start, end):
                s, output = cell.step(params, s, inputs[t])
                outputs.append(output)
            return loss(jnp.stack(outputs[-every:]), jax.tree.map(lambda x: x[end - every : end], targets))

        more, slope = jax.value_and_grad(window)(params)
        value, gradient = value + more, jax.tree.map(jnp.add, gradient, slope)
    return value, gradient


@pytest.mark.slow
@pytest.mark.parametrize(("every", "through"), [(1, 1), (3, 3), (3, 5), (4, 20)])
def test_truncated_gradient_equals_windows_cut_by_hand(every, through):
    cell, params, inputs, targets, state = problem()
    truncated = jax.jit(partial(rnnjax.truncated_gradient, cell, loss=loss, every=every, through=through))
    _, value, gradient = truncated(params, inputs, targets, state=state)
    by_hand = jax.jit(partial(windows_by_hand, cell, every=every, through=through))
    expected, slope = by_hand(params, inputs, targets, state)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(slope), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("through", [12, 30])
def test_a_window_of_the_whole_sequence_is_full_backpropagation(through):
    cell, params, inputs, targets, state = problem()

    def full(params):
        final, outputs = rnnjax.unroll(cell, params, inputs, state)
        return loss(outputs, targets), final

    (value, final), gradient = jax.jit(jax.value_and_grad(full, has_aux=True))(params)
    truncated = jax.jit(partial(rnnjax.truncated_gradient, cell, loss=loss, every=12, through=through))
    received = truncated(params, inputs, targets, state=state)
    for a, b in zip(jax.tree.leaves(received), jax.tree.leaves((final, value, gradient)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_the_state_carried_over_windows_is_that_of_the_untruncated_forward_pass():
    cell, params, inputs, targets, state = problem()
    truncated = jax.jit(partial(rnnjax.truncated_gradient, cell, loss=loss, every=2, through=3))
    final, value, _ = truncated(params, inputs, targets, state=state)
    expected, outputs = unrolled(cell, params, inputs, state)
    np.testing.assert_allclose(value, loss(outputs, targets), rtol=1e-12)
    for a, b in zip(jax.tree.leaves(final), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize(
    ("every", "through", "message"),
    [
        (5, 5, "every is 5: expected a divisor of the 12 steps of the inputs; pad or cut them"),
        (4, 3, "through is 3: expected at least every = 4"),
        (0, 3, "every is 0: expected at least 1"),
    ],
)
def test_windows_that_do_not_fit_are_refused(every, through, message):
    cell, params, inputs, targets, _ = problem()
    with pytest.raises(ValueError, match=message):
        rnnjax.truncated_gradient(cell, params, inputs, targets, loss, every=every, through=through)


@pytest.mark.parametrize(("every", "through"), [(4, 4), (3, 5)])
def test_a_head_on_top_has_its_gradient_over_all_windows(every, through):
    cell, params, inputs, targets, state = problem()
    head = {"kernel": random_inputs(H, H, seed=8), "bias": jnp.ones(H)}

    def with_head(outputs, targets, head):
        return loss(outputs @ head["kernel"] + head["bias"][None, None], targets)

    truncated = jax.jit(partial(rnnjax.truncated_gradient, cell, loss=with_head, every=every, through=through))
    final, value, (of_cell, of_head) = truncated(params, inputs, targets, state=state, head=head)
    fixed = jax.jit(
        partial(rnnjax.truncated_gradient, cell, loss=lambda y, t: with_head(y, t, head), every=every, through=through)
    )
    its_final, expected, its_gradient = fixed(params, inputs, targets, state=state)
    for a, b in zip(
        jax.tree.leaves((final, value, of_cell)), jax.tree.leaves((its_final, expected, its_gradient)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    # Outputs do not depend on where the gradient is cut, and the head sees nothing else.
    _, outputs = unrolled(cell, params, inputs, state)
    for name, slope in jax.grad(lambda head: with_head(outputs, targets, head))(head).items():
        np.testing.assert_allclose(of_head[name], slope, rtol=1e-11)


@pytest.mark.parametrize("steps", [1, 11, 13])
def test_targets_of_another_length_are_refused(steps):
    cell, params, inputs, targets, _ = problem()
    wrong = jax.tree.map(lambda target: jnp.zeros((steps, *target.shape[1:])), targets)
    with pytest.raises(ValueError, match="expected 12 steps on axis 0, as many as the inputs have"):
        rnnjax.truncated_gradient(cell, params, inputs, wrong, loss, every=3, through=6)


def test_memory_is_that_of_a_window_however_many_there_are():
    cell = make()
    params = random_params(cell)

    def temporary_bytes(windows):
        inputs = jax.ShapeDtypeStruct((4 * windows, B, I), jnp.float64)
        targets = jax.ShapeDtypeStruct((4 * windows, B, H), jnp.float64)
        squares = lambda outputs, targets: jnp.sum((outputs - targets) ** 2)  # noqa: E731
        gradient = jax.jit(partial(rnnjax.truncated_gradient, cell, loss=squares, every=4, through=4))
        return gradient.lower(params, inputs, targets).compile().memory_analysis().temp_size_in_bytes

    few, many = temporary_bytes(4), temporary_bytes(400)
    states = 396 * 4 * B * 3 * H * 8  # of the steps between, if they were kept
    assert many - few < states / 4
