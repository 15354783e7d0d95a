"""The device that JAX computes on by default, and what a benchmark does differently on it.

JAX is imported only where it is needed, so that PyTorch's side of a benchmark does not wait for it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import jax

ROOT = Path(__file__).parents[2]
"""The folder that ``python -m benchmarks...`` is called from."""


class UnavailableError(Exception):
    """Something cannot be measured here; the message says why."""


class Device(NamedTuple):
    """What JAX found."""

    backend: str  # "cpu", "gpu" or "tpu"
    kind: str  # as its maker calls it
    available: int
    cuda: bool  # whether it is a GPU of NVIDIA

    @property
    def on_cpu(self) -> bool:
        return self.backend == "cpu"

    def __str__(self) -> str:
        return "the CPU" if self.on_cpu else f"{self.kind} ({self.backend}, 1 of {self.available})"


def environment(device: Device) -> dict[str, str]:
    """The environment of the processes that share the device: no cached programs, and products as exact as on a CPU.

    JAX's settings in this process's own environment are left out, except for the choice of the platform.
    By default an accelerator computes products in a lower precision, which JAX and PyTorch do not choose alike.
    """
    inherited = {
        name: os.environ[name] for name in os.environ if not name.startswith("JAX_") or name == "JAX_PLATFORMS"
    }
    plain = {"JAX_ENABLE_COMPILATION_CACHE": "false", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    own = {"JAX_PLATFORMS": "cpu"} if device.on_cpu else {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    return inherited | plain | own


def set_up(device: Device) -> None:
    """Sets this process up in the same way, for benchmarks that measure in it."""
    import jax

    jax.config.update("jax_enable_compilation_cache", False)
    if device.on_cpu:
        jax.config.update("jax_platforms", "cpu")
    else:
        jax.config.update("jax_default_matmul_precision", "highest")


def find() -> Device:
    """The device, as another process finds it: a TPU belongs to one process at a time, and the workers need it."""
    words = [sys.executable, "-m", "benchmarks.common.device"]
    found = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return Device(*json.loads(found.stdout.splitlines()[-1]))


def here() -> Device:
    """This process's device, which it then holds."""
    import jax

    devices = jax.devices()
    return Device(jax.default_backend(), devices[0].device_kind, len(devices), _has_cuda())


def take(count: int, device: Device) -> list["jax.Device"]:
    """The first ``count`` devices; on a CPU they are parts of it, made before the process's first array.

    Raises:
        UnavailableError: if JAX finds fewer.
    """
    import jax

    if device.on_cpu and count > 1:
        jax.config.update("jax_num_cpu_devices", count)
    elif device.available < count:
        raise UnavailableError(f"JAX found {device}, not {count} devices")
    return jax.devices()[:count]


def _has_cuda() -> bool:
    import jax

    try:
        return bool(jax.devices("cuda"))
    except RuntimeError:
        return False


if __name__ == "__main__":
    print(json.dumps(here()))
