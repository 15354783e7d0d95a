"""What a network that experiments.language has trained says: python -m experiments.language.generate --workdir=FOLDER.

--prompt="def " --length=400 --temperature=0.8 --top_k=40
--prompt_file=begun.txt --nucleus=0.9 --samples=3 --seed=1
--greedy --stop="\\n\\n"
"""

import functools
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags
from jax import Array

import rnnjax
from experiments.common import command, trained
from experiments.common.errors import ExperimentError, explained
from experiments.language import commands
from experiments.language import model as language_model
from experiments.language.main import Trained
from rnnjax.data import decode
from rnnjax.typing import Key

_CHUNK = 32  # tokens drawn between two looks at what has been said

PROMPT = flags.DEFINE_string("prompt", None, "What is read first; by default a line end, or the likeliest token.")
PROMPT_FILE = flags.DEFINE_string("prompt_file", None, "The same from a UTF-8 file.")
LENGTH = flags.DEFINE_integer("length", 500, "Tokens that are drawn at most.")
TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "Below 1 likely tokens gain, above 1 unlikely ones.")
GREEDY = flags.DEFINE_bool("greedy", False, "The likeliest token every time.")
TOP_K = flags.DEFINE_integer("top_k", None, "Draws from so many likeliest tokens; by default from all.")
NUCLEUS = flags.DEFINE_float("nucleus", 1.0, "Draws from the likeliest tokens of that probability together.")
STOP = flags.DEFINE_string("stop", "", r"Ends where this has been said; \n stands for a line end.")
SAMPLES = flags.DEFINE_integer("samples", 1, "Texts that are drawn, one after the other.")
SEED = flags.DEFINE_integer("seed", 0, "Another one gives other texts.", lower_bound=0, upper_bound=2**63 - 1)


def main() -> None:
    """Prints prompt and text, as it comes."""
    known = commands.network()
    prompt, flag = _prompt(known)
    tokens = jnp.asarray(commands.tokens_of(known.vocabulary, prompt, flag, commands.UNKNOWN.value))
    if LENGTH.value < 1 or SAMPLES.value < 1:
        raise ExperimentError(f"--length={LENGTH.value} --samples={SAMPLES.value}: expected at least 1 of both")
    with explained(ValueError):
        choose(jax.random.key(0), jnp.zeros(len(known.vocabulary)))  # refuses what cannot be
    for number in range(SAMPLES.value):
        if SAMPLES.value > 1:
            print(f"--- {number + 1}")
        key = jax.random.fold_in(jax.random.key(SEED.value), number)
        sys.stdout.write(prompt)
        for piece in said(known, tokens, key):
            sys.stdout.write(piece)
            sys.stdout.flush()
        print()


def choose(key: Key, logits: Array) -> Array:
    """A token as the flags ask for it."""
    if GREEDY.value:
        return rnnjax.greedy(key, logits)
    logits = rnnjax.temperature(logits, TEMPERATURE.value)
    logits = logits if TOP_K.value is None else rnnjax.top_k(logits, TOP_K.value)
    return rnnjax.sample(key, rnnjax.nucleus(logits, NUCLEUS.value) if NUCLEUS.value != 1 else logits)


def said(known: Trained, prompt: Array, key: Key) -> Iterator[str]:
    """The text in pieces as they come, up to the length or the stop."""
    cell, params = known.cell, known.params
    functions: dict[str, Any] = {
        "embed": functools.partial(language_model.embed, params),
        "readout": functools.partial(language_model.logits, params),
    }
    state, outputs = rnnjax.unroll(cell, params.recurrent, functions["embed"](prompt))
    logits = functions["readout"](outputs[-1])

    @jax.jit
    def more(state: rnnjax.typing.State, logits: Array, key: Key) -> rnnjax.Generated:
        return rnnjax.generate(cell, params.recurrent, state, logits, key, **functions, length=_CHUNK, choose=choose)

    stop, shown = STOP.value.replace("\\n", "\n"), ""
    found: list[int] = []
    for number in range(-(-LENGTH.value // _CHUNK)):
        chunk = more(state, logits, jax.random.fold_in(key, number))
        state, logits = chunk.state, chunk.logits
        found = [*found, *chunk.tokens.tolist()][: LENGTH.value]
        text = decode(known.vocabulary, found)
        ended = bool(stop) and stop in text
        text = text[: text.index(stop) + len(stop)] if ended else text
        yield text[len(shown) :]
        shown = text
        if ended:
            return


def _prompt(known: Trained) -> tuple[str, str]:
    """The text, and which flag it is of."""
    if PROMPT.value is not None and PROMPT_FILE.value is not None:
        raise ExperimentError("--prompt and --prompt_file are both given: expected one of them")
    if PROMPT_FILE.value is not None:
        return trained.read_file(PROMPT_FILE.value, "prompt_file"), "prompt_file"
    if PROMPT.value is not None:
        return str(PROMPT.value), "prompt"
    entries = known.vocabulary.entries
    return "\n" if "\n" in entries else entries[0], "prompt"


if __name__ == "__main__":
    command.run(main)
