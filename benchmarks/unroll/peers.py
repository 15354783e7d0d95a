"""One recurrent layer in every library: the same work, written as each library's documentation would have it.

A builder takes a cell's name and a shape and returns the programs to time. All are float32, on the CPU, and jitted
where the library can be; the loss is the sum of squares of the outputs, differentiated with respect to all weights.
Beside the libraries stand two references: the matrix products alone, and a loop in PyTorch that measures gradients.
"""

import functools
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn import sigmoid
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import rnnjax
from benchmarks.common.measure import Call


class Shape(NamedTuple):
    steps: int
    batch: int
    input_size: int
    hidden_size: int

    def __str__(self) -> str:
        return "x".join(map(str, self))


FORWARD = "forward"
GRADIENT = "forward + backward"
FLOW = "gradient_flow"

GATES = {"elman": 1, "lstm": 4, "gru": 3, "gru_reset_after": 3}
"""Cells by rnnjax's names, and how many blocks of weights each has."""


class UnavailableError(Exception):
    """A library does not have the cell, or is not installed; the message says which."""


class Programs(NamedTuple):
    calls: dict[str, Call]  # by FORWARD and GRADIENT, FLOW, or all three
    output_shape: tuple[int, ...]
    matrix_weights: int  # how many weights stand in matrices: equal where the work is equal


def build_rnnjax(cell: str, shape: Shape) -> Programs:
    """``rnnjax.unroll``, and ``rnnjax.gradient_flow`` of the same loss."""
    net, outputs, params, inputs = _rnnjax_layer(cell, shape)
    programs = _jax_programs(outputs, params, inputs)
    flow = jax.jit(lambda params, inputs: rnnjax.gradient_flow(net, params, inputs, _sum_of_squares))
    programs.calls[FLOW] = _call(flow, params, inputs)
    return programs


def build_rnnjax_2_devices(cell: str, shape: Shape) -> Programs:
    """``rnnjax.unroll`` with half of the batch on each of two devices; the results must be those of one device."""
    if shape.batch % 2:
        raise UnavailableError(f"a batch of {shape.batch} cannot be halved")
    mesh, everywhere, halves = _two_devices(), PartitionSpec(), PartitionSpec(None, "batch")
    _, outputs, params, inputs = _rnnjax_layer(cell, shape)
    spread = partial(jax.shard_map, mesh=mesh, in_specs=(everywhere, halves), check_vma=False)

    def sum_over_devices(params: Any, inputs: Array) -> Any:
        return jax.lax.psum(_loss_and_gradient(outputs)(params, inputs), "batch")

    placed = jax.device_put((params, inputs), (NamedSharding(mesh, everywhere), NamedSharding(mesh, halves)))
    calls = {
        FORWARD: _call(jax.jit(spread(outputs, out_specs=halves)), *placed),
        GRADIENT: _call(jax.jit(spread(sum_over_devices, out_specs=everywhere)), *placed),
    }
    alone = _jax_programs(outputs, params, inputs)
    for name, call in calls.items():
        jax.tree.map(_assert_close, call(), alone.calls[name]())
    return alone._replace(calls=calls)


def build_scan(cell: str, shape: Shape) -> Programs:
    """The loop that a researcher writes by hand: both products in the body of ``lax.scan``, automatic gradients."""
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
    return _jax_programs(lambda p, inputs: jax.lax.scan(partial(step, p), state, inputs)[1], params, _inputs(shape))


def build_flax(cell: str, shape: Shape) -> Programs:
    """``flax.linen.RNN``."""
    from flax import linen

    cells = {"elman": "SimpleCell", "lstm": "OptimizedLSTMCell", "gru_reset_after": "GRUCell"}
    module = linen.RNN(getattr(linen, _same_cell("flax", cell, cells))(shape.hidden_size), time_major=True)
    inputs = _inputs(shape)
    return _jax_programs(module.apply, jax.jit(module.init)(jax.random.key(0), inputs), inputs)


def build_nnx(cell: str, shape: Shape) -> Programs:
    """``flax.nnx.RNN``, split once into its graph and its weights."""
    from flax import nnx

    cells = {"elman": "SimpleCell", "lstm": "OptimizedLSTMCell", "gru_reset_after": "GRUCell"}
    make = getattr(nnx, _same_cell("nnx", cell, cells))
    module = nnx.RNN(make(shape.input_size, shape.hidden_size, rngs=nnx.Rngs(0)), time_major=True)
    graph, params, rest = nnx.split(module, nnx.Param, ...)

    def outputs(params: Any, inputs: Array) -> Array:
        return nnx.merge(graph, params, rest, copy=True)(inputs)

    return _jax_programs(outputs, params, _inputs(shape))


def build_haiku(cell: str, shape: Shape) -> Programs:
    """``haiku.dynamic_unroll``."""
    import haiku

    cells = {"elman": partial(haiku.VanillaRNN, double_bias=False), "lstm": haiku.LSTM, "gru": haiku.GRU}
    make = _same_cell("haiku", cell, cells)

    def outputs(inputs: Array) -> Array:
        core = make(shape.hidden_size)
        return haiku.dynamic_unroll(core, inputs, core.initial_state(shape.batch))[0]

    transformed = haiku.without_apply_rng(haiku.transform(outputs))
    inputs = _inputs(shape)
    return _jax_programs(transformed.apply, jax.jit(transformed.init)(jax.random.key(0), inputs), inputs)


def build_equinox(cell: str, shape: Shape) -> Programs:
    """``equinox.nn`` cells, made for one example, mapped over the batch inside ``lax.scan``."""
    import equinox

    cells = {"lstm": equinox.nn.LSTMCell, "gru_reset_after": equinox.nn.GRUCell}
    params = _same_cell("equinox", cell, cells)(shape.input_size, shape.hidden_size, key=jax.random.key(0))
    zero = jnp.zeros((shape.batch, shape.hidden_size))

    def outputs(params: Any, inputs: Array) -> Array:
        def step(state: Any, x: Array) -> tuple[Any, Array]:
            state = jax.vmap(params)(x, state)
            return state, state[0] if cell == "lstm" else state

        return jax.lax.scan(step, (zero, zero) if cell == "lstm" else zero, inputs)[1]

    return _jax_programs(outputs, params, _inputs(shape))


def build_keras(cell: str, shape: Shape) -> Programs:
    """Keras layers on its JAX backend, called statelessly.

    They take and return (batch, time, width): here they get their inputs and leave their outputs as they like them.
    """
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    layers = {
        "elman": keras.layers.SimpleRNN,
        "lstm": keras.layers.LSTM,
        "gru": partial(keras.layers.GRU, reset_after=False),
        "gru_reset_after": keras.layers.GRU,
    }
    layer = layers[cell](shape.hidden_size, return_sequences=True)
    inputs = _inputs(shape).swapaxes(0, 1)
    layer.build(inputs.shape)
    params, fixed = ([v.value for v in of] for of in (layer.trainable_variables, layer.non_trainable_variables))

    def outputs(params: Any, inputs: Array) -> Array:
        return layer.stateless_call(params, fixed, inputs)[0]

    programs = _jax_programs(outputs, params, inputs)
    batch, steps, width = programs.output_shape
    matrices = [v.value for v in layer.trainable_variables if v.name != "bias"]  # that of GRU has two rows
    return Programs(programs.calls, (steps, batch, width), sum(matrix.size for matrix in matrices))


def build_torch(cell: str, shape: Shape) -> Programs:
    """``torch.nn`` layers over whole sequences, with PyTorch's own kernels and number of threads."""
    import torch

    cells = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru_reset_after": torch.nn.GRU}
    layer = _same_cell("torch", cell, cells)(shape.input_size, shape.hidden_size)
    inputs = torch.randn(shape[:3])

    def forward() -> Any:
        with torch.no_grad():
            return layer(inputs)[0]

    def gradient() -> None:
        layer.zero_grad()
        layer(inputs)[0].square().sum().backward()

    weights = sum(weight.numel() for weight in layer.parameters() if weight.ndim == 2)
    return Programs({FORWARD: forward, GRADIENT: gradient}, tuple(forward().shape), weights)


def build_torch_loop(cell: str, shape: Shape) -> Programs:
    """``torch.nn`` cells in a loop, ``retain_grad`` on every hidden state: how PyTorch gives the norms of dL/dh_t."""
    import torch

    cells = {"elman": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru_reset_after": torch.nn.GRUCell}
    step = _same_cell("torch", cell, cells)(shape.input_size, shape.hidden_size)
    inputs = torch.randn(shape[:3])

    def hidden_states() -> list[Any]:
        state, states = None, []
        for x in inputs:
            state = step(x, state)
            states.append(state[0] if cell == "lstm" else state)
        return states

    def flow() -> list[float]:
        step.zero_grad()
        states = hidden_states()
        for state in states:
            state.retain_grad()
        torch.stack(states).square().sum().backward()
        return torch.stack([state.grad for state in states]).flatten(1).norm(dim=1).tolist()

    weights = sum(weight.numel() for weight in step.parameters() if weight.ndim == 2)
    return Programs({FLOW: flow}, tuple(torch.stack(hidden_states()).shape), weights)


def build_products(cell: str, shape: Shape) -> Programs:
    """The matrix products alone, each over all time steps at once: no large layer is faster.

    Forward x W and h U; backward, with d the gradient of their sum, d U^T, x^T d and h^T d.
    """
    steps, batch, width, H = shape
    columns = GATES[cell] * H
    sizes = (steps * batch, width), (steps * batch, H), (steps * batch, columns), (width, columns), (H, columns)
    keys = jax.random.split(jax.random.key(0), len(sizes))
    x, h, d, W, U = [jax.random.normal(key, size) for key, size in zip(keys, sizes, strict=True)]
    forward = jax.jit(lambda x, h, W, U: (x @ W, h @ U))
    gradient = jax.jit(lambda x, h, d, W, U: (x @ W, h @ U, d @ U.T, x.T @ d, h.T @ d))
    calls = {FORWARD: _call(forward, x, h, W, U), GRADIENT: _call(gradient, x, h, d, W, U)}
    return Programs(calls, (steps, batch, H), W.size + U.size)


BUILDERS: dict[str, Callable[[str, Shape], Programs]] = {
    "rnnjax": build_rnnjax,
    "rnnjax_2_devices": build_rnnjax_2_devices,
    "scan": build_scan,
    "flax": build_flax,
    "nnx": build_nnx,
    "haiku": build_haiku,
    "equinox": build_equinox,
    "keras": build_keras,
    "torch": build_torch,
    "torch_loop": build_torch_loop,
    "matmul": build_products,
}

JAX_PEERS = ("scan", "flax", "nnx", "haiku", "equinox", "keras")
"""What else a researcher with JAX would take."""

PACKAGES = {
    "flax": "flax",
    "nnx": "flax",
    "haiku": "dm-haiku",
    "equinox": "equinox",
    "keras": "keras",
    "torch": "torch",
    "torch_loop": "torch",
}
"""What to install for a peer: all of them come with ``make peers``."""


def build(library: str, cell: str, shape: Shape) -> Programs:
    """The programs of one library; ``UnavailableError`` where it lacks the cell or is not installed."""
    try:
        programs = BUILDERS[library](cell, shape)
    except ModuleNotFoundError as error:
        raise UnavailableError(f"{PACKAGES[library]} is not installed ({error}): run `make peers`") from error
    weights = GATES[cell] * shape.hidden_size * (shape.input_size + shape.hidden_size)
    expected = (shape.steps, shape.batch, shape.hidden_size), weights
    if programs[1:] != expected:
        raise AssertionError(f"{library} {cell} has outputs and weights {programs[1:]}, not {expected}: unequal work")
    return programs


def _rnnjax_layer(cell: str, shape: Shape) -> tuple[rnnjax.Cell, Callable[[Any, Array], Array], Any, Array]:
    net = rnnjax.cell_named(cell)(shape.hidden_size)
    params = net.init(jax.random.key(0), shape.input_size)
    return net, lambda params, inputs: rnnjax.unroll(net, params, inputs)[1], params, _inputs(shape)


@functools.cache
def _two_devices() -> Mesh:
    jax.config.update("jax_num_cpu_devices", 2)  # before the process's first array
    return Mesh(jax.devices(), ("batch",))


def _assert_close(actual: Array, expected: Array) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * float(jnp.abs(expected).max()))


def _same_cell(library: str, cell: str, cells: dict[str, Any]) -> Any:
    other = {"gru": "gru_reset_after", "gru_reset_after": "gru"}.get(cell)
    if cell in cells:
        return cells[cell]
    if other in cells:
        where = "after" if cell == "gru" else "before"
        raise UnavailableError(f"resets {where} the recurrent product: compared as {other}")
    raise UnavailableError(f"no {cell} cell")


def _jax_programs(outputs: Callable[[Any, Array], Array], params: Any, inputs: Array) -> Programs:
    calls = {
        FORWARD: _call(jax.jit(outputs), params, inputs),
        GRADIENT: _call(jax.jit(_loss_and_gradient(outputs)), params, inputs),
    }
    weights = sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim == 2)
    return Programs(calls, jax.eval_shape(outputs, params, inputs).shape, weights)


def _call(program: Callable[..., Any], *arguments: Any) -> Call:
    return lambda: jax.block_until_ready(program(*arguments))


def _loss_and_gradient(outputs: Callable[[Any, Array], Array]) -> Callable[[Any, Array], Any]:
    return jax.value_and_grad(lambda params, inputs: _sum_of_squares(outputs(params, inputs)))


def _sum_of_squares(outputs: Array) -> Array:
    return jnp.sum(outputs**2)


def _inputs(shape: Shape) -> Array:
    return jax.random.normal(jax.random.key(1), shape[:3])
