"""CBOW and skip-gram: losses and gradients by loops, closed forms of their optima, copies that learn side by side."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from experiments.common import host_devices
from experiments.word_vectors import config as settings
from experiments.word_vectors import data as texts
from experiments.word_vectors import main as word_vectors
from experiments.word_vectors import pairs
from experiments.word_vectors.pairs import Vectors

V, E, L, W = 7, 3, 6, 2


def vectors_of(seed: int, dtype: Any = jnp.float32) -> Vectors:
    generator = np.random.default_rng(seed)
    return Vectors(*(jnp.asarray(generator.normal(size=(V, E)), dtype) for _ in range(2)))


def pairs_of(block: np.ndarray, reach: np.ndarray) -> Iterator[tuple[int, list[int]]]:
    """Each word of a block's middle and the places of those near it."""
    for place in range(W, W + L):
        far = reach[place - W]
        yield place, [other for other in range(place - far, place + far + 1) if other != place]


def hidden_and_targets(model: str, vectors: Any, block: np.ndarray, reach: np.ndarray) -> Iterator[tuple[Any, int]]:
    """Of each pair, what predicts, and the word that is predicted."""
    projection = np.asarray(vectors.projection, np.float64)
    for place, others in pairs_of(block, reach):
        if model.startswith("cbow"):
            yield np.mean([projection[block[other]] for other in others], axis=0), block[place]
        else:
            yield from ((projection[block[place]], block[other]) for other in others)


BLOCK = np.array([3, 0, 1, 1, 5, 2, 1, 6, 0, 4])
REACH = np.array([1, 2, 2, 1, 2, 1])
NOISE = np.array([1, 0, 1, 4])


@pytest.mark.parametrize("model", ["cbow", "skip_gram"])
def test_full_softmax_is_the_cross_entropy_of_every_pair(model: str) -> None:
    vectors = vectors_of(0)
    expected = []
    for hidden, target in hidden_and_targets(model, vectors, BLOCK, REACH):
        scores = np.asarray(vectors.readout, np.float64) @ hidden
        expected.append(np.log(np.exp(scores).sum()) - scores[target])
    found, count = pairs.softmax_loss(model, vectors, jnp.asarray(BLOCK), jnp.asarray(REACH), W)
    assert count == len(expected) == (L if model == "cbow" else 2 * REACH.sum())
    np.testing.assert_allclose(found, sum(expected), rtol=1e-5)


@pytest.mark.parametrize("model", ["cbow:negative", "skip_gram:negative"])
def test_negative_sampling_asks_of_each_pair_and_of_k_noise_words_which_is_real(model: str) -> None:
    vectors, k, rate = vectors_of(1), 3, 0.1
    expected, gradients = 0.0, [np.zeros((V, E)), np.zeros((V, E))]
    projection, readout = (np.asarray(each, np.float64) for each in vectors)

    def sigmoid(x: float) -> float:
        return 1 / (1 + np.exp(-x))

    for place, others in pairs_of(BLOCK, REACH):
        if model.startswith("cbow"):
            read, predicted = others, [place]
        else:
            read, predicted = [place], others
        hidden = np.mean([projection[BLOCK[each]] for each in read], axis=0)
        for target in predicted:
            asked = [(BLOCK[target], 1.0, 1.0), *((word, 0.0, k / len(NOISE)) for word in NOISE)]
            for word, real, weight in asked:
                says = sigmoid(readout[word] @ hidden)
                expected -= weight * np.log(says if real else 1 - says)
                gradients[1][word] += weight * (says - real) * hidden
                for each in read:
                    gradients[0][BLOCK[each]] += weight * (says - real) * readout[word] / len(read)

    reach = jnp.asarray(REACH)
    rows = pairs.rows_of(vectors, pairs.words_of(model, jnp.asarray(BLOCK), jnp.asarray(NOISE), W))
    found, _ = pairs.negative_loss(model, k, rows, reach, W)
    np.testing.assert_allclose(found, expected, rtol=1e-5)

    sampling = pairs.Sampling(model, W, k, len(NOISE), rate, 4)
    state = pairs.initial_state(vectors, None, jax.random.key(0))._replace(step=jnp.int32(1))
    drawn = {"draw_reach": lambda *_: reach[None], "draw_noise": lambda *_: jnp.asarray(NOISE)[None]}
    with pytest.MonkeyPatch.context() as patch:
        for name, made in drawn.items():
            patch.setattr(pairs, name, made)
        after, _ = pairs.negative_steps(sampling, state, jnp.asarray(BLOCK)[None], jnp.ones(V))
    for new, old, gradient in zip(after.params, (projection, readout), gradients, strict=True):
        np.testing.assert_allclose(new, old - rate * (1 - 1 / 4) * gradient, rtol=1e-4, atol=1e-5)
    assert after.step == 2


def test_a_mean_of_near_rows_and_its_gradient_are_those_of_loops(x64: None) -> None:
    generator = np.random.default_rng(3)
    rows, above = generator.normal(size=(L + 2 * W, E)), generator.normal(size=(L, E))
    mean, to_rows = jax.vjp(lambda rows: pairs.mean_of_near(rows, jnp.asarray(REACH), W), jnp.asarray(rows))
    expected = np.zeros_like(rows)
    for place, others in pairs_of(BLOCK, REACH):
        np.testing.assert_allclose(mean[place - W], rows[others].mean(axis=0), rtol=1e-12)
        for other in others:
            expected[other] += above[place - W] / len(others)
    np.testing.assert_allclose(to_rows(jnp.asarray(above))[0], expected, rtol=1e-12)


def test_softplus_and_its_derivative_are_jax_s_own_at_any_size(x64: None) -> None:
    x = jnp.asarray([-1000.0, -30.0, -1.0, 0.0, 1e-3, 2.0, 40.0, 1000.0])
    for found, expected in zip(
        jax.jvp(pairs.softplus, (x,), (jnp.ones_like(x),)),
        jax.jvp(jax.nn.softplus, (x,), (jnp.ones_like(x),)),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_zeros_behind_a_word_s_numbers_stay_zeros_and_change_nothing(x64: None) -> None:
    vectors, sampling = vectors_of(2, jnp.float64), pairs.Sampling("cbow:negative", W, 3, 4, 0.1, 8)
    blocks, cumulative = jnp.asarray(BLOCK, jnp.int32)[None], jnp.asarray(np.linspace(1 / V, 1, V))
    after = {}
    for name, start in (("plain", vectors), ("padded", pairs.padded(vectors))):
        state = pairs.initial_state(start, None, jax.random.key(0))
        after[name], _ = pairs.negative_steps(sampling, state, blocks, cumulative)
    for plain, padded in zip(after["plain"].params, after["padded"].params, strict=True):
        assert padded.shape == (V, pairs.REGISTER)
        np.testing.assert_allclose(padded[:, :E], plain, rtol=1e-13)
        np.testing.assert_array_equal(padded[:, E:], 0)
        assert not np.array_equal(plain, vectors.projection)


def counted(text: np.ndarray, words: int) -> np.ndarray:
    """How often each word has which other beside it, the text as a ring."""
    found = np.zeros((words, words))
    for a, b in zip(text, np.roll(text, -1), strict=True):
        found[a, b] += 1
        found[b, a] += 1
    return found


def optimum(loss: Any, words: int) -> tuple[float, np.ndarray]:
    """The least of a loss of vectors with as many numbers as there are words, and their products there."""

    @jax.jit
    def of_flat(flat: Any) -> Any:
        return jax.value_and_grad(lambda flat: loss(Vectors(*flat.reshape(2, words, words))))(flat)

    def on_the_host(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = of_flat(jnp.asarray(flat))
        return float(value), np.asarray(gradient)

    start = np.random.default_rng(0).normal(size=2 * words * words)
    found = scipy.optimize.minimize(on_the_host, start, jac=True, tol=1e-12)
    projection, readout = found.x.reshape(2, words, words)
    return found.fun, projection @ readout.T


def ring(length: int, words: int) -> tuple[np.ndarray, Any, Any]:
    """A text, the whole of it as one block, and a reach of one place for each word."""
    chances = np.array([0.4, 0.3, 0.2, 0.1])[:words]
    text = np.random.default_rng(2).choice(words, length, p=chances / chances.sum())
    block = texts.blocks(text, 0, 1, length, 1)[0]
    return text, jnp.asarray(block), jnp.ones(length, int)


def test_skip_gram_with_negative_sampling_at_its_optimum_is_pmi_less_ln_k(x64: None) -> None:
    """Levy & Goldberg (2014), with the noise as it is drawn: ln N(w, c) / (N(w) P_noise(c)) - ln k."""
    text, block, reach = ring(300, 4)
    together, k = counted(text, 4), 2
    noise = np.array([0, 0, 0, 1, 1, 2, 2, 3])  # every word as often as its probability says
    probability = np.bincount(noise) / len(noise)

    def loss(vectors: Vectors) -> Any:
        rows = pairs.rows_of(vectors, pairs.words_of("skip_gram:negative", block, jnp.asarray(noise), 1))
        sums, counts = pairs.negative_loss("skip_gram:negative", k, rows, reach, 1)
        return sums / counts

    _, products = optimum(loss, 4)
    expected = np.log(together / (together.sum(axis=1, keepdims=True) * probability)) - np.log(k)
    np.testing.assert_allclose(products, expected, atol=1e-4)


def test_skip_gram_with_full_softmax_at_its_optimum_needs_the_conditional_entropy(x64: None) -> None:
    text, block, reach = ring(300, 4)
    together = counted(text, 4)

    def loss(vectors: Vectors) -> Any:
        sums, counts = pairs.softmax_loss("skip_gram", vectors, block, reach, 1)
        return sums / counts

    least, products = optimum(loss, 4)
    given = together / together.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(least, -(together * np.log(given)).sum() / together.sum(), rtol=1e-6)
    np.testing.assert_allclose(np.exp(products) / np.exp(products).sum(axis=1, keepdims=True), given, atol=1e-4)


def test_training_by_negative_sampling_comes_to_pmi_less_ln_k() -> None:
    """The steps themselves, words drawn, noise drawn, rates falling: as near as such a search comes."""
    text, _, _ = ring(2048, 4)
    together, k = counted(text, 4), 2
    noise = pairs.noise_distribution(np.bincount(text))
    sampling = pairs.Sampling("skip_gram:negative", 1, k, 32, 0.05, 64 * 60)
    step = jax.jit(functools.partial(pairs.negative_steps, sampling))
    generator = np.random.default_rng(0)
    vectors = Vectors(*(jnp.asarray(generator.normal(size=(4, 4)) / 2, jnp.float32) for _ in range(2)))
    state = pairs.initial_state(vectors, None, jax.random.key(0))
    blocks, cumulative = jnp.asarray(texts.blocks(text, 0, 64, 32, 1)), jnp.asarray(np.cumsum(noise), jnp.float32)
    for _ in range(60):
        state, _ = step(state, blocks, cumulative)
    expected = np.log(together / (together.sum(axis=1, keepdims=True) * noise)) - np.log(k)
    products = np.asarray(state.params.projection @ state.params.readout.T)
    np.testing.assert_allclose(products, expected, atol=0.15)


def test_noise_is_drawn_by_counts_to_the_power_of_three_quarters() -> None:
    counts = np.array([0, 81, 16, 1])
    np.testing.assert_allclose(pairs.noise_distribution(counts), np.array([0, 27, 8, 1]) / 36)
    cumulative = jnp.asarray(np.cumsum(pairs.noise_distribution(counts)), jnp.float32)
    drawn = np.asarray(pairs.draw_noise(jax.random.key(0), cumulative, (20_000,)))
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, np.array([0, 27, 8, 1]) / 36, atol=0.015)


# Copies


@pytest.mark.parametrize("devices", [1, 2])
def test_copies_learn_each_from_its_part_and_what_they_learned_is_added_up_on_any_number_of_devices(
    devices: int,
) -> None:
    sampling = pairs.Sampling("cbow:negative", W, 3, 4, 0.1, 40, copies=2)
    state = pairs.initial_state(vectors_of(3), None, jax.random.key(4))._replace(step=jnp.int32(10))
    blocks = jnp.asarray(np.random.default_rng(5).integers(V, size=(6, L + 2 * W)))
    cumulative = jnp.linspace(1 / V, 1, V)
    mesh = host_devices.mesh(devices)
    assert mesh.size == devices
    step = jax.jit(functools.partial(pairs.steps_of_copies, sampling, mesh))
    after, record = step(state, blocks, cumulative)
    alone = jax.jit(functools.partial(pairs.negative_steps, sampling))
    found = [
        alone(state._replace(key=jax.random.fold_in(state.key, number)), part, cumulative)
        for number, part in enumerate(jnp.split(blocks, 2))
    ]
    for place, before in enumerate(state.params):
        expected = before + sum(of_copy.params[place] - before for of_copy, _ in found)
        np.testing.assert_allclose(after.params[place], expected, rtol=1e-6, atol=1e-6)
        assert (np.abs(expected - found[0][0].params[place]) > 1e-3).any()  # the second copy counts
    np.testing.assert_allclose(record["loss"], np.mean([of_copy["loss"] for _, of_copy in found]), rtol=1e-6)
    assert after.step == found[0][0].step == 16


@pytest.mark.parametrize(
    ("models", "copies", "cores", "expected"),
    [
        ("cbow:negative", 2, 2, 2),
        ("cbow:negative", 2, 1, 1),
        ("cbow:negative", 4, 3, 2),
        ("cbow:negative", 5, 4, 1),
        ("cbow:negative", 1, 4, 1),
        ("cbow:negative,skip_gram:negative", 2, 2, 1),
        ("skip_gram:negative", 2, 2, 1),
        ("cbow", 2, 2, 1),
        ("tdnn:2", 2, 2, 1),
    ],
)
def test_copies_have_a_core_each_where_one_model_is_trained_alone(
    monkeypatch: pytest.MonkeyPatch, models: str, copies: int, cores: int, expected: int
) -> None:
    monkeypatch.setattr(host_devices, "cores", lambda: cores)
    config = settings.get_config("negative_sampling")
    config.models, config.cbow_copies = models, copies
    assert word_vectors.devices(word_vectors.plan(config), config) == expected
