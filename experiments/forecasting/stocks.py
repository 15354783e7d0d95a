"""Daily returns of the S&P 500, 1999 to 2018, as the package arch brings them; and folds, one after the other."""

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.forecasting.series import PADDING, TEST, TRAIN, VALIDATION, Series

DAYS = 5031
FIRST_TEST = 1500
"""Days, six years of them, that every fold has to train and validate on."""


def load_stocks(path: str = "") -> Series:
    """Returns 100 ln(p_t / p_{t-1}) in %, with their size and the change of the volume as inputs.

    That the price of tomorrow is that of today, the random walk, is a return of 0.

    Args:
        path: a file .csv or .csv.gz with the columns Date, Adj Close and Volume; empty for that of arch.

    Raises:
        ModuleNotFoundError: without a path, where arch is not installed.
        FileNotFoundError: no such file.
        ValueError: a file that is damaged.
    """
    file = Path(path) if path else _installed()
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist: give a file that does, or install arch again")
    raw = pd.read_csv(file)
    missing = {"Date", "Adj Close", "Volume"} - set(raw.columns)
    if missing or len(raw) != DAYS:
        told = f"has no column {min(missing)}" if missing else f"has {len(raw)} days: expected {DAYS}"
        raise ValueError(f"{file} {told}; fetch it again")
    times = pd.DatetimeIndex(pd.to_datetime(raw["Date"], format="%m/%d/%Y"))
    if not times.is_monotonic_increasing or not times.is_unique:
        raise ValueError(f"{file} has days that are out of order, or there twice; fetch it again")
    prices, volumes = (_positive(raw[column], file) for column in ("Adj Close", "Volume"))
    returns = 100 * np.diff(np.log(prices))
    if np.abs(returns).max() > 25:  # the largest there were are 11 %
        raise ValueError(f"{file} has a day's return of {np.abs(returns).max():.0f} %; fetch it again")
    inputs = np.stack([np.abs(returns), np.diff(np.log(volumes))], axis=1)
    return Series(
        "S&P 500", "%", "d", times[1:], np.zeros(DAYS - 1, int), returns, inputs, np.zeros((DAYS - 1, 0)), None, 1
    )


def folds(days: int, count: int) -> list[np.ndarray]:
    """For each fold the parts (N,) of the days: tested on one stretch, trained on all before, the last tenth validates.

    Test stretches follow on one another, to the last day.
    """
    borders = np.linspace(FIRST_TEST, days, count + 1).round().astype(int)
    found = []
    for first, last in itertools.pairwise(borders):
        parts = np.full(days, PADDING)
        parts[:last], parts[:first] = TEST, VALIDATION
        parts[: int(0.9 * first)] = TRAIN
        found.append(parts)
    return found


def _positive(column: pd.Series, file: Path) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)
    if not (values > 0).all():
        row = int((~(values > 0)).argmax())
        raise ValueError(
            f"{file}, line {row + 2}: {column.name} is {column.iloc[row]!r}, expected more than 0; fetch it again"
        )
    return values


def _installed() -> Path:
    found = importlib.util.find_spec("arch")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("stocks need arch, which has them: pip install 'rnnjax[forecasting]'")
    return Path(found.submodule_search_locations[0]) / "data" / "sp500" / "sp500.csv.gz"
