"""A person's own series out of a CSV file, checked: what cannot be forecast from is refused with its place."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.forecasting.series import SHARES, Series

LEAST_TESTED = 20
"""Origins that the validation part must have, and the test part has then, too."""

_DAY = pd.Timedelta(days=1)


def read_series(path: str, target: str, inputs: list[str], time: str, farthest: int) -> Series:
    """The column to forecast, with those of inputs; so many steps are added at the end, of which only times are known.

    With a column of times hour, day of the week and season are inputs, too, as far as the file has several of them.
    Without one, rows are steps.

    Raises:
        FileNotFoundError: no such file.
        ValueError: columns that are not there, or what is no number, gaps in time, too few rows.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"--csv={path} does not exist: give a CSV file with a line of column names")
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"--csv={path} is no CSV file ({error}): expected a line of names, then rows") from error
    for flag, column in [("target", target), *(("inputs", name) for name in inputs), *([("time", time)] * bool(time))]:
        if column not in table:
            raise ValueError(f"--{flag} names {column!r}, {path} has {', '.join(table.columns)}: expected one of these")
    least = math.ceil((farthest + LEAST_TESTED) / min(SHARES))
    if len(table) < least:
        raise ValueError(
            f"{path} has {len(table)} rows: expected at least {least} for a horizon of {farthest}, of which a part "
            "is to validate and a part to test on; give more rows or nearer horizons"
        )
    values = _numbers(table, target, path)
    known = np.stack([_numbers(table, name, path) for name in inputs], axis=1) if inputs else np.zeros((len(values), 0))
    times, step = _times(table[time], path) if time else (None, pd.Timedelta(days=1))
    index = pd.date_range(times[0] if times is not None else "2000-01-01", periods=len(values) + farthest, freq=step)
    return Series(
        target,
        "",
        _named(step) if time else "steps",
        index,
        np.zeros(len(index), int),
        np.concatenate([values, np.full(farthest, np.nan)]),
        np.concatenate([known, np.repeat(known[-1:], farthest, axis=0)]),
        _calendar(index, step if time else None),
        None,
        _period(step) if time else 1,
    )


def _numbers(table: pd.DataFrame, column: str, path: str) -> np.ndarray:
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{path}, line {row + 2}, column {column}: {table[column].iloc[row]!r}, expected a number; "
            f"{wrong.sum()} such in the column"
        )
    return values


def _times(column: pd.Series, path: str) -> tuple[pd.DatetimeIndex, pd.Timedelta]:
    """At equal distances; else the first place where they are not is told."""
    times = pd.to_datetime(column, errors="coerce", format="mixed")
    if times.isna().any():
        row = int(times.isna().to_numpy().argmax())
        raise ValueError(f"{path}, line {row + 2}, column {column.name}: {column.iloc[row]!r}, expected a time")
    steps = times.diff().iloc[1:]
    step = steps.mode().iloc[0]
    wrong = (steps != step).to_numpy()
    if wrong.any() or step <= pd.Timedelta(0):
        row = int(wrong.argmax()) + 1
        raise ValueError(
            f"{path}, line {row + 2}: {column.iloc[row]} comes after {column.iloc[row - 1]}, expected one row every "
            f"{step}; put in what is missing, or give a stretch without a gap ({wrong.sum()} such)"
        )
    return pd.DatetimeIndex(times), step


def _calendar(index: pd.DatetimeIndex, step: pd.Timedelta | None) -> np.ndarray:
    """(N, F) sines and cosines; a column of zeros where nothing is known."""
    turns = []
    if step is not None and step < _DAY:
        turns.append(np.asarray(index.hour + index.minute / 60) / 24)
    if step is not None and step <= _DAY and index[-1] - index[0] > 21 * _DAY:
        turns.append(np.asarray(index.dayofweek) / 7)
    if step is not None and index[-1] - index[0] > 365 * _DAY:
        turns.append(np.asarray(index.dayofyear) / 365.25)
    waves = [wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)]
    return np.stack(waves, axis=1) if waves else np.zeros((len(index), 1))


def _period(step: pd.Timedelta) -> int:
    """Steps of a day, if that is a whole number above 1."""
    steps = _DAY / step
    return round(steps) if steps > 1 and steps == round(steps) else 1


def _named(step: pd.Timedelta) -> str:
    return {pd.Timedelta(hours=1): "h", _DAY: "d"}.get(step, f"x {step}")
