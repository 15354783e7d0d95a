"""How well does a recurrent network predict text that it has not seen?

Run as ``python -m experiments.language``; config.py explains the settings.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common import checkpoint, command, drawing, sweep, training
from experiments.common.command import explained
from experiments.common.settings import names, require_least, require_multiples, require_positive
from experiments.common.training import Evaluation, never, no_better_for
from experiments.common.workdir import Record, Workdir
from experiments.language import model as language_model
from experiments.language import report
from experiments.language.model import LanguageParams
from experiments.language.network import TrainState, initial_state, make_cell, make_optimizer, train_steps
from rnnjax.checks import number_between
from rnnjax.data import Vocabulary, decode, encode, load_text, parallel_streams, stream_window, vocabulary_of
from rnnjax.data.vocabulary import Answer
from rnnjax.names import lookup

HELD_OUT = 0.1  # of the text, its end
FRESH = 256  # tokens of a window that is read from a fresh state


class Data(NamedTuple):
    """A text as tokens: to train on, to choose by, and to report."""

    train: np.ndarray
    choose: np.ndarray
    report: np.ndarray
    vocabulary: Vocabulary
    source: str


class Run(NamedTuple):
    """One network, trained once."""

    cell: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.cell}-seed{self.seed}"

    @property
    def program(self) -> str:
        return self.cell

    def identity(self) -> Record:
        return self._asdict()


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError, OSError):
        runs = plan(config)
        data = read(config)
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda program: 0)
    work = functools.partial(execute, config=config, data=data)
    calls = config.train_steps // config.steps_a_call + 1
    records = sweep.execute(programs, work, workdir, steps=calls, threads=config.threads)
    if records is None:
        return
    source = f"{data.source}, {len(data.train):,} {config.unit} to train on, {len(data.vocabulary.entries):,} different"
    found = f"{report.table(records)}\n\n{report.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records, source, config.unit), found)


def plan(config: ConfigDict) -> list[Run]:
    """A run for each cell and seed.

    Raises:
        ValueError: for a field that cannot be.
    """
    sizes = ("seeds", "layers", "hidden_size", "batch_size", "sequence_length", "train_steps", "steps_a_call")
    require_least(config, 1, *sizes, "evaluate_every", "evaluation_streams", "sample_length")
    counts = ("embedding_size", "warm_up", "averaged_over", "patience", "checkpoint_every", "max_characters")
    require_least(config, 0, *counts, "vocabulary_size", "threads")
    require_positive(config, "learning_rate", "clip_norm")
    for field in ("embedding_dropout", "output_dropout", "recurrent_dropout"):
        number_between(f"--config.{field}", config[field], 0.0, 0.99)
    lookup("dropout_each", config.dropout_each, {"sequence": None, "step": None})
    require_multiples(config, "steps_a_call", "train_steps", "evaluate_every", "checkpoint_every")
    make_optimizer(config)
    for cell in names(config, "cells"):
        rnnjax.cell_named(cell)
    return [Run(cell, seed) for cell in names(config, "cells") for seed in range(config.seeds)]


def read(config: ConfigDict) -> Data:
    """The text of a config, its last tenth held out; the vocabulary is that of what is trained on.

    Raises:
        OSError, ValueError: for a text that cannot be read, or is too short.
    """
    text, source = load_text(config.corpus, max_characters=config.max_characters or None)
    border = round(len(text) * (1 - HELD_OUT))
    first, rest = text[:border], text[border:]
    reserve = not set(rest) <= set(first) if config.unit == "characters" else True
    vocabulary = vocabulary_of(first or text, config.unit, size=config.vocabulary_size or None, reserve=reserve)
    known: Answer = "error" if vocabulary.unknown is None else "replace"
    train, held_out = (encode(vocabulary, part, unknown=known) for part in (first, rest))
    middle = len(held_out) // 2
    stream_window(parallel_streams(train, config.batch_size), 0, config.sequence_length)
    for part in (held_out[:middle], held_out[middle:]):
        parallel_streams(part, config.evaluation_streams)
    return Data(train, held_out[:middle], held_out[middle:], vocabulary, source)


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, data: Data) -> None:
    """Runs of one cell: trained, tested as they go, the gradient's flow measured and text drawn on the way."""
    cell = make_cell(runs[0].cell, config)
    streams = jnp.asarray(parallel_streams(data.train, config.batch_size))
    jit = functools.partial(jax.jit, compiler_options=command.compiler_options())
    step = jit(functools.partial(train_steps, cell, config))
    loss = jit(functools.partial(held_out_loss, cell))
    norms = jit(functools.partial(language_model.gradient_norms, cell))
    draw = jit(functools.partial(drawn, cell, length=config.sample_length))
    parts = {"choose": data.choose, "report": data.report}
    in_streams = {name: jnp.asarray(parallel_streams(part, config.evaluation_streams)) for name, part in parts.items()}
    in_windows = {name: jnp.asarray(fresh_windows(part)) for name, part in parts.items()}

    def evaluate(state: TrainState, number: int) -> Evaluation:
        params = state.average
        numbers = {f"loss_{name}": loss(params, part) for name, part in in_streams.items()}
        numbers |= {f"fresh_{name}": loss(params, part) for name, part in in_windows.items()}
        window = in_streams["choose"][: min(config.sequence_length, len(in_streams["choose"]) - 1) + 1]
        start = cell.initial_state(params.recurrent, (window.shape[1],))
        said = draw(params, jnp.asarray(data.choose[:1]), jax.random.fold_in(state.key, number))
        text = decode(data.vocabulary, [int(data.choose[0]), *said.tolist()])
        flow = {"kind": "state_gradient", "step": number, "norms": norms(params, window, start)}
        return Evaluation(numbers, [flow, {"kind": "sample", "step": number, "text": text}])

    for run in runs:
        with log_of(run) as log:
            about = {"run": run.identity(), "config": config.to_dict(), "vocabulary": data.vocabulary._asdict()}
            training.train(
                initial_state(cell, config, len(data.vocabulary.entries), jax.random.key(run.seed)),
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


def held_out_loss(cell: rnnjax.Cell, params: LanguageParams, streams: Array) -> Array:
    """Nats a token of streams or windows (T + 1, B), each read from a fresh state on, its first tokens included."""
    start = cell.initial_state(params.recurrent, streams.shape[1:])
    return language_model.token_losses(cell, params, streams, start)[0].mean()


def fresh_windows(tokens: np.ndarray) -> np.ndarray:
    """(T + 1, B), T at most 256, which follow each other and share the token between them."""
    length = min(FRESH, len(tokens) - 1)
    starts = np.arange((len(tokens) - 1) // length) * length
    return tokens[starts + np.arange(length + 1)[:, None]]


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
    """The network of a run, from a folder such as ``runs/language/checkpoints/gru-seed0/best``.

    Raises:
        ExperimentError: if there is no checkpoint, or it cannot be read.
    """
    about = checkpoint.about(folder)
    config = ConfigDict(about["config"])
    unit, entries = about["vocabulary"]["unit"], tuple(about["vocabulary"]["entries"])
    cell = make_cell(about["run"]["cell"], config)
    like = initial_state(cell, config, len(entries), jax.random.key(0))
    return Trained(cell, checkpoint.restore(folder, like).tree.average, Vocabulary(unit, entries))
