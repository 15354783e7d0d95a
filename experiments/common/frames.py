"""A run's records as data frames, and frames as tables."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from experiments.common.workdir import Record
from rnnjax.measure.decay import decay, norm_floor


def frame(records: Iterable[Record], kind: str, *, dtype: type = np.float32, **where: Any) -> pd.DataFrame:
    """The records of a kind that have these values, a row each; lists as arrays, and null, in them too, as NaN.

    Norms are float32 when they are measured, and that decides below what they are nothing: hence the dtype.
    """
    chosen = [
        {name: _cell(value, dtype) for name, value in record.items()}
        for record in records
        if record["kind"] == kind and all(record.get(name) == value for name, value in where.items())
    ]
    return pd.DataFrame(chosen)


def _cell(value: Any, dtype: type) -> Any:
    if value is None:
        return np.nan  # also where a column has nothing else, and pandas would leave it as objects
    if not isinstance(value, list):
        return value
    with np.errstate(over="ignore"):
        return np.array(value, np.float64).astype(dtype)


def stacked(cells: Iterable[np.ndarray]) -> np.ndarray:
    """The arrays of a column as one, (rows, ...)."""
    return np.stack(list(cells))


def log10(norms: np.ndarray) -> np.ndarray:
    """NaN where a norm has underflowed, which is not a small norm, or overflowed."""
    alive = np.isfinite(norms) & (norms >= norm_floor(norms.dtype))
    return np.where(alive, np.log10(np.where(alive, norms, 1)), np.nan)


def decays(norms: pd.Series) -> pd.DataFrame:
    """``rnnjax.decay`` of every curve of norms, time forward, in a column; its fields are columns."""
    return pd.DataFrame([decay(curve) for curve in norms], index=norms.index)


def changes(norms: pd.Series) -> pd.Series:
    """log10 of the first of a curve's norms, time forward, over its last: -inf by underflow, NaN by overflow."""
    ends = stacked(curve[[0, -1]] for curve in norms)
    logs = log10(ends)
    change = np.where(np.isnan(logs).any(axis=1), -np.inf, logs[:, 0] - logs[:, 1])
    return pd.Series(np.where(np.isfinite(ends).all(axis=1), change, np.nan), norms.index)


def median_half_life(half_lives: Iterable[float]) -> float:
    """Of several seeds; that of a gradient which is gone before three norms can be fitted is 0."""
    return float(np.median(np.nan_to_num(list(half_lives), nan=0.0, posinf=np.inf)))


def span(values: Iterable[float], form: str) -> str:
    """From the smallest to the largest, or the one that all are when printed."""
    values = list(values)
    low, high = (format(end, form) for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def table(rows: Sequence[Record], words: set[str]) -> str:
    """A Markdown table; columns of ``words`` to the left, of numbers to the right."""
    alignment = ["left" if column in words else "right" for column in rows[0]]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True, colalign=alignment)
