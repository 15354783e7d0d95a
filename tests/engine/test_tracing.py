"""What is traced once, and that it stays right for other cells, shapes, dtypes, options and tracers."""

import contextlib
import functools
import gc
import itertools
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.cells import CELLS
from rnnjax.engine.tracing import REMEMBERED, traced_once
from tests.cases import random_inputs, random_params

T, B, H = 4, 2, 3


def counted(calls: list[object]) -> rnnjax.Cell:
    """A cell that notes each time that its ``advance`` is traced."""
    inner = rnnjax.elman(H)

    def advance(params, state, drive):
        calls.append(drive)
        return inner.advance(params, state, drive)

    return inner._replace(advance=advance)


def loss_of(outputs):
    return jnp.sum(outputs**2)


MEASURES = {
    "unroll": rnnjax.unroll,
    "gradient": lambda cell, params, inputs: jax.grad(lambda p: loss_of(rnnjax.unroll(cell, p, inputs)[1]))(params),
    "gradient_flow": lambda *arguments: rnnjax.gradient_flow(*arguments, loss_of),
}


@contextlib.contextmanager
def compilations():
    """A list that fills with what JAX compiles."""
    found = []

    def listen(event, duration, **_):
        found.extend([event] * ("backend_compile" in event))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_a_call_is_traced_and_outside_of_jit_compiled_the_first_time_only(measure):
    calls, inputs = [], random_inputs(T, B, H)
    cell, other = counted(calls), counted(calls)
    params = random_params(cell, input_size=H)
    first = measure(cell, params, inputs)
    traced = len(calls)
    with compilations() as in_vain:
        again = measure(cell, params, inputs)
    jax.eval_shape(lambda: measure(cell, params, inputs))
    assert len(calls) == traced > 0
    with compilations() as needed:
        anew = measure(other, params, inputs)
    assert len(calls) == 2 * traced
    assert needed
    assert not in_vain
    jax.tree.map(np.testing.assert_array_equal, first, again)
    jax.tree.map(np.testing.assert_array_equal, first, anew)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_layers_that_are_one_cell_are_traced_once_whatever_the_depth(measure):
    calls, inputs = [], random_inputs(T, B, H)
    cell = counted(calls)

    def traced(depth):
        del calls[:]
        stack = rnnjax.stack(*[cell] * depth)
        params = jax.eval_shape(lambda: stack.init(jax.random.key(0), H))
        jax.eval_shape(lambda params: measure(stack, params, inputs), params)
        return len(calls)

    assert [traced(depth) > 0 for depth in (1, 3, 2)] == [True, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_one_cell_gives_what_a_new_one_gives_in_any_order_of_shapes_dtypes_and_levels(measure):
    cell, params = rnnjax.lstm(H), random_params(rnnjax.lstm(H), input_size=H)

    def check(inputs, params, run):
        new = rnnjax.lstm(H, kernel_init=jax.nn.initializers.zeros)  # with an initializer, it is not remembered
        assert new.advance is not cell.advance
        expected = run(lambda params, inputs: measure(new, params, inputs))(params, inputs)
        actual = run(lambda params, inputs: measure(cell, params, inputs))(params, inputs)
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), actual, expected)

    inputs = random_inputs(T, B, H)
    for run in (jax.jit, lambda function: jax.vmap(function, (None, 1))):
        check(inputs, params, run)
        with jax.enable_x64(True):
            check(inputs.astype(jnp.float64), jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params), run)
        check(jnp.concatenate([inputs, inputs]), params, run)


def test_options_are_kept_apart():
    cell, inputs = rnnjax.min_gru(H), random_inputs(T, B, H)
    params = random_params(cell, input_size=H)
    options = [{}, {"reverse": True}, {"method": "parallel"}, {"reverse": True, "method": "parallel"}, {"remat": 2}]
    programs = [str(jax.make_jaxpr(lambda o=o: rnnjax.unroll(cell, params, inputs, **o))()) for o in options]
    assert len(set(programs)) == len(programs)
    forward, backward = (rnnjax.unroll(cell, params, inputs, reverse=reverse)[1] for reverse in (False, True))
    turned = rnnjax.unroll(cell, params, inputs[::-1])[1][::-1]
    np.testing.assert_array_equal(backward, turned)
    assert not np.allclose(forward, backward)


@pytest.mark.slow
def test_a_cell_may_have_a_tracer_in_it(x64):
    """tanh(g (W h + U x + b)), against a cell whose weights are g times as large."""
    inputs, params = random_inputs(T, B, H), random_params(rnnjax.elman(H), input_size=H)

    def loss(gain):
        cell = rnnjax.elman(H, lambda x: jnp.tanh(gain * x))

        def again(total, _):  # in an inner loop, where the cell is known from outside of it
            return total + loss_of(rnnjax.unroll(cell, params, inputs)[1]), None

        first = loss_of(rnnjax.unroll(cell, params, inputs)[1])
        flow = rnnjax.gradient_flow(cell, params, inputs, loss_of)
        return jax.lax.scan(again, first, length=2)[0] + flow.state.hidden[0]

    def expected(gain):
        larger = jax.tree.map(lambda leaf: gain * leaf, params)
        flow = rnnjax.gradient_flow(rnnjax.elman(H), larger, inputs, loss_of)
        return 3 * loss_of(rnnjax.unroll(rnnjax.elman(H), larger, inputs)[1]) + flow.state.hidden[0]

    gain = 0.9
    value, slope = jax.jit(jax.value_and_grad(expected))(gain)
    np.testing.assert_allclose(jax.value_and_grad(loss)(gain), [value, slope], rtol=1e-12)
    together = jax.jit(jax.vmap(jax.value_and_grad(loss)))(jnp.full(2, gain))
    np.testing.assert_allclose(together, [[value, value], [slope, slope]], rtol=1e-12)


@pytest.mark.slow
def test_a_cell_with_a_tracer_in_it_is_no_leak():
    inputs, params = random_inputs(T, B, H), random_params(rnnjax.elman(H), input_size=H)

    def loss(gain):
        return loss_of(rnnjax.unroll(rnnjax.elman(H, lambda x: jnp.tanh(gain * x)), params, inputs)[1])

    with jax.checking_leaks():
        assert jax.jit(jax.grad(loss))(0.9) == pytest.approx(jax.grad(loss)(0.9))


@pytest.mark.parametrize("wrong", [float(H), str(H), [H]])
def test_a_size_that_is_no_whole_number_is_refused_though_it_may_equal_one(wrong):
    rnnjax.lstm(H)
    with pytest.raises(TypeError, match="expected a whole number"):
        rnnjax.lstm(wrong)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_that_was_first_made_while_tracing_in_another_dtype_is_good_for_any_use(name):
    size = 6  # as no other test has

    def run():
        cell = rnnjax.cell_named(name)(size)
        params = cell.init(jax.random.key(0), size)
        return rnnjax.unroll(cell, params, jnp.ones((T, B, size)))

    with jax.enable_x64(True):
        jax.eval_shape(run)
    assert {
        leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(run)) if jnp.issubdtype(leaf.dtype, jnp.floating)
    } == {jnp.dtype("float32")}
    jax.eval_shape(jax.jit(run))


@pytest.mark.slow
def test_a_cell_is_forgotten_when_many_others_were_used_since():
    doubled = traced_once(lambda cell, array: 2 * array)

    def use(number=itertools.count()):
        cell = rnnjax.elman(H, functools.partial(jnp.clip, max=next(number)))  # not as another one
        jax.eval_shape(lambda: doubled(cell, jnp.ones(2)))
        return weakref.ref(cell.advance)

    first = use()
    others = [use() for _ in range(REMEMBERED - 1)]
    gc.collect()
    assert first() is not None
    use()
    gc.collect()
    assert [first(), others[0]() is None] == [None, False]


def test_functions_of_a_cell_need_no_hash():
    class Halved:
        __hash__ = None

        def __call__(self, params, state):
            return state.hidden / 2

    cell, inputs = rnnjax.lstm(H), random_inputs(T, B, H)
    params = random_params(cell, input_size=H)
    halved = rnnjax.unroll(cell._replace(output=Halved()), params, inputs)[1]
    np.testing.assert_array_equal(halved, rnnjax.unroll(cell, params, inputs)[1] / 2)
