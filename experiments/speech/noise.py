"""Noise of a given colour, added to audio at a given signal-to-noise ratio."""

import numpy as np
from scipy import fft

from rnnjax.names import lookup

CLEAN = "clean"

COLOURS = {"white": 0.0, "pink": 1.0}
"""The exponent k of each colour, whose power spectrum falls as 1 / f^k."""


def coloured(colour: str, samples: int, generator: np.random.Generator) -> np.ndarray:
    """Noise (N,) of mean square 1: white noise whose spectrum is shaped."""
    length = fft.next_fast_len(samples, real=True)
    spectrum = fft.rfft(generator.standard_normal(length, np.float32))
    frequencies = np.maximum(np.arange(len(spectrum), dtype=np.float32), 1)
    noise = fft.irfft(spectrum * frequencies ** np.float32(-lookup("noise", colour, COLOURS) / 2), length)[:samples]
    return noise / np.sqrt(np.mean(np.square(noise, dtype=np.float64)))


def added(audio: np.ndarray, condition: str, colour: str, generator: np.random.Generator) -> np.ndarray:
    """Audio (N,) as it is, if "clean", or with noise at a ratio in decibels of the mean squares of speech and noise."""
    if condition == CLEAN:
        return audio
    level = np.sqrt(np.mean(np.square(audio, dtype=np.float64))) * 10 ** (-decibels(condition) / 20)
    return audio + (level * coloured(colour, len(audio), generator)).astype(audio.dtype)


def decibels(condition: str) -> int:
    """The decibels of a condition such as "10" or "-5".

    Raises:
        ValueError: for anything else.
    """
    digits = condition.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and int(digits) <= 100):
        raise ValueError(f"{condition!r} is not a condition: expected {CLEAN}, or decibels from -100 to 100")
    return int(condition)


def in_words(condition: str) -> str:
    """A condition as it is printed."""
    return CLEAN if condition == CLEAN else f"{condition} dB"
