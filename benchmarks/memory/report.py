"""What ``benchmarks.memory`` says about its records: a table, a finding and a figure."""

import textwrap

import numpy as np
from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.common.device import Device
from benchmarks.memory.measure import METHODS, PLAIN, ROOT, ROOT_ALL, Record, step_seconds

MB = 10**6
TARGET_MB = 600  # resident at most, including Python, jax and the inputs
TARGET_TIME = 1.4  # at most this many times as long per step as the plain gradient at the least T


def write(records: list[Record], device: Device) -> str:
    """The table and what it takes to read it."""
    return f"Memory in MB (10^6 bytes). Peak: {peak_of(device)}.\n\n{table(records)}"


def peak_of(device: Device) -> str:
    """The memory whose peak is measured on this device, in words."""
    return "most memory resident in the process" if device.on_cpu else "most memory in use on the device"


def table(records: list[Record]) -> str:
    heads = ["method", "T", "peak", "before inputs", "inputs", "temporary", "us a step", "/ plain, least T"]
    kinds = ("peak_bytes", "baseline_bytes", "input_bytes", "temporary_bytes")
    rows = [
        [
            record["method"],
            record["steps"],
            *(f"{record[kind] / MB:.{int(record[kind] < 100 * MB)}f}" for kind in kinds),
            f"{1e6 * step_seconds(record):.1f}",
            f"{record['step_ratio']:.2f}",
        ]
        for record in sorted(records, key=lambda record: list(METHODS).index(record["method"]))
    ]
    return tabulate(rows, heads, colalign=("left", *["right"] * 7), disable_numparse=True)


def judge(records: list[Record]) -> str:
    """Which methods meet the targets of memory and time at the greatest length."""
    least, greatest = records[0]["steps"], records[-1]["steps"]
    verdicts: dict[str, list[str]] = {"Met by": [], "Missed by": []}
    for record in (record for record in records if record["steps"] == greatest):
        met = record["peak_bytes"] < TARGET_MB * MB and record["step_ratio"] <= TARGET_TIME
        numbers = f"{record['peak_bytes'] / MB:.0f} MB, {record['step_ratio']:.2f}"
        verdicts["Met by" if met else "Missed by"].append(f"{record['method']} ({numbers})")
    goal = f"under {TARGET_MB} MB resident, and at most {TARGET_TIME} times the time per step of plain at T = {least}"
    lines = [f"{verdict}: {'; '.join(methods)}." for verdict, methods in verdicts.items() if methods]
    return "\n".join([f"Target at T = {greatest}: {goal}.", *lines])


def find(records: list[Record], device: Device) -> str:
    """Whether a CPU's targets are met there, and how memory grows."""
    return f"{judge(records)}\n{grow(records)}" if device.on_cpu else grow(records)


def grow(records: list[Record]) -> str:
    """How memory grows with T: the slopes on doubly logarithmic axes, between the two greatest lengths."""
    slopes = []
    for method in METHODS:
        ours = [record for record in records if record["method"] == method]
        if len(ours) > 1:
            (t, low), (u, high) = ((r["steps"], r["temporary_bytes"]) for r in ours[-2:])
            slopes.append(f"{method} T^{np.log(high / low) / np.log(u / t):.2f}")
    last = {record["method"]: record for record in records}
    less = last[PLAIN]["temporary_bytes"] / last[ROOT]["temporary_bytes"]
    growth = f" It grows as: {'; '.join(slopes)}." if slopes else ""
    return f"Temporary memory with remat='sqrt' is 1/{less:.0f} of that of plain.{growth}"


def draw(records: list[Record], device: Device, title: str) -> Figure:
    """The peak against T, beside what all methods have in common, and the temporary memory on log axes."""
    figure = Figure((11, 5.5), layout="constrained")
    peak, temporary = figure.subplots(1, 2)
    for (method, marker), style in zip(zip(METHODS, "os^vD", strict=True), ("-", "--", "-.", ":", "-"), strict=True):
        ours = [record for record in records if record["method"] == method]
        for axis, key in ((peak, "peak_bytes"), (temporary, "temporary_bytes")):
            steps, sizes = [record["steps"] for record in ours], [record[key] / MB for record in ours]
            shade = "grey" if method == ROOT_ALL else "black"
            axis.plot(steps, sizes, marker=marker, linestyle=style, color=shade, markerfacecolor="white", label=method)
    inputs = sorted({(record["steps"], record["input_bytes"] / MB) for record in records})
    temporary.plot(*zip(*inputs, strict=True), color="grey", linewidth=1, label="the inputs themselves")
    if device.on_cpu:
        peak.axhline(TARGET_MB, color="black", linewidth=1)
        peak.text(inputs[0][0], TARGET_MB, f"target {TARGET_MB}", va="bottom")
    baseline = float(np.median([record["baseline_bytes"] for record in records])) / MB
    peak.axhspan(0, baseline, color="0.9", label="before the inputs are there")
    peak.set(ylim=(0, None), ylabel=f"{peak_of(device)} (MB)")
    temporary.set(yscale="log", ylabel="temporary memory of the gradient's program (MB)")
    for axis in (peak, temporary):
        axis.set(xscale="log", xlabel="T, time steps")
        axis.legend(frameon=False, fontsize=8)
    figure.suptitle("\n".join(textwrap.fill(line, 150) for line in title.splitlines()), fontsize=9)
    return figure
