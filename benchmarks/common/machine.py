"""What a reader needs to judge the numbers: device, processor, cores, load and versions."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.common.device import Device


def describe(device: Device, packages: Iterable[str] = ()) -> dict[str, Any]:
    """The machine before the first measurement, with the versions of JAX and of these packages."""
    return {
        "device": device._asdict(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average_before": os.getloadavg(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in ("rnnjax", "jax", "jaxlib", "numpy", *packages)},
    }


def driver(device: Device) -> str | None:
    """The driver of a GPU of NVIDIA, if its tool is there; those of other devices are packages."""
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(words, capture_output=True, text=True, timeout=30).stdout if device.cuda else ""
    except (OSError, subprocess.TimeoutExpired):
        return None
    return f"NVIDIA {told.splitlines()[0]}" if told.strip() else None


def place(machine: Mapping[str, Any]) -> str:
    """The device that was measured, and the processor, in a few words."""
    device, processor = Device(**machine["device"]), f"{machine['processor']}, {machine['cores']} cores"
    return f"the CPU, {processor}" if device.on_cpu else f"{device}; host {processor}"


def heading(machine: Mapping[str, Any]) -> str:
    """The first line of every table."""
    before, after = machine["load_average_before"][0], machine["load_average_after"][0]
    return f"Measured on {place(machine)}. Load average {before:.1f} at the start, {after:.1f} at the end."


def doubt(machine: Mapping[str, Any]) -> str:
    """A warning if other programs used the cores: that slows PyTorch most, whose threads wait for each other."""
    # A benchmark that has just ended leaves a load of about one for each core.
    busy = machine["load_average_before"][0] > 1.5 * machine["cores"]
    return (
        "\nThe machine was busy with other programs, so do not rely on these ratios: measure again on an idle machine."
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
