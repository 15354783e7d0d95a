"""Every command is a process of its own, timed from outside; the commands take turns and must measure the same."""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks.common.device import ROOT, Device, environment
from benchmarks.study.script import Norms, Settings

CACHES = ("cold", "warm")
"""The cache of compiled programs when a command starts: empty, or filled by the command before."""

Record = dict[str, Any]
"""One command: ``seconds`` and ``processor_seconds`` of each round, ``phases`` and, of the last round, ``timeline``."""


class Command(NamedTuple):
    """A script with its flags."""

    script: str
    flags: tuple[str, ...]
    devices: int = 0
    cache: str = ""  # the state of its cache of compiled programs, cold or warm; empty for PyTorch, which has none

    @property
    def name(self) -> str:
        if not self.devices:
            return ", ".join(["PyTorch", *(flag.removeprefix("--").removeprefix("method=") for flag in self.flags)])
        return name_of_ours(self.cache, self.devices)


def name_of_ours(cache: str, devices: int) -> str:
    return f"rnnjax, {cache} cache, {devices_in_words(devices)}"


def devices_in_words(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"


class Effort(NamedTuple):
    """How often things are measured, and with how many threads in PyTorch."""

    rounds: int
    repeats: int  # how often the compiled programs are run again, to compare devices
    torch_threads: int


def commands(devices: list[int], with_torch: bool) -> list[Command]:
    """All commands of a round; the one with a cold cache fills it for the one with a warm cache after it."""
    ours = [Command("rnnjax", (), count, cache) for count in devices for cache in CACHES]
    theirs = [
        Command("torch", ("--method=retain_grad",)),
        Command("torch", ("--method=autograd.grad",)),
        Command("torch", ("--method=autograd.grad", "--processes=2")),
    ]
    return ours + (theirs if with_torch else [])


def measure(
    settings: Settings, devices: list[int], device: Device, effort: Effort, with_torch: bool
) -> tuple[list[Record], dict[int, list[float]]]:
    """A record of every command, which take turns, and seconds of running all programs again, by number of devices."""
    todo = commands(devices, with_torch)
    records: list[Record] = [{"name": one.name, "seconds": [], "processor_seconds": [], "phases": []} for one in todo]
    again: dict[int, list[float]] = {count: [] for count in devices}
    norms: list[Norms] = [{} for _ in todo]
    with tqdm(total=effort.rounds * (len(todo) + len(devices)), disable=None) as bar:
        for _ in range(effort.rounds):
            with tempfile.TemporaryDirectory() as caches:
                for place, one in enumerate(todo):
                    norms[place] = time_command(run(one, settings, device, effort, Path(caches)), records[place])
                    bar.update()
                for count in devices:
                    repeated = Command("rnnjax", (f"--repeats={effort.repeats}",), count, "warm")
                    with run(repeated, settings, device, effort, Path(caches)) as folder:
                        again[count].append(
                            statistics.median(json.loads((folder / "timeline.json").read_text())["again"])
                        )
                    bar.update()
    check(todo, norms)
    return records, again


def time_command(running: AbstractContextManager[Path], record: Record) -> Norms:
    """Runs a command once and adds what that took to the record."""
    busy, start = processor_seconds(), time.time()
    with running as folder:
        stop = time.time()
        record["seconds"].append(stop - start)
        record["processor_seconds"].append(processor_seconds() - busy)
        done = json.loads((folder / "timeline.json").read_text())
        events = [["importing", "", 0, start, done["begun"]], *done["events"]]
        threads = list(dict.fromkeys(event[2] for event in events[1:]))
        record["timeline"] = [
            [phase, subject, threads.index(thread) if thread else 0, begin - start, end - start]
            for phase, subject, thread, begin, end in events
        ]
        phases: Counter[str] = Counter()
        for phase, _, _, begin, end in record["timeline"]:
            phases[phase] += end - begin
        record["phases"].append(phases)
        with np.load(folder / "norms.npz") as norms:
            return dict(norms)


@contextmanager
def run(one: Command, settings: Settings, device: Device, effort: Effort, caches: Path) -> Iterator[Path]:
    """Runs a command and yields the folder with its record."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", f"benchmarks.study.in_{one.script}", f"--record={folder}", *one.flags]
        if one.devices:
            words += [f"--devices={one.devices}", f"--cache={caches / str(one.devices)}"]
        else:
            words += [f"--threads={effort.torch_threads}", f"--backend={device.backend}"]
        subprocess.run(
            [*words, *settings.as_flags()],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment(device) | {"JAX_ENABLE_COMPILATION_CACHE": "true"},
        )
        yield Path(folder)


def processor_seconds() -> float:
    """Processor time of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def check(todo: list[Command], norms: list[Norms]) -> None:
    """Raises unless all commands have measured the same."""
    first = {name: array.shape for name, array in norms[0].items()}
    for one, found in zip(todo, norms, strict=True):
        if {name: array.shape for name, array in found.items()} != first:
            raise AssertionError(f"{one.name} has measured other networks than {todo[0].name}")
        if not all(np.isfinite(array).all() and array.any() for array in found.values()):
            raise AssertionError(f"{one.name} has norms that are not finite, or nothing but zeros")
        if one.devices and not all(np.allclose(array, norms[0][name]) for name, array in found.items()):
            raise AssertionError(f"{one.name} has other norms than {todo[0].name}, from the same weights")
