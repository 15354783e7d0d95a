"""A time series, and what a forecaster is given of it: parts in their order of time, seams, standardized values.

A forecast is made at a step t, its origin, for step t + h. A segment is a stretch without a gap; nothing is carried
from one to another, since they lie side by side, one a column. In each the first part is to train on, the next to
validate, the last to test. An origin belongs to a part if the farthest of its targets does, too: so no training target,
and no number that standardizes, is from after the end of the training part. What is known up to an origin, of whichever
part, may be used there: that is what a forecaster has.

A single cut through a typical year would test on two seasons and train on the others. Here every season is in every
part, and within each month, which is of one year, what is tested comes last. So what is told is how well the rest of a
month is forecast after its first weeks, at a place that is known; not how well another year is.

Networks see  z = (y - base) / scale.  Of solar irradiance the base is 0 and the scale that of a clear sky, which is
known for all time: z is the clear-sky index, held through the night, when nothing tells it. Of other series the base is
the mean by hour of the day, and the scale the deviation from that, both of the training part. So z_t for z_{t+h} is
smart persistence.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

TRAIN, VALIDATION, TEST, PADDING = range(4)
"""The parts of a segment."""

SHARES = (0.6, 0.15, 0.25)
"""Of a segment, by part."""

LEAST_CLEAR_SKY = 50.0
"""W/m²: below that a clear-sky index is noise, and the last one is held."""

LARGEST_INDEX = 1.5
"""Of a clear sky: a cloud's edge can reflect so much, what is above it is an error of the low sun."""


class Series(NamedTuple):
    """N steps at equal distances but for the gaps between segments.

    Attributes:
        name: of what is to be forecast.
        unit: of its values.
        step: what lies between two of them, as h.
        times: (N,).
        segments: (N,) numbers, of which a new one begins after each gap.
        values: (N,) of what is to be forecast.
        inputs: (N, I) of what is known up to the present step.
        calendar: (N, F) of what is known for all time.
        clear_sky: (N,) in the unit, if that is what the values are a share of.
        period: steps of a day, 1 if there are none.
    """

    name: str
    unit: str
    step: str
    times: pd.DatetimeIndex
    segments: np.ndarray
    values: np.ndarray
    inputs: np.ndarray
    calendar: np.ndarray
    clear_sky: np.ndarray | None
    period: int


class Task(NamedTuple):
    """A series with its segments side by side, T steps of S, those that are shorter padded at their ends.

    Attributes:
        name: of the series.
        unit: of ``values``.
        step: as of the series.
        period: steps of a day.
        horizons: how many steps ahead forecasts are made.
        times: (T, S).
        parts: (T, S).
        values: (T, S), NaN in the padding.
        base: (T, S).
        scale: (T, S), 0 where there can be nothing, as at night.
        standardized: (T, S), z.
        inputs: (T, S, I + F): inputs of step t, standardized, and the calendar of step t + 1.
        held: I, how many of the inputs are not known ahead.
    """

    name: str
    unit: str
    step: str
    period: int
    horizons: tuple[int, ...]
    times: np.ndarray
    parts: np.ndarray
    values: np.ndarray
    base: np.ndarray
    scale: np.ndarray
    standardized: np.ndarray
    inputs: np.ndarray
    held: int


def split(segments: np.ndarray) -> np.ndarray:
    """(N,) parts: of each segment the first to train on, the last to test on."""
    parts = np.empty(len(segments), int)
    for segment in np.unique(segments):
        places = np.flatnonzero(segments == segment)
        borders = np.round(np.cumsum(SHARES)[:2] * len(places)).astype(int)
        parts[places] = np.searchsorted(borders, np.arange(len(places)), side="right")
    return parts


def task(series: Series, parts: np.ndarray, horizons: tuple[int, ...]) -> Task:
    """The series with its parts (N,), standardized by the training part.

    Raises:
        ValueError: for a series that never changes where it is trained on.
    """
    train = parts == TRAIN
    phase = np.asarray(series.times.hour) if series.period > 1 else np.zeros(len(parts), int)
    base, deviation = _profile(series.values, phase, train)
    scale = np.full(len(parts), deviation)
    if series.clear_sky is not None:
        base, scale = np.zeros(len(parts)), series.clear_sky
    elif not deviation > 0:
        raise ValueError(f"{series.name} is {base[0]:g} wherever it is trained on: expected a series that changes")
    inputs = [_anomaly(column, phase, train) for column in series.inputs.T]
    known = np.stack(inputs, axis=1) if inputs else np.zeros((len(parts), 0))

    def laid(column: np.ndarray, padding: float) -> np.ndarray:
        return side_by_side(column, series.segments, padding)

    values = laid(series.values, np.nan)
    laid_base, laid_scale = laid(base, 0.0), laid(scale, 0.0)
    laid_parts = laid(parts, PADDING)
    if series.clear_sky is None:
        standardized = np.where(laid_parts == PADDING, 0, (values - laid_base) / deviation)
    else:
        standardized = clear_sky_index(values, laid_scale, laid_parts == TRAIN)
    calendar = ahead(laid(series.calendar, 0.0), 1)
    return Task(
        series.name,
        series.unit,
        series.step,
        series.period,
        horizons,
        side_by_side(series.times.to_numpy("datetime64[s]"), series.segments, np.datetime64("NaT", "s")),
        laid_parts,
        values,
        laid_base,
        laid_scale,
        standardized.astype(np.float32),
        np.concatenate([laid(known, 0.0), calendar], axis=-1).astype(np.float32),
        known.shape[1],
    )


def clear_sky_index(values: np.ndarray, clear_sky: np.ndarray, train: np.ndarray) -> np.ndarray:
    """(T, S) share of a clear sky; where it is dark, the last one, before the first the mean of the training part."""
    bright = clear_sky >= LEAST_CLEAR_SKY
    index = np.full(values.shape, np.nan)
    index[bright] = np.clip(values[bright] / clear_sky[bright], 0, LARGEST_INDEX)
    return np.asarray(pd.DataFrame(index).ffill().fillna(np.nanmean(index[train])))


def side_by_side(column: np.ndarray, segments: np.ndarray, padding: object) -> np.ndarray:
    """(T, S, ...) of a column (N, ...)."""
    names, lengths = np.unique(segments, return_counts=True)
    laid = np.full((lengths.max(), len(names), *column.shape[1:]), padding, column.dtype)
    for place, (name, length) in enumerate(zip(names, lengths, strict=True)):
        laid[:length, place] = column[segments == name]
    return laid


def ahead(laid: np.ndarray, steps: int) -> np.ndarray:
    """(T, ...), at t what is at t + steps; the last one where there is nothing more."""
    return laid[np.minimum(np.arange(len(laid)) + steps, len(laid) - 1)]


def before(laid: np.ndarray, steps: int) -> np.ndarray:
    """(T, ...), at t what is at t - steps; the first one where there is nothing before."""
    return laid[np.maximum(np.arange(len(laid)) - steps, 0)]


def origins(task: Task, part: int) -> np.ndarray:
    """(T, S), True where the step, and the farthest that is forecast from it, are of that part."""
    farthest = max(task.horizons)
    there = np.zeros(task.parts.shape, bool)
    there[:-farthest] = (task.parts[:-farthest] == part) & (task.parts[farthest:] == part)
    return there


def starts(task: Task, length: int) -> np.ndarray:
    """(N, 2), t and s, where a window of so many origins of the training part can begin.

    Raises:
        ValueError: if there are none, or no origins to validate or to test on.
    """
    for part, use in ((VALIDATION, "validate"), (TEST, "test")):
        if not origins(task, part).any():
            longest = (task.parts == part).sum(axis=0).max()
            raise ValueError(
                f"{task.name} has at most {longest} steps in a row to {use} on: expected more than "
                f"{max(task.horizons)}, the farthest horizon; give nearer ones, or fewer folds"
            )
    train = origins(task, TRAIN)
    whole = train[: len(train) - length + 1] & train[length - 1 :] if length <= len(train) else train[:0]
    if not whole.any():
        longest = (task.parts == TRAIN).sum(axis=0).max()
        raise ValueError(
            f"{task.name} has {longest} steps to train on in its longest segment: expected at least "
            f"{length + max(task.horizons)}, a window and the farthest horizon; give more, or shorter ones of both"
        )
    return np.argwhere(whole)


def _profile(values: np.ndarray, phase: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, float]:
    """The mean by phase of the training part (N,), and the deviation from it there."""
    means = pd.Series(values[train]).groupby(phase[train]).mean()
    base = means.reindex(range(phase.max() + 1)).fillna(values[train].mean()).to_numpy()[phase]
    deviation = float((values - base)[train].std())
    return base, deviation if deviation > 1e-9 * np.abs(values[train]).max(initial=0) else 0.0


def _anomaly(column: np.ndarray, phase: np.ndarray, train: np.ndarray) -> np.ndarray:
    """An input less its profile, in its deviations; one that never changes is 0."""
    base, deviation = _profile(column, phase, train)
    return (column - base) / (deviation or 1.0)
