"""How many characters a second does a recurrent network write, here and in PyTorch, one text at a time and many?

    python -m benchmarks.generation
    python -m benchmarks.generation --quick
    python -m benchmarks.generation --cells=lstm --streams=1,8,512 --hidden=512 --output=runs/benchmarks/generation_512

The network has an embedding, one layer and a dense readout; each character is drawn from the softmax of the readout and
read again. In rnnjax one program writes all characters of a text: ``rnnjax.generate`` in ``jax.jit`` with the weights
as constants. In PyTorch a loop does, over ``torch.nn.GRUCell`` or over ``torch.nn.GRU`` with one step at a time (LSTM
likewise), with PyTorch's own number of threads or with one, in ``torch.inference_mode``. rnnjax is compared with the
fastest of these four loops. Both libraries start from the same weights; the run fails unless they write the same text
when each character is the likeliest, and have the same logits after it, up to rounding.
"""

from absl import app, flags

from benchmarks.common import arguments, command, machine
from benchmarks.common.measure import DOUBT
from benchmarks.generation import report
from benchmarks.generation.measure import measure
from benchmarks.generation.network import RECURRENT, Size
from rnnjax.names import lookup

QUICK = {"cells": ["gru"], "streams": ["1", "3"], "hidden": 8, "embedding": 4, "length": 60, "rounds": 2}
ACCELERATOR = {"streams": ["1", "256"], "hidden": 1024, "embedding": 256}

flags.DEFINE_list("cells", list(RECURRENT), f"Cells: {', '.join(RECURRENT)}.")
flags.DEFINE_list("streams", ["1", "64"], "Numbers of texts that are written at the same time.")
flags.DEFINE_integer("hidden", 256, "H, the hidden width.", lower_bound=1)
flags.DEFINE_integer("embedding", 64, "E, the width of the embedding.", lower_bound=1)
flags.DEFINE_integer("vocabulary", 96, "V, the number of different characters.", lower_bound=2)
flags.DEFINE_integer("length", 500, "Characters of a text.", lower_bound=1)
flags.DEFINE_integer("rounds", 7, "How many times each way of writing is measured in each case.", lower_bound=1)
command.define_flags("generation", QUICK, ACCELERATOR)
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("generation"):
        device = command.settle("generation", QUICK, ACCELERATOR)
        for cell in FLAGS.cells:
            lookup("cell", cell, RECURRENT)
        streams = arguments.whole_numbers("streams", FLAGS.streams)
        output = command.output_folder(argv)

    before = machine.describe(device, ["torch"])
    widths = (FLAGS.hidden, FLAGS.embedding, FLAGS.vocabulary)
    sizes = [Size(cell, count, FLAGS.length, *widths) for cell in FLAGS.cells for count in streams]
    records = measure(sizes, device, FLAGS.rounds)
    settings = command.chosen_settings("vocabulary", *QUICK) | {"target": report.TARGET}
    finding = report.find(records) + machine.doubt(before)
    results = {"finding": finding, "machine": before, "settings": settings, "records": records}
    text = f"{DOUBT}\n{report.write(records)}{finding}\n"
    command.save(output, "generation", results, text, report.draw(records, finding, machine.place(before)))


if __name__ == "__main__":
    app.run(main)
