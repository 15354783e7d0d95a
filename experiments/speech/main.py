"""Which phoneme is heard at each moment of speech, and what do convolutions, an LSTM and a dense layer each add?

Run as ``python -m experiments.speech``; config.py explains the settings.
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

from experiments.common import drawing, sweep, training
from experiments.common.averaged import TrainState, initial_state, train_steps
from experiments.common.compiling import jit
from experiments.common.errors import explained
from experiments.common.optimizer import make_optimizer
from experiments.common.settings import names, require_least, require_multiples, require_positive
from experiments.common.training import Evaluation
from experiments.common.workdir import Record, Workdir
from experiments.speech import features, findings, model, noise, phonemes, reach, report
from experiments.speech.data import GROUPS, Batch, Data, read
from experiments.speech.model import Drawn, Layer, Network, Sizes
from rnnjax.checks import number_between
from rnnjax.names import lookup
from rnnjax.typing import Key

SIZES = Sizes(features.BANDS, len(phonemes.CLASSES))

EXAMPLE = 0
"""The number of the test utterance that is recorded as it was heard and labelled."""


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all seeds."""

    network: str
    delay: int


Run = sweep.SeededRun[Program]
"""One network, trained once."""


class Given(NamedTuple):
    """What all runs share."""

    data: Data
    asked: reach.Asked


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that the workdir lacks, draws the figures and prints the findings."""
    with explained(ValueError, OSError, ImportError):
        runs = plan(config)
        data = read(config)
        given = Given(data, reach.asked(next(iter(data.tests.values())), config.lags))
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda program: int(model.LSTM in program.network) + int(":" in program.network))
    work = functools.partial(execute, config=config, given=given)
    calls = config.train_steps // config.steps_a_call + 1
    records = sweep.execute(programs, work, workdir, steps=calls, threads=config.threads)
    if records is None:
        return
    found = f"{findings.table(records)}\n\n{findings.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records), found)


def plan(config: ConfigDict) -> list[Run]:
    """A run for each network, delay and seed; a bidirectional network hears everything and needs no delay.

    Raises:
        ValueError: for a field with a wrong value.
    """
    sizes = ("seeds", "maps", "reduced_size", "hidden_size", "train_sentences", "test_sentences", "frames")
    steps = ("batch_size", "train_steps", "steps_a_call", "evaluate_every", "averaged_over", "lags", "slowest")
    require_least(config, 1, *sizes, *steps)
    require_least(config, 0, "threads", "checkpoint_every", "lowest_pitch")
    require_positive(config, "learning_rate", "clip_norm")
    require_multiples(config, "steps_a_call", "train_steps", "evaluate_every", "checkpoint_every")
    number_between("--config.weight_decay", config.weight_decay, 0.0, math.inf)
    number_between("--config.dropout", config.dropout, 0.0, 0.99)
    number_between("--config.fastest", config.fastest, config.slowest, 450)
    number_between("--config.highest_pitch", config.highest_pitch, config.lowest_pitch, 99)
    lookup("noise", config.noise, noise.COLOURS)
    for condition in (*names(config, "train_conditions"), *names(config, "test_conditions")):
        if condition != noise.CLEAN:
            noise.decibels(condition)
    common = set(names(config, "voices")) & set(names(config, "held_out_voices"))
    if common:
        raise ValueError(
            f"--config.held_out_voices has {min(common)}, which is also in --config.voices: expected other voices"
        )
    programs = [
        Program(network, delay)
        for network, delay in itertools.product(names(config, "networks"), delays(config))
        if not model.parts_of(network)[1]
    ]
    programs += [Program(network, 0) for network in names(config, "networks") if model.parts_of(network)[1]]
    return [Run(program, seed) for program in programs for seed in range(config.seeds)]


def delays(config: ConfigDict) -> list[int]:
    """The delays in frames, 0 included.

    Raises:
        ValueError: if they are not whole numbers from 0 to 100.
    """
    found = names(config, "delays")
    if not all(each.isascii() and each.isdigit() and int(each) <= 100 for each in found):
        raise ValueError(
            f"--config.delays is {config.delays!r}: expected whole numbers from 0 to 100, separated by commas"
        )
    return list(dict.fromkeys(map(int, found)))


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, given: Given) -> None:
    """Trains the networks of one program, tests them, and measures how far their decisions reach.

    Nothing is chosen by the test utterances: the weights at the end of training are reported.
    """
    program, data = runs[0].program, given.data
    layer, optimizer = model.sized_layer(program.network, config, SIZES), make_optimizer(config)
    drawn = Drawn(config.batch_size, config.frames, config.dropout)
    step = jit(
        functools.partial(
            train_steps, functools.partial(model.drawn_loss, layer, program.delay, drawn), optimizer, config
        )
    )
    examine = jit(functools.partial(scores, layer, program.delay))
    measure = jit(functools.partial(reach.flow, layer, program.delay, lags=config.lags))
    initialize = jit(functools.partial(initialized, layer, optimizer))
    network = {"params": model.count_params(layer, SIZES), "width": layer.width}
    quiet = next(iter(data.tests))

    def evaluate(state: TrainState, number: int) -> Evaluation:
        found = examine(state.average, data.tests[quiet])
        numbers = {"loss": found.loss, "error": found.error}
        if number not in (0, config.train_steps):
            return Evaluation(numbers)
        phase = "trained" if number else "initialization"
        flow = measure(state.average, given.asked)
        states = {f"states_{direction}": norms for direction, norms in flow.states.items()}
        return Evaluation(numbers, [{"kind": "flow", "phase": phase, "inputs": flow.inputs, **states}])

    for run in runs:
        with log_of(run) as log:
            log.write([{"kind": "network", **network}])
            state, _ = training.train(
                initialize(jax.random.key(run.seed)),
                lambda state, _: step(state, data.train),
                lambda _: None,
                evaluate,
                log,
                steps=config.train_steps,
                stride=config.steps_a_call,
                evaluate_at={*range(0, config.train_steps, config.evaluate_every), config.train_steps},
                checkpoint_every=config.checkpoint_every,
                about=about(run, config, data),
            )
            log.write(results(functools.partial(examine, state.average), data))
            if run.seed == 0:
                log.write(examples(functools.partial(examine, state.average), data))


def about(run: Run, config: ConfigDict, data: Data) -> Record:
    """What is saved with a checkpoint so that it can label recordings, and what the run was trained on."""
    scale = {name: [float(number) for number in values] for name, values in data.scale._asdict().items()}
    return {
        "run": run.identity(),
        "config": config.to_dict(),
        "classes": list(phonemes.CLASSES),
        "scale": scale,
        "audio": data.digest,
    }


def initialized(layer: Layer, optimizer: optax.GradientTransformation, key: Key) -> TrainState:
    """The state before training."""
    params_key, step_key = jax.random.split(key)
    return initial_state(model.init(layer, SIZES, params_key), optimizer, step_key)


class Scores(NamedTuple):
    """A network's labels of utterances, and how good they are."""

    said: Array  # (T, B) the labels
    loss: Array  # mean nats a frame
    error: Array  # share of frames with a wrong label
    speech_error: Array  # share of the frames with a phoneme that have a wrong label
    confusion: Array  # (K, K) frames by true class and by label
    frames: Array


def scores(layer: Layer, delay: int, network: Network, batch: Batch) -> Scores:
    """The scores on a batch, without dropout."""
    found = model.answers(layer, delay, network, batch)
    said, classes = found.argmax(axis=-1), found.shape[-1]
    nats = optax.softmax_cross_entropy_with_integer_labels(found, batch.labels)
    places = jnp.where(batch.mask, batch.labels * classes + said, classes**2)
    confusion = jnp.bincount(places.ravel(), length=classes**2 + 1)[:-1].reshape(classes, classes)
    frames, rights = (each.astype(found.dtype) for each in (confusion.sum(axis=1), jnp.diagonal(confusion)))
    silence = phonemes.CLASSES.index(phonemes.SILENCE)
    speech = jnp.arange(classes) != silence
    return Scores(
        said,
        jnp.where(batch.mask, nats, 0.0).sum() / frames.sum(),
        1 - rights.sum() / frames.sum(),
        1 - jnp.where(speech, rights, 0.0).sum() / jnp.where(speech, frames, 0.0).sum(),
        confusion,
        frames.sum(),
    )


def results(examine: Callable[[Batch], Scores], data: Data) -> Iterator[Record]:
    """How well a network labels each group of voices in each condition."""
    about = {"source": data.source, "trained_on": len(data.train.labels)}
    for (group, condition), batch in data.tests.items():
        found = examine(batch)
        numbers = {name: float(getattr(found, name)) for name in ("loss", "error", "speech_error")}
        where = {"group": group, "condition": condition, "frames": int(found.frames)}
        yield {"kind": "result", **about, **where, **numbers, "confusion": found.confusion}


def examples(examine: Callable[[Batch], Scores], data: Data) -> Iterator[Record]:
    """One utterance of a held-out voice in the first and the last condition, frame by frame."""
    conditions = list(dict.fromkeys(condition for _, condition in data.tests))
    for condition in dict.fromkeys((conditions[0], conditions[-1])):
        batch = data.tests[GROUPS[-1], condition]
        length = int(batch.mask[:, EXAMPLE].sum())
        heard = np.asarray(batch.inputs[:length, EXAMPLE]) * data.scale.deviation + data.scale.mean
        yield {
            "kind": "example",
            "condition": condition,
            "text": data.test_texts[EXAMPLE],
            "decibels": np.round(heard, 1),
            "labels": batch.labels[:length, EXAMPLE],
            "said": examine(batch).said[:length, EXAMPLE],
        }
