"""Each library is trained in a process of its own, and they take turns."""

import os
import time
from functools import cache, partial
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.common.device import Device
from benchmarks.common.measure import ratio
from benchmarks.common.worker import Answer, serve, workers

WAYS = {"rnnjax": "rnnjax", "gensim": "gensim"}
MODELS = ("cbow", "skip_gram")
FREQUENT, NEAREST = 500, 10

Record = dict[str, Any]
"""A library and a model: ``speeds`` in words a second of each sample, their ``ratio`` to gensim's, ``same_kind`` as
``experiments.word_vectors`` has it, ``agreement`` with gensim from the first seed; ``skipped`` with a reason if the
library is missing."""


def measure(device: Device, rounds: int, *, epochs: int, max_characters: int) -> list[Record]:
    """A record of each library and model; they take turns, and each round has a seed of its own."""
    answers: dict[tuple[str, str], list[Record]] = {(model, way): [] for model in MODELS for way in WAYS}
    with workers("benchmarks.word_vectors.measure", list(WAYS), device) as processes:
        for seed in tqdm(range(max(rounds, 2)), disable=None):  # two at least, to compare gensim with itself
            for model in MODELS:
                for worker in processes:
                    asked = {"model": model, "epochs": epochs, "max_characters": max_characters, "seed": seed}
                    answers[model, worker.name].append(worker.ask(**asked))
    return [_record(model, way, of_way, answers[model, "gensim"]) for (model, way), of_way in answers.items()]


def _record(model: str, way: str, found: list[Record], peers: list[Record]) -> Record:
    record: Record = {"model": model, "way": way}
    if "skipped" in found[0]:
        return record | {"skipped": found[0]["skipped"]}
    record |= {name: [each[name] for each in found] for name in ("speeds", "same_kind")}
    if "skipped" in peers[0]:
        return record
    with_first = [agreement(each["nearest"], peers[0]["nearest"]) for each in found[way == "gensim" :]]
    times = ([[1 / each["speeds"]] for each in samples] for samples in (peers, found))
    return record | {"agreement": with_first, "ratio": ratio(*times)}


def agreement(one: list[list[int]], other: list[list[int]]) -> float:
    """The share of the nearest words that are the same, whatever their order."""
    return float(np.mean([len({*a} & {*b}) / len(a) for a, b in zip(one, other, strict=True)]))


# The worker


def work(way: str, device: Device) -> Answer:
    """Trains from new weights each time."""
    return partial(_timed, {"rnnjax": _rnnjax, "gensim": _gensim}[way])


def _timed(train: Any, model: str, epochs: int, max_characters: int, seed: int) -> Record:
    from experiments.word_vectors import similarity

    given = _given(max_characters)
    seconds, words, vectors = train(given, model, epochs, seed)
    kinds = given.kinds
    hits = similarity.same_kind_nearest(similarity.cosines(vectors[kinds.words]), kinds.labels)
    frequent = np.argsort(-given.data.counts(), kind="stable")[:FREQUENT]
    near = [[each for each, _ in similarity.neighbours(vectors, vectors[w], NEAREST, {int(w)})] for w in frequent]
    return {"speeds": words / seconds, "same_kind": float(hits.mean()), "nearest": near}


@cache
def _given(max_characters: int) -> Any:
    from experiments.common import host_devices
    from experiments.word_vectors import data, similarity
    from experiments.word_vectors.config import get_config
    from experiments.word_vectors.main import Given, devices_of

    config = get_config("negative_sampling")
    config.max_characters = max_characters
    read = data.read(config)
    most = max(devices_of(_named(model), config) for model in MODELS)  # JAX looks for its devices once
    return Given(config, read, similarity.kinds_of(read.vocabulary), host_devices.mesh(most))


def _named(model: str) -> str:
    from experiments.word_vectors.pairs import NEGATIVE

    return f"{model}:{NEGATIVE}"


def _placed(given: Any, model: str) -> Any:
    """On as many devices as the experiment gives to this model where it is trained alone."""
    from experiments.common import host_devices
    from experiments.word_vectors.main import devices_of

    return given._replace(mesh=host_devices.mesh(devices_of(_named(model), given.config)))


def _rnnjax(given: Any, model: str, epochs: int, seed: int) -> tuple[float, float, np.ndarray]:
    import jax
    import jax.numpy as jnp

    from experiments.common import host_devices
    from experiments.word_vectors import pairs
    from experiments.word_vectors.data import words_a_call
    from experiments.word_vectors.main import epochs_of

    given = _placed(given, model)
    step = _step(model, epochs, given.config.max_characters)
    read = epochs_of(given, _named(model), seed)
    vectors_key, step_key = jax.random.split(jax.random.key(seed))
    vectors = pairs.init(len(given.data.vocabulary), given.config.projection_size, vectors_key)
    start = jax.device_put(pairs.initial_state(pairs.padded(vectors), None, step_key), host_devices.whole(given.mesh))
    jax.block_until_ready(step(start, jnp.asarray(read.blocks(read.calls - 1))))  # compiles
    read, state = epochs_of(given, _named(model), seed), start
    began = time.perf_counter()
    for number in range(epochs * read.calls):
        state, _ = jax.block_until_ready(step(state, jnp.asarray(read.blocks(number))))  # as training.train does
    seconds = time.perf_counter() - began
    learned = epochs * read.calls * words_a_call(given.config)
    projection = state.params.projection[:, : given.config.projection_size]
    return seconds, learned / _kept_share(given), np.asarray(projection, np.float64)


@cache
def _step(model: str, epochs: int, max_characters: int) -> Any:
    import jax.numpy as jnp

    from experiments.word_vectors import pairs
    from experiments.word_vectors.main import Given, epochs_of, make_pair_step

    given: Given = _placed(_given(max_characters), model)
    given.config.pair_epochs = epochs
    cumulative = jnp.asarray(np.cumsum(pairs.noise_distribution(given.data.counts())), jnp.float32)
    _, step = make_pair_step(_named(model), given, epochs_of(given, _named(model), 0).calls, cumulative)
    return step


def _kept_share(given: Any) -> float:
    """The share of the words read that the subsampling of frequent words keeps."""
    from experiments.word_vectors.data import kept_probability

    counts = given.data.counts()
    return float((counts * kept_probability(counts, given.config.subsampling)).sum() / counts.sum())


def _gensim(given: Any, model: str, epochs: int, seed: int) -> tuple[float, float, np.ndarray]:
    from gensim.models import Word2Vec

    config, words = given.config, given.data.known(given.data.train)
    text = [part.tolist() for part in np.array_split(words.astype(str), max(1, len(words) // 1000))]
    made = Word2Vec(
        vector_size=config.projection_size,
        window=config.window,
        negative=config.negatives,
        sample=config.subsampling,
        alpha=0.025,
        min_alpha=1e-9,
        min_count=1,
        sg=int(model == "skip_gram"),
        workers=len(os.sched_getaffinity(0)),
        seed=seed,
    )
    made.build_vocab(text)
    began = time.perf_counter()
    made.train(text, total_examples=made.corpus_count, epochs=epochs)
    seconds = time.perf_counter() - began
    vectors = np.zeros((len(given.data.vocabulary), config.projection_size))
    for word, place in made.wv.key_to_index.items():
        vectors[int(word)] = made.wv.vectors[place]
    return seconds, epochs * len(words), vectors


if __name__ == "__main__":
    serve(work)
