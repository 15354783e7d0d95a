"""What benchmarks answer to command lines, in one process: python -m tests.benchmarks.refuse < {NAME: [LINE...]}."""

import importlib
import json
import sys

from absl import flags

from benchmarks.common import command
from benchmarks.common.device import Device

DEVICES = {"--on_cpu": Device("cpu", "cpu", 1, False), "--on_gpu": Device("gpu", "a GPU", 1, True)}


def answer(name: str, words: list[str]) -> str:
    """The message that the program ends with."""
    command.find = lambda: DEVICES["--on_gpu" if "--on_gpu" in words else "--on_cpu"]
    argv = flags.FLAGS([name, *(word for word in words if word not in DEVICES)])
    try:
        importlib.import_module(f"benchmarks.{name}.__main__").main(argv)
    except SystemExit as end:
        return str(end)
    return "not refused"


def answers(name: str, lines: list[str]) -> list[str]:
    """To each line; the program's own flags are defined for as long."""
    others = set(flags.FLAGS)
    importlib.import_module(f"benchmarks.{name}.__main__")
    given = []
    for line in lines:
        flags.FLAGS.unparse_flags()
        for flag in flags.FLAGS:
            flags.FLAGS[flag].unparse()
        given.append(answer(name, line.split()))
    for flag in set(flags.FLAGS) - others:
        delattr(flags.FLAGS, flag)
    return given


if __name__ == "__main__":
    print(json.dumps({name: answers(name, lines) for name, lines in json.load(sys.stdin).items()}))
