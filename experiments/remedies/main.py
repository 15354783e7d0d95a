"""Which remedy lets a tanh network learn what lies far back, and what does each do to its gradients?

Run as ``python -m experiments.remedies``; config.py explains the settings.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax.training.train_state import TrainState
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common import drawing, sweep, training
from experiments.common.clipping import watched
from experiments.common.compiling import jit
from experiments.common.errors import explained
from experiments.common.settings import names, numbers, require_least, require_positive
from experiments.common.solving import count_evaluations, ended, evaluated_at, result
from experiments.common.training import Evaluation
from experiments.common.workdir import Record, Workdir
from experiments.networks.task_network import Network, gradient_norms, init, read, readout, test_set
from experiments.remedies import report
from rnnjax.names import lookup
from rnnjax.tasks import Batch, Task, task_named
from rnnjax.typing import Key, Params

REMEDIES = ("none", "norm_clipping", "element_clipping", "penalty", "flossing")
"""What can be combined, as in penalty+norm_clipping."""


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all seeds."""

    task: str
    length: int
    remedy: str


Run = sweep.SeededRun[Program]
"""One network, trained until it solves its task or its steps are used up."""


class Seen(NamedTuple):
    """Of one training step."""

    penalty: Array
    norm_before: Array  # of the gradient, before clipping
    norm_after: Array
    share_clipped: Array  # of its elements


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError, ImportError):
        runs = plan(config)
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda program: program.length)
    work = functools.partial(execute, config=config)
    records = sweep.execute(programs, work, workdir, steps=count_evaluations(config), threads=config.threads)
    if records is None:
        return
    found = f"{report.successes(records)}\n\n{report.table(records)}\n\n{report.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records), found)


def plan(config: ConfigDict) -> list[Run]:
    """Every combination that the config names.

    Raises:
        ValueError: for a field that cannot be.
        ImportError: for a task whose data are not installed.
    """
    require_least(config, 1, "seeds", "hidden_size", "batch_size", "test_size", "train_steps", "evaluate_every")
    require_least(config, 1, "exponents")
    require_least(config, 0, "flossing_steps", "threads")
    require_positive(config, "learning_rate", "init_scale", "clip_norm", "clip_value", "penalty_weight")
    require_positive(config, "flossing_rate")
    if config.exponents > config.hidden_size:
        raise ValueError(
            f"--config.exponents is {config.exponents}: expected at most the hidden_size, {config.hidden_size}"
        )
    programs = []
    for length, remedy in itertools.product(numbers(config, "lengths"), names(config, "remedies")):
        for part in remedy.split("+"):
            lookup("remedy", part, dict.fromkeys(REMEDIES))
        task_named(config.task)(length)  # raises for a length that the task does not have
        programs.append(Program(config.task, length, remedy))
    return [Run(program, seed) for program in programs for seed in range(config.seeds)]


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict) -> None:
    """Runs of one program: the gradient measured, flossed if that is the remedy, trained and tested, measured again.

    A loss that is not finite ends its run, not the sweep: that a network without a remedy explodes is an answer, too.
    """
    program = runs[0].program
    task, parts = task_named(program.task)(program.length), program.remedy.split("+")
    normal = jax.nn.initializers.normal(config.init_scale)
    cell = rnnjax.elman(config.hidden_size, kernel_init=normal, recurrent_init=normal)
    clippings = {
        "norm_clipping": optax.clip_by_global_norm(config.clip_norm),
        "element_clipping": optax.clip(config.clip_value),
    }
    clipping = optax.chain(optax.identity(), *(clippings[part] for part in parts if part in clippings))
    optimizer = optax.chain(watched(clipping), optax.sgd(config.learning_rate))
    weight = config.penalty_weight if "penalty" in parts else 0.0

    @jit
    def initialize(key: Key) -> Network:
        return init(cell, task, key)

    @jit
    def floss(network: Network, key: Key) -> Network:
        return network._replace(recurrent=flossed(cell, network.recurrent, task, key, config))

    @jit
    def scanned(state: TrainState, key: Key) -> tuple[TrainState, Seen]:
        def step(state: TrainState, _: None) -> tuple[TrainState, Seen]:
            batch = task.sample(jax.random.fold_in(key, state.step), config.batch_size)
            return train_step(cell, task, weight, state, batch)

        return jax.lax.scan(step, state, length=config.evaluate_every)

    def train_steps(state: TrainState, key: Key) -> tuple[TrainState, Record]:
        state, seen = scanned(state, key)
        return state, _condensed(seen)

    @jit
    def test(network: Network, batch: Batch) -> Record:
        outputs = read(cell, network, batch)
        return {"loss": task.loss(outputs, batch), "error": task.error(outputs, batch).mean()}

    @jit
    def measure(network: Network, batch: Batch) -> tuple[Array, Array]:
        spectrum = rnnjax.lyapunov_spectrum(cell, network.recurrent, batch.inputs[:, 0], warm_up=0, blocks=2)
        return gradient_norms(cell, task, network, batch), spectrum.exponents

    def flow_records(phase: str, network: Network, batch: Batch) -> list[Record]:
        norms, exponents = measure(network, batch)
        return [
            {"kind": "state_gradient", "phase": phase, "norms": norms},
            {"kind": "exponents", "phase": phase, "exponents": exponents},
        ]

    def evaluate(batch: Batch, state: TrainState, _: int) -> Evaluation:
        return Evaluation(test(state.params, batch))

    for run in runs:
        with log_of(run) as log:
            init_key, floss_key, train_key, test_key = jax.random.split(jax.random.key(run.seed), 4)
            test_batch = test_set(task, test_key, config.test_size)
            network = initialize(init_key)
            log.write(flow_records("initialization", network, test_batch))
            if "flossing" in parts:
                network = floss(network, floss_key)
                log.write(flow_records("flossed", network, test_batch))
            state, evaluations = training.train(
                TrainState.create(apply_fn=None, params=network, tx=optimizer),
                train_steps,
                functools.partial(_same_key, train_key),
                functools.partial(evaluate, test_batch),
                log,
                steps=config.train_steps,
                stride=config.evaluate_every,
                evaluate_at=evaluated_at(config),
                stop=functools.partial(ended, task=task),
            )
            log.write([*flow_records("trained", state.params, test_batch), result(evaluations, task)])


def train_step(
    cell: rnnjax.Cell, task: Task, penalty_weight: float, state: TrainState, batch: Batch
) -> tuple[TrainState, Seen]:
    """One optimizer step on the loss, plus the gradient-preserving penalty if it has a weight."""

    def total(network: Network) -> tuple[Array, Array]:
        def loss(outputs: Array) -> Array:
            return task.loss(readout(network, outputs, batch), batch)

        _, outputs = rnnjax.unroll(cell, network.recurrent, batch.inputs)
        if not penalty_weight:
            return loss(outputs), jnp.zeros(())
        penalty = rnnjax.gradient_preserving_penalty(cell, network.recurrent, batch.inputs, loss)
        return loss(outputs) + penalty_weight * penalty, penalty

    gradients, penalty = jax.grad(total, has_aux=True)(state.params)
    state = state.apply_gradients(grads=gradients)
    clipping = (optax.tree.get(state.opt_state, name) for name in ("norm_before", "norm_after", "share_clipped"))
    return state, Seen(penalty, *clipping)


def flossed(cell: rnnjax.Cell, params: Params, task: Task, key: Key, config: ConfigDict) -> Params:
    """Params after ``flossing_steps`` of Adam on the largest exponents' squares, each step on another sequence."""
    optimizer = optax.adam(config.flossing_rate)

    def step(carry: tuple[Params, optax.OptState], key: Key) -> tuple[tuple[Params, optax.OptState], None]:
        params, state = carry
        inputs = task.sample(key, 1).inputs

        def penalty(params: Params) -> Array:
            return rnnjax.gradient_flossing_penalty(cell, params, inputs, count=config.exponents)

        updates, state = optimizer.update(jax.grad(penalty)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(key, config.flossing_steps)
    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
    return params


def _condensed(seen: Seen) -> Record:
    """Of the training steps between two evaluations."""
    return {
        "penalty": seen.penalty.mean(),
        "norm_before_median": jnp.median(seen.norm_before),
        "norm_before_largest": jnp.max(seen.norm_before),
        "norm_after_median": jnp.median(seen.norm_after),
        "norm_after_largest": jnp.max(seen.norm_after),
        "steps_clipped": jnp.mean(seen.share_clipped > 0),
        "elements_clipped": seen.share_clipped.mean(),
    }


def _same_key(key: Key, _: int) -> Key:
    """Of every interval: a step's batch is drawn by the key and its number."""
    return key
