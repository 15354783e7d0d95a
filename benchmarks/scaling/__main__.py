"""How does the cost of a gradient grow with the time steps T, the batch B and the width H?

    python -m benchmarks.scaling
    python -m benchmarks.scaling --quick
    python -m benchmarks.scaling --cell=gru --base=200x16x64 --output=runs/benchmarks/scaling_gru

From a base, one of the three grows at a time; the exponent is the slope of time against it on doubly logarithmic axes.
At small sizes time grows more slowly, since each step of the loop has to start its operations, however little they
compute (measured with B = H = 2), and to read the weights and their gradient, however small the batch. The exponent is
therefore fitted to the upper half of each range, which is the stricter measure, and also to the whole range. The time
is the least of several calls, which take turns, since other programs can only add to it. Where a program needs much
memory (more than 32 MiB with glibc), each call gets it from the system anew, page by page. Time jumps once at that
size, and the table shows by how much. Compiling must not take longer for more steps, in processor time, which other
programs hardly change; for more layers, see benchmarks/compile_time/.
"""

from absl import app, flags

import rnnjax
from benchmarks.common import arguments, command, machine
from benchmarks.common.device import set_up
from benchmarks.scaling import report
from benchmarks.scaling.measure import AXES, Size, measure

QUICK = {
    "steps": ["4", "8", "16"],
    "batch": ["1", "2", "4"],
    "hidden": ["4", "8", "16"],
    "base": "8x2x8",
    "repeats": 3,
    "rounds": 1,
}
ACCELERATOR = {
    "batch": [str(2**power) for power in range(13)],
    "hidden": [str(2**power) for power in range(5, 13)],
    "base": "100x64x256",
}

flags.DEFINE_string("cell", "lstm", "A cell by rnnjax's name.")
flags.DEFINE_list("steps", [str(50 * 2**power) for power in range(8)], "Values of T, the time steps.")
flags.DEFINE_list("batch", [str(2**power) for power in range(10)], "Values of B, the batch size.")
flags.DEFINE_list("hidden", [str(2**power) for power in range(3, 10)], "Values of H, the width of state and inputs.")
flags.DEFINE_string("base", "100x16x64", "TxBxH: the values of the two sizes that do not grow.")
flags.DEFINE_integer("repeats", 9, "Calls at each size.", lower_bound=1)
flags.DEFINE_integer("rounds", 3, "How many times the gradient is compiled for each T.", lower_bound=1)
command.define_flags("scaling", QUICK, ACCELERATOR)
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("scaling"):
        device = command.settle("scaling", QUICK, ACCELERATOR)
        rnnjax.cell_named(FLAGS.cell)
        base = Size(*arguments.sizes("base", FLAGS.base, "TxBxH"))
        ranges = {
            name: arguments.whole_numbers(axis.flag, FLAGS[axis.flag].value, count=3) for name, axis in AXES.items()
        }
        output = command.output_folder(argv)

    before = machine.describe(device)
    set_up(device)
    growths, compiling, empty = measure(FLAGS.cell, base, ranges, device, FLAGS.repeats, FLAGS.rounds)
    finding = report.find(FLAGS.cell, growths, compiling, empty)
    results = {
        "finding": finding,
        "machine": before,
        "settings": command.chosen_settings("cell", "repeats", "rounds") | {"base": base._asdict()},
        "records": [g._asdict() | {"upper": g.upper._asdict(), "whole": g.whole._asdict()} for g in growths],
        "compile": compiling._asdict(),
        "empty_step_seconds": empty,
    }
    introduction = f"Gradient of {FLAGS.cell}; what does not grow is {base}."
    text = f"{introduction}\n\n{report.table(growths, base)}\n\n{finding}\n"
    command.save(output, "scaling", results, text, report.draw(growths, compiling, base, empty, finding))


if __name__ == "__main__":
    app.run(main)
