"""How long does one online step take, from state and input to new state and output, and how much of it is the call?

    python -m benchmarks.online
    python -m benchmarks.online --quick
    python -m benchmarks.online --cells=lstm --hidden=64 --counts=1,50 --output=runs/benchmarks/online_lstm

B is 1, and each step starts where the last one ended. It is compared with PyTorch's cells under ``inference_mode`` and
with a step written in NumPy. All have the same weights, and the run fails unless the first outputs agree. Then
``unroll`` does k steps in one call, which tells the cost of a call from that of a step. "Compiled ahead" is "state
donated" with a program that was compiled beforehand; "params constant" donates the state, too; "data from NumPy" is
"params constant" with inputs from NumPy and outputs to it.

The following gives the lowest latency. Three numbers are the times of a step of an Elman net, a GRU and an LSTM, with
H = 128 on two CPU cores.

- Call the step by ``jax.jit``. It takes 9, 13 and 14 µs, and without it 390, 720 and 710 µs.
- Set ``jax.config.update("jax_cpu_enable_async_dispatch", False)`` before the first array. The program then runs in the
  thread that calls it. By default a program of some size is handed to another thread, and a jitted step takes 100 µs.
- Keep the state in JAX's arrays. To take it to NumPy and back at each step costs 5 to 8 µs.
- Donate the state (``donate_argnums``), which saves up to 1 µs.
- Make the params constants of the program, by a closure instead of an argument, which saves another 1 µs. The program
  is compiled anew when they change.
- ``.lower(...).compile()`` makes the first step as fast as the others, and so does one call of the jitted step
  beforehand. Later calls are not faster for it.
- Inputs from NumPy and outputs to NumPy cost 2 µs.
- The call itself costs about 8 µs, whatever it computes. If several inputs are there already, give them to one
  ``unroll``, which takes 0.9, 2.6 and 3.3 µs a step. A step in NumPy has no such call: it takes 4, 13 and 15 µs.
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

flags.DEFINE_list("cells", list(CELLS), "Cells: elman, gru, lstm.")
flags.DEFINE_integer("hidden", 128, "H, the width of the hidden state and the inputs.", lower_bound=1)
flags.DEFINE_list("counts", ["1", "10", "100"], "k, steps in one call: two or more different numbers.")
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
