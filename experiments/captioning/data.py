"""Scenes as arrays of numbers, which is what networks read."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from experiments.captioning import scenes
from experiments.captioning.grammar import LONGEST, WORDS, seen_in, words_of
from experiments.captioning.scenes import Scene, Thing

SEEN, HELD_OUT = "seen", "held_out"
PARTS = (SEEN, HELD_OUT)
"""The parts of the test scenes: all combinations were seen in training, or that of one object in each was not."""

_SEEDS = {"train": 1, SEEN: 2, HELD_OUT: 3, "rows": 4}


class Batch(NamedTuple):
    """B pictures with their captions."""

    pictures: Array  # (B, SIDE, SIDE, 3), uint8
    words: Array  # (T, B), places in WORDS, the full stop included
    mask: Array  # (T, B), True at words


class Data(NamedTuple):
    """All scenes as arrays, and the test scenes also as they are."""

    train: Batch
    tests: dict[str, Batch]  # by part
    scenes: dict[str, list[Scene]]  # the test scenes, by part
    rows: Batch  # scenes of three objects side by side, on which gradients are measured


def read(config: ConfigDict) -> Data:
    """The scenes of a config, rendered."""
    held = config.held_out
    train = scenes.scenes(config.train_scenes, held, _SEEDS["train"])
    tests = {part: scenes.scenes(config.test_scenes, held, _SEEDS[part], one_unseen=part == HELD_OUT) for part in PARTS}
    rows = in_rows(config.measured_scenes, held)
    return Data(batch_of(train), {part: batch_of(each) for part, each in tests.items()}, tests, batch_of(rows))


def in_rows(count: int, held: int) -> list[Scene]:
    """Scenes of three objects side by side with seen combinations; their captions have the same kinds of words."""
    generator = np.random.default_rng(_SEEDS["rows"])
    seen = [each for each in scenes.COMBINATIONS if each not in scenes.held_out(held)]
    found = []
    for _ in range(count):
        combinations = [seen[number] for number in generator.integers(len(seen), size=scenes.MOST)]
        sizes = [list(scenes.SIZES)[number] for number in generator.integers(len(scenes.SIZES), size=scenes.MOST)]
        things = [Thing(size, *each) for size, each in zip(sizes, combinations, strict=True)]
        found.append(scenes.arranged(generator, things, [False] * (scenes.MOST - 1)))
    return found


def batch_of(found: Sequence[Scene]) -> Batch:
    """Scenes as arrays; captions are padded with full stops."""
    numbers = {word: number for number, word in enumerate(WORDS)}
    words = np.zeros((LONGEST, len(found)), np.int32)
    mask = np.zeros((LONGEST, len(found)), bool)
    for place, scene in enumerate(found):
        caption = words_of(seen_in(scene))
        words[: len(caption), place] = [numbers[word] for word in caption]
        mask[: len(caption), place] = True
    pictures = np.stack([scenes.rendered(scene) for scene in found])
    return Batch(jnp.asarray(pictures), jnp.asarray(words), jnp.asarray(mask))
