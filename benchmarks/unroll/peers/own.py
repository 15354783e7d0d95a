"""rnnjax's layers, the loop that a researcher writes by hand, and the matrix products alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import sigmoid
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import rnnjax
from benchmarks.common.device import Device, UnavailableError, take
from benchmarks.common.workload import FORWARD, GRADIENT, sum_of_squares
from benchmarks.unroll.peers.layer import (
    FLOW,
    GATES,
    Programs,
    Shape,
    assert_close,
    call_of,
    inputs_of,
    jax_programs,
    loss_and_gradient,
)


def build_rnnjax(cell: str, shape: Shape, device: Device) -> Programs:
    """``rnnjax.unroll``, and ``rnnjax.gradient_flow`` of the same loss."""
    net, outputs, params, inputs = rnnjax_layer(cell, shape)
    programs = jax_programs(outputs, params, inputs)
    flow = jax.jit(lambda params, inputs: rnnjax.gradient_flow(net, params, inputs, sum_of_squares))
    programs.calls[FLOW] = call_of(flow, params, inputs)
    return programs


def build_rnnjax_2_devices(cell: str, shape: Shape, device: Device) -> Programs:
    """``rnnjax.unroll`` with half of the batch on each of two devices; the results must be those of one device."""
    if shape.batch % 2:
        raise UnavailableError(f"a batch of {shape.batch} cannot be halved")
    mesh = Mesh(take(2, device), ("batch",))
    everywhere, halves = PartitionSpec(), PartitionSpec(None, "batch")
    _, outputs, params, inputs = rnnjax_layer(cell, shape)
    spread = partial(jax.shard_map, mesh=mesh, in_specs=(everywhere, halves), check_vma=False)

    def sum_over_devices(params: Any, inputs: Array) -> Any:
        return jax.lax.psum(loss_and_gradient(outputs)(params, inputs), "batch")

    placed = jax.device_put((params, inputs), (NamedSharding(mesh, everywhere), NamedSharding(mesh, halves)))
    calls = {
        FORWARD: call_of(jax.jit(spread(outputs, out_specs=halves)), *placed),
        GRADIENT: call_of(jax.jit(spread(sum_over_devices, out_specs=everywhere)), *placed),
    }
    alone = jax_programs(outputs, params, inputs)
    for name, call in calls.items():
        jax.tree.map(assert_close, call(), alone.calls[name]())
    return alone._replace(calls=calls)


def build_scan(cell: str, shape: Shape, device: Device) -> Programs:
    """The loop that a researcher writes by hand: both products in the body of ``lax.scan``, gradients by JAX."""
    H = shape.hidden_size
    columns = GATES[cell] * H
    keys = jax.random.split(jax.random.key(0))
    params = {
        "W": jax.random.normal(keys[0], (shape.input_size, columns)) / shape.input_size**0.5,
        "U": jax.random.normal(keys[1], (H, columns)) / H**0.5,
        "b": jnp.zeros(columns),
        "c": jnp.zeros(H if cell == "gru_reset_after" else 0),
    }

    def elman(p: Any, h: Array, x: Array) -> tuple[Array, Array]:
        h = jnp.tanh(x @ p["W"] + h @ p["U"] + p["b"])
        return h, h

    def lstm(p: Any, state: tuple[Array, Array], x: Array) -> tuple[tuple[Array, Array], Array]:
        h, c = state
        i, f, g, o = jnp.split(x @ p["W"] + h @ p["U"] + p["b"], 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(p: Any, h: Array, x: Array) -> tuple[Array, Array]:
        from_x_rz, from_x_n = jnp.split(x @ p["W"] + p["b"], [2 * H], axis=-1)
        r, z = jnp.split(sigmoid(from_x_rz + h @ p["U"][:, : 2 * H]), 2, axis=-1)
        h = z * h + (1 - z) * jnp.tanh(from_x_n + (r * h) @ p["U"][:, 2 * H :])
        return h, h

    def gru_reset_after(p: Any, h: Array, x: Array) -> tuple[Array, Array]:
        from_x, from_h = jnp.split(x @ p["W"] + p["b"], 3, axis=-1), jnp.split(h @ p["U"], 3, axis=-1)
        r, z = sigmoid(from_x[0] + from_h[0]), sigmoid(from_x[1] + from_h[1])
        h = z * h + (1 - z) * jnp.tanh(from_x[2] + r * (from_h[2] + p["c"]))
        return h, h

    step: Any = {"elman": elman, "lstm": lstm, "gru": gru, "gru_reset_after": gru_reset_after}[cell]
    zero = jnp.zeros((shape.batch, H))
    state = (zero, zero) if cell == "lstm" else zero
    return jax_programs(lambda p, inputs: jax.lax.scan(partial(step, p), state, inputs)[1], params, inputs_of(shape))


def build_products(cell: str, shape: Shape, device: Device) -> Programs:
    """The matrix products alone, each over all time steps at once; no layer with large products is faster.

    They are x W and h U forward, and d U^T, x^T d and h^T d backward, where d is the gradient of the sum of the former.
    """
    steps, batch, width, H = shape
    columns = GATES[cell] * H
    sizes = (steps * batch, width), (steps * batch, H), (steps * batch, columns), (width, columns), (H, columns)
    keys = jax.random.split(jax.random.key(0), len(sizes))
    x, h, d, W, U = [jax.random.normal(key, size) for key, size in zip(keys, sizes, strict=True)]
    forward = jax.jit(lambda x, h, W, U: (x @ W, h @ U))
    gradient = jax.jit(lambda x, h, d, W, U: (x @ W, h @ U, d @ U.T, x.T @ d, h.T @ d))
    calls = {FORWARD: call_of(forward, x, h, W, U), GRADIENT: call_of(gradient, x, h, d, W, U)}
    return Programs(calls, (steps, batch, H), W.size + U.size)


def rnnjax_layer(cell: str, shape: Shape) -> tuple[rnnjax.Cell, Callable[[Any, Array], Array], Any, Array]:
    """The cell, its outputs as a function of params and inputs, and params and inputs."""
    net = rnnjax.cell_named(cell)(shape.hidden_size)
    params = net.init(jax.random.key(0), shape.input_size)
    return net, lambda params, inputs: rnnjax.unroll(net, params, inputs)[1], params, inputs_of(shape)
