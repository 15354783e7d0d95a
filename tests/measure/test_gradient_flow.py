"""``gradient_flow``: against brute force for every cell, and against answers known exactly."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.cells.elman import ElmanParams
from rnnjax.engine.norms import is_inexact
from rnnjax.engine.wiring import layers_of
from tests.cases import CELL_CASES, B, H, I, T, flow_of, random_inputs, random_params, unrolled

EVERY_STEP, LAST_STEP = np.ones(T), np.eye(T)[-1]
MASKS = {"left_packed": np.arange(T)[:, None] < np.array([T, 3]), "with_a_gap": np.eye(T, B, -1) < 0.5}


def weighted_loss(weights):
    """Sum over steps of weights_t |sin y_t|^2: which steps the loss reads is data, nothing to compile again."""
    return lambda outputs: jnp.sum(weights.reshape(T, *[1] * (outputs.ndim - 1)) * jnp.sin(outputs) ** 2)


def step_with_epsilon(cell, params, state, inputs, epsilon):
    """One step, epsilon added to the state before anything reads it: in a stack, before the layer above does."""
    if cell.wiring is None:
        state, _ = cell.step(params, state, inputs)
        state = jax.tree.map(lambda leaf, e: leaf + e if is_inexact(leaf) else leaf, state, epsilon)
        return state, cell.output(params, state)
    states, outputs = [], []
    for (layer, layer_params), old, added in zip(layers_of(cell.wiring, params), state, epsilon, strict=True):
        layer_inputs = cell.wiring.feed(inputs, outputs[-1] if outputs else None)
        new_state, output = step_with_epsilon(layer, layer_params, old, layer_inputs, added)
        states.append(new_state)
        outputs.append(output)
    return tuple(states), cell.wiring.combine(outputs)


def where_real(real, one, other):
    return jnp.where(real.reshape(*real.shape, *[1] * (one.ndim - real.ndim)), one, other)


def step_and_back(cell, params, state, inputs, real, d_state, d_output):
    """One step, and what the gradients by its state and output are by its params, the state before, and epsilon."""

    def step(params, shift, epsilon):
        old = jax.tree.map(lambda leaf, e: leaf + e if is_inexact(leaf) else leaf, state, shift)
        moved, output = step_with_epsilon(cell, params, old, inputs, epsilon)
        new = jax.tree.map(partial(where_real, real), moved, old)
        differentiable = jax.tree.map(lambda leaf, e: leaf if is_inexact(leaf) else e, new, shift)
        return (differentiable, where_real(real, output, jnp.zeros_like(output))), new

    zeros = jax.tree.map(jnp.zeros_like, d_state)
    (_, output), pull_back, new = jax.vjp(step, params, zeros, zeros, has_aux=True)
    return new, output, pull_back((d_state, d_output))


@jax.jit
def loss_and_gradient(outputs, weights):
    return jax.value_and_grad(weighted_loss(weights))(outputs)


def brute_force(cell, params, inputs):
    """The loss, dL/d epsilon_t, and the gradients by a copy of the params for each step, one step after the other.

    What is compiled, of one step alone, serves all weights and masks.
    """
    start = cell.initial_state(params, inputs.shape[1:-1])
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype if is_inexact(leaf) else float), start)
    silent = np.zeros(jax.eval_shape(cell.output, params, start).shape)
    step = jax.jit(partial(step_and_back, cell, params))

    def gradients(weights, mask):
        states, outputs, adjoints, contributions = [start], [], [None] * T, [None] * T
        for t in range(T):
            new, output, _ = step(states[t], inputs[t], mask[t], zeros, silent)
            states.append(new)
            outputs.append(output)
        loss, d_outputs = loss_and_gradient(np.stack(outputs), weights)
        carried = zeros
        for t in reversed(range(T)):
            _, _, pulled_back = step(states[t], inputs[t], mask[t], carried, d_outputs[t])
            contributions[t], carried, adjoints[t] = pulled_back
        return loss, *(jax.tree.map(lambda *leaves: np.stack(leaves), *trees) for trees in (adjoints, contributions))

    return gradients


def norm_over(tree, first_axis):
    def norm(leaf):
        leaf = np.asarray(leaf)
        return np.sqrt((np.abs(leaf) ** 2).sum(axis=tuple(range(first_axis, leaf.ndim))))

    return jax.tree.map(norm, tree)


def assert_trees_close(received, expected, rtol=1e-10):
    assert jax.tree.structure(received) == jax.tree.structure(expected)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=rtol, atol=1e-14), received, expected)


def check_against_brute_force(cell, batch_shape, masks):
    params, inputs = random_params(cell), random_inputs(T, *batch_shape, I)
    flow_of = jax.jit(
        lambda weights, mask: rnnjax.gradient_flow(cell, params, inputs, weighted_loss(weights), mask=mask)
    )
    expected_of = brute_force(cell, params, inputs)
    for mask in masks:
        for weights in (EVERY_STEP, LAST_STEP):
            flow = flow_of(weights, mask)
            everywhere = np.ones((T, *batch_shape), bool)
            loss, adjoints, contributions = expected_of(weights, everywhere if mask is None else mask)
            np.testing.assert_allclose(flow.loss, loss, rtol=1e-12)
            assert_trees_close(flow.state, norm_over(adjoints, 1))
            assert_trees_close(flow.examples, norm_over(adjoints, 1 + len(batch_shape)))
            # Of repeated layers each has its own curve, (layers, T).
            by_layer = jax.tree.map(
                lambda norms, leaf: np.moveaxis(norm_over(leaf, norms.ndim), 0, -1), flow.parameters, contributions
            )
            assert_trees_close(flow.parameters, by_layer)


# Against brute force


def test_flow_of_every_cell_equals_brute_force(x64, cell):
    check_against_brute_force(cell, (B,), masks=[None])


@pytest.mark.parametrize("name", ["peephole_lstm", "own_cell", "stack_both_skips"])
def test_flow_with_a_mask_equals_brute_force(x64, name):
    check_against_brute_force(CELL_CASES[name](), (B,), masks=list(MASKS.values()))


@pytest.mark.parametrize("batch_shape", [(), (2, 3)])
@pytest.mark.parametrize("name", ["gru_reset_after", "own_cell", "learned_initial_state_of_stack"])
def test_flow_with_any_batch_axes_equals_brute_force(x64, name, batch_shape):
    check_against_brute_force(CELL_CASES[name](), batch_shape, masks=[None])


def readout():
    """The output has params of its own, and the state is other than 0 even where all that enters it is 0."""

    def init(key, input_size):
        return {"kernel": jnp.ones((input_size, H)), "readout": jnp.ones((H, H))}

    return rnnjax.Cell(
        init,
        initial_state=lambda params, batch_shape=(): jnp.zeros((*batch_shape, H)),
        project=lambda params, inputs: inputs @ params["kernel"] + 1,
        advance=lambda params, state, drive: jnp.tanh(0.5 * state + drive),
        output=lambda params, state: state @ params["readout"],
    )


@pytest.mark.parametrize("make", [CELL_CASES["stack"], readout])
def test_padding_has_no_gradient_and_adds_nothing_to_that_of_the_params(make):
    cell = make()
    mask = MASKS["left_packed"] & (np.arange(T) < T - 1)[:, None]
    params, inputs = random_params(cell), random_inputs()
    flow = jax.tree.map(np.asarray, flow_of(cell, params, inputs, jnp.sum, mask=mask))
    for leaf in jax.tree.leaves(flow.examples):
        assert (leaf[~mask] == 0).all()
    for leaf in jax.tree.leaves(flow.parameters):
        assert leaf[T - 1] == 0
        assert (leaf[1 : T - 1] > 0).all()


@pytest.mark.slow
def test_flow_under_vmap_over_params_equals_one_by_one():
    cell, inputs = CELL_CASES["stack"](), random_inputs()
    several = [random_params(cell, seed) for seed in range(2)]

    @jax.jit
    def flow_of(params):
        return rnnjax.gradient_flow(cell, params, inputs, jnp.sum)

    together = jax.jit(jax.vmap(flow_of))(jax.tree.map(lambda *p: jnp.stack(p), *several))
    for index, params in enumerate(several):
        mine = jax.tree.map(lambda leaf, index=index: leaf[index], together)
        assert_trees_close(mine, flow_of(params), rtol=2e-5)


def test_given_state_is_where_the_flow_is_measured(x64):
    cell = rnnjax.gru(H)
    params, inputs = random_params(cell), random_inputs()
    middle, _ = unrolled(cell, params, inputs)
    flow_of = jax.jit(lambda x, state: rnnjax.gradient_flow(cell, params, x, lambda y: jnp.sum(y[-1]), state))
    late, whole = flow_of(inputs, middle), flow_of(jnp.concatenate([inputs, inputs]), None)
    assert_trees_close(late.state, jax.tree.map(lambda leaf: leaf[T:], whole.state))
    assert_trees_close(late.parameters, jax.tree.map(lambda leaf: leaf[T:], whole.parameters))


# The traps


def test_gradient_by_returned_states_misses_all_but_the_last_step_and_the_flow_does_not(x64):
    cell = rnnjax.elman(H)
    params, inputs = random_params(cell), random_inputs()

    def loss(outputs):
        return jnp.sum(outputs[-1] ** 2)

    _, returned = unrolled(cell, params, inputs)
    direct_term = norm_over(jax.grad(loss)(returned), 1)
    total = flow_of(cell, params, inputs, loss).state.hidden
    assert (direct_term[:-1] == 0).all()
    assert (total > 1e-3).all()
    np.testing.assert_allclose(direct_term[-1], total[-1], rtol=1e-12)


def test_products_of_jacobians_that_do_not_commute_stand_in_the_right_order(x64):
    cell = rnnjax.elman(H)
    params, inputs = random_params(cell), 2 * random_inputs(T, I)
    final_gradient = np.array([1.0, -2.0, 0.5, 3.0])
    flow = flow_of(cell, params, inputs, lambda y: y[-1] @ final_gradient)

    _, hiddens = unrolled(cell, params, inputs)
    U = np.asarray(params.recurrent_kernel)
    # dh_t/dh_{t-1}, row a the derivative of component a: h_t = tanh(... + h_{t-1} U).
    jacobians = [np.diag(1 - np.asarray(h) ** 2) @ U.T for h in hiddens]
    assert np.abs(jacobians[1] @ jacobians[2] - jacobians[2] @ jacobians[1]).max() > 0.1
    for t in range(T):
        whole = np.eye(H)
        for later in range(T - 1, t, -1):
            whole = whole @ jacobians[later]  # dh_T/dh_t = J_T J_{T-1} ... J_{t+1}
        np.testing.assert_allclose(flow.state.hidden[t], np.linalg.norm(final_gradient @ whole), rtol=1e-12)


def scaled_identity_network(scale, steps):
    """h_t = x_t + scale h_{t-1}: dL/dh_t = scale^(T - t) dL/dh_T."""
    cell = rnnjax.elman(H, "identity", recurrent_init=rnnjax.initializers.identity(scale))
    params = cell.init(jax.random.key(0), H)._replace(kernel=jnp.eye(H))
    return flow_of(cell, params, jnp.ones((steps, H)), lambda y: jnp.sum(y[-1]))


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_norms_in_single_precision_survive_where_their_squares_do_not(scale):
    flow = scaled_identity_network(scale, 31)
    lags = np.arange(31)[::-1]
    expected = 2 * scale ** lags.astype(float)  # the norm of (1, 1, 1, 1), times the factor
    assert expected.min() < 1e-29 or expected.max() > 1e29
    np.testing.assert_allclose(flow.state.hidden, expected, rtol=1e-5)
    np.testing.assert_allclose(flow.parameters.bias, expected, rtol=1e-5)
    np.testing.assert_allclose(flow.parameters.kernel, 2 * expected, rtol=1e-5)  # the outer product with x = 1


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_contributions_of_tiny_and_huge_inputs_survive_where_their_squares_do_not(scale):
    cell = rnnjax.elman(H, "identity", recurrent_init=jax.nn.initializers.zeros)
    params = cell.init(jax.random.key(0), I)
    flow = flow_of(cell, params, jnp.full((T, I), scale), jnp.sum)
    np.testing.assert_allclose(flow.parameters.kernel, math.sqrt(I * H) * scale, rtol=1e-6)


# Exact answers


def test_linear_network_with_orthogonal_weights_keeps_its_norms_over_a_thousand_steps(x64):
    cell = rnnjax.elman(8, "identity")
    params, inputs = cell.init(jax.random.key(0), I), random_inputs(1000, B, I)
    flow = flow_of(cell, params, inputs, lambda y: jnp.sum(jnp.sin(y[-1])))
    np.testing.assert_allclose(flow.state.hidden, flow.state.hidden[-1], rtol=1e-12)


@pytest.mark.parametrize(("activation", "gamma"), [("tanh", 1), ("sigmoid", 1 / 4)])
@pytest.mark.parametrize("gain", [0.7, 1.5])
def test_norms_stay_under_the_bound_of_the_largest_singular_value(x64, activation, gamma, gain):
    cell = rnnjax.elman(H, activation)
    params, inputs = random_params(cell), random_inputs(12, B, I)
    U = gain * params.recurrent_kernel
    flow = flow_of(cell, params._replace(recurrent_kernel=U), inputs, lambda y: jnp.sum(y[-1] * jnp.cos(y[-1])))
    lags = np.arange(12)[::-1]
    bound = (gamma * np.linalg.svd(U, compute_uv=False)[0]) ** lags * flow.state.hidden[-1]
    assert (flow.state.hidden[:-1] < bound[:-1]).all()


def test_the_bound_is_reached_by_a_linear_network_along_the_largest_singular_vector(x64):
    # A normal matrix: its powers stretch by the same singular value again and again.
    U = np.diag([1.3, 0.5, 0.2, 0.1])
    cell = rnnjax.elman(H, "identity")
    params = random_params(cell)._replace(recurrent_kernel=jnp.asarray(U))
    flow = flow_of(cell, params, random_inputs(T, I), lambda y: y[-1, 0])
    np.testing.assert_allclose(flow.state.hidden, 1.3 ** np.arange(T)[::-1], rtol=1e-12)


def test_memory_of_an_lstm_without_recurrent_weights_flows_by_the_product_of_its_forget_gates(x64):
    cell = rnnjax.lstm(H)
    params, inputs = random_params(cell), random_inputs(T, I)
    params = params._replace(recurrent_kernel=jnp.zeros_like(params.recurrent_kernel))
    zeros = rnnjax.lstm(H).initial_state(params, (T,))

    def last_memory(perturbation):
        return rnnjax.unroll(cell, params, inputs, perturbation=perturbation)[0].cell

    jacobian = jax.jit(jax.jacrev(last_memory))(zeros).cell  # (H, T, H)
    forget = jax.nn.sigmoid(inputs @ params.kernel + params.bias[None])[:, H : 2 * H]
    for t in range(T):
        np.testing.assert_allclose(jacobian[:, t], np.diag(np.prod(forget[t + 1 :], axis=0)), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("forget_bias", "half_life"), [(0, 1.00), (1, 2.21), (2, 5.46), (3, 14.3), (5, 103)])
def test_half_life_of_an_lstms_memory_at_its_forget_bias(x64, forget_bias, half_life):
    cell = rnnjax.lstm(H, forget_bias=forget_bias, recurrent_init=jax.nn.initializers.zeros)
    params = cell.init(jax.random.key(0), I)
    flow = flow_of(cell, params, jnp.zeros((40, I)), lambda y: jnp.sum(y[-1]))
    # dL/dc_T is 0 with h_T held fixed: the last step's memory is read through h_T alone.
    assert flow.state.cell[-1] == 0
    measured = rnnjax.decay(flow.state.cell[:-1])
    assert f"{measured.asymptotic_half_life:.3g}" == f"{half_life:.3g}"
    np.testing.assert_allclose(
        measured.asymptotic_half_life, math.log(2) / math.log1p(math.exp(-forget_bias)), rtol=1e-9
    )
    np.testing.assert_allclose(measured.r_squared, 1, rtol=1e-12)


@pytest.mark.parametrize("reset", ["before", "after"])
def test_state_jacobian_of_a_gru_at_rest_is_half_the_identity_and_a_quarter_of_the_weights(x64, reset):
    cell = rnnjax.gru(H, reset)
    params = cell.init(jax.random.key(0), I)
    rest = cell.initial_state(params, ())
    jacobian = jax.jit(jax.jacrev(lambda s: cell.step(params, s, jnp.zeros(I))[0]))(rest).hidden.hidden
    candidate = params.recurrent_kernel[:, 2 * H :]
    np.testing.assert_allclose(jacobian, np.eye(H) / 2 + candidate.T / 4, rtol=1e-12, atol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize(("gain", "slope"), [(0.9, -0.357), (1.2, -0.151), (1.5, -0.023)])
def test_driven_wide_tanh_network_decays_at_the_mean_field_rate(gain, slope):
    # The prediction is ln(chi)/2, chi = gain^2 E[tanh'(z)^2], for lags up to about sqrt(width).
    width, steps, lags, seeds = 512, 60, 23, 3
    cell = rnnjax.elman(width, recurrent_init=jax.nn.initializers.normal(gain / math.sqrt(width)))

    @jax.jit
    def log_norms(seed):
        weight_key, drive_key, readout_key = jax.random.split(jax.random.key(seed), 3)
        params = cell.init(weight_key, width)._replace(kernel=jnp.eye(width))
        drive = 0.5 * jax.random.normal(drive_key, (steps, 8, width))
        readout = jax.random.normal(readout_key, (8, width))
        flow = rnnjax.gradient_flow(cell, params, drive, lambda y: jnp.sum(y[-1] * readout))
        return jnp.log(flow.state.hidden[::-1][:lags])

    curve = np.mean([log_norms(seed) for seed in range(seeds)], axis=0)
    fitted = np.polyfit(np.arange(lags), curve, 1)[0]
    assert abs(fitted - slope) < 0.015


def test_the_hidden_state_alone_understates_the_flow_in_an_lstm(x64):
    """Without recurrent weights nothing flows on through h, all of it through c."""
    cell = rnnjax.lstm(H, forget_bias=5.0)
    params = random_params(cell)
    params = params._replace(recurrent_kernel=jnp.zeros_like(params.recurrent_kernel))
    flow = flow_of(cell, params, random_inputs(20, B, I), lambda outputs: jnp.sum(outputs[-1]))
    assert (flow.state.hidden[:-1] == 0).all()
    assert (flow.state.cell[:-1] > 1e-6).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "factors"),
    [
        ("sigmoid", (0.141, 0.236, 0.318)),
        ("relu", (0.408, 0.707, 1.00)),
        ("tanh", (0.577, 0.98, 1.05)),
        ("elu", (0.577, 0.96, 1.08)),
    ],
)
def test_gradient_through_19_layers_shrinks_by_the_predicted_factor_per_layer(activation, factors):
    """A stack of Elman layers over one time step is a fully connected net; weight variances 1/3n, 1/n, 2/n."""
    width = 512
    cell = rnnjax.repeat(rnnjax.elman(width, activation), 19)
    random = np.random.default_rng(0)
    inputs, direction = jnp.float32(random.normal(size=(1, 64, width))), jnp.float32(random.normal(size=(64, width)))

    @jax.jit
    def norms(params):
        flow = rnnjax.gradient_flow(cell, params, inputs, lambda y: jnp.sum(y[-1] * direction))
        return jnp.stack([layer.hidden[0] for layer in flow.state])

    draws = [random.standard_normal((19, width, width), np.float32) / np.sqrt(width) for _ in range(4)]
    recurrent, bias = jnp.zeros((19, width, width)), jnp.zeros((19, width))  # there is no step before
    for scale, factor in zip((1 / 3, 1, 2), factors, strict=True):
        networks = [ElmanParams(jnp.asarray(np.sqrt(scale) * kernels), recurrent, bias) for kernels in draws]
        logs = np.mean([np.log(norms(network)) for network in networks], axis=0)
        # Away from the input, whose distribution the layers first make their own.
        per_layer = np.exp((logs[4] - logs[-1]) / (len(logs) - 5))
        assert abs(per_layer - factor) < 0.03 * factor + 0.005, (scale, per_layer)
