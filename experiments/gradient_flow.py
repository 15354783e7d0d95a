"""Where do gradients die? Cells, activations, depths and initializations compared, over training on real text.

Run as ``python -m experiments.gradient_flow``; experiments/configs/gradient_flow.py explains the settings.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState
from jax import Array
from jax.flatten_util import ravel_pytree
from ml_collections import ConfigDict

from experiments import character_model, checkpoint, command, drawing, gradient_flow_report, sweep
from experiments.clipping import watched
from experiments.command import ExperimentError, explained
from experiments.gradient_flow_figures import FIGURES
from experiments.gradient_flow_measurement import Measurement, measuring, records_of
from experiments.gradient_flow_plan import Run, make_cell, measured_steps, plan, switched
from experiments.workdir import Record, Workdir
from rnnjax.data import Corpus, load_corpus, random_windows


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError, OSError):
        runs = plan(config)
        corpus = load_corpus(config.corpus, max_characters=config.max_characters or None)
        check_length(corpus, max(run.program.sequence_length for run in runs))
    workdir = open_workdir()
    work = functools.partial(execute, config=config, corpus=corpus, checkpoints=workdir.path / "checkpoints")
    programs = sweep.by_program(runs, lambda program: program.depth * program.sequence_length)
    records = sweep.execute(programs, work, workdir, steps=config.train_steps + 1, threads=config.threads)
    if records is None:
        return
    table, source = gradient_flow_report.table(records), f"{corpus.source}, {len(corpus.tokens):,} characters"
    found = f"{table}\n\n{gradient_flow_report.verdict(records)}"
    drawing.finish(workdir, FIGURES, records, gradient_flow_report.summary(records, source, table), found)


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
    """Runs of one program: trained, and measured before, after, and on the way."""
    program, characters = runs[0].program, len(corpus.vocabulary)
    activations = sorted({run.activation for run in runs})
    clipping = watched(optax.clip_by_global_norm(config.clip_norm))
    optimizer = optax.chain(clipping, optax.adam(config.learning_rate))
    cell_with = functools.partial(make_cell, program, config.hidden_size)
    jit = functools.partial(jax.jit, compiler_options=command.compiler_options())
    measure = measuring(program, activations, config, characters)

    @functools.partial(jit, static_argnums=0)
    def initialize(initialization: str, key: Array) -> TrainState:
        params = character_model.init(cell_with(initialization=initialization), characters, key)
        return TrainState.create(apply_fn=None, params=params, tx=optimizer)

    @jit
    def train_step(activation: Array, state: TrainState, tokens: Array) -> tuple[TrainState, Array]:
        state, loss = character_model.train_step(cell_with(switched(activations, activation)), state, tokens)
        norms = [optax.tree.get(state.opt_state, name) for name in ("norm_before", "norm_after")]
        return state, jnp.stack([loss, *norms])

    for run in runs:
        state = initialize(run.initialization, jax.random.key(run.seed))
        step = functools.partial(train_step, jnp.int32(activations.index(run.activation)))
        held_out = _windows(corpus, _held_out(corpus), run, 0, config.batch_size)

        def measure_state(state: TrainState, run: Run = run, held_out: np.ndarray = held_out) -> Measurement:
            return measure(run.activation, state.params, held_out)

        history, measured = train(step, measure_state, state, run, config, corpus, checkpoints / run.name, progress)
        yield run, list(records_of(run, config, characters, history, measured))


def train(
    step: Callable[[TrainState, np.ndarray], tuple[TrainState, Array]],
    measure: Callable[[TrainState], Measurement],
    state: TrainState,
    run: Run,
    config: ConfigDict,
    corpus: Corpus,
    checkpoints: Path,
    progress: sweep.Progress,
) -> tuple[np.ndarray, list[Measurement]]:
    """Trains on random windows, from the last checkpoint if there is one.

    A state is saved once its own loss has been seen to be finite, so that a checkpoint is a good one; with it, all that
    was measured on the way to it.

    Returns:
        Of every step the loss and the gradient's norm before and after clipping (train_steps, 3), and what was
        measured at ``measured_steps``.

    Raises:
        ExperimentError: if the loss is not finite.
    """
    training, at = slice(0, _held_out(corpus).start), measured_steps(config)
    first_measured, unravel = ravel_pytree(measure(state))
    _require_finite(unravel(first_measured).flow.loss.sum(), 0, checkpoints)
    progress(run.name)
    measured = np.tile(first_measured, (len(at), 1))
    history = np.full((config.train_steps, 3), np.nan)
    first, (state, history, measured) = checkpoint.restore(checkpoints, (state, history, measured))
    for _ in range(first):
        progress(run.name)
    for number in range(first, config.train_steps):
        after, seen = step(state, _windows(corpus, training, run, number, config.batch_size))
        _require_finite(seen[0], number, checkpoints)
        if config.checkpoint_every and number > first and number % config.checkpoint_every == 0:
            checkpoint.save(checkpoints, number, (state, history, measured))
        state, history[number] = after, seen
        if number + 1 in at:
            measurement = measure(state)
            _require_finite(measurement.flow.loss.sum(), number + 1, checkpoints)
            measured[at.index(number + 1)], _ = ravel_pytree(measurement)
        progress(run.name)
    if config.train_steps and config.checkpoint_every:
        checkpoint.save(checkpoints, config.train_steps, (state, history, measured))
    return history, [jax.device_get(unravel(vector)) for vector in measured]


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


def _held_out(corpus: Corpus) -> slice:
    """The last tenth of the text is for measuring, the rest for training."""
    return slice(len(corpus.tokens) * 9 // 10, len(corpus.tokens))


def _windows(corpus: Corpus, part: slice, run: Run, number: int, batch_size: int) -> np.ndarray:
    generator = np.random.default_rng([run.seed, number])
    return random_windows(corpus.tokens[part], generator, run.program.sequence_length + 1, batch_size)


if __name__ == "__main__":
    sweep.run("gradient_flow", main)
