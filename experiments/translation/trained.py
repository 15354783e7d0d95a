"""A network that this experiment has trained, and what it says of a source."""

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
    """What is needed to use it."""

    layers: Layers
    network: Network
    symbols: Symbols
    data: str  # which it was trained on
    most_dates: int  # in a source that it was trained on


class Translation(NamedTuple):
    """Of one source.

    Attributes:
        text: as it is printed.
        probability: of it among all translations.
        flaw: why it is none, as a day that there is not; mostly empty.
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
    """A text as sources to train on are: in small letters, of characters that are known.

    Raises:
        ValueError: for one that does not fit.
    """
    source = normalized(text).rstrip(BETWEEN)
    if not source:
        raise ValueError(f"{text!r} is empty: expected {_kind(known)}")
    strange = sorted({character for character in source if character not in known.symbols.sources})
    if strange:
        listed = ", ".join(map(repr, strange[:5]))
        raise ValueError(f"{_short(text)} has {listed}, which nothing that was trained on has: expected {_kind(known)}")
    if len(source) > known.symbols.longest_source:
        raise ValueError(
            f"{_short(text)} has {len(source):,} characters: expected {known.symbols.longest_source} at most, as "
            "the longest source has that it was tested on"
        )
    if known.data != PHONEMES:
        _require_dates(known, source)
    return source


def _require_dates(known: Trained, source: str) -> None:
    parts = source.split(BETWEEN.strip())
    if len(parts) > known.most_dates:
        raise ValueError(
            f"{_short(source)} has {len(parts)} dates: expected {known.most_dates} at most, as in what it was trained "
            "on; give the others by themselves"
        )
    for part in parts:
        if not any(character.isdigit() for character in part):
            raise ValueError(f"{_short(part.strip())} has no digit: expected {_kind(known)}")


def translate(known: Trained, text: str, search: Search) -> Translation:
    """What the network says of a text.

    Raises:
        ValueError: for one that does not fit.
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
    """Why these are no dates, if they are not."""
    for text in "".join(target).split(" "):
        try:
            datetime.date.fromisoformat(text)
        except ValueError:
            return f"{text!r} is no day"
    return ""


def _kind(known: Trained) -> str:
    if known.data != PHONEMES:
        return f"dates as '3. Mai 2021', several with {BETWEEN.strip()!r} between"
    return "an English word"


def _short(text: str) -> str:
    return repr(text) if len(text) <= 40 else f"{text[:37]!r}..."
