"""How well does a recurrent network predict what comes next in a chorale, and how far back does it listen?

Run as ``python -m experiments.music``; config.py explains the settings.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from experiments.common import checkpoint, drawing, sweep, training
from experiments.common.averaged import TrainState, initial_state, train_steps
from experiments.common.compiling import jit
from experiments.common.errors import explained
from experiments.common.optimizer import make_optimizer
from experiments.common.settings import names, numbers, require_least, require_multiples, require_positive
from experiments.common.training import Evaluation
from experiments.common.workdir import Record, Workdir
from experiments.music import counting, findings, midi, model, reach, report
from experiments.music.corpus import BAR, Frames
from experiments.music.counting import COUNTED
from experiments.music.data import (
    KEYS,
    Batch,
    Chorales,
    Rows,
    alike,
    batch_of,
    frames_of,
    moves_of,
    read,
    sizes_of,
    stock_of,
)
from experiments.music.model import Model, Network, Noise, is_joint, make_model
from experiments.music.teacher import taught, teacher_of
from experiments.networks import sizing
from rnnjax.checks import number_between
from rnnjax.typing import Key

PRIMER = 2 * BAR
"""Frames of a test chorale that a piece continues."""


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all seeds."""

    network: str


Run = sweep.SeededRun[Program]
"""One network, trained once."""


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that the workdir lacks, draws the figures, writes pieces and prints the findings."""
    with explained(ValueError, OSError, ImportError):
        runs = plan(config)
        midi.require_package()
        music = read(config)
        reach.openings(music.test, config.lags)
    workdir = open_workdir()
    programs = sweep.by_program(
        runs, lambda program: 0 if program.network in COUNTED else 1 + is_joint(program.network)
    )
    work = functools.partial(execute, config=config, music=music)
    calls = config.train_steps // config.steps_a_call + 1
    records = sweep.execute(programs, work, workdir, steps=calls, threads=config.threads)
    if records is None:
        return
    found = f"{findings.table(records)}\n\n{findings.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records), found)
    print("pieces:", ", ".join(str(path) for path in write_pieces(records, workdir)))


def plan(config: ConfigDict) -> list[Run]:
    """A run for each network and seed; counting notes needs one run alone.

    Raises:
        ValueError: for a field with a wrong value.
    """
    sizes = ("seeds", "hidden_size", "layers", "rows", "row_frames", "train_steps", "steps_a_call", "evaluate_every")
    require_least(config, 1, *sizes, "averaged_over", "lags", "bars")
    require_least(config, 0, "threads", "checkpoint_every", "chorales", "intervals", "down", "up")
    require_positive(config, "learning_rate", "clip_norm")
    require_multiples(config, "steps_a_call", "train_steps", "evaluate_every", "checkpoint_every")
    number_between("--config.weight_decay", config.weight_decay, 0.0, math.inf)
    for field in ("note_dropout", "output_dropout", "recurrent_dropout"):
        number_between(f"--config.{field}", config[field], 0.0, 0.99)
    for field in ("down", "up", "intervals"):
        number_between(f"--config.{field}", config[field], 0, 87)
    number_between("--config.teacher_share", config.teacher_share, 0.0, 1.0)
    if bool(config.teacher) != (config.teacher_share > 0):
        raise ValueError(
            f"--config.teacher is {config.teacher!r} and --config.teacher_share is {config.teacher_share}: expected "
            "both, such as runs/best/checkpoints/gru-seed0/best and 0.5, or an empty name and 0"
        )
    teacher_of(config)
    if config.row_frames < 2 * BAR:
        raise ValueError(f"--config.row_frames is {config.row_frames}: expected at least {2 * BAR}")
    numbers(config, "contexts")
    runs = []
    for name in names(config, "networks"):
        if name in COUNTED:
            runs.append(Run(Program(name), 0))
            continue
        _require_trainable(name, config)
        runs += [Run(Program(name), seed) for seed in range(config.seeds)]
    return runs


def _require_trainable(name: str, config: ConfigDict) -> None:
    """Raises ``ValueError`` for an unknown network, or one that does not support the dropout of the config."""
    if config.teacher and is_joint(name):
        raise ValueError(f"--config.networks has {name}: --config.teacher can teach networks with sigmoids alone")
    used = make_model(name, config, 1)
    nothing = jnp.zeros((3, 1, KEYS))
    rows = Rows(nothing, nothing, nothing[..., 0] > 0, nothing[..., 0] > 0)

    def loss(key: Key) -> Any:
        return model.training_loss(used, noise_of(config), model.init(used, key), rows, key)

    try:
        jax.eval_shape(loss, jax.random.key(0))
    except ValueError as error:
        raise ValueError(f"--config.networks has {name}: {error}") from error


def noise_of(config: ConfigDict) -> Noise:
    """The dropout of a config."""
    return Noise(config.note_dropout, config.output_dropout, config.recurrent_dropout)


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, music: Chorales) -> None:
    """Does the runs of one program, which trains networks or counts notes."""
    name = runs[0].program.network
    if name not in COUNTED:
        return train(runs, log_of, config=config, music=music)
    for run in runs:
        with log_of(run) as log:
            known = counting.probabilities(music.train, name)
            of_parts = {part: counting.mean_nats(known, getattr(music, part)) for part in ("train", "valid", "test")}
            log.write([{"kind": "result", "params": None, "step": None, **of_parts, **about_data(music)}])


def train(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, music: Chorales) -> None:
    """Trains the networks of one program, and tests the weights with the least validation loss once.

    How far back the networks hear is measured before training and after it.
    """
    most = max(len(frame) for part in music[:3] for chorale in part for frame in chorale)
    used, optimizer = make_model(runs[0].program.network, config, most), make_optimizer(config)
    stock, sizes = stock_of(music.train, config.down, config.up), sizes_of(music.train, config)
    if teacher := teacher_of(config):
        stock = taught(stock, teacher, music.train, config)
    train_part, valid, test = alike([music.train[: len(music.valid)], music.valid, music.test])
    loss = functools.partial(model.drawn_loss, used, noise_of(config), sizes)
    step = jit(functools.partial(train_steps, loss, optimizer, config))
    score = jit(functools.partial(model.mean_nats, used))
    score_in_keys = jit(functools.partial(model.mean_nats_in_keys, used))
    moves = moves_of((*music.valid, *music.test), config.down, config.up)
    hear = jit(functools.partial(reach.flow, used))
    by_context = jit(functools.partial(reach.nats_by_context, used, contexts=contexts_of(config, music.test)))
    draw = jit(functools.partial(model.compose, used, frames=config.bars * BAR, temperature=1.0))
    padded = jit(functools.partial(change_with_padding, used))
    initialize = jit(functools.partial(initialized, used, optimizer))
    teaching = {"teacher": config.teacher, "teacher_share": config.teacher_share} if config.teacher else {}
    about = teaching | about_data(music)
    opened, primers = reach.openings(music.test, config.lags), batch_of([(), music.test[0][:PRIMER]])

    def heard(state: TrainState, phase: str) -> Record:
        return {"kind": "flow", "phase": phase, **hear(state.average, opened)._asdict()}

    def evaluate(state: TrainState, number: int) -> Evaluation:
        numbers = {"valid": score(state.average, valid), "train": score(state.average, train_part)}
        return Evaluation(numbers, [] if number else [heard(state, "initialization")])

    for run in runs:
        with log_of(run) as log:
            state = initialize(jax.random.key(run.seed))
            params = sizing.count_numbers(state.params)
            training.train(
                state,
                lambda state, _: step(state, stock),
                lambda _: None,
                evaluate,
                log,
                steps=config.train_steps,
                stride=config.steps_a_call,
                evaluate_at={*range(0, config.train_steps, config.evaluate_every), config.train_steps},
                checkpoint_every=config.checkpoint_every,
                about={"run": run.identity(), "config": config.to_dict(), "most": most},
                best_by="valid",
            )
            best = checkpoint.restore(log.checkpoints / "best", state)
            of_parts = {
                part: score(best.tree.average, batch)
                for part, batch in (("train", train_part), ("valid", valid), ("test", test))
            }
            if used.output.logits:
                for part, batch in (("valid", valid), ("test", test)):
                    of_parts[f"{part}_in_keys"] = score_in_keys(best.tree.average, batch, moves)
            log.write(
                [
                    {"kind": "result", "params": params, "step": best.step, **of_parts, **about},
                    heard(best.tree, "trained"),
                    *contexts_records(by_context(best.tree.average, test)),
                    {"kind": "padding", "change": padded(best.tree.average, test)},
                    *piece_records(music.test[0][:PRIMER], draw(best.tree.average, primers, state.key)),
                ]
            )


def initialized(used: Model, optimizer: optax.GradientTransformation, key: Key) -> TrainState:
    """The state before training."""
    params_key, step_key = jax.random.split(key)
    return initial_state(model.init(used, params_key), optimizer, step_key)


def about_data(music: Chorales) -> Record:
    """What the records say of the data."""
    counts = {f"{part}_chorales": len(getattr(music, part)) for part in ("train", "valid", "test")}
    frames = {f"{part}_frames": sum(map(len, getattr(music, part))) for part in ("train", "valid", "test")}
    return {"source": music.source, "bars": music.bars, "known_tunes": music.known_tunes, **counts, **frames}


def contexts_of(config: ConfigDict, music: Sequence[Frames]) -> tuple[int, ...]:
    """The contexts for which some test chorale is long enough, with one more frame to be predicted."""
    longest = max(map(len, music))
    return tuple(context for context in sorted(numbers(config, "contexts")) if context < longest) or (1,)


def contexts_records(found: dict[int, Any]) -> Iterator[Record]:
    """Records of the loss by the number of frames read."""
    for context, loss in found.items():
        yield {"kind": "context", "frames": context, "loss": loss}


def change_with_padding(used: Model, network: Network, batch: Batch) -> Any:
    """The largest change of a frame's loss when chorales are padded to twice their length with notes."""
    steps = len(batch.mask)
    longer = Batch(*(jnp.concatenate([leaf, jnp.ones_like(leaf)]) for leaf in batch))
    longer = longer._replace(mask=longer.mask.at[steps:].set(False))
    found = [model.nats(used, network, each.notes, mask=each.mask[:-1])[: steps - 1] for each in (batch, longer)]
    return jnp.where(batch.mask[1:], jnp.abs(found[0] - found[1]), 0.0).max()


def piece_records(primer: Frames, drawn: Any) -> Iterator[Record]:
    """Records of the pieces that were drawn (T, 2, 88) after silence and after a primer."""
    silence, continued = (frames_of(notes) for notes in np.moveaxis(np.asarray(drawn), 1, 0))
    yield {"kind": "piece", "after": "silence", "primer": 0, "frames": silence}
    yield {"kind": "piece", "after": "primer", "primer": len(primer), "frames": (*primer, *continued)}


def write_pieces(records: Sequence[Record], workdir: Workdir) -> list[Any]:
    """Writes MIDI files of the first seed's pieces, beside the figures."""
    paths = []
    for record in records:
        if record["kind"] == "piece" and record["seed"] == 0:
            paths.append(workdir.path / "figures" / f"{record['run']}-after-{record['after']}.mid")
            midi.write(record["frames"], paths[-1])
    return paths
