"""Sentences made by a grammar, in each of which one word is a name or not, and one other word at a distance decides.

    right    teddy | they say indeed | roosevelt | went on sale
    left     again | roosevelt | they say indeed | teddy | went on sale

"teddy" is part of a person's name (NAME) where the deciding word is a surname, and NOUN where that is a noun, as in
"teddy bears". It stands d words to the right of the ambiguous one, or, in the other half, to its left, as in an index.
What stands before, between and after is drawn from the same words whatever decides.

Each ambiguous word has a share of sentences in which it is a name, p = 0.3, 0.5 or 0.7. Who sees everything but the
deciding word can do no better than to say of each word what it mostly is: the chance level

    mean over the words of max(p, 1 - p).

Deciding words to test on are half of them such as were trained on, half of them new ones. A new surname has an ending
that others have, on a stem that none has; a new noun has the "s" of a plural, as all deciding nouns have.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rnnjax.data import TaggedSentence

NAME, NOUN = "NAME", "NOUN"
TAGS = (NAME, NOUN, "VERB", "ADJ", "ADV", "PRON", "ADP", "DET")

RIGHT, LEFT = "right", "left"
SIDES = (RIGHT, LEFT)

SEEN, HELD_OUT = "seen in training", "held out"

SHARE_OF_NAMES = dict(
    zip(
        ("teddy", "rose", "mark", "bill", "grace", "jack", "penny", "olive", "ruby", "ginger", "holly", "robin"),
        (0.5, 0.3, 0.7) * 4,
        strict=True,
    )
)
"""In which share of its sentences an ambiguous word is a name."""


def _words(text: str) -> list[str]:
    return text.split()


_ENDINGS = _words("ford ton well ley son man berg worth")
_STEMS = {
    SEEN: _words("ash brad craw dun hart hol kings lang mel nor ox pem rad shel stan thorn wal wes whit wood"),
    HELD_OUT: _words("brom clif lin rock tem yar"),
}
_NOUNS = {
    SEEN: _words(
        "bears gardens sheets boards notes chests boxes stocks trees biscuits rings bowls wreaths leaves plants hills "
        "ponds chains nests feathers cakes hats songs stamps candles lamps boats trains tables chairs baskets bottles"
    ),
    HELD_OUT: _words("apples bricks cups drums flags gloves kites ladders mirrors pencils"),
}

DECIDING = {
    kind: {
        NAME: ["roosevelt"] * (kind == SEEN) + [stem + ending for stem in _STEMS[kind] for ending in _ENDINGS],
        NOUN: _NOUNS[kind],
    }
    for kind in (SEEN, HELD_OUT)
}
"""Words that decide, by whether there are sentences with them to train on, and by what they make of the other word."""

_WORDS_OF = {
    "VERB": _words("say hear know wrote are was went became stood made came"),
    "ADJ": _words("last short great happy"),
    "ADV": _words("indeed again perhaps today often still really alas so far there back"),
    "PRON": _words("they we you she it everybody"),
    "ADP": _words("at in on"),
    "DET": _words("a"),
    NOUN: _words("sale president"),
}
_TAGS_OF_OTHERS = {word: tag for tag, words in _WORDS_OF.items() for word in words}

_SINGLE = _words("indeed again perhaps today often still really alas")
_PAIRS = ("they say", "we hear", "you know", "she wrote", "they are", "it was", "at last", "in short", "so far")
_PHRASES = [_words(phrase) for phrase in (*_SINGLE, *_PAIRS)]
_ENDS = [
    _words(end)
    for end in ("went on sale", "became a great president", "stood there", "made everybody happy", "came back at last")
]
_LONGEST_START = 4

LECTURE = ("Teddy bears are on sale", "Teddy Roosevelt was a great president")
"""What the lectures show, of which a network that has seen the first word alone knows nothing."""

_OF_TEN = 10
"""Sentences to test on that differ in what decides alone; of so many each share is a whole number."""


class Case(NamedTuple):
    """A sentence, and what is asked of it."""

    sentence: TaggedSentence
    place: int  # of the ambiguous word, from 0
    side: str  # of it on which the deciding word stands
    distance: int  # of that one, in words
    deciding: str  # whether it was seen in training


def chance_level() -> float:
    """The share of ambiguous words that are told without the word that decides, at best."""
    return float(np.mean([max(share, 1 - share) for share in SHARE_OF_NAMES.values()]))


def to_train_on(count: int, distances: int, seed: int = 0) -> list[TaggedSentence]:
    """So many sentences, drawn: sides and distances 1, ..., D are equally frequent."""
    generator = np.random.default_rng(seed)
    ambiguous = list(SHARE_OF_NAMES)
    found = []
    for _ in range(count):
        word = ambiguous[generator.integers(len(ambiguous))]
        tag = NAME if generator.random() < SHARE_OF_NAMES[word] else NOUN
        side, distance = SIDES[generator.integers(2)], int(generator.integers(1, distances + 1))
        frame = _Frame(*_drawn(generator, distance))
        found.append(_case(frame, word, tag, side, SEEN, generator).sentence)
    return found


def to_test_on(distances: int, seed: int = 1) -> list[Case]:
    """Ten sentences for each side, distance 1, ..., D, kind of deciding word, and ambiguous word.

    The ten have all words in common but the one that decides, and are divided among the tags as exactly as the shares
    are. So what a network says that has not seen this word is the same of all ten, and right by chance.
    """
    generator = np.random.default_rng(seed)
    found = []
    for side in SIDES:
        for distance in range(1, distances + 1):
            for kind in DECIDING:
                for word, share in SHARE_OF_NAMES.items():
                    frame, names = _Frame(*_drawn(generator, distance)), round(share * _OF_TEN)
                    tags = [NAME] * names + [NOUN] * (_OF_TEN - names)
                    found += [_case(frame, word, tag, side, kind, generator) for tag in tags]
    return found


class _Frame(NamedTuple):
    """What stands before, between and after the two words."""

    start: Sequence[str]
    between: Sequence[str]
    end: Sequence[str]


def _case(frame: _Frame, word: str, tag: str, side: str, kind: str, generator: np.random.Generator) -> Case:
    """A sentence in such a frame, in which a deciding word of that kind is drawn."""
    deciding = _one_of(generator, DECIDING[kind][tag])
    first, second = (word, deciding) if side == RIGHT else (deciding, word)
    words = (*frame.start, first, *frame.between, second, *frame.end)
    tags = tuple(tag if each in (word, deciding) else _TAGS_OF_OTHERS[each] for each in words)
    distance = len(frame.between) + 1
    place = len(frame.start) + (0 if side == RIGHT else distance)
    return Case(TaggedSentence(words, tags), place, side, distance, kind)


def _drawn(generator: np.random.Generator, distance: int) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    start = _filler(generator, int(generator.integers(_LONGEST_START + 1)))
    return start, _filler(generator, distance - 1), _ENDS[generator.integers(len(_ENDS))]


def _filler(generator: np.random.Generator, length: int) -> list[str]:
    """Phrases that are so many words together."""
    words: list[str] = []
    while len(words) < length:
        fitting = [phrase for phrase in _PHRASES if len(words) + len(phrase) <= length]
        words += fitting[generator.integers(len(fitting))]
    return words


def _one_of(generator: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(generator.integers(len(words)))]
