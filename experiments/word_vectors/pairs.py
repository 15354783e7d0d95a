"""Soft bag of words (CBOW) and skip-gram: who is beside whom, with full softmax or with negative sampling.

A block has L words of the text that follow each other, and W more at each end. In CBOW the words near one predict it,
by the mean of their vectors; in skip-gram it predicts each of them (Mikolov et al., 2013). With P the projected words,
Q the rows of the readout, and N (L, L + 2 W) the ones and zeros that say which word is near which,

    CBOW         h = N P[block] / (how many are near)        s = h Q[middle]', word by word
    skip-gram    h = P[middle]                               s = h Q[block]', of those near

How near is near is drawn for each word, 1 to W, so that neighbours count more than those farther off.

    full softmax         sum of (log sum over all words v of exp h Q_v' - s)
    negative sampling    sum of (softplus(-s) + k times the mean over noise words n of softplus(h Q_n'))

The noise words, drawn by their frequency to the power of 3/4, are shared by the pairs of a block. So all is products of
small matrices; the gradient is taken with respect to the rows that a block touches, and only these are changed.

Copies of the vectors may learn side by side, each from its part of the text; what they have learned is added up. On a
CPU a block keeps one core busy, so that each copy has a core. (word2vec has threads that change the same vectors at the
same time, and what they learn depends on who comes first.)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh, PartitionSpec
from ml_collections import ConfigDict

from experiments.common import host_devices
from experiments.common.workdir import Record
from rnnjax.typing import Key

CBOW, SKIP_GRAM = "cbow", "skip_gram"
NEGATIVE = "negative"
"""Behind a colon after the name of either."""

NOISE_POWER = 0.75

REGISTER = 16
"""Numbers in a processor's widest register: a block takes 0.85 of the time if rows of 100 are padded to 112."""


class Vectors(NamedTuple):
    """V words as E numbers each."""

    projection: Array  # (V, E), P: of a word that is read
    readout: Array  # (V, E), Q: of a word that is predicted


class TrainState(NamedTuple):
    """All that a training step depends on, but for the text."""

    params: Vectors
    optimizer: Any  # of full softmax; () for negative sampling
    step: Array
    key: Key


def init(vocabulary_size: int, projection_size: int, key: Key) -> Vectors:
    """As in word2vec: small numbers, and zeros, so that nothing is predicted yet."""
    shape, most = (vocabulary_size, projection_size), 0.5 / projection_size
    return Vectors(jax.random.uniform(key, shape, minval=-most, maxval=most), jnp.zeros(shape))


def near_words(reach: Array, window: int) -> Array:
    """(L, L + 2 W) of ones and zeros: at most ``reach`` (L,) places off, and not the word itself."""
    length = len(reach)
    distance = jnp.abs(jnp.arange(length + 2 * window)[None] - jnp.arange(window, window + length)[:, None])
    return ((distance > 0) & (distance <= reach[:, None])).astype(jnp.float32)


def touched(model: str, block: Array, window: int) -> tuple[Array, Array]:
    """The words of a block (L + 2 W,) that are read, and those that are predicted."""
    middle = block[window : len(block) - window]
    return (block, middle) if head_of(model) == CBOW else (middle, block)


def hidden_and_scores(model: str, read: Array, predicted: Array, near: Array) -> tuple[Array, Array, Array]:
    """By rows of P h (L, E), by rows of Q scores (L, S) of pairs, and how often each of these pairs counts."""
    if head_of(model) == CBOW:
        hidden = near / near.sum(axis=1, keepdims=True) @ read
        scores = (hidden * predicted).sum(axis=1, keepdims=True)
        return hidden, scores, jnp.ones_like(scores)
    return read, read @ predicted.T, near


def softmax_loss(model: str, vectors: Vectors, block: Array, near: Array) -> tuple[Array, Array]:
    """Of a block (L + 2 W,): the sum of its losses in nats, and of how many pairs."""
    read, predicted = touched(model, block, _window(near))
    hidden, scores, counts = hidden_and_scores(model, vectors.projection[read], vectors.readout[predicted], near)
    normalizers = jax.nn.logsumexp(hidden @ vectors.readout.T, axis=1, keepdims=True)
    return (counts * (normalizers - scores)).sum(), counts.sum()


def _window(near: Array) -> int:
    return (near.shape[1] - near.shape[0]) // 2


class Words(NamedTuple):
    """The words of which a block changes the vectors; to gather a matrix's rows at once takes half of the time."""

    read: Array  # (R,)
    asked: Array  # (S + M,), those that are predicted, and M noise words


def words_of(model: str, block: Array, noise: Array, window: int) -> Words:
    """Those of a block and its noise words."""
    read, predicted = touched(model, block, window)
    return Words(read, jnp.concatenate([predicted, noise]))


class Rows(NamedTuple):
    """What the loss of a block depends on: the vectors of its words."""

    projection: Array  # (R, E)
    readout: Array  # (S + M, E)


def rows_of(vectors: Vectors, words: Words) -> Rows:
    """The rows of both matrices."""
    return Rows(_gathered(vectors.projection, words.read), _gathered(vectors.readout, words.asked))


def _gathered(matrix: Array, rows: Array) -> Array:
    """Some rows of a matrix; on a CPU one after the other, for which XLA takes half as long as for all at once."""

    def one_by_one(matrix: Array, rows: Array) -> Array:
        return jax.lax.map(lambda row: matrix[row], rows)

    def at_once(matrix: Array, rows: Array) -> Array:
        return matrix[rows]

    found: Array = jax.lax.platform_dependent(matrix, rows, cpu=one_by_one, default=at_once)
    return found


def negative_loss(model: str, negatives: int, rows: Rows, near: Array) -> tuple[Array, Array]:
    """As ``softmax_loss``, of the question which pairs are real: one real one to so many of noise."""
    predicted, noise = jnp.split(rows.readout, [near.shape[0 if head_of(model) == CBOW else 1]])
    hidden, scores, counts = hidden_and_scores(model, rows.projection, predicted, near)
    of_noise = jax.nn.softplus(hidden @ noise.T).mean(axis=1, keepdims=True)
    return (counts * (jax.nn.softplus(-scores) + negatives * of_noise)).sum(), counts.sum()


def head_of(model: str) -> str:
    """CBOW or skip-gram, however it learns."""
    return model.partition(":")[0]


def initial_state(vectors: Vectors, optimizer: optax.GradientTransformation | None, key: Key) -> TrainState:
    """Before training."""
    return TrainState(vectors, optimizer.init(vectors) if optimizer else (), jnp.int32(0), key)


def softmax_steps(
    model: str, optimizer: optax.GradientTransformation, window: int, state: TrainState, blocks: Array
) -> tuple[TrainState, Record]:
    """Training steps on blocks (S, B, L + 2 W), B of them in each: the state, the loss in nats a pair."""

    def step(state: TrainState, blocks: Array) -> tuple[TrainState, Array]:
        near = _drawn_near(jax.random.fold_in(state.key, state.step), blocks, window)

        def loss_of(vectors: Vectors) -> Array:
            sums, counts = jax.vmap(lambda block, near: softmax_loss(model, vectors, block, near))(blocks, near)
            return sums.sum() / counts.sum()

        loss, gradients = jax.value_and_grad(loss_of)(state.params)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, optimizer_state, state.step + 1, state.key), loss

    state, of_steps = jax.lax.scan(step, state, blocks)
    return state, {"loss": of_steps.mean()}


class Sampling(NamedTuple):
    """Settings of negative sampling."""

    model: str
    window: int
    negatives: int  # k
    shared: int  # M, noise words of a block
    learning_rate: float  # of a pair at the start; it falls to nothing in a line
    blocks: int  # of the whole training
    copies: int = 1  # of the vectors that learn side by side


def negative_steps(
    sampling: Sampling, state: TrainState, blocks: Array, cumulative: Array
) -> tuple[TrainState, Record]:
    """Stochastic gradient descent on blocks (N, L + 2 W), one after the other: the state, the loss in nats a pair.

    Args:
        sampling: the settings.
        state: ``step`` counts blocks.
        blocks: words.
        cumulative: (V,), of ``noise_distribution``.
    """
    near_key, noise_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    near = _drawn_near(near_key, blocks, sampling.window)
    noise = draw_noise(noise_key, cumulative, (len(blocks), sampling.shared))

    def step(carry: tuple[Vectors, Array], given: tuple[Array, Array, Array]) -> tuple[Any, tuple[Array, Array]]:
        (vectors, done), (block, near, noise) = carry, given
        rate = sampling.learning_rate * (1 - done.astype(jnp.float32) / sampling.blocks)

        def loss_of(rows: Rows) -> tuple[Array, Array]:
            return negative_loss(sampling.model, sampling.negatives, rows, near)

        words = words_of(sampling.model, block, noise, sampling.window)
        found, gradients = jax.value_and_grad(loss_of, has_aux=True)(rows_of(vectors, words))
        projection = vectors.projection.at[words.read].add(-rate * gradients.projection)
        readout = vectors.readout.at[words.asked].add(-rate * gradients.readout)
        return (Vectors(projection, readout), done + sampling.copies), found

    size = state.params.projection.shape[1]
    padded = jax.tree.map(lambda matrix: jnp.pad(matrix, ((0, 0), (0, -size % REGISTER))), state.params)
    (padded, done), (sums, counts) = jax.lax.scan(step, (padded, state.step), (blocks, near, noise))
    params = jax.tree.map(lambda matrix: matrix[:, :size], padded)
    return TrainState(params, (), done, state.key), {"loss": sums.sum() / counts.sum()}


def steps_of_copies(
    sampling: Sampling, mesh: Mesh, state: TrainState, blocks: Array, cumulative: Array
) -> tuple[TrainState, Record]:
    """As ``negative_steps``, of copies of the vectors that learn from a part of the blocks each; then it is added up.

    The copies are divided among the devices of a mesh. What is learned depends on how many copies there are, and not on
    how many devices.
    """

    def of_device(numbers: Array, parts: Array, state: TrainState, cumulative: Array) -> tuple[Vectors, Array]:
        def of_copy(learned: Vectors, given: tuple[Array, Array]) -> tuple[Vectors, Array]:
            number, part = given
            own = state._replace(key=jax.random.fold_in(state.key, number))
            after, record = negative_steps(sampling, own, part, cumulative)
            added = jax.tree.map(lambda so_far, new, old: so_far + (new - old), learned, after.params, state.params)
            return added, record["loss"]

        nothing = jax.tree.map(jnp.zeros_like, state.params)
        learned, losses = jax.lax.scan(of_copy, nothing, (numbers, parts))
        return jax.lax.psum((learned, losses.sum()), host_devices.AXIS)

    parts = blocks.reshape(sampling.copies, -1, blocks.shape[1])
    divided, whole = PartitionSpec(host_devices.AXIS), PartitionSpec()
    side_by_side = jax.shard_map(
        of_device, mesh=mesh, in_specs=(divided, divided, whole, whole), out_specs=whole, check_vma=False
    )
    learned, losses = side_by_side(jnp.arange(sampling.copies), parts, state, cumulative)
    params = jax.tree.map(jnp.add, state.params, learned)
    return state._replace(params=params, step=state.step + len(blocks)), {"loss": losses / sampling.copies}


def held_out_loss(
    model: str, config: ConfigDict, vectors: Vectors, blocks: Array, cumulative: Array, key: Key
) -> Array:
    """Nats a pair of blocks (N, L + 2 W), with what is near and what is noise by one and the same draw each time."""
    near_key, noise_key = jax.random.split(key)
    near = _drawn_near(near_key, blocks, config.window)
    noise = draw_noise(noise_key, cumulative, (len(blocks), config.shared_noise))

    def loss_of(given: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        block, near, noise = given
        if is_negative(model):
            rows = rows_of(vectors, words_of(model, block, noise, config.window))
            return negative_loss(model, config.negatives, rows, near)
        return softmax_loss(model, vectors, block, near)

    sums, counts = jax.lax.map(loss_of, (blocks, near, noise))
    return sums.sum() / counts.sum()


def is_negative(model: str) -> bool:
    """Whether it learns by negative sampling."""
    return model.endswith(f":{NEGATIVE}")


def noise_distribution(counts: np.ndarray) -> np.ndarray:
    """Probabilities (V,) by counts to the power of 3/4."""
    powers = counts.astype(np.float64) ** NOISE_POWER
    return powers / powers.sum()


def draw_noise(key: Key, cumulative: Array, shape: tuple[int, ...]) -> Array:
    """Words by the cumulative sums of their probabilities."""
    return jnp.searchsorted(cumulative, jax.random.uniform(key, shape)).clip(0, len(cumulative) - 1)


def _drawn_near(key: Key, blocks: Array, window: int) -> Array:
    """(N, L, L + 2 W): to each word of so many blocks its own reach."""
    reach = jax.random.randint(key, (len(blocks), blocks.shape[1] - 2 * window), 1, window + 1)
    return jax.vmap(lambda each: near_words(each, window))(reach)
