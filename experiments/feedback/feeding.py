"""What a network is fed in training: how often the truth, by training step, and what else.

A regime is written FEEDBACK:SCHEDULE:COIN, as in sampled:linear:token, or has a name of its own:

teacher      teacher forcing, the truth at every step
professor    teacher forcing, and a discriminator that must not tell the free-running network from the forced one
watched      teacher forcing, and a discriminator that only watches
"""

from typing import NamedTuple

import numpy as np
from jax import Array
from scipy.special import lambertw

from rnnjax.names import lookup

FEEDBACKS = ("sampled", "argmax", "probabilities", "outputs")
"""Choices of ``rnnjax.feedback``."""

TEACHER, PROFESSOR, WATCHED = "teacher", "professor", "watched"
DISCRIMINATED = "discriminated"
"""The program of professor and watched."""

COINS = ("token", "sequence")
"""For each token of a batch, or for each sequence, whether it is the truth that is fed."""

SCHEDULES = ("never", "linear", "exponential", "inverse_sigmoid")


class Regime(NamedTuple):
    """One way of training."""

    program: str  # of FEEDBACKS, or DISCRIMINATED
    schedule: str  # of SCHEDULES, or "always"
    coin: str  # of COINS
    has_say: bool = False  # whether the network learns from a discriminator


class Feeding(NamedTuple):
    """Of some training steps."""

    truth: Array  # (S,), the probability that the truth is fed
    by_sequence: Array  # a flag: one coin a sequence
    say: Array  # the weight of what the discriminator says


def regime_named(name: str) -> Regime:
    """A regime as it is written.

    Raises:
        ValueError: for what is none.
    """
    named = {
        TEACHER: Regime("sampled", "always", "token"),
        PROFESSOR: Regime(DISCRIMINATED, "always", "token", True),
        WATCHED: Regime(DISCRIMINATED, "always", "token"),
    }
    if ":" not in name:
        return lookup("regime", name, named | {f"{each}:never": Regime(each, "never", "token") for each in FEEDBACKS})
    feedback, schedule, *rest = name.split(":")
    coin = rest[0] if rest else "token"
    for kind, part, known in (("feedback", feedback, FEEDBACKS), ("schedule", schedule, SCHEDULES)):
        lookup(kind, part, dict.fromkeys(known))
    lookup("coin", ":".join(rest) or coin, dict.fromkeys(COINS))
    return Regime(feedback, schedule, coin)


def truth_of(schedule: str, steps: int, least: float) -> np.ndarray:
    """(N,), with which probability the truth is fed at each of N training steps.

        linear             1 - (1 - e) i / N
        exponential        e^(i / N)
        inverse_sigmoid    k / (k + exp(i / k))        k such that it ends at e        (Bengio et al., 2015)

    All three fall to e, which is ``least``; "always" stays at 1, "never" at 0.
    """
    i, k = np.arange(steps), _steepness(steps, least)
    schedules = {
        "always": lambda: np.ones(steps),
        "never": lambda: np.zeros(steps),
        "linear": lambda: 1 - (1 - least) * i / steps,
        "exponential": lambda: least ** (i / steps),
        "inverse_sigmoid": lambda: k / (k + np.exp(i / k)),
    }
    return np.asarray(lookup("schedule", schedule, schedules)(), np.float32)


def _steepness(steps: int, least: float) -> float:
    """The k of the inverse sigmoid, from N = k ln(k (1 - e) / e)."""
    return float(steps / lambertw(steps * (1 - least) / least).real)
