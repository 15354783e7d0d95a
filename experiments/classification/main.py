"""Into which class does a whole sequence belong: by its last state, the mean of all, or attention to some?

Run as ``python -m experiments.classification``; config.py explains the settings.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.classification import evidence, model, report
from experiments.classification.data import DATA, batches, text_of
from experiments.classification.model import POOLINGS, Batch, Network, Noise, Pooling
from experiments.common import drawing, sweep, training
from experiments.common.averaged import TrainState, initial_state, train_steps
from experiments.common.compiling import jit
from experiments.common.errors import explained
from experiments.common.optimizer import make_optimizer
from experiments.common.settings import names, require_least, require_multiples, require_positive
from experiments.common.training import Evaluation
from experiments.common.workdir import Record, Workdir
from experiments.networks import sizing
from rnnjax.checks import number_between
from rnnjax.data import Labelled
from rnnjax.names import lookup
from rnnjax.typing import Key

PARTS = 10
"""Of a sequence, for each of which it is told how much a decision hangs on it."""

EXAMPLES = 14
"""Test sequences of which the first seed tells each step."""


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all seeds."""

    network: str
    pooling: str


Run = sweep.SeededRun[Program]
"""One network, trained once."""


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError, OSError, ImportError):
        runs = plan(config)
        data = DATA[config.data]()
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda program: int(program.network != model.STEPS))
    work = functools.partial(execute, config=config, data=data)
    calls = config.train_steps // config.steps_a_call + 1
    records = sweep.execute(programs, work, workdir, steps=calls, threads=config.threads)
    if records is None:
        return
    found = f"{report.table(records)}\n\n{report.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records), found)


def plan(config: ConfigDict) -> list[Run]:
    """A run for each network, pooling and seed.

    Raises:
        ValueError: for a field that cannot be.
    """
    sizes = ("seeds", "hidden_size", "batch_size", "train_steps", "steps_a_call", "evaluate_every", "averaged_over")
    require_least(config, 1, *sizes)
    require_least(config, 0, "threads")
    require_positive(config, "learning_rate", "clip_norm")
    require_multiples(config, "steps_a_call", "train_steps", "evaluate_every")
    for field in ("input_noise", "weight_decay"):
        number_between(f"--config.{field}", config[field], 0.0, math.inf)
    for field in ("recurrent_dropout", "output_dropout", "label_smoothing"):
        number_between(f"--config.{field}", config[field], 0.0, 0.99)
    lookup("data", config.data, DATA)
    programs = []
    for network, pooling in itertools.product(names(config, "networks"), names(config, "poolings")):
        programs.append(Program(network, lookup("pooling", pooling, POOLINGS)))
        _require_trainable(programs[-1], config)
    return [Run(program, seed) for program in programs for seed in range(config.seeds)]


def _require_trainable(program: Program, config: ConfigDict) -> None:
    """Raises ``ValueError`` for an unknown network, or one that has not what the config drops."""
    layer, pooling = model.make_layer(program.network, config.hidden_size), POOLINGS[program.pooling]

    def loss(key: Key) -> Array:
        batch = Batch(jnp.zeros((2, 1, 1)), jnp.ones((2, 1), bool), jnp.zeros(1, jnp.int32))
        network = model.init(layer, pooling, 1, 2, key)
        return model.training_loss(layer, pooling, noise_of(program, config), network, batch, key)

    try:
        jax.eval_shape(loss, jax.random.key(0))
    except ValueError as error:
        told = f"--config.networks has {program.network}, --config.recurrent_dropout is {config.recurrent_dropout:g}"
        raise ValueError(f"{told}: {error}") from error


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, data: Labelled) -> None:
    """Runs of one program: trained for so many steps, tested as they go and at the end; what decisions hang on.

    Nothing is chosen by the sequences to test on: what is reported is the end of training.
    """
    program = runs[0].program
    layer, pooling = model.make_layer(program.network, config.hidden_size), POOLINGS[program.pooling]
    optimizer, (train, test) = make_optimizer(config), batches(config.data, data)
    loss = functools.partial(model.drawn_loss, layer, pooling, noise_of(program, config), config.batch_size)
    step = jit(functools.partial(train_steps, loss, optimizer, config))
    examine = jit(functools.partial(scores, layer, pooling))
    measure = jit(functools.partial(decisions, layer, pooling))

    @jit
    def initialize(key: Key) -> TrainState:
        params_key, step_key = jax.random.split(key)
        params = model.init(layer, pooling, train.inputs.shape[-1], len(data.classes), params_key)
        return initial_state(params, optimizer, step_key)

    def evaluate(state: TrainState, _: int) -> Evaluation:
        return Evaluation(examine(state.average, train, test))

    for run in runs:
        with log_of(run) as log:
            state = initialize(jax.random.key(run.seed))
            log.write([{"kind": "network", "params": sizing.count_numbers(state.params)}])
            state, evaluations = training.train(
                state,
                lambda state, _: step(state, train),
                lambda _: None,
                evaluate,
                log,
                steps=config.train_steps,
                stride=config.steps_a_call,
                evaluate_at={*range(0, config.train_steps, config.evaluate_every), config.train_steps},
            )
            found = jax.device_get(measure(state.average, test, state.key))
            log.write([result(evaluations[-1], found, data), *hangs_on(found)])
            if run.seed == 0:
                log.write(examples(found, data))


def noise_of(program: Program, config: ConfigDict) -> Noise:
    """What a config disturbs training with; where no step knows of another there is nothing recurrent to drop."""
    recurrent = 0.0 if program.network == model.STEPS else config.recurrent_dropout
    return Noise(config.input_noise, recurrent, config.output_dropout, config.label_smoothing)


def scores(layer: rnnjax.Cell, pooling: Pooling, network: Network, train: Batch, test: Batch) -> Record:
    """Nothing disturbed: share of sequences taken for another class, and, of those to test on, nats a sequence."""
    answers = [model.logits(layer, pooling, network, part) for part in (train, test)]
    of_train, of_test = (
        (answer.argmax(axis=-1) != part.labels).mean() for answer, part in zip(answers, (train, test), strict=True)
    )
    loss = optax.softmax_cross_entropy_with_integer_labels(answers[1], test.labels).mean()
    return {"loss": loss, "error": of_test, "train_error": of_train}


class Decisions(NamedTuple):
    """What a trained network says of B sequences, and on which of T steps that hangs."""

    said: Array  # (B,) classes
    shares: Array  # (T, B) of a sequence's input gradient
    parts: evidence.Evidence  # (PARTS,) shares, means over sequences
    errors_without: dict[str, Array]  # by ranking, at evidence.TAKEN_OUT
    padding_change: Array  # of the logits, at most


def decisions(layer: rnnjax.Cell, pooling: Pooling, network: Network, batch: Batch, key: Key) -> Decisions:
    """All of it."""
    given = layer, pooling, network, batch
    gradients = evidence.gradients(*given)
    rankings = evidence.rankings(gradients, batch.mask, key)
    without = functools.partial(evidence.errors_without, *given, shares=evidence.TAKEN_OUT)
    return Decisions(
        model.logits(*given).argmax(axis=-1),
        gradients.inputs / gradients.inputs.sum(axis=0, keepdims=True),
        evidence.Evidence(*(evidence.by_part(norms, batch.mask, PARTS) for norms in gradients)),
        # One program for all of them, not one for each.
        dict(zip(rankings, jax.lax.map(without, jnp.stack(list(rankings.values()))), strict=True)),
        evidence.change_with_padding(*given),
    )


def result(last: Record, found: Decisions, data: Labelled) -> Record:
    """How a run ended, with what a confusion matrix needs."""
    about = {"source": data.source, "classes": ",".join(data.classes), "trained_on": len(data.train.labels)}
    said = {"labels": data.test.labels, "said": found.said, "padding_change": found.padding_change}
    return {"kind": "result", **last, **about, **said}


def hangs_on(found: Decisions) -> Iterator[Record]:
    """Gradients by part of a sequence, and errors without the steps that rank highest."""
    yield {"kind": "parts", **found.parts._asdict()}
    for ranking, errors in found.errors_without.items():
        yield {"kind": "taken_out", "ranking": ranking, "shares": list(evidence.TAKEN_OUT), "errors": errors}


def examples(found: Decisions, data: Labelled) -> Iterator[Record]:
    """Some sequences to look at step by step, as far apart in the test set as there is room."""
    for place in np.linspace(0, len(data.test.labels) - 1, EXAMPLES).round().astype(int):
        label, said = (data.classes[int(each[place])] for each in (data.test.labels, found.said))
        shares = found.shares[: data.test.lengths[place], place]
        yield {"kind": "example", "text": text_of(data, place), "label": label, "said": said, "shares": shares}
