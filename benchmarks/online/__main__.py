"""How long does one online step take, from state and input to new state and output, and what of it is the call?

    python -m benchmarks.online
    python -m benchmarks.online --quick
    python -m benchmarks.online --cells=lstm --hidden=64 --counts=1,50 --output=runs/benchmarks/online_lstm

B = 1, each step from where the last one ended, against PyTorch's cells under ``inference_mode`` and a step written in
NumPy, all with the same weights: the run fails unless the first outputs agree. Then k steps in one call by ``unroll``,
which tells what a call costs from what a step costs. "State donated" and "compiled ahead" differ by the latter alone;
"params constant" donates the state, too; "data from NumPy" is that with inputs from NumPy and outputs to it.

What to do for the lowest latency, and what it gave with H = 128 (microseconds for Elman, GRU and LSTM, two CPU cores):

- ``jax.jit`` the step: 390, 720 and 710 without, 9, 13 and 14 with it.
- ``jax.config.update("jax_cpu_enable_async_dispatch", False)`` before the first array: the program then runs in the
  thread that calls it. By default a program of some size is handed to another one, and a jitted step takes 100.
- Keep the state as JAX has it: 5 to 8 more where each step takes it to NumPy and back.
- Donate the state (``donate_argnums``): up to 1 less.
- Let the params be constants of the program, a closure instead of an argument: another 1 less. It is compiled anew
  where they change.
- ``.lower(...).compile()`` makes the first step as fast as the others, as does calling the jitted step once beforehand;
  no call is faster for it.
- Inputs from NumPy and outputs to NumPy cost 2.
- About 8 are the call, whatever is in it: where more inputs are there already, give them to one ``unroll``, which takes
  0.9, 2.6 and 3.3 a step. A step in NumPy has no such call: 4, 13 and 15.
"""

from absl import app, flags

from benchmarks.common import arguments, command, machine
from benchmarks.common.measure import DOUBT
from benchmarks.online.measure import measure
from benchmarks.online.report import draw, texts
from benchmarks.online.steps import CELLS
from rnnjax.names import lookup

QUICK = {"hidden": 8, "counts": ["1", "4"], "repeats": 20, "rounds": 2}
ACCELERATOR = {"hidden": 1024}

flags.DEFINE_list("cells", list(CELLS), "Of elman, gru and lstm.")
flags.DEFINE_integer("hidden", 128, "H, and the width of the inputs.", lower_bound=1)
flags.DEFINE_list("counts", ["1", "10", "100"], "k, steps in one call; two and more.")
flags.DEFINE_integer("repeats", 500, "Calls in each turn.", lower_bound=1)
flags.DEFINE_integer("rounds", 9, "Turns that each way of calling takes.", lower_bound=1)
command.define_flags("online", QUICK, ACCELERATOR)
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("online"):
        device = command.settle("online", QUICK, ACCELERATOR)
        for cell in FLAGS.cells:
            lookup("cell", cell, CELLS)
        counts = arguments.whole_numbers("counts", FLAGS.counts, count=2)
        output = command.output_folder(argv)

    before = machine.describe(device, ["torch"])
    records = measure(FLAGS.cells, FLAGS.hidden, counts, device, FLAGS.rounds, FLAGS.repeats)
    tables, finding = texts(records, counts)
    settings = command.chosen_settings("cells", *QUICK)
    results = {"finding": finding, "machine": before, "settings": settings, "records": records}
    title = f"{finding}\nB = 1, H = I = {FLAGS.hidden}. {machine.place(before)}."
    command.save(output, "online", results, f"{DOUBT}\n{tables}{finding}\n", draw(records, counts, title))


if __name__ == "__main__":
    app.run(main)
