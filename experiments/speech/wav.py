"""Reads a WAV file as audio at the sample rate of the features, and reports what it had to change."""

import struct
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.io import wavfile

from experiments.common.errors import ExperimentError
from experiments.speech import features

SLOWEST, FASTEST = 8_000, 192_000
"""The lowest and the highest sample rate that is read."""

LONGEST = 600
"""The longest duration that is read, in seconds."""

LARGEST = 8 * FASTEST * LONGEST
"""The largest file that is read, in bytes."""


_UNREADABLE = (OSError, ValueError, EOFError, struct.error, MemoryError, ZeroDivisionError, UnboundLocalError)
"""What SciPy raises for files that are damaged or no WAV files; the last one if a part is missing."""


class Sound(NamedTuple):
    """The audio of a file."""

    audio: np.ndarray  # (N,) at ``features.RATE``
    told: tuple[str, ...]  # what was changed, one line for each change


def read(path: str) -> Sound:
    """The audio of a WAV file; several channels are averaged and other rates resampled, and both is reported.

    Raises:
        ExperimentError: for a file that is not WAV, or cannot be labelled.
    """
    rate, samples = _samples(path)
    told = []
    if samples.ndim > 1 and samples.shape[1] > 1:
        told.append(f"{path} has {samples.shape[1]} channels: their mean is used")
    audio = _in_one(samples).reshape(len(samples), -1).mean(axis=1)
    _require_audible(path, rate, audio)
    if rate != features.RATE:
        lacking = f"; it has nothing above {rate / 2:g} Hz, unlike the training data, so that labels are doubtful"
        told.append(
            f"{path} has {rate:,} samples a second: resampled to {features.RATE:,}{lacking * (rate < features.RATE)}"
        )
    return Sound(features.resampled(audio, rate), tuple(told))


def _samples(path: str) -> tuple[int, np.ndarray]:
    file, expected = Path(path), "give a WAV file"
    if not file.is_file():
        kind = "is a folder" if file.is_dir() else "does not exist"
        raise ExperimentError(f"{path} {kind}: {expected}")
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"{file.stat().st_size / 1e6:,.0f} MB; expected {LARGEST / 1e6:,.0f} at most")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # about chunks beside the audio
            rate, samples = wavfile.read(file)
        if not len(samples):
            raise ValueError("no samples")
    except _UNREADABLE as error:
        told = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ExperimentError(f"{path} cannot be read as WAV ({told}): {expected}, PCM or floating point") from error
    return int(rate), np.asarray(samples)


def _in_one(samples: np.ndarray) -> np.ndarray:
    """Samples from -1 to 1; samples of 8 bits are unsigned, and those of 24 bits come in 32."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float64) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        return samples / float(2 ** (8 * samples.dtype.itemsize - 1))
    return samples.astype(np.float64)


def _require_audible(path: str, rate: int, audio: np.ndarray) -> None:
    if not SLOWEST <= rate <= FASTEST:
        raise ExperimentError(f"{path} has {rate:,} samples a second: expected {SLOWEST:,} to {FASTEST:,}")
    seconds = len(audio) / rate
    if not features.HOP / features.RATE <= seconds <= LONGEST:
        raise ExperimentError(
            f"{path} has {seconds:.3g} s of sound: expected {features.HOP / features.RATE:g} to {LONGEST}"
        )
    if not np.isfinite(audio).all():
        raise ExperimentError(f"{path} has samples that are not finite numbers: give a file without them")
    if not audio.any():
        raise ExperimentError(f"{path} is silent: give a file with speech")
