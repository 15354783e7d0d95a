"""How many characters a second does a character model train on, here and in PyTorch, on one device and on two?

    python -m benchmarks.training
    python -m benchmarks.training --quick
    python -m benchmarks.training --hidden=256 --steps=100 --batch=32 --output=runs/benchmarks/training_256

What is timed are training steps of two LSTM layers and a readout on one-hot characters: mean cross entropy, its
gradient, clipping by global norm, and Adam. Params and the optimizer's state are donated, and new characters come from
NumPy. Ten steps are one dispatch, as in ``experiments.language``, and a call has ended when the losses and the new
params are there; PyTorch does the same steps one after the other. Two devices are two parts of the processor
(``jax_num_cpu_devices``), each with half the batch and all params: divided by ``jax.jit`` along a ``NamedSharding``, or
by hand in ``jax.shard_map``, so that the gradients of the two halves are added once, behind the loop over time.

All start from the same weights and see the same characters; the run fails unless they then have the same losses and
weights, up to rounding. For that PyTorch's second bias, which adds nothing, stays at zero.
"""

from absl import app, flags

from benchmarks.common import arguments, command, machine
from benchmarks.common.measure import DOUBT
from benchmarks.training import report
from benchmarks.training.measure import measure
from benchmarks.training.steps import LAYERS, Size

QUICK = {"hidden": ["8"], "steps": 5, "batch": 4, "vocabulary": 7, "steps_a_call": 5, "repeats": 2, "rounds": 2}
ACCELERATOR = {"hidden": ["512", "2048"], "steps": 100, "batch": 512}

flags.DEFINE_list("hidden", ["64", "128", "256", "384", "512"], "Values of H, the width of both layers.")
flags.DEFINE_integer("steps", 50, "T, the number of time steps.", lower_bound=1)
flags.DEFINE_integer("batch", 50, "B, the batch size, an even number.", lower_bound=1)
flags.DEFINE_integer("vocabulary", 96, "V, the number of different characters.", lower_bound=2)
flags.DEFINE_integer("steps_a_call", 10, "Training steps in one dispatch.", lower_bound=1)
flags.DEFINE_integer("repeats", 1, "Dispatches in each turn.", lower_bound=1)
flags.DEFINE_integer("rounds", 5, "Turns that each way of training takes at each width.", lower_bound=1)
command.define_flags("training", QUICK, ACCELERATOR)
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("training"):
        device = command.settle("training", QUICK, ACCELERATOR)
        if FLAGS.batch % 2:
            raise ValueError(f"--batch is {FLAGS.batch}: expected an even number, half of it for each device")
        widths = arguments.whole_numbers("hidden", FLAGS.hidden)
        output = command.output_folder(argv)

    before = machine.describe(device, ["optax", "flax", "torch"])
    sizes = [Size(FLAGS.steps, FLAGS.batch, FLAGS.vocabulary, hidden, FLAGS.steps_a_call) for hidden in widths]
    records = measure(sizes, device, FLAGS.rounds, FLAGS.repeats)
    settings = command.chosen_settings(*QUICK) | {"layers": LAYERS, "target": report.TARGET}
    finding = report.find(records) + machine.doubt(before)
    results = {"finding": finding, "machine": before, "settings": settings, "records": records}
    text = f"{DOUBT}\n{report.write(records)}{finding}\n"
    command.save(output, "training", results, text, report.draw(records, finding, machine.place(before)))


if __name__ == "__main__":
    app.run(main)
