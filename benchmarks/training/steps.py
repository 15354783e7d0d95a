"""The training step, here and in PyTorch, from the same weights and on the same characters."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
import optax
from flax.training.train_state import TrainState
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import rnnjax
from benchmarks.common.device import Device, take
from benchmarks.common.pytorch import device_like, waiting
from experiments.networks import character_model
from rnnjax.adapters.torch import from_torch, to_torch

LAYERS = 2
LEARNING_RATE = 1e-3
CLIP_NORM = 1.0

Weights = dict[str, np.ndarray]
"""All weights by the names that PyTorch gives them."""


class Size(NamedTuple):
    steps: int
    batch: int
    vocabulary: int
    hidden: int
    a_call: int  # training steps


class Trainer(NamedTuple):
    call: Callable[[], list[float]]  # trains on the next windows, returns their losses
    weights: Callable[[], Weights]


def initial_weights(size: Size) -> Weights:
    """Weights drawn as PyTorch draws them, uniformly within 1 / sqrt(H); the second biases are zero."""
    rows, bound = 4 * size.hidden, size.hidden**-0.5
    shapes: dict[str, tuple[int, ...]] = {"readout.weight": (size.vocabulary, size.hidden)}
    shapes["readout.bias"] = (size.vocabulary,)
    for layer in range(LAYERS):
        shapes[f"lstm.weight_ih_l{layer}"] = (rows, size.hidden if layer else size.vocabulary)
        shapes[f"lstm.weight_hh_l{layer}"] = (rows, size.hidden)
        shapes[f"lstm.bias_ih_l{layer}"] = (rows,)
    draw = np.random.default_rng(0)
    weights = {name: draw.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}
    return weights | {f"lstm.bias_hh_l{layer}": np.zeros(rows, np.float32) for layer in range(LAYERS)}


def windows(size: Size) -> Iterator[np.ndarray]:
    """Endless windows of tokens (S, T + 1, B), S to a call, the same for all; some characters are more frequent."""
    draws = np.random.default_rng(1).random((8, size.steps + 1, size.batch))
    each = itertools.cycle((size.vocabulary * draws**2).astype(np.int32))
    while True:
        yield np.stack(list(itertools.islice(each, size.a_call)))


def train_rnnjax(way: str, size: Size, device: Device) -> Trainer:
    """The training step of ``experiments.networks.character_model``, several in a dispatch, on one device or two."""
    mesh = Mesh(take(2 if way.endswith("2_devices") else 1, device), ("batch",))
    whole, columns = PartitionSpec(), PartitionSpec(None, None, "batch")
    cell = rnnjax.stack(*(rnnjax.lstm(size.hidden) for _ in range(LAYERS)))
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(LEARNING_RATE))

    def train_step(state: TrainState, tokens: jax.Array) -> tuple[TrainState, jax.Array]:
        state, loss = character_model.train_step(cell, state, tokens)
        return state, loss

    def train_steps(state: TrainState, tokens: jax.Array) -> tuple[TrainState, jax.Array]:
        return jax.lax.scan(train_step, state, tokens)

    def train_steps_of_a_device(state: TrainState, tokens: jax.Array) -> tuple[TrainState, jax.Array]:
        state, losses = train_steps(state, tokens)
        return state, jax.lax.pmean(losses, "batch")

    if way == "shard_map_2_devices":
        average = optax.stateless(lambda gradients, _: jax.lax.pmean(gradients, "batch"))
        optimizer = optax.chain(average, optimizer)
        divided = functools.partial(jax.shard_map, mesh=mesh, in_specs=(whole, columns), out_specs=whole)
        step = jax.jit(divided(train_steps_of_a_device, check_vma=False), donate_argnums=0)
    else:
        step = jax.jit(train_steps, donate_argnums=0)

    state = TrainState.create(apply_fn=None, params=params_of(initial_weights(size)), tx=optimizer)
    state = jax.device_put(state, NamedSharding(mesh, whole))
    tokens = windows(size)

    def train() -> list[float]:
        nonlocal state
        state, losses = step(state, jax.device_put(next(tokens), NamedSharding(mesh, columns)))
        return np.asarray(jax.block_until_ready((state, losses))[1]).tolist()

    return Trainer(train, lambda: weights_of(state.params))


def params_of(weights: Weights) -> character_model.CharacterParams:
    readout = {"kernel": jax.numpy.asarray(weights["readout.weight"].T), "bias": weights["readout.bias"]}
    return character_model.CharacterParams(from_torch(weights, "lstm", "lstm."), {"params": readout})


def weights_of(params: character_model.CharacterParams) -> Weights:
    readout = {"readout.weight": params.readout["params"]["kernel"].T, "readout.bias": params.readout["params"]["bias"]}
    recurrent = {f"lstm.{name}": weight for name, weight in to_torch(params.recurrent).items()}
    return recurrent | {name: np.asarray(weight) for name, weight in readout.items()}


def train_torch(way: str, size: Size, device: Device) -> Trainer:
    """The same training steps in PyTorch, with its own kernels and number of threads."""
    import torch

    place = device_like(device.backend)
    lstm = torch.nn.LSTM(size.vocabulary, size.hidden, LAYERS)
    readout = torch.nn.Linear(size.hidden, size.vocabulary)
    model = torch.nn.ModuleDict({"lstm": lstm, "readout": readout})
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in initial_weights(size).items()})
    model.to(place)
    for layer in range(LAYERS):
        getattr(lstm, f"bias_hh_l{layer}").requires_grad_(False)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(trained, LEARNING_RATE)
    numbers = windows(size)

    def train_step(window: np.ndarray) -> float:
        tokens = torch.from_numpy(window).to(place).long()
        optimizer.zero_grad()
        outputs, _ = lstm(torch.nn.functional.one_hot(tokens[:-1], size.vocabulary).float())
        loss = torch.nn.functional.cross_entropy(readout(outputs).flatten(0, 1), tokens[1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, CLIP_NORM)
        optimizer.step()
        return loss.item()

    def train() -> list[float]:
        return [train_step(window) for window in next(numbers)]

    return Trainer(
        waiting(train, place), lambda: {name: weight.cpu().numpy() for name, weight in model.state_dict().items()}
    )
