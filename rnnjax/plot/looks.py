"""Styles of lines that can be distinguished even in grey, by lightness and by dashes."""

import itertools
from collections.abc import Iterator
from typing import Any

COLOURS = ("#000000", "#0072b2", "#d55e00", "#56b4e9", "#8a8a8a", "#e69f00", "#009e73", "#cc79a7")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))  # one fewer: all pairs occur


def styles() -> Iterator[dict[str, Any]]:
    """The styles of lines, one after the other, without end."""
    return ({"color": c, "linestyle": d} for c, d in zip(itertools.cycle(COLOURS), itertools.cycle(DASHES)))
