"""Professor forcing (Lamb et al., 2016): a discriminator must not tell a free-running network from a forced one.

The discriminator sees a behaviour, the states and the probabilities of what comes next over a whole sequence,

    J = sigmoid(MLP(mean over t of a bidirectional GRU of [h_t, softmax(y_t)]))        1 for forced, 0 for free

Discriminator and network learn by turns:

    network:        -ln p(text) + weight * -ln J(free)     the latter while the discriminator is right in more than 75 %
    discriminator:  -ln J(forced) - ln(1 - J(free))        while it is right in less than 99 %

What the network draws has no gradient. So to run freely is to draw a text, and then to be forced with it.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common.workdir import Record
from experiments.feedback import model
from experiments.feedback.data import draw
from experiments.feedback.feeding import Feeding
from experiments.feedback.learning import TrainState, make_optimizer, moved
from experiments.feedback.model import Network
from rnnjax.typing import Key, Params

HEARD_ABOVE, LEARNS_BELOW = 0.75, 0.99
"""Shares of behaviours that the discriminator has right: where the network listens to it, and where it still learns."""


class Discriminator(NamedTuple):
    """Its params."""

    recurrent: Params
    hidden: Params  # of flax's Dense, like the next
    score: Params


def discriminator_cell(size: int) -> rnnjax.Cell:
    """One GRU in each direction."""
    return rnnjax.bidirectional(rnnjax.gru(size), rnnjax.gru(size))


def init_discriminator(size: int, behaviour_size: int, key: Key) -> Discriminator:
    """Its params before training, for behaviours so many numbers wide."""
    cell_key, hidden_key, score_key = jax.random.split(key, 3)
    recurrent = discriminator_cell(size).init(cell_key, behaviour_size)
    hidden, score = nn.Dense(2 * size), nn.Dense(1)
    return Discriminator(
        recurrent, hidden.init(hidden_key, jnp.zeros(2 * size)), score.init(score_key, jnp.zeros(2 * size))
    )


def log_odds(size: int, discriminator: Discriminator, behaviours: Array) -> Array:
    """(B,) log odds that behaviours (T, B, H + V) are of a forced network."""
    _, outputs = rnnjax.unroll(discriminator_cell(size), discriminator.recurrent, behaviours)
    hidden = jax.nn.relu(nn.Dense(2 * size).apply(discriminator.hidden, outputs.mean(axis=0)))
    found: Array = nn.Dense(1).apply(discriminator.score, hidden)[:, 0]
    return found


def behave(network: Network, params: Params, tokens: Array) -> tuple[Array, Array]:
    """Logits (T, B, V) and behaviour (T, B, H + V) of a network that is fed with these texts."""
    both = rnnjax.stack(rnnjax.gru(network.hidden_size), rnnjax.dense(network.symbols), all_to_output=True)
    _, outputs = rnnjax.unroll(both, params, model.previous(network, tokens))
    hidden, logits = jnp.split(outputs, [network.hidden_size], axis=-1)
    return logits, jnp.concatenate([hidden, jax.nn.softmax(logits)], axis=-1)


class Seen(NamedTuple):
    """Of one training step."""

    loss: Array  # nats a symbol under teacher forcing
    norm: Array  # of the network's gradient
    right: Array  # share of behaviours that the discriminator takes for what they are
    heard: Array  # whether the network listened to it


def train_steps(
    network: Network, config: ConfigDict, state: TrainState, feeding: Feeding, text: Array | None
) -> tuple[TrainState, Record]:
    """Some training steps in one program, of the network and then of the discriminator."""
    optimizer, count = make_optimizer(config), config.batch_size

    def step(state: TrainState, _: Array) -> tuple[TrainState, Seen]:
        text_key, own_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        tokens = draw(text, text_key, config.length, count)
        own = model.say(network, state.params, own_key, config.length, model.nothing_before(count))
        texts, (discriminator, moments) = jnp.concatenate([tokens, own], axis=1), state.discriminator

        def network_loss(params: Params) -> tuple[Array, tuple[Array, Array, Array]]:
            logits, behaviours = behave(network, params, texts)
            odds = log_odds(config.discriminator_size, discriminator, behaviours)
            right = jax.lax.stop_gradient(((odds > 0) == (jnp.arange(2 * count) < count)).mean(dtype=jnp.float32))
            likelihood = model.nats(logits[:, :count], tokens).mean()
            fooled = jax.nn.softplus(-odds[count:]).mean()
            heard = (right > HEARD_ABOVE).astype(jnp.float32)
            return likelihood + feeding.say * heard * fooled, (likelihood, right, behaviours)

        def discriminator_loss(discriminator: Discriminator, behaviours: Array) -> Array:
            odds = log_odds(config.discriminator_size, discriminator, behaviours)
            return (jax.nn.softplus(-odds[:count]) + jax.nn.softplus(odds[count:])).mean()

        (_, seen), gradient = jax.value_and_grad(network_loss, has_aux=True)(state.params)
        likelihood, right, behaviours = seen
        params, own_moments = moved(optimizer, state.params, state.optimizer, gradient)
        of_discriminator = jax.grad(discriminator_loss)(discriminator, jax.lax.stop_gradient(behaviours))
        taught = moved(optimizer, discriminator, moments, of_discriminator)
        learns = right < LEARNS_BELOW
        kept = jax.tree.map(lambda new, old: jnp.where(learns, new, old), taught, (discriminator, moments))
        heard = ((right > HEARD_ABOVE) & (feeding.say > 0)).astype(jnp.float32)
        after = state._replace(params=params, optimizer=own_moments, discriminator=kept, step=state.step + 1)
        return after, Seen(likelihood, optax.tree.norm(gradient), right, heard)

    state, seen = jax.lax.scan(step, state, feeding.truth)
    means: Record = jax.tree.map(jnp.mean, seen)._asdict()
    return state, {**means, "largest_norm": seen.norm.max(), "truth": feeding.truth.mean()}
