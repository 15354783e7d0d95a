"""The music experiment's MIDI files: frames there and back, what is refused, and the command that composes."""

from pathlib import Path

import pytest

from experiments.music import midi
from experiments.music.corpus import Frames

mido = pytest.importorskip("mido", reason="not installed: rnnjax[music]")

FRAMES: Frames = ((60, 64, 67), (60, 65, 69), (), (60, 65), (21, 108), (108,))


def file_of(path: Path, notes: list[tuple[int, int, int, int]], ticks: int = 96) -> Path:
    """A file of (channel, note, start, end) in ticks, a track for each note."""
    tracks = []
    for channel, note, start, end in notes:
        on = mido.Message("note_on", channel=channel, note=note, velocity=64, time=start)
        off = mido.Message("note_on", channel=channel, note=note, velocity=0, time=end - start)
        tracks.append(mido.MidiTrack([on, off]))
    mido.MidiFile(type=1, ticks_per_beat=ticks, tracks=tracks).save(path)
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    midi.write(FRAMES, tmp_path / "piece.mid")
    assert midi.read(tmp_path / "piece.mid") == FRAMES
    midi.write(((), *FRAMES, (), ()), tmp_path / "silent_ends.mid")
    assert midi.read(tmp_path / "silent_ends.mid") == FRAMES


def test_a_key_that_goes_on_sounding_is_one_note_of_that_many_quarters(tmp_path: Path) -> None:
    midi.write(((60, 64), (60,), (64,)), tmp_path / "piece.mid")
    file = mido.MidiFile(tmp_path / "piece.mid")
    time, found = 0, []
    for message in file.tracks[0]:
        time += message.time
        if message.type.startswith("note"):
            found.append((message.type, message.note, time / file.ticks_per_beat))
    assert sorted(found) == sorted(
        [
            *[("note_on", 60, 0), ("note_off", 60, 2), ("note_on", 64, 0), ("note_off", 64, 1)],
            *[("note_on", 64, 2), ("note_off", 64, 3)],
        ]
    )
    assert time == 3 * file.ticks_per_beat


def test_a_frame_has_what_sounds_at_its_quarter_played_a_little_early_or_late(tmp_path: Path) -> None:
    notes = [
        (0, 60, 0, 192),  # two quarters
        (1, 64, 10, 90),  # a little late, a little short
        (2, 67, 90, 197),  # a little early and too long
        (0, 72, 120, 180),  # between two quarters
        (9, 35, 0, 400),  # a drum
    ]
    assert midi.read(file_of(tmp_path / "played.mid", notes)) == ((60, 64), (60, 67))


def test_a_note_that_never_ends_ends_with_its_track(tmp_path: Path) -> None:
    on = mido.Message("note_on", note=60, velocity=64, time=0)
    track = mido.MidiTrack([on, mido.MetaMessage("end_of_track", time=300)])
    mido.MidiFile(type=0, ticks_per_beat=100, tracks=[track]).save(tmp_path / "held.mid")
    assert midi.read(tmp_path / "held.mid") == ((60,),) * 3


def test_what_is_no_piece_is_refused_in_a_line(tmp_path: Path) -> None:
    midi.write(FRAMES, tmp_path / "piece.mid")
    whole = (tmp_path / "piece.mid").read_bytes()
    (tmp_path / "text.mid").write_text("no music")
    (tmp_path / "empty.mid").write_bytes(b"")
    (tmp_path / "cut.mid").write_bytes(whole[:30])
    (tmp_path / "film.mid").write_bytes(whole[:12] + b"\xe7\x28" + whole[14:])
    file_of(tmp_path / "drums.mid", [(9, 60, 0, 96)])
    file_of(tmp_path / "none.mid", [])
    file_of(tmp_path / "low.mid", [(0, 60, 0, 96), (0, 20, 0, 96)])
    file_of(tmp_path / "high.mid", [(0, 109, 0, 96)])
    file_of(tmp_path / "long.mid", [(0, 60, 96 * 200_000, 96 * 200_001)])
    messages = {
        "text.mid": "is not a MIDI file (it begins with b'no m'): expected a file",
        "empty.mid": "is not a MIDI file (it begins with b'')",
        "cut.mid": "is a damaged MIDI file",
        "film.mid": "has times in frames of film",
        "drums.mid": "has no notes at the beginning of a quarter: expected some that are not drums",
        "none.mid": "has no notes",
        "low.mid": "has the note 20: expected MIDI numbers of the keys of a piano, 21 to 108",
        "high.mid": "has the note 109",
        "long.mid": "is 200,001 quarters long: expected at most",
    }
    for name, message in messages.items():
        with pytest.raises(ValueError, match=r"MIDI|notes|quarter") as raised:
            midi.read(tmp_path / name)
        assert message in str(raised.value), name
        assert "\n" not in str(raised.value)
    with pytest.raises(FileNotFoundError):
        midi.read(tmp_path / "nowhere.mid")
