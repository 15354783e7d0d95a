"""What benchmarks do differently on a GPU or TPU, as far as that can be tested without one."""

import json
import sys
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from benchmarks.common import command, device, machine, pytorch
from benchmarks.common.device import Device, UnavailableError
from benchmarks.common.worker import Process, workers
from benchmarks.memory import measure as memory
from benchmarks.online import measure as online
from benchmarks.online import report as online_report

CPU = Device("cpu", "cpu", 1, False)
GPU = Device("gpu", "NVIDIA H100", 4, True)
TPU = Device("tpu", "TPU v5e", 1, False)


def test_this_process_finds_its_cpu() -> None:
    here = device.here()
    assert here == Device("cpu", "cpu", jax.device_count(), False)
    assert here.on_cpu


@pytest.mark.parametrize("found", [GPU, TPU])
def test_sizes_are_chosen_by_backend(found: Device) -> None:
    quick, accelerator = {"steps": 2}, {"steps": 1000, "batch": 64}
    assert command.choose(CPU, {}, accelerator) == {}
    assert command.choose(found, {}, accelerator) == accelerator
    assert command.choose(CPU, quick, accelerator) == quick
    assert command.choose(found, quick, accelerator) == {"steps": 2, "batch": 64}


def test_the_heading_names_the_device() -> None:
    load: dict[str, Any] = {"load_average_after": (2.0, 2.0, 2.0)}
    on_gpu = machine.describe(GPU, ["jax", "no_such_package"]) | load
    assert machine.heading(on_gpu).startswith("Measured on NVIDIA H100 (gpu, 1 of 4); host ")
    assert on_gpu["versions"]["jax"]
    assert on_gpu["versions"]["no_such_package"] is None
    assert machine.heading(machine.describe(CPU) | load).startswith("Measured on the CPU, ")


def test_products_are_as_exact_on_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_ENABLE_X64", "true")
    assert device.environment(GPU)["JAX_DEFAULT_MATMUL_PRECISION"] == "highest"
    of_cpu = device.environment(CPU)
    assert of_cpu["JAX_PLATFORMS"] == "cpu"
    assert not {"JAX_DEFAULT_MATMUL_PRECISION", "JAX_ENABLE_X64"} & set(of_cpu)


def test_more_devices_than_there_are_cannot_be_taken() -> None:
    with pytest.raises(UnavailableError, match=r"JAX found TPU v5e \(tpu, 1 of 1\), not 2 devices"):
        device.take(2, TPU)
    assert device.take(2, GPU) == jax.devices()[:2]
    assert len(device.take(2, CPU)) == 2


def test_each_worker_has_a_process_but_on_a_tpu_those_of_jax_share_one() -> None:
    names = ["rnnjax", "flax", "torch"]
    processes = {}
    for found in (CPU, TPU):
        with workers("tests.benchmarks.echo", names, found) as crew:
            answers = [worker.ask(number=7) for worker in crew]
        assert [answer["name"] for answer in answers] == names
        assert all(answer["number"] == 7 and Device(*answer["device"]) == found for answer in answers)
        processes[found.backend] = [answer["process"] for answer in answers]
    assert len(set(processes["cpu"])) == 3
    of_rnnjax, of_flax, of_torch = processes["tpu"]
    assert of_rnnjax == of_flax != of_torch


@pytest.mark.slow
def test_a_worker_ends_with_the_benchmark_even_while_it_is_busy() -> None:
    process = Process("tests.benchmarks.echo", CPU).process
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps({"worker": "asleep", "number": 7}) + "\n")
    process.stdin.close()
    assert process.wait(timeout=60) == 1
    process.stdout.close()


def test_a_worker_says_why_it_cannot_measure() -> None:
    with workers("tests.benchmarks.echo", ["elsewhere", "missing"], CPU) as crew:
        reasons = [worker.ask(number=7)["skipped"] for worker in crew]
    assert reasons == ["runs elsewhere", "not installed (No module named 'missing'): run `make peers`"]


class FakeTorch:
    """As much of PyTorch as chooses a device and waits for it."""

    __version__ = "2.0"

    def __init__(self, has_cuda: bool) -> None:
        self.waited = 0
        self.backends = SimpleNamespace(
            cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True)), cudnn=SimpleNamespace(allow_tf32=True)
        )
        self.cuda = SimpleNamespace(is_available=lambda: has_cuda, synchronize=self.synchronize)

    def device(self, kind: str) -> SimpleNamespace:
        return SimpleNamespace(type=kind)

    def synchronize(self) -> None:
        self.waited += 1


def test_pytorch_computes_on_the_same_kind_of_device_as_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = FakeTorch(has_cuda=True)
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert pytorch.device_like("cpu").type == "cpu"
    assert torch.backends.cudnn.allow_tf32  # a CPU's settings are left alone
    place = pytorch.device_like("gpu")
    assert place.type == "cuda"
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32

    assert pytorch.waiting(lambda: 5, place)() == 5
    assert torch.waited == 1
    assert pytorch.waiting(lambda: 5, torch.device("cpu"))() == 5
    assert torch.waited == 1


@pytest.mark.parametrize(("backend", "has_cuda"), [("gpu", False), ("tpu", True)])
def test_pytorch_is_left_out_where_it_has_no_such_device(
    monkeypatch: pytest.MonkeyPatch, backend: str, has_cuda: bool
) -> None:
    monkeypatch.setitem(sys.modules, "torch", FakeTorch(has_cuda))
    with pytest.raises(UnavailableError, match=f"finds no {backend.upper()}, which JAX computes on"):
        pytorch.device_like(backend)


def test_memory_is_the_devices_where_it_has_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.peak_bytes() > 10**7  # what this process has had resident
    with_statistics = SimpleNamespace(memory_stats=lambda: {"peak_bytes_in_use": 123})
    monkeypatch.setattr(jax, "devices", lambda: [with_statistics])
    assert memory.peak_bytes() == 123


def test_an_online_step_is_dispatched_synchronously_on_a_cpu_alone() -> None:
    with pytest.raises(UnavailableError, match="only programs for a CPU"):
        online.work("synchronous", GPU)
    records = [{"library": "rnnjax", "way": "jitted"}, {"library": "synchronous", "skipped": "a reason"}]
    assert online_report.best_way(records) == ("rnnjax", "params constant")
    assert online_report.best_way([*records, {"library": "synchronous"}]) == ("synchronous", "params constant")
