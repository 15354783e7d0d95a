"""Frames from and to MIDI files, by the package mido; a frame is a quarter note long.

Reading takes the notes that sound at the beginning of each quarter, of all tracks and all channels except the drums.
The bars of a file are assumed to have four quarters. Writing gives a note that lasts as long as its key sounds in
successive frames, because a piano roll does not tell when a key is struck again.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.music.corpus import BAR, HIGHEST, LOWEST, Frames
from rnnjax.extras import needed

TICKS = 480
"""Ticks of a quarter in the files that are written."""

TEMPO = 80
"""Quarters a minute in the files that are written."""

_DRUMS = 9
_SOUND = 19
"""Church organ, by General MIDI."""

_LONGEST = 100_000
"""The most frames that are read; the times of a longer file must be damaged."""


def _mido() -> ModuleType:
    with needed("mido", by="a MIDI file", extra="music"):
        import mido
    package: ModuleType = mido
    return package


def require_package() -> None:
    """Raises ``ModuleNotFoundError`` without mido."""
    _mido()


def read(path: str | Path) -> Frames:
    """The frames of a file, from the first to the last one in which a note sounds.

    Raises:
        ModuleNotFoundError: without mido.
        OSError: if there is no such file.
        ValueError: if it is not a MIDI file, has no notes, or has notes that a piano lacks.
    """
    mido = _mido()
    content = Path(path).read_bytes()
    if not content.startswith(b"MThd"):
        raise ValueError(
            f"{path} is not a MIDI file (it begins with {content[:4]!r}): expected a file that begins with b'MThd'"
        )
    try:
        file = mido.MidiFile(path)
        notes = [note for track in file.tracks for note in _notes(track)]
    except Exception as error:  # whatever mido raises
        raise ValueError(f"{path} is a damaged MIDI file ({error or type(error).__name__}): write it anew") from error
    if not 0 < file.ticks_per_beat < 1 << 15:
        raise ValueError(f"{path} has times in frames of film: expected ticks of a quarter note; export it that way")
    strange = sorted({note for note, _, _ in notes if not LOWEST <= note <= HIGHEST})
    if strange:
        raise ValueError(
            f"{path} has the note {strange[0]}: expected MIDI numbers of the keys of a piano, {LOWEST} to {HIGHEST}; "
            "transpose it, or leave such notes out"
        )
    frames = _frames(notes, file.ticks_per_beat, path)
    if not any(frames):
        raise ValueError(f"{path} has no notes at the beginning of a quarter: expected some that are not drums")
    sounding = [place for place, frame in enumerate(frames) if frame]
    return frames[sounding[0] : sounding[-1] + 1]


def _notes(track: Any) -> Iterator[tuple[int, int, int]]:
    """Each note of a track with its beginning and its end in ticks; a note without an end ends with the track."""
    time, begun = 0, dict[tuple[int, int], int]()
    for message in track:
        time += message.time
        if message.type not in ("note_on", "note_off") or message.channel == _DRUMS:
            continue
        place = (message.channel, message.note)
        if place in begun:
            yield message.note, begun.pop(place), time
        if message.type == "note_on" and message.velocity > 0:
            begun[place] = time
    for (_, note), start in begun.items():
        yield note, start, time


def _frames(notes: Sequence[tuple[int, int, int]], ticks: int, path: str | Path) -> Frames:
    """The frames of notes in ticks.

    A frame has the notes that sound a 32nd note after its beginning, because nobody plays exactly in time.
    """
    late, frames = ticks // 8, list[set[int]]()
    for note, start, end in notes:
        if end > _LONGEST * ticks:
            raise ValueError(f"{path} is {end // ticks:,} quarters long: expected at most {_LONGEST:,}")
        for place in range(-((late - start) // ticks), -((late - end) // ticks)):
            frames += [set() for _ in range(place + 1 - len(frames))]
            frames[place].add(note)
    return tuple(tuple(sorted(frame)) for frame in frames)


def write(frames: Frames, path: str | Path) -> None:
    """Writes a file with one track.

    Raises:
        ModuleNotFoundError: without mido.
        OSError: if it cannot be written.
    """
    mido = _mido()
    events = sorted(_events(frames))
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(TEMPO)))
    track.append(mido.MetaMessage("time_signature", numerator=BAR, denominator=4))
    track.append(mido.Message("program_change", program=_SOUND))
    time = 0
    for place, begins, note in events:
        kind = "note_on" if begins else "note_off"
        track.append(mido.Message(kind, note=note, velocity=80, time=(place - time) * TICKS))
        time = place
    track.append(mido.MetaMessage("end_of_track", time=(len(frames) - time) * TICKS))
    mido.MidiFile(type=0, ticks_per_beat=TICKS, tracks=[track]).save(path)


def _events(frames: Frames) -> Iterator[tuple[int, bool, int]]:
    """The place of each event, whether a note begins there, and which note; ends come before beginnings."""
    held: frozenset[int] = frozenset()
    for place, frame in enumerate([*frames, ()]):
        now = frozenset(frame)
        for note in held - now:
            yield place, False, note
        for note in now - held:
            yield place, True, note
        held = now
