"""What ``benchmarks.training`` says about its records: a table, a finding and a figure."""

from typing import Any

from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.common.bars import speed_bar
from benchmarks.common.measure import Ratio, skips
from benchmarks.training.measure import Record
from benchmarks.training.steps import LAYERS
from experiments.common import host_devices

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
DEVICES = {1: ["rnnjax"], 2: ["jit_2_devices", "shard_map_2_devices"]}
TARGET = 1.0  # times PyTorch's characters per second


def write(records: list[Record]) -> str:
    """The table and what it takes to read it."""
    loss, weights = (f"{largest(records, name):.0e}" for name in ("loss_difference", "weight_difference"))
    checked = (
        f"In {records[0]['size'].a_call} steps the losses differ by at most {loss} of their value, "
        f"and the weights by {weights} of how far they have moved."
    )
    reasons = ((TITLES[record["way"]], record["skipped"]) for record in records if "skipped" in record)
    return f"{checked}\n\n{table(records)}\n\n{skips(reasons)}"


def largest(records: list[Record], difference: str) -> float:
    return max(record[difference] for record in records if "rounds" in record)


def table(records: list[Record]) -> str:
    """Milliseconds of a training step, characters per second, and seconds of the first call, which compiles."""
    heads = ["H", "trained by", "a step", "characters / s", "/ PyTorch's", "first call"]
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
    lines += rule(records)
    best = f"At best rnnjax trains on {' and '.join(bests)} times as many characters per second as PyTorch."
    return "\n".join([best, *lines, f"Target: at least {TARGET:g} times as many."])


def rule(records: list[Record]) -> list[str]:
    """How fast training is on as many devices as experiments choose, beside the faster number, where both are there."""
    found = []
    measured = [record for record in records if "rounds" in record]
    for size in dict.fromkeys(record["size"] for record in measured if record["way"] in DEVICES[2]):
        kernel_bytes = 4 * size.hidden * 4 * size.hidden
        chosen = host_devices.number(size.batch, kernel_bytes, cores=2)
        speeds = {
            count: max(r["characters_per_second"] for r in measured if r["size"] == size and r["way"] in ways)
            for count, ways in DEVICES.items()
        }
        fastest = max(speeds, key=speeds.__getitem__)
        found.append(f"{chosen} at H = {size.hidden} ({speeds[chosen] / speeds[fastest]:.2f} of the best speed)")
    return [f"Of 1 and 2 devices, experiments choose {', '.join(found)}."] if found else []


def verdict(speed: Ratio) -> str:
    return "met" if speed.value >= TARGET else "missed"


def draw(records: list[Record], finding: str, where: str) -> Figure:
    """Bars of characters per second, with a panel for each size."""
    sizes = list(dict.fromkeys(record["size"] for record in records))
    figure = Figure((max(8.5, 4.5 * len(sizes)), 5), layout="constrained")
    axes = figure.subplots(1, len(sizes), squeeze=False)
    for axis, size in zip(axes[0], sizes, strict=True):
        measured = [record for record in records if record["size"] == size and "rounds" in record]
        for place, record in enumerate(measured):
            bar(axis, place, record)
        axis.set_xticks([])
        axis.set_xlabel(f"{LAYERS} LSTM layers of {size.hidden}")
        axis.set_ylabel("thousand characters per second")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(TITLES), frameon=False)
    shape = f"T = {sizes[0].steps}, B = {sizes[0].batch}, V = {sizes[0].vocabulary}"
    figure.suptitle(f"{finding}\n{shape}. Lines join the quartiles over rounds. Measured on {where}.", fontsize=9)
    return figure


def bar(axis: Any, place: int, record: Record) -> None:
    """The bar of one way of training."""
    looks = {"label": TITLES[record["way"]], **STYLES[record["way"]]}
    speed_bar(
        axis,
        place,
        record["size"].steps * record["size"].batch,
        record["rounds"],
        record["characters_per_second"],
        **looks,
    )
