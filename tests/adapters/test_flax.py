"""Cells as flax modules: the same numbers as unroll, and gradients in flax's own places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.cases import B, H, I, T, own_cell, random_inputs, random_like, random_params, random_state, unrolled
from tests.test_errors import check

pytest.importorskip("flax", reason="flax, which these adapters are for, is not installed: rnnjax[flax]")
optax = pytest.importorskip("optax", reason="optax is not installed: rnnjax[experiments]")

import flax.linen as nn  # noqa: E402
from flax import nnx  # noqa: E402
from flax.errors import ScopeParamShapeError  # noqa: E402
from flax.serialization import to_state_dict  # noqa: E402

from rnnjax.adapters import linen as linen_adapter  # noqa: E402
from rnnjax.adapters import nnx as nnx_adapter  # noqa: E402

VOCABULARY = 7
INPUTS = random_inputs()
WEIGHTS = random_inputs(T, B, H, seed=5)
LENGTHS = jnp.array([T, 3])
MASK = jnp.arange(T)[:, None] < LENGTHS[None]

NORMAL = jax.nn.initializers.lecun_normal()  # compiles faster than orthogonal matrices
LSTM, GRU = rnnjax.lstm(H, recurrent_init=NORMAL), rnnjax.gru(H, recurrent_init=NORMAL)


def assert_close(received, expected):
    assert jax.tree.structure(received) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(received), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def counting_cell(size):
    """An Elman cell that counts its steps in a state that has no gradient, and slows down with it."""
    elman = rnnjax.elman(size, recurrent_init=NORMAL)

    def initial_state(params, batch_shape):
        hidden = elman.initial_state(params, batch_shape).hidden
        return {"hidden": hidden, "steps": jnp.zeros(batch_shape, jnp.int32)}

    def advance(params, state, drive):
        hidden = jnp.tanh(drive + state["hidden"] @ params.recurrent_kernel)
        share = 1 / (1 + state["steps"].astype(hidden.dtype))[..., None]
        return {"hidden": share * hidden + (1 - share) * state["hidden"], "steps": state["steps"] + 1}

    return rnnjax.Cell(elman.init, initial_state, elman.project, advance, lambda params, state: state["hidden"])


CELLS = {
    "lstm": LSTM,
    "stack": rnnjax.stack(LSTM, GRU),
    "params in a dict": own_cell(H),
    "learned initial state": rnnjax.learned_initial_state(GRU),
    "counter in the state": counting_cell(H),
}
each_cell = pytest.mark.parametrize("cell", list(CELLS.values()), ids=list(CELLS))


def linen_call(cell, params, inputs, options, **arguments):
    def outputs(params, inputs):
        module = linen_adapter.RNN(cell, **options)
        return module.apply({"params": {"cell": to_state_dict(params)}}, inputs, **arguments)

    return jax.jit(outputs)(params, inputs)


def nnx_call(cell, params, inputs, options, **arguments):
    return jax.jit(lambda params, inputs: nnx_module(cell, params, **options)(inputs, **arguments))(params, inputs)


def nnx_module(cell, params, **options):
    # Without the random numbers of an initialization, which take a second to compile.
    module = nnx.eval_shape(lambda: nnx_adapter.RNN(cell, I, **options, rngs=nnx.Rngs(0)))
    module.params = nnx.data(jax.tree.map(nnx.Param, params))
    return module


each_adapter = pytest.mark.parametrize("call", [linen_call, nnx_call])


@each_cell
@each_adapter
def test_outputs_and_gradients_equal_those_of_unroll(call, cell):
    params = random_params(cell)

    def loss(outputs):
        return jnp.sum(outputs * WEIGHTS)

    def value_and_grad(function):
        return jax.jit(jax.value_and_grad(function, argnums=(0, 1)))

    ours = value_and_grad(lambda p, x: loss(rnnjax.unroll(cell, p, x)[1]))(params, INPUTS)
    theirs = value_and_grad(lambda p, x: loss(call(cell, p, x, {})))(params, INPUTS)
    assert_close(theirs, ours)


@each_adapter
@pytest.mark.parametrize("padding", [{"mask": MASK}, {"seq_lengths": LENGTHS}])
@pytest.mark.parametrize("reverse", [False, True])
def test_options_are_those_of_unroll(call, padding, reverse):
    cell = CELLS["stack"]
    params = random_params(cell)
    state = random_state(cell, params)
    options = {"reverse": reverse, "return_carry": True, "remat": 2}
    received = call(cell, params, INPUTS, options, initial_carry=state, **padding)
    assert_close(received, unrolled(cell, params, INPUTS, state, mask=MASK, reverse=reverse))


@each_adapter
@pytest.mark.parametrize("method", ["scan", "parallel"])
def test_resets_and_recurrences_in_parallel_are_those_of_unroll(call, method):
    cell = rnnjax.stack(rnnjax.min_gru(H), rnnjax.lru(2))
    params, reset = random_params(cell), jnp.zeros((T, B), bool).at[2, 1].set(True)
    received = call(cell, params, INPUTS, {"method": method, "return_carry": True}, mask=MASK, reset=reset)
    assert_close(received, unrolled(cell, params, INPUTS, mask=MASK, reset=reset))


@each_adapter
@pytest.mark.parametrize("batch_shape", [(), (2, 3)])
def test_any_number_of_batch_axes(call, batch_shape):
    cell = LSTM
    params, inputs = random_params(cell), random_inputs(T, *batch_shape, I)
    lengths = jnp.full(batch_shape, 2)
    mask = jnp.broadcast_to(jnp.arange(T).reshape(T, *(1 for _ in batch_shape)) < 2, (T, *batch_shape))
    assert_close(call(cell, params, inputs, {}, seq_lengths=lengths), unrolled(cell, params, inputs, mask=mask)[1])


# linen


def test_linen_params_have_names_and_are_those_of_the_cell():
    cell, key = CELLS["stack"], jax.random.key(0)
    variables = linen_adapter.RNN(cell).init(key, INPUTS)
    names = {"kernel", "recurrent_kernel", "bias"}
    assert {name: set(layer) for name, layer in variables["params"]["cell"].items()} == {"0": names, "1": names}
    shapes = jax.tree.map(jnp.shape, variables["params"]["cell"])
    assert shapes == jax.tree.map(jnp.shape, to_state_dict(cell.init(key, I)))


def zero_variables(module, *inputs):
    """What init makes, but for the random numbers, which take seconds to compile."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


class LinenModel(nn.Module):
    cell: rnnjax.Cell

    @nn.compact
    def __call__(self, tokens):
        hidden = linen_adapter.RNN(self.cell, name="rnn")(nn.Embed(VOCABULARY, I)(tokens))
        return nn.Dense(VOCABULARY)(hidden)


def tokens_of(steps, batch):
    """Each example counts upwards from another number: the next token follows from this one."""
    return (jnp.arange(steps)[:, None] + jnp.arange(batch)[None]) % VOCABULARY


def next_token_loss(logits, tokens):
    return optax.softmax_cross_entropy_with_integer_labels(logits[:-1], tokens[1:]).mean()


def test_linen_model_with_embed_and_dense_learns():
    model, tokens = LinenModel(CELLS["stack"]), tokens_of(T, 3)
    params = model.init(jax.random.key(0), tokens)["params"]
    optimizer = optax.sgd(0.5, momentum=0.9)

    @jax.jit
    def train_step(params, moments):
        loss, gradients = jax.value_and_grad(lambda p: next_token_loss(model.apply({"params": p}, tokens), tokens))(
            params
        )
        updates, moments = optimizer.update(gradients, moments)
        return optax.apply_updates(params, updates), moments, loss

    moments, losses = optimizer.init(params), []
    for _ in range(30):
        params, moments, loss = train_step(params, moments)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]


@each_cell
def test_linen_perturbations_have_the_gradient_that_gradient_flow_measures(cell):
    params, module = random_params(cell), linen_adapter.RNN(cell)
    named = {"cell": to_state_dict(params)}
    perturbations = zero_variables(module, INPUTS)["perturbations"]

    def loss(outputs):
        return jnp.sum(outputs[-1] ** 2)

    def of_perturbations(perturbations):
        return loss(module.apply({"params": named, "perturbations": perturbations}, INPUTS))

    gradient = jax.jit(jax.grad(of_perturbations))(perturbations)["state"]
    assert_norms_equal_gradient_flow(gradient, gradient_flow(cell, params, loss))


def gradient_flow(cell, params, loss):
    return jax.jit(lambda params: rnnjax.gradient_flow(cell, params, INPUTS, loss))(params)


def assert_norms_equal_gradient_flow(gradient, flow):
    """Of each leaf (T, B, ...) in turn; gradient_flow has one more, of zeros, for each counter."""
    expected = [norms for norms in jax.tree.leaves(flow.state) if norms.any()]
    received = [jnp.linalg.norm(leaf.reshape(T, -1), axis=1) for leaf in jax.tree.leaves(gradient)]
    assert_close(received, expected)
    assert all((norms[:-1] > 0).all() for norms in expected)  # an LSTM's last memory cell has 0


def test_linen_perturbations_of_a_model_show_every_layer_between_embed_and_dense():
    model, tokens = LinenModel(CELLS["stack"]), tokens_of(T, 3)
    variables = zero_variables(model, tokens)
    params = random_like(variables["params"], seed=6)

    def loss(perturbations):
        return next_token_loss(model.apply({"params": params, "perturbations": perturbations}, tokens), tokens)

    lower, upper = jax.jit(jax.grad(loss))(variables["perturbations"])["rnn"]["state"]
    assert lower.cell.shape == upper.hidden.shape == (T, 3, H)
    assert (jnp.abs(lower.cell[:-2]).sum(axis=(1, 2)) > 0).all()
    assert not lower.hidden[-1].any()  # the last logits are not in the loss


def test_linen_perturbations_are_added_inside_the_recurrence():
    params, module = random_params(LSTM), linen_adapter.RNN(LSTM)
    perturbation = random_like(zero_variables(module, INPUTS)["perturbations"]["state"], seed=6)
    variables = {"params": {"cell": to_state_dict(params)}, "perturbations": {"state": perturbation}}
    _, expected = unrolled(LSTM, params, INPUTS, perturbation=perturbation)
    assert_close(module.apply(variables, INPUTS), expected)


# nnx


class NNXModel(nnx.Module):
    def __init__(self, cell: rnnjax.Cell, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(VOCABULARY, I, rngs=rngs)
        self.rnn = nnx_adapter.RNN(cell, I, rngs=rngs)
        self.head = nnx.Linear(H, VOCABULARY, rngs=rngs)

    def __call__(self, tokens):
        return self.head(self.rnn(self.embed(tokens)))


def test_nnx_params_have_names():
    model = NNXModel(CELLS["stack"], nnx.Rngs(0))
    assert model.rnn.params[0].kernel.shape == (I, 4 * H)
    paths = {path for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param))}
    layer = {(index, name) for index in (0, 1) for name in ("kernel", "recurrent_kernel", "bias")}
    assert {path[2:] for path in paths if path[0] == "rnn"} == layer


def test_nnx_model_with_embed_and_linear_learns():
    model, tokens = NNXModel(CELLS["stack"], nnx.Rngs(0)), tokens_of(T, 3)
    optimizer = nnx.Optimizer(model, optax.sgd(0.5, momentum=0.9), wrt=nnx.Param)

    @nnx.jit
    def train_step(model, optimizer):
        loss, gradients = nnx.value_and_grad(lambda model: next_token_loss(model(tokens), tokens))(model)
        optimizer.update(model, gradients)
        return loss

    losses = [float(train_step(model, optimizer)) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


@each_cell
def test_nnx_perturbations_have_the_gradient_that_gradient_flow_measures(cell):
    params = random_params(cell)
    module = nnx_module(cell, params)
    _, perturbations = nnx.jit(nnx.capture(lambda module: module(INPUTS), nnx.Perturbation))(module)

    def loss(outputs):
        return jnp.sum(outputs[-1] ** 2)

    def of_perturbations(module, perturbations):
        outputs, _ = nnx.capture(module, nnx.Intermediate, init=perturbations)(INPUTS)
        return loss(outputs)

    gradient = nnx.jit(nnx.grad(of_perturbations, argnums=1))(module, perturbations)
    by_name = jax.tree.leaves(gradient)  # sorted by name
    flow = gradient_flow(cell, params, loss)
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(flow.state)]
    norms = [leaf for _, leaf in sorted(zip(names, jax.tree.leaves(flow.state), strict=True), key=lambda pair: pair[0])]
    assert_norms_equal_gradient_flow(by_name, flow._replace(state=norms))


def test_nnx_calls_leave_the_module_as_it_was():
    module = nnx_module(LSTM, random_params(LSTM))
    before = nnx.graphdef(module)
    module(INPUTS)
    assert nnx.graphdef(module) == before


# Errors


@each_adapter
def test_errors_say_what_to_do(call):
    cell = LSTM
    params = random_params(cell)

    def run(inputs=INPUTS, **arguments):
        return lambda: call(cell, params, inputs, {}, **arguments)

    check(ValueError, ["both mask and seq_lengths", "one of them"], run(mask=MASK, seq_lengths=LENGTHS))
    check(ValueError, ["(5,)", "expected (2,)", "(5, 2, 3)", "time first"], run(seq_lengths=jnp.ones(T, int)))
    check(TypeError, ["seq_lengths have dtype float32", "whole numbers"], run(seq_lengths=jnp.ones(B)))
    check(TypeError, ["mask has dtype int32", "mask > 0"], run(mask=MASK.astype(int)))
    check(TypeError, ["reset has dtype int32"], run(reset=MASK.astype(int)))
    not_affine = ["method='parallel'", "not affine", "method='scan'"]
    check(ValueError, not_affine, lambda: call(cell, params, INPUTS, {"method": "parallel"}))
    check(ValueError, ["inputs have shape (3,)", "(T, ..., I)"], run(INPUTS[0, 0]))
    check(ValueError, ["state", "batch shape (2,)"], run(initial_carry=cell.initial_state(params, (3,))))
    received = ["RNN received 64", "lstm(64)"]
    check(TypeError, received, lambda: call(64, params, INPUTS, {}))


def test_linen_params_or_perturbations_of_another_size():
    module = linen_adapter.RNN(LSTM)
    variables = zero_variables(module, INPUTS)
    parts = ["perturbation.hidden", "(5, 2, 4)", "3 time steps", "(3, 2, 4)"]
    check(ValueError, parts, lambda: module.apply(variables, INPUTS[:3]))
    module.apply({"params": variables["params"]}, INPUTS[:3])
    with pytest.raises(ScopeParamShapeError, match=r"\(3, 16\)"):
        module.apply({"params": variables["params"]}, INPUTS[..., :2])


@pytest.mark.parametrize("reverse", [False, True])
def test_batch_first_is_flaxs_own_order(reverse):
    """Against flax's own RNN, whose axes stand in this order by default."""
    theirs = nn.RNN(nn.SimpleCell(H), return_carry=True, reverse=reverse, keep_order=True)
    inputs = jnp.moveaxis(INPUTS, 0, 1)
    variables = theirs.init(jax.random.key(0), inputs)
    dense = variables["params"]["cell"]
    params = (
        rnnjax.elman(H)
        .init(jax.random.key(0), I)
        ._replace(kernel=dense["i"]["kernel"], recurrent_kernel=dense["h"]["kernel"], bias=dense["i"]["bias"])
    )
    final, expected = theirs.apply(variables, inputs, seq_lengths=LENGTHS)
    options = {"reverse": reverse, "return_carry": True, "time_major": False}
    carry, outputs = linen_call(rnnjax.elman(H), params, inputs, options, seq_lengths=LENGTHS)
    real = np.asarray(MASK).T
    np.testing.assert_allclose(outputs[real], expected[real], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(carry.hidden, final, rtol=1e-5, atol=1e-6)
    module = nnx_adapter.RNN(rnnjax.elman(H), I, rngs=nnx.Rngs(0), **options)
    module.params = nnx.data(jax.tree.map(nnx.Param, params))
    assert_close(module(inputs, seq_lengths=LENGTHS), (carry, outputs))


@pytest.mark.slow
def test_two_directions_are_a_module_with_a_perturbation_for_each():
    both = rnnjax.bidirectional(GRU, LSTM)
    module = linen_adapter.RNN(both, time_major=False)
    inputs = jnp.moveaxis(INPUTS, 0, 1)
    variables = module.init(jax.random.key(0), inputs)
    assert set(variables["params"]["cell"]) == {"forward", "backward"}
    params = rnnjax.sequence.bidirectional.BidirectionalParams(
        GRU.init(jax.random.key(1), I), LSTM.init(jax.random.key(2), I)
    )
    named = {"cell": to_state_dict(params)}
    expected = jnp.moveaxis(both.apply(params, INPUTS, MASK), 0, 1)
    assert_close(module.apply({"params": named}, inputs, seq_lengths=LENGTHS), expected)

    def loss(perturbations):
        outputs = module.apply({"params": named, "perturbations": perturbations}, inputs, seq_lengths=LENGTHS)
        return jnp.sum(jnp.sin(outputs))

    adjoints = jax.grad(loss)(variables["perturbations"])["state"]
    flow = rnnjax.gradient_flow(both, params, INPUTS, lambda y: jnp.sum(jnp.sin(y)), mask=MASK)
    norms = jax.tree.map(lambda g: jnp.sqrt(jnp.sum(g**2, axis=(1, 2))), adjoints)
    for a, b in zip(jax.tree.leaves(norms), jax.tree.leaves(flow.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
