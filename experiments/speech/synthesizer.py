"""Speech with known phonemes: texts spoken by espeak-ng, which reports the sample at which each phoneme begins."""

import functools
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnjax.extras import needed

LIMIT = 600
"""Seconds that speaking may take; usually it is 100 times as fast as the speech it makes."""

_PROGRAM = Path(__file__).with_name("espeak.py")


class Request(NamedTuple):
    """A text to be spoken, and how."""

    voice: str  # a language and a variant, as in "en-us+f1"
    text: str
    rate: int  # words a minute
    pitch: int  # 0 to 99


class Utterance(NamedTuple):
    """A spoken text: phoneme p sounds from starts[p] to starts[p + 1], and the last one to the end."""

    samples: np.ndarray  # (N,) int16
    rate: int  # samples a second
    starts: np.ndarray  # (P,) int32, rising, from 0
    phonemes: tuple[str, ...]  # in the International Phonetic Alphabet; empty for a pause


class Speech(NamedTuple):
    """Utterances in the order of their requests, and the synthesizer that spoke them."""

    utterances: tuple[Utterance, ...]
    source: str


def speak(requests: Sequence[Request], data: str = "") -> Speech:
    """Speaks all requests, with the same samples each time; they are kept while this process lives.

    Args:
        requests: at least one.
        data: the folder espeak-ng-data; empty for that of the package.

    Raises:
        ModuleNotFoundError: without the package espeakng-loader.
        OSError: if its library or data are missing or damaged.
        ValueError: for an unknown voice, or an answer that is silent or has phonemes out of order.
    """
    return _speak(tuple(requests), data)


@functools.lru_cache(maxsize=4)
def _speak(requests: tuple[Request, ...], data: str) -> Speech:
    """Speaks each voice in a process of its own, because earlier voices of a process change the later ones."""
    library, found = _installed()
    utterances, source = dict[int, Utterance](), ""
    for voice in dict.fromkeys(request.voice for request in requests):
        places = [place for place, request in enumerate(requests) if request.voice == voice]
        of_voice = [requests[place] for place in places]
        spoken = _checked(_answer(library, data or found, of_voice), of_voice)
        utterances |= dict(zip(places, spoken.utterances, strict=True))
        source = spoken.source
    return Speech(tuple(utterances[place] for place in range(len(requests))), source)


def _answer(library: str, data: str, requests: Sequence[Request]) -> bytes:
    command = [sys.executable, "-P", str(_PROGRAM), library, data]
    asked = json.dumps([request._asdict() for request in requests]).encode()
    done = subprocess.run(command, input=asked, capture_output=True, timeout=LIMIT, check=False)
    again = "install it again: pip install --force-reinstall espeakng-loader"
    if done.returncode == 2:
        told = done.stderr.decode(errors="replace").strip().splitlines()[-1]
        if "no voice" in told:
            raise ValueError(f"{told}: expected one such as en-us+m1, a language and a variant")
        raise OSError(f"{told}: {again}")
    if done.returncode:
        raise OSError(f"espeak-ng ended with status {done.returncode}, as it does with damaged data: {again}")
    return done.stdout


def _installed() -> tuple[str, str]:
    """The paths of the library and its data."""
    with needed("espeakng_loader", by="experiments.speech", extra="speech"):
        import espeakng_loader
    folder = Path(espeakng_loader.__file__).parent
    library, data = Path(espeakng_loader.get_library_path()), folder / "espeak-ng-data"
    for path in (library, data):
        if not path.exists():
            raise FileNotFoundError(
                f"{path} does not exist: install it again by pip install --force-reinstall espeakng-loader"
            )
    return str(library), str(data)


def _checked(answer: bytes, requests: Sequence[Request]) -> Speech:
    with np.load(io.BytesIO(answer)) as found:
        rate, version = int(found["rate"]), str(found["version"])
        of_samples, of_phonemes = (np.cumsum(found[name])[:-1] for name in ("lengths", "counts"))
        samples = np.split(found["samples"], of_samples)
        starts = np.split(found["starts"], of_phonemes)
        phonemes = np.split(found["phonemes"], of_phonemes)
    answers = zip(samples, starts, phonemes, requests, strict=True)
    utterances = [whole(sound, begins, names.tolist(), rate, asked) for sound, begins, names, asked in answers]
    return Speech(tuple(utterances), f"espeak-ng {version}")


def whole(samples: np.ndarray, starts: np.ndarray, phonemes: Sequence[str], rate: int, request: Request) -> Utterance:
    """An utterance with a pause up to the first phoneme, and without phonemes that take no time.

    Raises:
        ValueError: for phonemes that are out of order or outside the samples, or for silence.
    """
    where = f"what espeak-ng spoke of {request.text!r} with {request.voice}"
    if not len(starts) or not samples.any():
        raise ValueError(f"{where} is silent: expected phonemes; give another text or voice")
    if (np.diff(starts) < 0).any() or starts[0] < 0 or starts[-1] > len(samples):
        raise ValueError(f"{where} has phonemes out of order: expected starts that rise from 0 to {len(samples)}")
    begins = np.concatenate([[0], starts, [len(samples)]])
    names = np.concatenate([[""], phonemes])
    lasting = np.diff(begins) > 0
    return Utterance(samples, rate, begins[:-1][lasting].astype(np.int32), tuple(map(str, names[lasting])))
