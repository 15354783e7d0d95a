"""One sequence into another, and a vector into a sequence: step by step, with padding, in PyTorch, trained."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnjax
from rnnjax.adapters.torch import from_torch
from rnnjax.engine.norms import is_inexact
from rnnjax.sequence.encoder_decoder import EncoderDecoderParams
from tests.cases import B, H, I, T, random_inputs, random_like, random_state
from tests.test_errors import check

pytestmark = pytest.mark.usefixtures("x64")

NORMAL = jax.nn.initializers.lecun_normal()  # compiles faster than orthogonal matrices
S, J, N = 3, 2, 3  # steps and width of the source, width of a vector


def stack_of_two():
    return rnnjax.stack(rnnjax.lstm(H), rnnjax.elman(H - 1))


def other_stack():
    return rnnjax.stack(rnnjax.lru(2), rnnjax.elman(H))


MODELS = {
    "equal states": lambda: (stack_of_two(), stack_of_two()),
    "by a summary": lambda: (rnnjax.gru(H), rnnjax.one_to_many(other_stack())),
}
each_model = pytest.mark.parametrize("name", MODELS)


def model_and_params(name):
    model = rnnjax.encoder_decoder(*MODELS[name]())
    return model, random_like(jax.eval_shape(lambda: model.init(jax.random.key(0), J, I)), 0, 0.5)


def source_and_inputs():
    return random_inputs(S, B, J, seed=6), random_inputs()


def looped(cell, params, state, inputs):
    """The final state and the outputs, one step at a time."""
    outputs = []
    for x in inputs:
        state, output = cell.step(params, state, x)
        outputs.append(output)
    return state, jnp.stack(outputs)


def by_hand(name, params, source, inputs):
    """Encoder and decoder in loops, and the state between them in NumPy's words."""
    encoder, _ = MODELS[name]()
    final, read = looped(encoder, params.encoder, encoder.initial_state(params.encoder, (B,)), source)
    cell, cell_params = decoder_of(name, params)
    state = final if name == "equal states" else started(cell, params.decoder, read[-1])
    return looped(cell, cell_params, state, inputs)[1]


def decoder_of(name, params):
    """The cell that decodes, and its own params."""
    return (stack_of_two(), params.decoder) if name == "equal states" else (other_stack(), params.decoder.cell)


def started(cell, params, vector):
    """tanh(v W + b) for each leaf of a stack of an lru and an elman."""

    def moved(affine):
        return jnp.tanh(jnp.einsum("bn,n...->b...", vector, affine.kernel) + affine.bias[None])

    (memory, skip), (hidden,) = params.state
    memory = moved(memory)
    lru, elman = cell.initial_state(params.cell, ())
    return lru._replace(memory=jax.lax.complex(memory[..., 0], memory[..., 1]), skip=moved(skip)), elman._replace(
        hidden=moved(hidden)
    )


def assert_close(received, expected):
    assert jax.tree.structure(received) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(received), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


# Encoder and decoder


@each_model
def test_outputs_and_gradients_equal_those_of_a_loop(name):
    model, params = model_and_params(name)
    arguments = source_and_inputs()

    def loss(apply):
        return jax.jit(jax.value_and_grad(lambda *a: jnp.sum(jnp.sin(apply(*a))), argnums=(0, 1, 2)))

    received = loss(model.apply)(params, *arguments)
    assert_close(received, loss(lambda *a: by_hand(name, *a))(params, *arguments))
    _, (d_params, d_source, _) = received
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves((d_params.encoder, d_source)))


@each_model
def test_decoding_online_from_the_encoded_state_gives_the_same_outputs(name):
    model, params = model_and_params(name)
    source, inputs = source_and_inputs()
    source_mask = rnnjax.length_mask(jnp.array([S, 2]), S)

    @jax.jit
    def online(params):
        state = model.encode(params, source, source_mask)
        return looped(*decoder_of(name, params), state, inputs[:2])[1]

    assert_close(online(params), jax.jit(model.apply)(params, source, inputs[:2], source_mask))


def masks(steps):
    return st.lists(st.lists(st.booleans(), min_size=B, max_size=B), min_size=steps, max_size=steps)


@each_model
def test_padding_changes_neither_outputs_nor_gradients(name):
    """With holes and NaN in it, against the same real steps in front, each example by itself."""
    model, params = model_and_params(name)
    source, inputs = map(np.asarray, source_and_inputs())

    def outputs_and_gradients(apply):
        def loss(params, source, inputs, source_mask, mask):
            outputs = apply(params, source, inputs, source_mask, mask)
            return jnp.sum(jnp.sin(outputs)), outputs

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))

    together = outputs_and_gradients(model.apply)
    alone = outputs_and_gradients(jax.vmap(model.apply, in_axes=(None, 1, 1, 1, 1), out_axes=1))

    @settings(max_examples=10)
    @given(source_mask=masks(S), mask=masks(T))
    def check_equal(source_mask, mask):
        both = np.array(source_mask), np.array(mask)
        padded = [np.where(m[..., None], x, np.nan) for m, x in zip(both, (source, inputs), strict=True)]
        (d_params, *d_inputs), outputs = together(params, *padded, *both)

        orders = [np.argsort(~m, axis=0, kind="stable") for m in both]
        in_front = [np.take_along_axis(x, o[..., None], axis=0) for x, o in zip((source, inputs), orders, strict=True)]
        masks_in_front = [np.take_along_axis(m, o, axis=0) for m, o in zip(both, orders, strict=True)]
        (e_params, *e_inputs), expected = alone(params, *in_front, *masks_in_front)

        assert_close(d_params, e_params)
        where = (orders[1], *orders)
        for received, wanted, order in zip((outputs, *d_inputs), (expected, *e_inputs), where, strict=True):
            assert_close(np.take_along_axis(np.asarray(received), order[..., None], axis=0), np.asarray(wanted))
        for of_padding, real in zip((outputs, *d_inputs), (both[1], *both), strict=True):
            assert not np.asarray(of_padding)[~real].any()

    check_equal()


@each_model
def test_an_example_among_longer_ones_is_the_same_alone(name):
    model, params = model_and_params(name)
    source, inputs = source_and_inputs()
    source_mask, mask = rnnjax.length_mask(jnp.array([2, S]), S), rnnjax.length_mask(jnp.array([3, T]), T)
    outputs = jax.jit(model.apply)(params, source, inputs, source_mask, mask)
    assert_close(outputs[:3, 0], jax.jit(model.apply)(params, source[:2, 0], inputs[:3, 0]))


def test_an_empty_source_leaves_the_encoder_where_it_starts():
    model, params = model_and_params("equal states")
    source, _ = source_and_inputs()
    state = model.encode(params, source, jnp.zeros((S, B), bool))
    assert_close(state, stack_of_two().initial_state(params.encoder, (B,)))


def test_outputs_and_gradients_equal_those_of_two_lstms_in_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch, a peer to compare with, is not installed: rnnjax[bench]")
    torch.manual_seed(0)
    reads, writes = (torch.nn.LSTM(width, H, dtype=torch.float64) for width in (J, I))
    source, inputs = source_and_inputs()
    _, final = reads(torch.tensor(np.asarray(source)))
    expected, _ = writes(torch.tensor(np.asarray(inputs)), final)
    (expected**2).sum().backward()

    cell = rnnjax.stack(rnnjax.lstm(H))
    model = rnnjax.encoder_decoder(cell, cell)
    params = EncoderDecoderParams(*(from_torch(module.state_dict(), "lstm") for module in (reads, writes)))

    def loss(params):
        outputs = model.apply(params, source, inputs)
        return jnp.sum(outputs**2), outputs

    gradient, outputs = jax.jit(jax.grad(loss, has_aux=True))(params)
    np.testing.assert_allclose(outputs, expected.detach().numpy(), rtol=1e-10)
    for module, (ours,) in ((reads, gradient.encoder), (writes, gradient.decoder)):
        for name, leaf in (("weight_ih", "kernel"), ("weight_hh", "recurrent_kernel"), ("bias_ih", "bias")):
            theirs = getattr(module, f"{name}_l0").grad.numpy()
            np.testing.assert_allclose(getattr(ours, leaf).T, theirs, rtol=1e-8, atol=1e-12)


def test_the_modules_example_runs_as_written():
    text = importlib.import_module("rnnjax.sequence.encoder_decoder").__doc__
    code = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    source, inputs = source_and_inputs()
    names = vars(rnnjax) | {"key": jax.random.key(0), "source_size": J, "input_size": I, "source": source}
    names |= {"inputs": inputs, "source_mask": jnp.ones((S, B), bool), "mask": jnp.ones((T, B), bool)}
    exec(code, names)
    assert_close(names["output"], names["outputs"][0])


def test_what_was_read_is_written_backwards():
    """Without inputs of its own the decoder knows of the source by its first state alone."""
    model = rnnjax.encoder_decoder(
        rnnjax.gru(8, recurrent_init=NORMAL), rnnjax.one_to_many(rnnjax.elman(6, recurrent_init=NORMAL))
    )
    source = jnp.stack(jnp.meshgrid(*[jnp.array([-0.5, 0.5])] * 3)).reshape(3, 8, 1)  # all signs of three numbers
    nothing = jnp.zeros_like(source)

    def loss(params):
        return jnp.mean((model.apply(params, source, nothing)[..., :1] - source[::-1]) ** 2)

    def descend(carry, _):
        params, velocity = carry
        velocity = jax.tree.map(lambda v, g: 0.9 * v - 0.1 * g, velocity, jax.grad(loss)(params))
        return (jax.tree.map(jnp.add, params, velocity), velocity), None

    params = jax.jit(model.init, static_argnums=(1, 2))(jax.random.key(0), 1, 1)
    carry = params, jax.tree.map(jnp.zeros_like, params)
    (params, _), _ = jax.jit(lambda carry: jax.lax.scan(descend, carry, length=300))(carry)
    assert loss(params) < 0.01  # 0.25 for one who does not know


# From a vector


def one_to_many_and_params(cell, **options):
    model = rnnjax.one_to_many(cell, **options)
    return model, random_like(jax.eval_shape(lambda: model.init(jax.random.key(0), N, I)), 0, 0.5)


def test_any_cell_starts_where_its_own_state_is_moved_to(cell):
    model, params = one_to_many_and_params(cell)
    vector = random_inputs(B, N)
    start, state = cell.initial_state(params.cell, (B,)), model.initial_state(params, vector)
    assert jax.tree.structure(state) == jax.tree.structure(start)
    leaves, structure = jax.tree.flatten(start)
    maps = structure.flatten_up_to(params.state)
    kept = [affine is None for affine in maps]
    if any(kept):
        gradients = jax.tree.leaves(gradient_of_a_step(cell, params.cell))
        assert kept == [leaf.dtype == jax.dtypes.float0 or not leaf.any() for leaf in gradients]
    for received, leaf, affine in zip(jax.tree.leaves(state), leaves, maps, strict=True):
        assert received.dtype == leaf.dtype
        if affine is None:
            np.testing.assert_array_equal(received, leaf)
            continue
        move = np.tanh(np.einsum("bn,n...->b...", vector, affine.kernel) + affine.bias[None])
        move = move[..., 0] + 1j * move[..., 1] if np.iscomplexobj(leaf) else move
        np.testing.assert_allclose(received, leaf + move, rtol=1e-12)
    outputs = jax.eval_shape(model.apply, params, vector, random_inputs())
    assert outputs.shape[:-1] == (T, B)
    assert outputs.dtype == jnp.float64


def gradient_of_a_step(cell, params):
    """With respect to the state before it."""

    def size(state):
        new_state = cell.advance(params, state, cell.project(params, random_inputs(B, I)))
        return sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(new_state) if is_inexact(leaf))

    return jax.grad(size, allow_int=True)(random_state(cell, params))


def counting_cell():
    """An Elman cell with a count of steps and a random key in its state."""
    elman = rnnjax.elman(H)

    def initial_state(params, batch_shape):
        keys = jnp.broadcast_to(jax.random.key(7), batch_shape)
        return {"count": jnp.full(batch_shape, 5), "hidden": jnp.zeros((*batch_shape, H)), "key": keys}

    def advance(params, state, drive):
        hidden = jnp.tanh(drive + state["hidden"] @ params.recurrent_kernel) / state["count"][..., None].astype(float)
        return {"count": state["count"] + 1, "hidden": hidden, "key": state["key"]}

    return rnnjax.Cell(elman.init, initial_state, elman.project, advance, lambda params, state: state["hidden"])


def test_counts_and_random_keys_start_as_they_do_in_the_cell():
    cell = rnnjax.stack(counting_cell(), rnnjax.clockwork(H, (1, 2)))
    model, params = one_to_many_and_params(cell)
    counting, clockwork = model.initial_state(params, random_inputs(B, N))
    np.testing.assert_array_equal(counting["count"], [5, 5])
    assert (counting["key"] == jax.random.key(7)).all()
    assert not clockwork.step.any()
    assert counting["hidden"].all()
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(model.apply(p, random_inputs(B, N), random_inputs()))))(params)
    assert all(leaf.any() for leaf in jax.tree.leaves(gradient.state))


def test_the_linear_map_and_its_padding():
    cell = rnnjax.gru(H)
    model, params = one_to_many_and_params(cell, activation="identity")
    vector, inputs, mask = random_inputs(B, N), random_inputs(), rnnjax.length_mask(jnp.array([2, 0]), T)
    hidden = vector @ params.state.hidden.kernel + params.state.hidden.bias[None]
    np.testing.assert_allclose(model.initial_state(params, vector).hidden, hidden, rtol=1e-12)

    def loss(inputs):
        outputs = model.apply(params, vector, inputs, mask)
        return jnp.sum(outputs**2), outputs

    gradient, outputs = jax.jit(jax.grad(loss, has_aux=True))(jnp.where(mask[..., None], inputs, jnp.nan))
    np.testing.assert_allclose(outputs[:2, 0], jax.jit(model.apply)(params, vector[0], inputs[:2, 0]), rtol=1e-12)
    assert not outputs[~mask].any()
    assert not gradient[~mask].any()
    assert gradient[mask].all()


def test_dtypes_follow_the_params():
    model, params = one_to_many_and_params(other_stack())
    arguments = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (params, random_inputs(B, N), random_inputs()))
    assert jax.eval_shape(model.apply, *arguments).dtype == jnp.bfloat16


def fading_cell():
    """A plane and a complex vector that halve at every step: all about it is its state's shapes."""

    def initial_state(params, batch_shape):
        return {"complex": jnp.zeros((*batch_shape, 60), complex), "plane": jnp.zeros((*batch_shape, 3, 20))}

    def advance(params, state, drive):
        return jax.tree.map(lambda leaf: leaf / 2, state)

    return rnnjax.Cell(lambda key, input_size: (), initial_state, lambda params, inputs: inputs, advance)


def test_an_initial_map_keeps_the_size_of_a_vectors_elements():
    model = rnnjax.one_to_many(fading_cell(), "identity")
    state = model.initial_state(model.init(jax.random.key(0), 400, I), random_inputs(400))
    for values in (state["plane"], state["complex"].real, state["complex"].imag):
        assert 0.7 < jnp.std(values) < 1.3


# Errors


def test_states_that_are_not_alike():
    def init(encoder, decoder):
        return lambda: jax.eval_shape(lambda: rnnjax.encoder_decoder(encoder, decoder).init(jax.random.key(0), J, I))

    lstm, gru = rnnjax.lstm(H), rnnjax.gru(H)
    parts = ["LSTMState(hidden=(4,), cell=(4,))", "GRUState(hidden=(4,))", "one_to_many(decoder)"]
    check(ValueError, parts, init(lstm, gru))
    check(ValueError, ["GRUState(hidden=(4,))", "ElmanState(hidden=(4,))"], init(gru, rnnjax.elman(H)))
    check(ValueError, ["hidden=(4,)", "hidden=(7,)", "expected equal"], init(gru, rnnjax.gru(7)))
    check(ValueError, ["(LSTMState", "GRUState", "expected equal"], init(rnnjax.stack(lstm), gru))


def test_sources_and_masks_that_do_not_fit():
    model, params = model_and_params("equal states")
    source, inputs = source_and_inputs()
    parts = ["source has shape (3, 2, 2)", "inputs (5, 1, 3)", "(S, ..., J)", "(T, ..., I)"]
    check(ValueError, parts, lambda: model.apply(params, source, inputs[:, :1]))
    mask = jnp.ones((T, B), bool)
    check(ValueError, ["source_mask", "(5, 2)", "(3, 2)"], lambda: model.apply(params, source, inputs, mask))
    check(TypeError, ["mask has dtype float64"], lambda: model.apply(params, source, inputs, None, mask.astype(float)))
    check(ValueError, ["(0, 2, 2)", "empty sequence"], lambda: model.encode(params, source[:0]))


def test_vectors_that_do_not_fit():
    model, params = one_to_many_and_params(rnnjax.gru(H))
    inputs = random_inputs()
    parts = ["vector has shape (2, 7)", "(..., 3)", "vector_size"]
    check(ValueError, parts, lambda: model.apply(params, jnp.zeros((B, 7)), inputs))
    parts = ["vector has shape (3,)", "inputs (5, 2, 3)", "one vector for each example"]
    check(ValueError, parts, lambda: model.apply(params, jnp.zeros(N), inputs))
    check(TypeError, ["vector has dtype int64", "real numbers"], lambda: model.apply(params, jnp.zeros(N, int), inputs))
    check(TypeError, ["vector is a list"], lambda: model.initial_state(params, [0.0] * N))
    check(ValueError, ["vector_size is 0"], lambda: rnnjax.one_to_many(rnnjax.gru(H)).init(jax.random.key(0), 0, I))


def test_what_is_no_cell():
    check(TypeError, ["encoder_decoder received lstm"], lambda: rnnjax.encoder_decoder(rnnjax.lstm, rnnjax.lstm(H)))
    check(TypeError, ["encoder_decoder received 3"], lambda: rnnjax.encoder_decoder(rnnjax.lstm(H), 3))
    check(TypeError, ["one_to_many received gru"], lambda: rnnjax.one_to_many(rnnjax.gru))
    check(ValueError, ["'tahn'", "did you mean 'tanh'"], lambda: rnnjax.one_to_many(rnnjax.gru(H), "tahn"))


def test_a_cell_without_memory_has_no_use_for_a_vector():
    def forgets(params, state, drive):
        return type(state)(jnp.tanh(drive))

    model = rnnjax.one_to_many(rnnjax.elman(H)._replace(advance=forgets))
    check(ValueError, ["no gradient", "lstm(64)"], lambda: model.init(jax.random.key(0), N, I))
