"""A network for the tasks of ``rnnjax.tasks``: a recurrent cell, and a dense readout of its outputs."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

import rnnjax
from rnnjax.tasks import Batch, Task
from rnnjax.typing import Key, Params


class Network(NamedTuple):
    recurrent: Params
    readout: Params


def init(cell: rnnjax.Cell, task: Task, key: Key) -> Network:
    """Params of the cell and of a dense readout (H, O)."""
    cell_key, readout_key = jax.random.split(key)
    recurrent = cell.init(cell_key, task.input_size)
    outputs = cell.output(recurrent, cell.initial_state(recurrent, ()))
    return Network(recurrent, nn.Dense(task.output_size).init(readout_key, outputs))


def read(cell: rnnjax.Cell, network: Network, batch: Batch) -> Array:
    """The readout (S, B, O) at the steps that have a target."""
    _, outputs = rnnjax.unroll(cell, network.recurrent, batch.inputs)
    return readout(network, outputs, batch)


def readout(network: Network, outputs: Array, batch: Batch) -> Array:
    """The readout (S, B, O) of a cell's outputs (T, B, H) at the steps that have a target, which are the last ones."""
    dense = nn.Dense(network.readout["params"]["bias"].shape[0])
    return dense.apply(network.readout, outputs[-len(batch.targets) :])


def test_set(task: Task, key: Key, size: int) -> Batch:
    """So many sequences to test on, drawn by one program, which compiles faster than one operation after the other."""
    batch: Batch = jax.jit(task.sample_test, static_argnums=1)(key, size)
    return batch


def gradient_norms(cell: rnnjax.Cell, task: Task, network: Network, batch: Batch) -> Array:
    """||dL/ds_t|| (T,) over all fields of the state, where L is the loss at the last step, from which lags count."""
    last = batch._replace(targets=batch.targets[-1:])

    def loss(outputs: Array) -> Array:
        return task.loss(readout(network, outputs, last), last)

    flow = rnnjax.gradient_flow(cell, network.recurrent, batch.inputs, loss)
    squares = [jnp.square(norms) for norms in jax.tree.leaves(flow.state)]
    return jnp.sqrt(jnp.sum(jnp.stack(squares), axis=0))
