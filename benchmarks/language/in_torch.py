"""Trains the GPT, in a process of its own: python -m benchmarks.language.in_torch FOLDER, as measure.py does it."""

import copy
import time
from typing import Any

import numpy as np
import torch

from benchmarks.common.pytorch import device_like
from benchmarks.language import task
from benchmarks.language.gpt import BATCH, GPT, learning_rate, losses, make_optimizer, train_step
from benchmarks.language.task import CONTEXT, Snapshot, Task

READ_AT_ONCE = 64  # windows of the held-out text


def train(given: Task) -> task.Record:
    """Trains for all iterations, then evaluates the weights that were kept on the way on the held-out text."""
    place = device_like(given.backend)
    torch.set_num_threads(given.torch_threads or torch.get_num_threads())
    torch.manual_seed(given.seed)
    tokens = torch.from_numpy(given.train).to(place).long()
    model = GPT(given.different).to(place)
    optimizer, within = make_optimizer(model), torch.arange(CONTEXT + 1, device=place)
    kept: list[tuple[float, int, Any]] = []
    begun = time.time()
    for iteration in range(given.iterations):
        starts = torch.randint(len(tokens) - CONTEXT, (BATCH,), device=place)
        windows = tokens[starts[:, None] + within]
        train_step(model, optimizer, windows, learning_rate(iteration, given.iterations))
        done = iteration + 1
        if done * given.evaluations // given.iterations > iteration * given.evaluations // given.iterations:
            weights = copy.deepcopy(model.state_dict())
            kept.append((time.time(), done, weights))

    snapshots = []
    for when, done, weights in kept:
        model.load_state_dict(weights)
        snapshots.append(Snapshot(when, done, *held_out(model, given.windows)))
    params = sum(param.numel() for param in model.parameters())
    return task.record(params, begun, BATCH * CONTEXT, snapshots)


def held_out(model: GPT, windows: np.ndarray) -> tuple[float, float]:
    """Nats a character of windows (N, T + 1) that overlap by half: of all second halves, and of every second window."""
    place = next(model.parameters()).device
    parts = torch.from_numpy(windows).to(place).long().split(READ_AT_ONCE)
    with torch.inference_mode():
        found = torch.cat([losses(model, part) for part in parts]).double()
    return found[:, found.shape[1] // 2 :].mean().item(), found[::2].mean().item()


if __name__ == "__main__":
    task.run(train)
