"""How well does a recurrent network predict text after some minutes, and a small GPT in PyTorch after as many?

    python -m benchmarks.language
    python -m benchmarks.language --corpus=shakespeare.txt --seeds=3
    python -m benchmarks.language --quick

The GPT is that of nanoGPT's README for training on a CPU, with all its settings, and does its 2,000 iterations. The
time that this takes, from the start of its process to the last iteration, is given to the network of
``experiments.language --variant=characters``, from the start of its own process. Imports and compiling are part of it,
and no compiled programs are there from before. Each has the machine to itself, and its own default for threads. Both
train on the first nine tenths of the text, which they read from one file of tokens. Copies of the weights are kept on
the way, and read the last tenth when training has ended, so that this takes none of the time.

The held-out text is read in two ways, and nats a character are given of both. "Fresh windows" have 64 characters, the
length of the GPT's context, and follow each other; the loss is averaged over all positions, those with little context
at the beginning of a window included. nanoGPT evaluates in this way, on some windows drawn at random. With "context
kept" the GPT's windows overlap by half, and their second halves count, so that each character has 32 or more before it;
the recurrent network carries its state on through the text, in 100 streams.

The learning rate of the recurrent network falls along a cosine over the time that it has; in its experiment it falls
over a number of steps. All else is as in the experiment.
"""

from absl import app, flags

from benchmarks.common import arguments, command, machine
from benchmarks.common.pytorch import why_no_torch
from benchmarks.language import report
from benchmarks.language.measure import Settings, measure, read

QUICK = {"max_characters": 20_000, "variant": "quick", "iterations": 20, "evaluations": 2, "torch_threads": 1}

flags.DEFINE_string("corpus", "", "Any UTF-8 text file; empty takes the sources of Python's standard library.")
flags.DEFINE_integer("max_characters", 2_000_000, "Characters of the text that are read; 0 takes all.", lower_bound=0)
flags.DEFINE_enum(
    "variant", "characters", ["characters", "quick"], "The variant of experiments.language whose network is trained."
)
flags.DEFINE_integer("iterations", 2000, "Iterations of the GPT, over which its learning rate falls.", lower_bound=1)
flags.DEFINE_integer("evaluations", 8, "Evaluations of the weights on the way and at the end.", lower_bound=1)
flags.DEFINE_integer("torch_threads", 0, "Threads of the GPT; 0 takes PyTorch's default.", lower_bound=0)
flags.DEFINE_integer("seeds", 1, "How many times both are trained, each time from other weights.", lower_bound=1)
command.define_flags("language", QUICK, {})
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("language"):
        device = command.settle("language", QUICK, {})
        output = command.output_folder(argv)
        text = read(FLAGS.corpus, FLAGS.max_characters, FLAGS.variant)
        for reason in why_no_torch(device):
            raise ValueError(f"{reason}; there is nothing to compare with otherwise")

    before = machine.describe(device, ["optax", "flax", "torch"])
    chosen = Settings(FLAGS.variant, FLAGS.iterations, FLAGS.evaluations, FLAGS.torch_threads)
    records = measure(text, chosen, FLAGS.seeds, device)
    finding = report.find(records) + machine.doubt(before)
    about = {"corpus": text.source, "characters": len(text.train) + len(text.held_out), "different": text.different}
    settings = command.chosen_settings("seeds", *QUICK) | about
    results = {"finding": finding, "machine": before, "settings": settings, "records": records}
    found = f"{report.write(records, about)}\n\n{finding}\n"
    command.save(output, "language", results, found, report.draw(records, finding, machine.place(before)))


if __name__ == "__main__":
    app.run(main)
