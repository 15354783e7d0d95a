"""HKCanCor: spoken Cantonese with a part of speech for each word.

The corpus is included in the package pycantonese.
"""

import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rnnjax.arguments import of_their_kinds
from rnnjax.extras import needed

RECORDINGS = 58
"""The number of recordings in the corpus; ``_WORDS`` is the least number of words, signs included."""

_WORDS = 150_000


class TaggedSentence(NamedTuple):
    """A sentence with a tag for each word."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


class Document(NamedTuple):
    """A recording: its name, its date if known, and its sentences."""

    name: str
    date: datetime.date | None
    sentences: tuple[TaggedSentence, ...]


@of_their_kinds
def load_cantonese(path: str = "") -> tuple[Document, ...]:
    """Conversations and radio programmes from Hong Kong, 1995 to 1998 (Luke & Wong, 2015), by date, undated ones first.

    Tags are those of Universal Dependencies, to which pycantonese maps the 112 tags of the corpus; signs are PUNCT.

    Args:
        path: a folder of files in the CHAT format, or a single file; empty for the files of pycantonese.

    Raises:
        ModuleNotFoundError: if pycantonese is not installed.
        FileNotFoundError: if there is no such folder.
        ValueError: if a file is damaged, or there is none.
    """
    package = _package()
    if path and not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist: give a folder of .cha files, or no path")
    try:
        corpus = package.read_chat(path) if path else package.hkcancor()
        found = corpus.tokens(by_utterance=True, by_file=True)
    except (ValueError, OSError) as error:
        raise ValueError(f"{str(error).splitlines()[0]}: expected CHAT files in UTF-8; fetch it again") from error
    documents = [
        Document(Path(file).stem, header.date, _sentences(package, file, utterances))
        for file, header, utterances in zip(corpus.file_paths, corpus.headers(), found, strict=False)
    ]
    words = sum(len(sentence.words) for document in documents for sentence in document.sentences)
    if not words or (not path and (len(documents) < RECORDINGS or words < _WORDS)):
        expected = "some" if path else f"{RECORDINGS} and {_WORDS:,} or more; install it again"
        raise ValueError(
            f"{path or 'pycantonese'} has {len(documents)} recordings of {words:,} words: expected {expected}"
        )
    return tuple(sorted(documents, key=lambda each: (each.date or datetime.date.min, each.name)))


def segmented(text: str) -> list[str]:
    """The words of Cantonese text, which has no spaces; raises like ``load_cantonese`` without pycantonese."""
    return list(_package().segment(text))


def _package() -> ModuleType:
    with needed("pycantonese", by="spoken Cantonese", extra="tagging"):
        import pycantonese
    package: ModuleType = pycantonese
    return package


def _sentences(package: ModuleType, file: str, utterances: list[list[Any]]) -> tuple[TaggedSentence, ...]:
    """Sentences with universal tags; a sign, which has no tag in the corpus, is looked up as itself."""
    universal = package.pos_tagging.hkcancor_to_ud()
    found = []
    for number, tokens in enumerate(utterances, 1):
        given = [(token.word, token.pos or token.word) for token in tokens]
        strange = next(((word, tag) for word, tag in given if not word or tag.strip() not in universal), None)
        if strange:
            raise ValueError(
                f"{file}, utterance {number}: the word {strange[0]!r} has the tag {strange[1]!r}: expected one of "
                "HKCanCor; fetch it again"
            )
        words, tags = zip(*given, strict=True) if given else ((), ())
        found.append(TaggedSentence(tuple(words), tuple(universal[tag.strip()] for tag in tags)))
    return tuple(sentence for sentence in found if sentence.words)
