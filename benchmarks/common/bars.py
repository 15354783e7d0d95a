"""Bars of speeds, as the benchmarks that count characters draw them."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np


def speed_bar(
    axis: Any, place: int, characters: int, rounds: Sequence[Sequence[float]], value: float, **options: Any
) -> None:
    """Draws one bar with its number above it, and a line from quartile to quartile of the rounds.

    Args:
        axis: matplotlib's, in thousands of characters a second.
        place: where the bar stands on the x axis.
        characters: how many were read or written in each sample.
        rounds: seconds of each sample.
        value: characters a second, the bar's height.
        **options: the bar's label and looks, as matplotlib takes them.
    """
    low, high = np.percentile([characters / statistics.median(samples) / 1e3 for samples in rounds], (25, 75))
    axis.bar(place, value / 1e3, edgecolor="black", **options)
    axis.vlines(place, low, high, color="black", linewidth=4)
    axis.vlines(place, low, high, color="white", linewidth=1.5)
    axis.annotate(
        f"{value / 1e3:.3g}", (place, max(value / 1e3, high)), (0, 3), textcoords="offset points", ha="center"
    )
