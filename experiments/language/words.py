"""Models of words beside the recurrent network in streams: which of them a config asks for, and how each is done.

All have the vocabulary of that network, learn from the same part of the text, and are held to the same words: those of
the two held-out parts but for the first of each, before which there is nothing to read. None sees beyond the border of
its part: there is padding.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.common import sweep, training
from experiments.common.compiling import jit, require_room
from experiments.common.settings import names, numbers, require_least
from experiments.common.training import Evaluation, never, no_better_for
from experiments.common.workdir import Record
from experiments.language import window
from experiments.language.network import make_cell, make_optimizer
from experiments.networks import ngrams, sizing
from rnnjax.data import Vocabulary
from rnnjax.data.vocabulary import PADDING

CONNECTED, NGRAM = "fully connected", "n-gram"


class Run(NamedTuple):
    """One model, trained or counted once: a network on windows of so many words, or n-grams of that order."""

    model: str  # of these two, or the name of a cell
    length: int
    seed: int

    @property
    def name(self) -> str:
        model = self.model.replace(" ", "-")
        return f"{model}-{self.length}" if self.model == NGRAM else f"{model}-window{self.length}-seed{self.seed}"

    @property
    def program(self) -> tuple[str, str, int]:
        return self.model, "", self.length  # in one order with those of the networks in streams

    def identity(self) -> Record:
        return self._asdict()


def plan(config: ConfigDict) -> list[Run]:
    """A run for each window, kind of network and seed, and for each order of n-grams; none by default.

    Raises:
        ValueError: for a field that cannot be.
    """
    require_least(config, 0, "ngrams")
    asked = [(CONNECTED, "windows"), *((cell, "recurrent_windows") for cell in names(config, "cells"))]
    runs = [
        Run(model, length, seed)
        for model, field in asked
        for length in (numbers(config, field) if config[field] else [])
        for seed in range(config.seeds)
    ]
    runs += [Run(NGRAM, order, 0) for order in range(1, config.ngrams + 1)]
    if runs and (config.unit != "words" or config.evaluation_streams != 1):
        raise ValueError(
            f"--config.unit is {config.unit}, --config.evaluation_streams is {config.evaluation_streams}: with "
            "windows, recurrent_windows or ngrams expected words and 1, for all models to predict the same words"
        )
    if runs and {",", ":"} & {*config.optimizers, *config.through}:
        raise ValueError(
            f"--config.optimizers is {config.optimizers!r}, --config.through is {config.through!r}: with windows, "
            "recurrent_windows or ngrams expected one optimizer at --config.learning_rate, and one length"
        )
    return runs


def execute(
    runs: Sequence[Run],
    log_of: sweep.Logs[Run],
    *,
    config: ConfigDict,
    train: np.ndarray,
    held_out: Mapping[str, np.ndarray],
    vocabulary: Vocabulary,
) -> None:
    """Runs of one program: counted, or trained and tested as they go."""
    padding, size = vocabulary.entries.index(PADDING), len(vocabulary)
    if runs[0].model == NGRAM:
        for run in runs:
            with log_of(run) as log:
                log.write(_counted(ngrams.fit(train, run.length, padding=padding, size=size), held_out))
        return
    examples = window.examples(train, runs[0].length, padding)
    parts = {name: window.examples(part, runs[0].length, padding).after_first() for name, part in held_out.items()}
    network, optimizer = _network(runs[0], config, size), make_optimizer(config, config.optimizers)
    step = jit(functools.partial(window.train_steps, network, optimizer, config))
    loss = jit(functools.partial(window.held_out_loss, network))

    def evaluate(state: window.TrainState, number: int) -> Evaluation:
        return Evaluation({f"loss_{name}": loss(state.params, part) for name, part in parts.items()})

    require_room(jax.eval_shape(lambda: window.initial_state(network, optimizer, jax.random.key(0))))
    for run in runs:
        with log_of(run) as log:
            state = window.initial_state(network, optimizer, jax.random.key(run.seed))
            log.write([{"kind": "network", "params": sizing.count_numbers(state.params)}])
            training.train(
                state,
                lambda state, _: step(state, examples),
                lambda _: None,
                evaluate,
                log,
                steps=config.train_steps,
                stride=config.steps_a_call,
                evaluate_at={*range(0, config.train_steps, config.evaluate_every), config.train_steps},
                checkpoint_every=config.checkpoint_every,
                stop=no_better_for(config.patience, "loss_choose") if config.patience else never,
            )


def _counted(model: ngrams.Ngrams, held_out: Mapping[str, np.ndarray]) -> list[Record]:
    """What is recorded of a trained network, too."""
    losses = {f"loss_{name}": ngrams.losses(model, part)[1:].mean() for name, part in held_out.items()}
    return [{"kind": "network", "params": model.counts}, {"kind": "evaluation", "step": 0, **losses}]


def _network(run: Run, config: ConfigDict, vocabulary_size: int) -> window.Network:
    if run.model == CONNECTED:
        return window.connected(run.length, vocabulary_size, config.hidden_size)
    return window.recurrent(make_cell(run.model, config, vocabulary_size), vocabulary_size, config.embedding_size)
