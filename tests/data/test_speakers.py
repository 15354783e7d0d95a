"""JapaneseVowels: what is read against sktime's own reader, and what is said of a damaged file."""

import importlib.util
import shutil

import numpy as np
import pytest

from rnnjax.data import load_speakers
from rnnjax.data import speakers as module

pytest.importorskip("sktime", reason="not installed: rnnjax[classification]")


@pytest.fixture
def folder(tmp_path):
    """A copy of the files."""
    for part in module.UTTERANCES:
        shutil.copy(module._installed() / f"JapaneseVowels_{part}.ts", tmp_path)
    return tmp_path


def test_what_is_read_is_what_sktime_reads():
    from sktime.datasets import load_japanese_vowels

    read = load_speakers()
    for part, split in zip(read[:2], ("train", "test"), strict=True):
        frame, speakers = load_japanese_vowels(split=split, return_X_y=True)
        assert [read.classes[label] for label in part.labels] == speakers.tolist()
        for place in range(0, len(frame), 7):
            expected = np.stack([series.to_numpy() for series in frame.iloc[place]], axis=1)
            assert part.lengths[place] == len(expected)
            np.testing.assert_allclose(part.inputs[: len(expected), place], expected, rtol=1e-6)
            assert not part.inputs[len(expected) :, place].any()


def test_the_split_is_the_published_one():
    """The UCI page of the data: 30 utterances of each to train on; these counts to test on; 7 to 29 steps."""
    read = load_speakers()
    assert np.bincount(read.train.labels).tolist() == [30] * 9
    assert np.bincount(read.test.labels).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    lengths = np.concatenate([read.train.lengths, read.test.lengths])
    assert (lengths.min(), lengths.max()) == (7, 29)


def edited(edit):
    """Changes the fourth utterance of a list of lines."""

    def change(lines):
        place = lines.index("@data") + 4
        return [*lines[:place], edit(lines[place]), *lines[place + 1 :]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:200], "has .* utterances: expected 270 after a line @data; fetch it again"),
        (lambda lines: [line for line in lines if line != "@data"], "has 0 utterances: expected 270"),
        (
            edited(lambda line: line.replace(",", "?,", 1)),
            r"line 19: could not convert string to float: .*fetch it again",
        ),
        (edited(lambda line: "?," + line.partition(",")[2]), "line 19: could not convert string to float: '?"),
        (edited(lambda line: "nan," + line.partition(",")[2]), "line 19: a value is missing or beyond 10"),
        (edited(lambda line: "99," + line.partition(",")[2]), "line 19: a value is missing or beyond 10"),
        (
            edited(lambda line: line.partition(",")[2]),
            r"line 19: its channels have \d+ to \d+ steps: expected equally many",
        ),
        (edited(lambda line: line.partition(":")[2]), "line 19: it has 11 channels and then '1': expected 12"),
        (edited(lambda line: line[:-1] + "0"), "line 19: it has 12 channels and then '0': expected 12 and a speaker"),
        (edited(lambda line: ":".join(["1,2,3"] * 12 + ["1"])), "line 19: it has 3 steps: expected 7 to 29"),
        (
            lambda lines: [line[:-1] + "1" if line.endswith(":9") else line for line in lines],
            "has 8 speakers: expected 9",
        ),
    ],
    ids=[
        "cut",
        "no head",
        "torn",
        "missing",
        "not a number",
        "too large",
        "a value short",
        "a channel short",
        "unknown speaker",
        "too short",
        "a speaker short",
    ],
)
def test_a_damaged_file_is_refused_with_its_line(folder, change, message):
    file = folder / "JapaneseVowels_TRAIN.ts"
    file.write_text("\n".join(change(file.read_text().splitlines())))
    with pytest.raises(ValueError, match=message) as raised:
        load_speakers(str(folder))
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_not_there_is_told(folder, monkeypatch):
    (folder / "JapaneseVowels_TEST.ts").unlink()
    with pytest.raises(FileNotFoundError, match=r"JapaneseVowels_TEST.ts does not exist: give a folder"):
        load_speakers(str(folder))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rnnjax\[classification\]'"):
        load_speakers()
