"""A network from a picture to a caption: a small CNN, and a decoder that sees its features in one of three ways.

    F = (m_1, ..., m_S) = CNN(picture)        S = 25 places, 8 pixels apart, each of which sees 15 by 15 pixels
    v = relu(LayerNorm(F V + b))              one vector of the whole picture

    initial_state   s_0 = tanh(v A + a)                    s_t = f(s_{t-1}, x_t)             as Vinyals et al. (2015)
    every_step      s_0 = 0                                s_t = f(s_{t-1}, [x_t, v])        as Donahue et al. (2015)
    attention       s_0 = 0, c_t = sum over j of a_tj m_j  s_t = f(s_{t-1}, [x_t, c_t])      as Xu et al. (2015)
    no_picture      s_0 = 0                                s_t = f(s_{t-1}, x_t)             the words alone

    logits_t = s_t R + r                      of the next word; x_t is the word before it, or "." before the first

For attention a learned vector of its place is added to each m_j, because without it a red circle at one place would
have the same features as a red circle at another.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.captioning.convolution import over_patches
from experiments.captioning.data import Batch
from experiments.captioning.grammar import END, LONGEST, WORDS
from experiments.captioning.scenes import SIDE
from rnnjax.names import lookup
from rnnjax.typing import Key, Params, State

INITIAL_STATE, EVERY_STEP, ATTENTION, NO_PICTURE = "initial_state", "every_step", "attention", "no_picture"
WAYS = (INITIAL_STATE, EVERY_STEP, ATTENTION, NO_PICTURE)

TRAINED, FIXED = "trained", "fixed"
"""The CNN is trained with the decoder, or stays as it was initialized."""

SPACING, MIDDLE = 8, 7.5
"""Pixels from one place of the feature map to the next, and from the edge to the middle of what the first one sees."""

GRID = SIDE // SPACING
"""The number of places in a row, and of rows."""

_END = WORDS.index(END)


class Model(NamedTuple):
    """The architecture: how the decoder sees the picture, its cell, and sizes."""

    way: str
    cell: rnnjax.Cell
    channels: int  # of the feature map
    vector: int
    embedding: int
    attention: int  # units that compare a state with a place


class Network(NamedTuple):
    """All params; None for parts that the architecture lacks."""

    convolutions: Params | None
    places: Array | None  # (S, 1, C)
    vector: Params | None
    words: Array  # (V, E)
    decoder: Params
    readout: Params  # of flax's Dense


class Decoder(NamedTuple):
    """What writes the caption of given features: a cell, its params, its initial state, and its inputs."""

    cell: rnnjax.Cell
    params: Params
    state: State
    embed: Callable[[Array], Array]  # words (..., B) to inputs (..., B, I)


def make_model(way: str, config: ConfigDict) -> Model:
    """The architecture of a config.

    Raises:
        ValueError: for an unknown way or cell.
    """
    lookup("way", way, dict.fromkeys(WAYS))
    cell = rnnjax.cell_named(config.cell)(config.hidden_size)
    return Model(way, cell, config.channels, config.vector_size, config.embedding_size, config.attention_size)


def init(model: Model, key: Key) -> Network:
    """The network before training."""
    convolutions_key, places_key, vector_key, words_key, decoder_key, readout_key = jax.random.split(key, 6)
    sees, flat = model.way != NO_PICTURE, model.way in (INITIAL_STATE, EVERY_STEP)
    picture, features = jnp.zeros((1, SIDE, SIDE, 3)), jnp.zeros(GRID**2 * model.channels)
    memory = jnp.zeros((1, model.channels))
    outputs, decoder = _init_decoder(model, memory, decoder_key)
    return Network(
        convolutions=_cnn(model).init(convolutions_key, picture) if sees else None,
        places=0.5 * jax.random.normal(places_key, (GRID**2, 1, model.channels)) if model.way == ATTENTION else None,
        vector=_vector(model).init(vector_key, features) if flat else None,
        words=jax.random.normal(words_key, (len(WORDS), model.embedding)),
        decoder=decoder,
        readout=nn.Dense(len(WORDS)).init(readout_key, outputs),
    )


def _init_decoder(model: Model, memory: Array, key: Key) -> tuple[Array, Params]:
    """An output of the cell, and the params of the decoder."""
    size = model.embedding
    if model.way == INITIAL_STATE:
        start = rnnjax.one_to_many(model.cell).init(key, model.vector, size)
        return model.cell.output(start.cell, model.cell.initial_state(start.cell, ())), start
    cell = _attending(model, memory) if model.way == ATTENTION else model.cell
    params = cell.init(key, size + model.vector if model.way == EVERY_STEP else size)
    return cell.output(params, cell.initial_state(params, ())), params


def _attending(model: Model, memory: Array) -> rnnjax.Cell:
    return rnnjax.additive_attention(model.cell, memory, attention_size=model.attention)


def _cnn(model: Model) -> nn.Module:
    """Three convolutions, each of which halves width and height."""
    layers: list[Any] = []
    for channels in (model.channels // 4, model.channels // 2, model.channels):
        layers += [nn.Conv(channels, (3, 3), strides=(2, 2), conv_general_dilated=over_patches), nn.relu]
    return nn.Sequential(layers)


def _vector(model: Model) -> nn.Module:
    """Has a layer norm: most of a picture is white, and without the norm the rest would hardly change a state."""
    return nn.Sequential([nn.Dense(model.vector), nn.LayerNorm(), nn.relu])


def see(model: Model, network: Network, pictures: Array) -> Array:
    """The features (S, B, C) of pictures (B, SIDE, SIDE, 3), uint8; zero if the network does not see them."""
    if network.convolutions is None:
        return jnp.zeros((GRID**2, len(pictures), model.channels))
    found = _cnn(model).apply(network.convolutions, 1 - pictures.astype(jnp.float32) / 255)  # the background is 0
    features = jnp.moveaxis(found.reshape(len(pictures), GRID**2, model.channels), 0, 1)
    return features if network.places is None else features + network.places


def decoder(model: Model, network: Network, features: Array) -> Decoder:
    """What writes the captions of features (S, B, C)."""
    batch, given = features.shape[1:2], network.decoder

    def words(numbers: Array) -> Array:
        return network.words[numbers]

    def words_and_vector(numbers: Array) -> Array:
        of_all = jnp.broadcast_to(vector, (*numbers.shape, model.vector))
        return jnp.concatenate([network.words[numbers], of_all], axis=-1)

    if model.way == ATTENTION:
        cell = _attending(model, features)
        return Decoder(cell, given, cell.initial_state(given, batch), words)
    if model.way == NO_PICTURE:
        return Decoder(model.cell, given, model.cell.initial_state(given, batch), words)
    vector = whole(model, network, features)
    if model.way == EVERY_STEP:
        return Decoder(model.cell, given, model.cell.initial_state(given, batch), words_and_vector)
    state = rnnjax.one_to_many(model.cell).initial_state(given, vector)
    return Decoder(model.cell, given.cell, state, words)


def whole(model: Model, network: Network, features: Array) -> Array:
    """The vector (B, N) of the whole picture, from its features (S, B, C)."""
    found: Array = _vector(model).apply(network.vector, jnp.moveaxis(features, 0, 1).reshape(features.shape[1], -1))
    return found


def readout(network: Network, outputs: Array) -> Array:
    """Logits (..., V) of the next word."""
    found: Array = nn.Dense(len(WORDS)).apply(network.readout, outputs)
    return found


def shifted(words: Array) -> Array:
    """The inputs (T, B) for words (T, B): the word before each of them, and a full stop before the first."""
    return jnp.concatenate([jnp.full_like(words[:1], _END), words[:-1]])


def logits(
    model: Model, network: Network, features: Array, read: Array, unroll: Callable[..., Any] = rnnjax.unroll
) -> Array:
    """Logits (T, B, V) of each word, where the decoder reads the words (T, B)."""
    start = decoder(model, network, features)
    _, outputs = unroll(start.cell, start.params, start.embed(read), start.state)
    return readout(network, outputs)


def losses(answers: Array, batch: Batch) -> Array:
    """Losses (T, B) of each word in nats, 0 in the padding."""
    return jnp.where(batch.mask, optax.softmax_cross_entropy_with_integer_labels(answers, batch.words), 0.0)


def loss(model: Model, network: Network, batch: Batch, read: Array | None = None) -> Array:
    """Mean loss in nats a word, where the decoder reads the true words, or those of ``read``."""
    read = shifted(batch.words) if read is None else read
    answers = logits(model, network, see(model, network, batch.pictures), read)
    return losses(answers, batch).sum() / batch.mask.sum(dtype=answers.dtype)


def drawn_loss(model: Model, count: int, word_dropout: float, network: Network, examples: Batch, key: Key) -> Array:
    """The loss of ``count`` pictures that are drawn at random; some of the words are read as full stops."""
    drawn_key, words_key = jax.random.split(key)
    drawn = jax.random.randint(drawn_key, (count,), 0, len(examples.pictures))
    batch = Batch(examples.pictures[drawn], examples.words[:, drawn], examples.mask[:, drawn])
    read = shifted(batch.words)
    dropped = jax.random.bernoulli(words_key, word_dropout, read.shape)
    return loss(model, network, batch, jnp.where(dropped, _END, read))


def said(model: Model, network: Network, features: Array, beams: int) -> rnnjax.Beams:
    """The captions of features (S, B, C) by beam search, the likeliest first."""
    start = decoder(model, network, features)

    def of_outputs(outputs: Array) -> Array:
        return readout(network, outputs)

    before = jnp.full(features.shape[1], _END)
    state, outputs = start.cell.step(start.params, start.state, start.embed(before))
    return rnnjax.beam_search(
        start.cell,
        start.params,
        state,
        of_outputs(outputs),
        embed=start.embed,
        readout=of_outputs,
        length=LONGEST,
        beams=beams,
        end=_END,
    )


def looked_at(model: Model, network: Network, features: Array, words: Array) -> Array:
    """Attention weights (T, B, S) before each of the words (T, B)."""
    start = decoder(model, network, features)
    _, outputs = rnnjax.unroll(start.cell, start.params, start.embed(shifted(words)), start.state)
    first = start.cell.output(start.params, start.state)
    queries = jnp.concatenate([first[None], outputs[:-1]])
    return rnnjax.additive_weights(start.params, queries, features)
