"""The words nearest to a word: python -m experiments.word_vectors.nearest --workdir=FOLDER --word=list.

--word=list --word=dict           of several: nearest to the mean of their directions
--analogy=list:append::set        what is to set as append is to list
--run=skip_gram-seed0             by another model's words; by default the first there is
"""

import difflib
from pathlib import Path

import numpy as np
from absl import flags

from experiments.common import checkpoint, command
from experiments.common.errors import ExperimentError
from experiments.common.frames import table
from experiments.word_vectors.main import Trained, load
from experiments.word_vectors.similarity import neighbours

WORKDIR = flags.DEFINE_string("workdir", "runs/word_vectors", "Folder of a run of experiments.word_vectors.")
RUN = flags.DEFINE_string("run", "", "Whose words, as model-seedN; by default the first one there is.")
WORD = flags.DEFINE_multi_string("word", [], "A word; may be given several times.")
ANALOGY = flags.DEFINE_string("analogy", "", "A:B::C, for what is to C as B is to A.")
COUNT = flags.DEFINE_integer("count", 10, "How many words are told.", lower_bound=1)


def main() -> None:
    """Prints words with their cosines."""
    run, known = trained()
    query, given = vector_of(known)
    entries = known.vocabulary.entries
    found = neighbours(known.vectors, query, COUNT.value, given)
    rows = [{"word": repr(entries[word])[1:-1], "cosine": f"{cosine:.3f}"} for word, cosine in found]
    print(f"{run}\n\n{table(rows, {'word'})}")


def trained() -> tuple[str, Trained]:
    """The run that the flags name, and its words.

    Raises:
        ExperimentError: if there is no such workdir, no such run, or no checkpoint that can be read.
    """
    checkpoints = Path(WORKDIR.value) / "checkpoints"
    there = sorted(folder.name for folder in checkpoints.glob("*") if checkpoint.steps(folder / "last"))
    if not there:
        raise ExperimentError(
            f"--workdir={WORKDIR.value} has no projected words: give the folder of a run of experiments.word_vectors "
            "that has checkpoints"
        )
    chosen = RUN.value or there[0]
    if chosen not in there:
        raise ExperimentError(f"--run={chosen} is not in --workdir={WORKDIR.value}: expected {' or '.join(there)}")
    return chosen, load(checkpoints / chosen)


def vector_of(known: Trained) -> tuple[np.ndarray, set[int]]:
    """What the flags ask for as a vector (E,), and the words that were given.

    Raises:
        ExperimentError: for an unknown word, an analogy of another form, or none of both.
    """
    if bool(WORD.value) == bool(ANALOGY.value):
        raise ExperimentError(
            "expected either words, as in --word=list, or an analogy, as in --analogy=list:append::set"
        )
    if WORD.value:
        words = [number_of(known, word, "word") for word in WORD.value]
        return np.sum([direction(known, word) for word in words], axis=0), set(words)
    pair, _, third = ANALOGY.value.partition("::")
    parts = [*pair.split(":"), third]
    if len(parts) != 3 or not all(parts):
        raise ExperimentError(f"--analogy={ANALOGY.value}: expected A:B::C, as in --analogy=list:append::set")
    first, second, last = (number_of(known, word, "analogy") for word in parts)
    query = direction(known, second) - direction(known, first) + direction(known, last)
    return query, {first, second, last}


def direction(known: Trained, word: int) -> np.ndarray:
    """A word's vector, of length 1 unless it is zero."""
    vector = known.vectors[word].astype(np.float64)
    length = np.linalg.norm(vector)
    return vector / length if length else vector


def number_of(known: Trained, word: str, flag: str) -> int:
    """Of a word of the vocabulary.

    Raises:
        ExperimentError: for another one; names those that are written nearly so.
    """
    entries = known.vocabulary.entries
    if word in entries:
        return entries.index(word)
    near = difflib.get_close_matches(word, entries, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "give another word"
    raise ExperimentError(f"--{flag}: {word!r} is not among the {len(entries):,} words that were projected: {hint}")


if __name__ == "__main__":
    command.run(main)
