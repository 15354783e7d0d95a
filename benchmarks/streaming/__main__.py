"""How long does a streaming loop take to answer a sample, and how much of that is the network's step?

    python -m benchmarks.streaming
    python -m benchmarks.streaming --quick
    python -m benchmarks.streaming --cells=lstm --hidden=64 --output=runs/benchmarks/streaming_lstm

A process reads one sample from each line, does one step of a cell with one input and a readout to one number, and
writes the estimate. This is the loop of ``experiments.tracking.stream``, with the step done in several ways and
libraries from equal weights; the run fails unless the first answers agree. The time of a line is taken by the process
that writes it and waits for the answer. The time of a step is taken within the loop, after it has waited for the line,
so that caches have cooled and cores have gone to sleep; in ``benchmarks.online`` steps follow each other directly. All
runs on the CPU.
"""

from absl import app, flags

from benchmarks.common import arguments, command, machine
from benchmarks.common.measure import DOUBT
from benchmarks.streaming.measure import CPU, measure
from benchmarks.streaming.report import draw, texts
from benchmarks.streaming.steps import CELLS
from rnnjax.names import lookup

QUICK = {"hidden": ["8"], "repeats": 20, "rounds": 2}

flags.DEFINE_list("cells", list(CELLS), "Cells: gru, lstm.")
flags.DEFINE_list("hidden", ["16", "64", "256"], "Values of H, the hidden width.")
flags.DEFINE_integer("repeats", 500, "Samples in each turn.", lower_bound=1)
flags.DEFINE_integer("rounds", 9, "Turns that each way of doing a step takes.", lower_bound=1)
command.define_flags("streaming", QUICK, {})
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("streaming"):
        command.settle("streaming", QUICK, {})
        for cell in FLAGS.cells:
            lookup("cell", cell, CELLS)
        sizes = arguments.whole_numbers("hidden", FLAGS.hidden)
        output = command.output_folder(argv)

    before = machine.describe(CPU, ["flax", "torch"])
    records = measure(FLAGS.cells, sizes, FLAGS.rounds, FLAGS.repeats)
    tables, finding = texts(records)
    settings = command.chosen_settings("cells", *QUICK)
    results = {"finding": finding, "machine": before, "settings": settings, "records": records}
    title = f"{finding}\n{machine.place(before)}."
    command.save(output, "streaming", results, f"{DOUBT}\n{tables}{finding}\n", draw(records, title))


if __name__ == "__main__":
    app.run(main)
