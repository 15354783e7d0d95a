"""JapaneseVowels: utterances of nine speakers, as included in the package sktime."""

import importlib.util
from pathlib import Path

import numpy as np

from rnnjax.arguments import of_their_kinds
from rnnjax.data.sequences import Labelled, Sequences, padded

CHANNELS = 12
LENGTHS = (7, 29)
SPEAKERS = tuple("123456789")
UTTERANCES = {"TRAIN": 270, "TEST": 370}

_LARGEST = 10.0
"""The greatest plausible size of a coefficient; all of them lie within 3."""


@of_their_kinds
def load_speakers(path: str = "") -> Labelled:
    """Which of nine men says /ae/: 12 linear prediction coefficients per step, 7 to 29 steps (Kudo et al., 1999).

    The split is the authors': 30 utterances of each speaker to train on, 24 to 88 to test on.

    Args:
        path: a folder with JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts; empty for the one in sktime, which is
            not imported.

    Raises:
        ModuleNotFoundError: without a path, if sktime is not installed.
        FileNotFoundError: if there are no such files.
        ValueError: if a file is damaged; the message names the line.
    """
    folder = Path(path) if path else _installed()
    train, test = (_read(folder / f"JapaneseVowels_{part}.ts", count) for part, count in UTTERANCES.items())
    channels = tuple(f"coefficient {number + 1}" for number in range(CHANNELS))
    return Labelled(train, test, SPEAKERS, channels, path or "JapaneseVowels of sktime")


def _installed() -> Path:
    found = importlib.util.find_spec("sktime")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("speakers need sktime, which includes the data: pip install 'rnnjax[classification]'")
    return Path(found.submodule_search_locations[0]) / "datasets" / "data" / "JapaneseVowels"


def _read(file: Path, count: int) -> Sequences:
    """A file of sktime's format: comments, a head, "@data", and a line for each utterance."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist: give a folder that has it, or install sktime again")
    lines = file.read_text(encoding="utf-8").splitlines()
    start = lines.index("@data") + 1 if "@data" in lines else len(lines)
    numbered = [(number, line) for number, line in enumerate(lines[start:], start + 1) if line.strip()]
    if len(numbered) != count:
        raise ValueError(f"{file} has {len(numbered)} utterances: expected {count} after a line @data; fetch it again")
    utterances, labels = [], []
    for number, line in numbered:
        try:
            utterance, label = _utterance(line)
        except ValueError as error:
            raise ValueError(f"{file}, line {number}: {error}; fetch it again") from error
        utterances.append(utterance)
        labels.append(label)
    if len(set(labels)) != len(SPEAKERS):
        raise ValueError(f"{file} has {len(set(labels))} speakers: expected {len(SPEAKERS)}; fetch it again")
    return padded(utterances, labels)


def _utterance(line: str) -> tuple[np.ndarray, int]:
    """The utterance (T, 12) and the label from a line that has ":" between channels and the speaker at its end."""
    *channels, speaker = line.split(":")
    if len(channels) != CHANNELS or speaker.strip() not in SPEAKERS:
        raise ValueError(
            f"it has {len(channels)} channels and then {speaker.strip()[:20]!r}: expected {CHANNELS} and a speaker "
            f"from {SPEAKERS[0]} to {SPEAKERS[-1]}"
        )
    curves = [channel.split(",") for channel in channels]
    lengths = sorted({len(curve) for curve in curves})
    if len(lengths) > 1:
        raise ValueError(f"its channels have {lengths[0]} to {lengths[-1]} steps: expected equally many in each")
    if not LENGTHS[0] <= lengths[0] <= LENGTHS[1]:
        raise ValueError(f"it has {lengths[0]} steps: expected {LENGTHS[0]} to {LENGTHS[1]}")
    values = np.array(curves, np.float64).T  # raises for anything but numbers
    if not (np.abs(values) <= _LARGEST).all():  # also False for NaN
        raise ValueError(f"a value is missing or beyond {_LARGEST:g}: expected coefficients within that")
    return values, SPEAKERS.index(speaker.strip())
