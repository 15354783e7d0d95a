"""How likely a text is to a network of experiments.language: python -m experiments.language.score --workdir=FOLDER.

--text="apple and pear salad" --text="apple and pair salad"      the likeliest is told
--file=lines.txt                                                 every line of a file
"""

import math

import jax.numpy as jnp
from absl import flags

from experiments.common import command, trained
from experiments.common.errors import ExperimentError
from experiments.common.frames import table
from experiments.language import commands
from experiments.language import model as language_model
from experiments.language.main import Trained
from rnnjax.data.vocabulary import Answer

TEXT = flags.DEFINE_multi_string("text", [], "A text to score; may be given several times.")
FILE = flags.DEFINE_string("file", None, "A UTF-8 file, each line of which is scored.")


def main() -> None:
    """Prints a table of the texts, and which is the likeliest."""
    known = commands.network()
    texts = [*TEXT.value]
    if FILE.value is not None:
        texts += [line for line in trained.read_file(FILE.value, "file").splitlines() if line.strip()]
    if not texts:
        raise ExperimentError("there is no text: give --text=... or --file=FILE")
    scores = [log_probability(known, text, commands.UNKNOWN.value) for text in texts]
    rows = [_row(known, text, score) for text, score in zip(texts, scores, strict=True)]
    print(table(rows, {"text"}))
    if len(texts) > 1:
        print(f"\nlikeliest: {texts[scores.index(max(scores))]}")


def log_probability(known: Trained, text: str, unknown: Answer = "error") -> float:
    """Ln p of a text in nats, as that of a line: read after a line end, where the network knows one."""
    entries = known.vocabulary.entries
    start = [entries.index("\n") if "\n" in entries else 0]
    tokens = [*start, *commands.tokens_of(known.vocabulary, text, "text", unknown).tolist()]
    state = known.cell.initial_state(known.params.recurrent, ())
    losses, _ = language_model.token_losses(known.cell, known.params, jnp.array(tokens), state)
    return -float(losses.sum())


def _row(known: Trained, text: str, score: float) -> dict[str, str]:
    unit = known.vocabulary.unit.removesuffix("s")
    tokens, words = len(commands.tokens_of(known.vocabulary, text, "text", commands.UNKNOWN.value)), len(text.split())
    return {
        "text": text,
        "ln p (nats)": f"{score:.3f}",
        f"nats a {unit}": f"{-score / tokens:.3f}",
        f"bits a {unit}": f"{-score / tokens / math.log(2):.3f}",
        "nats a word": f"{-score / max(words, 1):.3f}",
    }


if __name__ == "__main__":
    command.run(main)
