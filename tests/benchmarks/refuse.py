"""What a benchmark answers to several command lines, in one process: python -m tests.benchmarks.refuse NAME LINE..."""

import importlib
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


if __name__ == "__main__":
    name, *command_lines = sys.argv[1:]
    importlib.import_module(f"benchmarks.{name}.__main__")  # which defines the flags
    for line in command_lines:
        flags.FLAGS.unparse_flags()
        for flag in flags.FLAGS:
            flags.FLAGS[flag].unparse()
        print(answer(name, line.split()))
