"""Additive and multiplicative attention: cells that attend to another sequence.

The other sequence, the memory, is usually the output of an encoder. It is an explicit argument: a cell is made for one
memory, inside the function that is differentiated, and gradients flow back into the memory.

    def loss(params, source, inputs):
        _, memory = rnnjax.unroll(encoder, params.encoder, source)                            # (S, B, E)
        cell = rnnjax.additive_attention(decoder, memory)
        return cross_entropy(rnnjax.unroll(cell, params.decoder, inputs)[1])

Params depend on the width of the memory alone: ``additive_attention(decoder, jnp.zeros((1, E))).init(key, input_size)``
makes them. The state is that of the inner cell, so it may start from the last state of an encoder.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.cell import Cell, check_cell, output_like
from rnnjax.checks import check_mask, positive_integer, told
from rnnjax.origin import remembered
from rnnjax.typing import Drive, Key, State


class AdditiveAttentionParams(NamedTuple):
    cell: Any  # the params of the cell itself
    query_kernel: Array  # (O, A)
    memory_kernel: Array  # (E, A)
    score_kernel: Array  # (A,)


class MultiplicativeAttentionParams(NamedTuple):
    cell: Any  # the params of the cell itself
    score_kernel: Array  # (O, E)
    output_kernel: Array  # (E + O, O)


@remembered
def additive_attention(cell: Cell, memory: Array, mask: Array | None = None, attention_size: int | None = None) -> Cell:
    """A cell that attends to a memory before each step (Bahdanau, Cho & Bengio, 2015).

        e_tj = v . tanh(y_{t-1} W + m_j U)        a_t = softmax over j of e_t        c_t = sum over j of a_tj m_j
        s_t = f(s_{t-1}, [x_t, c_t])        y_t = g(s_t)

    y_{t-1} is the output of the cell one step ago, at the first step the output of its initial state.

    Args:
        cell: any cell, stacks included, with outputs (..., O).
        memory: (S, ..., E), time first, with the batch axes of the state.
        mask: boolean, (S, ...), True at the steps of the memory that may be attended to; by default all. Where it is
            False at all steps, c_t is 0.
        attention_size: A, by default O.

    Raises:
        TypeError: if ``cell`` is not a cell, or the memory does not hold real numbers.
        ValueError: for a memory without a time axis, or a mask of another shape; from a step, for other batch axes.
    """
    check_cell("additive_attention", cell, "additive_attention(gru(64), memory)")
    _check_memory(memory, mask)
    asked = None if attention_size is None else positive_integer("attention_size", attention_size)

    def init(key: Key, input_size: int) -> AdditiveAttentionParams:
        cell_key, query_key, memory_key, score_key = jax.random.split(key, 4)
        params = cell.init(cell_key, input_size + memory.shape[-1])
        outputs = output_like(cell, params).shape[-1]
        size, draw = asked or outputs, jax.nn.initializers.lecun_normal()
        return AdditiveAttentionParams(
            cell=params,
            query_kernel=draw(query_key, (outputs, size)),
            memory_kernel=draw(memory_key, (memory.shape[-1], size)),
            score_kernel=draw(score_key, (size, 1))[:, 0],
        )

    def initial_state(params: AdditiveAttentionParams, batch_shape: tuple[int, ...] = ()) -> State:
        return cell.initial_state(params.cell, batch_shape)

    def advance(params: AdditiveAttentionParams, state: State, inputs: Array) -> State:
        queries = cell.output(params.cell, state)
        _check_batch(memory, queries.shape)
        weights = additive_weights(params, queries, memory, mask)
        drive = cell.project(params.cell, jnp.concatenate([inputs, _looked_at(weights, memory)], axis=-1))
        return cell.advance(params.cell, state, drive)

    def output(params: AdditiveAttentionParams, state: State) -> Array:
        return cell.output(params.cell, state)

    return Cell(init, initial_state, lambda params, inputs: inputs, advance, output)


@remembered
def multiplicative_attention(cell: Cell, memory: Array, mask: Array | None = None) -> Cell:
    """A cell that attends to a memory after each step (Luong, Pham & Manning, 2015: global, general).

        s_t = f(s_{t-1}, x_t)        h_t = g(s_t)
        e_tj = h_t W m_j        a_t = softmax over j of e_t        c_t = sum over j of a_tj m_j
        y_t = tanh([c_t, h_t] V)

    The attention is not part of the recurrence, so it is computed for all steps at once, after the last one. Luong et
    al. also feed y_t back to the next step; ``feedback`` does that.

    Args:
        cell: any cell, stacks included, with outputs (..., O).
        memory: (S, ..., E), time first, with the batch axes of the state.
        mask: boolean, (S, ...), True at the steps of the memory that may be attended to; by default all. Where it is
            False at all steps, c_t is 0.

    Raises:
        TypeError: if ``cell`` is not a cell, or the memory does not hold real numbers.
        ValueError: for a memory without a time axis, or a mask of another shape; from a step, for other batch axes.
    """
    check_cell("multiplicative_attention", cell, "multiplicative_attention(gru(64), memory)")
    _check_memory(memory, mask)

    def init(key: Key, input_size: int) -> MultiplicativeAttentionParams:
        cell_key, score_key, output_key = jax.random.split(key, 3)
        params = cell.init(cell_key, input_size)
        width, size = memory.shape[-1], output_like(cell, params).shape[-1]
        draw = jax.nn.initializers.lecun_normal()
        return MultiplicativeAttentionParams(
            params, draw(score_key, (size, width)), draw(output_key, (width + size, size))
        )

    def initial_state(params: MultiplicativeAttentionParams, batch_shape: tuple[int, ...] = ()) -> State:
        return cell.initial_state(params.cell, batch_shape)

    def project(params: MultiplicativeAttentionParams, inputs: Array) -> Drive:
        return cell.project(params.cell, inputs)

    def advance(params: MultiplicativeAttentionParams, state: State, drive: Drive) -> State:
        state = cell.advance(params.cell, state, drive)
        _check_batch(memory, jax.eval_shape(cell.output, params.cell, state).shape)
        return state

    def output(params: MultiplicativeAttentionParams, state: State) -> Array:
        hidden = cell.output(params.cell, state)
        first = (slice(None), *[0] * (memory.ndim - 1 - hidden.ndim))  # of one example's state, only the shape is asked
        looked, seen = memory[first], None if mask is None else mask[first]
        seen = _looked_at(multiplicative_weights(params, hidden, looked, seen), looked)
        return jnp.tanh(jnp.concatenate([seen, hidden], axis=-1) @ params.output_kernel)

    return Cell(init, initial_state, project, advance, output)


def additive_weights(
    params: AdditiveAttentionParams, queries: Array, memory: Array, mask: Array | None = None
) -> Array:
    """The weights of ``additive_attention``: a_tj (..., S) for queries y_{t-1} (..., O), of one step or of all.

    Raises:
        TypeError: for params of another kind, or queries or a memory that do not hold real numbers.
        ValueError: for other widths, batch axes or masks.
    """
    _check_params(params, AdditiveAttentionParams)
    _check_query(queries, params.query_kernel.shape[0], memory, params.memory_kernel.shape[0], mask)
    keys, asked = _in_rows(memory, memory @ params.memory_kernel, queries @ params.query_kernel)
    together = jnp.tanh(asked[:, :, None] + jnp.moveaxis(keys, 0, 1)[None])  # (L, N, S, A)
    return _softmax(together @ params.score_kernel, memory, mask).reshape(*queries.shape[:-1], memory.shape[0])


def multiplicative_weights(
    params: MultiplicativeAttentionParams, queries: Array, memory: Array, mask: Array | None = None
) -> Array:
    """The weights of ``multiplicative_attention``: a_tj (..., S) for queries h_t (..., O), outputs of the inner cell.

    Raises:
        TypeError: for params of another kind, or queries or a memory that do not hold real numbers.
        ValueError: for other widths, batch axes or masks.
    """
    _check_params(params, MultiplicativeAttentionParams)
    _check_query(queries, params.score_kernel.shape[0], memory, params.score_kernel.shape[1], mask)
    keys, asked = _in_rows(memory, memory, queries @ params.score_kernel)
    scores = jnp.einsum("lna,sna->lns", asked, keys)
    return _softmax(scores, memory, mask).reshape(*queries.shape[:-1], memory.shape[0])


def _looked_at(weights: Array, memory: Array) -> Array:
    """The sum over j of a_tj m_j (..., E) for weights (..., S)."""
    rows, shares = _in_rows(memory, memory, weights)
    return jnp.einsum("lns,sne->lne", shares, rows).reshape(*weights.shape[:-1], memory.shape[-1])


def _in_rows(memory: Array, keys: Array, queries: Array) -> tuple[Array, Array]:
    """Keys as (S, N, ...) and queries as (L, N, ...): batch axes are merged, and so are axes of queries before them."""
    examples = math.prod(memory.shape[1:-1])
    return keys.reshape(keys.shape[0], examples, -1), queries.reshape(-1, examples, queries.shape[-1])


def _softmax(scores: Array, memory: Array, mask: Array | None) -> Array:
    """The softmax of scores (L, N, S) where the mask (S, ...) is True, and 0 elsewhere, even if it is True nowhere."""
    if mask is None:
        return jax.nn.softmax(scores)
    seen = mask.reshape(memory.shape[0], -1).T[None]
    largest = jnp.max(jnp.where(seen, scores, -jnp.inf), axis=-1, keepdims=True)
    largest = jax.lax.stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0))
    shares = jnp.where(seen, jnp.exp(jnp.where(seen, scores - largest, 0)), 0)
    total = jnp.sum(shares, axis=-1, keepdims=True)
    return shares / jnp.where(total > 0, total, 1)


def _check_memory(memory: Any, mask: Any) -> None:
    if not hasattr(memory, "dtype") or not jnp.issubdtype(memory.dtype, jnp.floating):
        raise TypeError(f"memory is {told(memory)}: expected an array (S, ..., E) of real numbers, time first")
    if memory.ndim < 2 or memory.shape[0] == 0:
        raise ValueError(f"memory has shape {memory.shape}: expected (S, ..., E) with S >= 1, time first, width last")
    if mask is not None:
        check_mask(mask, memory.shape[:-1], "mask")


def _check_params(params: Any, kind: type) -> None:
    if not isinstance(params, kind):
        raise TypeError(f"params are {told(params)}: expected {kind.__name__}, as the init of the cell makes them")


def _check_query(queries: Any, asked: int, memory: Any, width: int, mask: Any) -> None:
    _check_memory(memory, mask)
    if not hasattr(queries, "dtype") or not jnp.issubdtype(queries.dtype, jnp.floating):
        raise TypeError(f"queries are {told(queries)}: expected an array (..., O) of real numbers")
    if queries.shape[-1:] != (asked,) or memory.shape[-1] != width:
        raise ValueError(
            f"queries have shape {queries.shape}, memory {memory.shape}: expected (..., {asked}) and "
            f"(S, ..., {width}), the widths that the params were made for"
        )
    _check_batch(memory, queries.shape)


def _check_batch(memory: Array, outputs: tuple[int, ...]) -> None:
    batch = memory.shape[1:-1]
    if outputs[max(0, len(outputs) - 1 - len(batch)) : -1] != batch:
        raise ValueError(
            f"memory has shape {memory.shape}, a step's outputs {outputs}: expected (S, ..., E) and (..., O) with the "
            "same axes between, one memory for each example"
        )
