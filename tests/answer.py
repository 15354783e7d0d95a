"""Runs experiments and benchmarks, each in its own process, and prints their answers: python -m tests.answer.

Each line of standard input is a list of calls, and each line of standard output the list of their answers. A call is a
dict in JSON with the ``module``, such as experiments.language, and its ``flags``. If something is to go wrong,
``fault`` says what, and ``at`` names a module, a function in it, and the number of the call at which it happens. If the
claim is about records alone, ``drawn`` is false. Processes are forked after everything has been imported and the
library of the pages has been put together, which is most of what a small run takes. The workers that benchmarks start
are forked, too.
"""

import contextlib
import functools
import gc
import importlib
import json
import os
import resource
import runpy
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from experiments.common import catalogue, vega_lite
from tests import forked
from tests.experiments.undrawn import leave_figures_empty

RUN_LONGER = ("arithmetic", "captioning", "classification", "music", "speech", "tracking", "translation")
"""Experiments whose programs run for so long, even in the quick variant, that they are worth optimizing a little."""

OPTIMIZED = ("--xla_backend_optimization_level=0", "--xla_backend_optimization_level=1")
"""What tests/conftest.py sets, and what stands in its place; a run of arithmetic takes 0.7 of the processor time."""

LIMIT = 600
"""Seconds in which a line of calls must be answered."""


def prepare() -> None:
    """Does what all calls need, before the first of them."""
    for experiment in catalogue.experiments():
        importlib.import_module(f"experiments.{experiment.name}.main")
    vega_lite.library()
    gc.collect()
    gc.freeze()


@functools.cache
def prepare_peers() -> None:
    """Imports what many benchmarks compare with."""
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("torch")
    gc.collect()
    gc.freeze()


def answer(call: dict[str, Any]) -> tuple[int, str, str]:
    """The exit status, what is on standard error, and what is on standard output."""
    if call["module"].startswith("benchmarks."):
        prepare_peers()
    pipes = {sys.stderr: os.pipe(), sys.stdout: os.pipe()}  # not files, whose size may be limited
    process = os.fork()
    if process == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
        for stream, (output, input_) in pipes.items():
            os.dup2(input_, stream.fileno())
            os.close(output)
            os.close(input_)
        become(call)
    for _, input_ in pipes.values():
        os.close(input_)
    with ThreadPoolExecutor() as pool:
        printed, said = pool.map(everything, (output for output, _ in pipes.values()))
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), printed, said


def everything(output: int) -> str:
    """What comes out of a pipe."""
    with os.fdopen(output) as file:
        return file.read()


def become(call: dict[str, Any]) -> NoReturn:
    """Does in this process what the call says, and exits."""
    if not call.get("drawn", True):
        leave_figures_empty()
    if call["module"].removeprefix("experiments.") in RUN_LONGER:
        os.environ["XLA_FLAGS"] = os.environ["XLA_FLAGS"].replace(*OPTIMIZED)  # read when JAX looks for its devices
    if "fault" in call:
        arrange(FAULTS[call["fault"]], *call["at"])
    if call["module"].startswith("benchmarks."):
        forked.fork_workers()
    sys.argv[1:] = call["flags"]
    runpy.run_module(call["module"], run_name="__main__", alter_sys=True)
    raise AssertionError("a command that does not exit")


def arrange(fault: Any, module: str, function: str, number: int) -> None:
    """Has something go wrong when a function is called a given number of times."""
    home = importlib.import_module(module)
    real, calls = getattr(home, function), 0

    def faulty(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            fault()
        return real(*arguments, **options)

    setattr(home, function, faulty)


class Lost:
    """Interrupts where Python cannot raise it."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)


FAULTS = {
    "interruption lost": lambda: Lost() and None,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    # Time for the main thread to hear of it: else what is left of a short run may be done before.
    "interrupted": lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(0.5)),
    # A limit on the size of files stands in for a full disk.
    "disk full": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY)),
}


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    prepare()
    while line := sys.stdin.readline():
        signal.alarm(LIMIT)  # which nobody catches
        print(json.dumps([answer(call) for call in json.loads(line)]), flush=True)
        signal.alarm(0)
