"""A network from one sequence to another: an encoder reads the source, and a decoder writes the translation.

    y_1, ..., y_S = encoder(x_1, ..., x_S)              forward, backwards ("reversed"), or in both directions
    z_0 = tanh(y W + b)                                 y the output of the last state, or of both last states
    z_t = decoder(z_{t-1}, e_t)                         e_t the embedding of the last symbol; at t = 1, of the end
    logits_t = h_t R + c                                h_t the output of z_t

Without attention this is the whole network, and all that the decoder knows of the source is in z_0 (Sutskever et al.,
2014; Cho et al., 2014). With attention it looks at y_1, ..., y_S at each step: before the state is updated (additive;
Bahdanau et al., 2015) or after it (multiplicative; Luong et al., 2015).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

import rnnjax
from experiments.networks import sizing
from experiments.translation.data import END, Batch, Symbols
from rnnjax.names import lookup
from rnnjax.sequence.one_to_many import OneToManyParams
from rnnjax.typing import Key, Params, State

NONE, ADDITIVE, MULTIPLICATIVE = "none", "additive", "multiplicative"
ATTENTIONS = (NONE, ADDITIVE, MULTIPLICATIVE)

FORWARD, REVERSED, BIDIRECTIONAL = "forward", "reversed", "bidirectional"
READINGS = (FORWARD, REVERSED, BIDIRECTIONAL)


class Layers(NamedTuple):
    """The cells, and how they are combined."""

    encoder: rnnjax.Cell
    decoder: rnnjax.Cell
    attention: str
    reading: str
    attention_size: int  # units by which additive attention compares the decoder with the source


class Network(NamedTuple):
    source: Array  # (characters + 1, E)
    target: Array  # (symbols + 1, E)
    encoder: Params
    decoder: OneToManyParams
    readout: Params  # of flax's Dense


class Encoded(NamedTuple):
    """A source after the encoder has read it."""

    memory: Array  # (S, B, M) at each character, in the order of the source in whichever direction it was read
    mask: Array  # (S, B)
    state: State  # from which the decoder starts


def make_layers(attention: str, reading: str, cell: str, hidden_size: int, attention_size: int = 32) -> Layers:
    """Cells of ``hidden_size`` units, in each direction if there are two.

    Raises:
        ValueError: for an unknown cell, attention or reading.
    """
    lookup("attention", attention, dict.fromkeys(ATTENTIONS))
    lookup("reading", reading, dict.fromkeys(READINGS))
    make = rnnjax.cell_named(cell)
    encoder = make(hidden_size)
    if reading == BIDIRECTIONAL:
        encoder = rnnjax.bidirectional(encoder, make(hidden_size))
    return Layers(encoder, make(hidden_size), attention, reading, attention_size)


def attending(layers: Layers, memory: Array, mask: Array | None = None) -> rnnjax.Cell:
    """The decoder, which attends to the encoded source if it has attention."""
    cells: dict[str, Callable[[], rnnjax.Cell]] = {
        NONE: lambda: layers.decoder,
        ADDITIVE: lambda: rnnjax.additive_attention(layers.decoder, memory, mask, layers.attention_size),
        MULTIPLICATIVE: lambda: rnnjax.multiplicative_attention(layers.decoder, memory, mask),
    }
    return cells[layers.attention]()


def init(layers: Layers, symbols: Symbols, embedding_size: int, key: Key) -> Network:
    """The network before training; embeddings are drawn from N(0, 1)."""
    source_key, target_key, encoder_key, decoder_key, readout_key = jax.random.split(key, 5)
    encoder = layers.encoder.init(encoder_key, embedding_size)
    width = layers.encoder.output(encoder, layers.encoder.initial_state(encoder, ())).shape[-1]
    cell = attending(layers, jnp.zeros((1, width)))
    decoder = rnnjax.one_to_many(cell).init(decoder_key, width, embedding_size)
    outputs = cell.output(decoder.cell, cell.initial_state(decoder.cell, ()))
    return Network(
        jax.random.normal(source_key, (len(symbols.sources) + 1, embedding_size)),
        jax.random.normal(target_key, (len(symbols.targets) + 1, embedding_size)),
        encoder,
        decoder,
        nn.Dense(len(symbols.targets) + 1).init(readout_key, outputs),
    )


def encode(
    layers: Layers, network: Network, inputs: Array, mask: Array, unroll: Callable[..., Any] = rnnjax.unroll
) -> Encoded:
    """Encodes embedded sources (S, B, E)."""
    state, memory = unroll(layers.encoder, network.encoder, inputs, mask=mask, reverse=layers.reading == REVERSED)
    summary = layers.encoder.output(network.encoder, state)
    start = rnnjax.one_to_many(attending(layers, memory, mask)).initial_state(network.decoder, summary)
    return Encoded(memory, mask, start)


def readout(network: Network, outputs: Array) -> Array:
    """Logits (..., V) of outputs (..., O)."""
    found: Array = nn.Dense(network.target.shape[0]).apply(network.readout, outputs)
    return found


def logits(
    layers: Layers,
    network: Network,
    inputs: Array,
    batch: Batch,
    unroll: Callable[..., Any] = rnnjax.unroll,
    drop: Callable[[int, Array], Array] = lambda place, values: values,
) -> Array:
    """Logits (T, B, V) for embedded sources (S, B, E), where the decoder reads the true translation.

    Args:
        layers: the cells.
        network: their params.
        inputs: the embedded sources.
        batch: masks and translations.
        unroll: that of rnnjax, or of ``rnnjax.value_grad_and_flow``.
        drop: from a place and the values there to what dropout leaves of them in training.
    """
    encoded = encode(layers, network, drop(0, inputs), batch.source_mask, unroll)
    cell = attending(layers, drop(1, encoded.memory), batch.source_mask)
    _, outputs = unroll(cell, network.decoder.cell, drop(2, network.target[batch.inputs]), encoded.state)
    return readout(network, drop(3, outputs))


def losses(found: Array, batch: Batch) -> Array:
    """Losses (T, B) of each symbol in nats, 0 after the end."""
    return jnp.where(batch.mask, optax.softmax_cross_entropy_with_integer_labels(found, batch.targets), 0.0)


def training_loss(layers: Layers, dropout: float, network: Network, batch: Batch, key: Key) -> Array:
    """Mean loss of a batch in nats a symbol; dropout lasts for a whole sequence (Gal & Ghahramani, 2016)."""

    def drop(place: int, values: Array) -> Array:
        if not dropout:
            return values
        layer = nn.Dropout(dropout, broadcast_dims=(0,), deterministic=False)
        left: Array = layer.apply({}, values, rngs={"dropout": jax.random.fold_in(key, place)})
        return left

    found = logits(layers, network, network.source[batch.source], batch, drop=drop)
    return losses(found, batch).sum() / batch.mask.sum(dtype=found.dtype)


def drawn_loss(layers: Layers, dropout: float, count: int, network: Network, examples: Batch, key: Key) -> Array:
    """``training_loss`` on ``count`` pairs that are drawn at random from the examples."""
    drawn_key, loss_key = jax.random.split(key)
    drawn = jax.random.randint(drawn_key, (count,), 0, examples.source.shape[1])
    return training_loss(layers, dropout, network, Batch(*(leaf[:, drawn] for leaf in examples)), loss_key)


def count_params(layers: Layers, symbols: Symbols, embedding_size: int) -> int:
    """The number of params of the whole network."""
    shapes = jax.eval_shape(lambda: init(layers, symbols, embedding_size, jax.random.key(0)))
    return sizing.count_numbers(shapes)


# Translating


class Search(NamedTuple):
    """How the likeliest translation is searched for; one beam is greedy search."""

    beams: int
    length_penalty: float


class Said(NamedTuple):
    """Translations of a batch."""

    tokens: Array  # (T, B)
    log_probabilities: Array  # (B,) ln p of all symbols together, the end included
    ended: Array  # (B,) whether the translation has an end


def say(layers: Layers, network: Network, batch: Batch, search: Search) -> Said:
    """The best translations that the search finds, with at most as many symbols as the batch has steps."""
    encoded = encode(layers, network, network.source[batch.source], batch.source_mask)
    cell, params = attending(layers, encoded.memory, encoded.mask), network.decoder.cell
    first = jnp.full(batch.source.shape[1:], END)
    state, outputs = cell.step(params, encoded.state, network.target[first])
    found = rnnjax.beam_search(
        cell,
        params,
        state,
        readout(network, outputs),
        embed=lambda tokens: network.target[tokens],
        readout=lambda outputs: readout(network, outputs),
        length=len(batch.targets),
        beams=search.beams,
        end=END,
        length_penalty=search.length_penalty,
    )
    tokens = found.tokens[:, 0]
    return Said(tokens, found.log_probabilities[0], (tokens == END).any(axis=0))


def alignment(layers: Layers, network: Network, batch: Batch) -> Array:
    """Attention weights (T, B, S) of each step, where the decoder reads the translations of the batch.

    Raises:
        ValueError: without attention.
    """
    encoded = encode(layers, network, network.source[batch.source], batch.source_mask)
    cell, params = attending(layers, encoded.memory, encoded.mask), network.decoder.cell
    written = network.target[batch.inputs]
    if layers.attention == ADDITIVE:
        first = cell.output(params, encoded.state)
        _, outputs = rnnjax.unroll(cell, params, written, encoded.state)
        queries = jnp.concatenate([first[None], outputs[:-1]])
        return rnnjax.additive_weights(params, queries, encoded.memory, encoded.mask)
    if layers.attention == MULTIPLICATIVE:
        _, queries = rnnjax.unroll(layers.decoder, params.cell, written, encoded.state)
        return rnnjax.multiplicative_weights(params, queries, encoded.memory, encoded.mask)
    raise ValueError(f"attention is {layers.attention}: expected {ADDITIVE} or {MULTIPLICATIVE}, which have weights")
