"""``fix_first``: the values and gradients of the function, with what its first argument decides done once, ahead."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.engine.own_transpose import linear_with_own_transpose
from rnnjax.engine.program import execute, fix_first, program_of
from tests.cases import H, I, T, random_inputs, random_like, random_params

N = 3
STEPS = 4


def inner_jaxprs(equation):
    for value in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns")):
        inner = getattr(value, "jaxpr", value)
        if hasattr(inner, "eqns"):
            yield inner


def loops_of(jaxpr, steps):
    """The bodies of all scans of so many steps in a jaxpr, those inside other operations included."""
    for equation in jaxpr.eqns:
        for inner in inner_jaxprs(equation):
            if equation.primitive.name == "scan" and equation.params["length"] == steps:
                yield inner
            yield from loops_of(inner, steps)


def operations_of(jaxpr):
    """The names of all operations of a jaxpr and of what lies inside them, one for each time it stands there."""
    names = []
    for equation in jaxpr.eqns:
        names += [equation.primitive.name, *(name for inner in inner_jaxprs(equation) for name in operations_of(inner))]
    return names


def scanned(function, fixed, xs):
    """``sum over t of function(fixed, carry_t, x_t)``, as ``unroll`` uses ``fix_first``."""

    def loss(fixed, xs):
        start = jnp.zeros(N)
        step = fix_first(function, fixed, start, xs[0])
        return jnp.sum(jax.lax.scan(lambda carry, x: (step(carry, x),) * 2, start, xs)[1] ** 2)

    return jax.make_jaxpr(jax.grad(loss))(fixed, xs)


# Values and gradients of random functions


@jax.custom_vjp
def doubled(x):
    return 2 * x


doubled.defvjp(lambda x: (doubled(x), None), lambda _, g: (3 * g,))

# Operations on an (N, N) array and an (N,) array, (matrix, vector) -> one of either.
OPERATIONS = {
    "product": lambda m, v: v @ m,
    "solve": lambda m, v: jnp.linalg.solve(m @ m.T + 5 * jnp.eye(N), v),
    "triangle_of_qr": lambda m, v: jnp.linalg.qr(m + 3 * jnp.eye(N))[1],  # the other result is left lying
    "half_of_split": lambda m, v: jnp.concatenate([jnp.split(m, [1])[1], v[None]]),
    "repeated": lambda m, v: jnp.broadcast_to(v, (N, N)),
    "sum": lambda m, v: jnp.tanh(m + v[None]),
    "relu": lambda m, v: jax.nn.relu(v),  # a custom_jvp
    "doubled": lambda m, v: doubled(v),  # a custom_vjp
    "own_transpose": lambda m, v: linear_with_own_transpose(lambda _, x: x, lambda _, g: [3 * g[0]], [], [v])[0],
    "in_a_jit": lambda m, v: jax.jit(lambda m, v: jnp.sin(m) @ v)(m, v),
    "in_a_scan": lambda m, v: jax.lax.scan(lambda c, row: (c + row * v, c), v, m)[1],
    "in_a_cond": lambda m, v: jax.lax.cond(v[0] > 0, lambda: v, lambda: m[0]),
    "constant": lambda m, v: jnp.arange(N, dtype=v.dtype),
    "chosen": lambda m, v: jnp.where(v[None] > 0, m, -m),
}


@st.composite
def functions(draw):
    """A random function of ((matrix, vector), matrix, vector), of operations on what there is so far."""
    count = draw(st.integers(2, 6))
    steps = [
        (draw(st.sampled_from(sorted(OPERATIONS))), draw(st.integers(0, 30)), draw(st.integers(0, 30)))
        for _ in range(count)
    ]
    shown = draw(st.lists(st.integers(0, 30), min_size=1, max_size=3))

    def function(fixed, matrix, vector):
        matrices, vectors = [fixed[0], matrix], [fixed[1], vector]
        for name, i, j in steps:
            result = OPERATIONS[name](matrices[i % len(matrices)], vectors[j % len(vectors)])
            (matrices if result.ndim == 2 else vectors).append(result)
        # The latest ones are the deepest; an argument can be handed on as it is.
        values = [*matrices, *vectors]
        return [values[-1], matrices[-1], *(values[i % len(values)] for i in shown)]

    return [name for name, _, _ in steps], function


@pytest.mark.slow
@hypothesis.settings(max_examples=15)
@hypothesis.given(case=functions())
def test_values_and_gradients_are_those_of_the_function(x64, case):
    names, function = case
    hypothesis.note(names)
    shapes = jax.ShapeDtypeStruct((N, N), jnp.float64), jax.ShapeDtypeStruct((N,), jnp.float64)
    fixed, others = random_like(shapes, 0), random_like(shapes, 1)

    def loss(results):
        return sum(jnp.sum(jnp.sin(result + n)) for n, result in enumerate(results))

    def plain(fixed, others):
        return loss(function(fixed, *others))

    def ahead(fixed, others):
        return loss(fix_first(function, fixed, *others)(*others))

    received = jax.value_and_grad(ahead, argnums=(0, 1))(fixed, others)
    expected = jax.value_and_grad(plain, argnums=(0, 1))(fixed, others)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), received, expected)


def test_the_rest_can_be_called_again_with_other_arguments_and_pytrees(x64):
    function = lambda fixed, others: {"sum": jnp.exp(fixed["a"]) * others[0] + others[1], "same": fixed["a"]}  # noqa: E731
    fixed, first, second = {"a": jnp.float64(2)}, (jnp.float64(3), jnp.float64(4)), (jnp.float64(5), jnp.float64(6))
    rest = fix_first(function, fixed, jax.eval_shape(lambda: first))
    for others in (first, second):
        assert rest(others) == function(fixed, others)


# What is done once


@pytest.mark.parametrize("parametrization", ["exponential", "cayley"])
def test_an_orthogonal_matrix_is_made_once_and_so_is_its_gradient(parametrization):
    cell = rnnjax.orthogonal_rnn(H, parametrization)
    params, inputs = random_params(cell), random_inputs()
    jaxpr = jax.make_jaxpr(jax.grad(lambda p: jnp.sum(rnnjax.unroll(cell, p, inputs)[1])))(params).jaxpr
    making = {"lu", "triangular_solve"}
    assert making <= set(operations_of(jaxpr))
    forward, backward = (operations_of(body) for body in loops_of(jaxpr, T))
    assert not making & {*forward, *backward}
    # Products with a matrix: h U forward, the gradient of h backward.
    assert forward.count("dot_general") == backward.count("dot_general") == 1


def test_weights_are_dropped_once_for_a_sequence():
    cell = rnnjax.drop_connect(rnnjax.lstm(H), 0.3, jax.random.key(0))
    params, inputs = random_params(cell), random_inputs()
    jaxpr = jax.make_jaxpr(jax.grad(lambda p: jnp.sum(rnnjax.unroll(cell, p, inputs)[1])))(params).jaxpr
    assert "random_bits" in operations_of(jaxpr)
    bodies = list(loops_of(jaxpr, T))
    assert len(bodies) == 2
    for body in bodies:
        assert "random_bits" not in operations_of(body)


def test_what_depends_on_the_first_argument_alone_is_out_of_the_loop_forward_and_backward():
    def step(fixed, carry, x):
        return jnp.tanh(carry + x) * jnp.exp(jnp.sin(fixed))

    jaxpr = scanned(step, jnp.ones(N), jnp.ones((STEPS, N))).jaxpr
    assert {"exp", "sin", "cos", "tanh"} <= set(operations_of(jaxpr))
    inside = [name for body in loops_of(jaxpr, STEPS) for name in operations_of(body)]
    assert "tanh" in inside
    assert not {"exp", "sin", "cos"} & set(inside)


def test_what_grows_stays_inside_unless_its_use_is_done_ahead():
    many = 1000

    def of_step(fixed, x):
        bias, weight = fixed
        repeated = jnp.broadcast_to(jnp.exp(bias), (many, N))  # small before, large after
        return x + repeated, x[0] * jnp.sum(jnp.broadcast_to(weight, (many, N)) ** 2, axis=0)

    fixed, x = (jnp.ones(N), jnp.ones(N)), jnp.ones((many, N))
    jaxpr = jax.make_jaxpr(lambda xs: jax.lax.map(fix_first(of_step, fixed, x), xs))(x[None]).jaxpr
    (body,) = loops_of(jaxpr, 1)
    inside = operations_of(body)
    assert "exp" not in inside
    assert "reduce_sum" not in inside
    large = [v for v in body.invars if v.aval.shape == (many, N)]
    assert len(large) == 1  # x itself: the bias comes in as it was
    np.testing.assert_allclose(fix_first(of_step, fixed, x)(x)[0], x + np.e, rtol=1e-6)


def test_effects_stay_inside():
    calls = []

    def step(fixed, carry, x):
        jax.debug.callback(lambda value: calls.append(float(value)), fixed[0])
        return carry + x * jnp.exp(fixed)

    def run(fixed, xs):
        start = jnp.zeros(N)
        rest = fix_first(step, fixed, start, xs[0])
        return jax.lax.scan(lambda carry, x: (rest(carry, x), None), start, xs)[0]

    jax.block_until_ready(run(jnp.full(N, 2.0), jnp.ones((STEPS, N))))
    jax.effects_barrier()
    assert calls == [2.0] * STEPS


def test_dead_results_are_not_computed():
    def function(fixed, x):
        jnp.sin(fixed)
        jnp.linalg.qr(fixed)
        return x @ jnp.exp(fixed)

    fixed, x = jnp.eye(N), jnp.ones(N)
    made = operations_of(jax.make_jaxpr(lambda fixed, x: fix_first(function, fixed, x)(x))(fixed, x).jaxpr)
    assert "exp" in made
    assert not {"sin", "geqrf", "householder_product", "qr"} & set(made)


def test_a_function_that_has_nothing_to_do_ahead_is_itself():
    def function(kernel, x):
        return jnp.tanh(x @ kernel)

    kernel, x = jnp.eye(N), jnp.ones(N)
    received, expected = (
        str(jax.make_jaxpr(f)(x)) for f in (fix_first(function, kernel, x), lambda x: function(kernel, x))
    )
    assert received == expected


# One operation replaced


def test_execute_replaces_what_it_is_told_to_and_does_the_rest_as_usual(x64):
    U, scale = np.ones((I, I)), 0.5

    def function(x, y):
        return {"product": jnp.tanh(x @ U * scale), "difference": x - y, "given": y}

    x, y = random_inputs(T, I), random_inputs(T, I, seed=5)
    program = program_of(function, x, y)
    unchanged = execute(program, [x, y], lambda equation, operands: None)
    jax.tree.map(np.testing.assert_array_equal, unchanged, function(x, y))

    def turned(equation, operands):
        return [operands[1] - operands[0]] if equation.primitive is jax.lax.sub_p else None

    changed = execute(program, [x, y], turned)
    jax.tree.map(np.testing.assert_array_equal, changed, function(x, y) | {"difference": y - x})
