"""A run's records as data frames, and frames as tables."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from experiments.common.workdir import Record
from rnnjax.measure.decay import decay, norm_floor

PHASES = {"initialization": "before training", "trained": "after training"}
"""The phases at which a network is measured, in words."""

LAGS = {"1/2": "half_lag", "1/10": "tenth_lag", "1/1000": "thousandth_lag"}
"""The columns of ``decays`` that are lags, by the share of the norm that is left at them."""


def frame(records: Iterable[Record], kind: str, *, dtype: type = np.float32, **where: Any) -> pd.DataFrame:
    """The records of a kind that have these values, one row for each: lists become arrays, and null becomes NaN.

    Norms are measured in float32, which decides where they underflow; hence the dtype.
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


def flows(records: Iterable[Record], kind: str = "state_gradient", norms: str = "norms", **where: Any) -> pd.DataFrame:
    """The records of a kind that have the curve ``norms``, time forward, with the columns of its decay."""
    found = frame(records, kind, **where)
    return found if found.empty else found.assign(norms=found[norms]).join(decays(found[norms]))


def smoothed(losses: pd.DataFrame, by: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """Means of the loss over windows of about a fiftieth of all steps, at their last steps; and the window's width."""
    width = max(1, losses["step"].max() // 50)
    last = -(-losses["step"] // width) * width
    return losses.assign(step=last).groupby([*by, "step"], sort=False, as_index=False)["loss"].mean(), width


def log10(norms: np.ndarray) -> np.ndarray:
    """log10 of norms; NaN where a norm has underflowed, which is not a small norm, or overflowed."""
    alive = np.isfinite(norms) & (norms >= norm_floor(norms.dtype))
    return np.where(alive, np.log10(np.where(alive, norms, 1)), np.nan)


def relative_to_first(logs: np.ndarray) -> np.ndarray:
    """Curves (seeds, N), each less its first value that is a number."""
    return logs - np.take_along_axis(logs, np.argmax(~np.isnan(logs), axis=1)[:, None], axis=1)


def median_logs(curves: Iterable[np.ndarray]) -> np.ndarray:
    """The median over seeds of log10 of norms; NaN where a norm of one of them has underflowed or overflowed."""
    return np.asarray(np.median(log10(stacked(curves)), axis=0))


def decays(norms: pd.Series) -> pd.DataFrame:
    """``rnnjax.decay`` of curves of norms (T,), time forward, its fields as columns; a lag never reached is inf.

    ``reach`` is the lag at which a tenth is left, or T where that is never.
    """
    found = pd.DataFrame([decay(curve) for curve in norms], index=norms.index)
    found = found.assign(**{lag: found[lag].astype(float).fillna(np.inf) for lag in LAGS.values()})
    return found.assign(reach=found["tenth_lag"].clip(upper=norms.map(len)))


def geometric_mean(curves: Iterable[np.ndarray]) -> np.ndarray:
    """The geometric mean of several seeds' curves, in their dtype; it is 0 where one of them is 0."""
    values = stacked(curves)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.exp(np.log(values.astype(np.float64)).mean(axis=0)).astype(values.dtype)


def condensed(found: pd.DataFrame, by: str | list[str]) -> pd.DataFrame:
    """The typical curve of the seeds in each group of the rows of ``flows``, and its decay."""
    typical = found.groupby(by, sort=False)["norms"].agg(geometric_mean).to_frame()
    return typical.join(decays(typical["norms"]))


def changes(norms: pd.Series) -> pd.Series:
    """log10 of a curve's first norm, time forward, over its last one: -inf after underflow, NaN after overflow."""
    ends = stacked(curve[[0, -1]] for curve in norms)
    logs = log10(ends)
    change = np.where(np.isnan(logs).any(axis=1), -np.inf, logs[:, 0] - logs[:, 1])
    return pd.Series(np.where(np.isfinite(ends).all(axis=1), change, np.nan), norms.index)


# In words


def unstacked(values: pd.Series, *levels: str) -> pd.DataFrame:
    """``unstack`` with rows and columns in the order in which they appear; by default the last level goes to columns.

    ``unstack(sort=False)`` misplaces values where rows were left out before, in pandas older than 3.1.
    """
    columns = levels or values.index.names[-1:]
    rows = [name for name in values.index.names if name not in columns]
    appear = (values.index.droplevel(left_out).unique() for left_out in (list(columns), rows))
    return values.unstack(list(columns)).reindex(**dict(zip(("index", "columns"), appear, strict=True)))


def span(values: Iterable[float], form: str) -> str:
    """Values in words, from the smallest to the largest: "1 to 3", or "2" where all are the same when printed."""
    values = np.asarray(list(values))
    low, high = (format(end, form) for end in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def percent(shares: pd.Series, digits: int = 1) -> str:
    """The mean and the range of shares, in percent: "3.0 % (1.0 to 5.0)"; - where one was not measured."""
    if shares.empty or shares.isna().any():
        return "-"
    ends = span(100 * shares, f".{digits}f")
    return f"{100 * shares.mean():.{digits}f} % ({ends})" if " to " in ends else f"{ends} %"


def median(values: pd.Series, form: Callable[[float], str]) -> str:
    """The median of several values in words, with their range where they differ when printed: "2 (1 to 3)"."""
    low, middle, high = (form(value) for value in (values.min(), values.median(), values.max()))
    return middle if low == high else f"{middle} ({low} to {high})"


def medians(values: pd.Series, words: pd.Series, form: Callable[[float], str]) -> str:
    """Median and range of the rows with the same words, in their order: "3 (1 to 5) before training, 2 after it"."""
    groups = values.dropna().groupby(words, sort=False)
    return ", ".join(f"{median(group, form)} {name}" for name, group in groups)


def standing(one: pd.Series, other: pd.Series) -> str:
    """Whether all seeds of the one are above or below all seeds of the other, or else among them."""
    return "above" if one.min() > other.max() else "below" if one.max() < other.min() else "among"


def lags(values: Iterable[float]) -> str:
    """Lags of several seeds, from the smallest to the largest, which may be never; - if one was not measured."""
    spread = span(values, ".0f")
    return "-" if "nan" in spread else spread.replace("inf", "never")


def lags_left(found: pd.DataFrame) -> Record:
    """Columns of a table: the lags at which a half, a tenth and a thousandth is left, from seeds' rows of ``flows``."""
    return {f"{share} at lag": lags(found[lag]) for share, lag in LAGS.items()}


def leaders(found: pd.DataFrame, by: str) -> str:
    """Says where half of the gradient is gone first and last, and where most of it is left farthest from the loss.

    It compares the geometric means over seeds.
    """
    typical = condensed(found, by)
    half = typical["half_lag"]
    first, last = (f"{_few(half.index[half == end])} ({_after(end)})" for end in (half.min(), half.max()))
    shortest = typical["norms"].map(len).min()  # the lags that all have
    logs = relative_to_first(log10(stacked(curve[::-1][:shortest] for curve in typical["norms"])))
    logs[np.isnan(logs)] = -np.inf
    most = int(np.argmax(logs[:, -1]))
    behind = np.flatnonzero(logs[most] < logs.max(axis=0))
    since = f"from lag {behind[-1] + 1} on" if behind.max(initial=0) > 1 else "at every lag"
    best = typical.index[most]
    return f"half of the gradient is gone first in {first} and last in {last}; {since} {best} has most left"


def _after(lag: float) -> str:
    return "never" if np.isinf(lag) else f"lag {lag:.0f}"


def _few(names: Sequence[str]) -> str:
    return listed(names) if len(names) < 4 else f"{len(names)} networks"


def listed(names: Sequence[str]) -> str:
    """All names in a sentence, as in "a, b and c"."""
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last


def rates(values: Iterable[float]) -> str:
    """The factor by which a step multiplies a norm: the geometric mean of several seeds, with their range."""
    values = list(values)
    if np.isnan(values).any():
        return "-"  # too few norms to fit
    spread = span(values, ".3f")
    return f"{np.exp(np.mean(np.log(values))):.3f} ({spread})" if " to " in spread else spread


def half_lives(values: Iterable[float]) -> str:
    """Half-lives of several seeds in steps, at the asymptotic rate; NaN stands for a curve that has no such rate."""
    values = list(values)
    return "not exponential" if np.isnan(values).any() else span(values, ".3g").replace("inf", "does not fall")


def verdicts(values: pd.Series) -> str:
    """The verdict that all seeds share, or each verdict with the number of seeds that have it."""
    counts = values.value_counts()
    return str(counts.index[0]) if len(counts) == 1 else ", ".join(f"{name} {n}" for name, n in counts.items())


def table(rows: Sequence[Record] | pd.DataFrame, words: set[str]) -> str:
    """A Markdown table whose columns of ``words`` are aligned to the left, and those of numbers to the right."""
    found = pd.DataFrame(rows)
    alignment = ["left" if column in words else "right" for column in found]
    return tabulate(
        found, headers="keys", showindex=False, tablefmt="github", disable_numparse=True, colalign=alignment
    )
