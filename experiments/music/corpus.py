"""The four-part chorales of Bach that the package music21 brings, frame by frame, and which of them share a tune.

A frame is a quarter note long, and has the notes that sound at its beginning. Only chorales whose bars have four
quarters throughout are kept. split.csv says which part they are in; ``python -m experiments.music.split`` writes it.
"""

import csv
import itertools
import json
import math
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from experiments.common.workdir import write_whole
from rnnjax.extras import needed

LOWEST, HIGHEST = 21, 108
"""The lowest and the highest key of a piano, as MIDI numbers."""

SPLIT = Path(__file__).with_name("split.csv")

VOICES = ("soprano", "alto", "tenor", "bass")

BAR = 4
"""Quarters in a bar."""

_ALIKE = 0.3
"""The share of common passages from which on two melodies are taken for the same tune."""

_FORMAT = 1
"""The version of the format of the file in which parsed chorales are kept."""

Frames = tuple[tuple[int, ...], ...]
"""The notes of each frame, as MIDI numbers, from the lowest up."""


class Listed(NamedTuple):
    """A chorale as it is listed in split.csv."""

    name: str  # of its file in music21's corpus, such as "bwv269"
    title: str
    family: str  # the first chorale of the same tune
    part: str  # train, valid or test


def listed(path: Path = SPLIT) -> tuple[Listed, ...]:
    """The chorales of a split, in the order of the file."""
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(Listed(**row) for row in csv.DictReader(file))


def music21() -> ModuleType:
    """The package music21. Raises ``ModuleNotFoundError`` if it is not installed."""
    with needed("music21", by="the corpus of chorales", extra="music"):
        import music21 as package
    return package


def chorales(names: Iterable[str]) -> dict[str, Frames | None]:
    """Chorales by their names; None for those that do not have four parts and bars of four quarters.

    music21 needs a second to parse a chorale, so parsed chorales are kept in a file outside of the project.

    Raises:
        ModuleNotFoundError: without music21.
        ValueError: for a name that its corpus lacks.
    """
    package, names = music21(), list(names)
    kept_in = cache_file(str(package.__version__))
    known = _read_cache(kept_in)
    missing = [name for name in names if name not in known]
    for name in missing:
        known[name] = _parsed(package, name)
    if missing:
        kept_in.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept_in, json.dumps(known))
    return {name: known[name] for name in names}


def cache_file(version: str) -> Path:
    """Where parsed chorales are kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return home / "rnnjax" / "chorales" / f"music21-{version}-{_FORMAT}.json"


def _read_cache(path: Path) -> dict[str, Frames | None]:
    """The chorales in a file; none if it is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): None if each is None else tuple(map(tuple, each)) for name, each in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _parsed(package: ModuleType, name: str) -> Frames | None:
    try:
        score = package.corpus.parse(f"bach/{name}")
    except Exception as error:  # whatever music21 raises
        raise ValueError(f"music21 cannot read its chorale {name} ({error}): install it again") from error
    parts = four_parts(score)
    return frames_of(parts) if parts and in_bars_of_four(parts) else None


def four_parts(score: Any) -> list[Any]:
    """The parts with the names of the four voices, or else all parts if they are four; otherwise none."""
    parts = list(score.parts)
    by_name = {str(part.partName or "").strip().lower().rstrip("."): part for part in parts}
    if set(VOICES) <= set(by_name):
        return [by_name[voice] for voice in VOICES]
    return parts if len(parts) == len(VOICES) else []


def in_bars_of_four(parts: Sequence[Any]) -> bool:
    """Whether there is a time signature, and all of them have bars of four quarters."""
    signatures = [each for part in parts for each in part.recurse().getElementsByClass("TimeSignature")]
    return bool(signatures) and all(each.barDuration.quarterLength == BAR for each in signatures)


def frames_of(parts: Iterable[Any]) -> Frames:
    """The notes that sound at the beginning of each quarter, up to the end of the last note."""
    frames: list[set[int]] = []
    for part in parts:
        for note in part.flatten().notes:
            end = note.offset + note.quarterLength
            for place in range(math.ceil(note.offset), math.ceil(end)):
                frames += [set() for _ in range(place + 1 - len(frames))]
                frames[place] |= {int(pitch.midi) for pitch in note.pitches}
    return tuple(tuple(sorted(frame)) for frame in frames)


# Tunes


def melody(frames: Frames) -> tuple[int, ...]:
    """The steps of the highest voice in semitones, which do not depend on the key; repeated notes have no step."""
    highest = [frame[-1] for frame in frames if frame]
    steps = (later - earlier for earlier, later in itertools.pairwise(highest))
    return tuple(step for step in steps if step)


def shared(one: Sequence[int], other: Sequence[int], length: int = 8) -> float:
    """The share of passages of ``length`` steps that two melodies have in common, of the one with fewer passages."""
    passages = [{tuple(each[i : i + length]) for i in range(len(each) - length + 1)} for each in (one, other)]
    fewer = min(map(len, passages))
    return len(passages[0] & passages[1]) / fewer if fewer else 0.0


def known_tunes(train: Sequence[Frames], test: Sequence[Frames], alike: float = _ALIKE) -> int:
    """How many test chorales share at least ``alike`` of their melody with a training chorale, in any key."""
    trained, asked = (list(map(melody, part)) for part in (train, test))
    return sum(any(shared(one, other) >= alike for other in trained) for one in asked)


def plain_title(title: str) -> str:
    """The letters of a title without accents, by which equal titles are recognized."""
    letters = unicodedata.normalize("NFKD", title.replace("ß", "ss"))
    return "".join(letter for letter in letters.lower() if letter.isascii() and letter.isalpha())


def families(titles: dict[str, str], melodies: dict[str, tuple[int, ...]], alike: float = _ALIKE) -> dict[str, str]:
    """The first chorale of each one's tune; titles that are equal or melodies that share enough make a tune."""
    names = list(titles)
    first = {name: name for name in names}

    def root(name: str) -> str:
        while first[name] != name:
            name = first[name]
        return name

    for place, name in enumerate(names):
        for other in names[:place]:
            same = plain_title(titles[name]) == plain_title(titles[other])
            if same or shared(melodies[name], melodies[other]) >= alike:
                ends = sorted((root(name), root(other)), key=names.index)
                first[ends[1]] = ends[0]
    return {name: root(name) for name in names}
