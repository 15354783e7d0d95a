"""What gradient_flow answers to several command lines: python -m tests.experiments.answer < [[FLAG...]...].

Each has a process of its own, forked once everything is imported: what a refusal takes is mostly that.
"""

import json
import os
import runpy
import sys
import tempfile

import experiments.gradient_flow.main  # noqa: F401


def answer(given: list[str]) -> tuple[int, str]:
    """The exit status, and what is on standard error."""
    with tempfile.TemporaryFile("w+") as errors:
        process = os.fork()
        if process == 0:
            os.dup2(errors.fileno(), sys.stderr.fileno())
            sys.argv[1:] = given
            runpy.run_module("experiments.gradient_flow", run_name="__main__", alter_sys=True)
            raise AssertionError("not refused")
        _, status = os.waitpid(process, 0)
        errors.seek(0)
        return os.waitstatus_to_exitcode(status), errors.read()


if __name__ == "__main__":
    print(json.dumps([answer(given) for given in json.load(sys.stdin)]))
