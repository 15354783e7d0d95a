"""How many characters a second does a character model train on, here and in PyTorch, on one device and on two?

    python -m benchmarks.training
    python -m benchmarks.training --quick
    python -m benchmarks.training --hidden=256 --steps=100 --batch=32 --output=runs/benchmarks/training_256

One training step of two LSTM layers and a readout on one-hot characters: mean cross entropy, its gradient, clipping by
global norm, Adam. Params and the optimizer's state are donated, new characters come from NumPy at each step, and the
step has ended when the loss and the new params are there. Two devices are two parts of the processor
(``jax_num_cpu_devices``), each with half the batch and all params: divided by ``jax.jit`` along a ``NamedSharding``, or
by hand in ``jax.shard_map``, so that the gradients of the two halves are added once, behind the loop over time.

All start from the same weights and see the same characters; the run fails unless they then have the same losses and
weights, up to rounding. For that PyTorch's second bias, which adds nothing, stays at zero.
"""

import functools
import itertools
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import optax
from absl import app, flags
from flax.training.train_state import TrainState
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from matplotlib.figure import Figure
from tabulate import tabulate
from tqdm import tqdm

import rnnjax
from benchmarks.common import command
from benchmarks.common.measure import (
    UNSTEADY,
    Ratio,
    Worker,
    describe_machine,
    elapsed,
    pooled_median,
    ratio,
    sample,
    serve,
)
from experiments import character_model
from rnnjax.adapters.torch import from_torch, to_torch

TITLES = {
    "rnnjax": "rnnjax, 1 device",
    "jit_2_devices": "rnnjax, 2 devices by jit",
    "shard_map_2_devices": "rnnjax, 2 devices by shard_map",
    "torch": "PyTorch",
}
STYLES = {
    "rnnjax": {"color": "0.2"},
    "jit_2_devices": {"color": "0.5"},
    "shard_map_2_devices": {"color": "0.8"},
    "torch": {"color": "1", "hatch": "///"},
}
LAYERS = 2
LEARNING_RATE = 1e-3
CLIP_NORM = 1.0
CHECKED = 5  # training steps after which losses and weights are compared
LOSS_TOLERANCE = 1e-4  # relative
WEIGHT_TOLERANCE = 1e-3  # of the way that the weights went
TARGET = 1.0  # times PyTorch's characters per second
QUICK = {"hidden": ["8"], "steps": 5, "batch": 4, "vocabulary": 7, "repeats": 2, "rounds": 2}

flags.DEFINE_list("hidden", ["128", "512"], "H of both layers, several of them.")
flags.DEFINE_integer("steps", 50, "T.", lower_bound=1)
flags.DEFINE_integer("batch", 50, "B, even.", lower_bound=1)
flags.DEFINE_integer("vocabulary", 96, "V.", lower_bound=2)
flags.DEFINE_integer("repeats", 3, "Training steps in each turn.", lower_bound=1)
flags.DEFINE_integer("rounds", 7, "Turns that each takes on each size.", lower_bound=1)
command.define_flags("training", QUICK)
flags.DEFINE_string("worker", None, "Be the process of this library, answering the requests on standard input.")
FLAGS = flags.FLAGS

Record = dict[str, Any]
"""One way of training at one size: either ``skipped``, a reason, or ``rounds`` of seconds, and what follows of them."""

Weights = dict[str, np.ndarray]
"""All weights by the names that PyTorch gives them."""


class Size(NamedTuple):
    steps: int
    batch: int
    vocabulary: int
    hidden: int


class Trainer(NamedTuple):
    step: Callable[[], float]  # trains on the next window, returns its loss
    weights: Callable[[], Weights]


def main(argv: list[str]) -> None:
    if FLAGS.worker:
        work(FLAGS.worker)
        return
    command.apply_quick("training", QUICK)
    with command.refusals("training"):
        if not all(hidden.isdecimal() and int(hidden) for hidden in FLAGS.hidden):
            raise ValueError(f"--hidden is {','.join(FLAGS.hidden)}: expected whole numbers above 0, as in 128,512")
        if FLAGS.batch % 2:
            raise ValueError(f"--batch is {FLAGS.batch}: expected an even number, half of it for each device")
        sizes = [Size(FLAGS.steps, FLAGS.batch, FLAGS.vocabulary, int(hidden)) for hidden in FLAGS.hidden]
        output = command.output_folder(argv)

    machine = describe_machine(["rnnjax", "jax", "jaxlib", "numpy", "optax", "flax", "torch"])
    records = measure(sizes, FLAGS.rounds, FLAGS.repeats)
    machine["load_average_after"] = os.getloadavg()
    report(output, machine, records)


# What is trained on, and from where


def initial_weights(size: Size) -> Weights:
    """Drawn as PyTorch does, uniformly within 1 / sqrt(H); the second biases are zero."""
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
    """Tokens (T + 1, B) without end, the same for everyone: of random characters, some more frequent than others."""
    draws = np.random.default_rng(1).random((8, size.steps + 1, size.batch))
    return itertools.cycle((size.vocabulary * draws**2).astype(np.int32))


# Training


def train_rnnjax(way: str, size: Size) -> Trainer:
    """The training step of ``experiments.character_model``, jitted, on all devices that there are."""
    mesh = Mesh(jax.devices(), ("batch",))
    whole, columns = PartitionSpec(), PartitionSpec(None, "batch")
    cell = rnnjax.stack(*(rnnjax.lstm(size.hidden) for _ in range(LAYERS)))
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP_NORM), optax.adam(LEARNING_RATE))

    def train_step(state: TrainState, tokens: jax.Array) -> tuple[TrainState, jax.Array]:
        state, loss = character_model.train_step(cell, state, tokens)
        return state, loss

    def train_step_of_a_device(state: TrainState, tokens: jax.Array) -> tuple[TrainState, jax.Array]:
        state, loss = train_step(state, tokens)
        return state, jax.lax.pmean(loss, "batch")

    if way == "shard_map_2_devices":
        average = optax.stateless(lambda gradients, _: jax.lax.pmean(gradients, "batch"))
        optimizer = optax.chain(average, optimizer)
        divided = functools.partial(jax.shard_map, mesh=mesh, in_specs=(whole, columns), out_specs=whole)
        step = jax.jit(divided(train_step_of_a_device, check_vma=False), donate_argnums=0)
    else:
        step = jax.jit(train_step, donate_argnums=0)

    state = TrainState.create(apply_fn=None, params=params_of(initial_weights(size)), tx=optimizer)
    state = jax.device_put(state, NamedSharding(mesh, whole))
    tokens = windows(size)

    def train() -> float:
        nonlocal state
        state, loss = step(state, jax.device_put(next(tokens), NamedSharding(mesh, columns)))
        return float(jax.block_until_ready((state, loss))[1])

    return Trainer(train, lambda: weights_of(state.params))


def params_of(weights: Weights) -> character_model.CharacterParams:
    readout = {"kernel": jax.numpy.asarray(weights["readout.weight"].T), "bias": weights["readout.bias"]}
    return character_model.CharacterParams(from_torch(weights, "lstm", "lstm."), {"params": readout})


def weights_of(params: character_model.CharacterParams) -> Weights:
    readout = {"readout.weight": params.readout["params"]["kernel"].T, "readout.bias": params.readout["params"]["bias"]}
    recurrent = {f"lstm.{name}": weight for name, weight in to_torch(params.recurrent).items()}
    return recurrent | {name: np.asarray(weight) for name, weight in readout.items()}


def train_torch(way: str, size: Size) -> Trainer:
    """The same in PyTorch, with its own kernels and number of threads."""
    import torch

    lstm = torch.nn.LSTM(size.vocabulary, size.hidden, LAYERS)
    readout = torch.nn.Linear(size.hidden, size.vocabulary)
    model = torch.nn.ModuleDict({"lstm": lstm, "readout": readout})
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in initial_weights(size).items()})
    for layer in range(LAYERS):
        getattr(lstm, f"bias_hh_l{layer}").requires_grad_(False)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(trained, LEARNING_RATE)
    numbers = windows(size)

    def train() -> float:
        tokens = torch.from_numpy(next(numbers)).long()
        optimizer.zero_grad()
        outputs, _ = lstm(torch.nn.functional.one_hot(tokens[:-1], size.vocabulary).float())
        loss = torch.nn.functional.cross_entropy(readout(outputs).flatten(0, 1), tokens[1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, CLIP_NORM)
        optimizer.step()
        return loss.item()

    return Trainer(train, lambda: {name: weight.numpy() for name, weight in model.state_dict().items()})


# Measuring


def work(way: str) -> None:
    """The worker: trains for a few steps and saves the weights, then takes more steps and times them."""
    if way.endswith("2_devices"):
        jax.config.update("jax_num_cpu_devices", 2)
    build = train_torch if way == "torch" else train_rnnjax

    @functools.lru_cache(maxsize=1)
    def prepared(size: Size) -> Trainer:
        return build(way, size)

    def answer(size: list[int], repeats: int, save_to: str | None = None) -> Record:
        try:
            trainer = prepared(Size(*size))
        except ModuleNotFoundError as error:
            return {"skipped": f"not installed ({error}): run `make peers`"}
        if save_to:
            losses: list[float] = []
            first = elapsed(lambda: losses.append(trainer.step()))
            losses += [trainer.step() for _ in range(CHECKED - 1)]
            np.savez(save_to, **trainer.weights())  # type: ignore[arg-type]
            return {"first_seconds": first, "losses": losses}
        return {"samples": sample({"step": trainer.step}, repeats)["step"]}

    serve(answer)


def measure(sizes: list[Size], rounds: int, repeats: int) -> list[Record]:
    """One record for each way at each size; the ways take turns."""
    records: list[Record] = []
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker("benchmarks.training", way)) for way in TITLES]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for size in tqdm(sizes, desc="sizes", disable=None):
            case: dict[str, Record] = {}
            for worker in workers:
                answer = worker.ask(size=size, repeats=0, save_to=str(folder / f"{worker.name}.npz"))
                case[worker.name] = {"way": worker.name, "size": size} | answer
            able = [worker for worker in workers if "skipped" not in case[worker.name]]
            for worker in able:
                case[worker.name] |= {"rounds": []} | agreement(case[worker.name], case["rnnjax"], folder)
            for _ in range(rounds):
                for worker in able:
                    case[worker.name]["rounds"].append(worker.ask(size=size, repeats=repeats)["samples"])
            records.extend(summarize(record, case["torch"]) for record in case.values())
    return records


def agreement(record: Record, reference: Record, folder: Path) -> Record:
    """How far losses and weights are from the reference's; an ``AssertionError`` where that is not rounding."""
    losses = np.divide(record["losses"], reference["losses"])
    start = initial_weights(record["size"])
    with np.load(folder / f"{record['way']}.npz") as ours, np.load(folder / f"{reference['way']}.npz") as other:
        difference = sum(float(np.sum((ours[name] - other[name]) ** 2)) for name in start)
        moved = sum(float(np.sum((other[name] - start[name]) ** 2)) for name in start)
    found = {"loss_difference": float(np.abs(losses - 1).max()), "weight_difference": (difference / moved) ** 0.5}
    if not (found["loss_difference"] <= LOSS_TOLERANCE and found["weight_difference"] <= WEIGHT_TOLERANCE):
        raise AssertionError(f"{TITLES[record['way']]} at {record['size']} trains differently: {found}")
    return found


def summarize(record: Record, torch: Record) -> Record:
    """The record with its median, characters per second, and those as a multiple of PyTorch's."""
    if "skipped" in record:
        return record
    size = record["size"]
    record["median_seconds"] = pooled_median(record["rounds"])
    record["characters_per_second"] = size.steps * size.batch / record["median_seconds"]
    if "rounds" in torch:
        record["speed"] = ratio(torch["rounds"], record["rounds"])  # of times, so the other way round
    return record


# Reporting


def report(output: Path, machine: dict[str, Any], records: list[Record]) -> None:
    """Prints the table; writes it, results.json and the figure."""
    settings = {name: FLAGS[name].value for name in QUICK} | {"layers": LAYERS, "target": TARGET}
    finding = find(records) + doubt(machine)
    results = {"finding": finding, "machine": machine, "settings": settings, "records": records}
    load = f"Load average {machine['load_average_before'][0]:.1f} at the start on {machine['cores']} cores."
    unsteady = (
        f"~ marks ratios whose quartiles over rounds are a factor of over {UNSTEADY} apart: too noisy to rely on."
    )
    checked = (
        f"After {CHECKED} steps losses differ by at most {largest(records, 'loss_difference'):.0e} of themselves, "
        f"weights by {largest(records, 'weight_difference'):.0e} of the way they went."
    )
    reasons = dict.fromkeys(f"{TITLES[r['way']]}: {r['skipped']}" for r in records if "skipped" in r)
    skips = "".join(f"Skipped: {reason}.\n" for reason in reasons)
    text = f"{load} {unsteady}\n{checked}\n\n{table(records)}\n\n{skips}{finding}\n"
    command.save(output, "training", results, text, draw(records, finding, machine))


def largest(records: list[Record], difference: str) -> float:
    return max(record[difference] for record in records if "rounds" in record)


def table(records: list[Record]) -> str:
    """Milliseconds of a training step, characters per second, and seconds to compile."""
    heads = ["H", "trained by", "a step", "characters / s", "/ PyTorch's", "first step"]
    rows = [
        [
            record["size"].hidden,
            TITLES[record["way"]],
            f"{1e3 * record['median_seconds']:.1f} ms",
            f"{record['characters_per_second']:,.0f}",
            str(record.get("speed", "-")),
            f"{record['first_seconds']:.2f} s",
        ]
        for record in records
        if "rounds" in record
    ]
    return tabulate(rows, heads, colalign=("right", "left", *["right"] * 4), disable_numparse=True)


def find(records: list[Record]) -> str:
    """How rnnjax stands to PyTorch at best, and in which cases the target is met."""
    bests, lines = [], []
    for size in dict.fromkeys(record["size"] for record in records):
        speeds = {r["way"]: r["speed"] for r in records if r["size"] == size and r["way"] != "torch" and "speed" in r}
        if not speeds:
            return "PyTorch was not measured."
        bests.append(f"{max(speeds.values())} (H = {size.hidden})")
        cases = (f"{TITLES[way].removeprefix('rnnjax, ')} {speed} ({verdict(speed)})" for way, speed in speeds.items())
        lines.append(f"H = {size.hidden}: {', '.join(cases)}")
    best = f"At best rnnjax trains on {' and '.join(bests)} times as many characters per second as PyTorch."
    return "\n".join([best, *lines, f"Target: at least {TARGET:g} times as many."])


def doubt(machine: dict[str, Any]) -> str:
    """A warning where other programs wanted the cores: PyTorch's threads wait for each other, and so lose most."""
    busy = machine["load_average_before"][0] > 1.5 * machine["cores"]  # as many as cores: the benchmark run before
    return (
        "\nThe machine was busy with other programs: measure again, these ratios are not to be relied on."
        if busy
        else ""
    )


def verdict(speed: Ratio) -> str:
    return "met" if speed.value >= TARGET else "missed"


def draw(records: list[Record], finding: str, machine: dict[str, Any]) -> Figure:
    """Bars of characters per second, one panel a size."""
    mpl.use("Agg")
    sizes = list(dict.fromkeys(record["size"] for record in records))
    figure, axes = plt.subplots(
        1, len(sizes), figsize=(max(8.5, 4.5 * len(sizes)), 5), squeeze=False, layout="constrained"
    )
    for axis, size in zip(axes[0], sizes, strict=True):
        measured = [record for record in records if record["size"] == size and "rounds" in record]
        for place, record in enumerate(measured):
            bar(axis, place, record)
        axis.set_xticks([])
        axis.set_xlabel(f"{LAYERS} LSTM layers of {size.hidden}")
        axis.set_ylabel("thousand characters per second")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(TITLES), frameon=False)
    shape = f"T = {sizes[0].steps}, B = {sizes[0].batch}, V = {sizes[0].vocabulary}"
    where = f"{machine['processor']}, {machine['cores']} cores"
    figure.suptitle(f"{finding}\n{shape}. Lines: quartiles over rounds. {where}.", fontsize=9)
    return figure


def bar(axis: Any, place: int, record: Record) -> None:
    """One bar, with its number on it and a line from quartile to quartile of the rounds."""
    characters = record["size"].steps * record["size"].batch
    speeds = [characters / statistics.median(samples) / 1e3 for samples in record["rounds"]]
    low, high = np.percentile(speeds, (25, 75))
    value = record["characters_per_second"] / 1e3
    axis.bar(place, value, edgecolor="black", label=TITLES[record["way"]], **STYLES[record["way"]])
    axis.vlines(place, low, high, color="black", linewidth=4)
    axis.vlines(place, low, high, color="white", linewidth=1.5)
    axis.annotate(f"{value:.3g}", (place, max(value, high)), (0, 3), textcoords="offset points", ha="center")


if __name__ == "__main__":
    app.run(main)
