"""Both libraries write in processes of their own, which take turns; before that they must write the same text."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.common.device import Device
from benchmarks.common.measure import elapsed, pooled_median, ratio, sample
from benchmarks.common.worker import Answer, serve, workers
from benchmarks.generation.network import Size, Writer

OWN = "rnnjax"
LOOPS = ("cell", "layer", "cell, 1 thread", "layer, 1 thread")
"""The loops in PyTorch, by their module, and by the number of threads where it is not PyTorch's own choice."""

CHECKED = 50  # characters of each text that must be the same in both libraries
TOLERANCE = 1e-3  # how far the logits after them may differ, relative to the largest

Record = dict[str, Any]
"""A way of writing, in one case: ``skipped``, a reason, or ``rounds`` of seconds, and what these give."""


def measure(sizes: list[Size], device: Device, rounds: int) -> list[Record]:
    """One record for each way in each case; the ways take turns."""
    records: list[Record] = []
    with workers("benchmarks.generation.measure", (OWN, "torch"), device) as (own, torch):
        ways = {OWN: own} | dict.fromkeys(LOOPS, torch)
        for size in tqdm(sizes, desc="cases", disable=None):
            case: dict[str, Record] = {}
            with tempfile.TemporaryDirectory() as folder:
                for way, worker in ways.items():
                    answer = worker.ask(size=size, way=way, save_to=f"{folder}/{way}.npz")
                    case[way] = {"way": way, "size": size} | answer
                able = [way for way in ways if "skipped" not in case[way]]
                for way in able:
                    case[way] |= {"rounds": []} | agreement(size, Path(folder) / f"{way}.npz", Path(folder))
            for _ in range(rounds):
                for way in able:
                    case[way]["rounds"].append(ways[way].ask(size=size, way=way)["samples"])
            records.extend(summarize(case))
    return records


def agreement(size: Size, found: Path, folder: Path) -> Record:
    """How far logits are from rnnjax's; an ``AssertionError`` if that is more than rounding, or the texts differ."""
    with np.load(found) as theirs, np.load(folder / f"{OWN}.npz") as ours:
        alike = float((theirs["tokens"] == ours["tokens"]).mean())
        difference = float(np.abs(theirs["logits"] - ours["logits"]).max() / np.abs(ours["logits"]).max())
    if alike != 1 or not difference <= TOLERANCE:
        told = f"{alike:.1%} of its characters, logits {difference:.1e} apart"
        raise AssertionError(f"{found.stem} at {size} writes another text than {OWN}: the same in {told}")
    return {"logit_difference": difference}


def summarize(case: dict[str, Record]) -> list[Record]:
    """The records with medians, characters a second, and these as a multiple of the fastest loop's."""
    able = {way: record for way, record in case.items() if "rounds" in record}
    for record in able.values():
        record["median_seconds"] = pooled_median(record["rounds"])
        record["characters_per_second"] = record["size"].length * record["size"].streams / record["median_seconds"]
    loops = [record for way, record in able.items() if way != OWN]
    if loops:
        fastest = min(loops, key=lambda record: record["median_seconds"])
        for record in able.values():
            record["speed"] = ratio(fastest["rounds"], record["rounds"])  # speeds are inverse to times
    return list(case.values())


# The worker


def work(name: str, device: Device) -> Answer:
    """When it is to save, writes greedily, saves that text and draws once; otherwise draws and is timed."""
    threads = 0

    @functools.cache
    def writer(size: Size, way: str) -> Writer:
        if name == OWN:
            from benchmarks.generation import in_rnnjax

            return in_rnnjax.write(size)
        from benchmarks.generation import in_torch

        return in_torch.write(size, way.partition(",")[0], device.backend)

    def answer(size: list[Any], way: str, save_to: str | None = None) -> Record:
        nonlocal threads
        if name != OWN:
            import torch

            threads = threads or torch.get_num_threads()
            torch.set_num_threads(1 if way.endswith("1 thread") else threads)
        if save_to:
            checked = Size(*size)._replace(length=CHECKED)
            tokens, logits = writer(checked, way).greedy()
            np.savez(save_to, tokens=tokens, logits=logits)
            return {"first_seconds": elapsed(writer(Size(*size), way).draw)}
        return {"samples": sample({"text": writer(Size(*size), way).draw}, 1)["text"]}

    return answer


if __name__ == "__main__":
    serve(work)
