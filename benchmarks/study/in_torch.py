"""The gradient-flow study in PyTorch, as a script of its own: what ``benchmarks.study`` compares with.

    python -m benchmarks.study.in_torch --method=autograd.grad --processes=2

These are loops over cells, step by step, as PyTorch's documentation has them. Where a cell is written out, its input
projection is computed for all steps at once. Weights have the same distribution as in rnnjax, and inputs are the same.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import torch
from absl import app, flags
from torch import Tensor, nn

from benchmarks.common import arguments
from benchmarks.common.pytorch import device_like
from benchmarks.study import script
from benchmarks.study.script import Norms, Settings, name_of

FLAGS = flags.FLAGS

ACTIVATIONS = {"elman_tanh": torch.tanh, "elman_relu": torch.relu, "elman_sigmoid": torch.sigmoid, "irnn": torch.relu}


def main(argv: list[str]) -> None:
    timeline = script.begin()
    with arguments.refusals("study_torch"):
        settings = script.settings()
    with timeline.during("inputs"):
        inputs = settings.inputs()
    measure = partial(of_seed, settings, FLAGS.method, FLAGS.threads, FLAGS.backend)
    with timeline.during("running"):
        if FLAGS.processes == 1:
            found = list(map(measure, range(settings.seeds), inputs))
        else:
            with ProcessPoolExecutor(FLAGS.processes, get_context("spawn")) as pool:
                found = list(pool.map(measure, range(settings.seeds), inputs))
    script.finish(timeline, {name: np.stack([norms[name] for norms in found]) for name in found[0]})


def of_seed(settings: Settings, method: str, threads: int, backend: str, seed: int, inputs: np.ndarray) -> Norms:
    """The norms (L, T) of every network, with weights and inputs (T, B, H) of one seed."""
    if threads:
        torch.set_num_threads(threads)
    place = device_like(backend)
    torch.set_default_device(place)
    torch.manual_seed(seed)
    found = {}
    for cell in settings.cells:
        for depth in settings.depths:
            network = [layer_of(cell, settings.hidden) for _ in range(depth)]
            found[name_of(cell, depth)] = norms(network, torch.from_numpy(inputs).to(place), method).cpu().numpy()
    return found


def norms(network: list["Layer"], inputs: Tensor, method: str) -> Tensor:
    """||dL/dh_t|| of the whole batch, (L, T)."""
    states: list[Tensor] = []
    outputs = list(inputs.unbind())
    for layer in network:
        outputs = layer.run(outputs)
        states += outputs
    loss = outputs[-1].square().sum()
    if method == "autograd.grad":
        gradients = torch.autograd.grad(loss, states)
    else:
        for state in states:
            state.retain_grad()
        loss.backward()
        gradients = [state.grad for state in states]
    return torch.stack(gradients).flatten(1).norm(dim=1).view(len(network), len(inputs))


# Layers


class Layer(NamedTuple):
    """A layer's weights, and the function that takes its inputs at every step to its states h_t."""

    kernel: Tensor  # (G H, H), G = 1, 3 or 4 gates
    recurrent_kernel: Tensor  # (G H, H)
    bias: Tensor  # (G H,)
    run: Callable[[list[Tensor]], list[Tensor]]


def layer_of(cell: str, hidden: int) -> Layer:
    """A layer of one of the ``CELLS``, with weights of the same distribution as rnnjax's."""
    layer = _elman(hidden, ACTIVATIONS[cell]) if cell in ACTIVATIONS else _gated(cell, hidden)
    gates = len(layer.bias) // hidden
    deviation = hidden**-0.5 / 0.87962566  # of a normal whose cut at two deviations leaves LeCun's
    nn.init.trunc_normal_(layer.kernel, std=deviation, a=-2 * deviation, b=2 * deviation)
    for block in layer.recurrent_kernel.detach().chunk(gates):
        if cell == "irnn":
            nn.init.eye_(block)
        else:
            nn.init.orthogonal_(block)
    nn.init.zeros_(layer.bias)
    if cell == "lstm":
        nn.init.ones_(layer.bias.detach()[hidden : 2 * hidden])  # the forget gate's
    return layer


def _elman(hidden: int, activation: Callable[[Tensor], Tensor]) -> Layer:
    of_input, recurrent = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)

    def run(inputs: list[Tensor]) -> list[Tensor]:
        weight = recurrent.weight.t()
        state = torch.zeros_like(inputs[0])
        states = []
        for drive in of_input(torch.stack(inputs)).unbind():
            state = activation(torch.addmm(drive, state, weight))
            states.append(state)
        return states

    return Layer(of_input.weight, recurrent.weight, of_input.bias, run)


def _gated(cell: str, hidden: int) -> Layer:
    module = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}[cell](hidden, hidden)
    nn.init.zeros_(module.bias_hh)

    def run(inputs: list[Tensor]) -> list[Tensor]:
        state, states = None, []
        for x in inputs:
            state = module(x, state)
            states.append(state[0] if cell == "lstm" else state)
        return states

    return Layer(module.weight_ih, module.weight_hh, module.bias_ih, run)


def define_flags() -> None:
    script.define_flags()
    script.define_record_flag()
    methods = ["retain_grad", "autograd.grad"]
    flags.DEFINE_enum(
        "method", "retain_grad", methods, "By backward(), or by autograd.grad with respect to the states alone."
    )
    flags.DEFINE_enum("backend", "cpu", ["cpu", "gpu", "tpu"], "The device to compute on, by JAX's name for it.")
    flags.DEFINE_integer("threads", 1, "PyTorch's threads in each process; 0 takes its default.", lower_bound=0)
    flags.DEFINE_integer("processes", 1, "Processes, among which the seeds are divided.", lower_bound=1)


if __name__ == "__main__":
    define_flags()
    app.run(main)
