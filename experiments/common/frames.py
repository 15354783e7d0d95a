"""A run's records as data frames, and frames as tables."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from experiments.common.workdir import Record
from rnnjax.measure.decay import decay, norm_floor

LAGS = ("half_lag", "tenth_lag", "thousandth_lag")
"""The columns of ``decays`` that are lags."""


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
    """``rnnjax.decay`` of every curve of norms, time forward, in a column; its fields are columns, never is inf."""
    found = pd.DataFrame([decay(curve) for curve in norms], index=norms.index)
    return found.assign(**{lag: found[lag].astype(float).fillna(np.inf) for lag in LAGS})


def geometric_mean(curves: Iterable[np.ndarray]) -> np.ndarray:
    """The typical curve of several seeds: 0 where one of them is, and in their dtype, whose floor decides what is 0."""
    values = stacked(curves)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.exp(np.log(values.astype(np.float64)).mean(axis=0)).astype(values.dtype)


def changes(norms: pd.Series) -> pd.Series:
    """log10 of the first of a curve's norms, time forward, over its last: -inf by underflow, NaN by overflow."""
    ends = stacked(curve[[0, -1]] for curve in norms)
    logs = log10(ends)
    change = np.where(np.isnan(logs).any(axis=1), -np.inf, logs[:, 0] - logs[:, 1])
    return pd.Series(np.where(np.isfinite(ends).all(axis=1), change, np.nan), norms.index)


def span(values: Iterable[float], form: str) -> str:
    """From the smallest to the largest, or the one that all are when printed."""
    values = list(values)
    low, high = (format(end, form) for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def lags(values: Iterable[float]) -> str:
    """Of several seeds, from the first to the last of them, which may be never."""
    return span(values, ".0f").replace("inf", "never")


def rates(values: Iterable[float]) -> str:
    """Of several seeds, what a step multiplies by: their geometric mean, and from the smallest to the largest."""
    values = list(values)
    if np.isnan(values).any():
        return "-"  # too few norms to fit
    spread = span(values, ".3f")
    return f"{np.exp(np.mean(np.log(values))):.3f} ({spread})" if " to " in spread else spread


def half_lives(values: Iterable[float]) -> str:
    """Of several seeds, at the asymptotic rate, in steps; NaN is a curve that has no such rate."""
    values = list(values)
    return "not exponential" if np.isnan(values).any() else span(values, ".3g").replace("inf", "does not fall")


def verdicts(values: pd.Series) -> str:
    """The one of all seeds, or how many have which."""
    counts = values.value_counts()
    return str(counts.index[0]) if len(counts) == 1 else ", ".join(f"{name} {n}" for name, n in counts.items())


def table(rows: Sequence[Record], words: set[str]) -> str:
    """A Markdown table; columns of ``words`` to the left, of numbers to the right."""
    alignment = ["left" if column in words else "right" for column in rows[0]]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True, colalign=alignment)
