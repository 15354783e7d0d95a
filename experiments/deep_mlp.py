"""How far back does a gradient reach in a deep fully connected network? By activation, initialization and training.

Run as ``python -m experiments.deep_mlp``; experiments/configs/deep_mlp.py explains the settings.
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
from experiments import command, deep_mlp_report, deep_network, drawing, sweep
from experiments.command import ExperimentError, explained
from experiments.deep_network import NeuronGradients
from experiments.deep_prediction import predict
from experiments.settings import names, require_least
from experiments.workdir import Record, Workdir
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
        training, held_out = split(images, config.measured_images)
    workdir = open_workdir()
    work = functools.partial(execute, config=config, training=training, held_out=held_out)
    programs = [list(group) for _, group in itertools.groupby(runs, key=lambda run: run.activation)]
    records = sweep.execute(programs, work, workdir, steps=config.draws + config.train_steps, threads=config.threads)
    if records is None:
        return
    source = f"{images.source}, {len(images.images):,} images of {images.images.shape[1]} pixels"
    report = deep_mlp_report
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
        lookup("initialization", initialization, deep_network.INITIALIZATIONS)
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
    runs: Sequence[Run], progress: sweep.Progress, *, config: ConfigDict, training: Images, held_out: Images
) -> Iterator[tuple[Run, list[Record]]]:
    """Runs of one activation: every draw measured, the first trained and measured again."""
    activation = rnnjax.ACTIVATIONS[runs[0].activation]
    widths = [training.images.shape[1], *[config.width] * config.depth, training.classes]
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.clip_norm), OPTIMIZERS[config.optimizer](config.learning_rate)
    )
    jit = functools.partial(jax.jit, compiler_options=command.compiler_options())

    @jit
    def initialize(key: Array, variances: Array) -> TrainState:
        params = deep_network.init(key, widths, variances)
        return TrainState.create(apply_fn=None, params=params, tx=optimizer)

    measure = jit(functools.partial(deep_network.neuron_gradients, activation, chunk=config.chunk))
    train_step = jit(functools.partial(deep_network.train_step, activation), donate_argnums=0)

    def measured(state: TrainState, run: Run, draw: int, step: int) -> list[Record]:
        found: NeuronGradients = jax.device_get(measure(state.params, held_out.images, held_out.labels))
        _require_finite(found.loss, run, step)
        return [{"draw": draw, **record} for record in _gradient_records(found, step)]

    input_square = float(np.mean(held_out.images**2))
    for run in runs:
        variances = deep_network.layer_variances(run.initialization, widths)
        predicted = predict(activation, widths[:-1], variances[:-1], input_square)
        records: list[Record] = [{"kind": "predicted", "draw": 0, **predicted._asdict()}]
        for draw in reversed(range(config.draws)):  # the first one last: it goes on into training
            state = initialize(jax.random.key(draw), np.array(variances, np.float32))
            records += measured(state, run, draw, 0)
            progress(run.name)
        for step in range(1, config.train_steps + 1):
            chosen = np.random.default_rng(step).integers(0, len(training.images), size=config.batch_size)
            state, loss = train_step(state, training.images[chosen], training.labels[chosen])
            _require_finite(loss, run, step - 1)
            records.append({"kind": "train", "draw": 0, "step": step, "loss": loss})
            progress(run.name)
        if config.train_steps:
            records += measured(state, run, 0, config.train_steps)
        yield run, records


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


def _require_finite(loss: Array, run: Run, steps: int) -> None:
    if not np.isfinite(loss):
        raise ExperimentError(
            f"loss is {loss} after {steps} training steps of {run.name}; "
            + ("lower --config.learning_rate or --config.clip_norm" if steps else "lower --config.depth")
        )


if __name__ == "__main__":
    sweep.run("deep_mlp", main)
