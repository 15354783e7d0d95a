"""One online step of a cell in every library, and the ways of calling it in rnnjax; all have the same weights."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from benchmarks.common.device import Device
from benchmarks.common.measure import Call
from benchmarks.common.pytorch import device_like, waiting
from rnnjax.adapters.torch import GATES, from_torch

LIBRARIES = {
    "rnnjax": "rnnjax, asynchronous",
    "synchronous": "rnnjax, synchronous",
    "torch": "PyTorch",
    "numpy": "NumPy",
}
"""The libraries that are measured, with titles for tables."""

STEP, STEPS = "one step", "steps by unroll"

CELLS: dict[str, Callable[[int], rnnjax.Cell]] = {
    "elman": rnnjax.elman,
    "gru": functools.partial(rnnjax.gru, reset="after"),
    "lstm": rnnjax.lstm,
}
"""The cells that PyTorch has, too."""

Step = Callable[[Any, Any], tuple[Any, Any]]
"""``(state, inputs) -> (new state, output)``."""

Weights = dict[str, np.ndarray]
"""The weights of one layer by the names that PyTorch gives them."""


class Programs(NamedTuple):
    calls: dict[str, Call]  # each goes on from where its last call ended, and returns the output
    context: Callable[[], AbstractContextManager[Any]] = nullcontext  # in which they are called


def several(count: int) -> str:
    """The name of so many steps in one call."""
    return f"{count} {STEPS}"


def initial_weights(cell: str, hidden: int) -> Weights:
    """Weights drawn as PyTorch draws them, uniformly within 1 / sqrt(H)."""
    draw, bound, rows = np.random.default_rng(0), hidden**-0.5, GATES[cell] * hidden
    shapes = {
        "weight_ih_l0": (rows, hidden),
        "weight_hh_l0": (rows, hidden),
        "bias_ih_l0": (rows,),
        "bias_hh_l0": (rows,),
    }
    return {name: draw.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}


def input_of_a_step(hidden: int) -> np.ndarray:
    """The input (1, I), the same at all steps."""
    return np.random.default_rng(1).standard_normal((1, hidden), np.float32)


def chained(step: Step, state: Any, inputs: Any) -> Call:
    """A call that takes a step from the state where the last one ended, and returns the output."""

    def call() -> Any:
        nonlocal state
        state, output = step(state, inputs)
        return output

    return call


def build_rnnjax(cell: str, hidden: int, counts: list[int], device: Device) -> Programs:
    """The ways of calling ``cell.step``, and ``unroll`` of some numbers of steps."""
    network = CELLS[cell](hidden)
    (params,) = from_torch(initial_weights(cell, hidden), cell)
    inputs = input_of_a_step(hidden)
    here = jnp.asarray(inputs)
    fresh = functools.partial(network.initial_state, params, (1,))  # donated, a state cannot serve a second time

    jitted = jax.jit(network.step)
    donated = jax.jit(network.step, donate_argnums=1)
    compiled = donated.lower(params, fresh(), here).compile()
    constant = jax.jit(lambda state, inputs: network.step(params, state, inputs), donate_argnums=0)
    unrolled = jax.jit(lambda state, inputs: rnnjax.unroll(network, params, inputs, state), donate_argnums=0)

    def through_numpy(state: Any, inputs: Any) -> tuple[Any, Any]:
        state, output = jitted(params, state, inputs)
        return jax.tree.map(np.asarray, state), output

    def from_numpy(state: Any, inputs: Any) -> tuple[Any, Any]:
        state, output = constant(state, inputs)
        return state, np.asarray(output)

    steps: dict[str, Step] = {
        "not jitted": functools.partial(network.step, params),
        "jitted": functools.partial(jitted, params),
        "state through NumPy": through_numpy,
        "state donated": functools.partial(donated, params),
        "compiled ahead": functools.partial(compiled, params),
        "params constant": constant,
    }
    calls = {way: chained(finished(step), fresh(), here) for way, step in steps.items()}
    calls["data from NumPy"] = chained(from_numpy, fresh(), inputs)
    for count in counts:
        calls[several(count)] = chained(finished(unrolled), fresh(), jnp.stack([here] * count))
    return Programs(calls)


def finished(step: Step) -> Step:
    """The step, made to return only when its output is there, and so the state, which comes from the same program."""

    def finished_step(state: Any, inputs: Any) -> tuple[Any, Any]:
        state, output = step(state, inputs)
        return state, output.block_until_ready()

    return finished_step


def build_torch(cell: str, hidden: int, counts: list[int], device: Device) -> Programs:
    """PyTorch's cell."""
    import torch

    place = device_like(device.backend)
    cells = {"elman": torch.nn.RNNCell, "gru": torch.nn.GRUCell, "lstm": torch.nn.LSTMCell}
    module = cells[cell](hidden, hidden).to(place)
    weights = initial_weights(cell, hidden)
    module.load_state_dict({name.removesuffix("_l0"): torch.from_numpy(weight) for name, weight in weights.items()})

    def step(state: Any, inputs: Any) -> tuple[Any, Any]:
        state = module(inputs, state)
        return state, state[0] if cell == "lstm" else state

    inputs = torch.from_numpy(input_of_a_step(hidden)).to(place)
    return Programs({STEP: waiting(chained(step, None, inputs), place)}, torch.inference_mode)


def build_numpy(cell: str, hidden: int, counts: list[int], device: Device) -> Programs:
    """The equations in NumPy, which computes on the CPU whatever the device is."""
    weights = initial_weights(cell, hidden)
    W, U = (np.ascontiguousarray(weights[name].T) for name in ("weight_ih_l0", "weight_hh_l0"))
    b, c = weights["bias_ih_l0"], weights["bias_hh_l0"]
    both, zero = b + c, np.zeros((1, hidden), np.float32)

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def elman(h: Any, x: Any) -> tuple[Any, Any]:
        h = np.tanh(x @ W + h @ U + both)
        return h, h

    def gru(h: Any, x: Any) -> tuple[Any, Any]:
        from_x, from_h = (x @ W + b).reshape(3, 1, hidden), (h @ U + c).reshape(3, 1, hidden)
        r, z = sigmoid(from_x[:2] + from_h[:2])
        h = z * h + (1 - z) * np.tanh(from_x[2] + r * from_h[2])
        return h, h

    def lstm(state: Any, x: Any) -> tuple[Any, Any]:
        h, c = state
        i, f, g, o = (x @ W + h @ U + both).reshape(4, 1, hidden)  # for B = 1; np.split is slower
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return (h, c), h

    step: Any = {"elman": elman, "gru": gru, "lstm": lstm}[cell]
    return Programs({STEP: chained(step, (zero, zero) if cell == "lstm" else zero, input_of_a_step(hidden))})
