"""Runs commands of experiments, each in its own process, and prints their answers: python -m tests.experiments.answer.

Each line of standard input is a list of calls, and each line of standard output the list of their answers. A call is a
dict in JSON with the ``module`` within ``experiments`` and its ``flags``. If something is to go wrong, ``fault`` says
what, and ``at`` names a module, a function in it, and the number of the call at which it happens. Processes are forked
after everything has been imported, since importing is most of what a refused command takes.
"""

import importlib
import json
import os
import resource
import runpy
import signal
import sys
import time
from typing import Any

import experiments.gradient_flow.main
import experiments.language.main
import experiments.language.report  # noqa: F401

LIMIT = 600
"""Seconds in which a line of calls must be answered."""


def answer(call: dict[str, Any]) -> tuple[int, str]:
    """The exit status, and what is on standard error."""
    output, input_ = os.pipe()
    process = os.fork()
    if process == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
        os.dup2(input_, sys.stderr.fileno())
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        os.close(output)
        os.close(input_)
        if "fault" in call:
            arrange(FAULTS[call["fault"]], *call["at"])
        sys.argv[1:] = call["flags"]
        runpy.run_module(f"experiments.{call['module']}", run_name="__main__", alter_sys=True)
        raise AssertionError("a command that does not exit")
    os.close(input_)
    with os.fdopen(output) as printed:
        text = printed.read()
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), text


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
    while line := sys.stdin.readline():
        signal.alarm(LIMIT)  # which nobody catches
        print(json.dumps([answer(call) for call in json.loads(line)]), flush=True)
        signal.alarm(0)
