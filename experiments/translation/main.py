"""What does a translator lose if the whole source must pass through one state, and what does attention bring?

Run as ``python -m experiments.translation``; config.py explains the settings.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from ml_collections import ConfigDict

from experiments.common import drawing, sweep, training
from experiments.common.averaged import TrainState, initial_state, train_steps
from experiments.common.compiling import jit, options
from experiments.common.errors import explained
from experiments.common.optimizer import make_optimizer
from experiments.common.settings import names, numbers, require_least, require_multiples, require_positive
from experiments.common.training import Evaluation
from experiments.common.workdir import Record, Workdir
from experiments.translation import findings, flow, model, report, scores
from experiments.translation.data import (
    DATES,
    PHONEMES,
    PLAIN_DATES,
    Batch,
    Symbols,
    batch_of,
    buckets,
    chunks,
    read,
    spelled,
    symbols_of,
)
from experiments.translation.dates import SEVERAL
from experiments.translation.examples import Example, Pair, Task
from experiments.translation.model import NONE, Layers, Network, Said, Search
from experiments.translation.scores import Translated
from rnnjax.checks import number_between
from rnnjax.names import lookup
from rnnjax.typing import Key

CHUNK = 256
"""Sources that are translated at a time."""

MEASURED = 64
"""The most sources whose gradients are measured."""

DRAWN = 3
"""The most sources for which the attention of the first seed is recorded."""


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all seeds."""

    attention: str
    reading: str


Run = sweep.SeededRun[Program]
"""One network, trained once."""


class Given(NamedTuple):
    """What all runs share: pairs and examples, as text and as numbers."""

    task: Task
    symbols: Symbols
    buckets: Sequence[Batch]
    measured: Batch
    parts: flow.Parts
    part_count: int


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that the workdir lacks, draws the figures and prints the findings."""
    with explained(ValueError, OSError, ImportError):
        runs = plan(config)
        scores.jiwer()
        everything = given(read(config), config)
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda program: int(program.attention != NONE))
    work = functools.partial(execute, config=config, given=everything)
    calls = config.train_steps // config.steps_a_call + 1
    records = sweep.execute(programs, work, workdir, steps=calls, threads=config.threads)
    if records is None:
        return
    found = f"{findings.table(records)}\n\n{findings.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records), found)


def plan(config: ConfigDict) -> list[Run]:
    """A run for each network and seed.

    Raises:
        ValueError: for a field with a wrong value.
    """
    sizes = (
        "seeds",
        "hidden_size",
        "embedding_size",
        "attention_size",
        "most_dates",
        "tested",
        "validated",
        "searched",
        "buckets",
        "lags",
    )
    steps = ("batch_size", "train_steps", "steps_a_call", "evaluate_every", "averaged_over")
    require_least(config, 1, *sizes, *steps)
    require_least(config, 0, "threads", "checkpoint_every", "train_sources")
    require_positive(config, "learning_rate", "clip_norm")
    require_multiples(config, "steps_a_call", "train_steps", "evaluate_every", "checkpoint_every")
    number_between("--config.weight_decay", config.weight_decay, 0.0, math.inf)
    number_between("--config.dropout", config.dropout, 0.0, 0.99)
    searches(config)
    if lookup("data", config.data, {name: name for name in (DATES, PLAIN_DATES, PHONEMES)}) != PHONEMES:
        require_least(config, max(config.buckets, config.most_dates), "train_sources")
    programs = [program_of(name) for name in names(config, "networks")]
    for program in programs:
        model.make_layers(*program, config.cell, 1)
    return [Run(program, seed) for program in programs for seed in range(config.seeds)]


def program_of(name: str) -> Program:
    """The program of a name such as "additive:forward"; without a colon the source is read forward."""
    attention, _, reading = name.partition(":")
    return Program(attention, reading or model.FORWARD)


def searches(config: ConfigDict) -> list[Search]:
    """Greedy search, then beam search with each number of beams and each length penalty.

    Raises:
        ValueError: for a wrong number.
    """
    penalties = []
    for name in names(config, "length_penalties"):
        try:
            penalties.append(number_between("--config.length_penalties", float(name), 0.0, 10.0))
        except ValueError as error:
            raise ValueError(
                f"--config.length_penalties is {config.length_penalties!r}: expected numbers from 0 to 10, separated "
                "by commas"
            ) from error
    wide = [beams for beams in numbers(config, "beams") if beams > 1]
    return [Search(1, 0.0), *itertools.starmap(Search, itertools.product(wide, penalties))]


def given(task: Task, config: ConfigDict) -> Given:
    """What all runs share, made once.

    Raises:
        ValueError: if no test source is as long as ``lags``.
    """
    symbols = symbols_of(task)
    if config.data != PHONEMES:
        asked = [each for each in task.test if each.asked == SEVERAL and each.length == task.longest]
        borders, count = (symbols.sources.index(";") + 1, symbols.targets.index(" ") + 1), task.longest
    else:
        asked, borders, count = [each for each in task.test if each.length >= config.lags], (-1, -1), 1
    if not asked:
        raise ValueError(f"--config.lags is {config.lags}: expected less, because no test source is that long")
    pairs = [Pair(each.source, each.references[0]) for each in asked[:: max(len(asked) // MEASURED, 1)][:MEASURED]]
    measured = batch_of(symbols, pairs)
    parts = flow.parts_of(measured, *borders)
    return Given(task, symbols, buckets(symbols, task.train, config.buckets), measured, parts, count)


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, given: Given) -> None:
    """Trains the networks of one program, tests them, and measures their attention and their gradients.

    Nothing is chosen by the test sources. The weights are those at the end of training. Greedy search is tested, and
    the beam search that was best on the validation examples.
    """
    task, symbols = given.task, given.symbols
    layers = model.make_layers(*runs[0].program, config.cell, config.hidden_size, config.attention_size)
    optimizer = make_optimizer(config)
    loss = functools.partial(model.drawn_loss, layers, config.dropout, config.batch_size)
    step = jit(functools.partial(train_steps, loss, optimizer, config))
    initialize = jit(functools.partial(initialized, layers, symbols, config.embedding_size, optimizer))
    measure = jit(functools.partial(flow.flow, layers, lags=config.lags, count=given.part_count))
    padded = jit(functools.partial(flow.change_with_padding, layers))
    nats = jax.jit(functools.partial(loss_of, layers), compiler_options=options())
    say = {
        search: jax.jit(functools.partial(model.say, layers, search=search), compiler_options=options())
        for search in searches(config)
    }
    greedy = say[Search(1, 0.0)]
    followed = list(chunks(symbols, spread_out(task.validation, config.validated), CHUNK))

    def evaluate(state: TrainState, number: int) -> Evaluation:
        rights = translated(greedy, state.average, symbols, followed).rights()
        totals = [nats(state.average, batch) for _, batch in followed]
        numbers = {"loss": sum(t[0] for t in totals) / sum(t[1] for t in totals), "error": 1 - np.mean(rights)}
        if number not in (0, config.train_steps):
            return Evaluation(numbers)
        phase = "trained" if number else "initialization"
        found = measure(state.average, given.measured, given.parts)
        return Evaluation(numbers, [{"kind": "flow", "phase": phase, **found._asdict()}])

    for run in runs:
        with log_of(run) as log:
            params = model.count_params(layers, symbols, config.embedding_size)
            log.write([{"kind": "network", "params": params, **about(task)}])
            state, _ = training.train(
                initialize(jax.random.key(run.seed)),
                step,
                functools.partial(bucket, given.buckets, run.seed),
                evaluate,
                log,
                steps=config.train_steps,
                stride=config.steps_a_call,
                evaluate_at={*range(0, config.train_steps, config.evaluate_every), config.train_steps},
                checkpoint_every=config.checkpoint_every,
                about={"run": run.identity(), "config": config.to_dict(), "symbols": symbols._asdict()},
            )
            network = state.average
            compared = list(compared_searches(say, network, given, config))
            log.write(compared)
            beams = min(compared[1:], key=lambda each: each["error"], default=None)
            for search in [Search(1, 0.0), *([Search(beams["beams"], beams["length_penalty"])] if beams else [])]:
                found = translated(say[search], network, symbols, chunks(symbols, task.test, CHUNK))
                log.write({**record, **search._asdict()} for record in scores.records(task, found))
                if run.seed == 0 and search.beams == 1:
                    log.write([*scores.mistakes(task, found), *looks(layers, network, given, found)])
            log.write([{"kind": "padding", "change": padded(network, given.measured)}])


def bucket(parts: Sequence[Batch], seed: int, number: int) -> Batch:
    """The bucket from which a dispatch draws its batches."""
    return parts[np.random.default_rng((seed, number)).integers(len(parts)).item()]


def spread_out(examples: Sequence[Example], most: int) -> Sequence[Example]:
    """At most ``most`` of the examples, evenly spaced."""
    return examples[:: max(len(examples) // most, 1)][:most]


def about(task: Task) -> Record:
    """What the records say of the data."""
    counts = {"trained_on": len(task.train), "validated_on": len(task.validation), "tested_on": len(task.test)}
    return {"source": task.source, "unit": task.unit, "longest": task.longest, **counts}


def initialized(
    layers: Layers, symbols: Symbols, embedding_size: int, optimizer: optax.GradientTransformation, key: Key
) -> TrainState:
    """The state before training."""
    params_key, step_key = jax.random.split(key)
    return initial_state(model.init(layers, symbols, embedding_size, params_key), optimizer, step_key)


def loss_of(layers: Layers, network: Network, batch: Batch) -> tuple[Array, Array]:
    """The sum of the loss in nats and the number of symbols, over the sources of a batch that are not empty."""
    found = model.logits(layers, network, network.source[batch.source], batch)
    there = batch.source_mask[:1]
    return jnp.where(there, model.losses(found, batch), 0.0).sum(), (batch.mask & there).sum(dtype=found.dtype)


def translated(
    say: Callable[[Network, Batch], Said],
    network: Network,
    symbols: Symbols,
    parts: Iterable[tuple[Sequence[Example], Batch]],
) -> Translated:
    """All examples of the chunks, with their translations."""
    found = Translated([], [], [])
    for part, batch in parts:
        said = say(network, batch)
        found.examples.extend(part)
        found.said.extend(spelled(symbols, np.asarray(said.tokens))[: len(part)])
        found.log_probabilities.extend(np.asarray(said.log_probabilities)[: len(part)].tolist())
    return found


def compared_searches(
    say: Mapping[Search, Callable[[Network, Batch], Said]], network: Network, given: Given, config: ConfigDict
) -> Iterator[Record]:
    """What each search finds on validation examples: the share wrong, the mean length, and the mean ln p."""
    parts = list(chunks(given.symbols, spread_out(given.task.validation, config.searched), CHUNK))
    for search, find in say.items():
        found = translated(find, network, given.symbols, parts)
        yield {
            "kind": "search",
            **search._asdict(),
            "error": 1 - float(np.mean(found.rights())),
            "symbols": float(np.mean([len(each) for each in found.said])),
            "log_probability": float(np.mean(found.log_probabilities)),
            "sources": len(found.said),
        }


def looks(layers: Layers, network: Network, given: Given, found: Translated) -> Iterator[Record]:
    """Where the decoder looks as it writes its own translations of a few sources."""
    if layers.attention == NONE:
        return
    align = jax.jit(functools.partial(model.alignment, layers))
    rows = list(zip(found.examples, found.said, strict=True))
    length = min(given.task.longest, 2) if given.task.unit == DATES else 9
    chosen = [(example, said) for example, said in rows if example.length == length and example.locale == ""][:DRAWN]
    for example, said in chosen:
        batch = batch_of(given.symbols, [Pair(example.source, said)])
        weights = np.asarray(align(network, batch))[:, 0]
        yield {"kind": "alignment", "source": example.source, "said": scores.line(said), "weights": weights}
