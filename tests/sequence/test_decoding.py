"""Decoding: against loops by hand over a cell's step, exhaustive search, and frequencies."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.sequence import decoding
from tests.test_errors import check

V, H = 4, 8
CELLS = {
    "lstm": lambda: rnnjax.lstm(H),
    "stack": lambda: rnnjax.stack(rnnjax.gru(H), rnnjax.elman(H)),
    "clockwork": lambda: rnnjax.clockwork(H),  # with a clock in its state
}


class Model:
    """A network with weights large enough for its choices to depend on what was said."""

    def __init__(self, cell: rnnjax.Cell, batch: tuple[int, ...] = ()) -> None:
        keys = jax.random.split(jax.random.key(3), 3)
        self.cell, self.params = cell, jax.tree.map(lambda leaf: 3 * leaf, cell.init(keys[0], V))
        self.kernel = 2 * jax.random.normal(keys[1], (H, V))
        prompt = jax.random.randint(keys[2], (5, *batch), 0, V)
        self.state, outputs = rnnjax.unroll(cell, self.params, self.embed(prompt))
        self.logits = self.readout(outputs[-1])
        self.functions = {"embed": self.embed, "readout": self.readout}

    def embed(self, tokens: jax.Array) -> jax.Array:
        return jax.nn.one_hot(tokens, V)

    def readout(self, outputs: jax.Array) -> jax.Array:
        return outputs @ self.kernel

    def generate(self, key: int = 0, **options):
        known = (self.cell, self.params, self.state, self.logits)
        return rnnjax.generate(*known, jax.random.key(key), **self.functions, **options)

    def beams(self, **options):
        return rnnjax.beam_search(self.cell, self.params, self.state, self.logits, **self.functions, **options)

    def score(self, tokens) -> np.ndarray:
        """Ln p of each of tokens (T, ...), step by step."""
        state, logits, found = self.state, self.logits, []
        for token in tokens:
            found.append(np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), np.asarray(token)[..., None], -1))
            state, outputs = self.cell.step(self.params, state, self.embed(token))
            logits = self.readout(outputs)
        return np.stack(found)[..., 0]


@pytest.fixture(params=CELLS)
def model(request: pytest.FixtureRequest) -> Model:
    return Model(CELLS[request.param]())


def test_greedy_takes_the_largest_logit_at_every_step(model):
    said = model.generate(length=12, choose=decoding.greedy)
    state, logits = model.state, model.logits
    for token in said.tokens:
        assert token == np.argmax(logits)
        state, outputs = model.cell.step(model.params, state, model.embed(token))
        logits = model.readout(outputs)
    np.testing.assert_allclose(said.logits, logits, rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), said.state, state)


def test_the_score_of_a_text_is_the_sum_of_its_steps_as_read_by_the_network(model):
    said = model.generate(length=9, choose=lambda key, logits: decoding.sample(key, decoding.temperature(logits, 2.0)))
    np.testing.assert_allclose(said.log_probabilities, model.score(said.tokens), rtol=1e-4, atol=1e-5)


def test_it_goes_on_where_it_stopped():
    model = Model(rnnjax.lstm(H))
    whole = model.generate(length=8, choose=decoding.greedy)
    first = model.generate(length=3, choose=decoding.greedy)
    known = (model.cell, model.params, first.state, first.logits, jax.random.key(1))
    rest = rnnjax.generate(*known, **model.functions, length=5, choose=decoding.greedy)
    np.testing.assert_array_equal(np.concatenate([first.tokens, rest.tokens]), whole.tokens)


def test_tokens_are_drawn_as_often_as_softmax_says():
    model = Model(rnnjax.elman(H), batch=(1,))
    many = 20_000
    logits = jnp.broadcast_to(model.logits, (many, V))
    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (many, H)), model.state)
    said = rnnjax.generate(
        model.cell, model.params, state, logits, jax.random.key(0), **model.functions, length=2
    ).tokens
    first = np.bincount(said[0], minlength=V) / many
    np.testing.assert_allclose(first, jax.nn.softmax(model.logits[0]), atol=4 * 0.5 / np.sqrt(many))
    likeliest = int(np.argmax(first))
    _, outputs = model.cell.step(model.params, jax.tree.map(lambda leaf: leaf[0], model.state), model.embed(likeliest))
    chosen = said[1][said[0] == likeliest]
    second = np.bincount(chosen, minlength=V) / len(chosen)
    np.testing.assert_allclose(second, jax.nn.softmax(model.readout(outputs)), atol=4 * 0.5 / np.sqrt(len(chosen)))


@pytest.mark.slow
def test_after_the_end_there_is_nothing_but_the_end_and_it_costs_nothing():
    model = Model(rnnjax.gru(H), batch=(64,))
    said = model.generate(length=20, end=2)
    for tokens, scores in zip(said.tokens.T, said.log_probabilities.T, strict=True):
        ends = np.flatnonzero(tokens == 2)
        if len(ends):
            assert (tokens[ends[0] :] == 2).all()
            assert (scores[ends[0] + 1 :] == 0).all()
            assert (scores[: ends[0] + 1] < 0).all()
    assert (said.tokens == 2).any(axis=0).mean() > 0


def test_the_same_seed_gives_the_same_text_on_one_and_on_two_devices():
    model = Model(rnnjax.gru(H), batch=(4,))
    mesh = jax.sharding.Mesh(jax.devices()[:2], "batch")
    over = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    run = jax.jit(
        lambda state, logits: (
            rnnjax.generate(
                model.cell, model.params, state, logits, jax.random.key(5), **model.functions, length=16
            ).tokens
        )
    )
    one = run(model.state, model.logits)
    two = run(jax.device_put(model.state, over), jax.device_put(model.logits, over))
    assert len(two.sharding.device_set) == 2
    np.testing.assert_array_equal(one, two)


# What is done to logits

LOGITS = jnp.log(jnp.array([[0.5, 0.3, 0.15, 0.05], [0.1, 0.1, 0.2, 0.6]]))


def kept(logits):
    return np.isfinite(np.asarray(logits)).tolist()


def test_top_k_keeps_the_largest_and_what_is_equal_to_the_last_of_them():
    assert kept(decoding.top_k(LOGITS, 2)) == [[True, True, False, False], [False, False, True, True]]
    assert kept(decoding.top_k(LOGITS, 3))[1] == [True] * 4
    np.testing.assert_array_equal(decoding.top_k(LOGITS, 4), LOGITS)


@pytest.mark.parametrize(
    ("mass", "first", "second"), [(0.4, 1, 1), (0.51, 2, 1), (0.79, 2, 2), (0.81, 3, 4), (1.0, 4, 4)]
)
def test_nucleus_keeps_the_fewest_that_have_the_mass_together(mass, first, second):
    found = decoding.nucleus(LOGITS, mass)
    assert np.isfinite(found).sum(-1).tolist() == [first, second]
    np.testing.assert_array_equal(np.where(np.isfinite(found), found, LOGITS), LOGITS)


def test_temperature_divides_and_its_limit_is_greedy():
    np.testing.assert_allclose(decoding.temperature(LOGITS, 2.0), LOGITS / 2)
    cold = decoding.temperature(LOGITS, 1e-4)
    assert [int(decoding.sample(jax.random.key(k), cold)[0]) for k in range(5)] == [0] * 5


# Beam search


@pytest.mark.parametrize("end", [None, 1])
@pytest.mark.parametrize("penalty", [0.0, 0.9])
def test_as_many_beams_as_there_are_sequences_are_exhaustive_search(model, end, penalty):
    length = 3
    found = model.beams(length=length, beams=V**length, end=end, length_penalty=penalty)
    best = {}
    for tokens in itertools.product(range(V), repeat=length):
        stop = tokens.index(end) + 1 if end in tokens else length
        total = model.score(jnp.array(tokens))[:stop].sum()
        best[tokens[:stop]] = (total, total / ((5 + stop) / 6) ** penalty)
    ordered = sorted(best, key=lambda tokens: -best[tokens][1])
    for place, tokens in enumerate(ordered):
        assert tuple(found.tokens[: len(tokens), place].tolist()) == tokens
        assert found.lengths[place] == len(tokens)
    np.testing.assert_allclose(found.log_probabilities[: len(ordered)], [best[t][0] for t in ordered], rtol=1e-4)
    np.testing.assert_allclose(found.scores[: len(ordered)], [best[t][1] for t in ordered], rtol=1e-4)
    assert not np.isfinite(found.scores[len(ordered) :]).any()  # of what cannot be there is nothing


def test_one_beam_is_greedy(model):
    found = model.beams(length=10, beams=1)
    np.testing.assert_array_equal(found.tokens[:, 0], model.generate(length=10, choose=decoding.greedy).tokens)


@pytest.mark.slow
def test_more_beams_find_nothing_worse_and_scores_are_those_of_the_sequences():
    model = Model(rnnjax.lstm(H), batch=(3,))
    wide, narrow = (model.beams(length=7, beams=beams) for beams in (V**7 // 64, 3))
    assert (wide.scores[0] >= narrow.scores[0] - 1e-5).all()
    for place in range(3):
        reread = model.score(narrow.tokens[:, place]).sum(0)
        np.testing.assert_allclose(narrow.log_probabilities[place], reread, rtol=1e-4)
    assert (np.diff(narrow.scores, axis=0) <= 0).all()


def test_a_batch_is_searched_as_each_of_its_examples():
    batched = Model(rnnjax.stack(rnnjax.gru(H), rnnjax.elman(H)), batch=(3,))
    together = batched.beams(length=5, beams=4, end=0)
    for example in range(3):
        alone = rnnjax.beam_search(
            batched.cell,
            batched.params,
            jax.tree.map(lambda leaf, example=example: leaf[example], batched.state),
            batched.logits[example],
            **batched.functions,
            length=5,
            beams=4,
            end=0,
        )
        np.testing.assert_array_equal(alone.tokens, together.tokens[..., example])
        np.testing.assert_allclose(alone.scores, together.scores[:, example], rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "parts"),
    [
        (lambda m: m.generate(length=0), ValueError, ("length is 0", "at least 1")),
        (lambda m: m.generate(length=2, end=V), ValueError, ("end is 4", "0 to 3")),
        (lambda m: m.beams(length=2, beams=0), ValueError, ("beams is 0",)),
        (lambda m: m.beams(length=2, beams=2, length_penalty=-1), ValueError, ("length_penalty is -1",)),
        (lambda m: decoding.temperature(LOGITS, 0), ValueError, ("temperature is 0", "greedy")),
        (lambda m: decoding.top_k(LOGITS, 5), ValueError, ("top_k is 5", "at most 4")),
        (lambda m: decoding.top_k(LOGITS, 0), ValueError, ("top_k is 0",)),
        (lambda m: decoding.nucleus(LOGITS, 0.0), ValueError, ("nucleus is 0.0", "at most 1")),
        (lambda m: decoding.nucleus(LOGITS, 1.1), ValueError, ("nucleus is 1.1",)),
        (lambda m: decoding.nucleus(LOGITS, float("nan")), ValueError, ("nucleus is nan",)),
    ],
)
def test_what_cannot_be_is_refused(call, error, parts):
    model = Model(rnnjax.elman(H))
    check(error, parts, lambda: call(model))
