"""How many words a second do CBOW and skip-gram with negative sampling read, compared with gensim on the same text?

    python -m benchmarks.word_vectors
    python -m benchmarks.word_vectors --quick

The text, its vocabulary, window, noise words, subsampling of frequent words and epochs are those of
``experiments.word_vectors --variant=negative_sampling``; the learning rate is the default of each, and falls linearly
to zero. CBOW has two copies of its vectors, with a device each if there are two cores, and skip-gram has one; gensim
has as many workers as there are cores. A word counts when it is read, whether subsampling then keeps it or not, as
gensim counts. Each has a process of its own, and they take turns; reading the text, counting words and compiling are
not timed. Two things differ: in rnnjax the pairs of a block share their noise words, and the gradient of a mean of
vectors is divided by the number of vectors, which gensim leaves out.

Agreement is the share of the ten words nearest to a word that are the same, over the 500 most frequent words. No more
can be expected than the agreement of gensim with itself from another seed.
"""

from absl import app, flags

from benchmarks.common import arguments, command, machine
from benchmarks.word_vectors import report
from benchmarks.word_vectors.measure import measure

QUICK = {"rounds": 1, "epochs": 1, "max_characters": 200_000}

flags.DEFINE_integer("max_characters", 0, "Characters of the text that are read; 0 takes all.", lower_bound=0)
flags.DEFINE_integer("epochs", 5, "Epochs of each sample, which starts from new weights.", lower_bound=1)
flags.DEFINE_integer("rounds", 10, "Samples of each library and model.", lower_bound=1)
command.define_flags("word_vectors", QUICK, {})
FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    with arguments.refusals("word_vectors"):
        device = command.settle("word_vectors", QUICK, {})
        output = command.output_folder(argv)

    before = machine.describe(device, ["gensim"])
    records = measure(device, FLAGS.rounds, epochs=FLAGS.epochs, max_characters=FLAGS.max_characters)
    finding = report.find(records) + machine.doubt(before)
    settings = command.chosen_settings("max_characters", "epochs", "rounds")
    results = {"finding": finding, "machine": before, "settings": settings, "records": records}
    text = f"{report.table(records)}\n\n{finding}\n"
    command.save(output, "word_vectors", results, text, report.draw(records, finding))


if __name__ == "__main__":
    app.run(main)
