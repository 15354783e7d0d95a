"""Asks a process of answer.py what experiments and benchmarks answer, without waiting for their imports each time."""

import atexit
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@functools.cache
def _process() -> "subprocess.Popen[str]":
    """Answers one line of calls after the other, until this process ends."""
    module = [sys.executable, "-m", "tests.answer"]
    process = subprocess.Popen(module, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    atexit.register(process.communicate)  # which closes its standard input
    return process


def answered(calls: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """The exit status of each call of experiments, and what it left on standard error; one after the other."""
    of_experiments = [call | {"module": f"experiments.{call['module']}"} for call in calls]
    return [(status, printed) for status, printed, _ in _asked(of_experiments)]


def completed(module: str, *flags: str, drawn: bool = True) -> "subprocess.CompletedProcess[str]":
    """A command of experiments, such as ``language.generate``, that has come to its end."""
    return _completed({"module": f"experiments.{module}", "flags": flags, "drawn": drawn})


def measured(name: str, *flags: str) -> "subprocess.CompletedProcess[str]":
    """A benchmark that has come to its end."""
    return _completed({"module": f"benchmarks.{name}", "flags": flags})


def _completed(call: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    ((status, printed, said),) = _asked([call])
    return subprocess.CompletedProcess([call["module"], *call["flags"]], status, said, printed)


def _asked(calls: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    process = _process()
    assert process.stdin
    assert process.stdout
    print(json.dumps(calls), file=process.stdin, flush=True)
    answers = process.stdout.readline()
    assert answers, f"nothing was answered; status {process.poll()}"
    return [(status, printed, said) for status, printed, said in json.loads(answers)]
