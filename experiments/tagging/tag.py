"""What a network of experiments.tagging says of sentences: python -m experiments.tagging.tag --workdir=FOLDER.

--sentence="Teddy bears are on sale"    may be given several times
--file=lines.txt                        every line of a file
                                        without either, every line of standard input

Words have spaces between them, or are parted by the rules of the data that the network was trained on. Printed is each
as word/TAG, with the probability of the tag; * stands after a word that was not seen in training.
"""

import sys
from collections.abc import Iterable, Sequence

from absl import flags

from experiments.common import command, trained
from experiments.common.command import ExperimentError, explained
from experiments.tagging.data import as_trained, words_of
from experiments.tagging.trained import Said, Trained, load, said_of

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


def tagged(known: Trained, sentences: Sequence[str]) -> tuple[list[str], list[str]]:
    """A line for each sentence, and the words that were not seen in training."""
    lines, unknown = list[str](), dict[str, None]()
    for sentence in sentences:
        typed = words_of(known.data, sentence)
        found = said_of(known, [as_trained(known.data, word) for word in typed])
        lines.append(line_of(typed, found))
        unknown |= {word: None for word, said in zip(typed, found, strict=True) if not said.known}
    return lines, list(unknown)


def line_of(words: Sequence[str], found: Sequence[Said]) -> str:
    """As it is printed: ``Teddy/NOUN 99.8 %  bears/NOUN 100.0 %``."""
    return "  ".join(
        f"{word}{'' if said.known else '*'}/{said.tag} {100 * said.probability:.1f} %"
        for word, said in zip(words, found, strict=True)
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
