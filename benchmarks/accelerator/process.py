"""A benchmark in a process of its own, which has a limit of time and does not outlive this one."""

import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common.device import ROOT

GRACE = 5.0
"""Seconds that a benchmark has to end by itself after it was interrupted."""

LONGEST = 200
"""Characters of a reason."""

EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception)\b.*(?:\n\s*\S.*)?", re.MULTILINE)
"""The line of a traceback that says what happened, and the line after it."""


def run(words: Sequence[str], log: Path, seconds: float) -> str | None:
    """Runs a command, whose output goes to the log. Returns why it failed, or None if it succeeded."""
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends that one
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"ended at its limit of {seconds:.0f} s"
        finally:
            end(process)
    return reason(status, log.read_text(encoding="utf-8", errors="replace")) if status else None


def end(process: subprocess.Popen[bytes]) -> None:
    """Interrupts a process that still runs, so that it ends its own workers; kills it if it does not heed that.

    Workers of a process that was killed end when their standard input does (``benchmarks/common/worker.py``).
    """
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def reason(status: int, log: str) -> str:
    """Why a process failed, by its exit status and its log: the first error, but lack of memory before all others."""
    errors = [" ".join(error.split()) for error in EXCEPTION.findall(log)]
    for error in errors:
        if re.search("out of memory|RESOURCE_EXHAUSTED", error, re.IGNORECASE):
            return f"out of memory: {error}"[:LONGEST]
    if errors:
        return errors[0][:LONGEST]
    if status < 0:
        return f"ended by {signal.Signals(-status).name}, as by the system when memory is short"
    lines = log.split("\n") if log.strip() else [f"exit status {status}"]
    return [line for line in lines if line.strip()][-1][:LONGEST]
