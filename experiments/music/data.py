"""Chorales as piano rolls: read and checked, padded side by side for evaluation, and in rows for training."""

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
    """The three parts of the data; a frame is a quarter note long, and a bar has four."""

    train: tuple[Frames, ...]
    valid: tuple[Frames, ...]
    test: tuple[Frames, ...]
    source: str
    bars: str  # how it is known that a bar has four quarters
    known_tunes: int  # test chorales whose tunes are also in the training part


class Batch(NamedTuple):
    """B chorales side by side, each with a silent frame before its own ones."""

    notes: Array  # (T, B, 88), 1 where a key sounds
    mask: Array  # (T, B), True at real frames, the silent one included


class Stock(NamedTuple):
    """All training chorales, one after the other, each with a silent frame before it."""

    notes: Array  # (N, 88)
    targets: Array  # (N, 88), what is taught of each key: 1 where it sounds, or a probability
    starts: Array  # (C,)
    lengths: Array  # (C,), the silent frame included
    down: Array  # (C,) the lowest transposition of a chorale in semitones, 0 or less
    up: Array  # (C,) its highest transposition


class Sizes(NamedTuple):
    """The sizes of the rows in a training step."""

    rows: int
    frames: int  # in a row
    chorales: int  # as many as always fill a row


class Rows(NamedTuple):
    """B rows of L frames, filled with whole chorales; the last chorale of a row is cut off at its end."""

    notes: Array  # (L, B, 88)
    targets: Array  # (L, B, 88)
    reset: Array  # (L, B), True where a chorale begins, with its silent frame
    follows: Array  # (L, B), True where the next frame of the row is of the same chorale


def read(config: ConfigDict) -> Chorales:
    """The chorales of a config: those of its file, or else those of music21.

    Raises:
        ModuleNotFoundError, OSError, ValueError: if they cannot be read.
    """
    return read_file(config.file) if config.file else read_corpus(config.chorales)


def read_corpus(most: int) -> Chorales:
    """The chorales of split.csv, at most ``most`` of each part, or all if that is 0."""
    split = listed()
    chosen = {part: [each.name for each in split if each.part == part][: most or None] for part in PARTS}
    found = chorales([name for names in chosen.values() for name in names])
    parts = {}
    for part, names in chosen.items():
        parts[part] = tuple(frames for name in names if (frames := found[name]))
        if len(parts[part]) != len(names):
            raise ValueError(
                f"music21 has {len(parts[part])} of the {len(names)} chorales of the {part} part in four voices: "
                "expected all of them; write split.csv anew by python -m experiments.music.split"
            )
    return Chorales(
        **parts,
        source="Bach chorales of music21",
        bars="known, as only chorales in such bars are kept",
        known_tunes=known_tunes(parts["train"], parts["test"]),
    )


def read_file(path: str) -> Chorales:
    """The chorales of a JSON object of train, valid and test, which are lists of chorales.

    A chorale is a list of frames, and a frame is a list of the MIDI numbers of the notes that sound.

    Raises:
        OSError: if there is no such file.
        ValueError: if the file has another content; the message names the place.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"--config.file={path} is not JSON ({error}): expected an object of {_told(PARTS)}") from error
    if not isinstance(found, dict) or set(PARTS) - set(found):
        there = f"an object of {_told(found)}" if isinstance(found, dict) else f"a {type(found).__name__}"
        raise ValueError(f"--config.file={path} is {there}: expected an object of {_told(PARTS)}")
    parts = {part: _part(found[part], f"--config.file={path}, {part}") for part in PARTS}
    return Chorales(
        **parts,
        source=Path(path).name,
        bars="assumed, as the file does not say it",
        known_tunes=known_tunes(parts["train"], parts["test"]),
    )


def _told(names: Any) -> str:
    return ", ".join(map(str, names)) or "nothing"


def _part(given: Any, where: str) -> tuple[Frames, ...]:
    if not isinstance(given, list) or not given:
        raise ValueError(f"{where} is {_short(given)}: expected a list of at least one chorale")
    return tuple(_chorale(each, f"{where}, chorale {number}") for number, each in enumerate(given, 1))


def _chorale(given: Any, where: str) -> Frames:
    if not isinstance(given, list) or len(given) < 2:
        raise ValueError(f"{where} is {_short(given)}: expected a list of at least two frames")
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
    """A piano roll (1 + T, 88): a silent frame, and then those of a chorale."""
    found = np.zeros((1 + len(frames), KEYS), np.float32)
    for place, frame in enumerate(frames, 1):
        found[place, [note - LOWEST for note in frame]] = 1
    return found


def frames_of(notes: np.ndarray) -> Frames:
    """The frames of a piano roll (T, 88)."""
    return tuple(tuple(int(key) + LOWEST for key in np.flatnonzero(frame > 0.5)) for frame in notes)


def batch_of(music: Sequence[Frames], frames: int = 0, count: int = 0) -> Batch:
    """Chorales padded to the longest, or to ``frames`` frames and ``count`` chorales if these are more."""
    rolls = [roll(each) for each in music]
    lengths = np.array([*map(len, rolls), *[0] * (count - len(rolls))])
    notes = np.zeros((max(frames, *lengths), len(lengths), KEYS), np.float32)
    for place, each in enumerate(rolls):
        notes[: len(each), place] = each
    return Batch(jnp.asarray(notes), jnp.asarray(np.arange(len(notes))[:, None] < lengths))


def alike(parts: Sequence[Sequence[Frames]]) -> list[Batch]:
    """A batch of each part, all of the same shape, so that one program serves all."""
    frames = 1 + max(len(each) for part in parts for each in part)
    return [batch_of(part, frames, max(map(len, parts))) for part in parts]


def stock_of(music: Sequence[Frames], down: int, up: int) -> Stock:
    """The chorales, with the transpositions within ``down`` and ``up`` that stay on the keys of a piano."""
    rolls = [roll(each) for each in music]
    lengths = np.array([len(each) for each in rolls], np.int32)
    sounding = [np.flatnonzero(each.any(axis=0)) if each.any() else np.array([0, KEYS - 1]) for each in rolls]
    lowest, highest = (np.array([keys[end] for keys in sounding]) for end in (0, -1))
    moves = np.maximum(-down, -lowest), np.minimum(up, KEYS - 1 - highest)
    arrays = np.cumsum(lengths) - lengths, lengths, *moves
    notes = jnp.asarray(np.concatenate(rolls))
    return Stock(notes, notes, *(jnp.asarray(each, jnp.int32) for each in arrays))


def moves_of(music: Sequence[Frames], down: int, up: int) -> Array:
    """The transpositions in semitones, within ``down`` and ``up``, that are possible for all of these chorales."""
    stock = stock_of(music, down, up)
    return jnp.arange(int(stock.down.max()), int(stock.up.min()) + 1)


def sizes_of(music: Sequence[Frames], config: ConfigDict) -> Sizes:
    """The sizes of the rows in a training step."""
    shortest = 1 + min(map(len, music))
    return Sizes(config.rows, config.row_frames, -(-config.row_frames // shortest))


def drawn_rows(stock: Stock, sizes: Sizes, key: Key) -> Rows:
    """Rows of random chorales in random transpositions."""
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
    frames = of_place(stock.starts[drawn]) + within
    keys = (jnp.arange(KEYS).reshape(1, 1, -1) - of_place(shifts)[..., None]) % KEYS
    notes, targets = (jnp.take_along_axis(each[frames], keys, axis=-1) for each in (stock.notes, stock.targets))
    reset = within == 0
    return Rows(notes, targets, reset, jnp.concatenate([~reset[1:], jnp.zeros_like(reset[:1])]))
