"""How long does it take to compile the gradient of a deep network, by depth?

    python -m benchmarks.compile_time
    python -m benchmarks.compile_time --quick
    python -m benchmarks.compile_time --cell=gru --depths=2,4,8,16,32,64

Three ways of depth: ``stack`` of separate layers; ``repeat`` of all layers, which is scanned over them and needs inputs
as wide as the outputs; and ``stack`` of one layer and a ``repeat`` of the others, for inputs of any width. Time is that
of tracing, lowering and compiling, in processes that do nothing else and take turns, and the same as processor time,
which other programs hardly change; then the program runs, so that the price in steady state is seen, too.
"""

from absl import app, flags

import rnnjax
from benchmarks.common import arguments, command, machine
from benchmarks.compile_time import report
from benchmarks.compile_time.measure import measure

QUICK = {"depths": ["2", "4"], "rounds": 1, "hidden": 8, "steps": 8}
ACCELERATOR = {"hidden": 512, "batch": 64}

flags.DEFINE_string("cell", "lstm", "A cell by rnnjax's name.")
flags.DEFINE_list("depths", ["2", "8", "32"], "Numbers of layers, 2 and more; compared with the first.")
flags.DEFINE_integer("hidden", 64, "H, and the width of the inputs.", lower_bound=1)
flags.DEFINE_integer("steps", 200, "T.", lower_bound=1)
flags.DEFINE_integer("batch", 16, "B.", lower_bound=1)
flags.DEFINE_integer("rounds", 3, "Fresh processes for each point.", lower_bound=1)
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
