"""English sentences to be spoken, from the prose that comes with Python, for training and for testing."""

import re

import numpy as np

from rnnjax.data import load_text

CHARACTERS_A_SENTENCE = 800
"""How many characters of the prose are read for each sentence that is wanted, as not all of it is sentences."""

_SENTENCE = re.compile(r"(?<![^\s])[A-Z][a-z]+(?:,? [a-z]+){5,13}\.(?=\s)")


def sentences_of(text: str) -> list[str]:
    """The sentences of 6 to 14 plain words in a text, each once, in their order."""
    return list(dict.fromkeys(_SENTENCE.findall(re.sub(r"\s+", " ", text) + " ")))


def divided(train: int, test: int) -> tuple[list[str], list[str], str]:
    """Sentences to train on, sentences to test on, and where they are from.

    Raises:
        ValueError: if there are too few.
    """
    prose = load_text("prose", max_characters=CHARACTERS_A_SENTENCE * (train + test) + 100_000)
    found = sentences_of(prose.text)
    if len(found) < train + test:
        raise ValueError(
            f"--config.train_sentences={train} and --config.test_sentences={test} are more than the {len(found):,} "
            f"sentences of the {prose.source}: expected fewer"
        )
    order = np.random.default_rng(0).permutation(len(found))[: train + test]
    chosen = [found[place] for place in order]
    return chosen[test:], chosen[:test], prose.source
