"""What is recorded of forecasts: errors by day, bands and how often they hold, residuals, a week to look at.

Errors are those of the test parts, where there can be something: of irradiance by day, by the clear sky. Those of the
hours of one day hang together, so that errors are summed by the day of their origin, and whoever asks how sure a mean
is draws days.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from experiments.common.workdir import Record
from experiments.forecasting.series import TEST, VALIDATION, Task, ahead, origins

BAND = (0.1, 0.9)
"""Quantiles of the validation residuals, as multiples of the scale, that a band reaches between."""

WEEK, LAGS = 168, 48


def records(task: Task, forecasts: np.ndarray, *, drawn: bool) -> Iterator[Record]:
    """All of it, of forecasts (T, S, H) in the unit; some of them step by step if they are to be drawn."""
    for place, horizon in enumerate(task.horizons):
        found, truth, scale = forecasts[..., place], ahead(task.values, horizon), ahead(task.scale, horizon)
        errors = found - truth
        counted = origins(task, TEST) & (scale > 0)
        low, high = (found + scale * edge for edge in band(task, errors, scale))
        yield {
            "kind": "scores",
            "horizon": horizon,
            "unit": task.unit,
            **by_day(task, errors, counted),
            "rmse_of_all": np.sqrt(np.square(errors[origins(task, TEST)]).mean()),
            "held": ((truth >= low) & (truth <= high))[counted].mean(),
        }
        if place == 0:
            yield {"kind": "residuals", "horizon": horizon, **_by_hour(task, errors, counted, horizon)}
        if drawn:
            yield {"kind": "week", "horizon": horizon, **_week(task, horizon, truth, found, low, high)}


def by_day(task: Task, errors: np.ndarray, counted: np.ndarray) -> Record:
    """Sums of squares and of amounts, and how many they are, for each day of an origin, in the order of segments."""
    days = task.times.astype("datetime64[D]")
    frame = pd.DataFrame({"day": days.T[counted.T], "error": errors.T[counted.T]})
    frame = frame.assign(squared=np.square(frame["error"]), absolute=frame["error"].abs(), count=1)
    sums = frame.groupby("day", sort=False)[["squared", "absolute", "count"]].sum()
    return {name: sums[name].to_numpy() for name in sums} | {"bias": frame["error"].mean()}


def autocorrelation(errors: np.ndarray, counted: np.ndarray, lags: int) -> np.ndarray:
    """(lags + 1,) of errors (T, S), of the pairs in one segment of which both count; NaN where there are too few."""
    known = np.where(counted, errors - errors[counted].mean(), np.nan)
    found = np.full(lags + 1, np.nan)
    for lag in range(min(lags, len(known) - 1) + 1):
        one, other = known[: len(known) - lag], known[lag:]
        pairs = ~np.isnan(one * other)
        if pairs.sum() > 30:
            found[lag] = (one * other)[pairs].mean() / np.sqrt(
                np.square(one[pairs]).mean() * np.square(other[pairs]).mean()
            )
    return found


def band(task: Task, errors: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """By which multiples of the scale truth was below and above the forecast where it was validated."""
    there = origins(task, VALIDATION) & (scale > 0.1 * scale.max())
    return np.quantile(-errors[there] / scale[there], BAND)


def _by_hour(task: Task, errors: np.ndarray, counted: np.ndarray, horizon: int) -> Record:
    """Mean error and mean amount of it for each hour of the day of the target, and correlations by lag."""
    hours = pd.DatetimeIndex(ahead(task.times, horizon)[counted]).hour
    grouped = pd.Series(errors[counted]).groupby(np.asarray(hours))
    every = range(24)
    return {
        "by_hour": grouped.mean().reindex(every).to_numpy(),
        "amount_by_hour": grouped.apply(lambda each: each.abs().mean()).reindex(every).to_numpy(),
        "autocorrelation": autocorrelation(errors, counted, LAGS),
    }


def _week(task: Task, horizon: int, truth: np.ndarray, found: np.ndarray, low: np.ndarray, high: np.ndarray) -> Record:
    """The first week of tests in the middle segment."""
    middle = task.parts.shape[1] // 2
    rows = np.flatnonzero(origins(task, TEST)[:, middle])[:WEEK]
    first = str(ahead(task.times, horizon)[rows[0], middle])
    curves = {"truth": truth, "forecast": found, "low": low, "high": high}
    return {"from": first, **{name: curve[rows, middle] for name, curve in curves.items()}}
