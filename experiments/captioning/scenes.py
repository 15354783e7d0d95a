"""Scenes of coloured shapes, drawn at random and rendered by Pillow.

One to three objects stand on a path, each step of which leads to the right or down. An object has a shape, a size and a
colour. The order of the objects can be seen, and so can which of two is left of the other or above it, because steps
are 13 pixels long and an object is at most half a pixel from its place on the path.

Some of the 25 combinations of a colour and a shape are held out. Each combination has a number, and those with the
lowest numbers are held out first. Numbers 0 to 4 have every colour and every shape once, and so have 5 to 9, and so on.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

SIDE = 40
"""Width and height of a picture in pixels."""

COLOURS = {
    "red": (215, 40, 40),
    "green": (40, 165, 70),
    "blue": (40, 80, 220),
    "yellow": (235, 200, 20),
    "purple": (145, 50, 175),
}
SIZES = {"small": 3.25, "large": 5.5}
"""The radius of a circle in pixels; other shapes are about as wide."""

BACKGROUND = (255, 255, 255)
MOST = 3
"""The most objects in a scene."""

NUMBERS = (0.2, 0.3, 0.5)
"""Probabilities of 1, 2 and 3 objects."""

_SHADE = 20  # the most by which red, green and blue of an object differ from those of its colour
_STEP, _MARGIN, _JITTER = 13.0, 7.0, 0.5  # pixels
_FINER = 8  # times as many pixels in width and height are drawn, and then averaged


def _regular(corners: int, radius: float, start: float = -np.pi / 2) -> np.ndarray:
    angles = start + 2 * np.pi * np.arange(corners) / corners
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star(outer: float, inner: float) -> np.ndarray:
    return np.stack([_regular(5, outer), _regular(5, inner, -np.pi / 2 + np.pi / 5)], axis=1).reshape(-1, 2)


def _cross(half_width: float) -> np.ndarray:
    w = half_width
    quarter = np.array([(w, -w), (1.0, -w), (1.0, w), (w, w)])
    turns = [np.array([[0, -1], [1, 0]])] * 3  # by a right angle each
    corners = itertools.accumulate(turns, lambda points, turn: points @ turn.T, initial=quarter)
    return np.concatenate(list(corners))


SHAPES = {
    "circle": _regular(48, 1.0),
    "square": _regular(4, 0.9 * 2**0.5, -np.pi / 4),
    "triangle": _regular(3, 1.15),
    "star": _star(1.15, 0.5),
    "cross": _cross(0.35),
}
"""Corners (N, 2) of each shape around its centre, x to the right and y down; the unit is the radius."""

COMBINATIONS = tuple(
    (colour, list(SHAPES)[(place + turn) % len(SHAPES)])
    for turn in range(len(SHAPES))
    for place, colour in enumerate(COLOURS)
)
"""Every colour with every shape, by number."""


class Thing(NamedTuple):
    """An object as a caption describes it."""

    size: str
    colour: str
    shape: str


class Placed(NamedTuple):
    """An object in a scene."""

    thing: Thing
    x: float  # of its centre, in pixels from the left edge
    y: float  # of its centre, in pixels from the upper edge
    rgb: tuple[int, int, int]


Scene = tuple[Placed, ...]
"""The objects in the order of the path."""


def held_out(count: int) -> frozenset[tuple[str, str]]:
    """The combinations of a colour and a shape that no training scene has."""
    return frozenset(COMBINATIONS[:count])


def arranged(generator: np.random.Generator, things: Sequence[Thing], steps_down: Sequence[bool]) -> Scene:
    """Objects on a path that starts at a random place; each step leads down or to the right."""
    down = np.cumsum([False, *steps_down])
    path = _STEP * np.stack([np.arange(len(things)) - down, down], axis=1)
    room = SIDE - 2 * _MARGIN - path.max(axis=0)
    places = _MARGIN + generator.uniform(0, room) + path + generator.uniform(-_JITTER, _JITTER, path.shape)
    shades = generator.integers(-_SHADE, _SHADE + 1, (len(things), 3))
    return tuple(
        Placed(thing, float(x), float(y), _shaded(thing.colour, shade))
        for thing, (x, y), shade in zip(things, places, shades, strict=True)
    )


def _shaded(colour: str, shade: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(each) for each in np.clip(np.array(COLOURS[colour]) + shade, 0, 255))
    return red, green, blue


def drawn(generator: np.random.Generator, unseen: frozenset[tuple[str, str]], *, one_unseen: bool) -> Scene:
    """A random scene of combinations that are not held out, or with one object whose combination is held out."""
    count = 1 + int(generator.choice(MOST, p=NUMBERS))
    seen = [each for each in COMBINATIONS if each not in unseen]
    chosen = [seen[generator.integers(len(seen))] for _ in range(count)]
    if one_unseen:
        others = sorted(unseen)
        chosen[generator.integers(count)] = others[generator.integers(len(others))]
    sizes = [list(SIZES)[number] for number in generator.integers(len(SIZES), size=count)]
    things = [Thing(size, *combination) for size, combination in zip(sizes, chosen, strict=True)]
    return arranged(generator, things, [bool(down) for down in generator.integers(2, size=count - 1)])


def scenes(count: int, held: int, seed: int, *, one_unseen: bool = False) -> list[Scene]:
    """Random scenes by a seed, where ``held`` combinations are held out."""
    generator = np.random.default_rng(seed)
    return [drawn(generator, held_out(held), one_unseen=one_unseen) for _ in range(count)]


def rendered(scene: Scene) -> np.ndarray:
    """The picture (SIDE, SIDE, 3), uint8."""
    image = Image.new("RGB", (SIDE * _FINER, SIDE * _FINER), BACKGROUND)
    canvas = ImageDraw.Draw(image)
    for each in scene:
        corners = np.array([each.x, each.y]) + SIZES[each.thing.size] * SHAPES[each.thing.shape]
        # Pillow's pixel k has its centre at k, ours at k + 1/2.
        canvas.polygon([(float(x), float(y)) for x, y in corners * _FINER - 0.5], fill=each.rgb)
    return np.asarray(image.reduce(_FINER))


def recorded(scene: Scene) -> list[dict[str, Any]]:
    """The scene as a record has it."""
    return [{**each.thing._asdict(), "x": each.x, "y": each.y, "rgb": list(each.rgb)} for each in scene]


def scene_of(record: Sequence[dict[str, Any]]) -> Scene:
    """The scene of a record."""
    return tuple(
        Placed(Thing(each["size"], each["colour"], each["shape"]), each["x"], each["y"], tuple(each["rgb"]))
        for each in record
    )
