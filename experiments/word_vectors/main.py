"""What do distances between words mean, once words are projected to fewer dimensions by what they predict?

Run as ``python -m experiments.word_vectors``; config.py explains the settings.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from experiments.common import checkpoint, drawing, host_devices, sweep, training
from experiments.common.compiling import jit
from experiments.common.errors import ExperimentError, explained
from experiments.common.settings import names, require_least, require_multiples, require_positive
from experiments.common.training import Evaluation
from experiments.common.workdir import Record, Workdir
from experiments.networks import ngrams, sizing
from experiments.word_vectors import data as texts
from experiments.word_vectors import pairs, predictor, report, similarity
from experiments.word_vectors.data import Data
from experiments.word_vectors.models import NGRAM, ONE_HOT, RANDOM, UNTRAINED, head, is_compared, is_pairs
from experiments.word_vectors.similarity import Kinds
from rnnjax.data import Vocabulary, parallel_streams
from rnnjax.names import lookup

PairStep = Callable[[pairs.TrainState, jax.Array], tuple[pairs.TrainState, Record]]
"""A dispatch: from the blocks of a call the next state, and the loss."""


class Run(NamedTuple):
    """One model, trained or counted once."""

    model: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.model.replace(':', '-')}-seed{self.seed}"

    @property
    def program(self) -> str:
        return self.model

    def identity(self) -> Record:
        return self._asdict()


class Given(NamedTuple):
    """What all runs have in common."""

    config: ConfigDict
    data: Data
    kinds: Kinds
    mesh: Mesh  # among which the copies of vectors are divided


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError, OSError, ImportError):
        runs = plan(config)
        similarity.require_scikit_learn()
        data = texts.read(config)
        mesh = host_devices.mesh(devices(runs, config))  # before JAX looks for its devices
        given = Given(config, data, similarity.kinds_of(data.vocabulary), mesh)
        calls = max(calls_of(run.model, given) for run in runs) + 1
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda model: calls_of(model, given))
    records = sweep.execute(
        programs, functools.partial(execute, given=given), workdir, steps=calls, threads=config.threads
    )
    if records is None:
        return
    known = f"{np.mean(data.report == data.vocabulary.unknown):.1%} of what is reported on are others"
    source = f"{data.source}, {len(data.train):,} words to train on, {len(data.vocabulary):,} different; {known}"
    found = "\n\n".join(filter(None, (report.similarities(records), report.perplexities(records))))
    told = f"{found}\n\n{report.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records, source), told)


def plan(config: ConfigDict) -> list[Run]:
    """A run for each model and seed, each order of n-grams, and what they are compared with.

    Raises:
        ValueError: for a field that cannot be.
    """
    sizes = ("least_count", "projection_size", "hidden_size", "batch_size", "sequence_length", "epochs", "pair_epochs")
    require_least(config, 1, *sizes, "window", "negatives", "steps_a_call", "seeds")
    require_least(config, 1, "block_size", "cbow_block_size", "shared_noise", "cbow_shared_noise", "cbow_copies")
    require_least(config, 0, "max_characters", "vocabulary_size", "ngrams", "checkpoint_every", "threads")
    require_positive(config, "learning_rate", "pair_learning_rate", "skip_gram_rate", "cbow_rate", "clip_norm")
    require_multiples(config, "steps_a_call", "checkpoint_every")
    if not 0 <= config.subsampling <= 1:
        raise ValueError(f"--config.subsampling is {config.subsampling}: expected a share, 0 to 1")
    a_step = config.batch_size * config.sequence_length
    for field in ("block_size", "cbow_block_size"):
        if a_step % config[field]:
            raise ValueError(
                f"--config.{field} is {config[field]}: expected a divisor of --config.batch_size times "
                f"--config.sequence_length, {a_step}"
            )
    a_call = texts.words_a_call(config) // config.cbow_block_size
    if a_call % config.cbow_copies:
        raise ValueError(
            f"--config.cbow_copies is {config.cbow_copies}: expected a divisor of the {a_call} blocks of "
            f"{config.cbow_block_size} words in a dispatch"
        )
    models = names(config, "models")
    for model in models:
        if is_pairs(model):
            lookup("model", model, dict.fromkeys((head(model), f"{head(model)}:{pairs.NEGATIVE}")))
        else:
            predictor.make_cell(model, config, 2)
    trained = [Run(model, seed) for model in [*models, RANDOM] for seed in range(config.seeds)]
    return [*trained, *(Run(f"{NGRAM}:{order}", 0) for order in range(1, config.ngrams + 1)), Run(ONE_HOT, 0)]


def devices(runs: Sequence[Run], config: ConfigDict) -> int:
    """Among how many the copies of vectors are divided: one where several programs share the cores anyway."""
    trained = {run.model for run in runs if head(run.model) not in UNTRAINED}
    return devices_of(trained.pop(), config) if len(trained) == 1 else 1


def devices_of(model: str, config: ConfigDict) -> int:
    """As many as there are cores, at most, and of which each has the same number of copies."""
    copies = copies_of(model, config)
    return max(count for count in range(1, min(copies, host_devices.cores()) + 1) if copies % count == 0)


def copies_of(model: str, config: ConfigDict) -> int:
    """How many copies of the vectors learn side by side."""
    return int(config.cbow_copies) if model == f"{pairs.CBOW}:{pairs.NEGATIVE}" else 1


def calls_of(model: str, given: Given) -> int:
    """How many dispatches the training of a model takes, 0 where nothing is trained."""
    if is_pairs(model):
        return given.config.pair_epochs * epochs_of(given, model, 0).calls
    if head(model) in UNTRAINED:
        return 0
    return int(given.config.epochs * predictor_calls(given))


def predictor_calls(given: Given) -> int:
    """How many dispatches an epoch has, of those that predict the next word."""
    return max(1, len(given.data.train) // texts.words_a_call(given.config))


def epochs_of(given: Given, model: str, seed: int) -> texts.Epochs:
    """Blocks of the text for pairs."""
    kept = texts.kept_probability(given.data.counts(), given.config.subsampling)
    return texts.epochs(given.data.known(given.data.train), kept, given.config, block_size(model, given.config), seed)


def block_size(model: str, config: ConfigDict) -> int:
    """The words of a block in training."""
    return int(config.cbow_block_size if model == f"{pairs.CBOW}:{pairs.NEGATIVE}" else config.block_size)


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, given: Given) -> None:
    """Runs of one model: trained, tested after every epoch, and looked at."""
    model = runs[0].model
    if is_pairs(model):
        train_pairs(runs, log_of, given)
    elif head(model) == NGRAM:
        count_ngrams(runs, log_of, given)
    elif is_compared(model):
        for run in runs:
            with log_of(run) as log:
                log.write(compared_kinds(untrained(run, given), given))
    else:
        train_predictor(runs, log_of, given)


def train_predictor(runs: Sequence[Run], log_of: sweep.Logs[Run], given: Given) -> None:
    """Networks that predict the next word from those before."""
    config, data, size = given.config, given.data, len(given.data.vocabulary)
    cell, calls = predictor.make_cell(runs[0].model, config, size), predictor_calls(given)
    steps = calls * config.steps_a_call * config.epochs
    optimizer = predictor.make_optimizer(config, steps)
    streams = jnp.asarray(parallel_streams(data.train, config.batch_size))
    step = jit(functools.partial(predictor.train_steps, cell, optimizer, config))
    loss = jit(functools.partial(predictor.held_out_loss, cell))
    parts = {"choose": predictor.held_out(data.choose), "report": predictor.held_out(data.report)}

    def evaluate(state: predictor.TrainState, number: int) -> Evaluation:
        return Evaluation({f"loss_{name}": loss(state.params, part) for name, part in parts.items()})

    for run in runs:
        with log_of(run) as log:
            state = predictor.initial_state(cell, optimizer, config, size, jax.random.key(run.seed))
            log.write([network(state.params)])
            state, _ = training.train(
                state,
                lambda state, _: step(state, streams),
                lambda _: None,
                evaluate,
                log,
                **schedule(config, calls, config.epochs),
                about=about(run, given),
            )
            log.write(looked_at(run, state.params.projection, given))


def train_pairs(runs: Sequence[Run], log_of: sweep.Logs[Run], given: Given) -> None:
    """CBOW and skip-gram, with full softmax or with negative sampling."""
    config, data, model = given.config, given.data, runs[0].model
    counts, calls = data.counts(), epochs_of(given, model, 0).calls
    kept, noise = texts.kept_probability(counts, config.subsampling), pairs.noise_distribution(counts)
    cumulative = jnp.asarray(np.cumsum(noise), jnp.float32)
    optimizer, step = make_pair_step(model, given, calls, cumulative)
    loss = jit(functools.partial(pairs.held_out_loss, model, config))
    parts = held_out_blocks(data, kept, config)

    def evaluate(state: pairs.TrainState, number: int) -> Evaluation:
        params, key = jax.device_put(state.params, jax.devices()[0]), jax.random.key(0)
        return Evaluation({f"loss_{name}": loss(params, part, cumulative, key) for name, part in parts.items()})

    for run in runs:
        with log_of(run) as log:
            vectors_key, step_key = jax.random.split(jax.random.key(run.seed))
            vectors = pairs.init(len(data.vocabulary), config.projection_size, vectors_key)
            batch = functools.partial(blocks_of_step, epochs_of(given, model, run.seed), config)
            log.write([{**network(vectors), "without": without_context(model, given, kept)}])
            start = pairs.initial_state(pairs.padded(vectors) if optimizer is None else vectors, optimizer, step_key)
            state, _ = training.train(
                jax.device_put(start, host_devices.whole(given.mesh)),
                step,
                batch,
                evaluate,
                log,
                **schedule(config, calls, config.pair_epochs),
                about=about(run, given),
            )
            log.write(looked_at(run, state.params.projection[:, : config.projection_size], given))


def blocks_of_step(read: texts.Epochs, config: ConfigDict, number: int) -> jax.Array:
    """What the dispatch after so many steps is given."""
    return jnp.asarray(read.blocks(number // config.steps_a_call))


def make_pair_step(
    model: str, given: Given, calls: int, cumulative: jax.Array
) -> tuple[
    optax.GradientTransformation | None, Callable[[pairs.TrainState, jax.Array], tuple[pairs.TrainState, Record]]
]:
    """The optimizer, if there is one, and the step, of so many calls an epoch."""
    config = given.config
    if pairs.is_negative(model):
        total = calls * config.pair_epochs * texts.words_a_call(config) // block_size(model, config)
        cbow = head(model) == pairs.CBOW
        rate, noise = (
            (config.cbow_rate, config.cbow_shared_noise) if cbow else (config.skip_gram_rate, config.shared_noise)
        )
        sampling = pairs.Sampling(model, config.window, config.negatives, noise, rate, total, copies_of(model, config))
        sampled = jit(functools.partial(pairs.steps_of_copies, sampling, given.mesh))
        return None, lambda state, blocks: sampled(state, blocks, cumulative)
    steps = calls * config.pair_epochs * config.steps_a_call
    optimizer = optax.adam(optax.cosine_decay_schedule(config.pair_learning_rate, steps))
    whole = jit(functools.partial(pairs.softmax_steps, model, optimizer, config.window))
    return optimizer, lambda state, blocks: whole(state, blocks.reshape(config.steps_a_call, -1, blocks.shape[1]))


def schedule(config: ConfigDict, calls: int, epochs: int) -> dict[str, Any]:
    """For ``training.train``: evaluations before the first epoch and after each."""
    an_epoch = calls * config.steps_a_call
    return {
        "steps": an_epoch * epochs,
        "stride": config.steps_a_call,
        "evaluate_at": set(range(0, an_epoch * epochs + 1, an_epoch)),
        "checkpoint_every": config.checkpoint_every,
    }


def held_out_parts(data: Data) -> dict[str, np.ndarray]:
    """By name."""
    return {"choose": data.choose, "report": data.report}


def held_out_blocks(data: Data, kept: np.ndarray, config: ConfigDict) -> dict[str, np.ndarray]:
    """The held-out parts in as many blocks each, subsampled once and for all."""
    subsampled = {
        name: texts.subsampled(data.known(part), kept, np.random.default_rng(0))
        for name, part in held_out_parts(data).items()
    }
    count = max(1, min(map(len, subsampled.values())) // config.block_size)
    return {name: texts.blocks(text, 0, count, config.block_size, config.window) for name, text in subsampled.items()}


def without_context(model: str, given: Given, kept: np.ndarray) -> float:
    """The loss, in nats a pair, of who knows how often words come, and nothing of what they are beside.

    With negative sampling, of who knows that one pair of k + 1 is real: that many times the entropy of the answer.
    """
    if pairs.is_negative(model):
        others = given.config.negatives
        return float((others + 1) * np.log(others + 1) - others * np.log(others))
    expected = given.data.counts() * kept
    shares = (expected + 1) / (expected + 1).sum()
    words = given.data.known(given.data.report)
    return float(-(kept[words] * np.log(shares[words])).sum() / kept[words].sum())


def count_ngrams(runs: Sequence[Run], log_of: sweep.Logs[Run], given: Given) -> None:
    """What is recorded of a trained network, too: over all held-out words but the first of each part."""
    data = given.data
    for run in runs:
        order = int(run.model.partition(":")[2])
        with log_of(run) as log:
            model = ngrams.fit(data.train, order, padding=data.padding, size=len(data.vocabulary))
            found = {
                f"loss_{name}": ngrams.losses(model, part)[1:].mean() for name, part in held_out_parts(data).items()
            }
            log.write([{"kind": "network", "params": model.counts}, {"kind": "evaluation", "step": 0, **found}])


def untrained(run: Run, given: Given) -> np.ndarray:
    """One-hot words (V, V), or these projected by a matrix of independent Gaussian numbers (V, E)."""
    size = len(given.data.vocabulary)
    if run.model == ONE_HOT:
        return np.eye(size, dtype=np.float32)
    return np.random.default_rng(run.seed).normal(size=(size, given.config.projection_size))


def network(params: Any) -> Record:
    """How many numbers are learned."""
    return {"kind": "network", "params": sizing.count_numbers(params)}


def about(run: Run, given: Given) -> Record:
    """What is saved with a checkpoint."""
    vocabulary = dataclasses.asdict(given.data.vocabulary)
    return {"run": run.identity(), "config": given.config.to_dict(), "vocabulary": vocabulary}


def compared_kinds(vectors: np.ndarray, given: Given) -> list[Record]:
    """How near words of one kind are, if the text has any."""
    return [similarity.measured(vectors, given.kinds, given.data.vocabulary)] if given.kinds.names else []


def looked_at(run: Run, projection: jax.Array, given: Given) -> Iterator[Record]:
    """How near words of one kind are; of the first seed, nearest words, and maps."""
    vectors, vocabulary = np.asarray(projection), given.data.vocabulary
    yield from compared_kinds(vectors, given)
    if run.seed:
        return
    if given.kinds.names:
        yield from similarity.maps(vectors, given.kinds, vocabulary)
    for word in names(given.config, "probes") if given.config.probes.strip(", ") else []:
        if word in vocabulary.entries:
            number = vocabulary.entries.index(word)
            found = similarity.neighbours(vectors, vectors[number], 6, {number})
            near = " ".join(vocabulary.entries[each] for each, _ in found)
            yield {"kind": "neighbours", "word": word, "near": near.replace("\n", "(line end)")}


class Trained(NamedTuple):
    """Words that this experiment has projected."""

    vectors: np.ndarray  # (V, E)
    vocabulary: Vocabulary


def load(folder: str | Path) -> Trained:
    """The projected words of a run, from a folder such as ``runs/word_vectors/checkpoints/cbow-seed0``.

    Raises:
        ExperimentError: if there is no checkpoint, or it cannot be read.
    """
    saved = checkpoint.read(folder)
    known = saved.about["vocabulary"]
    try:
        vectors = np.asarray(saved.tree["params"]["projection"])[:, : saved.about["config"]["projection_size"]]
    except (KeyError, TypeError) as error:
        raise ExperimentError(
            f"{folder} has no projected words: give a checkpoint of experiments.word_vectors"
        ) from error
    return Trained(vectors, Vocabulary(known["unit"], tuple(known["entries"])))
