"""The program of a process in which espeak-ng speaks: python espeak.py LIBRARY DATA < requests > answer.

Requests are a list in JSON, and the answer is an .npz file. An error is reported as a line on standard error with exit
status 2. The library keeps one state for a whole process: no two threads may use it, a voice slightly changes the
speech of the next one, even after the library was initialized anew, and damaged data may end the process. Therefore
espeak-ng has a process of its own, which needs NumPy alone.
"""

import ctypes
import io
import json
import sys
from typing import Any, NamedTuple

import numpy as np

_SYNCHRONOUS = 2
_PHONEME_EVENTS, _IN_IPA, _DO_NOT_EXIT = 0x0001, 0x0002, 0x8000
_UTF8 = 1
_RATE, _PITCH = 1, 3
_END, _PHONEME = 0, 7


class Spoken(NamedTuple):
    """A spoken text."""

    samples: np.ndarray  # (N,) int16
    starts: np.ndarray  # (P,) int32, the sample at which each phoneme begins
    phonemes: list[str]  # in the International Phonetic Alphabet; empty for a pause


class _Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_void_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", _Name),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def loaded(library: str, data: str) -> tuple[Any, int]:
    """The library, ready to speak, and its sample rate.

    Raises:
        OSError: if it cannot be loaded, or does not find its data.
    """
    found = ctypes.CDLL(library)
    found.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    found.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    found.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    found.espeak_Info.restype = ctypes.c_char_p
    options = _PHONEME_EVENTS | _IN_IPA | _DO_NOT_EXIT
    rate = found.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), options)
    if rate <= 0:
        raise OSError(f"espeak-ng finds no data that it can read in {data}")
    return found, rate


def spoken(library: Any, voice: str, text: str, rate: int, pitch: int) -> Spoken:
    """A text as a voice speaks it, at ``rate`` words a minute and a pitch from 0 to 99.

    Raises:
        ValueError: for an unknown voice, or a text that espeak-ng refuses.
    """
    parts, starts, phonemes = list[np.ndarray](), list[int](), list[str]()

    def receive(samples: Any, count: int, events: Any) -> int:
        if count > 0:
            parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        place = 0
        while events[place].type != _END:
            if events[place].type == _PHONEME:
                starts.append(events[place].sample)
                phonemes.append(bytes(events[place].name.string).decode("utf-8", "replace"))
            place += 1
        return 0

    kept = _Callback(receive)  # must live as long as the library may call it
    library.espeak_SetSynthCallback(kept)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {voice!r}")
    library.espeak_SetParameter(_RATE, rate, 0)
    library.espeak_SetParameter(_PITCH, pitch, 0)
    encoded = text.encode()
    if library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None) != 0:
        raise ValueError(f"espeak-ng refuses the text {text!r}")
    library.espeak_Synchronize()
    return Spoken(np.concatenate(parts or [np.zeros(0, np.int16)]), np.array(starts, np.int32), phonemes)


def main(library_path: str, data: str) -> int:
    """Answers the requests on standard input."""
    requests = json.load(sys.stdin)
    try:
        library, rate = loaded(library_path, data)
        answers = [spoken(library, **request) for request in requests]
    except (AttributeError, OSError, ValueError) as error:
        print(str(error).splitlines()[0], file=sys.stderr)
        return 2
    buffer = io.BytesIO()
    np.savez(
        buffer,
        rate=rate,
        version=library.espeak_Info(None).decode(),
        samples=np.concatenate([each.samples for each in answers]),
        lengths=[len(each.samples) for each in answers],
        starts=np.concatenate([each.starts for each in answers]),
        phonemes=np.array([name for each in answers for name in each.phonemes]),
        counts=[len(each.phonemes) for each in answers],
    )
    sys.stdout.buffer.write(buffer.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
