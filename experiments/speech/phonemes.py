"""The phonemes that are distinguished, and which of them is heard in each frame.

There are 44 phonemes of British and American English, and silence. They are those of the pronouncing dictionary BEEP,
except that the rare vowel of "cure" goes with that of "foot", and that the tap of American "city" is added, as in the
labels of TIMIT. espeak-ng reports a narrower notation in the International Phonetic Alphabet, several of whose signs
belong to one class. As in the 39 classes of TIMIT (Lee & Hon, 1989), the closure before the burst of a stop is silence,
which is where all samples are 0.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from experiments.speech.synthesizer import Utterance

SILENCE = "sil"

SIGNS = {
    SILENCE: ("",),
    "iy": ("iː", "i"),
    "ih": ("ɪ", "ᵻ"),
    "eh": ("ɛ", "e"),
    "ae": ("æ", "a"),
    "aa": ("ɑː", "ɑːɹ", "ɑ"),
    "oh": ("ɒ",),
    "ao": ("ɔː", "ɔːɹ", "ɔ"),
    "ah": ("ʌ",),
    "uh": ("ʊ", "ʊɹ", "ʊə"),
    "uw": ("uː", "u"),
    "er": ("ɜː", "ɚ", "ɜ"),
    "ax": ("ə", "ɐ"),
    "ey": ("eɪ",),
    "ay": ("aɪ", "aɪɚ", "aɪə"),
    "oy": ("ɔɪ",),
    "aw": ("aʊ", "aʊɚ", "aʊə"),
    "ow": ("oʊ", "əʊ"),
    "ia": ("iə", "ɪɹ", "ɪə"),
    "ea": ("eə", "ɛɹ"),
    "p": ("p",),
    "b": ("b",),
    "t": ("t", "ʔ"),
    "dx": ("ɾ",),
    "d": ("d",),
    "k": ("k",),
    "g": ("ɡ",),
    "ch": ("tʃ",),
    "jh": ("dʒ",),
    "f": ("f",),
    "v": ("v",),
    "th": ("θ",),
    "dh": ("ð",),
    "s": ("s",),
    "z": ("z",),
    "sh": ("ʃ",),
    "zh": ("ʒ",),
    "hh": ("h", "x"),
    "m": ("m",),
    "n": ("n", "n̩"),
    "ng": ("ŋ",),
    "l": ("l", "əl", "l̩"),
    "r": ("ɹ", "r"),
    "w": ("w", "ʍ"),
    "y": ("j",),
}
"""The signs of each class, without stress."""

CLASSES = tuple(SIGNS)

VOWELS = CLASSES[1 : CLASSES.index("p")]

_STRESS = "ˈˌ"
_CLOSURE = 0.010  # the shortest stretch of zeros that is silence, in seconds


def class_of(sign: str) -> int:
    """The place in ``CLASSES`` of a sign of the International Phonetic Alphabet.

    Raises:
        ValueError: for a sign that belongs to no class.
    """
    found = _PLACES.get(sign.strip(_STRESS))
    if found is None:
        raise ValueError(f"the phoneme {sign!r} is not an English one that is known here: give an English voice")
    return found


_PLACES = {sign: place for place, signs in enumerate(SIGNS.values()) for sign in signs}


def frame_labels(utterance: Utterance, centres: np.ndarray) -> np.ndarray:
    """The classes (T,), int32, at times in seconds from the start; silence before the start and after the end."""
    places = np.round(centres * utterance.rate).astype(np.int64)
    classes = np.array([class_of(sign) for sign in utterance.phonemes], np.int32)
    there = (places >= 0) & (places < len(utterance.samples))
    places = np.clip(places, 0, len(utterance.samples) - 1)
    spoken = classes[np.searchsorted(utterance.starts, places, side="right") - 1]
    silent = zeros(utterance.samples, round(_CLOSURE * utterance.rate))[places]
    return np.where(there & ~silent, spoken, CLASSES.index(SILENCE)).astype(np.int32)


def zeros(samples: np.ndarray, least: int) -> np.ndarray:
    """Where samples (N,) are in runs of ``least`` zeros or more."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], samples == 0, [0]]).astype(np.int8)))
    found = np.zeros(len(samples), bool)
    for start, end in edges.reshape(-1, 2):
        found[start:end] = end - start >= least
    return found


def runs(labels: Sequence[int] | np.ndarray) -> list[tuple[int, int, int]]:
    """Stretches of frames with the same label: the first frame, one past the last, and the label."""
    numbers = np.asarray(labels)
    borders = np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1, [len(numbers)]])
    return [(int(a), int(b), int(numbers[a])) for a, b in itertools.pairwise(borders) if b > a]
