"""What a network of experiments.tagging says of sentences: python -m experiments.tagging.tag --workdir=FOLDER.

--sentence="Teddy bears are on sale"    may be given several times
--file=lines.txt                        every line of a file
                                        without either, every line of standard input

Words have spaces between them, or are parted by the rules of the data that the network was trained on. Printed is each
as word/TAG, with the probability of the tag; * stands after a word that was not seen in training.
"""

import sys
from collections.abc import Iterable

from absl import flags

from experiments.common import command, trained
from experiments.common.errors import ExperimentError, explained
from experiments.tagging.trained import load, tagged

WORKDIR = flags.DEFINE_string("workdir", "runs/tagging", "Folder of a run of experiments.tagging.")
RUN = flags.DEFINE_string("run", "bidirectional-seed0", "Which network.")
SENTENCE = flags.DEFINE_multi_string("sentence", [], "A sentence to tag; may be given several times.")
FILE = flags.DEFINE_string("file", None, "A UTF-8 file, each line of which is tagged.")


def main() -> None:
    """Prints a line for each sentence."""
    known = load(trained.folder_of(WORKDIR.value, RUN.value, "tagging", "last"))
    unknown, lines = dict[str, None](), 0
    for sentence in _sentences():
        with explained(ImportError):
            found, others = tagged(known, [sentence])
        unknown |= dict.fromkeys(others)
        lines += bool(sentence.strip())
        print(*found, sep="\n", flush=True)
    if not lines:
        raise ExperimentError("there is no word: give --sentence=..., --file=FILE, or lines on standard input")
    if unknown:
        print(
            f"* not among the {len(known.lexicon.words):,} words that were trained on, told by its letters and by the "
            f"words around it: {', '.join(unknown)}",
            file=sys.stderr,
        )


def _sentences() -> Iterable[str]:
    """What the flags give, or else standard input."""
    if SENTENCE.value or FILE.value is not None:
        yield from SENTENCE.value
        if FILE.value is not None:
            yield from trained.read_file(FILE.value, "file").splitlines()
    else:
        yield from sys.stdin


if __name__ == "__main__":
    command.run(main)
