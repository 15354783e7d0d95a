"""A form of figure that several reports use: means and ranges over seeds as dots and bars."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from experiments.common import drawing


def dots(axes: Axes, rows: pd.DataFrame, kind: str, of: str) -> None:
    """Draws a row for each kind, and in it the mean and the range of ``percent`` for each value of ``of``.

    Args:
        axes: where to draw.
        rows: a row for each seed, with a column ``percent`` and the two below.
        kind: the column whose values label the rows of the figure, from the top down.
        of: the column whose values are compared within a row, each with its own marker and colour.
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
