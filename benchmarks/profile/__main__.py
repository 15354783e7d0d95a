"""Does the time of a gradient go into the loops forward and back, into their products, or outside of the loops?

    python -m benchmarks.profile
    python -m benchmarks.profile --quick
    python -m benchmarks.profile --cells=gru --shapes=100x32x128x128

JAX's profiler tells when each operation of the compiled program began and ended; the program's text tells which of them
are matrix products, and in which loop they stand. Times are on one device, medians over calls. The profiler makes small
operations take longer. The table says how much; where it is much, the shares of the loops are too large.
"""

from absl import app, flags

import rnnjax
from benchmarks.common import arguments, command, machine
from benchmarks.common.device import set_up
from benchmarks.profile import report
from benchmarks.profile.measure import measure

QUICK = {"shapes": ["5x2x3x4"], "cells": ["lstm"], "calls": 2}
ACCELERATOR = {"shapes": ["200x64x512x512", "100x256x1024x1024", "50x512x2048x2048", "1000x128x64x256"]}

flags.DEFINE_list("cells", ["elman", "lstm", "gru", "gru_reset_after"], "Cells by rnnjax's names.")
flags.DEFINE_list(
    "shapes",
    ["100x32x128x128", "200x16x64x64", "50x50x512x512", "1000x8x32x64"],
    "Shapes TxBxIxH: time steps, batch, input and hidden width.",
)
flags.DEFINE_integer("calls", 7, "Calls that are measured of each cell and shape.", lower_bound=1)
command.define_flags("profile", QUICK, ACCELERATOR)
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("profile"):
        device = command.settle("profile", QUICK, ACCELERATOR)
        shapes = [arguments.sizes("shapes", text, "TxBxIxH") for text in FLAGS.shapes]
        if any(steps < 2 for steps, *_ in shapes):
            raise ValueError(f"--shapes is {','.join(FLAGS.shapes)}: expected at least two steps, for one is no loop")
        for cell in FLAGS.cells:
            rnnjax.cell_named(cell)
        output = command.output_folder(argv)

    before = machine.describe(device)
    set_up(device)
    records = [measure(cell, shape, device, FLAGS.calls) for cell in FLAGS.cells for shape in shapes]
    finding = report.find(records)
    settings = command.chosen_settings("cells", "shapes", "calls")
    results = {"finding": finding, "machine": before, "settings": settings, "records": records}
    text = f"{report.write(records)}\n{finding}\n"
    command.save(output, "profile", results, text, report.draw(records, finding))


if __name__ == "__main__":
    app.run(main)
