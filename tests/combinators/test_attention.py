"""Attention, against loops in NumPy, with gradients into the memory against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.origin import traced_arrays
from tests.cases import B, H, I, T, flow_of, random_inputs, random_params, unrolled
from tests.test_errors import check

S, E = 4, 2
CELL = rnnjax.stack(rnnjax.elman(H), rnnjax.lstm(H))
KINDS = {"additive": rnnjax.additive_attention, "multiplicative": rnnjax.multiplicative_attention}
MASK = np.array([[True, False], [True, True], [False, True], [True, False]])


def memory(*shape):
    return random_inputs(*(shape or (S, B, E)), seed=5)


def inputs():
    return random_inputs(T, B, I)


def params(kind):
    return random_params(KINDS[kind](CELL, jnp.zeros((1, E))), input_size=I)


def softmax(scores, seen):
    shares = np.where(seen, np.exp(scores), 0)
    return shares / shares.sum()


def additive_loop(weights, known, seen, x):
    """Bahdanau et al. (2015), step by step and example by example: outputs (T, B, O) and where it looks (T, B, S)."""
    outputs, looks = np.zeros((T, B, H)), np.zeros((T, B, S))
    step = jax.jit(CELL.step)
    for b in range(B):
        state = CELL.initial_state(weights.cell, ())
        for t in range(T):
            query = np.asarray(CELL.output(weights.cell, state)) @ weights.query_kernel
            scores = [np.tanh(query + known[j, b] @ weights.memory_kernel) @ weights.score_kernel for j in range(S)]
            looks[t, b] = softmax(np.array(scores), seen[:, b])
            context = sum(looks[t, b, j] * known[j, b] for j in range(S))
            state, outputs[t, b] = step(weights.cell, state, jnp.concatenate([x[t, b], context]))
    return outputs, looks


def multiplicative_loop(weights, known, seen, x):
    """Luong et al. (2015) likewise."""
    outputs, looks = np.zeros((T, B, H)), np.zeros((T, B, S))
    step = jax.jit(CELL.step)
    for b in range(B):
        state = CELL.initial_state(weights.cell, ())
        for t in range(T):
            state, hidden = step(weights.cell, state, x[t, b])
            scores = [hidden @ weights.score_kernel @ known[j, b] for j in range(S)]
            looks[t, b] = softmax(np.array(scores), seen[:, b])
            context = sum(looks[t, b, j] * known[j, b] for j in range(S))
            outputs[t, b] = np.tanh(np.concatenate([context, hidden]) @ weights.output_kernel)
    return outputs, looks


LOOPS = {"additive": additive_loop, "multiplicative": multiplicative_loop}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_weights_are_those_of_the_papers_equations(x64, kind, masked):
    known, x, weights = memory(), inputs(), params(kind)
    mask = jnp.asarray(MASK) if masked else None
    expected, looks = LOOPS[kind](weights, np.asarray(known), MASK if masked else np.ones((S, B), bool), np.asarray(x))
    cell = KINDS[kind](CELL, known, mask)
    _, outputs = unrolled(cell, weights, x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-12, atol=1e-14)
    if kind == "additive":
        before = jnp.concatenate([cell.output(weights, cell.initial_state(weights, (B,)))[None], outputs[:-1]])
        found = rnnjax.additive_weights(weights, before, known, mask)
    else:
        _, hidden = unrolled(CELL, weights.cell, x)
        found = rnnjax.multiplicative_weights(weights, hidden, known, mask)
    np.testing.assert_allclose(found, looks, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_memory_and_the_params_as_differences_say(x64, kind):
    weights, x = params(kind), inputs()

    @jax.jit
    def loss(known, weights):
        return jnp.sum(jnp.sin(rnnjax.unroll(KINDS[kind](CELL, known, jnp.asarray(MASK)), weights, x)[1]))

    slopes = jax.jit(jax.grad(loss, (0, 1)))(memory(), weights)
    np.testing.assert_array_equal(slopes[0][~MASK], 0)  # what is not looked at
    directions = jax.tree.map(lambda leaf: random_inputs(*leaf.shape, seed=7), (memory(), weights))

    def moved(by):
        return loss(*jax.tree.map(lambda leaf, way: leaf + by * way, (memory(), weights), directions))

    slope = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(directions), strict=True))
    np.testing.assert_allclose((moved(1e-6) - moved(-1e-6)) / 2e-6, slope, rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_may_be_looked_at_nothing_is_seen_and_no_gradient_is_lost(x64, kind):
    weights, x = params(kind), inputs()
    nothing = jnp.zeros((S, B), bool)

    def outputs(known, weights):
        return rnnjax.unroll(KINDS[kind](CELL, known, nothing), weights, x)[1]

    other = memory() + 1
    np.testing.assert_array_equal(jax.jit(outputs)(memory(), weights), jax.jit(outputs)(other, weights))
    slopes = jax.jit(jax.grad(lambda *a: jnp.sum(outputs(*a)), (0, 1)))(memory(), weights)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
    np.testing.assert_array_equal(slopes[0], 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_any_batch_axes_single_steps_a_stack_and_gradient_flow_agree_with_one_example_alone(x64, kind):
    known, x = memory(S, 2, B, E), random_inputs(T, 2, B, I)

    def network(known):
        return rnnjax.stack(KINDS[kind](CELL, known), rnnjax.dense(3))

    weights = random_params(network(known), input_size=I)
    _, outputs = unrolled(network(known), weights, x)
    _, alone = unrolled(network(known[:, 1, 0]), weights, x[:, 1, 0])
    np.testing.assert_allclose(outputs[:, 1, 0], alone, rtol=1e-12)
    cell = network(known)
    state, step = cell.initial_state(weights, (2, B)), jax.jit(cell.step)
    for t in range(T):
        state, output = step(weights, state, x[t])
        np.testing.assert_allclose(output, outputs[t], rtol=1e-12)

    def loss(outputs):
        return jnp.sum(jnp.sin(outputs[-1]))

    flow = flow_of(cell, weights, x, loss)
    one = flow_of(network(known[:, 1, 0]), weights, x[:, 1, 0], loss)
    jax.tree.map(
        lambda every, single: np.testing.assert_allclose(every[:, 1, 0], single, rtol=1e-9, atol=1e-12),
        flow.examples,
        one.examples,
    )


@pytest.mark.slow
@pytest.mark.parametrize("jitted", [False, True], ids=["as it is", "jitted"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_that_makes_its_memory_is_measured_and_differentiated_through_it(x64, kind, jitted):
    """As an encoder's states are, and a learned scale of it: arrays that the cell's functions take from around them."""
    encoder, x = rnnjax.gru(E), inputs()
    weights = {"encoder": random_params(encoder, input_size=I), "decoder": params(kind), "scale": jnp.asarray(0.7)}

    def loss(unroll, weights, x):
        _, read = rnnjax.unroll(encoder, weights["encoder"], x[:S])
        cell = KINDS[kind](CELL, weights["scale"] * read)
        return jnp.sum(unroll(cell, weights["decoder"], x)[1][-1] ** 2)

    measure = rnnjax.value_grad_and_flow(loss)
    value, gradient, (flow,) = (jax.jit(measure) if jitted else measure)(weights, x)
    expected = jax.value_and_grad(lambda weights: loss(rnnjax.unroll, weights, x))(weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14), (value, gradient), expected)
    assert float(jnp.abs(gradient["encoder"].kernel).max()) > 1e-6

    def of_states(zeros):
        def unroll(cell, weights, x):
            return rnnjax.unroll(cell, weights, x, perturbation=zeros)

        return loss(unroll, weights, x)

    state = CELL.initial_state(weights["decoder"].cell, (B,))
    adjoints = jax.grad(of_states)(jax.tree.map(lambda leaf: jnp.zeros((T, *leaf.shape), leaf.dtype), state))
    norms = jax.tree.map(lambda leaf: jnp.sqrt(jnp.sum(leaf**2, axis=(1, 2))), adjoints)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14), flow.state, norms)


def test_traced_arrays_are_found_in_closures_and_nowhere_else():
    def found(scale):
        cell = rnnjax.Cell(
            init=lambda key, size: {"kernel": jnp.eye(size)},
            initial_state=lambda params, shape=(): jnp.zeros((*shape, 2)),
            project=lambda params, inputs: inputs @ params["kernel"],
            advance=lambda params, state, drive: scale * state + drive,
        )
        arrays = traced_arrays(rnnjax.stack(rnnjax.gru(3), cell))
        assert [array is scale for array in arrays] == [True]
        assert traced_arrays(rnnjax.additive_attention(rnnjax.gru(3), np.ones((2, 1, 3)))) == []
        return scale

    jax.eval_shape(found, jnp.ones(()))


@pytest.mark.slow
def test_what_cannot_be_a_memory_is_refused():
    for kind, attend in KINDS.items():
        check(TypeError, ["memory is 3", "expected an array"], lambda attend=attend: attend(CELL, 3))
        check(TypeError, ["memory is", "int32"], lambda attend=attend: attend(CELL, jnp.ones((S, B, E), jnp.int32)))
        check(ValueError, ["memory has shape (3,)"], lambda attend=attend: attend(CELL, jnp.ones(3)))
        check(ValueError, ["mask has shape (4,)"], lambda attend=attend: attend(CELL, memory(), jnp.ones(S, bool)))
        check(TypeError, ["received lstm", "expected cells"], lambda attend=attend: attend(rnnjax.lstm, memory()))
        for wrong in (memory(S, B + 1, E), memory(S, T, B, E), memory(S, T, E)):
            parts = ["memory has shape", "one memory for each example"]
            for x in (inputs(), inputs()[:, 0]):
                if wrong.shape[1:-1] != x.shape[1:-1]:
                    call = lambda attend=attend, wrong=wrong, x=x, kind=kind: rnnjax.unroll(  # noqa: E731
                        attend(CELL, wrong), params(kind), x
                    )
                    check(ValueError, parts, call)
