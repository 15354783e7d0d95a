"""How far back does a gradient reach in a deep fully connected network? By activation, initialization and training.

Run as ``python -m experiments.deep_mlp``; config.py explains the settings.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
import optax
from flax.training.train_state import TrainState
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common import drawing, sweep, training
from experiments.common.compiling import jit
from experiments.common.errors import explained
from experiments.common.run_log import Log
from experiments.common.settings import names, require_least
from experiments.common.training import Evaluation
from experiments.common.workdir import Record, Workdir
from experiments.deep_mlp import network, report
from experiments.deep_mlp.network import NeuronGradients
from experiments.deep_mlp.prediction import predict
from rnnjax.data import Images, load_images
from rnnjax.measure.decay import norm_floor
from rnnjax.names import lookup

OPTIMIZERS = {"sgd": functools.partial(optax.sgd, momentum=0.9), "adam": optax.adam}
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


class Run(NamedTuple):
    """One activation and initialization: some draws measured, the first one trained and measured again."""

    activation: str
    initialization: str

    @property
    def name(self) -> str:
        return f"{self.activation} {self.initialization}"

    def identity(self) -> Record:
        return self._asdict()


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError, OSError, ModuleNotFoundError):
        runs = plan(config)
        images = standardized(load_images(config.images, max_images=config.max_images or None))
        learned, held_out = split(images, config.measured_images)
    workdir = open_workdir()
    work = functools.partial(execute, config=config, images=learned, held_out=held_out)
    programs = [list(group) for _, group in itertools.groupby(runs, key=lambda run: run.activation)]
    steps = config.draws + 1 + config.train_steps
    records = sweep.execute(programs, work, workdir, steps=steps, threads=config.threads)
    if records is None:
        return
    source = f"{images.source}, {len(images.images):,} images of {images.images.shape[1]} pixels"
    found = f"{report.reach_table(records)}\n\n{report.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records, source), found)


def plan(config: ConfigDict) -> list[Run]:
    """Every combination that the config names, one activation after the other.

    Raises:
        ValueError: for a field that cannot be.
    """
    require_least(config, 3, "depth")
    require_least(config, 1, "width", "draws", "measured_images", "chunk", "batch_size")
    require_least(config, 0, "train_steps", "threads", "max_images")
    lookup("optimizer", config.optimizer, OPTIMIZERS)
    activations, initializations = (names(config, field) for field in ("activations", "initializations"))
    for activation in activations:
        lookup("activation", activation, rnnjax.ACTIVATIONS)
    for initialization in initializations:
        lookup("initialization", initialization, network.INITIALIZATIONS)
    return [Run(*pair) for pair in itertools.product(activations, initializations)]


def standardized(images: Images) -> Images:
    """Pixels of mean 0 and variance 1, over all pixels of all images."""
    pixels = images.images
    return images._replace(images=(pixels - pixels.mean()) / pixels.std())


def split(images: Images, measured: int) -> tuple[Images, Images]:
    """For training, and of the tenth held out as many as are measured.

    Raises:
        ValueError: if there are not that many.
    """
    border = len(images.images) * 9 // 10
    if border + measured > len(images.images):
        raise ValueError(
            f"{images.source} has {len(images.images)} images, {len(images.images) - border} of them held out: "
            f"expected at least {measured} there; lower --config.measured_images, or give more images"
        )

    def part(chosen: slice) -> Images:
        return images._replace(images=images.images[chosen], labels=images.labels[chosen])

    return part(slice(0, border)), part(slice(border, border + measured))


def execute(
    runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, images: Images, held_out: Images
) -> None:
    """Runs of one activation: every draw measured, the first trained and measured again."""
    activation = rnnjax.ACTIVATIONS[runs[0].activation]
    widths = [images.images.shape[1], *[config.width] * config.depth, images.classes]
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.clip_norm), OPTIMIZERS[config.optimizer](config.learning_rate)
    )

    @jit
    def initialize(key: Array, variances: Array) -> TrainState:
        params = network.init(key, widths, variances)
        return TrainState.create(apply_fn=None, params=params, tx=optimizer)

    measure = jit(functools.partial(network.neuron_gradients, activation, chunk=config.chunk))
    train_step = jit(functools.partial(network.train_step, activation), donate_argnums=0)  # no checkpoint needs it

    def batch(number: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = np.random.default_rng(number + 1).integers(0, len(images.images), size=config.batch_size)
        return images.images[chosen], images.labels[chosen]

    input_square = float(np.mean(held_out.images**2))
    for run in runs:
        with log_of(run) as log:

            def evaluate(state: TrainState, step: int, draw: int = 0, log: Log = log) -> Evaluation:
                found: NeuronGradients = jax.device_get(measure(state.params, held_out.images, held_out.labels))
                training.require_finite(found.loss, step, log)
                records = [{"draw": draw, **record} for record in _gradient_records(found, step)]
                return Evaluation({"loss": found.loss, "accuracy": found.accuracy}, records)

            variances = network.layer_variances(run.initialization, widths)
            predicted = predict(activation, widths[:-1], variances[:-1], input_square)
            log.write([{"kind": "predicted", "draw": 0, **predicted._asdict()}])
            for draw in reversed(range(config.draws)):  # the first one last: it goes on into training
                state = initialize(jax.random.key(draw), np.array(variances, np.float32))
                log.write(evaluate(state, 0, draw).records)
                log.progress(1)
            steps = config.train_steps
            training.train(state, train_step, batch, evaluate, log, steps=steps, evaluate_at={steps} - {0})


def _gradient_records(found: NeuronGradients, step: int) -> Iterator[Record]:
    phase = {"phase": "trained" if step else "initialization", "step": step}
    yield {
        "kind": "network",
        **phase,
        "loss": found.loss,
        "accuracy": found.accuracy,
        "inputs": found.inputs,
        "adjoints": found.adjoints,
    }
    for of, norms in (("batch", found.batch), ("example", found.examples)):
        by_layer = np.asarray(norms).reshape(len(norms), -1)
        yield {"kind": "neuron_gradient", **phase, "of": of, **distributions(by_layer)}


def distributions(norms: np.ndarray) -> Record:
    """Of norms (L, any number) in each layer: quantiles of log10, and what is left out of them.

    A norm of exactly 0 (of a unit that is off), or one below the dtype's floor, is not a small norm. The root mean
    square has them all.
    """
    floor = norm_floor(norms.dtype)
    wide = norms.astype(np.float64)
    logs = [np.log10(layer[layer >= floor]) for layer in wide]
    return {
        "quantiles": np.array([np.quantile(layer, QUANTILES) if layer.size else np.full(7, np.nan) for layer in logs]),
        "zero": (wide == 0).mean(axis=1),
        "underflowed": ((wide > 0) & (wide < floor)).mean(axis=1),
        "root_mean_square": np.sqrt((wide**2).mean(axis=1)),
    }
