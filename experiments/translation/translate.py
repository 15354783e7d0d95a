"""Translates texts by a trained network: python -m experiments.translation.translate "3. Mai 2021" ...

--workdir=FOLDER     the folder of a run of experiments.translation, on dates or on words
--file=lines.txt     translates every line of a file
                     without texts or a file, every line of standard input is translated

Each text is printed with its translation and the probability that the network gives it.
"""

import sys
from collections.abc import Iterable, Sequence

from absl import flags

from experiments.common import command, trained
from experiments.common.errors import ExperimentError, explained
from experiments.translation.model import Search
from experiments.translation.trained import load, translate

WORKDIR = flags.DEFINE_string("workdir", "runs/translation", "Folder of a run of experiments.translation.")
RUN = flags.DEFINE_string("run", "", "Which network of the run to use; by default the first by name.")
FILE = flags.DEFINE_string("file", None, "A UTF-8 file, each line of which is translated.")
BEAMS = flags.DEFINE_integer("beams", 4, "Hypotheses that beam search keeps; 1 is greedy.", 1, 100)
PENALTY = flags.DEFINE_float("length_penalty", 0.0, "Beam search divides ln p by the length to this power.", 0.0, 10.0)


def main(texts: Sequence[str]) -> None:
    """Prints a line for each text."""
    known = load(trained.folder_of(WORKDIR.value, RUN.value, "translation", "last"))
    lines = 0
    for text in _lines(texts):
        with explained(ValueError):
            found = translate(known, text, Search(BEAMS.value, PENALTY.value))
        flaw = f"  ({found.flaw})" if found.flaw else ""
        print(f"{text.strip()}  ->  {found.text}  {100 * found.probability:.1f} %{flaw}", flush=True)
        lines += 1
    if not lines:
        raise ExperimentError(
            'there is nothing to translate: give it as "3. Mai 2021", --file=FILE, or on standard input'
        )


def _lines(texts: Sequence[str]) -> Iterable[str]:
    """The texts and the lines of the file, or else those of standard input; empty lines are skipped."""
    if texts or FILE.value is not None:
        yield from texts
        if FILE.value is not None:
            yield from (line for line in trained.read_file(FILE.value, "file").splitlines() if line.strip())
    else:
        yield from (line for line in sys.stdin if line.strip())


if __name__ == "__main__":
    command.run_on_words(main)
