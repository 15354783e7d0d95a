"""How many params a network has, and how wide it is for a given number of them."""

import bisect
from collections.abc import Callable
from functools import cache
from typing import Any

import jax


def count_numbers(tree: Any) -> int:
    """How many numbers are in a tree of arrays, or of their shapes as ``jax.eval_shape`` gives them."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def nearest_width(widths: range, params: int, count: Callable[[int], int]) -> int:
    """The width with which a network comes nearest to so many params, where ``count`` grows with the width."""
    counted = cache(count)
    place = bisect.bisect_left(widths, params, key=counted)
    near = widths[max(place - 1, 0) : place + 1]
    return min(near, key=lambda width: abs(counted(width) - params))
