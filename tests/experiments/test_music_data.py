"""The music experiment's chorales: files that are read or refused, tunes, rows to train on, transposition."""

import itertools
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments.common.errors import ExperimentError
from experiments.music import corpus, counting, split
from experiments.music import data as music_data
from experiments.music.config import get_config
from experiments.music.corpus import Frames
from experiments.music.data import Rows, Sizes, batch_of, drawn_rows, frames_of, roll, stock_of
from experiments.music.main import main


def made(seed: int, count: int, frames: tuple[int, int] = (10, 20)) -> list[list[list[int]]]:
    """Chorales of four voices that move by steps, and now and then are silent."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        length = int(generator.integers(*frames))
        voices = np.array([48, 55, 60, 67]) + np.cumsum(generator.integers(-2, 3, (length, 4)), axis=0)
        chords = [sorted({int(note) for note in chord}) for chord in voices.clip(30, 90)]
        found.append([[] if generator.random() < 0.05 else chord for chord in chords])
    return found


def made_file(path: Path, **changes: Any) -> Path:
    """A file of such chorales."""
    parts = {part: made(seed, count) for seed, (part, count) in enumerate({"train": 9, "valid": 4, "test": 4}.items())}
    path.write_text(json.dumps({**parts, **changes}))
    return path


# Files


def test_a_file_is_read_as_it_is_and_notes_are_in_order(tmp_path: Path) -> None:
    path = made_file(tmp_path / "mine.json", valid=[[[60, 48, 60], [], [21, 108]]])
    found = music_data.read_file(str(path))
    assert found.valid == (((48, 60), (), (21, 108)),)
    assert [[list(frame) for frame in chorale] for chorale in found.train] == made(0, 9)
    assert (found.source, found.bars) == ("mine.json", "assumed, as the file does not say it")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": []}, "test is []: expected a list of at least one chorale"),
        ({"test": 5}, "test is 5: expected a list of at least one chorale"),
        ({"test": [[[60], [62]], [[60]]]}, "test, chorale 2 is [[60]]: expected a list of at least two frames"),
        ({"train": [[60, 62]]}, "train, chorale 1, frame 1 is 60: expected a list of notes"),
        ({"valid": [[[60], [62, 109]]]}, "valid, chorale 1, frame 2 has the note 109: expected MIDI numbers of"),
        ({"valid": [[[60], [20]]]}, "has the note 20: expected MIDI numbers of the keys of a piano, 21 to 108"),
        ({"valid": [[[60], [61.5]]]}, "has the note 61.5"),
        ({"valid": [[[60], ["C4"]]]}, "has the note 'C4'"),
        ({"valid": [[[60], [True]]]}, "has the note True"),
    ],
)
def test_damaged_files_are_refused_with_the_place(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = made_file(tmp_path / "damaged.json", **changes)
    with pytest.raises(ValueError, match="expected") as raised:
        music_data.read_file(str(path))
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"--config.file={path}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[[[60]]]", "is a list: expected an object of train, valid, test"),
        ('{"train": [], "test": []}', "is an object of train, test: expected an object of train, valid, test"),
        ("{}", "is an object of nothing"),
        ('{"train": [', "is not JSON"),
    ],
)
def test_what_is_no_such_object_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="expected") as raised:
        music_data.read_file(str(path))
    assert message in str(raised.value)


# Rolls and rows


def test_a_roll_has_a_silent_frame_ahead_and_gives_back_its_frames() -> None:
    frames: Frames = ((21, 60, 108), (), (64,))
    found = roll(frames)
    assert found.shape == (4, 88)
    assert not found[0].any()
    assert list(np.flatnonzero(found[1])) == [0, 39, 87]
    assert frames_of(found[1:]) == frames
    batch = batch_of([frames, frames[:2]])
    assert batch.notes.shape == (4, 2, 88)
    assert batch.mask.T.tolist() == [[True] * 4, [True, True, True, False]]
    assert not np.asarray(batch.notes)[~np.asarray(batch.mask)].any()


def test_rows_are_chorales_one_after_the_other_each_moved_as_a_whole_within_the_keys() -> None:
    music = [
        tuple(map(tuple, each))
        for each in ([[60], [64, 67]], [[50], [], [52]], [[23], [25], [27], [29]], [[106], [108], [101], [90]])
    ]
    stock, sizes = stock_of(music, 5, 6), Sizes(rows=16, frames=23, chorales=8)
    assert stock.down.tolist() == [-5, -5, -2, -5]
    assert stock.up.tolist() == [6, 6, 6, 0]
    stock = stock._replace(targets=0.5 * stock.notes + 0.25)
    rows: Rows = jax.jit(lambda key: drawn_rows(stock, sizes, key))(jax.random.key(0))
    notes, targets, reset, follows = map(np.asarray, rows)
    np.testing.assert_array_equal(targets, 0.5 * notes + 0.25)
    assert reset[0].all()
    np.testing.assert_array_equal(follows[:-1], ~reset[1:])
    assert not follows[-1].any()
    shifts: Counter[tuple[int, int]] = Counter()
    for column in range(16):
        begins = [*np.flatnonzero(reset[:, column]), 23]
        for start, end in itertools.pairwise(begins):
            assert not notes[start, column].any()
            found = frames_of(notes[start + 1 : end, column])
            fits = {
                (number, shift)
                for number, chorale in enumerate(music)
                for shift in range(-5, 7)
                if found == tuple(tuple(note + shift for note in frame) for frame in chorale)[: len(found)]
                and (end == 23 or len(found) == len(chorale))
            }
            if found:
                assert fits
            if len(fits) == 1:
                shifts[next(iter(fits))] += 1
    assert {number for number, _ in shifts} == {0, 1, 2, 3}
    assert min(shift for _, shift in shifts) < -2
    assert max(shift for _, shift in shifts) > 2
    assert all(shift >= -2 for number, shift in shifts if number == 2)
    assert all(shift <= 0 for number, shift in shifts if number == 3)


def test_enough_chorales_are_drawn_to_fill_a_row_with_the_shortest() -> None:
    config = ConfigDict({"rows": 3, "row_frames": 10})
    assert music_data.sizes_of([((60,), (62,)), ((60,),) * 9], config) == Sizes(3, 10, 4)


# Counting


def test_counted_probabilities_and_nats_are_those_of_a_loop() -> None:
    train, test = ([tuple(map(tuple, each)) for each in made(seed, 3)] for seed in (5, 6))
    held = {}
    for key in range(21, 109):
        for before in (False, True):
            pairs = [(x, y) for chorale in train for x, y in itertools.pairwise(chorale)]
            after = [key in y for x, y in pairs if (key in x) == before]
            held[key, before] = (sum(after) + 1) / (len(after) + 2)
    losses = []
    for chorale in test:
        for x, y in itertools.pairwise(chorale):
            of_keys = [held[key, key in x] if key in y else 1 - held[key, key in x] for key in range(21, 109)]
            losses.append(-np.log(of_keys).sum())
    known = counting.probabilities(train, "held")
    np.testing.assert_allclose(counting.mean_nats(known, test), np.mean(losses), rtol=1e-6)
    frequency = counting.probabilities(train, "frequency")
    sounding = sum(60 in frame for chorale in train for frame in chorale[1:])
    np.testing.assert_allclose(frequency[:, 39], (sounding + 1) / (sum(len(each) - 1 for each in train) + 2))


# Tunes and the split


def test_chorales_of_one_title_or_one_melody_in_any_key_are_a_family() -> None:
    generator = np.random.default_rng(1)
    tunes = [60 + np.cumsum(generator.choice([-2, -1, 1, 2], 30)) for _ in range(3)]

    def frames(tune: np.ndarray, shift: int = 0) -> Frames:
        return tuple((40, int(note) + shift) for note in tune)

    chorales = {
        "a": ("Wachet auf", frames(tunes[0])),
        "b": ("Ein feste Burg", frames(tunes[1])),
        "c": ("Another text", frames(np.repeat(tunes[0], 2), 5)),
        "d": ("EIN' FESTE BURG", frames(tunes[2])),
        "e": ("Ohne Melodie", ((40,),)),
    }
    titles = {name: title for name, (title, _) in chorales.items()}
    melodies = {name: corpus.melody(each) for name, (_, each) in chorales.items()}
    assert corpus.families(titles, melodies) == {"a": "a", "b": "b", "c": "a", "d": "b", "e": "e"}
    assert corpus.melody(((60, 64), (), (64,), (40, 62))) == (-2,)
    assert corpus.known_tunes([frames(tunes[0], 3), frames(tunes[1])], [frames(tunes[0]), frames(tunes[2])]) == 1


def test_a_family_is_in_one_part_and_parts_have_a_fifth_or_a_little_more() -> None:
    family = [f"tune {number // 3}" for number in range(100)]
    parts = split.parts_of(family)
    counts = Counter(parts[name] for name in family)
    assert 20 <= counts["test"] < 23
    assert 20 <= counts["valid"] < 23
    assert split.parts_of(reversed(family)) == parts


def test_the_split_that_is_written_down_keeps_tunes_together() -> None:
    found = corpus.listed()
    assert len({each.name for each in found}) == len(found) > 200
    parts: dict[str, set[str]] = {}
    for each in found:
        for key in (each.family, corpus.plain_title(each.title)):
            parts.setdefault(key, set()).add(each.part)
    assert all(len(of_one) == 1 for of_one in parts.values())
    assert split.parts_of(each.family for each in found) == {each.family: each.part for each in found}
    counts = Counter(each.part for each in found)
    assert 0.2 * len(found) <= min(counts["test"], counts["valid"])
    assert counts["train"] > 0.5 * len(found)


def test_parsed_chorales_are_kept_and_a_damaged_file_of_them_is_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("music21", reason="not installed: rnnjax[music]")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = corpus.chorales(["bwv269", "bwv66.6"])
    assert first["bwv269"] is None  # in bars of three quarters
    assert first["bwv66.6"] is not None
    assert first["bwv66.6"][:3] == ((57, 64, 73), (54, 61, 66, 69), (56, 59, 64, 71))
    (kept,) = (tmp_path / "rnnjax" / "chorales").iterdir()
    monkeypatch.setattr(corpus, "_parsed", lambda package, name: pytest.fail(f"{name} was parsed again"))
    assert corpus.chorales(["bwv66.6"]) == {"bwv66.6": first["bwv66.6"]}
    kept.write_text("{")
    monkeypatch.setattr(corpus, "_parsed", lambda package, name: ((60,), (62,)))
    assert corpus.chorales(["bwv66.6"]) == {"bwv66.6": ((60,), (62,))}
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="music21 cannot read its chorale bwv0"):
        corpus.chorales(["bwv0"])


def test_chorales_of_a_part_are_the_first_of_the_split_and_must_all_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def found(names: list[str]) -> dict[str, Frames | None]:
        asked.extend(names)
        return dict.fromkeys(names, ((60,), (62,)))

    monkeypatch.setattr(music_data, "chorales", found)
    music = music_data.read_corpus(3)
    assert [len(part) for part in music[:3]] == [3, 3, 3]
    expected = [[each.name for each in corpus.listed() if each.part == part][:3] for part in music_data.PARTS]
    assert asked == [name for names in expected for name in names]
    assert len(music_data.read_corpus(0).train) > 100
    monkeypatch.setattr(music_data, "chorales", lambda names: {**found(names), names[0]: None})
    with pytest.raises(ValueError, match="music21 has 2 of the 3 chorales of the train part"):
        music_data.read_corpus(3)


@pytest.mark.parametrize("package", ["music21", "mido"])
def test_without_a_package_the_command_names_the_extra_and_opens_no_workdir(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExperimentError, match=rf'needs {package}, .*pip install "rnnjax\[music\]"'):
        main(get_config("quick"), lambda: pytest.fail("a workdir was opened"))
