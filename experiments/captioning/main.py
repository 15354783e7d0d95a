"""How should a decoder see the features of a CNN to caption a picture: once, at every word, or by attention?

Run as ``python -m experiments.captioning``; config.py explains the settings.
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

from experiments.captioning import flow, model, report, scores
from experiments.captioning.data import HELD_OUT, PARTS, SEEN, Batch, Data, read
from experiments.captioning.findings import table, verdict
from experiments.captioning.grammar import seen_in, spelled, words_of
from experiments.captioning.model import ATTENTION, FIXED, NO_PICTURE, TRAINED, Model, Network
from experiments.captioning.scenes import Scene, recorded
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
from rnnjax.names import lookup
from rnnjax.typing import Key

LARGEST_HELD_OUT = 20
"""The most combinations that can be held out, so that each colour and each shape is still seen in training."""

SHOWN = 8
"""Test scenes whose captions by the first seed are shown; half of them have a held-out combination."""


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all seeds."""

    way: str


Run = sweep.SeededRun[Program]
"""One network, trained once."""


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that the workdir lacks, draws the figures and prints the findings."""
    with explained(ValueError, OSError, ImportError):
        runs = plan(config)
        scores.metrics()
    workdir = open_workdir()
    data = read(config)
    programs = sweep.by_program(runs, lambda program: -model.WAYS.index(program.way))
    work = functools.partial(execute, config=config, data=data)
    calls = config.train_steps // config.steps_a_call + 1
    records = sweep.execute(programs, work, workdir, steps=calls, threads=config.threads)
    if records is None:
        return
    found = f"{table(records)}\n\n{verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records), found)


def plan(config: ConfigDict) -> list[Run]:
    """A run for each way of seeing the picture and each seed.

    Raises:
        ValueError: for a field with a wrong value.
    """
    sizes = (
        "seeds",
        "hidden_size",
        "embedding_size",
        "vector_size",
        "attention_size",
        "train_scenes",
        "test_scenes",
        "measured_scenes",
    )
    steps = ("beams", "batch_size", "train_steps", "steps_a_call", "evaluate_every", "averaged_over")
    require_least(config, 1, *sizes, *steps)
    require_least(config, 4, "channels")
    require_least(config, 0, "threads", "checkpoint_every")
    require_positive(config, "learning_rate", "clip_norm")
    require_multiples(config, "steps_a_call", "train_steps", "evaluate_every", "checkpoint_every")
    number_between("--config.weight_decay", config.weight_decay, 0.0, math.inf)
    number_between("--config.word_dropout", config.word_dropout, 0.0, 0.99)
    number_between("--config.held_out", config.held_out, 1, LARGEST_HELD_OUT)
    lookup("cnn", config.cnn, dict.fromkeys((TRAINED, FIXED)))
    ways = names(config, "ways")
    for way in ways:
        model.make_model(way, config)
    return [Run(Program(way), seed) for way in ways for seed in range(config.seeds)]


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, data: Data) -> None:
    """Trains the networks of one program, tests them, and measures the gradients of their decisions.

    The weights at the end of training are reported, even if earlier ones were better.
    """
    chosen = model.make_model(runs[0].program.way, config)
    optimizer = make_optimizer(config)
    loss = functools.partial(
        loss_with, config.cnn, functools.partial(model.drawn_loss, chosen, config.batch_size, config.word_dropout)
    )
    step = jit(functools.partial(train_steps, loss, optimizer, config))
    examine = jit(functools.partial(model.loss, chosen))
    measure = jit(functools.partial(flow.flow, chosen))
    initialize = jit(functools.partial(initialized, chosen, optimizer))
    greedy, searched = (jit(functools.partial(said, chosen, beams)) for beams in (1, config.beams))

    def evaluate(state: TrainState, number: int) -> Evaluation:
        losses = {part: examine(state.average, batch) for part, batch in data.tests.items()}
        numbers = {"loss": losses[SEEN], f"loss_{HELD_OUT}": losses[HELD_OUT]}
        if number not in (0, config.train_steps) or chosen.way == NO_PICTURE:
            return Evaluation(numbers)
        phase = "trained" if number else "initialization"
        return Evaluation(numbers, [{"kind": "flow", "phase": phase, **measure(state.average, data.rows)._asdict()}])

    for run in runs:
        with log_of(run) as log:
            state = initialize(jax.random.key(run.seed))
            log.write([about_network(state.params, config)])
            state, _ = training.train(
                state,
                lambda state, _: step(state, data.train),
                lambda _: None,
                evaluate,
                log,
                steps=config.train_steps,
                stride=config.steps_a_call,
                evaluate_at={*range(0, config.train_steps, config.evaluate_every), config.train_steps},
                checkpoint_every=config.checkpoint_every,
                about={"run": run.identity(), "config": config.to_dict()},
            )
            heard = {}
            for beams, search in ((1, greedy), (config.beams, searched)):
                numbers = {part: np.asarray(search(state.average, data.tests[part].pictures)) for part in PARTS}
                heard = {part: [spelled(row) for row in each.T] for part, each in numbers.items()}
                log.write(scores.whole(heard[part], data.scenes[part], part, beams) for part in PARTS)
            for part in PARTS:
                log.write(scores.words(heard[part], data.scenes[part], part, config.held_out))
            log.write([scores.combinations(heard, data.scenes, config.held_out)])
            if run.seed == 0:
                log.write(examples(chosen, state.average, data, heard, numbers))


def loss_with(
    cnn: str, loss: Callable[[Network, Batch, Key], Array], network: Network, batch: Batch, key: Key
) -> Array:
    """The loss; a fixed CNN gets no gradient and stays as it is."""
    if cnn == FIXED:
        network = network._replace(convolutions=jax.lax.stop_gradient(network.convolutions))
    return loss(network, batch, key)


def initialized(chosen: Model, optimizer: optax.GradientTransformation, key: Key) -> TrainState:
    """The state before training."""
    params_key, step_key = jax.random.split(key)
    return initial_state(model.init(chosen, params_key), optimizer, step_key)


def said(chosen: Model, beams: int, network: Network, pictures: Array) -> Array:
    """The likeliest caption (T, B) that beam search finds for each picture, in numbers."""
    return model.said(chosen, network, model.see(chosen, network, pictures), beams).tokens[:, 0]


def about_network(network: Network, config: ConfigDict) -> Record:
    """The size of the network, and its training."""
    sizes = {"params": network, "cnn_params": network.convolutions}
    counts = {name: sizing.count_numbers(part) for name, part in sizes.items()}
    fields = ("cnn", "cell", "hidden_size", "train_scenes", "train_steps", "batch_size")
    return {"kind": "network", **counts, **{field: config[field] for field in fields}}


def examples(
    chosen: Model,
    network: Network,
    data: Data,
    heard: dict[str, list[list[str]]],
    numbers: dict[str, np.ndarray],
) -> Iterator[Record]:
    """Some scenes with their captions and where attention looked; half of them have a held-out combination."""

    @jit
    def look(network: Network, picture: Array, words: Array) -> Array:
        return model.looked_at(chosen, network, model.see(chosen, network, picture), words)

    for part in PARTS:
        for place in shown(data.scenes[part]):
            scene = data.scenes[part][place]
            looked = None
            if chosen.way == ATTENTION:
                one = slice(place, place + 1)
                seen = np.asarray(look(network, data.tests[part].pictures[one], jnp.asarray(numbers[part][:, one])))
                looked = seen[: len(heard[part][place]) + 1, 0]
            caption, true = " ".join(heard[part][place]), " ".join(words_of(seen_in(scene))[:-1])
            yield {
                "kind": "example",
                "part": part,
                "scene": recorded(scene),
                "said": caption,
                "true": true,
                "looked": looked,
            }


def shown(found: Sequence[Scene]) -> list[int]:
    """The numbers of the scenes to show, the first ones with two objects or three."""
    return [place for place, scene in enumerate(found) if len(scene) > 1][: SHOWN // len(PARTS)]
