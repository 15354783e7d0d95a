"""A table of a cell's layers.

It has the shapes of params, states and outputs, and how many numbers are learned.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from rnnjax.cell import Cell, Repetition, check_cell, output_like
from rnnjax.typing import Params


class _Layer(NamedTuple):
    name: str
    params: Params  # shapes
    state: Any
    outputs: tuple[int, ...]


def summary(cell: Cell, input_size: int) -> str:
    """A table of a cell's layers, the lowest first, made from shapes alone.

        print(rnnjax.summary(rnnjax.stack(rnnjax.lstm(64), rnnjax.gru(32)), 10))

    Each layer is shown as the call that makes it, with the shapes of its params, and of its state and outputs for one
    example, and with its number of params. Params of a ``repeat`` have a leading axis for the layers.

    Args:
        cell: any cell, stacks included.
        input_size: I, the input width.

    Raises:
        TypeError: if ``cell`` is not a cell, or ``input_size`` is not a whole number.
        ValueError: if ``input_size`` < 1.
    """
    check_cell("summary", cell, "summary(lstm(64), 10)")
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
    layers = [*_layers(cell, params, "")]
    rows = [["layer", "params", "number", "state", "outputs"]]
    for layer in layers:
        shapes = _shapes(layer.params)
        rows.append([layer.name, shapes, f"{_count(layer.params):,}", _shapes(layer.state), str(layer.outputs)])
    # What is learned beside the layers, such as an initial state, has its own row.
    rest = _count(params) - sum(_count(layer.params) for layer in layers)
    if rest:
        rows.append(["beside the layers", "", f"{rest:,}", "", ""])
    rows.append(["all", "", f"{_count(params):,}", "", str(output_like(cell, params).shape)])
    return _table(rows)


def _layers(cell: Cell, params: Params, place: str) -> Iterator[_Layer]:
    """The layers that have params or a memory, at any depth of the wiring."""
    wiring = cell.wiring
    if wiring is None or isinstance(wiring, Repetition):
        state = jax.eval_shape(lambda p: cell.initial_state(p, ()), params)
        if not cell.memoryless or jax.tree.leaves(params):
            yield _Layer(f"{place} {cell!r}".strip(), params, state, output_like(cell, params).shape)
        return
    for number, (layer, of_layer) in enumerate(wiring.layers(params)):
        yield from _layers(layer, of_layer, f"{place}.{number}" if place else str(number))


def _count(params: Params) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def _shapes(tree: Any) -> str:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return ", ".join(
        f"{jax.tree_util.keystr(path, simple=True, separator='.')} {leaf.shape}".strip() for path, leaf in leaves
    )


def _table(rows: list[list[str]]) -> str:
    """The rows in columns, with a line below the first row, and counts aligned to the right."""
    layers, params, number, state, outputs = (max(map(len, column)) for column in zip(*rows, strict=True))
    form = f"{{:<{layers}}}  {{:<{params}}}  {{:>{number}}}  {{:<{state}}}  {{:<{outputs}}}"
    head, *body = [form.format(*row).rstrip() for row in rows]
    return "\n".join([head, "-" * max(map(len, [head, *body])), *body])
