"""One step of a tracker, from a sample to an estimate, in each way that is measured; all have the same weights.

The tracker is a cell with one input and a dense readout to one number. A library is imported only where it is used.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Step = Callable[[Any, float], tuple[Any, Any]]
"""``(state, sample) -> (new state, estimate)``."""

CELLS = {"gru": 3, "lstm": 4}
"""How many gates each has."""


class Way(NamedTuple):
    """How a step is done."""

    title: str
    build: Callable[[str, int], tuple[Step, Any]]  # (cell, hidden) -> a step and the first state


def weights_of(cell: str, hidden: int) -> dict[str, np.ndarray]:
    """Weights by PyTorch's names, drawn as it draws them, uniformly within 1 / sqrt(H); the readout's as well."""
    draw, bound, rows = np.random.default_rng(0), hidden**-0.5, CELLS[cell] * hidden
    shapes = {
        "weight_ih_l0": (rows, 1),
        "weight_hh_l0": (rows, hidden),
        "bias_ih_l0": (rows,),
        "bias_hh_l0": (rows,),
        "readout": (hidden, 1),
    }
    return {name: draw.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}


def nothing(cell: str, hidden: int) -> tuple[Step, Any]:
    """A step without a network, which shows what the loop and the pipe take."""
    return lambda state, sample: (state, sample), None


def in_numpy(cell: str, hidden: int) -> tuple[Step, Any]:
    """The equations written out for B = 1."""
    weights = weights_of(cell, hidden)
    W, U = (np.ascontiguousarray(weights[name].T) for name in ("weight_ih_l0", "weight_hh_l0"))
    b, c, readout = weights["bias_ih_l0"], weights["bias_hh_l0"], weights["readout"][:, 0]
    W, both, zero = W[0], b + c, np.zeros(hidden, np.float32)

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def gru(h: Any, x: float) -> tuple[Any, Any]:
        from_x, from_h = (np.float32(x) * W + b).reshape(3, hidden), (h @ U + c).reshape(3, hidden)
        r, z = sigmoid(from_x[:2] + from_h[:2])
        h = z * h + (1 - z) * np.tanh(from_x[2] + r * from_h[2])
        return h, h @ readout

    def lstm(state: Any, x: float) -> tuple[Any, Any]:
        h, c = state
        i, f, g, o = (np.float32(x) * W + h @ U + both).reshape(4, hidden)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return (h, c), h @ readout

    return (lstm, (zero, zero)) if cell == "lstm" else (gru, zero)


def in_torch(cell: str, hidden: int) -> tuple[Step, Any]:
    """PyTorch's cell under ``inference_mode`` in one thread; more threads are slower for products as small as these."""
    import torch

    torch.set_num_threads(1)
    weights = {name: torch.from_numpy(weight) for name, weight in weights_of(cell, hidden).items()}
    readout = torch.nn.Linear(hidden, 1, bias=False)
    readout.load_state_dict({"weight": weights.pop("readout").T})
    module = {"gru": torch.nn.GRUCell, "lstm": torch.nn.LSTMCell}[cell](1, hidden)
    module.load_state_dict({name.removesuffix("_l0"): weight for name, weight in weights.items()})

    def step(state: Any, sample: float) -> tuple[Any, Any]:
        with torch.inference_mode():
            state = module(torch.tensor([[sample]]), state)
            return state, readout(state[0] if cell == "lstm" else state)

    return step, None


def in_flax(cell: str, hidden: int) -> tuple[Step, Any]:
    """flax.linen's cell, jitted as rnnjax's is: params constant, state donated, dispatched synchronously."""
    import flax.linen as nn
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    module = nn.GRUCell(hidden) if cell == "gru" else nn.OptimizedLSTMCell(hidden)
    variables = {"params": flax_params(cell, hidden)}
    readout = weights_of(cell, hidden)["readout"][:, 0]

    def step(state: Any, sample: Any) -> tuple[Any, Any]:
        state, output = module.apply(variables, state, sample[None])
        return state, output @ readout

    start = module.initialize_carry(jax.random.key(0), (1,))
    return with_numpy(jax.jit(step, donate_argnums=0)), start


def flax_params(cell: str, hidden: int) -> dict[str, dict[str, np.ndarray]]:
    """For each gate a dense layer of the inputs and one of the state, where flax has the LSTM's biases."""
    weights, names = weights_of(cell, hidden), {"gru": "rzn", "lstm": "ifgo"}[cell]
    gates = {name: np.split(weight, len(names)) for name, weight in weights.items() if name != "readout"}
    found: dict[str, dict[str, np.ndarray]] = {}
    for place, name in enumerate(names):
        W, U, b, c = (each[place] for each in gates.values())
        found[f"i{name}"], found[f"h{name}"] = {"kernel": W.T}, {"kernel": U.T}
        if cell == "lstm":
            found[f"h{name}"]["bias"] = b + c
        elif name == "n":
            found["in"]["bias"], found["hn"]["bias"] = b, c
        else:
            found[f"i{name}"]["bias"] = b + c
    return found


def in_rnnjax(
    cell: str, hidden: int, *, constant: bool = True, donated: bool = True, ahead: bool = False, waits: bool = True
) -> tuple[Step, Any]:
    """``cell.step``, jitted, as ``experiments.tracking.stream`` does it or with one thing changed.

    Args:
        cell: the cell's name.
        hidden: H.
        constant: whether the params are constants of the program, or arguments of each call.
        donated: whether the state's memory is used for the new one.
        ahead: whether what is called was compiled by ``.lower(...).compile()``.
        waits: whether a program is run by the thread that calls it, or by another one, which is JAX's default.
    """
    import jax

    import rnnjax
    from rnnjax.adapters.torch import from_torch

    jax.config.update("jax_cpu_enable_async_dispatch", not waits)
    weights = weights_of(cell, hidden)
    readout = jax.numpy.asarray(weights.pop("readout")[:, 0])
    network = rnnjax.gru(hidden, reset="after") if cell == "gru" else rnnjax.lstm(hidden)
    (params,) = from_torch(weights, cell)
    start = network.initial_state(params, ())

    def step(given: Any, state: Any, sample: Any) -> tuple[Any, Any]:
        params, readout = given
        state, output = network.step(params, state, sample[None])
        return state, output @ readout

    given = params, readout
    called: Any
    if constant:
        called = jax.jit(lambda state, sample: step(given, state, sample), donate_argnums=0 if donated else ())
    else:
        called = jax.jit(step, donate_argnums=1 if donated else ())
    before = () if constant else (given,)
    if ahead:
        called = called.lower(*before, start, np.float32(0)).compile()
    return with_numpy(lambda state, sample: called(*before, state, sample)), start


def with_numpy(jitted: Callable[[Any, Any], tuple[Any, Any]]) -> Step:
    """A step that gives its sample to JAX as NumPy has it, which is the fastest way in."""
    return lambda state, sample: jitted(state, np.float32(sample))


def otherwise(**options: bool) -> Callable[[str, int], tuple[Step, Any]]:
    """``in_rnnjax`` with one thing changed."""
    return lambda cell, hidden: in_rnnjax(cell, hidden, **options)


OURS = "rnnjax"

WAYS = {
    "nothing": Way("no network", nothing),
    OURS: Way("rnnjax", in_rnnjax),
    "not_donated": Way("rnnjax, state not donated", otherwise(donated=False)),
    "arguments": Way("rnnjax, params as arguments", otherwise(constant=False)),
    "ahead": Way("rnnjax, compiled ahead", otherwise(ahead=True)),
    "asynchronous": Way("rnnjax, asynchronous", otherwise(waits=False)),
    "flax": Way("flax", in_flax),
    "torch": Way("PyTorch, one thread", in_torch),
    "numpy": Way("NumPy", in_numpy),
}
"""All ways, in the order of the table."""
