"""How long does a whole gradient-flow study take, from process start, here and in PyTorch, and where does time go?

    python -m benchmarks.study
    python -m benchmarks.study --quick
    python -m benchmarks.study --cells=lstm,gru --depths=1,8 --seeds=100 --devices=1,4

Six cells at three depths with twenty seeds, at initialization: ||dL/dh_t|| at every step and layer, for a loss at the
last step. Two scripts do the same: ``benchmarks.study.in_rnnjax``, with an empty and with a filled cache of compiled
programs, and ``benchmarks.study.in_torch``. Each command is a process of its own, they take turns, and are timed from
outside; each records what its threads did and when.
"""

import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags
from matplotlib.figure import Figure
from tabulate import tabulate
from tqdm import tqdm

from benchmarks.common import command
from benchmarks.common.measure import describe_machine, ratio
from benchmarks.study import script
from benchmarks.study.script import CELLS, Norms, Settings
from rnnjax.names import lookup

QUICK = {"steps": 10, "batch": 2, "hidden": 4, "depths": ["1"], "seeds": 2, "rounds": 1, "repeats": 2}
PHASES = {"importing": "0.85", "tracing": "0.6", "compiling": "0.35", "running": "0.0"}
"""Most of what a command does, with shades of grey. To take a program from the cache is compiling, too."""
TARGETS = {"cold": 1 / 3, "warm": 1 / 10}
"""Of the time of PyTorch, by the cache's state."""
SPEEDUP = 1.7
"""What the greatest number of devices is to gain over the least."""

script.define_flags()
flags.DEFINE_list("devices", ["1", "2"], "Numbers of host devices among which rnnjax divides the seeds.")
flags.DEFINE_integer(
    "torch_threads", 1, "PyTorch's threads, 0: its default; one is best for most products here.", lower_bound=0
)
flags.DEFINE_integer("rounds", 3, "Times each command is run.", lower_bound=1)
flags.DEFINE_integer("repeats", 5, "Times the compiled programs are run again, to compare devices.", lower_bound=1)
command.define_flags("study", QUICK)
FLAGS = flags.FLAGS

Record = dict[str, Any]
"""One command: ``seconds`` and ``processor_seconds`` of each round, ``phases`` and, of the last round, ``timeline``."""


class Command(NamedTuple):
    """A script with its flags."""

    script: str
    flags: tuple[str, ...]
    devices: int = 0
    cache: str = ""  # of compiled programs, beforehand: cold or warm; PyTorch has none

    @property
    def name(self) -> str:
        if not self.devices:
            return ", ".join(["PyTorch", *(flag.removeprefix("--").removeprefix("method=") for flag in self.flags)])
        return _name(self.cache, self.devices)


def _name(cache: str, devices: int) -> str:
    return f"rnnjax, {cache} cache, {_devices(devices)}"


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"


def main(argv: list[str]) -> None:
    command.apply_quick("study", QUICK)
    with command.refusals("study"):
        for cell in FLAGS.cells:
            lookup("cell", cell, dict.fromkeys(CELLS))
        settings = script.settings()
        devices = device_counts(settings)
        output = command.output_folder(argv)

    missing = [] if importlib.util.find_spec("torch") else ["torch is not installed: run `make peers`"]
    machine = describe_machine(["rnnjax", "jax", "jaxlib", "numpy", "torch"])
    records, again = measure(settings, devices, with_torch=not missing)
    report(output, machine, settings, records, again, missing)


def device_counts(settings: Settings) -> list[int]:
    """The numbers of devices that the flags say.

    Raises:
        ValueError: for those that are none, or do not divide the seeds.
    """
    if not FLAGS.devices or not all(count.isdecimal() and int(count) for count in FLAGS.devices):
        raise ValueError(f"--devices is {','.join(FLAGS.devices)}: expected whole numbers from 1 on")
    counts = sorted({int(count) for count in FLAGS.devices})
    if uneven := [count for count in counts if settings.seeds % count]:
        raise ValueError(f"--devices has {uneven[0]}, among which {settings.seeds} seeds cannot be divided evenly")
    return counts


# Measuring


def commands(devices: list[int], with_torch: bool) -> list[Command]:
    """All commands of a round; the one with a cold cache fills it for the one with a warm cache after it."""
    ours = [Command("rnnjax", (), count, cache) for count in devices for cache in TARGETS]
    theirs = [
        Command("torch", ("--method=retain_grad",)),
        Command("torch", ("--method=autograd.grad",)),
        Command("torch", ("--method=autograd.grad", "--processes=2")),
    ]
    return ours + (theirs if with_torch else [])


def measure(settings: Settings, devices: list[int], with_torch: bool) -> tuple[list[Record], dict[int, list[float]]]:
    """Every command in turns; and seconds of running all programs again, by the number of devices."""
    todo = commands(devices, with_torch)
    records: list[Record] = [{"name": one.name, "seconds": [], "processor_seconds": [], "phases": []} for one in todo]
    again: dict[int, list[float]] = {count: [] for count in devices}
    norms: list[Norms] = [{} for _ in todo]
    with tqdm(total=FLAGS.rounds * (len(todo) + len(devices)), disable=None) as bar:
        for _ in range(FLAGS.rounds):
            with tempfile.TemporaryDirectory() as caches:
                for place, one in enumerate(todo):
                    norms[place] = time_command(one, settings, Path(caches), records[place])
                    bar.update()
                for count in devices:
                    repeated = Command("rnnjax", (f"--repeats={FLAGS.repeats}",), count, "warm")
                    with finished(repeated, settings, Path(caches)) as folder:
                        again[count].append(
                            statistics.median(json.loads((folder / "timeline.json").read_text())["again"])
                        )
                    bar.update()
    check(todo, norms)
    return records, again


def time_command(one: Command, settings: Settings, caches: Path, record: Record) -> Norms:
    """Runs a command once and adds what that took to the record."""
    busy, start = processor_seconds(), time.time()
    with finished(one, settings, caches) as folder:
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
def finished(one: Command, settings: Settings, caches: Path) -> Iterator[Path]:
    """Runs a command; gives the folder with its record."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", f"benchmarks.study.in_{one.script}", f"--record={folder}", *one.flags]
        if one.devices:
            words += [f"--devices={one.devices}", f"--cache={caches / str(one.devices)}"]
        else:
            words += [f"--threads={FLAGS.torch_threads}"]
        plain = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
        subprocess.run(
            [*words, *settings.as_flags()],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
            env=plain | {"JAX_PLATFORMS": "cpu"},
        )
        yield Path(folder)


def processor_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def check(todo: list[Command], norms: list[Norms]) -> None:
    """Fails where two commands have not measured the same."""
    first = {name: array.shape for name, array in norms[0].items()}
    for one, found in zip(todo, norms, strict=True):
        if {name: array.shape for name, array in found.items()} != first:
            raise AssertionError(f"{one.name} has measured other networks than {todo[0].name}")
        if not all(np.isfinite(array).all() and array.any() for array in found.values()):
            raise AssertionError(f"{one.name} has norms that are not finite, or nothing but zeros")
        if one.devices and not all(np.allclose(array, norms[0][name]) for name, array in found.items()):
            raise AssertionError(f"{one.name} has other norms than {todo[0].name}, from the same weights")


# Reporting


def report(
    output: Path,
    machine: dict[str, Any],
    settings: Settings,
    records: list[Record],
    again: dict[int, list[float]],
    missing: list[str],
) -> None:
    """Prints the table; writes it, results.json and the figure."""
    finding = "\n".join([*find(records, max(again)), *find_devices(again), *missing])
    chosen = settings._asdict() | {name: FLAGS[name].value for name in ("torch_threads", "rounds", "repeats")}
    results = {"finding": finding, "machine": machine, "settings": chosen, "records": records, "again": again}
    heads = ["command", "seconds", "processor", *PHASES]
    rows = [
        [
            record["name"],
            *(f"{statistics.median(record[key]):.2f}" for key in ("seconds", "processor_seconds")),
            *(f"{of_phase:.2f}" if (of_phase := median_of_phase(record, phase)) else "" for phase in PHASES),
        ]
        for record in records
    ]
    table = tabulate(rows, heads, colalign=("left", *["right"] * (len(heads) - 1)), disable_numparse=True)
    text = f"{table}\nPhases are summed over threads, which overlap.\n\n{finding}\n"
    command.save(output, "study", results, text, draw(records, finding))


def median_of_phase(record: Record, phase: str) -> float:
    """Seconds, of all threads together."""
    return statistics.median(phases.get(phase, 0.0) for phases in record["phases"])


def find(records: list[Record], devices: int) -> list[str]:
    """Whether the targets are met, a line for each way with PyTorch."""
    ours = {cache: record for record in records for cache in TARGETS if record["name"] == _name(cache, devices)}
    lines = []
    for record in records:
        if record["name"].startswith("PyTorch"):
            shares = {cache: ratio(one_each(ours[cache]), one_each(record)) for cache in TARGETS}
            parts = [
                f"{cache} {shares[cache]} (target 1/{1 / target:.0f}: {met(shares[cache].value <= target)})"
                for cache, target in TARGETS.items()
            ]
            lines.append(f"of {record['name']}: {', '.join(parts)}")
    head = [f"What rnnjax takes on {_devices(devices)}, with a cold and with a warm cache,"] if lines else []
    return head + lines


def met(fulfilled: bool) -> str:
    """For a target."""
    return "met" if fulfilled else "not met"


def find_devices(again: dict[int, list[float]]) -> list[str]:
    """What the greatest number of devices gains over the least, when the programs run."""
    least, most = min(again), max(again)
    if least == most:
        return []
    gain = ratio(*([[seconds] for seconds in again[count]] for count in (least, most)))
    verdict = f"target {SPEEDUP}: {met(gain.value >= SPEEDUP)}"
    return [f"The compiled programs run {gain} times as fast on {_devices(most)} as on {least} ({verdict})."]


def one_each(record: Record) -> list[list[float]]:
    """The seconds, as one sample in each round."""
    return [[seconds] for seconds in record["seconds"]]


def draw(records: list[Record], finding: str) -> Figure:
    """Above, seconds of every command; below, what the threads did in those of rnnjax."""
    mpl.use("Agg")
    ours = [record for record in records if record["name"].startswith("rnnjax")]
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 8), height_ratios=(len(records) + 1, 2 * len(ours) + 1))
    names = [record["name"] for record in records]
    above.barh(names, [statistics.median(record["seconds"]) for record in records], color="0.6")
    above.hlines(names, *([f(r["seconds"]) for r in records] for f in (min, max)), color="black", linewidth=3)
    for record in records:
        above.annotate(
            f"  {statistics.median(record['seconds']):.1f}", (max(record["seconds"]), record["name"]), va="center"
        )
    above.invert_yaxis()
    above.margins(x=0.1)
    above.set_xlabel("seconds from process start to its end")
    draw_timelines(below, ours)
    figure.suptitle(finding, fontsize=9)
    figure.tight_layout()
    return figure


def draw_timelines(axis: Any, records: list[Record]) -> None:
    """A band for each command, a line in it for each thread."""
    for place, record in enumerate(records):
        lines = 1 + max(thread for _, _, thread, _, _ in record["timeline"])
        for phase, _, thread, start, stop in record["timeline"]:
            if phase in PHASES:
                height = 0.8 / lines
                axis.barh(
                    place - 0.4 + (thread + 0.5) * height,
                    stop - start,
                    height,
                    left=start,
                    color=PHASES[phase],
                    edgecolor="white",
                    linewidth=0.5,
                )
    axis.set_yticks(range(len(records)), [record["name"] for record in records])
    axis.invert_yaxis()
    axis.set_xlabel("seconds from process start, in the last round; a line for each thread")
    handles = [mpl.patches.Patch(color=shade, label=phase) for phase, shade in PHASES.items()]
    axis.legend(handles=handles, frameon=False, fontsize=8)


if __name__ == "__main__":
    app.run(main)
