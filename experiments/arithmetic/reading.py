"""How a recurrent network reads: numbers of any length in pieces, all those of a few bits, and the gradient's flow."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import rnnjax
from experiments.arithmetic import networks, problems
from experiments.arithmetic.problems import Automaton, Questions
from experiments.networks.task_network import Network
from rnnjax.typing import Key

PIECE = 100
"""Steps that are in memory at a time."""


class Reading(NamedTuple):
    """What became of B numbers, read to their ends.

    Attributes:
        wrong: (B,) how many of the answers.
        first: (B,) the step of the first wrong answer, counted from 0; the number of steps where there is none.
    """

    wrong: Array
    first: Array


def read_online(
    automaton: Automaton, cell: rnnjax.Cell, network: Network, key: Key, bits: Array, batch_size: int
) -> Reading:
    """Random numbers of so many bits, whose length need not be known when this is compiled, or fit into memory.

    State and place are carried from piece to piece, and so is what the answers are compared with: exact, in whole
    numbers. Every step's answer counts, in parity too, where it is that of all digits so far.
    """
    steps = bits + automaton.extra

    def piece(number: Array, carried: tuple[Any, Array, Reading]) -> tuple[Any, Array, Reading]:
        state, memory, reading = carried
        places = number * PIECE + jnp.arange(PIECE)[:, None]
        shape = (PIECE, batch_size, automaton.digits)
        of_all = jnp.full((batch_size,), bits)
        digits = problems.draw(jax.random.fold_in(key, number), shape, of_all, number * PIECE)
        memory, answers = problems.read(automaton, digits, memory)
        state, outputs = rnnjax.unroll(cell, network.recurrent, problems.signs(digits), state)
        logits = networks.readout(network, outputs)
        wrong = networks.wrong(logits, Questions(outputs, answers, jnp.broadcast_to(places < steps, answers.shape)))
        first = jnp.where(wrong, places, steps).min(axis=0)
        return state, memory, Reading(reading.wrong + wrong.sum(axis=0), jnp.minimum(reading.first, first))

    nothing = jnp.zeros(batch_size, bits.dtype)
    start = (cell.initial_state(network.recurrent, (batch_size,)), nothing, Reading(nothing, nothing + steps))
    return jax.lax.fori_loop(0, -(-steps // PIECE), piece, start)[2]


def all_numbers(automaton: Automaton, bits: int) -> Array:
    """The digits (T, B, I) of all there are of at most so many bits: 2^(bits I) of them, in reading order."""
    count = 2 ** (bits * automaton.digits)
    places = jnp.arange(bits * automaton.digits).reshape(automaton.digits, bits).T
    digits = (jnp.arange(count)[None, :, None] >> places[:, None]) & 1
    return jnp.pad(digits, ((0, automaton.extra), (0, 0), (0, 0)))


def wrong_of_all(automaton: Automaton, cell: rnnjax.Cell, network: Network, bits: int) -> Array:
    """How many of the numbers of at most so many bits have a wrong answer."""
    digits = all_numbers(automaton, bits)
    answers = problems.read(automaton, digits)[1]
    logits = networks.recurrent(cell, automaton.digits).logits(network, problems.signs(digits))
    wrong = networks.wrong(logits, Questions(digits, answers, jnp.ones_like(answers, bool)))
    return wrong.any(axis=0).sum()


def gradient_norms(
    automaton: Automaton, cell: rnnjax.Cell, network: Network, key: Key, steps: int, batch_size: int
) -> Array:
    """||dL/ds_t|| (T,), L the loss of the last answer, to which the first digit matters; over all fields of the state.

    An initial state that is learned is a param, and no field of it.
    """
    digits = automaton.chains(key, steps, batch_size)
    answers = problems.read(automaton, digits)[1]
    questions = Questions(problems.signs(digits), answers, jnp.arange(steps)[:, None] == steps - 1)

    def loss(outputs: Array) -> Array:
        asked = jnp.broadcast_to(questions.asked, answers.shape)
        return networks.loss(networks.readout(network, outputs), questions._replace(asked=asked))

    flow = rnnjax.gradient_flow(cell, network.recurrent, questions.inputs, loss)
    squares = [jnp.square(norms) for norms in jax.tree.leaves(flow.state)]
    return jnp.sqrt(jnp.sum(jnp.stack(squares), axis=0))


def right_at_the_end(
    automaton: Automaton, cell: rnnjax.Cell, network: Network, key: Key, noise: Array, steps: int, batch_size: int
) -> Array:
    """The share of last answers that are right, where the first digit matters to them.

    A draw from N(0, noise²) is added to each field of the state at each step.
    """
    digits_key, noise_key = jax.random.split(key)
    digits = automaton.chains(digits_key, steps, batch_size)
    leaves, treedef = jax.tree.flatten(cell.initial_state(network.recurrent, (batch_size,)))
    keys = jax.random.split(noise_key, len(leaves))
    draws = [noise * jax.random.normal(key, (steps, *leaf.shape)) for key, leaf in zip(keys, leaves, strict=True)]
    added = jax.tree.unflatten(treedef, draws)
    _, outputs = rnnjax.unroll(cell, network.recurrent, problems.signs(digits), perturbation=added)
    answers = problems.read(automaton, digits)[1]
    return jnp.mean((networks.readout(network, outputs)[-1] > 0) == (answers[-1] > 0))
