"""The one caption of a scene, and what a caption says.

    a small red circle left of a large blue square above a small green star .

    caption  = object { relation object } "."
    object   = "a" size colour shape
    relation = "left of" | "above"

Objects are named in the order of their path, and each relation is that of the object just named to the next one. The
picture decides both, because x + y grows along the path, and a step goes much farther in its own direction than across
it. So a scene has one right caption, whose words depend on the picture, except for "a", "of" and the full stop after a
third object.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from experiments.captioning.scenes import COLOURS, COMBINATIONS, MOST, NUMBERS, SHAPES, SIZES, Scene, Thing

END = "."
"""The word that ends a caption; it is also read before the first word."""

LEFT, ABOVE = ("left", "of"), ("above",)
WORDS = (END, "a", *SIZES, *COLOURS, *SHAPES, *LEFT, *ABOVE)
"""The vocabulary, by number; the full stop is 0."""

LONGEST = 4 * MOST + len(LEFT) * (MOST - 1) + 1
"""Words of the longest caption, the full stop included."""


KINDS_IN_A_ROW = (*("a", *Thing._fields, *LEFT) * (MOST - 1), "a", *Thing._fields, END)
"""The kind of each word in a caption of three objects side by side."""


class Said(NamedTuple):
    """What a caption says: its objects, and the relations between neighbouring ones."""

    things: tuple[Thing, ...]
    relations: tuple[tuple[str, ...], ...]


def chance_level(held: int) -> float:
    """The least possible loss on captions of seen combinations without the picture, in nats a word.

    A caption has a number of objects, and sizes, combinations and relations that are all equally likely.
    """
    count = sum(share * number for number, share in enumerate(NUMBERS, 1))
    of_number = -sum(share * math.log(share) for share in NUMBERS)
    of_thing = math.log(len(SIZES)) + math.log(len(COMBINATIONS) - held)
    nats = of_number + count * of_thing + (count - 1) * math.log(2)
    words = 4 * count + (count - 1) * (len(LEFT) + len(ABOVE)) / 2 + 1
    return nats / words


def seen_in(scene: Scene) -> Said:
    """What the caption of a scene has to say, according to the places of its objects."""
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
    """What a caption says, with its full stop or without; None if it does not follow the grammar."""
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
    """The words with these numbers, up to the first full stop, which is left out."""
    found = [WORDS[number] for number in numbers]
    return found[: found.index(END)] if END in found else found
