"""The one caption that a scene has, and what a caption says.

    a small red circle left of a large blue square above a small green star .

    caption  = object { relation object } "."
    object   = "a" size colour shape
    relation = "left of" | "above"

Objects are named in the order of their path, and each relation is of the one just named to the next. Both are decided
by the picture: along the path x + y grows, and a step goes much farther in its own direction than across it. So there
is one right caption for a scene, and all of its words but "a", "of" and the full stop after a third object tell
something.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from experiments.captioning.scenes import COLOURS, COMBINATIONS, MOST, NUMBERS, SHAPES, SIZES, Scene, Thing

END = "."
"""Ends a caption; also what is read before its first word."""

LEFT, ABOVE = ("left", "of"), ("above",)
WORDS = (END, "a", *SIZES, *COLOURS, *SHAPES, *LEFT, *ABOVE)
"""All there are, by number; that of the full stop is 0."""

LONGEST = 4 * MOST + len(LEFT) * (MOST - 1) + 1
"""Words of a caption, the full stop included."""


KINDS_IN_A_ROW = (*("a", *Thing._fields, *LEFT) * (MOST - 1), "a", *Thing._fields, END)
"""Of what kind is each word of a caption of three objects side by side."""


class Said(NamedTuple):
    """What a caption says, object by object; a relation fewer."""

    things: tuple[Thing, ...]
    relations: tuple[tuple[str, ...], ...]


def chance_level(held: int) -> float:
    """Nats a word of the captions of seen combinations, at best, for who does not see the picture.

    A caption tells the number of objects, and, all equally likely, sizes, combinations and relations.
    """
    count = sum(share * number for number, share in enumerate(NUMBERS, 1))
    of_number = -sum(share * math.log(share) for share in NUMBERS)
    of_thing = math.log(len(SIZES)) + math.log(len(COMBINATIONS) - held)
    nats = of_number + count * of_thing + (count - 1) * math.log(2)
    words = 4 * count + (count - 1) * (len(LEFT) + len(ABOVE)) / 2 + 1
    return nats / words


def seen_in(scene: Scene) -> Said:
    """What the caption of a scene has to say, by where its objects stand."""
    order = sorted(scene, key=lambda each: each.x + each.y)
    pairs = itertools.pairwise(order)
    relations = tuple(LEFT if abs(b.x - a.x) > abs(b.y - a.y) else ABOVE for a, b in pairs)
    return Said(tuple(each.thing for each in order), relations)


def words_of(said: Said) -> list[str]:
    """The caption, with its full stop."""
    found = ["a", *said.things[0]]
    for relation, thing in zip(said.relations, said.things[1:], strict=True):
        found += [*relation, "a", *thing]
    return [*found, END]


def parsed(words: Sequence[str]) -> Said | None:
    """What a caption says, with its full stop or without; None where it is none of this grammar."""
    rest = list(words[:-1] if words and words[-1] == END else words)
    things, relations = list[Thing](), list[tuple[str, ...]]()
    while True:
        article, thing, rest = rest[:1], rest[1:4], rest[4:]
        if article != ["a"] or len(thing) < 3:
            return None
        size, colour, shape = thing
        if size not in SIZES or colour not in COLOURS or shape not in SHAPES:
            return None
        things.append(Thing(size, colour, shape))
        if not rest:
            return Said(tuple(things), tuple(relations))
        relation = next((each for each in (LEFT, ABOVE) if tuple(rest[: len(each)]) == each), None)
        if relation is None:
            return None
        relations.append(relation)
        rest = rest[len(relation) :]


def spelled(numbers: Sequence[int]) -> list[str]:
    """The words of numbers, up to the first full stop, without it."""
    found = [WORDS[number] for number in numbers]
    return found[: found.index(END)] if END in found else found
