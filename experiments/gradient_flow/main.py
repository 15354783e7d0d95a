"""Where do gradients die? Cells, activations, depths and initializations compared, over training on real text.

Run as ``python -m experiments.gradient_flow``; config.py explains the settings.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common import checkpoint, drawing, sweep, training
from experiments.common.clipping import watched
from experiments.common.compiling import jit
from experiments.common.errors import explained
from experiments.common.training import Evaluation
from experiments.common.workdir import Record, Workdir
from experiments.gradient_flow import report
from experiments.gradient_flow.measurement import measurement_records, measuring, prediction
from experiments.gradient_flow.plan import Program, Run, activations_of, make_cell, measured_steps, plan, switched
from experiments.networks import character_model
from experiments.networks.character_model import CharacterParams
from rnnjax.data import Corpus, load_corpus, random_windows


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError, OSError):
        runs = plan(config)
        corpus = load_corpus(config.corpus, max_characters=config.max_characters or None)
        check_length(corpus, max(run.program.sequence_length for run in runs))
    workdir = open_workdir()
    work = functools.partial(execute, config=config, corpus=corpus)
    programs = sweep.by_program(runs, lambda program: program.depth * program.sequence_length)
    records = sweep.execute(programs, work, workdir, steps=config.train_steps + 1, threads=config.threads)
    if records is None:
        return
    found = f"{report.decay_table(records)}\n\n{report.verdict(records)}"
    source = f"{corpus.source}, {len(corpus.tokens):,} characters"
    summary = report.summary(records, source, len(corpus.vocabulary))
    drawing.finish(workdir, report.FIGURES, records, summary, found)


def check_length(corpus: Corpus, sequence_length: int) -> None:
    """Raises ``ValueError`` unless a window fits into the tenth of the text that is held out."""
    needed = 10 * (sequence_length + 1)
    if len(corpus.tokens) < needed:
        raise ValueError(
            f"corpus {corpus.source} has {len(corpus.tokens)} characters, but windows of {sequence_length} in the "
            f"tenth held out for measuring need {needed}: give a longer text or shorter --config.sequence_lengths"
        )


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, corpus: Corpus) -> None:
    """Runs of one program: trained, and measured before, after, and on the way."""
    program, characters = runs[0].program, len(corpus.vocabulary)
    activations = activations_of(config, program.cell)
    cell_with = functools.partial(make_cell, program, config.hidden_size)
    measure = measuring(program, activations, config, characters)

    @functools.partial(jit, static_argnums=0)
    def initialize(initialization: str, key: Array) -> TrainState:
        return initial_state(cell_with(initialization=initialization), characters, config, key)

    @jit
    def train_step(activation: Array, state: TrainState, tokens: Array) -> tuple[TrainState, Record]:
        state, loss = character_model.train_step(cell_with(switched(activations, activation)), state, tokens)
        before, after = (optax.tree.get(state.opt_state, name) for name in ("norm_before", "norm_after"))
        return state, {"loss": loss, "gradient_norm": before, "clipped_norm": after}

    for run in runs:
        with log_of(run) as log:
            windows = functools.partial(windows_of, corpus, run, config.batch_size)
            held_out = windows(0, held_out=True)

            def evaluate(state: TrainState, step: int, run: Run = run, held_out: np.ndarray = held_out) -> Evaluation:
                measurement = measure(run.activation, state.params, held_out)
                loss = measurement.flow.loss.mean()
                training.require_finite(loss, step, log)
                return Evaluation({"loss": loss}, list(measurement_records(run, config, step, measurement)))

            training.train(
                initialize(run.initialization, jax.random.key(run.seed)),
                functools.partial(train_step, jnp.int32(activations.index(run.activation))),
                windows,
                evaluate,
                log,
                steps=config.train_steps,
                evaluate_at=measured_steps(config),
                checkpoint_every=config.checkpoint_every,
                about={"run": run.identity(), "config": config.to_dict(), "vocabulary": list(corpus.vocabulary)},
            )
            log.write(prediction(run, config.hidden_size, characters))


def initial_state(cell: rnnjax.Cell, characters: int, config: ConfigDict, key: Array) -> TrainState:
    """Before training, by Adam on gradients clipped to a norm."""
    clipping = watched(optax.clip_by_global_norm(config.clip_norm))
    optimizer = optax.chain(clipping, optax.adam(config.learning_rate))
    return TrainState.create(apply_fn=None, params=character_model.init(cell, characters, key), tx=optimizer)


def windows_of(corpus: Corpus, run: Run, batch_size: int, number: int, *, held_out: bool = False) -> np.ndarray:
    """Windows (T + 1, B) for a training step, or from the last tenth of the text, which is for measuring."""
    border = len(corpus.tokens) * 9 // 10
    part = corpus.tokens[border:] if held_out else corpus.tokens[:border]
    generator = np.random.default_rng([run.seed, number])
    return random_windows(part, generator, run.program.sequence_length + 1, batch_size)


class Trained(NamedTuple):
    """A network that this experiment has trained."""

    cell: rnnjax.Cell
    params: CharacterParams
    vocabulary: list[str]


def load(folder: str | Path) -> Trained:
    """The network of a run, from the folder ``checkpoints/RUN`` of a workdir.

        network = load("runs/gradient_flow/checkpoints/lstm---default-depth1-T100-seed0")
        state, outputs = rnnjax.unroll(network.cell, network.params.recurrent, inputs)  # inputs (T, ..., vocabulary)

    Raises:
        ExperimentError: if there is no checkpoint, or it cannot be read.
    """
    folder = checkpoint.whole(folder)
    about = checkpoint.about(folder)
    run, config = about["run"], ConfigDict(about["config"])
    program = Program(*(run[name] for name in Program._fields))
    activation = rnnjax.ACTIVATIONS.get(run["activation"])
    cell = make_cell(program, config.hidden_size, activation, run["initialization"])
    like = jax.eval_shape(lambda: initial_state(cell, len(about["vocabulary"]), config, jax.random.key(0)))
    return Trained(cell, checkpoint.restore(folder, like).tree.params, about["vocabulary"])
