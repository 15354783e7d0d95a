"""A figure's form that comes again: means and ranges over seeds as dots and bars, by kind and by what is compared."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from experiments.common import drawing


def dots(axes: Axes, rows: pd.DataFrame, kind: str, of: str) -> None:
    """A line for each kind, downwards; in it mean and range of ``percent`` of each value of ``of``, below each other.

    Args:
        axes: where.
        rows: a row a seed, with these columns.
        kind: the column whose values stand at the left.
        of: the column whose values have a marker each.
    """
    kinds, values = list(rows[kind].unique()), list(rows[of].unique())
    looks, markers = drawing.looks_of(values), drawing.markers_of(values)
    for number, value in enumerate(values):
        of_kinds = rows[rows[of] == value].groupby(kind, sort=False)["percent"].agg(["min", "mean", "max"])
        places = [kinds.index(each) + 0.16 * (number - (len(values) - 1) / 2) for each in of_kinds.index]
        look: dict[str, Any] = {"color": looks[value]["color"]}
        axes.hlines(places, of_kinds["min"], of_kinds["max"], linewidth=1.5, **look)
        axes.plot(of_kinds["mean"], places, linestyle="none", marker=markers[value], markersize=5, label=value, **look)
    axes.set_yticks(range(len(kinds)), kinds)
    axes.invert_yaxis()
    axes.grid(axis="x", linewidth=0.4, color=drawing.GREY, alpha=0.5)
