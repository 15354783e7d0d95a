"""Makes PyTorch use the same kind of device as JAX, be as exact, and wait for its results as JAX does."""

import importlib.util
from typing import Any

from benchmarks.common.device import Device, UnavailableError
from benchmarks.common.measure import Call


def device_like(backend: str) -> Any:
    """PyTorch's device for the name of JAX's backend, with products of float32's full precision.

    Raises:
        UnavailableError: if PyTorch has no such device, so that times could not be compared.
    """
    import torch

    if backend == "cpu":
        return torch.device("cpu")
    if backend != "gpu" or not torch.cuda.is_available():
        raise UnavailableError(f"PyTorch {torch.__version__} finds no {backend.upper()}, which JAX computes on")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda")


def why_no_torch(device: Device) -> list[str]:
    """The reason why PyTorch cannot be compared with here, if there is one."""
    if not importlib.util.find_spec("torch"):
        return ["torch is not installed: run `make peers`"]
    try:
        device_like(device.backend)
    except UnavailableError as error:
        return [str(error)]
    return []


def waiting(call: Call, place: Any) -> Call:
    """The same call, made to return only when the device has finished."""
    import torch

    if place.type != "cuda":
        return call

    def finished() -> Any:
        result = call()
        torch.cuda.synchronize()
        return result

    return finished
