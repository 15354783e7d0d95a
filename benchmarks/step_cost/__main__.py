"""What does one more step of a loop over time cost, however little it computes, and what does ``unroll=`` change?

    python -m benchmarks.step_cost
    python -m benchmarks.step_cost --quick
    python -m benchmarks.step_cost --cells=gru --hidden=8,64,512 --unroll=1 --output=runs/benchmarks/step_cost_gru

A call takes a time of its own and a time for each step: seconds = call + step T. Both are fitted to the times of
sequences of several lengths, and neither is given where the times do not lie on a line. With a narrow state the cost of
a step is that of starting its operations. ``--hidden`` with several widths shows how much a step can compute for that
cost, and ``--unroll`` with several numbers how the cost changes where the loop takes so many steps in one turn, as
``jax.lax.scan(unroll=...)`` does it. What runs is one sequence (B = 1), forward and with its gradient, in the loops of
``rnnjax.unroll`` and in a plain scan, whose derivative JAX makes.
"""

from absl import app, flags

import rnnjax
from benchmarks.common import arguments, command, machine
from benchmarks.common.device import set_up
from benchmarks.step_cost import report
from benchmarks.step_cost.measure import BATCH, PROGRAMS, WAYS, Case, measure
from rnnjax.names import lookup

QUICK = {"steps": ["16", "32", "64", "128"], "hidden": ["4"], "unroll": ["1", "4"]}

flags.DEFINE_list("cells", ["indrnn", "lstm"], "Cells by rnnjax's names; indrnn has no matrix product in its steps.")
flags.DEFINE_list("hidden", ["8"], "Values of H, the width of state and inputs.")
flags.DEFINE_list("unroll", ["1", "4", "16"], "Numbers of steps that one turn of the loop takes.")
flags.DEFINE_list("programs", list(PROGRAMS), f"What is timed: {', '.join(PROGRAMS)}.")
flags.DEFINE_list("ways", list(WAYS), f"Whose loops are timed: {', '.join(WAYS)}.")
flags.DEFINE_list(
    "steps", ["256", "512", "1024", "2048", "4096"], "Values of T, the time steps, to which a line is fitted."
)
flags.DEFINE_integer("repeats", 20, "Calls at each length; the least time counts.", lower_bound=1)
command.define_flags("step_cost", QUICK, {})
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("step_cost"):
        device = command.settle("step_cost", QUICK, {})
        for name in FLAGS.cells:
            rnnjax.cell_named(name)
        programs = [lookup("program", name, PROGRAMS) for name in FLAGS.programs]
        for name in FLAGS.ways:
            lookup("way", name, WAYS)
        lengths = arguments.whole_numbers("steps", FLAGS.steps, count=4)
        widths = arguments.whole_numbers("hidden", FLAGS.hidden)
        unrolled = arguments.whole_numbers("unroll", FLAGS.unroll)
        output = command.output_folder(argv)

    before = machine.describe(device)
    set_up(device)
    cases = [
        Case(name, program, way, width, count)
        for name in FLAGS.cells
        for program in programs
        for way in FLAGS.ways
        for width in widths
        for count in unrolled
    ]
    records = measure(cases, lengths, FLAGS.repeats)
    finding = report.find(records)
    settings = command.chosen_settings("repeats", "steps") | {"batch": BATCH, "dtype": "float32"}
    results = {"finding": finding, "machine": before, "settings": settings, "records": records}
    figure = report.draw(records, f"{finding}\n{machine.place(before)}")
    command.save(output, "step_cost", results, f"{report.GUIDE}\n\n{report.table(records)}\n\n{finding}\n", figure)


if __name__ == "__main__":
    app.run(main)
