"""PyTorch's layers, and how gradients through time are measured there."""

from typing import Any

from benchmarks.common.device import Device
from benchmarks.common.pytorch import device_like, waiting
from benchmarks.common.workload import FORWARD, GRADIENT
from benchmarks.unroll.peers.layer import FLOW, Programs, Shape, same_cell


def build_torch(cell: str, shape: Shape, device: Device) -> Programs:
    """``torch.nn`` layers over whole sequences, with PyTorch's own kernels and number of threads."""
    import torch

    place = device_like(device.backend)
    cells = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru_reset_after": torch.nn.GRU}
    layer = same_cell(cell, cells)(shape.input_size, shape.hidden_size).to(place)
    inputs = torch.randn(shape[:3], device=place)

    def forward() -> Any:
        with torch.no_grad():
            return layer(inputs)[0]

    def gradient() -> None:
        layer.zero_grad()
        layer(inputs)[0].square().sum().backward()

    weights = sum(weight.numel() for weight in layer.parameters() if weight.ndim == 2)
    calls = {FORWARD: waiting(forward, place), GRADIENT: waiting(gradient, place)}
    return Programs(calls, tuple(forward().shape), weights)


def build_torch_loop(cell: str, shape: Shape, device: Device) -> Programs:
    """``torch.nn`` cells in a loop, ``retain_grad`` on every hidden state: how PyTorch gives the norms of dL/dh_t."""
    import torch

    place = device_like(device.backend)
    cells = {"elman": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru_reset_after": torch.nn.GRUCell}
    step = same_cell(cell, cells)(shape.input_size, shape.hidden_size).to(place)
    inputs = torch.randn(shape[:3], device=place)

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
