"""Spoken Cantonese: what is read against a plain reading of the files, and what is said of a damaged one."""

import sys
from pathlib import Path

import pytest

from rnnjax.data import cantonese as module
from rnnjax.data import load_cantonese

pycantonese = pytest.importorskip("pycantonese", reason="not installed: rnnjax[tagging]")

FOLDER = Path(pycantonese.__file__).parent / "data" / "hkcancor"
HEAD = "@UTF8\n@Begin\n@Languages:\tyue , eng\n@Participants:\tXXA A Adult\n@ID:\tyue , eng|HKCanCor|XXA|34;|||||||\n"
DATE = "@Date:\t30-APR-1997\n"
SPOKEN = "*XXA:\t喂 遲 啲 ?\n%mor:\te|wai3 a|ci4 u|di1 ?\n"


def lines_of(file):
    """The lines of a file, those that go on joined."""
    return file.read_text(encoding="utf-8").replace("\n\t", " ").splitlines()


def test_what_is_read_is_what_is_written_word_by_word():
    documents = {document.name: document for document in load_cantonese()}
    assert len(documents) == 58
    words = tags = 0
    for file in sorted(FOLDER.glob("*.cha"))[::9]:
        lines, found = lines_of(file), documents[file.stem]
        said = [line.split("\t", 1)[1].split() for line in lines if line.startswith("*")]
        tagged = [line.split("\t", 1)[1].split() for line in lines if line.startswith("%mor")]
        assert [list(sentence.words) for sentence in found.sentences] == said
        assert [len(sentence.tags) for sentence in found.sentences] == [len(each) for each in tagged]
        for sentence, marks in zip(found.sentences, tagged, strict=True):
            for tag, mark in zip(sentence.tags, marks, strict=True):
                kind, bar, _ = mark.rpartition("|")
                words += 1
                expected = {"v": "VERB", "n": "NOUN", "a": "ADJ", "d": "ADV", "y": "PART", "r": "PRON", "m": "NUM"}
                if not bar:
                    assert tag == "PUNCT", mark
                elif kind in expected:
                    tags += 1
                    assert tag == expected[kind]
    assert tags > words / 2 > 5000


def test_recordings_come_by_their_days_and_undated_ones_first():
    dates = [document.date for document in load_cantonese()]
    undated = dates.count(None)
    assert dates[:undated] == [None] * undated
    assert dates[undated:] == sorted(dates[undated:])
    assert [dates[undated].year, dates[-1].year] == [1995, 1998]
    assert sum(len(s.words) for each in load_cantonese() for s in each.sentences) > 150_000


def test_a_file_of_ones_own_is_read(tmp_path):
    (tmp_path / "mine.cha").write_text(HEAD + DATE + SPOKEN + "@End\n", encoding="utf-8")
    for path in (tmp_path, tmp_path / "mine.cha"):
        (document,) = load_cantonese(str(path))
        assert (document.name, document.date.isoformat()) == ("mine", "1997-04-30")
        assert document.sentences == (module.TaggedSentence(tuple("喂遲啲?"), ("INTJ", "ADJ", "PART", "PUNCT")),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 1 recordings of 0 words: expected some"),
        (HEAD + SPOKEN.replace("u|di1 ", ""), r"word count \(4\) != mor count \(3\).*fetch it again"),
        (HEAD + SPOKEN.replace("a|", "qqq|"), "utterance 1: the word '遲' has the tag 'qqq': expected one of HKCanCor"),
        (HEAD + SPOKEN.replace("a|", ""), "utterance 1: the word '遲' has the tag '遲': expected one of HKCanCor"),
        (HEAD + SPOKEN.partition("%")[0], "utterance 1: the word '喂' has the tag '喂': expected one of HKCanCor"),
    ],
    ids=["empty", "a tag is missing", "unknown tag", "no tag", "no tags"],
)
def test_a_damaged_file_is_refused(tmp_path, text, message):
    (tmp_path / "mine.cha").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as raised:
        load_cantonese(str(tmp_path))
    assert len(str(raised.value).splitlines()) <= 2


def test_what_is_no_text_or_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"give a folder of \.cha files"):
        load_cantonese(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="has 0 recordings of 0 words: expected some"):
        load_cantonese(str(tmp_path))
    (tmp_path / "mine.cha").write_bytes(HEAD.encode() + b"*XXA:\t\xe5 .\n")
    with pytest.raises(ValueError, match="expected CHAT files in UTF-8; fetch it again"):
        load_cantonese(str(tmp_path))


def test_an_install_that_has_lost_recordings_is_refused(monkeypatch):
    few = pycantonese.read_chat(str(FOLDER / "FC-001_v2.cha"))
    monkeypatch.setattr(pycantonese, "hkcancor", lambda: few)
    with pytest.raises(
        ValueError, match=r"pycantonese has 1 recordings of 1,998 words: expected 58 and 150,000 or more"
    ):
        load_cantonese()


def test_without_pycantonese_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycantonese", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "rnnjax\[tagging\]"'):
        load_cantonese()
