"""``unroll``: masks, direction, recomputation, perturbation, continuation."""

from functools import lru_cache, partial

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.cases import CELL_CASES, B, I, T, random_inputs, random_like, random_params, random_state, unrolled

pytestmark = pytest.mark.usefixtures("x64")

CASES = [("gru_reset_before", False), ("gru_reset_before", True), ("stack_of_learned_initial_states", True)]

assert_equal = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-13)


def assert_trees_equal(received, expected):
    assert jax.tree.structure(received) == jax.tree.structure(expected)
    jax.tree.map(assert_equal, received, expected)


@lru_cache
def case(name):
    """A cell and params for it, the same object each time, so that compiled functions are found again."""
    cell = CELL_CASES[name]()
    return cell, random_params(cell)


@lru_cache
def compiled(name, **options):
    """``(params, inputs, mask) -> (final state, outputs), dL/d(params, inputs)`` for L = sum of y^2 + y^3."""
    cell, _ = case(name)

    def loss(params, inputs, mask):
        result = rnnjax.unroll(cell, params, inputs, mask=mask, **options)
        return jnp.sum(result[1] ** 2 + result[1] ** 3), result

    @jax.jit
    def run(params, inputs, mask=None):
        gradients, result = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, inputs, mask)
        return result, gradients

    # As NumPy's arrays, whose parts need no compiling.
    return lambda *arguments: jax.tree.map(np.asarray, run(*arguments))


# Masks


masks = st.lists(st.booleans(), min_size=T, max_size=T).map(np.array)
fillings = st.sampled_from([0.0, -3.0, 1e6, -1e100])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "reverse"), CASES)
@hypothesis.given(mask=masks, filling=fillings)
def test_masked_sequence_equals_the_sequence_without_its_padding(name, reverse, mask, filling):
    cell, params = case(name)
    inputs = np.asarray(random_inputs(T, I))
    padded = np.where(mask[:, None], inputs, filling)
    (final, outputs), (d_params, d_inputs) = compiled(name, reverse=reverse)(params, padded, mask)

    assert (outputs[~mask] == 0).all()
    assert (d_inputs[~mask] == 0).all()
    if mask.any():
        expected, d_expected = compiled(name, reverse=reverse)(params, inputs[mask])
        assert_trees_equal((final, outputs[mask]), expected)
        assert_trees_equal((d_params, d_inputs[mask]), d_expected)
    else:
        assert_trees_equal(final, cell.initial_state(params, ()))
        assert all((leaf == 0).all() for leaf in jax.tree.leaves(d_params))


@pytest.mark.parametrize(("name", "reverse"), CASES)
@hypothesis.given(lengths=st.lists(st.integers(0, T), min_size=B, max_size=B))
def test_each_example_of_a_padded_batch_is_as_if_alone(name, reverse, lengths):
    _, params = case(name)
    inputs = np.asarray(random_inputs())
    mask = np.arange(T)[:, None] < np.array(lengths)
    (final, outputs), (d_params, d_inputs) = compiled(name, reverse=reverse)(params, inputs, mask)

    d_params_alone = jax.tree.map(np.zeros_like, params)
    for b, length in enumerate(lengths):
        if length:
            alone, d_alone = compiled(name, reverse=reverse)(params, inputs[:length, b])
            assert_trees_equal((jax.tree.map(lambda leaf, b=b: leaf[b], final), outputs[:length, b]), alone)
            assert_equal(d_inputs[:length, b], d_alone[1])
            d_params_alone = jax.tree.map(np.add, d_params_alone, d_alone[0])
    assert_trees_equal(d_params, d_params_alone)


@pytest.mark.parametrize("filling", [np.nan, np.inf])
def test_undefined_numbers_in_the_padding_do_not_matter(filling):
    name = "gru_reset_before"
    _, params = case(name)
    inputs, mask = random_inputs(T, I), np.arange(T) < 3
    padded = jnp.where(mask[:, None], inputs, filling)
    assert_trees_equal(compiled(name)(params, padded, mask), compiled(name)(params, inputs, mask))


def test_mask_of_true_everywhere_changes_nothing(typical_cell):
    cell = typical_cell
    params, inputs = random_params(cell), random_inputs()
    unroll = jax.jit(partial(rnnjax.unroll, cell))
    assert_trees_equal(unroll(params, inputs, mask=jnp.ones((T, B), bool)), unroll(params, inputs))


# Direction


def test_reverse_equals_turning_the_inputs_and_the_outputs(typical_cell):
    cell = typical_cell
    params, inputs = random_params(cell), random_inputs()
    state = random_state(cell, params)
    final, outputs = jax.jit(partial(rnnjax.unroll, cell, reverse=True))(params, inputs, state)
    expected_final, expected_outputs = jax.jit(partial(rnnjax.unroll, cell))(params, inputs[::-1], state)
    assert_trees_equal((final, outputs), (expected_final, expected_outputs[::-1]))


# Recomputation


def check_recomputation(name, remat, reverse, masked):
    _, params = case(name)
    inputs = random_inputs()
    mask = np.arange(T)[:, None] < np.array([T, 2]) if masked else None
    expected = compiled(name, reverse=reverse)(params, inputs, mask)
    assert_trees_equal(compiled(name, reverse=reverse, remat=remat)(params, inputs, mask), expected)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("remat", ["sqrt", 1, 2, T + 3])
def test_recomputation_changes_no_value_and_no_gradient(remat, reverse, masked):
    check_recomputation("gru_reset_before", remat, reverse, masked)


def test_recomputation_changes_nothing_in_a_stack():
    check_recomputation("stack_both_skips", 2, reverse=True, masked=True)


def residuals(**options):
    """How many floats the forward pass over 64 steps keeps for the backward pass."""
    cell, params = case("lstm")
    _, vjp = jax.vjp(lambda p: rnnjax.unroll(cell, p, random_inputs(64, B, I), **options)[0], params)
    return sum(leaf.size for leaf in jax.tree.leaves(vjp))


def test_recomputation_keeps_fewer_states():
    assert residuals(remat=8) < residuals() / 2


@pytest.mark.parametrize(("steps", "chunk"), [(1, 1), (2, 2), (16, 4), (60, 10), (1000, 40), (97, 10)])
def test_sqrt_takes_a_divisor_near_the_square_root_where_there_is_one(steps, chunk):
    cell, params = case("lstm")
    inputs = jnp.zeros((steps, B, I))
    root, same = (str(jax.make_jaxpr(partial(rnnjax.unroll, cell, remat=r))(params, inputs)) for r in ("sqrt", chunk))
    assert root == same


@pytest.mark.parametrize("batch", [B, 1])
def test_memory_of_recomputation_in_chunks_of_sqrt_t_grows_as_sqrt_t(batch):
    def temporary_bytes(steps, remat):
        gradient = jax.grad(lambda p, x: jnp.sum(rnnjax.unroll(cell, p, x, remat=remat)[0].hidden))
        compiled = jax.jit(gradient).lower(params, jnp.zeros((steps, batch, I))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    cell, params = case("lstm")
    for remat, power in [(None, 1.0), ("sqrt", 0.5)]:
        low, high = (temporary_bytes(steps, remat) for steps in (1024, 16384))
        assert abs(np.log(high / low) / np.log(16) - power) < 0.05


# Perturbation, given states


@pytest.mark.parametrize("reverse", [False, True])
def test_perturbation_is_added_to_the_state_inside_the_recurrence(reverse):
    cell, params = case("peephole_lstm")
    inputs, state = random_inputs(), random_state(cell, params)
    perturbation = random_like(jax.tree.map(lambda leaf: jnp.zeros((T, *leaf.shape)), state), 9)
    unroll = jax.jit(partial(rnnjax.unroll, cell, reverse=reverse))
    final, outputs = unroll(params, inputs, state, perturbation=perturbation)

    step, expected = jax.jit(cell.step), [None] * T
    for t in reversed(range(T)) if reverse else range(T):
        state, _ = step(params, state, inputs[t])
        state = jax.tree.map(lambda s, e, t=t: s + e[t], state, perturbation)
        expected[t] = state.hidden
    assert_trees_equal((final, outputs), (state, jnp.stack(expected)))


def test_zero_perturbation_changes_nothing(typical_cell):
    cell = typical_cell
    params, inputs = random_params(cell), random_inputs()
    shapes = jax.eval_shape(lambda: cell.initial_state(params, (B,)))
    zeros = jax.tree.map(lambda leaf: jnp.zeros((T, *leaf.shape), leaf.dtype), shapes)
    unroll = jax.jit(partial(rnnjax.unroll, cell))
    assert_trees_equal(unroll(params, inputs, perturbation=zeros), unroll(params, inputs))


def test_two_halves_equal_the_whole(typical_cell):
    cell = typical_cell
    params, inputs = random_params(cell), random_inputs(6, B, I)
    unroll = jax.jit(partial(rnnjax.unroll, cell))
    start = random_state(cell, params)
    middle, first = unroll(params, inputs[:3], start)
    final, second = unroll(params, inputs[3:], middle)
    assert_trees_equal((final, jnp.concatenate([first, second])), unroll(params, inputs, start))


def test_a_single_step_is_a_sequence():
    cell, params = case("stack")
    inputs, start = random_inputs(1, B, I), random_state(*case("stack"))
    final, outputs = unrolled(cell, params, inputs, start)
    assert_trees_equal((final, outputs[0]), jax.jit(cell.step)(params, start, inputs[0]))


def test_batch_first_is_time_first_with_the_axes_exchanged():
    cell, params = case("stack_of_learned_initial_states")
    inputs, state = random_inputs(T, 2, 3, I), random_state(cell, params, (2, 3))
    mask = np.random.default_rng(0).random((T, 2, 3)) < 0.7
    reset = np.random.default_rng(1).random((T, 2, 3)) < 0.3
    final, outputs = rnnjax.unroll(cell, params, inputs, state, mask=mask, reset=reset, reverse=True)
    first = jnp.moveaxis(inputs, 0, 2), state
    where = {"mask": np.moveaxis(mask, 0, 2), "reset": np.moveaxis(reset, 0, 2)}
    its_final, its_outputs = rnnjax.unroll(cell, params, *first, **where, reverse=True, time_major=False)
    assert_trees_equal(its_final, final)
    assert_equal(its_outputs, jnp.moveaxis(outputs, 0, 2))


def test_batch_first_without_a_batch_is_a_sequence():
    cell, params = case("gru_reset_before")
    inputs = random_inputs(T, I)
    assert_trees_equal(*(rnnjax.unroll(cell, params, inputs, time_major=major) for major in (True, False)))


def test_batch_first_wants_masks_of_its_own_order():
    cell, params = case("gru_reset_before")
    with pytest.raises(ValueError, match=r"mask has shape \(5, 2\): expected \(2, 5\)"):
        rnnjax.unroll(cell, params, random_inputs(B, T, I), mask=np.ones((T, B), bool), time_major=False)
    with pytest.raises(TypeError, match="time_major is 'no'"):
        rnnjax.unroll(cell, params, random_inputs(B, T, I), time_major="no")


@pytest.mark.slow
@pytest.mark.parametrize(
    "way",
    [
        lambda cell, p, xs: rnnjax.unroll(cell, p, xs),
        lambda cell, p, xs: jax.grad(lambda p: jnp.sum(rnnjax.unroll(cell, p, xs)[1]))(p),
        lambda cell, p, xs: jax.grad(lambda p: jnp.sum(rnnjax.unroll(cell, p, xs, remat=2)[1]))(p),
        lambda cell, p, xs: rnnjax.gradient_flow(cell, p, xs, jnp.sum),
        lambda cell, p, xs: rnnjax.value_grad_and_flow(lambda unroll, p: jnp.sum(unroll(cell, p, xs)[1]))(p),
    ],
    ids=["unroll", "grad", "remat", "gradient_flow", "value_grad_and_flow"],
)
@pytest.mark.parametrize("jit", [False, True])
def test_what_a_step_does_beside_computing_it_does_once_and_not_on_the_way_back(way, jit):
    base, seen = rnnjax.gru(3), []

    def advance(params, state, drive):
        jax.debug.callback(lambda hidden: seen.append(hidden), state.hidden, ordered=False)
        return base.advance(params, state, drive)

    cell = rnnjax.Cell(base.init, base.initial_state, base.project, advance, base.output)
    run = partial(way, cell)
    jax.block_until_ready((jax.jit(run) if jit else run)(random_params(cell), random_inputs()))
    jax.effects_barrier()
    assert len(seen) == T
