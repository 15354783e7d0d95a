"""A network that this experiment has trained, and what it says of words."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.common import checkpoint
from experiments.common.averaged import restored
from experiments.common.optimizer import make_optimizer
from experiments.tagging import model
from experiments.tagging.data import Lexicon, as_trained, batch_of, words_of
from experiments.tagging.model import Batch, Layer, Network, Sizes
from rnnjax.data import TaggedSentence

_STEPS = 16
"""Sentences are padded to a multiple of it: not each length is compiled anew."""


class Trained(NamedTuple):
    """What is needed to use it."""

    layer: Layer
    network: Network
    lexicon: Lexicon
    data: str  # which it was trained on


class Said(NamedTuple):
    """Of one word."""

    tag: str
    probability: float
    known: bool  # whether it was seen in training


def load(folder: str | Path) -> Trained:
    """The network of a run, from a folder such as ``runs/tagging/checkpoints/bidirectional-seed0/last``.

    Raises:
        ExperimentError: if there is no checkpoint, or it cannot be read.
    """
    folder = checkpoint.whole(folder)
    about = checkpoint.about(folder)
    config, found = ConfigDict(about["config"]), about["lexicon"]
    lexicon = Lexicon(tuple(found["words"]), tuple(found["affixes"]), found["longest_affix"], tuple(found["tags"]))
    sizes = sizes_of(lexicon, config)
    layer = model.sized_layer(about["run"]["network"], config.cell, config.hidden_size, sizes)
    network = restored(folder, functools.partial(model.init, layer, sizes), make_optimizer(config))
    return Trained(layer, network, lexicon, config.data)


def sizes_of(lexicon: Lexicon, config: ConfigDict) -> Sizes:
    """Of the network around a layer."""
    return Sizes(len(lexicon.words), len(lexicon.affixes), config.embedding_size, len(lexicon.tags))


def probabilities(known: Trained, words: Sequence[str]) -> np.ndarray:
    """(T, K) of each tag, for the words of one sentence."""
    steps = -(-len(words) // _STEPS) * _STEPS
    batch = batch_of(known.lexicon, [TaggedSentence(tuple(words), ("",) * len(words))], steps)
    return np.asarray(_probabilities(known.layer, known.network, batch))[: len(words), 0]


def said_of(known: Trained, words: Sequence[str]) -> list[Said]:
    """The likeliest tag of each word of one sentence."""
    seen = set(known.lexicon.words)
    chosen = [(each.argmax(), each.max()) for each in probabilities(known, words)] if words else []
    return [
        Said(known.lexicon.tags[tag], float(probability), word in seen)
        for word, (tag, probability) in zip(words, chosen, strict=True)
    ]


def tagged(known: Trained, sentences: Sequence[str]) -> tuple[list[str], list[str]]:
    """A line for each sentence, and the words that were not seen in training."""
    lines, unknown = list[str](), dict[str, None]()
    for sentence in sentences:
        typed = words_of(known.data, sentence)
        found = said_of(known, [as_trained(known.data, word) for word in typed])
        lines.append(line_of(typed, found))
        unknown |= {word: None for word, said in zip(typed, found, strict=True) if not said.known}
    return lines, list(unknown)


def line_of(words: Sequence[str], found: Sequence[Said]) -> str:
    """As it is printed: ``Teddy/NOUN 99.8 %  bears/NOUN 100.0 %``."""
    return "  ".join(
        f"{word}{'' if said.known else '*'}/{said.tag} {100 * said.probability:.1f} %"
        for word, said in zip(words, found, strict=True)
    )


def _of_batch(layer: Layer, network: Network, batch: Batch) -> jax.Array:
    return jax.nn.softmax(model.logits(layer, network, model.embed(network, batch), batch.mask), axis=-1)


_probabilities = jax.jit(_of_batch, static_argnums=0)
