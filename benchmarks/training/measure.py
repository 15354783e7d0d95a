"""Every way of training has a worker; the ways take turns, and must train alike."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.common.device import Device
from benchmarks.common.measure import elapsed, pooled_median, ratio, sample
from benchmarks.common.worker import Answer, serve, workers
from benchmarks.training.steps import Size, Trainer, initial_weights, train_rnnjax, train_torch

WAYS = ("rnnjax", "jit_2_devices", "shard_map_2_devices", "torch")
LOSS_TOLERANCE = 1e-4  # relative
WEIGHT_TOLERANCE = 1e-3  # relative to how far the weights have moved

Record = dict[str, Any]
"""One way of training at one size: either ``skipped``, a reason, or ``rounds`` of seconds, and what these give."""


def measure(sizes: list[Size], device: Device, rounds: int, repeats: int) -> list[Record]:
    """One record for each way at each size; the ways take turns."""
    records: list[Record] = []
    with workers("benchmarks.training.measure", WAYS, device) as crew, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for size in tqdm(sizes, desc="sizes", disable=None):
            case: dict[str, Record] = {}
            for worker in crew:
                answer = worker.ask(size=size, repeats=0, save_to=str(folder / f"{worker.name}.npz"))
                case[worker.name] = {"way": worker.name, "size": size} | answer
            able = [worker for worker in crew if "skipped" not in case[worker.name]]
            for worker in able:
                case[worker.name] |= {"rounds": []} | agreement(case[worker.name], case["rnnjax"], folder)
            for _ in range(rounds):
                for worker in able:
                    case[worker.name]["rounds"].append(worker.ask(size=size, repeats=repeats)["samples"])
            records.extend(summarize(record, case["torch"]) for record in case.values())
    return records


def agreement(record: Record, reference: Record, folder: Path) -> Record:
    """How far losses and weights are from the reference's; an ``AssertionError`` if that is more than rounding."""
    losses = np.divide(record["losses"], reference["losses"])
    start = initial_weights(record["size"])
    with np.load(folder / f"{record['way']}.npz") as ours, np.load(folder / f"{reference['way']}.npz") as other:
        difference = sum(float(np.sum((ours[name] - other[name]) ** 2)) for name in start)
        moved = sum(float(np.sum((other[name] - start[name]) ** 2)) for name in start)
    found = {"loss_difference": float(np.abs(losses - 1).max()), "weight_difference": (difference / moved) ** 0.5}
    if not (found["loss_difference"] <= LOSS_TOLERANCE and found["weight_difference"] <= WEIGHT_TOLERANCE):
        raise AssertionError(f"{record['way']} at {record['size']} trains differently: {found}")
    return found


def summarize(record: Record, torch: Record) -> Record:
    """The record with its median, characters per second, and those as a multiple of PyTorch's."""
    if "skipped" in record:
        return record
    size = record["size"]
    record["median_seconds"] = pooled_median(record["rounds"])
    record["characters_per_second"] = size.steps * size.batch / record["median_seconds"]
    if "rounds" in torch:
        record["speed"] = ratio(torch["rounds"], record["rounds"])  # speeds are inverse to times
    return record


# The worker


def work(way: str, device: Device) -> Answer:
    """Trains in one call and saves the weights, then makes more calls and times them; seconds are those of a step."""
    build = train_torch if way == "torch" else train_rnnjax

    @functools.lru_cache(maxsize=1)
    def prepared(size: Size) -> Trainer:
        return build(way, size, device)

    def answer(size: list[int], repeats: int, save_to: str | None = None) -> Record:
        trainer = prepared(Size(*size))
        if save_to:
            losses: list[float] = []
            first = elapsed(lambda: losses.extend(trainer.call()))
            np.savez(save_to, **trainer.weights())  # type: ignore[arg-type]
            return {"first_seconds": first, "losses": losses}
        seconds = sample({"call": trainer.call}, repeats)["call"]
        return {"samples": [each / size[-1] for each in seconds]}

    return answer


if __name__ == "__main__":
    serve(work)
