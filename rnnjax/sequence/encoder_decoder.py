"""An encoder that reads one sequence, and a decoder that writes another of a different length.

In training, the inputs of the decoder are the true sequence, shifted by one step, after a start symbol:

    decoder = lstm(64)
    model = encoder_decoder(gru(32), one_to_many(decoder))  # or, of equal cells, encoder_decoder(lstm(64), decoder)
    params = model.init(key, source_size, input_size)
    outputs = model.apply(params, source, inputs, source_mask, mask)

Step by step, each input may be the output of the step before. The params of the decoding cell are
``params.decoder.cell`` here, and ``params.decoder`` if encoder and decoder are equal cells:

    state = model.encode(params, source, source_mask)
    state, output = decoder.step(params.decoder.cell, state, inputs[0])
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, check_cell, output_like
from rnnjax.checks import check_mask, check_sequence
from rnnjax.origin import remembered, remembering
from rnnjax.sequence.one_to_many import OneToMany
from rnnjax.sequence.unroll import unroll
from rnnjax.typing import Key, State


class EncoderDecoderParams(NamedTuple):
    encoder: Any  # the params of the encoder
    decoder: Any  # the params of the decoder: of a cell, or OneToManyParams


@remembering
class EncoderDecoder(NamedTuple):
    """Pure functions from a source sequence and a sequence of inputs to a sequence of outputs.

    Attributes:
        init: ``(key, source_size, input_size) -> EncoderDecoderParams``.
        encode: ``(params, source (S, ..., J), source_mask=None) -> state`` from which the decoder starts.
        apply: ``(params, source (S, ..., J), inputs (T, ..., I), source_mask=None, mask=None) -> outputs (T, ..., O)``
            of the decoder. Masks are boolean, (S, ...) and (T, ...), True at real steps; values at other steps have no
            effect, and outputs there are zero.
    """

    init: Callable[[Key, int, int], EncoderDecoderParams]
    encode: Callable[..., State]
    apply: Callable[..., Array]


@remembered
def encoder_decoder(encoder: Cell, decoder: Cell | OneToMany) -> EncoderDecoder:
    """Two cells: the encoder reads the source to its end, and from its last state the decoder starts.

        s_j = f(s_{j-1}, x_j)         j = 1, ..., S           the source, each example to its own last real step
        z_0 = s_S                                             a cell for a decoder (Sutskever et al., 2014)
        z_0 = z + tanh(g(s_S) W + b)                          one_to_many of a cell (Cho et al., 2014)
        z_t = f'(z_{t-1}, x'_t)       y_t = g'(z_t)           t = 1, ..., T

    If the decoder is a cell, the encoder's state must have the form of the decoder's state, as with equal cells or
    stacks. ``one_to_many`` joins any encoder to any decoder. The decoder's own initial state, learned or not, is not
    used where the encoder's state replaces it. Sutskever et al. read the source backwards: to do so, flip the source
    and its mask over time; padding may stand in front.

    Args:
        encoder: any cell, stacks included.
        decoder: any cell, or ``one_to_many`` of any cell.

    Raises:
        TypeError: if an argument is none of these.
        ValueError: from ``init``, if the states are not alike; from ``apply``, for different batch axes.
    """
    check_cell("encoder_decoder", encoder, "encoder_decoder(lstm(64), lstm(64))")
    if isinstance(decoder, OneToMany):
        return _by_summary(encoder, decoder)
    check_cell("encoder_decoder", decoder, "encoder_decoder(lstm(64), lstm(64))")
    return _by_state(encoder, decoder)


def _by_state(encoder: Cell, decoder: Cell) -> EncoderDecoder:
    def init(key: Key, source_size: int, input_size: int) -> EncoderDecoderParams:
        encoder_key, decoder_key = jax.random.split(key)
        params = EncoderDecoderParams(encoder.init(encoder_key, source_size), decoder.init(decoder_key, input_size))
        _check_alike(encoder.initial_state(params.encoder, ()), decoder.initial_state(params.decoder, ()))
        return params

    def encode(params: EncoderDecoderParams, source: Array, source_mask: Array | None = None) -> State:
        return _final_state(encoder, params, source, source_mask)

    def apply(
        params: EncoderDecoderParams,
        source: Array,
        inputs: Array,
        source_mask: Array | None = None,
        mask: Array | None = None,
    ) -> Array:
        _check_batch(source, inputs)
        return unroll(decoder, params.decoder, inputs, encode(params, source, source_mask), mask=mask)[1]

    return EncoderDecoder(init, encode, apply)


def _by_summary(encoder: Cell, decoder: OneToMany) -> EncoderDecoder:
    def init(key: Key, source_size: int, input_size: int) -> EncoderDecoderParams:
        encoder_key, decoder_key = jax.random.split(key)
        params = encoder.init(encoder_key, source_size)
        summary_size = output_like(encoder, params).shape[-1]
        return EncoderDecoderParams(params, decoder.init(decoder_key, summary_size, input_size))

    def summary(params: EncoderDecoderParams, source: Array, source_mask: Array | None) -> Array:
        return encoder.output(params.encoder, _final_state(encoder, params, source, source_mask))

    def encode(params: EncoderDecoderParams, source: Array, source_mask: Array | None = None) -> State:
        return decoder.initial_state(params.decoder, summary(params, source, source_mask))

    def apply(
        params: EncoderDecoderParams,
        source: Array,
        inputs: Array,
        source_mask: Array | None = None,
        mask: Array | None = None,
    ) -> Array:
        _check_batch(source, inputs)
        return decoder.apply(params.decoder, summary(params, source, source_mask), inputs, mask)

    return EncoderDecoder(init, encode, apply)


def _final_state(encoder: Cell, params: EncoderDecoderParams, source: Array, source_mask: Array | None) -> State:
    check_sequence(source)
    if source_mask is not None:
        check_mask(source_mask, source.shape[:-1], "source_mask")
    return unroll(encoder, params.encoder, source, mask=source_mask)[0]


def _check_alike(received: State, expected: State) -> None:
    ours, theirs = (jax.tree.map(jnp.shape, state) for state in (received, expected))
    structures = {jax.tree.structure(state) for state in (received, expected)}
    if len(structures) > 1 or ours != theirs:
        raise ValueError(
            f"the encoder's state is {ours}, the decoder's {theirs}: expected equal ones, since one is the start "
            "of the other; use equal cells, or learn a map with encoder_decoder(encoder, one_to_many(decoder))"
        )


def _check_batch(source: Array, inputs: Array) -> None:
    if jnp.shape(source)[1:-1] != jnp.shape(inputs)[1:-1]:
        raise ValueError(
            f"source has shape {jnp.shape(source)}, inputs {jnp.shape(inputs)}: expected (S, ..., J) and (T, ..., I), "
            "time first, with the same axes between, one source for each example"
        )
