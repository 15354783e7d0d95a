"""How fast is a recurrent layer here and elsewhere, and what does measuring its gradient flow cost?

    python -m benchmarks.unroll
    python -m benchmarks.unroll --quick
    python -m benchmarks.unroll --cells=lstm --shapes=100x32x128x128 --peers=scan,flax --output=runs/benchmarks/lstm

Each library runs in a process of its own, since the thread pools of XLA and PyTorch disturb each other, and the
processes take turns, so that a busy machine slows all of them alike. README.md and TRIED.md in the folder above say how
it is measured.
"""

from collections.abc import Iterable

from absl import app, flags

from benchmarks.common import arguments, command, machine
from benchmarks.unroll import peers, report
from benchmarks.unroll.measure import FEWEST_ROUNDS, MOST_REPEATS, Record, measure
from benchmarks.unroll.peers.layer import GATES, Shape
from rnnjax.names import lookup

PEERS = [name for name in peers.BUILDERS if name != "rnnjax"]
SHAPES = ["100x32x128x128", "200x16x64x64", "50x50x512x512", "25x1x96x100", "1000x8x32x64"]
ACCELERATOR = {
    "shapes": ["100x1x128x128", "200x64x512x512", "100x256x1024x1024", "50x512x2048x2048", "1000x128x64x256"]
}
QUICK = {
    "shapes": ["8x4x8x8"],
    "cells": ["elman", "lstm"],
    "rounds": 2,
    "seconds": 0.5,
}

flags.DEFINE_list("shapes", SHAPES, "TxBxIxH: time steps, batch, input and hidden width.")
flags.DEFINE_list("cells", list(GATES), "Cells by rnnjax's names.")
flags.DEFINE_list("peers", PEERS, "Libraries and references to compare with.")
flags.DEFINE_integer("rounds", 9, "How many times each library is measured on each cell and shape.", lower_bound=1)
flags.DEFINE_float(
    "seconds",
    12,
    f"About how many seconds to measure each cell and shape. A turn repeats its call 1 to {MOST_REPEATS} times to keep "
    f"to that; after it measuring ends, but not before {FEWEST_ROUNDS} rounds.",
    lower_bound=0,
)
command.define_flags("unroll", QUICK, ACCELERATOR)
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("unroll"):
        device = command.settle("unroll", QUICK, ACCELERATOR)
        shapes = [Shape(*arguments.sizes("shapes", text, "TxBxIxH")) for text in FLAGS.shapes]
        cells = known("cell", FLAGS.cells, GATES)
        libraries = ["rnnjax", *known("peer", FLAGS.peers, PEERS)]
        output = command.output_folder(argv)

    before = machine.describe(device, peers.PACKAGES)
    cases = [(cell, shape) for cell in cells for shape in shapes]
    records = measure(libraries, cases, device, FLAGS.rounds, FLAGS.seconds)
    results: Record = {
        "finding": report.find(records),
        "targets": report.check_targets(records) if device.on_cpu else [],
        "machine": before,
        "settings": command.chosen_settings("rounds", "seconds"),
        "records": records,
    }
    command.save(output, "unroll", results, report.write(results), report.draw(results))


def known(kind: str, names: list[str], valid: Iterable[str]) -> list[str]:
    """The names; a ``ValueError`` for one that is not valid."""
    return [lookup(kind, name, {name: name for name in valid}) for name in names]


if __name__ == "__main__":
    app.run(main)
