"""How do the benchmarks come out on the GPU or TPU that JAX finds, all of them within ten minutes?

    python -m benchmarks.accelerator
    python -m benchmarks.accelerator --quick
    python -m benchmarks.accelerator --parts=unroll_lstm,training --minutes=4 --output=runs/benchmarks/lstm

It calls the other benchmarks one after the other, each in a process of its own and at sizes for an accelerator, the
most important ones first (``parts.py``). Each has a limit of time. The table also lists the parts that failed, that
reached their limit, or for which the minutes were not enough, with the reason. It is written anew after each part.

On a CPU, and with ``--quick``, sizes are tiny. Such a run shows that everything works and says nothing about speed.
"""

import signal
import sys
import time

from absl import app, flags

from benchmarks.accelerator import report
from benchmarks.accelerator.measure import NOT_STARTED, Outcome, measure
from benchmarks.accelerator.parts import PARTS, chosen
from benchmarks.common import arguments, command, machine

QUICK = {"minutes": 5.0}
OF_CUDA = ("jax-cuda12-plugin", "jax-cuda13-plugin", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13")
PACKAGES = ("flax", "optax", "torch", *OF_CUDA, "libtpu")

flags.DEFINE_list("parts", list(PARTS), "What is measured, in this order.")
flags.DEFINE_float(
    "minutes",
    10,
    "Minutes for the whole run; when they are over, what runs is ended and nothing more is started.",
    lower_bound=0,
)
command.define_flags("accelerator", QUICK, {})
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    start = time.monotonic()
    with arguments.refusals("accelerator"):
        device = command.settle("accelerator", QUICK, {})
        quick = FLAGS.quick or device.on_cpu
        parts = chosen(FLAGS.parts, quick)
        output = command.output_folder(argv)

    about: report.About = {
        "machine": machine.describe(device, PACKAGES) | {"driver": machine.driver(device)},
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "settings": command.chosen_settings("minutes", "parts") | {"quick": quick, "dtype": "float32"},
    }
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the process that runs, as Ctrl-C does
    outcomes = {part: Outcome(NOT_STARTED) for part in parts}
    deadline = start + 60 * FLAGS.minutes
    finished = measure(outcomes, output, quick, deadline, lambda: report.save(output, outcomes, about))
    about["minutes_taken"] = (time.monotonic() - start) / 60
    print(report.save(output, outcomes, about))
    print(f"The table, and a folder for each part with its samples and its log, are in {output}")
    sys.exit(None if finished else 130)


if __name__ == "__main__":
    app.run(main)
