"""How a network learns: Adam on clipped gradients, on numbers that are drawn anew at each step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from experiments.arithmetic import networks
from experiments.arithmetic.networks import Model
from experiments.arithmetic.problems import Problem, Questions
from experiments.common import training
from experiments.common.compiling import jit
from experiments.common.run_log import Log
from experiments.common.training import Evaluation
from experiments.common.workdir import Record
from rnnjax.typing import Key, Params


class TrainState(NamedTuple):
    """All that a training step depends on, beside a key."""

    params: Params
    optimizer: Any
    longest: Array  # bits of the numbers to train on, at most
    step: Array


class Keys(NamedTuple):
    """Of a seed, each for numbers that the others do not draw."""

    init: Key
    train: Key
    evaluate: Key
    test: Key


def keys(seed: int) -> Keys:
    """All there are."""
    return Keys(*jax.random.split(jax.random.key(seed), 4))


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Adam on clipped gradients, its rate falling to 0."""
    rate = optax.cosine_decay_schedule(config.learning_rate, config.train_steps)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(rate))


def initial_state(params: Params, longest: int, config: ConfigDict) -> TrainState:
    """Before the first step."""
    return TrainState(params, make_optimizer(config).init(params), jnp.int32(longest), jnp.int32(0))


def update(model: Model, config: ConfigDict, state: TrainState, questions: Questions) -> tuple[TrainState, Array]:
    """One step, and whether an answer was wrong before it."""

    def loss(params: Params) -> tuple[Array, Array]:
        logits = model.logits(params, questions.inputs)
        return networks.loss(logits, questions), networks.wrong(logits, questions).any()

    gradients, any_wrong = jax.grad(loss, has_aux=True)(state.params)
    updates, optimizer = make_optimizer(config).update(gradients, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    return state._replace(params=params, optimizer=optimizer, step=state.step + 1), any_wrong


def train_step(
    model: Model, problem: Problem, bits: int, config: ConfigDict, key: Key, state: TrainState
) -> TrainState:
    """One step on new numbers; where no answer was wrong the next may be a bit longer, up to ``bits``."""
    lengths_key, numbers_key = jax.random.split(jax.random.fold_in(key, state.step))
    lengths = problem.lengths(lengths_key, config.batch_size, state.longest)
    state, any_wrong = update(model, config, state, problem.questions(numbers_key, lengths, bits))
    return state._replace(longest=jnp.minimum(state.longest + jnp.where(any_wrong, 0, 1), bits))


def compiled(
    model: Model, problem: Problem, bits: int, config: ConfigDict
) -> Callable[[Keys, Log], tuple[Params, Params]]:
    """``(keys, log) -> (params before, params after)``: trains, and records how it does with numbers of full length."""

    @jit
    def train_steps(state: TrainState, key: Key) -> tuple[TrainState, Record]:
        def step(state: TrainState, _: None) -> tuple[TrainState, None]:
            return train_step(model, problem, bits, config, key, state), None

        return jax.lax.scan(step, state, length=config.evaluate_every)[0], {}

    @jit
    def evaluated(state: TrainState, key: Key) -> Record:
        questions = problem.questions(key, jnp.full((config.numbers,), bits), bits)
        logits = model.logits(state.params, questions.inputs)
        error = networks.wrong(logits, questions).any(axis=0).mean()
        return {"loss": networks.loss(logits, questions), "error": error, "longest": state.longest}

    @jit
    def start(key: Key) -> TrainState:
        return initial_state(model.init(key), min(problem.first or bits, bits), config)

    def train(keys: Keys, log: Log) -> tuple[Params, Params]:
        begun = start(keys.init)
        state, _ = training.train(
            begun,
            train_steps,
            lambda _: keys.train,
            lambda state, _: Evaluation(evaluated(state, keys.evaluate)),
            log,
            steps=config.train_steps,
            stride=config.evaluate_every,
            evaluate_at=range(0, config.train_steps + 1, config.evaluate_every),
        )
        return begun.params, state.params

    return train
