"""HKCanCor: spoken Cantonese with a part of speech for each word, as the package pycantonese brings it."""

import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rnnjax.arguments import of_their_kinds
from rnnjax.extras import needed

RECORDINGS = 58
"""As many there are in the corpus; and at least so many words, signs included."""

_WORDS = 150_000


class TaggedSentence(NamedTuple):
    """As many tags as words."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


class Document(NamedTuple):
    """A recording: its name, the day of it, if that is told, and what was said."""

    name: str
    date: datetime.date | None
    sentences: tuple[TaggedSentence, ...]


@of_their_kinds
def load_cantonese(path: str = "") -> tuple[Document, ...]:
    """Conversations and radio programmes of Hong Kong, 1995 to 1998 (Luke & Wong, 2015), by days, undated ones first.

    Tags are those of Universal Dependencies, into which pycantonese translates the 112 of the corpus; signs are PUNCT.

    Args:
        path: a folder of files in the CHAT format, or one of them; empty for those of pycantonese.

    Raises:
        ModuleNotFoundError: without pycantonese.
        FileNotFoundError: no such folder.
        ValueError: a file that is damaged, or none.
    """
    package = _package()
    if path and not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist: give a folder of .cha files, or none for those of pycantonese")
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
    """The words of Cantonese that is written without spaces. Raises as ``load_cantonese`` without pycantonese."""
    return list(_package().segment(text))


def _package() -> ModuleType:
    with needed("pycantonese", by="spoken Cantonese", extra="tagging"):
        import pycantonese
    package: ModuleType = pycantonese
    return package


def _sentences(package: ModuleType, file: str, utterances: list[list[Any]]) -> tuple[TaggedSentence, ...]:
    """With universal tags; a sign, which has no tag of its own, is looked up as itself."""
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
