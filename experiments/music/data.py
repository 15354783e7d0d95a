"""Chorales as piano rolls: read, checked, padded side by side to evaluate, and in rows to train on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from experiments.music.corpus import HIGHEST, LOWEST, Frames, chorales, known_tunes, listed
from rnnjax.typing import Key

KEYS = HIGHEST - LOWEST + 1

PARTS = ("train", "valid", "test")


class Chorales(NamedTuple):
    """What is trained on, chosen by, and tested on; a frame is a quarter note long, a bar has four."""

    train: tuple[Frames, ...]
    valid: tuple[Frames, ...]
    test: tuple[Frames, ...]
    source: str
    bars: str  # how it is known that a bar has four quarters
    known_tunes: int  # chorales to test on whose melodies are in what is trained on, too


class Batch(NamedTuple):
    """B chorales side by side, each with a silent frame ahead of its own ones."""

    notes: Array  # (T, B, 88), 1 where a key sounds
    mask: Array  # (T, B), True at real frames, the silent one included


class Stock(NamedTuple):
    """All chorales to train on, one after the other, each with a silent frame ahead."""

    notes: Array  # (N, 88)
    starts: Array  # (C,)
    lengths: Array  # (C,), the silent frame included
    down: Array  # (C,) by how many semitones a chorale can be moved, 0 or less
    up: Array  # (C,)


class Sizes(NamedTuple):
    """Of the rows of a training step."""

    rows: int
    frames: int  # of a row
    chorales: int  # that are enough for a row


class Rows(NamedTuple):
    """B rows of L frames, filled with whole chorales; what the last one has too much is cut off."""

    notes: Array  # (L, B, 88)
    reset: Array  # (L, B), True where a chorale begins, with its silent frame
    follows: Array  # (L, B), True where the next frame of the row is of the same chorale


def read(config: ConfigDict) -> Chorales:
    """The chorales of a config: of a file, or else those of music21.

    Raises:
        ModuleNotFoundError, OSError, ValueError: for what cannot be read.
    """
    return read_file(config.file) if config.file else read_corpus(config.chorales)


def read_corpus(most: int) -> Chorales:
    """Those of split.csv, of each part at most so many, or, with 0, all."""
    split = listed()
    chosen = {part: [each.name for each in split if each.part == part][: most or None] for part in PARTS}
    found = chorales([name for names in chosen.values() for name in names])
    parts = {}
    for part, names in chosen.items():
        parts[part] = tuple(frames for name in names if (frames := found[name]))
        if len(parts[part]) != len(names):
            raise ValueError(
                f"music21 has {len(parts[part])} of the {len(names)} chorales of the {part} part in four parts: "
                "expected all; write split.csv anew by python -m experiments.music.split"
            )
    return Chorales(
        **parts,
        source="Bach chorales of music21",
        bars="known: only chorales in such bars are kept",
        known_tunes=known_tunes(parts["train"], parts["test"]),
    )


def read_file(path: str) -> Chorales:
    """A JSON object of train, valid and test: lists of chorales, of frames, of the notes that sound, as MIDI numbers.

    Raises:
        OSError: if there is no such file.
        ValueError: for one that is damaged, with the place.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"--config.file={path} is not JSON ({error}): expected an object of {_told(PARTS)}") from error
    if not isinstance(found, dict) or set(PARTS) - set(found):
        there = f"with {_told(found)}" if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"--config.file={path} is an object {there}: expected one of {_told(PARTS)}")
    parts = {part: _part(found[part], f"--config.file={path}, {part}") for part in PARTS}
    return Chorales(
        **parts,
        source=Path(path).name,
        bars="assumed: the file does not tell",
        known_tunes=known_tunes(parts["train"], parts["test"]),
    )


def _told(names: Any) -> str:
    return ", ".join(map(str, names)) or "nothing"


def _part(given: Any, where: str) -> tuple[Frames, ...]:
    if not isinstance(given, list) or not given:
        raise ValueError(f"{where} is {_short(given)}: expected a list of one chorale or more")
    return tuple(_chorale(each, f"{where}, chorale {number}") for number, each in enumerate(given, 1))


def _chorale(given: Any, where: str) -> Frames:
    if not isinstance(given, list) or len(given) < 2:
        raise ValueError(f"{where} is {_short(given)}: expected a list of two frames or more")
    frames = []
    for number, frame in enumerate(given, 1):
        if not isinstance(frame, list):
            raise ValueError(f"{where}, frame {number} is {_short(frame)}: expected a list of notes")
        for note in frame:
            whole = isinstance(note, int) and not isinstance(note, bool)
            if not whole or not LOWEST <= note <= HIGHEST:
                raise ValueError(
                    f"{where}, frame {number} has the note {_short(note)}: expected MIDI numbers of the keys of a "
                    f"piano, {LOWEST} to {HIGHEST}"
                )
        frames.append(tuple(sorted(set(frame))))
    return tuple(frames)


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 40 else f"{told[:37]}..."


# As arrays


def roll(frames: Frames) -> np.ndarray:
    """(1 + T, 88): a silent frame, then those of a chorale."""
    found = np.zeros((1 + len(frames), KEYS), np.float32)
    for place, frame in enumerate(frames, 1):
        found[place, [note - LOWEST for note in frame]] = 1
    return found


def frames_of(notes: np.ndarray) -> Frames:
    """Of a piano roll (T, 88)."""
    return tuple(tuple(int(key) + LOWEST for key in np.flatnonzero(frame > 0.5)) for frame in notes)


def batch_of(music: Sequence[Frames], frames: int = 0, count: int = 0) -> Batch:
    """Padded to the longest, or to so many frames and so many chorales."""
    rolls = [roll(each) for each in music]
    lengths = np.array([*map(len, rolls), *[0] * (count - len(rolls))])
    notes = np.zeros((max(frames, *lengths), len(lengths), KEYS), np.float32)
    for place, each in enumerate(rolls):
        notes[: len(each), place] = each
    return Batch(jnp.asarray(notes), jnp.asarray(np.arange(len(notes))[:, None] < lengths))


def alike(parts: Sequence[Sequence[Frames]]) -> list[Batch]:
    """A batch of each, all of one shape: one program serves all."""
    frames = 1 + max(len(each) for part in parts for each in part)
    return [batch_of(part, frames, max(map(len, parts))) for part in parts]


def stock_of(music: Sequence[Frames], down: int, up: int) -> Stock:
    """To be transposed by so many semitones, but never beyond the keys of a piano."""
    rolls = [roll(each) for each in music]
    lengths = np.array([len(each) for each in rolls], np.int32)
    sounding = [np.flatnonzero(each.any(axis=0)) if each.any() else np.array([0, KEYS - 1]) for each in rolls]
    lowest, highest = (np.array([keys[end] for keys in sounding]) for end in (0, -1))
    moves = np.maximum(-down, -lowest), np.minimum(up, KEYS - 1 - highest)
    arrays = np.cumsum(lengths) - lengths, lengths, *moves
    return Stock(jnp.asarray(np.concatenate(rolls)), *(jnp.asarray(each, jnp.int32) for each in arrays))


def moves_of(music: Sequence[Frames], down: int, up: int) -> Array:
    """By how many semitones all of these can be moved, within so many."""
    stock = stock_of(music, down, up)
    return jnp.arange(int(stock.down.max()), int(stock.up.min()) + 1)


def sizes_of(music: Sequence[Frames], config: ConfigDict) -> Sizes:
    """Of the rows of a training step."""
    shortest = 1 + min(map(len, music))
    return Sizes(config.rows, config.row_frames, -(-config.row_frames // shortest))


def drawn_rows(stock: Stock, sizes: Sizes, key: Key) -> Rows:
    """Rows of chorales that are drawn and transposed at random."""
    which_key, shift_key = jax.random.split(key)
    shape = sizes.chorales, sizes.rows
    drawn = jax.random.randint(which_key, shape, 0, len(stock.starts))
    shifts = jax.random.randint(shift_key, shape, stock.down[drawn], stock.up[drawn] + 1)
    ends = jnp.cumsum(stock.lengths[drawn], axis=0)
    place = jnp.arange(sizes.frames)[:, None]
    which = (place[:, None] >= ends[None]).sum(axis=1)

    def of_place(values: Array) -> Array:
        return jnp.take_along_axis(values, which, axis=0)

    within = place - of_place(ends - stock.lengths[drawn])
    notes = stock.notes[of_place(stock.starts[drawn]) + within]
    keys = (jnp.arange(KEYS).reshape(1, 1, -1) - of_place(shifts)[..., None]) % KEYS
    notes = jnp.take_along_axis(notes, keys, axis=-1)
    reset = within == 0
    return Rows(notes, reset, jnp.concatenate([~reset[1:], jnp.zeros_like(reset[:1])]))
