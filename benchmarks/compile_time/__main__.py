"""How long does it take to compile the gradient of a deep network, by depth?

    python -m benchmarks.compile_time
    python -m benchmarks.compile_time --quick
    python -m benchmarks.compile_time --cell=gru --depths=2,4,8,16,32,64

There are three ways to make a deep network: a ``stack`` of separate layers; a ``repeat`` of one layer, which is a scan
over the layers and needs inputs as wide as the outputs; and a ``stack`` of one layer and a ``repeat`` of the others,
for inputs of any width. What is timed is tracing, lowering and compiling, in processes that do nothing else and take
turns, by the clock and as processor time, which other programs hardly change. Then the compiled program is timed, too.
"""

from absl import app, flags

import rnnjax
from benchmarks.common import arguments, command, machine
from benchmarks.compile_time import report
from benchmarks.compile_time.measure import measure

QUICK = {"depths": ["2", "4"], "rounds": 1, "hidden": 8, "steps": 8}
ACCELERATOR = {"hidden": 512, "batch": 64}

flags.DEFINE_string("cell", "lstm", "A cell by rnnjax's name.")
flags.DEFINE_list("depths", ["2", "8", "32"], "Numbers of layers, at least 2; others are compared with the least.")
flags.DEFINE_integer("hidden", 64, "H, the width of the hidden state and the inputs.", lower_bound=1)
flags.DEFINE_integer("steps", 200, "T, the number of time steps.", lower_bound=1)
flags.DEFINE_integer("batch", 16, "B, the batch size.", lower_bound=1)
flags.DEFINE_integer("rounds", 3, "How many fresh processes measure each depth.", lower_bound=1)
command.define_flags("compile_time", QUICK, ACCELERATOR)
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("compile_time"):
        device = command.settle("compile_time", QUICK, ACCELERATOR)
        rnnjax.cell_named(FLAGS.cell)
        depths = arguments.whole_numbers("depths", FLAGS.depths, least=2)
        output = command.output_folder(argv)

    before = machine.describe(device)
    shape = command.chosen_settings("cell", "hidden", "steps", "batch")
    records = measure(depths, device, FLAGS.rounds, **shape)
    finding = report.find(records)
    settings = shape | {"rounds": FLAGS.rounds}
    results = {"finding": finding, "machine": before, "settings": settings, "records": records}
    figure = report.draw(records, f"{finding}\n{FLAGS.cell}, H = {FLAGS.hidden}.")
    command.save(output, "compile_time", results, f"{report.table(records)}\n\n{finding}\n", figure)


if __name__ == "__main__":
    app.run(main)
