"""Penalties against their papers' equations in NumPy, closed forms, finite differences, and what they do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import rnnjax
from rnnjax import Cell, gradient_flossing_penalty, gradient_preserving_penalty
from tests.cases import CELL_CASES, B, H, I, T, random_inputs, random_params
from tests.measure.test_dynamics import flat, linear, random_orthogonal
from tests.test_errors import check


def loss(outputs):
    """Of several steps, so that dL/ds_t has direct terms on the way."""
    return jnp.sum(jnp.sin(outputs[-1])) + jnp.sum(outputs[1] ** 2)


def differences(function, array, epsilon=1e-6):
    """The gradient of a scalar function of an array, by central differences."""
    gradient = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        step = np.zeros_like(array)
        step[place] = epsilon
        gradient[place] = (function(array + step) - function(array - step)) / (2 * epsilon)
    return gradient


def omega(jacobians, adjoints):
    """The penalty of Jacobians (T, B, S, S) and dL/ds_t (T, B, S) of one layer, without the first step."""
    moved = np.einsum("tbij,tbi->tbj", jacobians, adjoints)[1:]
    ratios = (moved**2).sum(-1) / (adjoints[1:] ** 2).sum(-1)
    return ((ratios - 1) ** 2).mean()


def value_and_gradient(cell, params, inputs, of=loss):
    return jax.jit(jax.value_and_grad(lambda params: gradient_preserving_penalty(cell, params, inputs, of)))(params)


def value(cell, params, inputs, of=loss, **masks):
    return jax.jit(lambda inputs, masks: gradient_preserving_penalty(cell, params, inputs, of, **masks))(inputs, masks)


@jax.jit(static_argnums=0)
def total_gradients(cell, params, inputs):
    """dL/ds_t at every step, like the state; 0 for what is no real or complex number."""

    def zeros(leaf):
        return jnp.zeros((T, *leaf.shape), leaf.dtype if jnp.issubdtype(leaf.dtype, jnp.inexact) else float)

    def of(zeros):
        return loss(rnnjax.unroll(cell, params, inputs, perturbation=zeros)[1])

    return jax.grad(of)(jax.tree.map(zeros, cell.initial_state(params, (B,))))


# Gradient preservation


def test_penalty_and_gradient_are_those_of_the_papers_equations(x64):
    """An Elman network by hand; differences in U alone, with states and dL/dh_t held."""
    cell = rnnjax.elman(H)
    params, inputs = random_params(cell), random_inputs()
    kernel, U, bias = map(np.asarray, params)
    hidden = [np.zeros((B, H))]
    for x in np.asarray(inputs):
        hidden.append(np.tanh(x @ kernel + hidden[-1] @ U + bias))
    hidden = np.stack(hidden[1:])
    adjoints = np.zeros_like(hidden)
    for t in reversed(range(T)):
        adjoints[t] = np.cos(hidden[t]) if t == T - 1 else (adjoints[t + 1] * (1 - hidden[t + 1] ** 2)) @ U.T
        adjoints[t] += 2 * hidden[t] if t == 1 else 0

    def by_hand(U):
        return omega((1 - hidden**2)[..., :, None] * U.T, adjoints)

    penalty, gradient = value_and_gradient(cell, params, inputs)
    np.testing.assert_allclose(penalty, by_hand(U), rtol=1e-12)
    np.testing.assert_allclose(gradient.recurrent_kernel, differences(by_hand, U), rtol=1e-6, atol=1e-9)
    assert not np.any(gradient.kernel)
    assert not np.any(gradient.bias)


def test_the_authors_program_counts_the_first_step_and_so_does_padding_before_it(x64):
    """A loop over examples and steps; the authors' mean is over all of them, the first one's Jacobian goes to s_0."""
    cell = rnnjax.elman(H)
    params, inputs = random_params(cell), random_inputs()
    kernel, U, bias = map(np.asarray, params)
    terms = np.zeros((T, B))
    for example in range(B):
        hidden = [np.zeros(H)]
        for x in np.asarray(inputs)[:, example]:
            hidden.append(np.tanh(x @ kernel + hidden[-1] @ U + bias))
        adjoint = np.cos(hidden[T])
        for t in reversed(range(1, T + 1)):
            adjoint += 2 * hidden[t] if t == 2 else 0
            moved = U @ (adjoint * (1 - hidden[t] ** 2))
            terms[t - 1, example] = (moved @ moved / (adjoint @ adjoint) - 1) ** 2
            adjoint = moved
    ours = value(cell, params, inputs)
    np.testing.assert_allclose(ours, terms[1:].mean(), rtol=1e-12)

    padded = jnp.concatenate([jnp.zeros_like(inputs[:1]), inputs])
    mask = jnp.ones((T + 1, B), bool).at[0].set(False)
    theirs = value(cell, params, padded, lambda outputs: loss(outputs[1:]), mask=mask)
    np.testing.assert_allclose(theirs, terms.mean(), rtol=1e-12)
    np.testing.assert_allclose(T * theirs - (T - 1) * ours, terms[0].mean(), rtol=1e-11)


def test_gates_and_memory_of_an_lstm_are_constants_and_the_recurrent_kernel_is_not(x64):
    """ds_t/ds_{t-1} = [A_t U^T, C_t], with A_t and C_t from the drive and the memory cell, held."""
    cell = rnnjax.lstm(H)
    params, inputs = random_params(cell), random_inputs()
    adjoints = flat(total_gradients(cell, params, inputs), 2)
    drive = cell.project(params, inputs)

    @jax.jit
    def steps(state):
        return jax.lax.scan(lambda state, x: (cell.step(params, state, x)[0], state), state, inputs)

    _, before = steps(cell.initial_state(params, (B,)))

    def new_state(drive, memory, hidden):
        return flat(cell.advance(params, type(before)(hidden, memory), drive), 0)

    of_drive, of_memory = (jax.jit(jax.vmap(jax.vmap(jax.jacfwd(new_state, place)))) for place in (0, 1))
    A = np.concatenate(jax.tree.leaves(of_drive(drive, before.cell, before.hidden)), axis=-1)
    C = np.asarray(of_memory(drive, before.cell, before.hidden))

    def by_hand(U):
        return omega(np.concatenate([A @ U.T, C], axis=-1), adjoints)

    U = np.asarray(params.recurrent_kernel)
    penalty, gradient = value_and_gradient(cell, params, inputs)
    np.testing.assert_allclose(penalty, by_hand(U), rtol=1e-12)
    np.testing.assert_allclose(gradient.recurrent_kernel, differences(by_hand, U), rtol=1e-5, atol=1e-9)
    assert not np.any(gradient.kernel)
    assert not np.any(gradient.bias)


def test_a_weight_of_its_own_for_each_unit_has_a_gradient_too(x64):
    cell = rnnjax.indrnn(H, "tanh")
    params, inputs = random_params(cell), random_inputs()
    hidden = np.asarray(rnnjax.unroll(cell, params, inputs)[1])
    adjoints = np.asarray(total_gradients(cell, params, inputs).hidden)

    def by_hand(weight):
        return omega((1 - hidden**2)[..., :, None] * np.diag(weight), adjoints)

    penalty, gradient = value_and_gradient(cell, params, inputs)
    np.testing.assert_allclose(penalty, by_hand(np.asarray(params.recurrent_weight)), rtol=1e-12)
    expected = differences(by_hand, np.asarray(params.recurrent_weight))
    np.testing.assert_allclose(gradient.recurrent_weight, expected, rtol=1e-6, atol=1e-9)
    assert not np.any(gradient.kernel)


def test_a_bias_inside_the_recurrence_is_no_weight_of_the_state():
    cell = rnnjax.gru(H, "after")
    _, gradient = value_and_gradient(cell, random_params(cell), random_inputs())
    assert {name for name, leaf in gradient._asdict().items() if np.any(leaf)} == {"recurrent_kernel"}


def test_it_makes_no_difference_on_which_side_of_the_state_the_kernel_stands(x64):
    right = rnnjax.elman(H)
    params, inputs = random_params(right), random_inputs()

    def advance(params, state, drive):
        product = jnp.tensordot(params.recurrent_kernel, state.hidden, axes=(0, -1))
        return type(state)(jnp.tanh(drive + jnp.moveaxis(product, 0, -1)))

    check_same(right._replace(advance=advance), right, params, inputs)


def check_same(cell, expected, params, inputs):
    received = value_and_gradient(cell, params, inputs), value_and_gradient(expected, params, inputs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), *received)
    assert np.any(received[0][1].recurrent_kernel)


def test_weights_are_found_in_compiled_functions_too(x64):
    cell = rnnjax.elman(H)
    compiled = cell._replace(advance=jax.jit(cell.advance))
    check_same(compiled, cell, random_params(cell), random_inputs())


def test_a_batch_over_two_devices_gives_what_one_gives(x64):
    cell = rnnjax.gru(H)
    params, inputs = random_params(cell), random_inputs(T, 4, I)
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Explicit,), devices=jax.devices()[:2])
    spread = jax.device_put(inputs, NamedSharding(mesh, PartitionSpec(None, "batch")))
    everywhere = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    received, expected = value_and_gradient(cell, everywhere, spread), value_and_gradient(cell, params, inputs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), received, expected)


def complex_cell():
    """z_t = x_t W + z_{t-1} U, all complex: its Jacobian mixes real and imaginary parts."""

    def init(key, input_size):
        return jnp.ones((input_size, H), complex), jnp.ones((H, H), complex)

    return Cell(
        init,
        initial_state=lambda params, batch_shape=(): jnp.zeros((*batch_shape, H), complex),
        project=lambda params, inputs: inputs.astype(complex) @ params[0],
        advance=lambda params, state, drive: drive + state @ params[1],
        output=lambda params, state: jnp.concatenate([state.real, state.imag], axis=-1),
    )


@pytest.mark.parametrize(
    "make",
    [complex_cell, *(CELL_CASES[name] for name in ("gru_reset_before", "clockwork", "stack_both_skips", "repeat"))],
    ids=["complex", "gru_reset_before", "clockwork", "stack_both_skips", "repeat"],
)
def test_penalty_is_that_of_the_state_jacobians_layer_by_layer(x64, make):
    cell = make()
    params, inputs = random_params(cell), random_inputs()
    jacobians = np.asarray(jax.jit(rnnjax.state_jacobians, static_argnums=0)(cell, params, inputs))

    def vectors(state, adjoint):
        """dL/ds_t (T, B, S) of every layer, from below; JAX's is dL/dx - i dL/dy where s = x + iy."""
        if type(state) is tuple:
            return [vector for pair in zip(state, adjoint, strict=True) for vector in vectors(*pair)]
        moving = jax.tree.map(lambda s, g: jnp.conj(g) if jnp.issubdtype(s.dtype, jnp.inexact) else s, state, adjoint)
        return [np.asarray(flat(moving, 2))]

    expected, start = 0.0, 0
    for vector in vectors(cell.initial_state(params, (B,)), total_gradients(cell, params, inputs)):
        block = slice(start, start + vector.shape[-1])
        expected += omega(jacobians[..., block, block], vector)
        start = block.stop
    assert start == jacobians.shape[-1]
    np.testing.assert_allclose(value(cell, params, inputs), expected, rtol=1e-10)


def test_orthogonal_linear_network_has_no_penalty(x64):
    cell, params = linear(random_orthogonal(H))
    penalty, gradient = value_and_gradient(cell, params, random_inputs())
    assert penalty < 1e-25
    assert np.abs(gradient.recurrent_kernel).max() < 1e-12


def test_padding_does_not_count(x64):
    """Sequences of 5 and 3 steps: the mean over 4 + 2 steps of each alone."""
    cell = rnnjax.gru(H)
    params, inputs = random_params(cell), random_inputs(T, 2, I)
    mask = rnnjax.length_mask(jnp.array([5, 3]), T)
    padded = jnp.where(mask[..., None], inputs, jnp.nan)
    whole = value(cell, params, padded, lambda y: jnp.sum(jnp.sin(y[-1, 0])) + jnp.sum(jnp.sin(y[2, 1])), mask=mask)
    first, second = (value(cell, params, alone, last) for alone in (inputs[:, :1], inputs[:3, 1:]))
    np.testing.assert_allclose(whole, (4 * first + 2 * second) / 6, rtol=1e-12)


def last(outputs):
    return jnp.sum(jnp.sin(outputs[-1]))


def test_steps_that_start_afresh_do_not_count(x64):
    """Two sequences of three steps in one."""
    cell = rnnjax.gru(H)
    params, inputs = random_params(cell), random_inputs(6, B, I)
    reset = jnp.zeros((6, B), bool).at[3].set(True)
    whole = value(cell, params, inputs, lambda y: last(y[:3]) + last(y), reset=reset)
    halves = [value(cell, params, half, last) for half in (inputs[:3], inputs[3:])]
    np.testing.assert_allclose(whole, sum(halves) / 2, rtol=1e-12)


def test_steps_without_a_gradient_do_not_count_and_do_no_harm():
    """After the loss there is no gradient; before it, one whose square float32 does not hold."""
    cell = rnnjax.elman(H)
    params, inputs = random_params(cell), random_inputs()

    @jax.jit
    def penalty(scale):
        return jax.value_and_grad(
            lambda params: gradient_preserving_penalty(cell, params, inputs, lambda y: scale * jnp.sum(y[2]))
        )(params)

    expected, _ = value_and_gradient(cell, params, inputs[:3], lambda y: jnp.sum(y[-1]))
    (plain, of_plain), (tiny, of_tiny), (nothing, of_nothing) = map(penalty, (1.0, 1e-25, 0.0))
    np.testing.assert_allclose([plain, tiny], expected, rtol=1e-5)
    assert np.isfinite(of_plain.recurrent_kernel).all()
    np.testing.assert_allclose(of_tiny.recurrent_kernel, of_plain.recurrent_kernel, rtol=1e-3, atol=1e-5)
    assert nothing == 0
    assert not np.any(of_nothing.recurrent_kernel)


def test_nothing_but_the_cells_weights_has_a_gradient_even_if_the_loss_is_made_of_more():
    cell = rnnjax.elman(H)
    params, inputs, readout = random_params(cell), random_inputs(), random_inputs(H, 2)

    def penalty(inputs, readout):
        return gradient_preserving_penalty(cell, params, inputs, lambda y: jnp.sum((y[-1] @ readout) ** 2))

    assert not any(np.any(leaf) for leaf in jax.jit(jax.grad(penalty, (0, 1)))(inputs, readout))


def test_layers_without_a_memory_do_not_count(x64):
    """What ``layer_norm`` puts on top of a cell has no recurrence: its Jacobian is 0, at every step."""
    cell, inner = rnnjax.layer_norm(rnnjax.elman(H)), rnnjax.elman(H)
    params, inputs = random_params(cell), random_inputs()

    def normalized(outputs):
        deviations = outputs - outputs.mean(axis=-1, keepdims=True)
        return deviations / jnp.sqrt((deviations**2).mean(axis=-1, keepdims=True) + 1e-5)

    whole = value(cell, params, inputs)
    scale, bias = (leaf[None, None] for leaf in params.norm)
    alone = value(inner, params.cell, inputs, lambda y: loss(scale * normalized(y) + bias))
    np.testing.assert_allclose(whole, alone, rtol=1e-10)


def test_descending_on_the_penalty_makes_a_vanishing_gradient_last():
    cell = rnnjax.elman(H)
    params, inputs = jax.tree.map(lambda leaf: 0.3 * leaf, random_params(cell)), random_inputs(20, B, I)

    @jax.jit
    def descend(params):
        def step(params, _):
            penalty, gradient = jax.value_and_grad(lambda p: gradient_preserving_penalty(cell, p, inputs, last))(params)
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), penalty

        return jax.lax.scan(step, params, length=200)

    @jax.jit
    def kept(params):
        norms = rnnjax.gradient_flow(cell, params, inputs, last).state.hidden
        return norms[0] / norms[-1]

    after, penalties = descend(params)
    assert penalties[-1] < penalties[0] / 10
    assert kept(params) < 1e-6
    assert kept(after) > 0.1


def test_a_loss_that_is_no_scalar_is_refused():
    cell = rnnjax.elman(H)
    parts = ["loss returned shape (5, 2, 4)", "expected a scalar", "take its sum or mean"]
    check(ValueError, parts, lambda: gradient_preserving_penalty(cell, random_params(cell), random_inputs(), jnp.sin))


def test_a_cell_with_a_backward_pass_of_its_own_is_refused():
    cell = rnnjax.mixed_precision(rnnjax.elman(H))
    parts = ["gradient_preserving_penalty", "jax.custom_vjp", "pass the cell without it"]
    check(TypeError, parts, lambda: gradient_preserving_penalty(cell, random_params(cell), random_inputs(), loss))


# Flossing


def test_flossing_of_a_diagonal_map_has_the_closed_forms_value_and_gradient(x64):
    """lambda_i = ln |w_i|, so that the penalty's derivative is 2 ln |w_i| / w_i."""
    weights = np.array([1.5, -0.5, 0.1])
    cell, params = linear(np.diag(weights))
    inputs = jnp.zeros((42, 2, I))

    def penalty(diagonal):
        kernel = params._replace(recurrent_kernel=jnp.diag(diagonal))
        return gradient_flossing_penalty(cell, kernel, inputs, count=2, warm_up=40)

    found, gradient = jax.jit(jax.value_and_grad(penalty))(weights)
    np.testing.assert_allclose(found, np.sum(np.log(np.abs(weights[:2])) ** 2), rtol=1e-10)
    np.testing.assert_allclose(gradient[:2], 2 * np.log(np.abs(weights[:2])) / weights[:2], rtol=1e-8)
    assert abs(gradient[2]) < 1e-10


def test_flossing_is_the_sum_over_exponents_and_the_authors_program_has_a_k_th_of_it(x64):
    """The exponents by a loop of QR decompositions that begins in directions of its own: 300 steps forget them."""
    cell = rnnjax.elman(H)
    params, inputs = random_params(cell), random_inputs(500, 1, I)
    kernel, U, bias = map(np.asarray, params)
    hidden, basis, logs = np.zeros(H), np.eye(H)[:, :3], []
    for x in np.asarray(inputs)[:, 0]:
        hidden = np.tanh(x @ kernel + hidden @ U + bias)
        basis, triangle = np.linalg.qr((1 - hidden**2)[:, None] * (U.T @ basis))
        logs.append(np.log(np.abs(np.diag(triangle))))
    mean = np.mean(np.mean(logs[300:], axis=0) ** 2)
    penalty = jax.jit(lambda x: gradient_flossing_penalty(cell, params, x, count=3, warm_up=300))(inputs)
    np.testing.assert_allclose(penalty, 3 * mean, rtol=1e-8)


def test_the_gradient_of_flossing_is_that_of_finite_differences(x64):
    cell = rnnjax.lstm(H)
    params, direction, inputs = random_params(cell), random_params(cell, seed=10), random_inputs(12, B, I)

    def along(step):
        moved = jax.tree.map(lambda p, d: p + step * d, params, direction)
        return gradient_flossing_penalty(cell, moved, inputs, count=2)

    value_at = jax.jit(along)
    expected = (value_at(1e-6) - value_at(-1e-6)) / 2e-6
    np.testing.assert_allclose(jax.jit(jax.grad(along))(0.0), expected, rtol=1e-5)


def test_flossing_descends_on_the_squared_exponents_until_they_are_zero_in_single_precision():
    cell = rnnjax.elman(H)
    params, inputs = jax.tree.map(lambda leaf: 0.5 * leaf, random_params(cell)), random_inputs(40, B, I)

    @jax.jit
    def descend(params):
        def step(params, _):
            penalty, gradient = jax.value_and_grad(lambda p: gradient_flossing_penalty(cell, p, inputs, count=2))(
                params
            )
            return jax.tree.map(lambda p, g: p - 0.05 * g, params, gradient), penalty

        return jax.lax.scan(step, params, length=100)

    @jax.jit
    def exponents(params):
        return rnnjax.lyapunov_spectrum(cell, params, inputs, count=2, blocks=2).exponents

    after, penalties = descend(params)
    first, last = exponents(params), exponents(after)
    assert first.shape == (B, 2)
    np.testing.assert_allclose(penalties[0], np.mean(np.sum(np.square(first), axis=1)), rtol=1e-5)
    assert np.abs(first).min() > 0.2
    assert np.abs(last).max() < 0.05
