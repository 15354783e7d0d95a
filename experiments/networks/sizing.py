"""How many params a network has, and how wide it is for a given number of them."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np


def count_numbers(tree: Any) -> int:
    """How many numbers are in a tree of arrays, or of their shapes as ``jax.eval_shape`` gives them."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def nearest_width(widths: range, params: int, count: Callable[[int], int]) -> int:
    """The width with which a network comes nearest to so many params, where ``count`` grows with the width.

    To count is to trace a network. So few widths are counted: the root of a count grows about as the width does.
    """
    counted = cache(count)
    low, high, halved = 0, len(widths) - 1, True
    while high - low > 1:
        roots = [math.sqrt(counted(widths[place])) for place in (low, high)]
        halved = not halved  # at every other turn, for counts that grow in another way
        place = (low + high) // 2 if halved else round(np.interp(math.sqrt(params), roots, (low, high)))
        place = min(max(place, low + 1), high - 1)
        low, high = (place, high) if counted(widths[place]) < params else (low, place)
    return min(widths[low : high + 1], key=lambda width: abs(counted(width) - params))
