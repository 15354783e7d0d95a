"""Which tag has each word of a sentence: is "Teddy" part of a person's name?

Run as ``python -m experiments.tagging``; config.py explains the settings.
"""

import functools
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
from experiments.tagging import decisions, findings, grammar, model, report, scores
from experiments.tagging.data import (
    CORPUS,
    GRAMMAR,
    Asked,
    Data,
    Lexicon,
    asked,
    batch_of,
    cut,
    in_chunks,
    lexicon_of,
    read,
)
from experiments.tagging.findings import COUNTING
from experiments.tagging.model import BIDIRECTIONAL, DIRECTIONS, Batch, Layer, Network, Noise
from experiments.tagging.trained import Trained, probabilities, sizes_of
from rnnjax.checks import number_between
from rnnjax.names import lookup
from rnnjax.typing import Key

CHUNK = 256
"""Sentences that are tagged at a time."""


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all seeds."""

    network: str


Run = sweep.SeededRun[Program]
"""One network, trained once."""


class Given(NamedTuple):
    """What all runs are given: sentences, also as numbers."""

    data: Data
    lexicon: Lexicon
    train: Batch
    test: Batch  # in chunks, leaves (C, T, CHUNK, ...)
    asked: dict[str, Asked]


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError, OSError, ImportError):
        runs = plan(config)
        scores.metrics()
        sentences = given(read(config), config)
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda program: int(program.network == BIDIRECTIONAL))
    work = functools.partial(execute, config=config, given=sentences)
    calls = config.train_steps // config.steps_a_call + 1
    records = sweep.execute(programs, work, workdir, steps=calls, threads=config.threads)
    if records is None:
        return
    found = f"{findings.table(records)}\n\n{findings.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records), found)


def plan(config: ConfigDict) -> list[Run]:
    """A run for each network and seed; counting tags needs but one.

    Raises:
        ValueError: for a field that cannot be.
    """
    sizes = ("seeds", "hidden_size", "embedding_size", "longest_affix", "distances", "train_sentences", "longest")
    steps = ("batch_size", "train_steps", "steps_a_call", "evaluate_every", "averaged_over", "lags")
    require_least(config, 1, *sizes, *steps)
    require_least(config, 0, "threads", "checkpoint_every")
    require_positive(config, "learning_rate", "clip_norm")
    require_multiples(config, "steps_a_call", "train_steps", "evaluate_every", "checkpoint_every")
    for field in ("weight_decay", "word_dropout"):
        number_between(f"--config.{field}", config[field], 0.0, math.inf)
    number_between("--config.output_dropout", config.output_dropout, 0.0, 0.99)
    lookup("data", config.data, dict.fromkeys((GRAMMAR, CORPUS)))
    model.make_layer(BIDIRECTIONAL, config.cell, 1)
    runs = []
    for name in names(config, "networks"):
        lookup("network", name, dict.fromkeys((COUNTING, *DIRECTIONS)))
        runs += [Run(Program(name), seed) for seed in range(1 if name == COUNTING else config.seeds)]
    return runs


def given(data: Data, config: ConfigDict) -> Given:
    """All of it, made once."""
    lexicon = lexicon_of(data.train, data.tags, config.longest_affix)
    train = batch_of(lexicon, cut(data.train, config.longest))
    to_ask = asked(data, lexicon, config.distances, config.lags)
    return Given(data, lexicon, train, in_chunks(lexicon, data.test, CHUNK), to_ask)


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, given: Given) -> None:
    """Runs of one program."""
    if runs[0].program.network != COUNTING:
        return train(runs, log_of, config=config, given=given)
    said = scores.said_by_counting(scores.counted(given.data.train), given.data.test)
    for run in runs:
        with log_of(run) as log:
            log.write([{"kind": "network", "params": None, "hidden_size": None}, *scores.records(given.data, said)])


def train(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, given: Given) -> None:
    """Runs of one program: trained for so many steps, tested as they go and at the end; what decisions hang on.

    Nothing is chosen by the sentences to test on: what is reported is the end of training.
    """
    sizes = sizes_of(given.lexicon, config)
    layer = model.sized_layer(runs[0].program.network, config.cell, config.hidden_size, sizes)
    noise = Noise(dropped_by_count(given.train, sizes.words, config.word_dropout), config.output_dropout)
    optimizer = make_optimizer(config)
    loss = functools.partial(model.drawn_loss, layer, noise, config.batch_size)
    step = jit(functools.partial(train_steps, loss, optimizer, config))
    examine = jit(functools.partial(answers, layer))
    measure = jit(functools.partial(decisions.flow, layer, lags=config.lags))
    padded = jit(functools.partial(decisions.change_with_padding, layer))
    initialize = jit(functools.partial(initialized, layer, sizes, optimizer))
    network = {"params": model.count_params(layer, sizes), "hidden_size": hidden_size(layer, sizes)}
    words = sum(len(sentence.words) for sentence in given.data.test)
    first = Batch(*(leaf[0] for leaf in given.test))

    def evaluate(state: TrainState, number: int) -> Evaluation:
        _, nats, wrong = examine(state.average, given.test)
        if number not in (0, config.train_steps):
            return Evaluation({"loss": nats / words, "error": wrong / words})
        phase = "trained" if number else "initialization"
        flows = [
            {"kind": "flow", "phase": phase, "side": side, **flow_record(measure(state.average, *of_side))}
            for side, of_side in given.asked.items()
        ]
        return Evaluation({"loss": nats / words, "error": wrong / words}, flows)

    for run in runs:
        with log_of(run) as log:
            log.write([{"kind": "network", **network}])
            about = {"run": run.identity(), "config": config.to_dict(), "lexicon": given.lexicon._asdict()}
            state, _ = training.train(
                initialize(jax.random.key(run.seed)),
                lambda state, _: step(state, given.train),
                lambda _: None,
                evaluate,
                log,
                steps=config.train_steps,
                stride=config.steps_a_call,
                evaluate_at={*range(0, config.train_steps, config.evaluate_every), config.train_steps},
                checkpoint_every=config.checkpoint_every,
                about=about,
            )
            said, _, _ = examine(state.average, given.test)
            log.write(scores.records(given.data, spelled(said, given)))
            log.write([{"kind": "padding", "change": padded(state.average, first)}])
            log.write(of_the_lecture(Trained(layer, state.average, given.lexicon, config.data)))


def dropped_by_count(train: Batch, words: int, alpha: float) -> Array:
    """(W + 1,) probabilities a / (a + n) for words that occur n times."""
    counts = np.bincount(np.asarray(train.words)[np.asarray(train.mask)], minlength=words + 1).astype(np.float32)
    share = np.float32(alpha)
    return jnp.asarray(np.where(counts > 0, share / (share + np.maximum(counts, 1)), np.float32(0)))


def initialized(layer: Layer, sizes: model.Sizes, optimizer: optax.GradientTransformation, key: Key) -> TrainState:
    """Before training."""
    params_key, step_key = jax.random.split(key)
    return initial_state(model.init(layer, sizes, params_key), optimizer, step_key)


def answers(layer: Layer, network: Network, chunks: Batch) -> tuple[Array, Array, Array]:
    """Of sentences in chunks the tags (C, T, CHUNK), nats and wrong tags over all words; nothing disturbed."""

    def of_chunk(batch: Batch) -> tuple[Array, Array, Array]:
        found = model.logits(layer, network, model.embed(network, batch), batch.mask)
        said = found.argmax(axis=-1)
        wrong = (batch.mask & (said != batch.tags)).sum(dtype=found.dtype)
        return said, model.losses(found, batch).sum(), wrong

    said, nats, wrong = jax.lax.map(of_chunk, chunks)
    return said, nats.sum(), wrong.sum()


def spelled(said: Array, given: Given) -> list[list[str]]:
    """The tags (C, T, CHUNK) of each sentence to test on, in letters."""
    numbers = np.moveaxis(np.asarray(said), 1, 2).reshape(-1, said.shape[1])
    tags = given.lexicon.tags
    return [
        [tags[number] for number in row[: len(sentence.words)]]
        for row, sentence in zip(numbers, given.data.test, strict=False)  # the last chunk is filled up
    ]


def flow_record(found: decisions.Flow) -> Record:
    """A gradient by distance, as a record has it."""
    states = {f"states_{direction}": norms for direction, norms in found.states.items()}
    return {"inputs": found.inputs, "sentences": found.sentences, **states}


def of_the_lecture(known: Trained) -> Iterator[Record]:
    """How likely the first word of each of the lectures' sentences is part of a name."""
    if known.data != GRAMMAR:
        return
    for sentence in grammar.LECTURE:
        of_name = probabilities(known, sentence.lower().split())[0, known.lexicon.tags.index(grammar.NAME)]
        yield {"kind": "lecture", "sentence": sentence, "name": float(of_name)}


def hidden_size(layer: Layer, sizes: model.Sizes) -> int:
    """Units of the layer, of both directions together."""
    shapes = jax.eval_shape(lambda: model.init(layer, sizes, jax.random.key(0)))
    return int(shapes.readout["params"]["kernel"].shape[0])
