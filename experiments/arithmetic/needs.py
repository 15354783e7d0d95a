"""What a network needs for numbers of N bits: how many examples, and an MLP, how many units; by doubling both.

A number suffices where a network that was trained with it has at most 1 % of all numbers of N bits wrong.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from experiments.arithmetic import learning, networks, problems, reading
from experiments.arithmetic.learning import TrainState
from experiments.arithmetic.networks import Model
from experiments.arithmetic.problems import Automaton, Questions
from experiments.common.compiling import jit
from experiments.common.workdir import Record
from rnnjax.typing import Key

TOLERANCE = 0.01
"""Of all numbers, how many may be wrong."""


def all_questions(automaton: Automaton, bits: int) -> Questions:
    """Every number of that many bits, all of its answers asked for in addition, and the last one alone in parity."""
    digits = reading.all_numbers(automaton, bits)
    answers = problems.read(automaton, digits)[1]
    last = jnp.arange(len(digits))[:, None] == len(digits) - 1
    asked = jnp.broadcast_to(last, answers.shape) if automaton is problems.PARITY else jnp.ones_like(answers, bool)
    return Questions(problems.signs(digits), answers, asked)


def compiled(
    automaton: Automaton, bits: int, model_of: Callable[[Array], Model], config: ConfigDict
) -> Callable[..., float]:
    """``(seed, examples, units) -> share of all numbers that are wrong`` after training on so many of them.

    ``model_of`` is given the number of units; the examples are drawn once, by the seed.
    """
    questions = jit(functools.partial(all_questions, automaton, bits))()

    def of(places: Array) -> Questions:
        return Questions(*(each[:, places] for each in questions))

    @jit
    def share_wrong(key: Key, examples: Array, units: Array) -> Array:
        model, (init_key, order_key, batch_key) = model_of(units), jax.random.split(key, 3)
        order = jax.random.permutation(order_key, questions.inputs.shape[1])

        def step(state: TrainState, _: None) -> tuple[TrainState, None]:
            chosen = jax.random.randint(jax.random.fold_in(batch_key, state.step), (config.batch_size,), 0, examples)
            return learning.update(model, config, state, of(order[chosen]))[0], None

        state = learning.initial_state(model.init(init_key), 0, config)
        state, _ = jax.lax.scan(step, state, length=config.train_steps)
        return networks.wrong(model.logits(state.params, questions.inputs), questions).any(axis=0).mean()

    def wrong(seed: int, examples: int, units: int) -> float:
        return float(share_wrong(jax.random.key(seed), jnp.int32(examples), jnp.int32(units)))

    return wrong


def until_enough(of: str, most: int, wrong: Callable[[int], float]) -> list[Record]:
    """A record for each of 1, 2, 4, ... of something, up to the first with which few enough numbers are wrong."""
    records: list[Record] = []
    for count in (*(2**power for power in range((most - 1).bit_length())), most):
        records.append({"kind": "need", "of": of, "count": count, "wrong": wrong(count)})
        if records[-1]["wrong"] <= TOLERANCE:
            break
    return records


def mlp(automaton: Automaton, bits: int, most: int, units: Array | int) -> Model:
    """One that has inputs for just so many bits, and, of the most it may have, so many units."""
    outputs = bits + 1 if automaton is problems.ADDITION else 1
    return networks.fully_connected(most, bits, automaton.digits, outputs, units)


def count_weights(automaton: Automaton, bits: int, units: int) -> int:
    """Of such an MLP that has no more units than it uses."""
    shapes = jax.eval_shape(mlp(automaton, bits, units, units).init, jax.random.key(0))
    return networks.count_weights(shapes)
