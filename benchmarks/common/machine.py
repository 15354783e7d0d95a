"""What a reader needs to judge the numbers: device, processor, cores, load and versions."""

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.common.device import Device


def describe(device: Device, packages: Iterable[str] = ()) -> dict[str, Any]:
    """As it is before the first measurement; with the versions of these packages besides JAX's own."""
    return {
        "device": device._asdict(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average_before": os.getloadavg(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in ("rnnjax", "jax", "jaxlib", "numpy", *packages)},
    }


def place(machine: Mapping[str, Any]) -> str:
    """The device that was measured, and the processor, in a few words."""
    device, processor = Device(**machine["device"]), f"{machine['processor']}, {machine['cores']} cores"
    return f"the CPU, {processor}" if device.on_cpu else f"{device}; host {processor}"


def heading(machine: Mapping[str, Any]) -> str:
    """The first line of every table."""
    before, after = machine["load_average_before"][0], machine["load_average_after"][0]
    return f"Measured on {place(machine)}. Load average {before:.1f} at the start, {after:.1f} at the end."


def doubt(machine: Mapping[str, Any]) -> str:
    """A warning where other programs wanted the cores: PyTorch's threads wait for each other, and so lose most."""
    busy = machine["load_average_before"][0] > 1.5 * machine["cores"]  # as many as cores: the benchmark run before
    return (
        "\nThe machine was busy with other programs: measure again, these ratios are not to be relied on."
        if busy
        else ""
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
