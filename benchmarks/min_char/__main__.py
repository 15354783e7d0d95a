"""How many iterations a second does the minimal character model do, compared with the same model in NumPy loops?

    python -m benchmarks.min_char
    python -m benchmarks.min_char --quick

The model and its settings are those of experiments/min_char: an iteration reads 25 characters, takes the gradient back
through them and updates the params. rnnjax does 100 iterations in one program, in float32, and NumPy does one after the
other, in float64; these dtypes are the defaults. Each has a process of its own, and they take turns.
"""

from absl import app, flags

from benchmarks.common import arguments, command, machine
from benchmarks.min_char import report
from benchmarks.min_char.measure import measure

QUICK = {"rounds": 1, "iterations": 200, "hidden": 16}

flags.DEFINE_integer("hidden", 100, "H, the hidden width.", lower_bound=1)
flags.DEFINE_integer("iterations", 1000, "Iterations in each sample, a multiple of 100.", lower_bound=100)
flags.DEFINE_integer("rounds", 5, "How many samples are taken of each.", lower_bound=1)
command.define_flags("min_char", QUICK, {})
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("min_char"):
        device = command.settle("min_char", QUICK, {})
        output = command.output_folder(argv)
        if FLAGS.iterations % 100:
            raise ValueError(
                f"--iterations is {FLAGS.iterations}: expected a multiple of 100, the iterations of one program"
            )

    before = machine.describe(device)
    records = measure(device, FLAGS.rounds, hidden=FLAGS.hidden, iterations=FLAGS.iterations)
    finding = report.find(records)
    settings = command.chosen_settings("hidden", "iterations", "rounds")
    results = {"finding": finding, "machine": before, "settings": settings, "records": records}
    text = f"{report.table(records)}\n\n{finding}\n"
    command.save(output, "min_char", results, text, report.draw(records, finding))


if __name__ == "__main__":
    app.run(main)
