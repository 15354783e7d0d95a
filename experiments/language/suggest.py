"""The likeliest next words, as on a phone: python -m experiments.language.suggest --workdir=FOLDER.

    --text="the quick br"          words that go on with what was begun
    --text="the quick " --count=5  words that come next

A network of words tells them at once. With one of characters they are searched for, character by character up to the
first that is in no word, with so many beginnings at a time.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax import Array

import rnnjax
from experiments.common import command
from experiments.common.errors import ExperimentError
from experiments.common.frames import table
from experiments.language import commands
from experiments.language import model as language_model
from experiments.language.main import Trained
from rnnjax.data import decode
from rnnjax.data.vocabulary import Answer

TEXT = flags.DEFINE_string("text", None, "What has been typed.")
COUNT = flags.DEFINE_integer("count", 3, "How many words are suggested.", lower_bound=1)
BEAMS = flags.DEFINE_integer("beams", 64, "Beginnings of words that are followed at a time.", lower_bound=1)
LONGEST = flags.DEFINE_integer("longest", 24, "Characters that a suggestion adds at most.", lower_bound=1)


def main() -> None:
    """Prints words with their probabilities."""
    if TEXT.value is None:
        raise ExperimentError("there is no text: give what has been typed, as in --text='the quick br'")
    options = {"beams": BEAMS.value, "longest": LONGEST.value, "unknown": commands.UNKNOWN.value}
    found = suggestions(commands.network(), TEXT.value, COUNT.value, **options)
    if not found:
        raise ExperimentError(f"--text={TEXT.value!r} is followed by no word that was found: give more --beams")
    print(table([{"word": word, "probability": f"{probability:.1%}"} for word, probability in found], {"word"}))


def suggestions(
    known: Trained, text: str, count: int, *, beams: int = 64, longest: int = 24, unknown: Answer = "error"
) -> Sequence[tuple[str, float]]:
    """The likeliest words after a text, or that go on with its last one, with their probabilities."""
    tokens = jnp.asarray(commands.tokens_of(known.vocabulary, text, "text", unknown))
    start = known.cell.initial_state(known.params.recurrent, ())
    inputs = language_model.embed(known.params, tokens)
    state, outputs = rnnjax.unroll(known.cell, known.params.recurrent, inputs, start)
    logits = language_model.logits(known.params, outputs[-1])
    if known.vocabulary.unit == "words":
        found = _next_words(known, logits)
    else:
        begun = text[len(text.rstrip("".join(filter(_in_word, set(text))))) :]
        found = [(begun + rest, p) for rest, p in _searched(known, state, logits, beams, longest, not begun)]
    return sorted(found, key=lambda each: -each[1])[:count]


def _next_words(known: Trained, logits: Array) -> list[tuple[str, float]]:
    probabilities = np.asarray(jax.nn.softmax(logits))
    words = [number for number, entry in enumerate(known.vocabulary.entries) if entry[0].isalnum()]
    return [(known.vocabulary.entries[number], float(probabilities[number])) for number in words]


def _searched(
    known: Trained, state: Any, logits: Array, beams: int, longest: int, new: bool
) -> list[tuple[str, float]]:
    """What completes a word, with the probability that it does so and ends there; a new word is not empty."""
    entries = [decode(known.vocabulary, [number]) for number in range(len(known.vocabulary))]
    inside = np.array([_in_word(entry) for entry in entries])
    step = jax.jit(lambda state, tokens: _step(known, state, tokens))
    states = jax.tree.map(lambda leaf: leaf[None], state)
    rests, totals, found = [""], np.zeros(1), list[tuple[str, float]]()
    of_tokens = np.asarray(jax.nn.log_softmax(logits))[None]
    for length in range(longest):
        ends = np.exp(totals) * np.exp(of_tokens[:, ~inside]).sum(axis=1)
        found += [(rest, float(p)) for rest, p in zip(rests, ends, strict=True) if rest or not new]
        scores = np.where(inside, totals[:, None] + of_tokens, -np.inf).ravel()
        chosen = np.argsort(-scores)[:beams]
        parents, tokens = np.divmod(chosen[np.isfinite(scores[chosen])], len(entries))
        if length == longest - 1 or not len(tokens):
            break
        rests = [rests[p] + entries[t] for p, t in zip(parents, tokens, strict=True)]
        totals = scores[chosen][: len(tokens)]
        followed = np.resize(parents, beams), np.resize(tokens, beams)  # always as many: one program for all lengths
        states = jax.tree.map(lambda leaf, parents=followed[0]: leaf[parents], states)
        states, following = step(states, jnp.asarray(followed[1], jnp.int32))
        of_tokens = np.asarray(following)[: len(tokens)]
    return found


def _step(known: Trained, states: Any, tokens: Array) -> tuple[Any, Array]:
    states, outputs = known.cell.step(known.params.recurrent, states, language_model.embed(known.params, tokens))
    return states, jax.nn.log_softmax(language_model.logits(known.params, outputs))


def _in_word(character: str) -> bool:
    return character.isalnum() or character in "'_\u2019"


if __name__ == "__main__":
    command.run(main)
