"""Processes that take turns: one for each library, since the thread pools of XLA and PyTorch disturb each other."""

import functools
import gc
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, Self

from benchmarks.common.device import ROOT, Device, UnavailableError, environment

Answer = Callable[..., Mapping[str, Any]]
"""The function that turns a request's arguments into an answer."""

GRACE = 1.0
"""Seconds that a worker has to end by itself when nobody asks any more."""

WITHOUT_JAX = ("torch", "torch_loop", "numpy", "gensim")
"""Workers that do not touch JAX's device."""


class Process:
    """A process that answers requests, one JSON object on each line. Between requests it leaves the cores to others."""

    def __init__(self, module: str, device: Device) -> None:
        """Starts ``python -m module``, which calls ``serve``."""
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(device)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(device),
            start_new_session=True,  # Ctrl-C reaches the parent alone; the worker ends with its standard input
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer; raises a ``RuntimeError`` if the process died (its traceback is on standard error)."""
        assert self.process.stdin
        assert self.process.stdout
        with self.lock:
            try:
                self.process.stdin.write(json.dumps(request) + "\n")
                self.process.stdin.flush()
                line = self.process.stdout.readline()
            except BrokenPipeError:
                line = ""
        if not line:
            status = self.process.wait()
            raise RuntimeError(f"worker {request['worker']} died with exit code {status}; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        if error[0]:
            self.process.terminate()
        self.process.wait()


class Worker(NamedTuple):
    """One of the programs that a benchmark compares, and the process that it runs in."""

    name: str
    process: Process

    def ask(self, **request: Any) -> dict[str, Any]:
        """Its answer, which is ``skipped`` with a reason if it cannot do that here."""
        return self.process.ask(worker=self.name, **request)


@contextmanager
def workers(module: str, names: Sequence[str], device: Device) -> Iterator[list[Worker]]:
    """A worker for each name, each in a process of its own; JAX's share one on a TPU, which one process holds."""
    with ExitStack() as stack:

        def start() -> Process:
            return stack.enter_context(Process(module, device))

        shared = functools.cache(start)
        apart = [device.backend != "tpu" or name in WITHOUT_JAX for name in names]
        yield [Worker(name, start() if alone else shared()) for name, alone in zip(names, apart, strict=True)]


def serve(work: Callable[[str, Device], Answer]) -> None:
    """The process's side: answers each line of standard input until that closes.

    ``work(name, device)`` is called once for each worker; what it returns answers the worker's requests.
    """
    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not mix with the replies
    threading.Thread(target=_end_with_input, daemon=True).start()
    device = Device(*json.loads(sys.argv[1]))
    work = functools.cache(work)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(answer_or_reason(work, request.pop("worker"), device, request)), file=replies, flush=True)
    gc.freeze()  # else Python looks for garbage in all that was imported before it ends


def _end_with_input() -> None:
    """Ends this process soon after its standard input, even while it answers: a killed benchmark leaves nobody busy."""
    other_end = select.poll()
    other_end.register(sys.stdin.fileno(), 0)  # reports nothing but that the other end is closed
    other_end.poll()
    time.sleep(GRACE)
    os._exit(1)


def answer_or_reason(
    work: Callable[[str, Device], Answer], name: str, device: Device, request: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The answer, or the reason why there is none."""
    try:
        return work(name, device)(**request)
    except UnavailableError as error:
        return {"skipped": str(error)}
    except ModuleNotFoundError as error:
        return {"skipped": f"not installed ({error}): run `make peers`"}
