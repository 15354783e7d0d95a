"""How much memory does a gradient through time need, plain, with recomputation, and truncated?

    python -m benchmarks.memory
    python -m benchmarks.memory --quick
    python -m benchmarks.memory --cell=gru --steps=1000,4000,16000,64000 --batch=8 --hidden=64

Each point is a process of its own, which does nothing but compile and run one gradient. Measured are the most memory
that it ever had resident, what it had before the inputs were there, and XLA's own account of the program's temporary
memory. The loss reads the final state, so that what grows with T beyond the inputs is what is kept for the backward
pass. In one of the methods it reads all outputs, to show what those add.
"""

from absl import app, flags

import rnnjax
from benchmarks.common import arguments, command, machine
from benchmarks.memory import report
from benchmarks.memory.measure import CHUNK, measure

QUICK = {"steps": ["100", "400"], "batch": 2, "hidden": 8}
ACCELERATOR = {"steps": ["1000", "4000", "16000"], "batch": 16, "hidden": 512}

flags.DEFINE_string("cell", "lstm", "A cell by rnnjax's name.")
flags.DEFINE_list(
    "steps", ["1000", "10000", "100000"], "Values of T, the time steps; times are compared with those of the least."
)
flags.DEFINE_integer("batch", 1, "B, the batch size.", lower_bound=1)
flags.DEFINE_integer("hidden", 128, "H, the width of the hidden state and the inputs.", lower_bound=1)
command.define_flags("memory", QUICK, ACCELERATOR)
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("memory"):
        device = command.settle("memory", QUICK, ACCELERATOR)
        rnnjax.cell_named(FLAGS.cell)
        lengths = arguments.whole_numbers("steps", FLAGS.steps, least=CHUNK // 2)
        output = command.output_folder(argv)

    before = machine.describe(device)
    settings = command.chosen_settings("cell", "batch", "hidden")
    records = measure(lengths, device, **settings)
    finding = report.find(records, device)
    results = {"finding": finding, "machine": before, "settings": settings, "records": records}
    figure = report.draw(records, device, f"{finding}\n{FLAGS.cell}, B = {FLAGS.batch}, H = {FLAGS.hidden}")
    command.save(output, "memory", results, f"{report.write(records, device)}\n\n{finding}\n", figure)


if __name__ == "__main__":
    app.run(main)
