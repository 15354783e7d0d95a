"""Synthetic problems with long lags, generated on the fly, and digits as sequences; by name for experiments."""

from collections.abc import Callable
from functools import partial

from rnnjax.names import lookup
from rnnjax.tasks.arithmetic import adding, multiplication, parity
from rnnjax.tasks.digits import sequential_digits
from rnnjax.tasks.symbols import copy_memory, latching, patterns, random_permutation, temporal_order
from rnnjax.tasks.task import Batch, Task

TASKS: dict[str, Callable[[int], Task]] = {
    "adding": adding,
    "multiplication": multiplication,
    "parity": parity,
    "copy_memory": copy_memory,
    "temporal_order": temporal_order,
    "temporal_order_of_three": partial(temporal_order, relevant=3),
    "random_permutation": random_permutation,
    "latching": latching,
    "patterns": patterns,
    "sequential_digits": sequential_digits,
    "permuted_digits": partial(sequential_digits, permuted=True),
}
"""Constructors by name, each called with its lag or length."""


def task_named(name: str) -> Callable[[int], Task]:
    """The constructor with this name; any other name raises a ``ValueError`` with the nearest valid ones."""
    return lookup("task", name, TASKS)


__all__ = [
    "TASKS",
    "Batch",
    "Task",
    "adding",
    "copy_memory",
    "latching",
    "multiplication",
    "parity",
    "patterns",
    "random_permutation",
    "sequential_digits",
    "task_named",
    "temporal_order",
]
