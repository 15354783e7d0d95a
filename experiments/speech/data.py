"""Utterances as frames, on which networks are trained and tested; all of them are made when a run begins."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from experiments.common.settings import names
from experiments.speech import features, noise, phonemes, texts
from experiments.speech.synthesizer import Request, Speech, Utterance, speak

KNOWN, HELD_OUT = "known voices", "held-out voices"
GROUPS = (KNOWN, HELD_OUT)

BEFORE, AFTER = 0.1, 0.2
"""Seconds of silence before and after an utterance."""


class Frames(NamedTuple):
    """One utterance: what is heard in each condition, and the labels."""

    inputs: np.ndarray  # (S, T, F) in decibels
    labels: np.ndarray  # (T,)


class Batch(NamedTuple):
    """B utterances of up to T frames."""

    inputs: Array  # (T, B, F) standardized, 0 in the padding
    mask: Array  # (T, B), True at frames
    labels: Array  # (T, B)


class Stream(NamedTuple):
    """The training utterances, one after the other, in S conditions."""

    inputs: Array  # (S, N, F) standardized
    labels: Array  # (N,)


class Scale(NamedTuple):
    """The mean and the standard deviation of each band in the training data, by which bands are standardized."""

    mean: np.ndarray  # (F,)
    deviation: np.ndarray  # (F,)

    def standardized(self, inputs: np.ndarray) -> np.ndarray:
        """Standardized bands (..., F) from bands in decibels."""
        return ((inputs - self.mean) / self.deviation).astype(np.float32)


class Data(NamedTuple):
    """All data of a study."""

    train: Stream
    tests: dict[tuple[str, str], Batch]  # by group of voices and condition
    scale: Scale
    test_texts: tuple[str, ...]  # in the order of the utterances of each group
    source: str
    digest: str  # of the audio, so that a run is continued with the audio with which it began


def read(config: ConfigDict) -> Data:
    """The data of a config, spoken by espeak-ng and turned into frames.

    Raises:
        ModuleNotFoundError, OSError, ValueError: as ``speak``; also for an unknown phoneme, voice or condition.
    """
    train_texts, test_texts, prose = texts.divided(config.train_sentences, config.test_sentences)
    known, held_out = names(config, "voices"), names(config, "held_out_voices")
    asked = list(requests(train_texts, known, config, 1))
    asked += requests(test_texts, known, config, 2)
    asked += requests(test_texts, held_out, config, 2)
    speech = speak(asked)
    of_train, of_test = names(config, "train_conditions"), names(config, "test_conditions")
    first, second = len(train_texts), len(train_texts) + len(test_texts)
    parts = speech.utterances[:first], speech.utterances[first:second], speech.utterances[second:]
    train, *tests = (
        [frames(each, conditions, config.noise, (part, place)) for place, each in enumerate(utterances)]
        for part, (utterances, conditions) in enumerate(zip(parts, (of_train, of_test, of_test), strict=True))
    )
    return assembled(train, dict(zip(GROUPS, tests, strict=True)), of_test, test_texts, speech, prose)


def requests(sentences: Sequence[str], voices: Sequence[str], config: ConfigDict, seed: int) -> Iterator[Request]:
    """Requests for each sentence by one of the voices in turn, at a random rate and pitch."""
    generator = np.random.default_rng(seed)
    for place, text in enumerate(sentences):
        rate = int(generator.integers(config.slowest, config.fastest + 1))
        pitch = int(generator.integers(config.lowest_pitch, config.highest_pitch + 1))
        yield Request(voices[place % len(voices)], text, rate, pitch)


def heard(utterance: Utterance) -> np.ndarray:
    """The audio (N,), float32 at the sample rate of the features, with silence before and after it."""
    audio = np.pad(
        utterance.samples.astype(np.float32) / 32768, [round(seconds * utterance.rate) for seconds in (BEFORE, AFTER)]
    )
    return features.resampled(audio, utterance.rate)


def frames(utterance: Utterance, conditions: Sequence[str], colour: str, seed: tuple[int, int]) -> Frames:
    """One utterance in several conditions; the same seed gives the same noise."""
    audio = heard(utterance)
    inputs = [
        features.log_mel(noise.added(audio, condition, colour, np.random.default_rng([*seed, place])))
        for place, condition in enumerate(conditions)
    ]
    centres = features.frame_centres(len(inputs[0])) - BEFORE
    return Frames(np.stack(inputs), phonemes.frame_labels(utterance, centres))


def assembled(
    train: Sequence[Frames],
    tests: dict[str, Sequence[Frames]],
    conditions: Sequence[str],
    test_texts: Sequence[str],
    speech: Speech,
    prose: str,
) -> Data:
    """The data, standardized by the training part alone; training utterances in one stream, test utterances padded."""
    inputs = np.concatenate([each.inputs for each in train], axis=1)
    deviation = inputs.std(axis=(0, 1))
    scale = Scale(inputs.mean(axis=(0, 1)), np.where(deviation > 0, deviation, 1))
    labels = np.concatenate([each.labels for each in train])
    longest = max(len(each.labels) for of_group in tests.values() for each in of_group)
    batches = {
        (group, condition): padded([scale.standardized(each.inputs[place]) for each in of_group], of_group, longest)
        for group, of_group in tests.items()
        for place, condition in enumerate(conditions)
    }
    stream = Stream(jnp.asarray(scale.standardized(inputs)), jnp.asarray(labels))
    digest = hashlib.sha256(b"".join(each.samples.tobytes() for each in speech.utterances)).hexdigest()[:16]
    return Data(stream, batches, scale, tuple(test_texts), f"{speech.source}, speaking {prose}", digest)


def padded(inputs: Sequence[np.ndarray], of_utterances: Sequence[Frames], longest: int) -> Batch:
    """Utterances (T_n, F) of several lengths in one batch of ``longest`` frames, so that one program serves all."""
    mask = np.arange(longest)[:, None] < [len(each) for each in inputs]
    found = np.zeros((*mask.shape, inputs[0].shape[1]), np.float32)
    labels = np.zeros(mask.shape, np.int32)
    for place, (each, frames_of) in enumerate(zip(inputs, of_utterances, strict=True)):
        found[: len(each), place], labels[: len(each), place] = each, frames_of.labels
    return Batch(jnp.asarray(found), jnp.asarray(mask), jnp.asarray(labels))
