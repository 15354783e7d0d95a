"""The cells without gates: each against its equations in NumPy, and each by the property it was invented for."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rnnjax
from tests import reference_ungated as reference
from tests.cases import B, H, I, T, flow_of, random_inputs, random_params, random_state, unrolled

pytestmark = pytest.mark.usefixtures("x64")

LONG = 12  # steps, more than the longest delay and period below
MODULES = [(1, [0, 1]), (2, [2]), (3, [3])]

EQUATIONS = {
    "jordan": (rnnjax.jordan(H, H - 1, "tanh", "softplus"), reference.jordan),
    "leaky": (rnnjax.leaky(H, 0.3), partial(reference.leaky, rate=0.3)),
    "learned_leaky": (rnnjax.learned_leaky(H), reference.learned_leaky),
    "indrnn": (rnnjax.indrnn(H), partial(reference.indrnn, activation=reference.relu)),
    "indrnn_tanh": (rnnjax.indrnn(H, "tanh"), partial(reference.indrnn, activation=np.tanh)),
    "indrnn_identity": (rnnjax.indrnn(H, "identity"), partial(reference.indrnn, activation=lambda x: x)),
    "scrn": (rnnjax.scrn(H, 3, 0.8), partial(reference.scrn, alpha=0.8)),
    "clockwork": (rnnjax.clockwork(H, (1, 2, 3)), partial(reference.clockwork, modules=MODULES)),
    "mist": (rnnjax.mist(H, 4), partial(reference.mist, delays=4)),
    "antisymmetric": (rnnjax.antisymmetric(H, 0.3, 0.1), partial(reference.antisymmetric, epsilon=0.3, gamma=0.1)),
    "gated_antisymmetric": (
        rnnjax.gated_antisymmetric(H, 0.3, 0.1),
        partial(reference.gated_antisymmetric, epsilon=0.3, gamma=0.1),
    ),
    "lipschitz": (
        rnnjax.lipschitz(H, 0.3, 0.7, 0.1),
        partial(reference.lipschitz, epsilon=0.3, beta=0.7, gamma=0.1),
    ),
    "cornn": (rnnjax.cornn(H, 0.3, 1.5, 0.5), partial(reference.cornn, dt=0.3, gamma=1.5, epsilon=0.5)),
    "lem": (rnnjax.lem(H, 0.7), partial(reference.lem, dt=0.7)),
    **{
        f"orthogonal_{parametrization}_{activation}": (
            rnnjax.orthogonal_rnn(H, parametrization, activation),
            partial(reference.orthogonal_rnn, parametrization=parametrization, activation=activation),
        )
        for parametrization in ("exponential", "cayley")
        for activation in ("modrelu", "tanh")
    },
}


def as_tuples(tree):
    """NamedTuples as tuples of NumPy arrays, for the loops."""
    return tuple(map(as_tuples, tree)) if isinstance(tree, tuple) else np.asarray(tree)


@pytest.mark.parametrize("name", EQUATIONS)
def test_cell_computes_its_equations(name):
    cell, loop = EQUATIONS[name]
    params, inputs = random_params(cell), random_inputs(LONG, B, I)
    start = random_state(cell, params)
    if name == "clockwork":
        start = start._replace(step=jnp.full_like(start.step, 5))
    final, outputs = jax.jit(partial(rnnjax.unroll, cell))(params, inputs, start)
    expected_outputs, expected_final = loop(as_tuples(params), np.asarray(inputs), *as_tuples(start))
    np.testing.assert_allclose(outputs, expected_outputs, rtol=1e-11, atol=1e-14)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-14), tuple(final), expected_final)


def jacobian_of_one_step(cell, params, state, inputs=None):
    """dh_t/dh_{t-1} of one example, derivative of row's unit by column's, in the field ``hidden``."""
    inputs = jnp.zeros(I) if inputs is None else inputs
    drive = cell.project(params, inputs)
    return jax.jacobian(lambda h: cell.advance(params, state._replace(hidden=h), drive).hidden)(state.hidden)


# Elman's kin


def test_leaky_at_rate_1_is_elman_and_at_rate_0_nothing_moves():
    elman, inputs = rnnjax.elman(H), random_inputs()
    params = random_params(elman)
    start = random_state(elman, params)
    expected = rnnjax.unroll(elman, params, inputs, start)[1]
    np.testing.assert_allclose(rnnjax.unroll(rnnjax.leaky(H, 1), params, inputs, start)[1], expected, rtol=1e-14)
    np.testing.assert_array_equal(rnnjax.unroll(rnnjax.leaky(H, 0), params, inputs, start)[0].hidden, start.hidden)


def test_learned_leaky_starts_as_leaky():
    cell = rnnjax.learned_leaky(H, 0.3)
    params, inputs = cell.init(jax.random.key(0), I), random_inputs()
    expected = rnnjax.unroll(rnnjax.leaky(H, 0.3), params.elman, inputs)[1]
    np.testing.assert_allclose(rnnjax.unroll(cell, params, inputs)[1], expected, rtol=1e-12)


def test_jordan_forgets_what_does_not_pass_through_its_output():
    cell, inputs = rnnjax.jordan(H, 1), random_inputs()
    params = random_params(cell)
    silent = params._replace(output_kernel=jnp.zeros((H, 1)))
    np.testing.assert_array_equal(rnnjax.unroll(cell, silent, inputs)[1], jnp.full((T, B, 1), params.output_bias))
    assert rnnjax.jordan(H).init(jax.random.key(0), I).output_kernel.shape == (H, H)


def test_indrnn_jacobian_is_diagonal_and_its_recurrent_weights_start_between_0_and_1():
    cell = rnnjax.indrnn(H, "tanh")
    params = random_params(cell)
    state = random_state(cell, params, ())
    jacobian = jacobian_of_one_step(cell, params, state)
    slope = 1 - np.tanh(params.bias + params.recurrent_weight * state.hidden) ** 2
    np.testing.assert_allclose(jacobian, np.diag(params.recurrent_weight * slope), rtol=1e-12)

    weights = rnnjax.indrnn(1000).init(jax.random.key(0), I).recurrent_weight
    assert 0 <= weights.min() < 0.01
    assert 0.99 < weights.max() <= 1


def test_indrnn_of_the_identity_says_that_it_is_affine():
    cell = rnnjax.indrnn(H, "identity")
    params, inputs = random_params(cell), random_inputs()
    factor, term = cell.affine(params, cell.project(params, inputs))
    assert factor.hidden.shape == term.hidden.shape == (T, B, H)
    assert rnnjax.indrnn(H).affine is None


# Time scales


def test_scrn_context_decays_by_alpha_a_step():
    cell = rnnjax.scrn(H, 2, alpha=0.9)
    params = random_params(cell)
    start = random_state(cell, params)
    final, outputs = unrolled(cell, params, jnp.zeros((T, B, I)), start)
    np.testing.assert_allclose(final.context, 0.9**T * start.context, rtol=1e-12)
    np.testing.assert_array_equal(outputs[-1, :, -2:], final.context)
    assert rnnjax.scrn(8).init(jax.random.key(0), I).context_kernel.shape == (I, 2)


def test_clockwork_modules_change_only_at_multiples_of_their_periods():
    cell = rnnjax.clockwork(8, (1, 2, 4, 8))
    params = random_params(cell)
    start = cell.initial_state(params, (B,))
    final, outputs = rnnjax.unroll(cell, params, random_inputs(17, B, I), start)
    changed = (jnp.diff(outputs, axis=0, prepend=start.hidden[None]) != 0).all(axis=1)
    for unit, period in enumerate([1, 1, 2, 2, 4, 4, 8, 8]):
        np.testing.assert_array_equal(changed[:, unit], np.arange(17) % period == 0)
    np.testing.assert_array_equal(final.step, np.full((B, 1), 17 % 8))


def test_clockwork_links_run_from_slow_to_fast():
    cell = rnnjax.clockwork(4, (1, 2))
    params = random_params(cell)
    state = random_state(cell, params, ())._replace(step=jnp.zeros(1, jnp.int32))  # all modules run
    jacobian = jacobian_of_one_step(cell, params, state)
    assert (jacobian[2:, :2] == 0).all()
    assert (jacobian[:2] != 0).all()
    assert (jacobian[2:, 2:] != 0).all()


def test_clockwork_divides_units_as_evenly_as_it_can():
    cell = rnnjax.clockwork(5, (1, 100))
    params = random_params(cell)
    outputs = rnnjax.unroll(cell, params, random_inputs(3, I))[1]
    np.testing.assert_array_equal(outputs[1] != outputs[0], [True, True, True, False, False])


def test_mist_sees_directly_the_steps_at_powers_of_two_and_no_other():
    cell = rnnjax.mist(H, 4)
    params = random_params(cell)
    state = random_state(cell, params, ())
    drive = cell.project(params, jnp.ones(I))
    jacobian = jax.jit(jax.jacobian(lambda s: cell.advance(params, s, drive).hidden))(state)
    seen = 1 + np.flatnonzero(np.abs(np.concatenate([jacobian.hidden[:, None], jacobian.earlier], 1)).max((0, 2)))
    np.testing.assert_array_equal(seen, [1, 2, 4, 8])


def test_mist_window_is_the_past():
    cell = rnnjax.mist(H, 3)
    params = random_params(cell)
    final, outputs = rnnjax.unroll(cell, params, random_inputs(LONG, B, I))
    np.testing.assert_array_equal(final.earlier, jnp.moveaxis(outputs[-2:-5:-1], 0, 1))


# Dynamical systems


@pytest.mark.parametrize("diffusion", [0.0, 0.05])
def test_antisymmetric_jacobian_of_the_differential_equation_is_near_the_imaginary_axis(diffusion):
    step = 1e-3
    cell = rnnjax.antisymmetric(H, step, diffusion)
    params = random_params(cell)
    state = random_state(cell, params, ())
    rates = np.linalg.eigvals((jacobian_of_one_step(cell, params, state) - np.eye(H)) / step)
    # The Jacobian is D A, D the positive diagonal of tanh's slopes: similar to D^(1/2) A D^(1/2).
    matrix = params.recurrent_kernel - params.recurrent_kernel.T - diffusion * np.eye(H)
    slopes = 1 - np.tanh(state.hidden @ matrix + params.bias) ** 2
    assert np.abs(rates.imag).max() > 0.1
    assert (rates.real <= -diffusion * slopes.min() + 1e-10).all()
    assert (rates.real >= -diffusion * slopes.max() - 1e-10).all()


def test_gated_antisymmetric_with_an_open_gate_is_the_plain_one():
    gated, plain = rnnjax.gated_antisymmetric(H, 0.1), rnnjax.antisymmetric(H, 0.1)
    params, inputs = random_params(plain), random_inputs()
    zeros = jnp.zeros((I, H))
    opened = gated.init(jax.random.key(0), I)._replace(
        kernel=jnp.concatenate([zeros, params.kernel], axis=1),
        recurrent_kernel=params.recurrent_kernel,
        bias=jnp.concatenate([jnp.full(H, 50.0), params.bias]),
    )
    np.testing.assert_allclose(
        rnnjax.unroll(gated, opened, inputs)[1], rnnjax.unroll(plain, params, inputs)[1], rtol=1e-12
    )


def test_lipschitz_linear_part_is_what_remains_of_its_jacobian_where_tanh_is_flat():
    cell = rnnjax.lipschitz(H, 0.1, skew_share=1.0, diffusion=0.5)
    params = random_params(cell)._replace(bias=jnp.full(H, 40.0))
    rates = np.linalg.eigvals((jacobian_of_one_step(cell, params, random_state(cell, params, ())) - np.eye(H)) / 0.1)
    np.testing.assert_allclose(rates.real, -0.5, rtol=1e-12)


def test_lipschitz_of_symmetric_parts_has_real_rates():
    cell = rnnjax.lipschitz(H, 0.1, skew_share=0.0)
    params = random_params(cell)._replace(bias=jnp.full(H, 40.0))
    assert np.isreal(np.linalg.eigvals(jacobian_of_one_step(cell, params, random_state(cell, params, ())))).all()


def test_cornn_uncoupled_is_a_damped_oscillator():
    cell = rnnjax.cornn(1, step_size=1e-4, frequency=4.0, damping=0.6)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), I))
    start = cell.initial_state(params, ())._replace(hidden=jnp.ones(1))
    outputs = jax.jit(partial(rnnjax.unroll, cell))(params, jnp.zeros((20000, I)), start)[1]
    time, omega = 1e-4 * np.arange(1, 20001), np.sqrt(4 - 0.3**2)
    exact = np.exp(-0.3 * time) * (np.cos(omega * time) + 0.3 / omega * np.sin(omega * time))
    np.testing.assert_allclose(outputs[:, 0], exact, atol=3e-4)


def test_lem_with_a_small_step_size_holds_its_state():
    cell = rnnjax.lem(H, step_size=1e-8)
    params = random_params(cell)
    start = random_state(cell, params)
    final = rnnjax.unroll(cell, params, random_inputs(), start)[0]
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), final, start)


# Orthogonal


PARAMETRIZATIONS = ["exponential", "cayley"]


def recurrent_matrix(cell, params):
    """U, as the cell uses it: the Jacobian of a step of the identity."""
    return jacobian_of_one_step(cell, params, cell.initial_state(params, ())).T


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_recurrent_matrix_is_orthogonal_after_any_steps_of_an_optimizer(parametrization):
    cell = rnnjax.orthogonal_rnn(H, parametrization, "identity")
    params, inputs = cell.init(jax.random.key(0), I), random_inputs()
    first = recurrent_matrix(cell, params)
    optimizer = optax.adam(0.3)
    state = optimizer.init(params)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(rnnjax.unroll(cell, p, inputs)[1]))))
    for _ in range(5):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient(params), state)
        params = optax.apply_updates(params, updates)
    matrix = recurrent_matrix(cell, params)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(H), atol=1e-13)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, rtol=1e-12)
    assert np.abs(matrix - first).max() > 0.1


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_gradient_through_an_orthogonal_network_keeps_its_norm(parametrization):
    cell = rnnjax.orthogonal_rnn(H, parametrization, "identity")
    flow = flow_of(cell, random_params(cell), random_inputs(50, B, I), lambda y: jnp.sum(y[-1] ** 3))
    np.testing.assert_allclose(flow.state.hidden / flow.state.hidden[-1], 1, rtol=1e-12)


@pytest.mark.parametrize(("parametrization", "largest_angle"), [("exponential", np.pi), ("cayley", np.pi / 2)])
def test_orthogonal_network_starts_from_rotations_of_pairs_of_units(parametrization, largest_angle):
    size = 101
    cell = rnnjax.orthogonal_rnn(size, parametrization, "identity")
    matrix = recurrent_matrix(cell, cell.init(jax.random.key(0), I))
    pairs = np.arange(size) // 2
    assert (np.abs(matrix)[pairs[:, None] != pairs] < 1e-14).all()
    angles = np.abs(np.angle(np.linalg.eigvals(matrix)))
    assert angles.max() <= largest_angle
    assert angles.max() > 0.9 * largest_angle
    np.testing.assert_allclose(np.median(angles), largest_angle / 2, atol=largest_angle / 5)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_modrelu_has_the_right_gradient_where_it_is_continuous(parametrization):
    cell = rnnjax.orthogonal_rnn(H, parametrization)
    params, inputs = random_params(cell)._replace(bias=jnp.array([-0.01, -0.02, -0.03, -0.3])), random_inputs()
    direction = random_params(cell, seed=1)

    @jax.jit
    def loss(distance):
        moved = jax.tree.map(lambda p, d: p + distance * d, params, direction)
        return jnp.sum(jnp.sin(rnnjax.unroll(cell, moved, inputs)[1]))

    np.testing.assert_allclose(jax.grad(loss)(0.0), (loss(1e-6) - loss(-1e-6)) / 2e-6, rtol=1e-7)


# Bad arguments

BAD = {
    "jordan output size": (partial(rnnjax.jordan, H, 0), ValueError, ["output_size is 0", "at least 1"]),
    "leaky rate": (partial(rnnjax.leaky, H, 1.5), ValueError, ["rate is 1.5", "from 0 to 1"]),
    "leaky rate nan": (partial(rnnjax.leaky, H, float("nan")), ValueError, ["rate is nan", "from 0 to 1"]),
    "leaky rate type": (partial(rnnjax.leaky, H, "fast"), TypeError, ["rate is 'fast' (str)", "a number"]),
    "leaky activation": (partial(rnnjax.leaky, H, 0.5, "tan"), ValueError, ["'tan'", "'tanh'"]),
    "learned rate": (partial(rnnjax.learned_leaky, H, 1.0), ValueError, ["rate is 1:", "between 0 and 1", "leaky"]),
    "indrnn size": (partial(rnnjax.indrnn, 1.5), TypeError, ["hidden_size is 1.5 (float)", "whole number"]),
    "scrn alpha": (partial(rnnjax.scrn, H, 1, -0.1), ValueError, ["alpha is -0.1", "from 0 to 1"]),
    "scrn context": (partial(rnnjax.scrn, H, H), ValueError, ["context_size is 4 of hidden_size 4", "less", "raise"]),
    "clockwork falling": (partial(rnnjax.clockwork, H, (2, 1)), ValueError, ["periods are (2, 1)", "rise", "(1, 2, 4"]),
    "clockwork none": (partial(rnnjax.clockwork, H, ()), ValueError, ["periods are ()", "whole numbers"]),
    "clockwork period": (partial(rnnjax.clockwork, H, (0.5, 1)), TypeError, ["period is 0.5", "whole number"]),
    "clockwork number": (partial(rnnjax.clockwork, H, 4), TypeError, ["periods is 4 (int)", "(1, 2, 4, 8)"]),
    "clockwork units": (partial(rnnjax.clockwork, 3), ValueError, ["hidden_size is 3 for 4 periods", "raise"]),
    "mist delays": (partial(rnnjax.mist, H, 1), ValueError, ["delays is 1", "at least 2"]),
    "antisymmetric step": (partial(rnnjax.antisymmetric, H, 0), ValueError, ["step_size is 0", "positive"]),
    "antisymmetric diffusion": (
        partial(rnnjax.gated_antisymmetric, H, 0.1, -1),
        ValueError,
        ["diffusion is -1", "at least 0"],
    ),
    "lipschitz share": (partial(rnnjax.lipschitz, H, 0.1, 2), ValueError, ["skew_share is 2", "from 0 to 1"]),
    "cornn damping": (partial(rnnjax.cornn, H, 0.1, 1, -1.0), ValueError, ["damping is -1", "positive"]),
    "lem step": (partial(rnnjax.lem, H, None), TypeError, ["step_size is None (NoneType)", "a number"]),
    "parametrization": (
        partial(rnnjax.orthogonal_rnn, H, "caley"),
        ValueError,
        ["unknown parametrization 'caley'", "'cayley'", "exponential"],
    ),
    "orthogonal activation": (
        partial(rnnjax.orthogonal_rnn, H, activation="modrelus"),
        ValueError,
        ["'modrelus'", "modrelu"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_meet_a_clear_error(name):
    make, error, parts = BAD[name]
    with pytest.raises(error) as raised:
        make()
    message = str(raised.value)
    assert len(message) < 300
    position = 0
    for part in parts:
        assert part in message[position:], f"{part!r} is not where expected in: {message}"
        position = message.index(part, position) + len(part)
