"""Soft bag of words (CBOW) and skip-gram: who is beside whom, with full softmax or with negative sampling.

A block has L words of the text that follow each other, and W more at each end. In CBOW the words near one predict it,
by the mean of their vectors; in skip-gram it predicts each of them (Mikolov et al., 2013). With P the projected words
and Q the rows of the readout,

    CBOW         h = mean of P[block], of those near         s = h Q[middle]', word by word
    skip-gram    h = P[middle]                               s = h Q[block]', of those near

How near is near is drawn for each word, its reach of 1 to W places, so that neighbours count more than those farther
off.

    full softmax         sum of (log sum over all words v of exp h Q_v' - s)
    negative sampling    sum of (softplus(-s) + k times the mean over noise words n of softplus(h Q_n'))

The noise words, drawn by their frequency to the power of 3/4, are shared by the pairs of a block. So all is products of
small matrices; the gradient is taken with respect to the rows that a block touches, and only these are changed.

Copies of the vectors may learn side by side, each from its part of the text; what they have learned is added up. On a
CPU a block keeps one core busy, so that each copy has a core. (word2vec has threads that change the same vectors at the
same time, and what they learn depends on who comes first.)
"""

import functools
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


def padded(vectors: Vectors) -> Vectors:
    """With zeros behind each word's numbers, up to whole registers; negative sampling leaves them zero."""
    return jax.tree.map(lambda matrix: jnp.pad(matrix, ((0, 0), (0, -matrix.shape[1] % REGISTER))), vectors)


def near_words(reach: Array, window: int, dtype: Any) -> Array:
    """(L, L + 2 W) of ones and zeros: at most ``reach`` (L,) places off, and not the word itself."""
    length = len(reach)
    distance = jnp.abs(jnp.arange(length + 2 * window)[None] - jnp.arange(window, window + length)[:, None])
    return ((distance > 0) & (distance <= reach[:, None])).astype(dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def mean_of_near(rows: Array, reach: Array, window: int) -> Array:
    """(L, E): of the rows (L + 2 W, E), the mean of those at most ``reach`` (L,) places off each in the middle.

    A sum over distances, whose gradient is one as well. A product with the ones and zeros of ``near_words`` takes
    longer, and so does the gradient that JAX makes of this sum.
    """
    shares = _shares(reach, window, rows.dtype)
    terms = [shares[:, abs(off) - 1, None] * rows[window + off :][: len(reach)] for off in _places_off(window)]
    return functools.reduce(jnp.add, terms)


def _mean_of_near(rows: Array, reach: Array, window: int) -> tuple[Array, Array]:
    return mean_of_near(rows, reach, window), reach


def _to_near(window: int, reach: Array, gradient: Array) -> tuple[Array, None]:
    """Of each row, what comes from the means that it has a share in."""
    around = ((2 * window, 2 * window), (0, 0))
    gradient, shares = jnp.pad(gradient, around), jnp.pad(_shares(reach, window, gradient.dtype), around)
    length = len(reach) + 2 * window
    places = [(abs(off), slice(window + off, window + off + length)) for off in _places_off(window)]
    return functools.reduce(jnp.add, [shares[part, far - 1, None] * gradient[part] for far, part in places]), None


mean_of_near.defvjp(_mean_of_near, _to_near)


def _shares(reach: Array, window: int, dtype: Any) -> Array:
    """(L, W): the share that a word so many places off has in a mean."""
    near = jnp.arange(1, window + 1)[None] <= reach[:, None]
    return near.astype(dtype) / (2 * reach[:, None]).astype(dtype)


def _places_off(window: int) -> list[int]:
    return [off for off in range(-window, window + 1) if off]


def touched(model: str, block: Array, window: int) -> tuple[Array, Array]:
    """The words of a block (L + 2 W,) that are read, and those that are predicted."""
    middle = block[window : len(block) - window]
    return (block, middle) if head_of(model) == CBOW else (middle, block)


def hidden_and_scores(
    model: str, read: Array, predicted: Array, reach: Array, window: int
) -> tuple[Array, Array, Array]:
    """By rows of P h (L, E), by rows of Q scores (L, S) of pairs, and how often each of these pairs counts."""
    if head_of(model) == CBOW:
        hidden = mean_of_near(read, reach, window)
        scores = (hidden * predicted).sum(axis=1, keepdims=True)
        return hidden, scores, jnp.ones_like(scores)
    return read, read @ predicted.T, near_words(reach, window, read.dtype)


def softmax_loss(model: str, vectors: Vectors, block: Array, reach: Array, window: int) -> tuple[Array, Array]:
    """Of a block (L + 2 W,): the sum of its losses in nats, and of how many pairs."""
    read, predicted = touched(model, block, window)
    hidden, scores, counts = hidden_and_scores(
        model, vectors.projection[read], vectors.readout[predicted], reach, window
    )
    normalizers = jax.nn.logsumexp(hidden @ vectors.readout.T, axis=1, keepdims=True)
    return (counts * (normalizers - scores)).sum(), counts.sum()


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


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """log(1 + exp x), as ``jax.nn.softplus``, whose value and derivative take longer."""
    return jnp.maximum(x, 0) + jnp.log(1 + jnp.exp(-jnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    return softplus(x), jax.nn.sigmoid(x) * tangent


def negative_loss(model: str, negatives: int, rows: Rows, reach: Array, window: int) -> tuple[Array, Array]:
    """As ``softmax_loss``, of the question which pairs are real: one real one to so many of noise."""
    real = len(reach) if head_of(model) == CBOW else len(reach) + 2 * window
    predicted, noise = jnp.split(rows.readout, [real])
    hidden, scores, counts = hidden_and_scores(model, rows.projection, predicted, reach, window)
    of_noise = softplus(hidden @ noise.T).mean(axis=1, keepdims=True)
    return (counts * (softplus(-scores) + negatives * of_noise)).sum(), counts.sum()


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
        reach = draw_reach(jax.random.fold_in(state.key, state.step), blocks, window)

        def loss_of(vectors: Vectors) -> Array:
            each = functools.partial(softmax_loss, model, vectors, window=window)
            sums, counts = jax.vmap(each)(blocks, reach)
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
    reach_key, noise_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    reach = draw_reach(reach_key, blocks, sampling.window)
    noise = draw_noise(noise_key, cumulative, (len(blocks), sampling.shared))

    def step(carry: tuple[Vectors, Array], given: tuple[Array, Array, Array]) -> tuple[Any, tuple[Array, Array]]:
        (vectors, done), (block, reach, noise) = carry, given
        rate = sampling.learning_rate * (1 - done.astype(vectors.projection.dtype) / sampling.blocks)

        def loss_of(rows: Rows) -> tuple[Array, Array]:
            return negative_loss(sampling.model, sampling.negatives, rows, reach, sampling.window)

        words = words_of(sampling.model, block, noise, sampling.window)
        found, gradients = jax.value_and_grad(loss_of, has_aux=True)(rows_of(vectors, words))
        projection = vectors.projection.at[words.read].add(-rate * gradients.projection)
        readout = vectors.readout.at[words.asked].add(-rate * gradients.readout)
        return (Vectors(projection, readout), done + sampling.copies), found

    (params, done), (sums, counts) = jax.lax.scan(step, (state.params, state.step), (blocks, reach, noise))
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
    reach_key, noise_key = jax.random.split(key)
    reach = draw_reach(reach_key, blocks, config.window)
    noise = draw_noise(noise_key, cumulative, (len(blocks), config.shared_noise))

    def loss_of(given: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        block, reach, noise = given
        if is_negative(model):
            rows = rows_of(vectors, words_of(model, block, noise, config.window))
            return negative_loss(model, config.negatives, rows, reach, config.window)
        return softmax_loss(model, vectors, block, reach, config.window)

    sums, counts = jax.lax.map(loss_of, (blocks, reach, noise))
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


def draw_reach(key: Key, blocks: Array, window: int) -> Array:
    """(N, L): to each word of so many blocks (N, L + 2 W) how far what is near may be, 1 to W."""
    return jax.random.randint(key, (len(blocks), blocks.shape[1] - 2 * window), 1, window + 1)
