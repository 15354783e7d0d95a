"""Hourly solar irradiance and wind speed of a typical year, as the package pvlib brings them.

A typical year has each month from the year in which it was most like the others. So where a month and the next one are
of different years there is a seam, at which six hours on either side were smoothed by those who made the file: they are
left out here, and nothing is carried across. Irradiance is the mean of the hour that ends at the time told, in the
file mostly modelled from observed clouds; temperature and wind speed are of that time.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.forecasting.series import Series

HOURS = 8760
SMOOTHED = 6
"""Hours on either side of a seam."""

SITES = {"greensboro": "723170TYA.CSV", "sand_point": "703165TY.csv"}
"""Files of pvlib: Greensboro in North Carolina, and an island off Alaska."""

COLUMNS = {"solar": "GHI (W/m^2)", "wind": "Wspd (m/s)", "temperature": "Dry-bulb (C)"}
UNITS = {"solar": "W/m²", "wind": "m/s"}
RANGES = {"solar": (0.0, 1400.0), "wind": (0.0, 70.0), "temperature": (-70.0, 60.0)}
"""What is beyond them is no measurement."""

_DATE, _TIME = "Date (MM/DD/YYYY)", "Time (HH:MM)"


def load_weather(target: str, site: str = "greensboro") -> Series:
    """One of ``UNITS``, with temperature as its input; hour, season and clear sky are known for all time.

    Args:
        target: what is to be forecast, solar or wind.
        site: one of ``SITES``, or the path of a file in the format TMY3.

    Raises:
        ModuleNotFoundError: where pvlib is not installed.
        FileNotFoundError: no such file.
        ValueError: a file that is damaged.
    """
    table, sky = read(_require_pvlib() / "data" / SITES[site] if site in SITES else Path(site))
    times = table.index
    hours, days = np.asarray(times.hour), np.asarray(times.dayofyear)
    turns = [2 * np.pi * hours / 24, 2 * np.pi * days / 365.25]
    calendar = np.stack([wave(turn) for turn in turns for wave in (np.sin, np.cos)] + [sky / 500 - 1], axis=1)
    return Series(
        target,
        UNITS[target],
        "h",
        times,
        table["segment"].to_numpy(),
        table[target].to_numpy(float),
        table[["temperature"]].to_numpy(float),
        calendar,
        sky if target == "solar" else None,
        24,
    )


def read(file: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Solar, wind, temperature and segment by local standard time, less what is smoothed; the clear sky in W/m².

    Raises:
        ModuleNotFoundError: where pvlib is not installed.
        FileNotFoundError: no such file.
        ValueError: a file that is damaged.
    """
    _require_pvlib()
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist: expected {' or '.join(SITES)}, or a file of the format TMY3")
    with file.open(encoding="utf-8") as lines:
        place = lines.readline().rstrip().split(",")
        try:
            raw = pd.read_csv(lines, low_memory=False)
            zone, latitude, longitude, altitude = (float(number) for number in place[3:7])
        except (ValueError, pd.errors.ParserError) as error:
            raise ValueError(f"{file} is no file of the format TMY3 ({error}): fetch it again") from error
    missing = {_DATE, _TIME, *COLUMNS.values()} - set(raw.columns)
    if missing or len(raw) != HOURS:
        told = f"has no column {min(missing)}" if missing else f"has {len(raw)} hours: expected {HOURS}"
        raise ValueError(f"{file} {told}; fetch it again")
    table = pd.DataFrame({name: _numbers(raw[column], name, file) for name, column in COLUMNS.items()})
    hours = raw[_TIME].str[:2].astype(int)
    table.index = pd.DatetimeIndex(pd.to_datetime(raw[_DATE], format="%m/%d/%Y") + pd.to_timedelta(hours, unit="h"))
    table["segment"] = segments_of(table.index)
    table = table[_unsmoothed(table["segment"].to_numpy())]
    return table, clear_sky(table.index, zone, latitude, longitude, altitude)


def segments_of(times: pd.DatetimeIndex) -> np.ndarray:
    """(N,) numbers, a new one wherever an hour is not the one after that before it, year included."""
    steps = np.diff(times.to_numpy()) / np.timedelta64(1, "h")
    return np.concatenate([[0], np.cumsum(steps != 1)])


def clear_sky(times: pd.DatetimeIndex, zone: float, latitude: float, longitude: float, altitude: float) -> np.ndarray:
    """(N,) W/m² of a cloudless sky half an hour before each time, which knows nothing of the weather (Haurwitz, 1945).

    Of the models that take the sun's height alone it is found to be the best (Reno, Hansen & Stein, 2012).
    """
    from pvlib.location import Location

    middles = (times - pd.Timedelta(minutes=30)).tz_localize(int(zone * 3600))
    place = Location(latitude, longitude, tz=zone, altitude=altitude)
    return place.get_clearsky(middles, model="haurwitz")["ghi"].to_numpy(float)


def _unsmoothed(segments: np.ndarray) -> np.ndarray:
    """(N,) True where an hour is farther from every seam, and from the ends of the year, than what was smoothed."""
    seam = np.flatnonzero(np.diff(segments, prepend=-1, append=-1))
    return np.asarray(np.abs(np.arange(len(segments)) + 0.5 - seam[:, None]).min(axis=0) > SMOOTHED)


def _numbers(column: pd.Series, name: str, file: Path) -> np.ndarray:
    low, high = RANGES[name]
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)
    wrong = ~((values >= low) & (values <= high))  # NaN, too
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{file}, line {row + 3}: {name} is {column.iloc[row]!r}, expected a number from {low:g} to {high:g}; "
            "fetch it again"
        )
    return values


def _require_pvlib() -> Path:
    found = importlib.util.find_spec("pvlib")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("the weather needs pvlib, which has it: pip install 'rnnjax[forecasting]'")
    return Path(found.submodule_search_locations[0])
