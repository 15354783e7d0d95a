"""``scan_through_time``: the values and derivatives of ``lax.scan``, with less to do step by step on the way back."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.engine.products import for_loop
from rnnjax.engine.program import fix_first
from rnnjax.engine.through_time import scan_through_time
from tests.cases import B, H, I, T, random_inputs, random_like, random_params, random_state
from tests.engine.test_program import loops_of, operations_of


def both(step, fixed, state, xs, reverse=False):
    """``lax.scan`` of ``step(fixed, state, x)``, and the other."""
    plain = jax.lax.scan(lambda state, x: step(fixed, state, x), state, xs, reverse=reverse)
    rest = fix_first(step, fixed, state, jax.tree.map(lambda x: x[0], xs))
    return plain, scan_through_time(rest, state, xs, reverse=reverse)


def assert_equal(expected, actual):
    assert jax.tree.structure(expected) == jax.tree.structure(actual)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(actual), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def check_derivatives(step, *arguments):
    """Values, derivatives forward and backward, and a second derivative, by every argument."""

    def loss(which):
        def of(*arguments):
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(both(step, *arguments)[which]))

        return of

    @partial(jax.jit, static_argnums=0)
    def derivatives(which, arguments):
        places = tuple(range(len(arguments)))
        gradient = jax.grad(loss(which), places)

        def size(*arguments):
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient(*arguments)))

        tangents = tuple(random_like(argument, 20 + n) for n, argument in enumerate(arguments))
        forward = jax.jvp(lambda *arguments: both(step, *arguments)[which], arguments, tangents)
        return forward, gradient(*arguments), jax.grad(size, places)(*arguments)

    assert_equal(derivatives(0, arguments), derivatives(1, arguments))


# Any step


def random_kernel():
    return random_like(jnp.zeros((H, H)), 5) / 2


def chained(fixed, state, x):
    """Two products, the second of what comes of the first, and fixed numbers before, between and after them."""
    kernels, scale = fixed[0], jnp.broadcast_to(fixed[1], state.shape)
    inner = jnp.tanh(x["added"] + (scale * state) @ kernels[0])
    new = state * x["factor"] + (inner * scale) @ kernels[1]
    return new, new[..., :2] * scale[..., :2]


def gates(fixed, state, x):
    """Of the parts of one product, one is added to an x that is used elsewhere, too."""
    a, b = jnp.split(state @ jnp.concatenate(fixed, axis=-1), 2, axis=-1)
    new = jax.nn.sigmoid(a + x["added"]) * jnp.tanh(b + x["factor"]) + 0.1 * x["factor"]
    return new, new


def turned(fixed, state, x):
    """Products in other ways: of one kernel twice, of its transpose, with the kernel first."""
    kernel, _ = fixed
    new = jnp.tanh(state @ kernel + state @ kernel.T + (kernel @ state[..., None])[..., 0] + x["added"])
    return new, jnp.sum(new * x["factor"], axis=-1)


def without_products(fixed, state, x):
    return fixed[1][0] * state + x["added"], state * x["factor"]


@pytest.mark.slow
@pytest.mark.parametrize("step", [chained, gates, turned, without_products])
def test_derivatives_of_a_step_are_those_of_the_scan(x64, step):
    kernel = random_kernel()
    scale = kernel if step is gates else kernel[0]
    xs = {name: random_inputs(T, B, H, seed=seed) for name, seed in (("added", 1), ("factor", 2))}
    fixed = ((kernel, kernel.T + 0.5), scale) if step is chained else (kernel, scale)
    check_derivatives(step, fixed, random_inputs(B, H, seed=3), xs)


def test_counters_and_keys_in_a_state_and_masks_among_the_inputs_have_no_derivative(x64):
    def step(kernel, state, x):
        hidden, count, key = state
        inputs, real = x
        noise = jax.random.normal(key, hidden.shape)
        new = jnp.tanh(inputs + hidden @ kernel + noise / (1 + count))
        return (jnp.where(real[:, None], new, hidden), count + 1, jax.random.fold_in(key, 7)), (new, count)

    inputs, real = random_inputs(T, B, H), jnp.arange(T)[:, None] < jnp.array([[T, 2]])

    def loss(which):
        def of(kernel, hidden, inputs):
            state = hidden, jnp.array(0), jax.random.key(3)
            (final, count, _), (outputs, counts) = both(step, kernel, state, (inputs, real))[which]
            return jnp.sum(final**2) + jnp.sum(outputs**3), (count, counts)

        return of

    arguments = random_kernel(), random_inputs(B, H), inputs
    of_scan, of_other = (
        jax.jit(jax.value_and_grad(loss(which), (0, 1, 2), has_aux=True))(*arguments) for which in (0, 1)
    )
    assert_equal(of_scan, of_other)


def test_in_reverse_under_vmap_and_over_no_batch_axes(x64):
    kernel, xs = random_kernel(), {n: random_inputs(T, H) for n in ("added", "factor")}

    def gradient(which):
        def loss(kernel):
            return jnp.sum(both(turned, (kernel, kernel[0]), jnp.ones(H), xs, reverse=True)[which][1] ** 2)

        return jax.jit(jax.vmap(jax.grad(loss)))(jnp.stack([kernel, -kernel]))

    assert_equal(gradient(0), gradient(1))


# Cells


def test_a_cells_derivatives_by_params_inputs_and_state_are_those_of_a_scan_over_its_step(x64, typical_cell):
    cell = typical_cell
    params, inputs = random_params(cell), random_inputs()
    state = random_state(cell, params)
    moving = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(state)]

    def run(which, params, inputs, leaves):
        leaves = iter(leaves)
        start = [next(leaves) if moves else leaf for leaf, moves in zip(jax.tree.leaves(state), moving, strict=True)]
        start = jax.tree.unflatten(jax.tree.structure(state), start)
        if which == "scan":
            return jax.lax.scan(lambda s, x: cell.step(params, s, x), start, inputs)[1]
        return rnnjax.unroll(cell, params, inputs, start)[1]

    def derivatives(which, *arguments):
        tangents = tuple(random_like(argument, 20 + n) for n, argument in enumerate(arguments))
        forward = jax.jvp(lambda *arguments: run(which, *arguments), arguments, tangents)[1]
        backward = jax.grad(lambda *a: jnp.sum(jnp.abs(run(which, *a)) ** 2), (0, 1, 2))(*arguments)
        return forward, backward

    derivatives = jax.jit(derivatives, static_argnums=0)
    leaves = [leaf for leaf, moves in zip(jax.tree.leaves(state), moving, strict=True) if moves]
    assert_equal(derivatives("scan", params, inputs, leaves), derivatives("unroll", params, inputs, leaves))


# What is done step by step


@pytest.mark.parametrize(("make", "products"), [(rnnjax.elman, 1), (rnnjax.lstm, 1), (rnnjax.gru, 2)])
def test_the_loop_back_has_the_products_of_the_adjoints_alone_and_no_transcendental_function(make, products):
    cell = make(H)
    params, inputs = random_params(cell), random_inputs()

    def gradient(params):
        return jax.grad(lambda params: jnp.sum(rnnjax.unroll(cell, params, inputs)[1] ** 2))(params)

    forward, backward = loops_of(jax.make_jaxpr(gradient)(params).jaxpr, T)
    assert operations_of(forward).count("dot_general") == operations_of(backward).count("dot_general") == products
    assert not {"tanh", "logistic", "exp"} & set(operations_of(backward))
    # Nothing of a kernel's size is summed up on the way.
    kernel_sizes = {leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim > 1}
    assert not kernel_sizes & {variable.aval.shape for variable in backward.outvars}


def test_what_is_kept_for_the_way_back_are_the_factors_and_operands_alone():
    cell, steps = rnnjax.lstm(H), 40
    params, inputs = random_params(cell), random_inputs(steps, B, I)
    kept = jax.eval_shape(lambda params: jax.vjp(lambda p: rnnjax.unroll(cell, p, inputs)[1], params)[1], params)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(kept) if leaf.ndim and leaf.shape[0] == steps)
    factors, operands = 6 * H, I + H
    assert numbers == steps * B * (factors + operands)


@pytest.mark.parametrize(("make", "numbers"), [(rnnjax.elman, 5), (rnnjax.lstm, 13), (rnnjax.gru, 11)])
def test_what_is_kept_of_products_is_written_over_the_drives(make, numbers):
    """Compiled: so many numbers a unit and step at a time, and nothing of a sequence's size copied at each step."""
    steps, batch, size = 50, 16, 32
    cell = make(size)
    params, inputs = random_params(cell, input_size=size), random_inputs(steps, batch, size)

    def loss(params, inputs):
        return jnp.sum(rnnjax.unroll(cell, params, inputs)[1] ** 2)

    compiled = jax.jit(jax.grad(loss)).lower(params, inputs).compile()
    of_a_sequence = steps * batch * size * inputs.dtype.itemsize
    assert compiled.memory_analysis().temp_size_in_bytes < (numbers + 0.5) * of_a_sequence

    found = re.finditer(r"^(?:ENTRY )?%([\w.\-]+) \(.*?{\n(.*?)^}", compiled.as_text(), re.M | re.S)
    computations = {match[1]: match[2] for match in found}
    loops = [loop for text in computations.values() for loop in re.findall(r" while\(.*body=%([\w.\-]+)", text)]
    assert len(loops) == 2
    assert not [copy for loop in loops for copy in re.findall(rf".*\[{steps},[^ ]* copy\(.*", computations[loop])]


def test_a_large_kernel_whose_rows_lie_a_multiple_of_2_kib_apart_gives_the_same_derivatives(x64, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    batch, size = 16, 512  # a row of 512 doubles takes 4 KiB
    kernel = random_like(jnp.zeros((size, size)), 5) / 20
    xs = {"added": random_inputs(3, batch, size)}
    assert for_loop(kernel, (batch,)).shape == (size, size + 8)

    def step(kernel, state, x):
        new = jnp.tanh(x["added"] + state @ kernel)
        return new, new

    def of(which):
        return jax.value_and_grad(lambda *arguments: jnp.sum(both(step, *arguments)[which][1] ** 2), (0, 1, 2))

    arguments = kernel, random_inputs(batch, size, seed=3), xs
    tangents = jax.tree.map(lambda leaf: random_like(leaf, 7), arguments)
    expected, actual = (
        jax.tree.leaves(jax.jit(lambda *both, which=which: jax.jvp(of(which), *both))(arguments, tangents))
        for which in (0, 1)
    )
    for a, b in zip(expected, actual, strict=True):  # values, gradients, and how these change along the tangents
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13 * np.abs(a).max())  # sums of up to 512 terms


@pytest.mark.parametrize(
    ("shape", "batch_shape"),
    [((512, 1024), ()), ((512, 1024), (3, 5)), ((128, 1024), (16,)), ((512, 1024 - 256), (16,))],
    ids=["one example", "few examples", "small", "rows not a multiple of 2 KiB apart"],
)
def test_other_kernels_stay_as_they_are(monkeypatch, shape, batch_shape):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    kernel = jnp.zeros(shape)
    assert for_loop(kernel, batch_shape) is kernel


@pytest.mark.slow
def test_steps_and_examples_on_one_axis_give_the_same_derivatives(x64, monkeypatch):
    """As on a CPU with one device."""

    def gradients(number):
        initializer = jax.nn.initializers.constant(number)  # another cell for each, traced as things are then
        before, after = (rnnjax.gru(H, reset=reset, kernel_init=initializer) for reset in ("before", "after"))
        cell = rnnjax.stack(before, rnnjax.repeat(after, 2))
        params = random_params(cell)

        def loss(params, inputs):
            return jnp.sum(rnnjax.unroll(cell, params, inputs)[1] ** 2)

        return [jax.grad(loss, (0, 1))(params, random_inputs(T, *batch, I)) for batch in ((), (B,), (2, B))]

    apart = jax.jit(lambda: gradients(1))()
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    together = jax.jit(lambda: gradients(2)).trace()
    assert f"f64[{T * B},{3 * H}]" in str(together.jaxpr)
    assert_equal(apart, together.lower().compile()())
