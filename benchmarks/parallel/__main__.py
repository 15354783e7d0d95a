"""From what length on is computing all steps of a sequence at once faster than one after the other?

    python -m benchmarks.parallel
    python -m benchmarks.parallel --quick
    python -m benchmarks.parallel --cells=gru --steps=64,1024 --sizes=1x16 --output=runs/benchmarks/parallel_gru

Cells with an affine recurrence run by ``unroll(method="parallel")``, the others by ``newton_unroll`` with the full
Jacobian and with its diagonal, all against ``unroll``. Calls take turns in one process.
"""

from absl import app, flags

import rnnjax
from benchmarks.common import arguments, command, machine
from benchmarks.common.device import set_up
from benchmarks.common.measure import DOUBT
from benchmarks.parallel import report
from benchmarks.parallel.measure import Size, measure

QUICK = {
    "steps": ["8", "32"],
    "sizes": ["1x4"],
    "cells": ["min_gru", "elman"],
    "rounds": 2,
}
ACCELERATOR = {
    "steps": ["64", "512", "4096", "32768"],
    "sizes": ["1x8", "8x64", "64x256"],
}

flags.DEFINE_list("cells", ["min_gru", "sru", "lru", "elman", "gru"], "Cells by rnnjax's names.")
flags.DEFINE_list("steps", ["64", "512", "4096", "16384"], "Values of T, the time steps.")
flags.DEFINE_list("sizes", ["1x8", "8x64"], "BxH: batch, and input and hidden width.")
flags.DEFINE_integer("rounds", 5, "Turns that each program takes in each case.", lower_bound=1)
command.define_flags("parallel", QUICK, ACCELERATOR)
FLAGS = flags.FLAGS

LEGEND = "Time of all steps at once as a multiple of the scan's (above 1: slower), steady state."


def main(argv: list[str]) -> None:
    with arguments.refusals("parallel"):
        device = command.settle("parallel", QUICK, ACCELERATOR)
        for name in FLAGS.cells:
            rnnjax.cell_named(name)
        lengths = arguments.whole_numbers("steps", FLAGS.steps)
        sizes = [Size(*arguments.sizes("sizes", text, "BxH")) for text in FLAGS.sizes]
        output = command.output_folder(argv)

    before = machine.describe(device)
    set_up(device)
    records = measure(FLAGS.cells, sizes, lengths, device, FLAGS.rounds)
    finding = report.find(records)
    settings = {"rounds": FLAGS.rounds, "input_width": "that of the hidden state", "dtype": "float32"}
    results = {"finding": finding, "machine": before, "settings": settings, "records": records}
    figure = report.draw(records, f"{finding}\n{machine.place(before)}")
    command.save(output, "parallel", results, f"{LEGEND} {DOUBT}\n\n{report.table(records)}\n\n{finding}\n", figure)


if __name__ == "__main__":
    app.run(main)
