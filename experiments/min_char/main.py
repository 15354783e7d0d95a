"""What does the smallest recurrent model of characters learn? That of 112 lines of NumPy, through rnnjax and optax.

Run as ``python -m experiments.min_char``; config.py explains the settings.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common import drawing, sweep, training
from experiments.common.compiling import compile_loops_whole, jit, require_room
from experiments.common.errors import explained
from experiments.common.settings import require_least, require_multiples, require_positive
from experiments.common.training import Evaluation
from experiments.common.workdir import Record, Workdir
from experiments.min_char import report
from experiments.networks import character_model
from experiments.networks.character_model import CharacterParams
from rnnjax.data import Corpus, load_corpus
from rnnjax.typing import Key


class Run(NamedTuple):
    """One network, trained from the start of the text on, and again from there where it ends."""

    seed: int

    @property
    def name(self) -> str:
        return f"seed{self.seed}"

    @property
    def program(self) -> tuple[()]:
        return ()  # all seeds share it

    def identity(self) -> Record:
        return {"seed": self.seed}


class TrainState(NamedTuple):
    """All that an iteration depends on."""

    params: CharacterParams
    optimizer: Any
    hidden: Array  # (H,), carried on from window to window
    place: Array  # in the text
    smoothed_loss: Array  # nats a window
    key: Key  # of samples, which change nothing else


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    compile_loops_whole()
    with explained(ValueError, OSError):
        runs = plan(config)
        corpus = load_corpus(config.corpus, max_characters=config.max_characters or None, max_vocabulary=1 << 20)
        check_length(corpus, config.sequence_length)
    workdir = open_workdir()
    work = functools.partial(execute, config=config, corpus=corpus)
    calls = config.train_steps // config.sample_every + 1
    records = sweep.execute([runs], work, workdir, steps=calls, threads=config.threads)
    if records is None:
        return
    source = f"{corpus.source}, {len(corpus.tokens):,} characters, {len(corpus.vocabulary)} different ones"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records, source), report.verdict(records))


def plan(config: ConfigDict) -> list[Run]:
    """A run for each seed.

    Raises:
        ValueError: for a field that cannot be.
    """
    require_least(config, 1, "seeds", "hidden_size", "sequence_length", "train_steps", "sample_every", "sample_length")
    require_least(config, 0, "threads", "max_characters", "measure_every", "checkpoint_every")
    require_positive(config, "learning_rate", "clip_value", "init_scale")
    require_multiples(config, "sample_every", "train_steps", "measure_every", "checkpoint_every")
    return [Run(seed) for seed in range(config.seeds)]


def check_length(corpus: Corpus, sequence_length: int) -> None:
    """Raises ``ValueError`` unless a window fits into the text, with a character to spare."""
    needed = sequence_length + 2
    if len(corpus.tokens) < needed:
        raise ValueError(
            f"corpus {corpus.source} has {len(corpus.tokens)} characters, but --config.sequence_length="
            f"{sequence_length} needs {needed}: give a longer text or a shorter sequence"
        )


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, corpus: Corpus) -> None:
    """Trains, with samples on the way, and the gradient's flow measured before, on the way and after."""
    cell, tokens = make_cell(config), jnp.asarray(corpus.tokens)
    iterate = jit(functools.partial(iterations, cell, config, count=config.sample_every))
    draw = jit(functools.partial(sampled, cell, config))
    norms = jit(functools.partial(gradient_norms, cell, config))

    def evaluate(state: TrainState, step: int) -> Evaluation:
        text = "".join(corpus.vocabulary[token] for token in draw(state, tokens).tolist())
        records: list[Record] = [{"kind": "sample", "step": step, "text": text}]
        if step in (0, config.train_steps) or (config.measure_every and step % config.measure_every == 0):
            records.append({"kind": "state_gradient", "step": step, "norms": norms(state, tokens)})
        return Evaluation({"smoothed_loss": state.smoothed_loss}, records)

    require_room(jax.eval_shape(lambda: initial_state(cell, config, len(corpus.vocabulary), jax.random.key(0))))
    for run in runs:
        with log_of(run) as log:
            training.train(
                initial_state(cell, config, len(corpus.vocabulary), jax.random.key(run.seed)),
                lambda state, _: iterate(state, tokens),
                lambda _: None,
                evaluate,
                log,
                steps=config.train_steps,
                stride=config.sample_every,
                evaluate_at=range(0, config.train_steps + 1, config.sample_every),
                checkpoint_every=config.checkpoint_every,
                about={"run": run.identity(), "config": config.to_dict(), "vocabulary": list(corpus.vocabulary)},
            )


def make_cell(config: ConfigDict) -> rnnjax.Cell:
    """Tanh units whose weights start small."""
    small = jax.nn.initializers.normal(config.init_scale)
    return rnnjax.elman(config.hidden_size, kernel_init=small, recurrent_init=small)


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Adagrad on clipped elements: theta -= rate g / (sum of g² + 1e-8)^(1/2)."""
    adagrad = optax.adagrad(config.learning_rate, initial_accumulator_value=0.0, eps=1e-8)
    return optax.chain(optax.clip(config.clip_value), adagrad)


def initial_state(cell: rnnjax.Cell, config: ConfigDict, characters: int, key: Key) -> TrainState:
    """At the start of the text; the smoothed loss is that of guessing."""
    cell_key, readout_key, sample_key = jax.random.split(key, 3)
    recurrent = cell.init(cell_key, characters)
    hidden = cell.initial_state(recurrent, ())
    readout = nn.Dense(characters, kernel_init=jax.nn.initializers.normal(config.init_scale))
    params = CharacterParams(recurrent, readout.init(readout_key, cell.output(recurrent, hidden)))
    guessing = config.sequence_length * jnp.log(jnp.float32(characters))
    return TrainState(params, make_optimizer(config).init(params), hidden, jnp.int32(0), guessing, sample_key)


def iterations(
    cell: rnnjax.Cell, config: ConfigDict, state: TrainState, tokens: Array, *, count: int
) -> tuple[TrainState, Record]:
    """Some iterations in one program: the state after them, and the losses of the last window, in nats."""
    optimizer = make_optimizer(config)

    def iteration(state: TrainState, _: None) -> tuple[TrainState, Array]:
        state = from_the_start_where_the_text_ends(state, tokens, config.sequence_length)
        window = jax.lax.dynamic_slice(tokens, (state.place,), (config.sequence_length + 1,))
        loss_of = functools.partial(window_loss, cell, window, state.hidden)
        (loss, hidden), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer)
        params = optax.apply_updates(state.params, updates)
        smoothed = 0.999 * state.smoothed_loss + 0.001 * loss
        place = state.place + config.sequence_length
        return TrainState(params, optimizer_state, hidden, place, smoothed, state.key), loss

    state, losses = jax.lax.scan(iteration, state, length=count)
    return state, {"loss": losses[-1], "smoothed_loss": state.smoothed_loss, "losses": losses}


def window_loss(cell: rnnjax.Cell, window: Array, hidden: Any, params: CharacterParams) -> tuple[Array, Any]:
    """The sum of cross-entropies, in nats, of a window's characters but the first; and the state after it."""
    hidden, outputs = rnnjax.unroll(cell, params.recurrent, character_model.one_hot(params, window[:-1]), hidden)
    return (len(window) - 1) * character_model.cross_entropy(params.readout, outputs, window[1:]), hidden


def from_the_start_where_the_text_ends(state: TrainState, tokens: Array, length: int) -> TrainState:
    """Where no whole window is left: place and carried state are 0."""
    ends = state.place + length + 1 >= len(tokens)
    hidden = jax.tree.map(lambda leaf: jnp.where(ends, jnp.zeros_like(leaf), leaf), state.hidden)
    return state._replace(place=jnp.where(ends, 0, state.place), hidden=hidden)


def sampled(cell: rnnjax.Cell, config: ConfigDict, state: TrainState, tokens: Array) -> Array:
    """Characters drawn from where the training is in the text, the next character first read."""
    state = from_the_start_where_the_text_ends(state, tokens, config.sequence_length)
    key = jax.random.fold_in(state.key, state.place)
    params = state.params

    def embed(token: Array) -> Array:
        return character_model.one_hot(params, token).astype(params.recurrent.bias.dtype)

    def readout(outputs: Array) -> Array:
        return nn.Dense(params.readout["params"]["bias"].shape[0]).apply(params.readout, outputs)

    hidden, outputs = cell.step(params.recurrent, state.hidden, embed(tokens[state.place]))
    options: dict[str, Any] = {"embed": embed, "readout": readout, "length": config.sample_length}
    return rnnjax.generate(cell, params.recurrent, hidden, readout(outputs), key, **options).tokens


def gradient_norms(cell: rnnjax.Cell, config: ConfigDict, state: TrainState, tokens: Array) -> Array:
    """||dL/dh_t|| (T,) in the window that is next, L the loss of its last character."""
    state = from_the_start_where_the_text_ends(state, tokens, config.sequence_length)
    window = jax.lax.dynamic_slice(tokens, (state.place,), (config.sequence_length + 1,))
    last = jnp.zeros(config.sequence_length).at[-1].set(1.0)
    return character_model.measure(cell, state.params, window[:, None], last).state.hidden
