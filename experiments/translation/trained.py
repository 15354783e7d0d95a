"""A network that this experiment has trained, and its translation of a source."""

import datetime
import functools
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.common import checkpoint
from experiments.common.averaged import restored
from experiments.common.optimizer import make_optimizer
from experiments.translation import model
from experiments.translation.data import PHONEMES, Batch, Symbols, batch_of, spelled
from experiments.translation.dates import BETWEEN, normalized
from experiments.translation.examples import Pair, Target
from experiments.translation.model import Layers, Network, Search


class Trained(NamedTuple):
    """A trained network, with what is needed to use it."""

    layers: Layers
    network: Network
    symbols: Symbols
    data: str  # on which it was trained
    most_dates: int  # in a training source


class Translation(NamedTuple):
    """The translation of one source.

    Attributes:
        text: the translation as it is printed.
        probability: the probability that the network gives it.
        flaw: why it cannot be right, such as a day that does not exist; mostly empty.
    """

    text: str
    probability: float
    flaw: str


def load(folder: str | Path) -> Trained:
    """The network of a run, from a folder such as ``runs/translation/checkpoints/additive-forward-seed0/last``.

    Raises:
        ExperimentError: if there is no checkpoint, or it cannot be read.
    """
    folder = checkpoint.whole(folder)
    about = checkpoint.about(folder)
    config, program = ConfigDict(about["config"]), about["run"]
    found = about["symbols"]
    symbols = Symbols(
        tuple(found["sources"]), tuple(found["targets"]), found["longest_source"], found["longest_target"]
    )
    layers = model.make_layers(
        program["attention"], program["reading"], config.cell, config.hidden_size, config.attention_size
    )
    init = functools.partial(model.init, layers, symbols, config.embedding_size)
    network = restored(folder, init, make_optimizer(config))
    return Trained(layers, network, symbols, config.data, config.most_dates)


def readable(known: Trained, text: str) -> str:
    """A text in the form of the training sources: lower case, and of known characters alone.

    Raises:
        ValueError: for a text that the network cannot read.
    """
    source = normalized(text).rstrip(BETWEEN)
    if not source:
        raise ValueError(f"{text!r} is empty: expected {_kind(known)}")
    strange = sorted({character for character in source if character not in known.symbols.sources})
    if strange:
        listed = ", ".join(map(repr, strange[:5]))
        raise ValueError(f"{_short(text)} has {listed}, which no training source has: expected {_kind(known)}")
    if len(source) > known.symbols.longest_source:
        raise ValueError(
            f"{_short(text)} has {len(source):,} characters: expected {known.symbols.longest_source} at most, the "
            "length of the longest source in training and tests"
        )
    if known.data != PHONEMES:
        _require_dates(known, source)
    return source


def _require_dates(known: Trained, source: str) -> None:
    parts = source.split(BETWEEN.strip())
    if len(parts) > known.most_dates:
        raise ValueError(
            f"{_short(source)} has {len(parts)} dates: expected {known.most_dates} at most, as in training; give the "
            "others by themselves"
        )
    for part in parts:
        if not any(character.isdigit() for character in part):
            raise ValueError(f"{_short(part.strip())} has no digit: expected {_kind(known)}")


def translate(known: Trained, text: str, search: Search) -> Translation:
    """The network's translation of a text.

    Raises:
        ValueError: for a text that the network cannot read.
    """
    source = readable(known, text)
    steps = known.symbols.longest_source, known.symbols.longest_target
    batch = batch_of(known.symbols, [Pair(source, ())], steps)
    said = _say(known.layers, search, known.network, batch)
    (target,) = spelled(known.symbols, np.asarray(said.tokens))
    flaw = "it has no end" if not bool(said.ended[0]) else _flaw(target) if known.data != PHONEMES else ""
    text = (" " if known.data == PHONEMES else "").join(target)
    return Translation(text, float(np.exp(said.log_probabilities[0])), flaw)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _say(layers: Layers, search: Search, network: Network, batch: Batch) -> model.Said:
    return model.say(layers, network, batch, search)


def _flaw(target: Target) -> str:
    """Why a translation does not consist of dates; empty if it does."""
    for text in "".join(target).split(" "):
        try:
            datetime.date.fromisoformat(text)
        except ValueError:
            return f"{text!r} is not a date"
    return ""


def _kind(known: Trained) -> str:
    if known.data != PHONEMES:
        return f"a date such as '3. Mai 2021', or several separated by {BETWEEN.strip()!r}"
    return "an English word"


def _short(text: str) -> str:
    return repr(text) if len(text) <= 40 else f"{text[:37]!r}..."
