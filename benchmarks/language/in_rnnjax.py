"""Trains the recurrent network, in a process of its own: python -m benchmarks.language.in_rnnjax FOLDER."""

import functools
import math
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

import rnnjax
from benchmarks.language import task
from benchmarks.language.task import Snapshot, Task
from experiments.common import compiling, host_devices
from experiments.common.compiling import jit
from experiments.language import held_out
from experiments.language.config import get_config
from experiments.language.model import LanguageParams
from experiments.language.network import (
    count_params,
    initial_state,
    make_cell,
    make_optimizer,
    recurrent_kernel_bytes,
    shardings,
    train_steps,
)
from rnnjax.data import parallel_streams


def train(given: Task) -> task.Record:
    """Trains as long as there is time, then evaluates the weights that were kept on the way on the held-out text."""
    config = get_config(given.variant)
    config.schedule = "constant"  # the loop below lets it fall
    cell, optimizer = make_cell(config.cells, config, given.different), make_optimizer(config, config.optimizers)
    kernel_bytes = recurrent_kernel_bytes(cell, config, given.different)
    mesh = host_devices.mesh(host_devices.number(config.batch_size, kernel_bytes, host_devices.cores()))
    streams = jax.device_put(parallel_streams(given.train, config.batch_size), host_devices.divided(mesh, 1))
    key = jax.random.key(given.seed)
    state = initial_state(cell, optimizer, config.learning_rate, config, given.different, key)
    places = shardings(state, mesh)
    state = jax.device_put(state, places)
    steps = functools.partial(train_steps, cell, optimizer, config, config.sequence_length)
    made = jax.jit(steps, out_shardings=(places, None), compiler_options=compiling.options())
    step = made.lower(state, streams).compile()
    kept: list[tuple[float, int, LanguageParams]] = []
    begun = before = time.time()
    done, longest = 0, 0.0
    while not done or before + longest < given.until:
        share = min(1, (before - begun) / (given.until - begun)) if given.until > begun else 1.0
        rate = config.learning_rate * (1 + math.cos(math.pi * share)) / 2
        state, _ = jax.block_until_ready(
            step(state._replace(learning_rate=jax.device_put(jnp.float32(rate), places.learning_rate)), streams)
        )
        now = time.time()
        done, longest, before = done + config.steps_a_call, max(longest, now - before), now
        if now - given.started >= (len(kept) + 1) * (given.until - given.started) / given.evaluations:
            kept.append((now, done, state.params))
    if not kept or kept[-1][1] < done:
        kept.append((before, done, state.params))

    read = read_held_out(cell, config, given)
    snapshots = [Snapshot(when, number, *read(params)) for when, number, params in kept]
    params = count_params(cell, config, given.different)
    return task.record(params, begun, config.batch_size * config.sequence_length, snapshots)


def read_held_out(
    cell: rnnjax.Cell, config: ConfigDict, given: Task
) -> Callable[[LanguageParams], tuple[float, float]]:
    """A function of the params: nats a character with the state carried on, and in windows from a fresh state."""
    columns = config.evaluation_streams
    loss_sum = jit(functools.partial(held_out.loss_sum, cell))
    streams, windows = parallel_streams(given.held_out, columns), given.windows[::2].T

    def read(params: LanguageParams) -> tuple[float, float]:
        params = jax.device_put(params, jax.devices()[0])
        start = cell.initial_state(params.recurrent, (columns,))
        carried = held_out.carried_loss(loss_sum, params, streams, start)
        return carried, held_out.fresh_loss(loss_sum, params, windows, start, columns)

    return read


if __name__ == "__main__":
    task.run(train)
