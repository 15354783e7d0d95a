"""Predictions without a network: of each key by how often it sounds, or also by whether it has just sounded."""

from collections.abc import Sequence

import numpy as np

from experiments.music.corpus import Frames
from experiments.music.data import roll

FREQUENCY, HELD = "frequency", "held"
COUNTED = (FREQUENCY, HELD)


def probabilities(train: Sequence[Frames], name: str) -> np.ndarray:
    """Probabilities (2, 88) that a key sounds if it has not just sounded, and if it has; one is added to each count.

    For frequencies both rows are the same.
    """
    rolls = [roll(each) for each in train]
    before = np.concatenate([each[1:-1] for each in rolls]) > 0.5
    now = np.concatenate([each[2:] for each in rolls])
    if name == FREQUENCY:
        before = np.zeros_like(before)
    found = []
    for condition in (~before, before):
        seen = condition.sum(axis=0)
        found.append(((now * condition).sum(axis=0) + 1) / (seen + 2))
    return np.stack([found[0], found[0] if name == FREQUENCY else found[1]])


def mean_nats(known: np.ndarray, music: Sequence[Frames]) -> float:
    """The loss in nats a frame, as a mean over all frames from the second one of each chorale on."""
    total, count = 0.0, 0
    for each in map(roll, music):
        before, now = each[1:-1] > 0.5, each[2:] > 0.5
        of_keys = np.where(before, known[1], known[0])
        total -= np.log(np.where(now, of_keys, 1 - of_keys)).sum()
        count += len(now)
    return total / count
