"""The captioning experiment's networks, written out by hand, and at which step their gradients come to the picture."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments.captioning import flow, model, scenes
from experiments.captioning.convolution import over_patches
from experiments.captioning.data import batch_of, in_rows
from experiments.captioning.grammar import LONGEST
from experiments.captioning.main import loss_with
from experiments.captioning.model import ATTENTION, EVERY_STEP, INITIAL_STATE, NO_PICTURE, WAYS, Model, Network

SEEING = (INITIAL_STATE, EVERY_STEP, ATTENTION)

BATCH = batch_of(in_rows(2, 5))
READ = model.shifted(BATCH.words)
SMALL = ConfigDict(
    {"cell": "elman", "hidden_size": 3, "channels": 4, "vector_size": 5, "embedding_size": 2, "attention_size": 6}
)


def network_of(way: str) -> tuple[Model, Network]:
    """Of Elman cells; no param is 0."""
    made = model.make_model(way, SMALL)
    with jax.enable_x64(False):
        network = jax.jit(lambda key: model.init(made, key))(jax.random.key(1))
        leaves, structure = jax.tree.flatten(network)
        moved = [leaf + 0.1 * np.cos(np.arange(leaf.size, dtype=np.float32)).reshape(leaf.shape) for leaf in leaves]
    return made, jax.tree.unflatten(structure, moved)


def features_of(made: Model) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(25, 2, made.channels)).astype(np.float32)


def written_out(made: Model, network: Network, features: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Logits (T, V) of one caption, of features (S, C), word by word."""
    plain = jax.tree.map(np.asarray, network)
    params, hidden, found = plain.decoder, np.zeros(3), []
    if made.way in (INITIAL_STATE, EVERY_STEP):
        dense, norm = (plain.vector["params"][f"layers_{number}"] for number in range(2))
        vector = features.reshape(-1) @ dense["kernel"] + dense["bias"]
        vector = (vector - vector.mean()) / np.sqrt(vector.var() + 1e-6) * norm["scale"] + norm["bias"]
        vector = np.maximum(vector, 0)
    if made.way == INITIAL_STATE:
        (start,) = params.state  # of an Elman cell's only field
        hidden = np.tanh(vector @ start.kernel + start.bias)
    cell = params if made.way in (EVERY_STEP, NO_PICTURE) else params.cell
    for word in [0, *words[:-1]]:
        x = plain.words[word]
        if made.way == EVERY_STEP:
            x = np.concatenate([x, vector])
        if made.way == ATTENTION:
            scores = [
                np.tanh(hidden @ params.query_kernel + m @ params.memory_kernel) @ params.score_kernel for m in features
            ]
            weights = np.exp(scores) / np.exp(scores).sum()
            x = np.concatenate([x, sum(a * m for a, m in zip(weights, features, strict=True))])
        hidden = np.tanh(x @ cell.kernel + hidden @ cell.recurrent_kernel + cell.bias)
        readout = plain.readout["params"]
        found.append(hidden @ readout["kernel"] + readout["bias"])
    return np.array(found)


@pytest.mark.parametrize("way", WAYS)
def test_logits_of_each_way_are_those_written_out_word_by_word(way: str) -> None:
    made, network = network_of(way)
    features = features_of(made)
    found = jax.jit(lambda network: model.logits(made, network, jnp.asarray(features), READ))(network)
    words = np.asarray(BATCH.words)
    for place in range(2):
        expected = written_out(made, network, features[:, place], words[:, place])
        np.testing.assert_allclose(found[:, place], expected, rtol=2e-4, atol=2e-5)
    nats = model.losses(found, BATCH._replace(mask=BATCH.mask.at[10:, 1].set(False)))
    assert (np.asarray(nats[10:, 1]) == 0).all()
    expected = np.log(np.exp(found).sum(axis=-1)) - np.take_along_axis(np.asarray(found), words[..., None], -1)[..., 0]
    np.testing.assert_allclose(nats[:, 0], expected[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("way", SEEING)
def test_without_features_each_way_says_what_a_decoder_says_that_sees_no_picture(way: str) -> None:
    """As it is before training, where biases are 0; the decoder that sees none has the same weights."""
    gated = ConfigDict({**SMALL, "cell": "gru"})
    made, blind = (model.make_model(each, gated) for each in (way, NO_PICTURE))
    network = jax.jit(lambda key: model.init(made, key))(jax.random.key(2))
    cell = network.decoder if way == EVERY_STEP else network.decoder.cell
    same = Network(None, None, None, network.words, cell._replace(kernel=cell.kernel[:2]), network.readout)
    features = jnp.zeros((25, 2, 4))
    found = model.logits(made, network, features, READ)
    expected = model.logits(blind, same, features, READ)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert abs(np.asarray(model.logits(made, network, features + 1, READ)) - expected).max() > 1e-3


@pytest.mark.parametrize("way", WAYS)
def test_one_beam_says_what_the_likeliest_word_each_time_says(way: str) -> None:
    made, network = network_of(way)
    features = jnp.asarray(features_of(made))
    found = jax.jit(lambda network: model.said(made, network, features, 1))(network)
    words = np.zeros((0, 2), np.int32)
    for _ in range(LONGEST):  # each time from the start, without a state that is carried
        padded = np.concatenate([words, np.zeros((LONGEST - len(words), 2), np.int32)])
        chosen = np.asarray(_LOGITS(made, network, features, model.shifted(jnp.asarray(padded))))[len(words)].argmax(
            axis=-1
        )
        ended = (words == 0).any(axis=0) if len(words) else np.zeros(2, bool)
        words = np.concatenate([words, np.where(ended, 0, chosen)[None].astype(np.int32)])
    np.testing.assert_array_equal(found.tokens[:, 0], words)


_LOGITS = jax.jit(model.logits, static_argnums=0)


def test_attention_looks_where_its_weights_say_and_moves_with_the_words() -> None:
    made, network = network_of(ATTENTION)
    features = features_of(made)
    found = np.asarray(model.looked_at(made, network, jnp.asarray(features), BATCH.words))
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)
    params, m = jax.tree.map(np.asarray, network.decoder), features[:, 1]
    hidden = np.zeros(3)
    scores = np.tanh(hidden @ params.query_kernel + m @ params.memory_kernel) @ params.score_kernel
    np.testing.assert_allclose(found[0, 1], np.exp(scores) / np.exp(scores).sum(), rtol=1e-4)
    assert abs(found[1] - found[0]).max() > 1e-4


@pytest.mark.parametrize(("side", "stride"), [(10, 2), (9, 2), (7, 1)])
def test_a_convolution_over_patches_has_the_values_and_gradients_of_jaxs_own(side: int, stride: int) -> None:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(2, side, side, 3)).astype(np.float32)
    kernel = generator.normal(size=(3, 3, 3, 4)).astype(np.float32)

    def of(convolve: Any) -> Any:
        def loss(images: Any, kernel: Any) -> Any:
            found = convolve(images, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            return jnp.sin(found).sum(), found

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(images, kernel)

    for own, jaxs in zip(
        *(jax.tree.leaves(of(each)) for each in (over_patches, jax.lax.conv_general_dilated)), strict=True
    ):
        np.testing.assert_allclose(own, jaxs, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="padding is 'VALID': expected 'SAME'"):
        over_patches(jnp.asarray(images), jnp.asarray(kernel), (1, 1), "VALID")


def test_each_place_of_the_feature_map_sees_the_pixels_around_its_middle_alone() -> None:
    made, network = network_of(ATTENTION)
    pictures = np.full((1, scenes.SIDE, scenes.SIDE, 3), 255, np.uint8)
    blank = np.asarray(model.see(made, network, pictures))
    for pixel in [(0, 0), (14, 14), (15, 15), (23, 30)]:
        changed = pictures.copy()
        changed[0, pixel[0], pixel[1]] = 0
        moved = (np.asarray(model.see(made, network, changed)) != blank).any(axis=-1)[:, 0].reshape(model.GRID, -1)
        middles = model.MIDDLE + model.SPACING * np.arange(model.GRID)
        rows, columns = (abs(middles - (place + 0.5)) <= 7.5 for place in pixel)
        assert not moved[~np.outer(rows, columns)].any()
        assert moved.any()


# Gradients


@pytest.mark.parametrize("way", SEEING)
@jax.numpy_dtype_promotion("standard")  # flax norms layers with numbers of 32 bits, too
def test_gradients_at_the_picture_by_step_are_those_of_differences_and_add_up(way: str, x64: None) -> None:
    made, network = network_of(way)
    network = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network)
    features = jnp.asarray(features_of(made), jnp.float64)
    apart = jnp.zeros((LONGEST + 1, *features.shape))

    @jax.jit
    def decided(moves: Any) -> Any:
        """Of the fourth word, by probabilities."""
        answers = flow.logits_apart(made, network, features, moves, BATCH.words)[3]
        most = jax.nn.softmax(answers).max(axis=-1)
        return jnp.log(most / (1 - most)).sum()

    gradient = np.asarray(jax.jit(jax.grad(decided))(apart))
    for place in [(0, 3, 0, 1), (1, 7, 1, 0), (4, 24, 0, 2), (5, 24, 0, 2)]:
        step = apart.at[place].set(1e-5)
        difference = (decided(step) - decided(-step)) / 2e-5
        np.testing.assert_allclose(gradient[place], difference, atol=1e-8)
    assert (gradient[5:] == 0).all()
    first, later = abs(gradient[0]).max(), abs(gradient[1:]).max()
    assert (first > 0) == (way == INITIAL_STATE)
    assert (later > 0) == (way != INITIAL_STATE)

    def whole(features: Any) -> Any:
        answers = model.logits(made, network, features, READ)[3]
        most = jax.nn.softmax(answers).max(axis=-1)
        return jnp.log(most / (1 - most)).sum()

    np.testing.assert_allclose(gradient.sum(axis=0), jax.jit(jax.grad(whole))(features), atol=1e-12)


@pytest.mark.slow
def test_the_flow_of_a_network_is_root_mean_squares_over_pictures_of_these_gradients() -> None:
    made, network = network_of(EVERY_STEP)
    found = jax.jit(lambda network: flow.flow(made, network, BATCH))(network)
    features = model.see(made, network, BATCH.pictures)
    apart = jnp.zeros((LONGEST + 1, *features.shape))

    @jax.jit
    @jax.grad
    def decided(moves: Any, step: Any) -> Any:
        answers = flow.logits_apart(made, network, features, moves, BATCH.words)[step]
        most = jax.nn.softmax(answers).max(axis=-1)
        return jnp.log(most / (1 - most)).sum()

    for step in (2, 9):
        gradient = np.asarray(decided(apart, step))
        seen = np.sqrt(np.square(gradient).sum(axis=(1, 3)).mean(axis=1))
        np.testing.assert_allclose(found.seen[step], seen, rtol=1e-3, atol=1e-7)
        whole = np.sqrt(np.square(gradient.sum(axis=0)).sum(axis=(0, 2)).mean())
        np.testing.assert_allclose(found.picture[step], whole, rtol=1e-3)
        assert (np.asarray(found.states[step, step + 1 :]) == 0).all()
        assert (np.asarray(found.states[step, : step + 1]) > 0).all()
    assert found.states.shape == (LONGEST, LONGEST)


@pytest.mark.slow
def test_a_fixed_cnn_has_no_gradient_and_a_trained_one_has() -> None:
    made, network = network_of(ATTENTION)

    def loss(network: Network, cnn: str) -> Any:
        key = jax.random.key(0)
        return loss_with(cnn, lambda network, batch, _: model.loss(made, network, batch), network, BATCH, key)

    for cnn, moves in (("trained", True), ("fixed", False)):
        gradient = jax.jit(jax.grad(loss), static_argnums=1)(network, cnn)
        assert any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient.convolutions)) == moves
        assert np.abs(gradient.words).max() > 0
