"""What the forecasting experiment reads: a year of weather, days of a stock index, a series of one's own."""

import gzip
import importlib.util
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.common.errors import ExperimentError
from experiments.forecasting import config as settings
from experiments.forecasting import main as forecasting
from experiments.forecasting import (
    own_csv,
    stocks,
    weather,
)
from experiments.forecasting.series import TEST, TRAIN, VALIDATION
from tests.answers import answered
from tests.experiments.test_forecasting import needs_arch

SITE = weather._require_pvlib() / "data" / weather.SITES["greensboro"] if importlib.util.find_spec("pvlib") else Path()


needs_pvlib = pytest.mark.skipif(not importlib.util.find_spec("pvlib"), reason="not installed: rnnjax[forecasting]")


# Data


@needs_pvlib
def test_the_year_is_that_of_another_reader_less_what_is_smoothed_at_its_seams() -> None:
    from pvlib.iotools import read_tmy3

    expected, _ = read_tmy3(SITE, map_variables=True)
    solar, wind = (weather.load_weather(name) for name in ("solar", "wind"))
    years = np.unique(solar.segments)
    assert 8 <= len(years) <= 12
    assert len(solar.values) == 8760 - 12 * len(years)
    kept = expected.loc[solar.times.tz_localize(expected.index.tz)]
    np.testing.assert_array_equal(solar.values, kept["ghi"])
    np.testing.assert_array_equal(wind.values, kept["wind_speed"])
    np.testing.assert_array_equal(wind.inputs[:, 0], kept["temp_air"])
    for segment in years:
        assert (np.diff(solar.times[solar.segments == segment]) == np.timedelta64(1, "h")).all()
    assert solar.clear_sky is not None
    sky = solar.clear_sky
    assert (sky[np.isin(solar.times.hour, [0, 1, 2, 3])] == 0).all()
    bright = sky > 300
    assert 0.95 < np.quantile(solar.values[bright] / sky[bright], 0.9) < 1.15
    assert solar.values[sky == 0].max() < 30  # twilight


@needs_pvlib
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "expected"),
        (lambda text: text.replace("Wspd (m/s)", "Wind"), r"has no column Wspd \(m/s\); fetch it again"),
        (lambda text: text.replace("01/01/1988,13:00,723,1415,155", "01/01/1988,13:00,723,1415,-9"), "line 15: solar"),
        (lambda text: "a,b\n" + text, "is no file of the format TMY3"),
    ],
)
def test_a_damaged_year_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "year.csv"
    file.write_text(change(SITE.read_text()))
    with pytest.raises(ValueError, match=message):
        weather.load_weather("solar", str(file))


@needs_arch
def test_returns_are_those_of_another_reader_and_folds_follow_on_one_another() -> None:
    from arch.data import sp500

    prices = sp500.load()["Adj Close"]
    found = stocks.load_stocks()
    np.testing.assert_allclose(found.values, 100 * np.log(prices / prices.shift()).dropna(), rtol=1e-9)
    tested = np.zeros(len(found.values), int)
    for parts in stocks.folds(len(found.values), 4):
        days = [np.flatnonzero(parts == part) for part in (TRAIN, VALIDATION, TEST)]
        assert days[0][0] == 0
        assert all(one[-1] + 1 == other[0] for one, other in itertools.pairwise(days))
        tested += parts == TEST
    assert (tested == (np.arange(len(tested)) >= stocks.FIRST_TEST)).all()


@needs_arch
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "has 5030 days: expected 5031"),
        (lambda lines: [lines[0].replace("Volume", "Amount"), *lines[1:]], "has no column Volume"),
        (lambda lines: [*lines[:9], lines[9].rsplit(",", 1)[0] + ",none", *lines[10:]], "line 10: Volume is 'none'"),
        (lambda lines: [*lines[:9], lines[10], lines[9], *lines[11:]], "out of order"),
    ],
)
def test_damaged_stocks_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "stocks.csv"
    file.write_text("\n".join(change(gzip.decompress(stocks._installed().read_bytes()).decode().splitlines())))
    with pytest.raises(ValueError, match=message):
        stocks.load_stocks(str(file))


@pytest.mark.parametrize(("package", "load"), [("pvlib", weather.load_weather), ("arch", stocks.load_stocks)])
def test_without_the_data_the_extra_is_named(package: str, load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package}.*pip install 'rnnjax\[forecasting\]'"):
        load(*(["wind"] if package == "pvlib" else []))


def test_without_the_data_the_command_opens_no_workdir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExperimentError, match=r"pip install 'rnnjax\[forecasting\]'"):
        forecasting.main(settings.get_config("quick"), lambda: pytest.fail("a workdir was opened"))


# One's own series


def csv_of(rows: int = 400) -> pd.DataFrame:
    """Hours of a wave with noise."""
    generator = np.random.default_rng(3)
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    load = 10 + 3 * np.sin(2 * np.pi * np.arange(rows) / 24) + generator.normal(0, 0.3, rows)
    return pd.DataFrame({"when": times.astype(str), "load": load, "warmth": generator.normal(size=rows), "same": 4.0})


@pytest.mark.parametrize(
    ("change", "target", "message"),
    [
        (lambda table: table, "lod", "--target names 'lod', .* has when, load, warmth, same: expected one of these"),
        (lambda table: table.head(90), "load", "has 90 rows: expected at least"),
        (
            lambda table: table.assign(load=table["load"].astype(object).where(table.index != 6, "n/a")),
            "load",
            "line 8, column load: 'n/a', expected a number",
        ),
        (
            lambda table: table.drop(index=50),
            "load",
            "line 52: 2024-01-03 03:00:00 comes after 2024-01-03 01:00:00, expected one row every 0 days 01:00:00",
        ),
        (
            lambda table: table.assign(when=table["when"].where(table.index != 2, "noon")),
            "load",
            "line 4, column when: 'noon', expected a time",
        ),
    ],
)
def test_a_series_that_cannot_be_read_is_refused(change: Any, target: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    change(csv_of()).to_csv(file, index=False)
    with pytest.raises(ValueError, match=message):
        own_csv.read_series(str(file), target, ["warmth"], "when", 24)


def test_a_series_with_times_gets_a_calendar_and_room_for_the_future(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    csv_of().to_csv(file, index=False)
    found = own_csv.read_series(str(file), "load", ["warmth"], "when", 24)
    assert (found.step, found.period, len(found.values)) == ("h", 24, 424)
    assert np.isnan(found.values[400:]).all()
    np.testing.assert_allclose(found.calendar[5, :2], [np.sin(2 * np.pi * 5 / 24), np.cos(2 * np.pi * 5 / 24)])
    plain = own_csv.read_series(str(file), "load", [], "", 1)
    assert (plain.step, plain.period, plain.inputs.shape, plain.calendar.shape) == ("steps", 1, (401, 0), (401, 1))


@pytest.mark.slow
def test_the_command_for_ones_own_series_leaves_a_forecast_and_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    pytest.importorskip("arch", reason="not installed: rnnjax[forecasting]")
    file, workdir = tmp_path / "own.csv", tmp_path / "run"
    csv_of().to_csv(file, index=False)
    flags = [f"--csv={file}", "--target=load", "--time=when", f"--workdir={workdir}", "--horizons=1,24"]
    small = ["--models=seasonal persistence,arx,elman", "--train_steps=50"]
    calls = [
        [*flags, *small],
        [*flags, *small],
        [f"--csv={file}", "--target=same", f"--workdir={tmp_path / 'other'}"],
        [*flags, "--overwrite", "--models=bidirectional"],
        [*flags, "--overwrite", "--horizons=0"],
        ["--target=load"],
    ]
    answers = answered([{"module": "forecasting.predict", "flags": call} for call in calls])
    assert answers[0][0] == 0, answers[0][1]
    found = pd.read_csv(workdir / "forecast.csv")
    assert found["time"].tolist() == ["2024-01-17 16:00:00", "2024-01-18 15:00:00"]
    expected = 10 + 3 * np.sin(2 * np.pi * np.array([400, 423]) / 24)
    np.testing.assert_allclose(found["load"], expected, atol=1.2)
    assert ((found["low_10"] < found["load"]) & (found["load"] < found["high_90"])).all()
    assert (workdir / "forecast.png").stat().st_size > 5000
    messages = [
        "holds a forecast: give another one, or --overwrite",
        "same is 4 wherever it is trained on: expected a series that changes",
        "--models has bidirectional, which sees the future",
        "--horizons is '0': expected positive whole numbers",
        "give a file and a column, as in --csv=FILE --target=COLUMN",
    ]
    for (status, printed), message in zip(answers[1:], messages, strict=True):
        assert status == 1
        assert message in printed
