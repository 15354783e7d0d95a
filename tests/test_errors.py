"""Every bad argument meets an error that says in a line what was received, what was expected, and what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import initializers, tasks
from rnnjax.adapters import torch as adapter
from tests.cases import CELL_CASES, B, H, I, T, own_cell, random_inputs, random_params

CELL = rnnjax.lstm(H)
PARAMS = random_params(CELL)
INPUTS = random_inputs()
STATE = CELL.initial_state(PARAMS, (B,))
GRU = rnnjax.gru(H)
STACK = rnnjax.stack(CELL, CELL)


def check(error, parts, function):
    """``function`` raises ``error``, and its message has all ``parts``, in that order."""
    with pytest.raises(error) as raised:
        function()
    message = str(raised.value)
    assert len(message.splitlines()) <= 2
    assert len(message) < 500
    position = 0
    for part in parts:
        assert part in message[position:], f"{part!r} is not where expected in: {message}"
        position = message.index(part, position) + len(part)


def check_refused(plan, config, field, value, message):
    """``plan`` refuses a config with this value, and says this and what it expected or does not know."""
    config[field] = value
    with pytest.raises(ValueError, match=r"expected|unknown") as raised:
        plan(config)
    assert message in str(raised.value)


def runs_of(cell, params, inputs, state=None):
    """The ways a cell can be run on a sequence."""
    yield lambda: rnnjax.unroll(cell, params, inputs, state)
    yield lambda: rnnjax.gradient_flow(cell, params, inputs, jnp.sum, state)
    yield lambda: jax.jit(lambda p: rnnjax.unroll(cell, p, inputs, state))(params)


def check_runs(error, parts, cell, params, inputs, state=None):
    for run in runs_of(cell, params, inputs, state):
        check(error, parts, run)


# Inputs


def test_inputs_of_another_width():
    parts = ["kernel", "(3, 16)", "width 7", "(7, 16)", "cell.init"]
    check_runs(ValueError, parts, CELL, PARAMS, jnp.zeros((T, B, 7)))
    check(ValueError, parts, lambda: CELL.step(PARAMS, STATE, jnp.zeros((B, 7))))


def test_inputs_of_another_width_in_a_stack_name_the_layer():
    params = random_params(STACK)
    check_runs(ValueError, ["params[0].kernel", "(3, 16)", "width 7", "(7, 16)"], STACK, params, jnp.zeros((T, B, 7)))


def test_inputs_without_a_time_axis():
    check_runs(ValueError, ["(5,)", "(T, ..., I)", "time first", "inputs[:, None]"], CELL, PARAMS, jnp.zeros(5))


def test_inputs_of_one_step_that_are_a_scalar():
    state = CELL.initial_state(PARAMS, ())
    check(ValueError, ["scalar", "(..., I)", "inputs[None]"], lambda: CELL.step(PARAMS, state, jnp.zeros(())))


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.bool_])
def test_inputs_that_are_tokens(dtype):
    parts = [np.dtype(dtype).name, "real", "jax.nn.one_hot"]
    check_runs(TypeError, parts, CELL, PARAMS, INPUTS.astype(dtype))
    check(TypeError, parts, lambda: CELL.step(PARAMS, STATE, INPUTS[0].astype(dtype)))


def test_an_empty_sequence():
    check_runs(ValueError, ["(0, 2, 3)", "empty", "at least one time step"], CELL, PARAMS, INPUTS[:0])


# States


def test_state_of_another_cell():
    state = GRU.initial_state(random_params(GRU), (B,))
    parts = ["state", "GRUState", "LSTMState", "cell.initial_state"]
    check_runs(ValueError, parts, CELL, PARAMS, INPUTS, state)
    check(ValueError, parts, lambda: CELL.step(PARAMS, state, INPUTS[0]))


def test_state_of_another_batch():
    state = CELL.initial_state(PARAMS, (3,))
    parts = ["state.hidden", "(3, 4)", "batch shape (2,)", "(2, 4)", "cell.initial_state"]
    check_runs(ValueError, parts, CELL, PARAMS, INPUTS, state)
    check(ValueError, parts, lambda: CELL.step(PARAMS, state, INPUTS[0]))


def test_state_of_a_users_cell_of_another_size():
    cell = own_cell(H)
    check_runs(ValueError, ["state", "(2, 7)", "(2, 4)"], cell, random_params(cell), INPUTS, jnp.zeros((B, 7)))


# Params


@pytest.mark.parametrize("made_by", ["gru_reset_before", "peephole_lstm", "stack", "learned_initial_state", "own_cell"])
def test_params_of_another_cell(made_by):
    params = random_params(CELL_CASES[made_by]())
    check_runs(ValueError, ["params", "received", "LSTMParams", "cell.init"], CELL, params, INPUTS)


def test_params_of_one_layer_for_a_stack():
    for params in (PARAMS, (PARAMS,)):
        check_runs(ValueError, ["params", "received", "LSTMParams", "tuple of 2", "cell.init"], STACK, params, INPUTS)


def test_params_of_a_cell_for_the_same_with_a_learned_initial_state():
    parts = ["params", "received LSTMParams", "LearnedInitialStateParams", "cell.init"]
    check_runs(ValueError, parts, rnnjax.learned_initial_state(CELL), PARAMS, INPUTS)


def test_params_of_another_size():
    params = random_params(rnnjax.lstm(H + 1))
    check_runs(ValueError, ["params.kernel", "(3, 20)", "(3, 16)", "cell.init"], CELL, params, INPUTS)


# Names


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda: rnnjax.elman(H, "tahn"), ["activation 'tahn'", "did you mean 'tanh'", "valid names", "relu"]),
        (lambda: rnnjax.elman(H, "Zzz"), ["activation 'Zzz'", "valid names: elu, gelu", "tanh"]),
        (lambda: rnnjax.cell_named("ltsm"), ["cell 'ltsm'", "did you mean 'lstm'", "valid names", "(34 in all)"]),
        (lambda: rnnjax.gru(H, "befor"), ["reset 'befor'", "did you mean 'before'", "valid names: after, before"]),
    ],
)
def test_unknown_names_meet_the_nearest_valid_ones(call, parts):
    check(ValueError, ["unknown", *parts], call)


# Sizes


@pytest.mark.parametrize("name", sorted(rnnjax.CELLS))
@pytest.mark.parametrize("size", [0, -1, 1.5, True, "8", None])
def test_hidden_sizes_that_are_none(name, size):
    error = ValueError if size in (0, -1) else TypeError
    check(error, ["hidden_size is", repr(size), "expected"], lambda: rnnjax.CELLS[name](size))


def test_whole_numbers_of_other_types_are_sizes():
    assert CELL.init(jax.random.key(0), np.int64(I)).kernel.shape == (I, 4 * H)
    assert rnnjax.lstm(np.int32(H)).init(jax.random.key(0), I).kernel.shape == (I, 4 * H)


@pytest.mark.parametrize("name", ["elman_tanh", "lstm", "peephole_lstm", "gru_reset_after", "stack"])
@pytest.mark.parametrize("size", [0, 2.0])
def test_input_sizes_that_are_none(name, size):
    error = ValueError if size == 0 else TypeError
    check(error, ["input_size is", repr(size)], lambda: CELL_CASES[name]().init(jax.random.key(0), size))


# Options of unroll and gradient_flow


@pytest.mark.parametrize(
    ("mask", "error", "parts"),
    [
        (np.ones((T, B), np.float32), TypeError, ["mask", "float32", "bool", "mask > 0"]),
        (np.ones((T, B), int), TypeError, ["mask", "int", "bool", "mask > 0"]),
        (np.ones((B, T), bool), ValueError, ["mask", "(2, 5)", "expected (5, 2)", "lengths"]),
        (np.ones(T, bool), ValueError, ["mask", "(5,)", "expected (5, 2)", "lengths"]),
    ],
)
def test_masks_of_another_dtype_or_shape(mask, error, parts):
    check(error, parts, lambda: rnnjax.unroll(CELL, PARAMS, INPUTS, mask=mask))
    check(error, parts, lambda: rnnjax.gradient_flow(CELL, PARAMS, INPUTS, jnp.sum, mask=mask))


@pytest.mark.parametrize(("remat", "error"), [(0, ValueError), (-3, ValueError), (2.0, TypeError), (True, TypeError)])
def test_recomputation_every_no_steps(remat, error):
    check(error, ["remat is", repr(remat), "expected"], lambda: rnnjax.unroll(CELL, PARAMS, INPUTS, remat=remat))


def test_recomputation_by_an_unknown_name():
    parts = ["remat 'sqr'", "did you mean 'sqrt'"]
    check(ValueError, parts, lambda: rnnjax.unroll(CELL, PARAMS, INPUTS, remat="sqr"))


def test_perturbation_of_another_shape_or_structure():
    parts = ["perturbation.hidden", "(2, 4)", "5 time steps", "(5, 2, 4)", "time axis"]
    check(ValueError, parts, lambda: rnnjax.unroll(CELL, PARAMS, INPUTS, perturbation=STATE))
    array = jnp.zeros((T, B, H))
    parts = ["perturbation", "array (5, 2, 4)", "LSTMState", "time axis"]
    check(ValueError, parts, lambda: rnnjax.unroll(CELL, PARAMS, INPUTS, perturbation=array))


@pytest.mark.parametrize(
    ("loss", "error", "received"),
    [
        (lambda y: jnp.sum(y, 0), ValueError, "(2, 4)"),
        (lambda y: (jnp.sum(y), y), TypeError, "tuple"),
        (lambda y: jnp.argmax(y), TypeError, "int32"),
    ],
    ids=["array", "tuple", "whole_number"],
)
def test_losses_that_are_not_a_real_scalar(loss, error, received):
    parts = ["loss returned", received, "expected", "scalar"]
    check(error, parts, lambda: rnnjax.gradient_flow(CELL, PARAMS, INPUTS, loss))


# Combinators


def test_stack_of_nothing():
    check(ValueError, ["no cells", "at least one", "stack(lstm(64), lstm(64))"], rnnjax.stack)


@pytest.mark.parametrize("layer", [rnnjax.lstm, "lstm", 64, [CELL, CELL]])
def test_stack_of_something_else(layer):
    check(
        TypeError, ["stack received", "expected cells", "stack(lstm(64), lstm(64))"], lambda: rnnjax.stack(CELL, layer)
    )


def test_learned_initial_state_of_something_else():
    check(TypeError, ["learned_initial_state", "expected"], lambda: rnnjax.learned_initial_state(rnnjax.lstm))


# Decay


@pytest.mark.parametrize(
    ("norms", "options", "parts"),
    [
        (np.ones((3, 4)), {}, ["norms", "(3, 4)", "(T,)", "GradientFlow.state"]),
        (np.float64(1), {}, ["norms", "()", "(T,)"]),
        ([1.0, -2.0, 3.0], {}, ["norms", "-2.0", "expected"]),
        ([1.0, 2.0], {"loss_step": 2}, ["loss_step is 2", "expected", "2"]),
        ([1.0, 2.0], {"loss_step": -3}, ["loss_step is -3", "expected", "2"]),
        ([], {}, ["norms", "(0,)", "expected"]),
    ],
)
def test_decay_of_what_is_no_curve_of_norms(norms, options, parts):
    check(ValueError, parts, lambda: rnnjax.decay(norms, **options))


def test_decay_of_whole_numbers_is_that_of_their_floats():
    assert rnnjax.decay([1, 2, 4, 8]) == rnnjax.decay([1.0, 2.0, 4.0, 8.0])


# Initializers


@pytest.mark.parametrize("radius", [0, -1.0, float("nan")])
def test_spectral_normal_of_no_radius(radius):
    check(ValueError, ["radius is", f"{radius:g}", "positive"], lambda: initializers.spectral_normal(radius))


@pytest.mark.parametrize("shape", [(3, 4), (3,), (2, 3, 3)])
def test_square_initializers_of_another_shape(shape):
    for name, init in [("identity", initializers.identity()), ("spectral_normal", initializers.spectral_normal(1.0))]:
        parts = [name, str(shape), "square", "recurrent_init"]
        check(ValueError, parts, lambda init=init: init(jax.random.key(0), shape))


# What people tried who came from other libraries


def one_layer_of_torch():
    shapes = {"weight_ih_l0": (4 * H, I), "weight_hh_l0": (4 * H, H), "bias_ih_l0": (4 * H,), "bias_hh_l0": (4 * H,)}
    return adapter.from_torch({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, "lstm")


def truncated(targets):
    cell = rnnjax.elman(H)
    inputs, loss = jnp.ones((6, B, I)), lambda outputs, targets: ((outputs - targets) ** 2).sum()
    return rnnjax.truncated_gradient(cell, cell.init(jax.random.key(0), I), inputs, targets, loss, every=3, through=6)


def flow(loss):
    return rnnjax.gradient_flow(CELL, PARAMS, INPUTS, loss)


REFUSED = {
    "inputs for a size": (lambda: CELL.init(jax.random.key(0), INPUTS), "input_size is an array of shape (5, 2, 3)"),
    "a number for a key": (lambda: CELL.init(0, 3), "key is 0 (int): expected a random key"),
    "a name for an initializer": (
        lambda: rnnjax.lstm(H, kernel_init="glorot"),
        "kernel_init is 'glorot' (str): expected a function, such as jax.nn.initializers.normal(0.1)",
    ),
    "one layer of PyTorch": (
        lambda: rnnjax.unroll(CELL, one_layer_of_torch(), INPUTS),
        "pass params[0], or put the cell into a stack",
    ),
    "targets of another length": (
        lambda: truncated(jnp.zeros((12, B, H))),
        f"targets have shape (12, {B}, {H}): expected 6 steps on axis 0, as many as the inputs have",
    ),
    "one target for all steps": (lambda: truncated(jnp.zeros((1, B, H))), "targets have shape (1,"),
    "a word for a flag": (
        lambda: rnnjax.unroll(CELL, PARAMS, INPUTS, reverse="no"),
        "reverse is 'no' (str): expected True or False",
    ),
    "a word for a loss": (lambda: flow("mse"), "loss is 'mse' (str): expected a function, such as lambda outputs"),
    "a loss that returns nothing": (
        lambda: flow(lambda outputs: None),
        "loss returned NoneType: expected a real scalar",
    ),
    "a loss of every step": (lambda: flow(lambda outputs: outputs.sum((1, 2))), "loss returned shape (5,): expected a"),
    "a whole flow": (
        lambda: rnnjax.decay(flow(lambda outputs: outputs[-1].sum())),
        "norms are a GradientFlow: expected one leaf of GradientFlow.state, an array (T,)",
    ),
    "norms that are being traced": (
        lambda: jax.jit(rnnjax.decay)(jnp.ones(5)),
        "norms are being traced: expected their values; call decay outside of jax.jit and jax.vmap",
    ),
    "a readout of another length": (
        lambda: tasks.copy_memory(5).loss(jnp.zeros((10, 2, 9)), tasks.copy_memory(5).sample(jax.random.key(0), 2)),
        "readout has shape (10, 2, 9): expected (25, 2, 9), (T, B, output_size)",
    ),
    "a readout that is too narrow": (
        lambda: tasks.copy_memory(5).error(jnp.zeros((25, 2, 3)), tasks.copy_memory(5).sample(jax.random.key(0), 2)),
        "readout has shape (25, 2, 3): expected (25, 2, 9)",
    ),
    "a readout that would be broadcast": (
        lambda: tasks.adding(10).loss(jnp.zeros((10, 1)), tasks.adding(10).sample(jax.random.key(0), 3)),
        "readout has shape (10, 1): expected (10, 3, 1)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_people_tried_who_came_from_elsewhere_is_refused_in_few_words(name):
    call, message = REFUSED[name]
    with pytest.raises((TypeError, ValueError)) as raised:
        call()
    told = str(raised.value).partition("\n---")[0]
    assert message in told
    assert len(told) <= 300
