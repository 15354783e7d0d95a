"""How wide each cell is for a given number of params."""

from functools import cache

import jax

import rnnjax
from experiments.networks import sizing, task_network
from rnnjax.tasks import Task

LEAST = {"clockwork": 4, "scrn": 2}
"""The least units of cells that need several: clockwork has four modules, and scrn needs a unit for its context."""


def as_wide_as(params: int, name: str, task: Task) -> tuple[int, int]:
    """The width with which a network with this cell comes nearest to ``params``, and the params that it then has."""

    @cache
    def count(width: int) -> int:
        return count_params(rnnjax.cell_named(name)(width), task)

    least = LEAST.get(name, 1)
    widths = range(least, max(params, least) + 1)  # no cell has fewer params than units
    width = sizing.nearest_width(widths, params, count)
    return width, count(width)


def count_params(cell: rnnjax.Cell, task: Task) -> int:
    """The number of params of the cell and its readout."""
    return sizing.count_numbers(jax.eval_shape(lambda: task_network.init(cell, task, jax.random.key(0))))
