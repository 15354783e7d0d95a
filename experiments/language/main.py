"""How well does a recurrent network predict text that it has not seen?

Run as ``python -m experiments.language``; config.py explains the settings.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from ml_collections import ConfigDict

import rnnjax
from experiments.common import checkpoint, drawing, host_devices, sweep, training
from experiments.common.compiling import jit, require_room
from experiments.common.errors import explained
from experiments.common.settings import names, numbers, require_least, require_multiples, require_positive
from experiments.common.training import Evaluation, never, no_better_for
from experiments.common.workdir import Record, Workdir
from experiments.language import comparison, held_out, published, report, words
from experiments.language import model as language_model
from experiments.language.model import LanguageParams
from experiments.language.network import (
    TrainState,
    count_params,
    dropout_of,
    initial_state,
    make_cell,
    make_optimizer,
    recurrent_kernel_bytes,
    shardings,
    train_steps,
)
from rnnjax.checks import number_between, positive_number
from rnnjax.data import Vocabulary, decode, encode, load_text, parallel_streams, stream_window, vocabulary_of
from rnnjax.data.vocabulary import Answer
from rnnjax.names import lookup

HELD_OUT = 0.1  # of the text, its end


class Data(NamedTuple):
    """A text as tokens: to train on, to choose by, and to report."""

    train: np.ndarray
    choose: np.ndarray
    report: np.ndarray
    vocabulary: Vocabulary
    source: str


class Program(NamedTuple):
    """What has to be compiled on its own."""

    cell: str
    optimizer: str
    through: int  # steps of the gradient back


class Run(NamedTuple):
    """One network, trained once."""

    name: str
    program: Program
    learning_rate: float
    seed: int

    def identity(self) -> Record:
        return {**self.program._asdict(), "learning_rate": self.learning_rate, "seed": self.seed}


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError, OSError):
        runs = plan(config)
        data = read(config)
    mesh = host_devices.mesh(devices(runs, config, len(data.vocabulary)))  # before JAX looks for its devices
    for program in {run.program for run in runs if isinstance(run, Run)}:
        require_room(shapes_of(program, config, len(data.vocabulary)))
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda program: program[-1])  # the further back, the longer it takes
    work = functools.partial(execute, config=config, data=data, mesh=mesh)
    calls = config.train_steps // config.steps_a_call + 1
    records = sweep.execute(programs, work, workdir, steps=calls, threads=config.threads)
    if records is None:
        return
    source = (
        f"{data.source}, {len(data.train):,} {config.unit} to train on, {len(data.vocabulary):,} different; "
        f"{np.mean(data.report == data.vocabulary.unknown):.1%} of what is reported on are unknown"
    )
    told = (report.table, report.verdict, comparison.table, comparison.verdict)
    found = "\n\n".join(filter(None, (each(records) for each in told)))
    beside = published.table(records, published.text_of(config))
    drawing.finish(workdir, report.FIGURES, records, report.summary(records, source, config.unit, beside), found)


def plan(config: ConfigDict) -> list[Run | words.Run]:
    """A run for each cell, length that the gradient goes back, optimizer and seed, and for each model beside them.

    Raises:
        ValueError: for a field that cannot be.
    """
    sizes = ("seeds", "layers", "hidden_size", "batch_size", "sequence_length", "train_steps", "steps_a_call")
    require_least(config, 1, *sizes, "evaluate_every", "evaluation_streams", "sample_length")
    counts = ("embedding_size", "warm_up", "averaged_over", "patience", "checkpoint_every", "max_characters")
    require_least(config, 0, *counts, "vocabulary_size", "params", "threads", "devices")
    require_positive(config, "clip_norm")
    positive_number("--config.learning_rate", config.learning_rate)
    number_between("--config.weight_decay", config.weight_decay, 0.0, math.inf)
    for field in ("embedding_dropout", "output_dropout", "recurrent_dropout", "drop_connect", "zoneout"):
        number_between(f"--config.{field}", config[field], 0.0, 0.99)
    lookup("dropout_each", config.dropout_each, {"sequence": None, "step": None})
    require_multiples(config, "steps_a_call", "train_steps", "evaluate_every", "checkpoint_every")
    if config.devices and config.batch_size % config.devices:
        raise ValueError(f"--config.devices={config.devices}: expected a divisor of batch_size={config.batch_size}")
    cells, optimizers = names(config, "cells"), [_with_rate(each, config) for each in names(config, "optimizers")]
    through = numbers(config, "through") if config.through else [config.sequence_length]
    for name, _ in optimizers:
        make_optimizer(config, name)
    for cell in cells:
        rnnjax.cell_named(cell)
    for steps in through:
        if config.sequence_length % steps:
            raise ValueError(
                f"--config.through has {steps}: expected divisors of --config.sequence_length={config.sequence_length}"
            )
    runs = list[Run | words.Run]()
    for cell, steps, (optimizer, rate), seed in itertools.product(cells, through, optimizers, range(config.seeds)):
        told = [cell, *[f"through{steps}"] * (len(through) > 1), *[f"{optimizer}-{rate:g}"] * (len(optimizers) > 1)]
        runs.append(Run("-".join([*told, f"seed{seed}"]), Program(cell, optimizer, steps), rate, seed))
    return [*runs, *words.plan(config)]


def devices(runs: Sequence[Run | words.Run], config: ConfigDict, vocabulary_size: int) -> int:
    """Among how many the streams are divided: one where several programs share the cores anyway."""
    if config.devices:
        return int(config.devices)
    programs = {run.program for run in runs if isinstance(run, Run)}
    if len(programs) != 1 or len(runs) > config.seeds:
        return 1
    cell = make_cell(programs.pop().cell, config, vocabulary_size)
    kernel = recurrent_kernel_bytes(cell, config, vocabulary_size)
    return host_devices.number(config.batch_size, kernel, host_devices.cores())


def _with_rate(chosen: str, config: ConfigDict) -> tuple[str, float]:
    """An optimizer and its learning rate, which may be its own, as in ``adam:1e-3``."""
    name, colon, own = chosen.partition(":")
    try:
        rate = float(own) if colon else config.learning_rate
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise ValueError(f"--config.optimizers has {chosen!r}: expected a positive learning rate behind the colon")
    return name, rate


def read(config: ConfigDict) -> Data:
    """The text of a config, its last tenth held out; the vocabulary is that of what is trained on.

    Raises:
        OSError, ValueError: for a text that cannot be read, or is too short, or has nothing in it to predict.
    """
    text, source = load_text(config.corpus, max_characters=config.max_characters or None)
    border = round(len(text) * (1 - HELD_OUT))
    first, rest = text[:border], text[border:]
    reserve = not set(rest) <= set(first) if config.unit == "characters" else True
    vocabulary = vocabulary_of(first or text, config.unit, size=config.vocabulary_size or None, reserve=reserve)
    known: Answer = "error" if vocabulary.unknown is None else "replace"
    train, held_out = (encode(vocabulary, part, unknown=known) for part in (first, rest))
    middle = len(held_out) // 2
    data = Data(train, held_out[:middle], held_out[middle:], vocabulary, source)
    with _named(f"corpus {source}, nine tenths of it to train on, --config.batch_size={config.batch_size}"):
        stream_window(parallel_streams(train, config.batch_size), 0, config.sequence_length)
    for part in (data.choose, data.report):
        streams = config.evaluation_streams
        with _named(f"corpus {source}, a twentieth of it held out, --config.evaluation_streams={streams}"):
            parallel_streams(part, streams)
    if (train == train[0]).all():
        raise ValueError(
            f"corpus {source} has but one of the {config.unit} that are told apart, over and over: expected two or "
            "more; give another text, or a greater --config.vocabulary_size"
        )
    return data


@contextlib.contextmanager
def _named(part: str) -> Iterator[None]:
    """Says of which part of a text it is that it is too short."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{part}: {error}") from error


def execute(
    runs: Sequence[Run | words.Run], log_of: sweep.Logs[Run | words.Run], *, config: ConfigDict, data: Data, mesh: Mesh
) -> None:
    """Runs of one program, which are of one kind."""
    if in_streams := [run for run in runs if isinstance(run, Run)]:
        train_in_streams(in_streams, log_of, config=config, data=data, mesh=mesh)
    if beside := [run for run in runs if isinstance(run, words.Run)]:
        parts = {"choose": data.choose, "report": data.report}
        words.execute(beside, log_of, config=config, train=data.train, held_out=parts, vocabulary=data.vocabulary)


def train_in_streams(
    runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, data: Data, mesh: Mesh
) -> None:
    """Runs of one program: trained, tested as they go, the gradient's flow measured and text drawn on the way."""
    program, size = runs[0].program, len(data.vocabulary)
    cell, optimizer = make_cell(program.cell, config, size), make_optimizer(config, program.optimizer)
    used = language_model.without_draws(cell, dropout_of(config))
    streams = jax.device_put(parallel_streams(data.train, config.batch_size), host_devices.divided(mesh, 1))
    start_of = functools.partial(initial_state, cell, optimizer, config=config, vocabulary_size=size)
    places = shardings(shapes_of(program, config, size), mesh)
    step = jit(functools.partial(train_steps, cell, optimizer, config, program.through), out_shardings=(places, None))
    read = jit(functools.partial(held_out.loss_sum, used))
    norms = jit(functools.partial(language_model.gradient_norms, used))
    draw = jit(functools.partial(drawn, used, length=config.sample_length))
    parts = {"choose": data.choose, "report": data.report}
    columns = config.evaluation_streams
    in_streams = {name: parallel_streams(part, columns) for name, part in parts.items()}
    in_windows = {name: held_out.fresh_windows(part) for name, part in parts.items()}
    window = in_streams["choose"][: config.sequence_length + 1]

    def evaluate(state: TrainState, number: int) -> Evaluation:
        params, key = jax.device_put((state.average, state.key), jax.devices()[0])
        start = used.initial_state(params.recurrent, (columns,))
        numbers: Record = {}
        for name in parts:
            numbers[f"loss_{name}"] = held_out.carried_loss(read, params, in_streams[name], start)
            numbers[f"fresh_{name}"] = held_out.fresh_loss(read, params, in_windows[name], start, columns)
        said = draw(params, jnp.asarray(data.choose[:1]), jax.random.fold_in(key, number))
        text = decode(data.vocabulary, [int(data.choose[0]), *said.tolist()])
        flow = {"kind": "state_gradient", "step": number, **norms(params, window, start)._asdict()}
        records = [flow, {"kind": "sample", "step": number, "text": text}]
        if number == 0:
            records.append({"kind": "network", "params": count_params(cell, config, size), "devices": mesh.size})
        return Evaluation(numbers, records)

    for run in runs:
        with log_of(run) as log:
            about = {
                "run": run.identity(),
                "config": config.to_dict(),
                "vocabulary": dataclasses.asdict(data.vocabulary),
            }
            training.train(
                jax.device_put(start_of(run.learning_rate, key=jax.random.key(run.seed)), places),
                lambda state, _: step(state, streams),
                lambda _: None,
                evaluate,
                log,
                steps=config.train_steps,
                stride=config.steps_a_call,
                evaluate_at={*range(0, config.train_steps, config.evaluate_every), config.train_steps},
                checkpoint_every=config.checkpoint_every,
                about=about,
                best_by="loss_choose",
                stop=no_better_for(config.patience, "loss_choose") if config.patience else never,
            )


def shapes_of(program: Program, config: ConfigDict, vocabulary_size: int) -> TrainState:
    """What ``jax.eval_shape`` makes of a program's training state."""
    cell, optimizer = make_cell(program.cell, config, vocabulary_size), make_optimizer(config, program.optimizer)
    start = functools.partial(initial_state, cell, optimizer, 0.0, config, vocabulary_size)
    return jax.eval_shape(lambda: start(jax.random.key(0)))


def drawn(cell: rnnjax.Cell, params: LanguageParams, prompt: Array, key: Array, *, length: int) -> Array:
    """Tokens (T,) drawn after a prompt (P,) that is read from a fresh state."""
    start = cell.initial_state(params.recurrent, ())
    state, outputs = rnnjax.unroll(cell, params.recurrent, language_model.embed(params, prompt), start)
    said = language_model.logits(params, outputs[-1])
    options: dict[str, Any] = {
        "embed": functools.partial(language_model.embed, params),
        "readout": functools.partial(language_model.logits, params),
    }
    return rnnjax.generate(cell, params.recurrent, state, said, key, **options, length=length).tokens


class Trained(NamedTuple):
    """A network that this experiment has trained."""

    cell: rnnjax.Cell
    params: LanguageParams
    vocabulary: Vocabulary


def load(folder: str | Path) -> Trained:
    """The network of a run as it is used, from a folder such as ``runs/language/checkpoints/gru-seed0/best``.

    Raises:
        ExperimentError: if there is no checkpoint, or it cannot be read.
    """
    folder = checkpoint.whole(folder)
    about = checkpoint.about(folder)
    config = ConfigDict(about["config"])
    unit, entries = about["vocabulary"]["unit"], tuple(about["vocabulary"]["entries"])
    cell = make_cell(about["run"]["cell"], config, len(entries))
    optimizer, rate = make_optimizer(config, about["run"]["optimizer"]), about["run"]["learning_rate"]
    like = jax.eval_shape(lambda: initial_state(cell, optimizer, rate, config, len(entries), jax.random.key(0)))
    params = checkpoint.restore(folder, like).tree.average
    return Trained(language_model.without_draws(cell, dropout_of(config)), params, Vocabulary(unit, entries))
