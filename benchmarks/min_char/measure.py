"""Each way is trained in a process of its own, and they take turns."""

import time
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.common.device import Device
from benchmarks.common.measure import ratio
from benchmarks.common.worker import Answer, serve, workers

WAYS = {"rnnjax": "rnnjax, 100 iterations a program", "numpy": "loops in NumPy"}

Record = dict[str, Any]
"""A way to train: ``seconds`` of an iteration in each sample, and ``ratio``, the time of NumPy over its own."""


def measure(device: Device, rounds: int, *, hidden: int, iterations: int) -> list[Record]:
    """A record of each way. They take turns; what comes before the first sample, such as compiling, does not count."""
    samples: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    with workers("benchmarks.min_char.measure", list(WAYS), device) as processes:
        for _ in tqdm(range(rounds), disable=None):
            for worker in processes:
                answer = worker.ask(hidden=hidden, iterations=iterations)
                samples[worker.name].append([answer["seconds"]])
    return [
        {"way": way, "seconds": [sample for (sample,) in of_way], "ratio": ratio(samples["numpy"], of_way)}
        for way, of_way in samples.items()
    ]


# The worker


def work(way: str, device: Device) -> Answer:
    """Trains on from one sample to the next."""
    return partial(_timed, {"rnnjax": _rnnjax, "numpy": _numpy}[way], {})


def _timed(make: Any, kept: dict[int, Any], hidden: int, iterations: int) -> Record:
    if hidden not in kept:
        kept[hidden] = make(hidden)
        kept[hidden](100)
    start = time.perf_counter()
    kept[hidden](iterations)
    return {"seconds": (time.perf_counter() - start) / iterations}


def _rnnjax(hidden: int) -> Any:
    import jax
    import jax.numpy as jnp

    from experiments.common.compiling import compile_loops_whole, jit
    from experiments.min_char import main as min_char

    compile_loops_whole()
    config, corpus = _config(hidden), _corpus()
    cell, tokens = min_char.make_cell(config), jnp.asarray(corpus.tokens)
    state = min_char.initial_state(cell, config, len(corpus.vocabulary), jax.random.key(0))
    hundred = partial(min_char.iterations, cell, config, count=100)
    iterate = jit(hundred)

    def train(iterations: int) -> None:
        nonlocal state
        for _ in range(iterations // 100):
            state, _ = iterate(state, tokens)
        jax.block_until_ready(state)

    return train


def _numpy(hidden: int) -> Any:
    from benchmarks.min_char import in_numpy

    config, corpus, generator = _config(hidden), _corpus(), np.random.default_rng(0)
    characters = len(corpus.vocabulary)
    shapes = {"kernel": (characters, hidden), "recurrent_kernel": (hidden, hidden), "bias": (hidden,)}
    shapes |= {"readout_kernel": (hidden, characters), "readout_bias": (characters,)}
    params = {name: config.init_scale * generator.normal(size=s) * (len(s) > 1) for name, s in shapes.items()}
    state = in_numpy.start(params)

    def train(iterations: int) -> None:
        nonlocal state
        for _ in range(iterations):
            state, _ = in_numpy.step(state, corpus.tokens, config.sequence_length)

    return train


def _config(hidden: int) -> Any:
    from experiments.min_char.config import get_config

    config = get_config()
    config.hidden_size = hidden
    return config


def _corpus() -> Any:
    from rnnjax.data import load_corpus

    return load_corpus(max_characters=200_000, max_vocabulary=1 << 20)


if __name__ == "__main__":
    serve(work)
