"""Where do gradients die? Cells, activations and depths compared, before and after training on real text.

Run as ``python -m experiments.gradient_flow``; experiments/configs/gradient_flow.py explains the settings.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from flax.training.train_state import TrainState
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments import character_model, checkpoint, command, gradient_flow_report, sweep
from experiments.command import ExperimentError, explained
from experiments.workdir import Record
from rnnjax.data import Corpus, load_corpus, random_windows
from rnnjax.names import lookup

_CONFIG = command.define_config(Path(__file__).parent / "configs" / "gradient_flow.py")
_WORKDIR = flags.DEFINE_string("workdir", "runs/gradient_flow", "Folder for records, figures, summary, checkpoints.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Discard what the workdir holds.")


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all seeds and all activations."""

    cell: str
    depth: int
    sequence_length: int


class Run(NamedTuple):
    """One network, trained once."""

    program: Program
    activation: str
    seed: int

    @property
    def name(self) -> str:
        program = self.program
        return f"{program.cell}-{self.activation}-depth{program.depth}-T{program.sequence_length}-seed{self.seed}"

    def identity(self) -> Record:
        return {**self.program._asdict(), "activation": self.activation, "seed": self.seed}


def main() -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    config = command.loaded(_CONFIG)
    with explained(ValueError, OSError):
        runs = plan(config)
        corpus = load_corpus(config.corpus, max_characters=config.max_characters or None)
        check_length(corpus, max(run.program.sequence_length for run in runs))
    workdir = sweep.open_sweep(_WORKDIR.value, config.to_dict(), overwrite=_OVERWRITE.value)
    work = functools.partial(execute, config=config, corpus=corpus, checkpoints=workdir.path / "checkpoints")
    runs.sort(key=lambda run: (-run.program.depth * run.program.sequence_length, run.program))
    programs = [list(group) for _, group in itertools.groupby(runs, key=lambda run: run.program)]
    records = sweep.execute(programs, work, workdir, steps=config.train_steps + 1, threads=config.threads)
    if records is None:
        return
    figures = gradient_flow_report.draw(records, workdir.path / "figures")
    table = gradient_flow_report.table(records)
    workdir.finish(gradient_flow_report.summary(records, f"{corpus.source}, {len(corpus.tokens):,} characters", table))
    print(f"\n{table}\n\n{gradient_flow_report.verdict(records)}\n")
    print(f"summary: {workdir.path / 'summary.md'}\nfigures: {', '.join(map(str, figures))}")


def plan(config: ConfigDict) -> list[Run]:
    """Every combination that the config names.

    Raises:
        ValueError: for a field that cannot be.
    """
    for field in ("seeds", "hidden_size", "batch_size"):
        if config[field] < 1:
            raise ValueError(f"--config.{field} is {config[field]}: expected at least 1")
    for field in ("train_steps", "checkpoint_every", "threads", "max_characters"):
        if config[field] < 0:
            raise ValueError(f"--config.{field} is {config[field]}: expected 0 or more")
    lookup("loss", config.loss, character_model.MEASURES)
    runs = []
    for cell, depth, length in itertools.product(
        _names(config, "cells"), _numbers(config, "depths"), _numbers(config, "sequence_lengths")
    ):
        chosen = _names(config, "activations") if _takes_activation(cell) else ["-"]
        for activation, seed in itertools.product(chosen, range(config.seeds)):
            if activation != "-":
                lookup("activation", activation, rnnjax.ACTIVATIONS)
            runs.append(Run(Program(cell, depth, length), activation, seed))
    return runs


def check_length(corpus: Corpus, sequence_length: int) -> None:
    """Raises ``ValueError`` unless a window fits into the tenth of the text that is held out."""
    needed = 10 * (sequence_length + 1)
    if len(corpus.tokens) < needed:
        raise ValueError(
            f"corpus {corpus.source} has {len(corpus.tokens)} characters, but windows of {sequence_length} in the "
            f"tenth held out for measuring need {needed}: give a longer text or shorter --config.sequence_lengths"
        )


def execute(
    runs: Sequence[Run], progress: sweep.Progress, *, config: ConfigDict, corpus: Corpus, checkpoints: Path
) -> Iterator[tuple[Run, list[Record]]]:
    """Runs of one program: measured, trained, measured again."""
    program = runs[0].program
    activations = sorted({run.activation for run in runs})
    optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(config.learning_rate))

    def cell_with(activation: Array) -> rnnjax.Cell:
        return make_cell(program, config.hidden_size, activations, activation)

    jit = functools.partial(jax.jit, compiler_options=command.compiler_options())

    @jit
    def initialize(key: Array) -> TrainState:
        params = character_model.init(cell_with(jnp.int32(0)), len(corpus.vocabulary), key)
        return TrainState.create(apply_fn=None, params=params, tx=optimizer)

    @jit
    def measure(activation: Array, state: TrainState, tokens: Array) -> rnnjax.GradientFlow:
        return character_model.MEASURES[config.loss](cell_with(activation), state.params, tokens)

    @jit
    def train_step(activation: Array, state: TrainState, tokens: Array) -> tuple[TrainState, Array, Array]:
        return character_model.train_step(cell_with(activation), state, tokens)

    for run in runs:
        activation = jnp.int32(activations.index(run.activation))
        saved = checkpoints / run.name
        held_out = _windows(corpus, _held_out(corpus), run, 0, config.batch_size)
        state = initialize(jax.random.key(run.seed))
        flow = measure(activation, state, held_out)
        _require_finite(flow.loss, 0, saved)
        records = list(_flow_records(config.loss, "initialization", 0, flow))
        progress(run.name)
        if config.train_steps:
            step = functools.partial(train_step, activation)
            state, history = train(step, state, run, config, corpus, saved, progress)
            flow = measure(activation, state, held_out)
            _require_finite(flow.loss, config.train_steps, saved)
            if config.checkpoint_every:
                checkpoint.save(saved, config.train_steps, (state, history))
            records += [
                {"kind": "train", "step": number, "loss": loss, "gradient_norm": gradient_norm}
                for number, (loss, gradient_norm) in enumerate(history, start=1)
            ]
            records += list(_flow_records(config.loss, "trained", config.train_steps, flow))
        yield run, records


def make_cell(program: Program, hidden_size: int, activations: list[str], activation: Array) -> rnnjax.Cell:
    """The stack of a program, its activation chosen among ``activations`` at run time: one program for all."""
    constructor = rnnjax.cell_named(program.cell)
    if _takes_activation(program.cell):
        branches = [rnnjax.ACTIVATIONS[name] for name in activations]
        constructor = functools.partial(constructor, activation=lambda x: jax.lax.switch(activation, branches, x))
    return rnnjax.stack(*(constructor(hidden_size) for _ in range(program.depth)))


def train(
    step: Callable[[TrainState, np.ndarray], tuple[TrainState, Array, Array]],
    state: TrainState,
    run: Run,
    config: ConfigDict,
    corpus: Corpus,
    checkpoints: Path,
    progress: sweep.Progress,
) -> tuple[TrainState, np.ndarray]:
    """Trains on random windows, from the last checkpoint if there is one.

    A state is saved once its own loss has been seen to be finite, so that a checkpoint is a good one.

    Returns:
        The trained state, and loss and gradient norm of every step (train_steps, 2).

    Raises:
        ExperimentError: if the loss is not finite.
    """
    training = slice(0, _held_out(corpus).start)
    history = np.full((config.train_steps, 2), np.nan)
    first, (state, history) = checkpoint.restore(checkpoints, (state, history))
    for _ in range(first):
        progress(run.name)
    for number in range(first, config.train_steps):
        after, loss, gradient_norm = step(state, _windows(corpus, training, run, number, config.batch_size))
        _require_finite(loss, number, checkpoints)
        if config.checkpoint_every and number > first and number % config.checkpoint_every == 0:
            checkpoint.save(checkpoints, number, (state, history))
        state, history[number] = after, (loss, gradient_norm)
        progress(run.name)
    return state, history


def _require_finite(loss: Array, steps: int, checkpoints: Path) -> None:
    if not np.isfinite(loss):
        saved = checkpoint.latest(checkpoints)
        if steps == 0:
            raise ExperimentError(
                f"loss is {loss} at initialization of {checkpoints.name}: the network overflows; give shorter "
                "--config.sequence_lengths or another activation"
            )
        raise ExperimentError(
            f"loss is {loss} after {steps} training steps of {checkpoints.name} (last good checkpoint: "
            f"{checkpoints / str(saved) if saved else 'none'}); lower --config.learning_rate or --config.clip_norm"
        )


def _flow_records(measured: str, phase: str, step: int, flow: rnnjax.GradientFlow) -> Iterator[Record]:
    """The norms as records: for every layer each state field, then each of its params."""
    common = {"measured": measured, "phase": phase, "step": step, "loss": flow.loss}
    for layer, (state, examples, parameters) in enumerate(
        zip(flow.state, flow.examples, flow.parameters, strict=True), start=1
    ):
        for field in ("all", *state._fields):  # all: the norm over the fields together
            norms = [getattr(state, name) for name in state._fields if field in ("all", name)]
            by_example = [getattr(examples, name) for name in state._fields if field in ("all", name)]
            per_example = rnnjax.example_norms(np.hypot.reduce(by_example))
            yield {
                "kind": "state_gradient",
                **common,
                "layer": layer,
                "field": field,
                "norms": np.hypot.reduce(norms),
                "mean_of_log": per_example.mean_of_log,
                "log_of_mean": per_example.log_of_mean,
                "examples_underflowed": per_example.underflowed,
            }
        for field in parameters._fields:
            norms = getattr(parameters, field)
            yield {"kind": "parameter_gradient", **common, "layer": layer, "field": field, "norms": norms}


def _held_out(corpus: Corpus) -> slice:
    """The last tenth of the text is for measuring, the rest for training."""
    return slice(len(corpus.tokens) * 9 // 10, len(corpus.tokens))


def _windows(corpus: Corpus, part: slice, run: Run, number: int, batch_size: int) -> np.ndarray:
    generator = np.random.default_rng([run.seed, number])
    return random_windows(corpus.tokens[part], generator, run.program.sequence_length + 1, batch_size)


def _takes_activation(cell: str) -> bool:
    return "activation" in inspect.signature(rnnjax.cell_named(cell)).parameters


def _names(config: ConfigDict, field: str) -> list[str]:
    names = [name.strip() for name in config[field].split(",") if name.strip()]
    if not names:
        raise ValueError(f"--config.{field} is empty: expected names with commas between")
    return list(dict.fromkeys(names))


def _numbers(config: ConfigDict, field: str) -> list[int]:
    names = _names(config, field)
    if not all(name.isdigit() and int(name) > 0 for name in names):
        raise ValueError(f"--config.{field} is {config[field]!r}: expected positive whole numbers with commas between")
    return [int(name) for name in names]


if __name__ == "__main__":
    command.run(main)
