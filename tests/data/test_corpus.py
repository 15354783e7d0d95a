"""Corpora: what is read, how it is encoded, and what is said of a text that will not do."""

import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rnnjax.data import load_corpus, load_text, random_windows
from rnnjax.data.vocabulary import UNKNOWN


def test_tokens_decode_to_the_text(tmp_path: Path) -> None:
    text = "Jane had a quick lunch in the bistro. Then she…"
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    corpus = load_corpus(str(tmp_path / "text.txt"))
    assert "".join(corpus.vocabulary[token] for token in corpus.tokens) == text
    assert corpus.tokens.dtype == np.int32


def test_rare_characters_become_unknown_and_the_vocabulary_is_by_frequency(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("aaaabbbccd", encoding="utf-8")
    corpus = load_corpus(str(tmp_path / "text.txt"), max_vocabulary=3)
    assert corpus.vocabulary == ("a", "b", UNKNOWN)
    assert corpus.tokens.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.slow
def test_the_default_corpus_is_the_standard_library() -> None:
    corpus = load_corpus(max_characters=200_000)
    text = "".join(corpus.vocabulary[token] for token in corpus.tokens)
    assert len(text) == 200_000
    assert len(corpus.vocabulary) <= 96
    sources = Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")
    assert any(text[:300] in file.read_text(encoding="utf-8", errors="replace") for file in sources)


def test_any_part_of_the_default_corpus_is_like_any_other() -> None:
    """Else measuring on the last tenth would say little of what was learned on the rest."""
    corpus = load_corpus(max_characters=4_000_000)
    parts = [np.bincount(part, minlength=96) / len(part) for part in np.array_split(corpus.tokens, 10)]
    distances = [np.abs(part - np.mean(parts, axis=0)).sum() / 2 for part in parts]
    assert max(distances) < 0.1  # total variation of character frequencies; in order of names, tables reach 0.5


def test_windows_are_consecutive_passages_in_columns() -> None:
    windows = random_windows(np.arange(50), np.random.default_rng(0), 7, 100)
    assert windows.shape == (7, 100)
    assert (np.diff(windows, axis=0) == 1).all()
    assert windows.min() == 0
    assert windows.max() == 49  # the last passage counts too


def test_docstrings_are_those_of_the_standard_library_without_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = 'class A:\n    """Of a class.\n\n    More.\n    """\n    def f(self):\n        r"""\\d of f."""\n'
    (tmp_path / "module.py").write_text(f'"""Of a module."""\n"""no docstring"""\n{code}async def g(): "\\d"[0]\n')
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "module.py").write_text('"""Of a test."""\n')
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    text, source = load_text("docstrings")
    assert text == "Of a module.\n\nOf a class.\n\nMore.\n\n\\d of f.\n\n"
    assert source.startswith("docstrings of the Python 3")
    assert load_text("docstrings", max_characters=15).text == text[:15]
    (tmp_path / "module.py").write_text("1\n")
    with pytest.raises(ValueError, match=r"corpus docstrings of the Python .* is empty: expected text"):
        load_text("docstrings")


def test_prose_is_docstrings_and_topics_of_pydoc_in_one_order_that_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = {f"topic{number}": f"All about {number}.\n\nSee also." for number in range(20)}
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", SimpleNamespace(topics=topics))
    for number in range(20):
        (tmp_path / f"module{number}.py").write_text(f'"""Of module {number}."""\n')
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    text, source = load_text("prose")
    said = text.removesuffix("\n\n").split("\n\n")
    about, modules = ([f"{what} {number}." for number in range(20)] for what in ("All about", "Of module"))
    assert sorted(said) == sorted([*about, *modules, "See also."])  # which is there once
    assert 3 < sum(each.startswith("All about") for each in said[:20]) < 17  # any part is like any other
    assert source.startswith("docstrings and pydoc topics of the Python 3")
    assert load_text("prose", max_characters=50).text == text[:50]


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("missing", None, FileNotFoundError, ["missing", "does not exist", "path"]),
        ("empty", b"", ValueError, ["empty", "another file"]),
        ("latin", b"caf\xe9 au lait", ValueError, ["0xe9", "position 3", "iconv"]),
    ],
)
def test_a_text_that_will_not_do_is_named_with_the_remedy(
    tmp_path: Path, name: str, content: bytes | None, error: type[Exception], words: list[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error) as raised:
        load_corpus(str(tmp_path / name))
    assert all(word in str(raised.value) for word in words)
    assert str(raised.value).count("\n") == 0


def test_a_folder_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a file: give the path of one UTF-8 text file"):
        load_corpus(str(tmp_path))


def test_too_short_a_text_is_told_with_both_lengths() -> None:
    with pytest.raises(ValueError, match="has 5 characters here, but a window needs 6: give a longer text"):
        random_windows(np.arange(5), np.random.default_rng(0), 6, 1)


def test_a_vocabulary_of_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abc")
    with pytest.raises(ValueError, match="max_vocabulary is 1: expected at least 2"):
        load_corpus(str(tmp_path / "text.txt"), max_vocabulary=1)


def test_a_text_of_one_character_has_nothing_to_predict(tmp_path):
    (tmp_path / "text.txt").write_text("a" * 1000)
    with pytest.raises(ValueError, match="has one character over and over: expected two or more; give another text"):
        load_corpus(tmp_path / "text.txt")
