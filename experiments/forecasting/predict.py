"""Forecasts of your own series, with what they are worth: python -m experiments.forecasting.predict --csv=FILE.

--target=COLUMN [--inputs=a,b] [--time=COLUMN] --horizons=1,24 --workdir=runs/predict

A few networks, regressions and what persists are fitted to the first 60 % of the rows. The one with the least error in
the next 15 % is chosen, its bands are the residuals there; skill over persistence is told for the last 25 %, which had
no part in any of that. The chosen one then goes on from the last row: forecast.csv, forecast.png.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from absl import flags
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from experiments.common import command, drawing
from experiments.common.compiling import jit
from experiments.common.errors import ExperimentError, explained
from experiments.common.frames import table
from experiments.common.optimizer import make_optimizer
from experiments.common.settings import names, numbers, require_least
from experiments.forecasting import baselines
from experiments.forecasting.baselines import BASELINES, baseline
from experiments.forecasting.config import get_config
from experiments.forecasting.learning import data_of, initial_state, train_steps
from experiments.forecasting.networks import BIDIRECTIONAL, make_network
from experiments.forecasting.own_csv import read_series
from experiments.forecasting.scoring import band, by_day
from experiments.forecasting.series import PADDING, TEST, VALIDATION, Task, ahead, origins, split, task
from experiments.forecasting.skill import require_packages, skills

CSV = flags.DEFINE_string("csv", None, "A CSV file with a line of column names.")
TARGET = flags.DEFINE_string("target", None, "The column to forecast.")
INPUTS = flags.DEFINE_string("inputs", "", "Columns known up to the present, separated by commas.")
TIME = flags.DEFINE_string("time", "", "The column of times; without one, rows are steps.")
HORIZONS = flags.DEFINE_string("horizons", "1", "How many steps ahead, separated by commas.")
WORKDIR = flags.DEFINE_string("workdir", "runs/predict", "Folder for forecast.csv and the figure.")
MODELS = flags.DEFINE_string("models", "persistence,seasonal persistence,ar,arx,tdnn,narx,gru", "What is tried.")
STEPS = flags.DEFINE_integer("train_steps", 400, "Training steps of a network.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the forecast that the workdir holds.")

REFERENCE = "persistence"


class Tried(NamedTuple):
    """A model and what it says."""

    name: str
    forecasts: np.ndarray  # (T, 1, H) in the unit
    validation: float  # RMSE there over that of persistence, mean over horizons


def main() -> None:
    """Reads, fits, chooses, prints what it is worth, and leaves the forecast."""
    with explained(ValueError, OSError, ImportError):
        each, config, models = _asked()
    tried = [_tried(name, each, config) for name in models]
    print(worth(each, tried))
    best = min((one for one in tried if np.isfinite(one.validation)), key=lambda one: one.validation)
    found = forecast(each, best)
    folder = Path(WORKDIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    found.to_csv(folder / "forecast.csv", index=False)
    for path in ("forecast.png", "forecast.svg"):
        figure = drawn(each, best, found)
        figure.savefig(folder / path, dpi=150, bbox_inches="tight")
        plt.close(figure)
    print(
        f"\nchosen in the validation part: {best.name}\nforecast: {folder / 'forecast.csv'}, {folder / 'forecast.png'}"
    )


def _asked() -> tuple[Task, ConfigDict, list[str]]:
    """The series, the settings and the models that the flags name."""
    require_packages()
    if not CSV.value or not TARGET.value:
        raise ExperimentError("give a file and a column, as in --csv=FILE --target=COLUMN")
    if (Path(WORKDIR.value) / "forecast.csv").exists() and not OVERWRITE.value:
        raise ExperimentError(f"--workdir={WORKDIR.value} holds a forecast: give another one, or --overwrite")
    config = get_config()
    config.horizons, config.models, config.train_steps = HORIZONS.value, MODELS.value, STEPS.value
    config.steps_a_call = min(config.steps_a_call, config.train_steps)
    require_least(config, 1, "train_steps")
    if config.train_steps % config.steps_a_call:
        raise ExperimentError(f"--train_steps is {config.train_steps}: expected a multiple of {config.steps_a_call}")
    try:
        horizons = tuple(sorted(numbers(config, "horizons")))
        models = [REFERENCE, *(name for name in names(config, "models") if name != REFERENCE)]
    except ValueError as error:  # which speaks of an experiment's fields
        raise ExperimentError(str(error).replace("--config.", "--")) from error
    inputs = [name.strip() for name in INPUTS.value.split(",") if name.strip()]
    series = read_series(CSV.value, TARGET.value, inputs, TIME.value, max(horizons))
    parts = np.concatenate([split(series.segments[: -max(horizons)]), np.full(max(horizons), PADDING)])
    each = task(series, parts, horizons)
    data_of(each, config.warm_up + config.window)
    if each.period == 1:
        models = [name for name in models if name != "seasonal persistence"]
    for name in models:
        if name == BIDIRECTIONAL:
            raise ExperimentError(f"--models has {name}, which sees the future: expected forecasters")
        if name not in BASELINES:
            make_network(name, 1, 1, 1, horizons, 0)
    return each, config, models


def _tried(name: str, each: Task, config: ConfigDict) -> Tried:
    """One model, fitted to the training part."""
    forecasts = baseline(name, each) if name in BASELINES else _learned(name, each, config)
    there = origins(each, VALIDATION)
    ratios = []
    for place, horizon in enumerate(each.horizons):
        truth = ahead(each.values, horizon)[there]
        own, persisting = forecasts[there][:, place] - truth, each.values[there] - truth
        ratios.append(np.sqrt(np.square(own).mean() / max(np.square(persisting).mean(), 1e-30)))
    return Tried(name, forecasts, float(np.mean(ratios)))


def _learned(name: str, each: Task, config: ConfigDict) -> np.ndarray:
    """Forecasts of a network."""
    outputs, inputs = int(config.output_taps), int(config.input_taps)
    network = make_network(name, config.hidden_size, outputs, inputs, each.horizons, each.held)
    optimizer, data = make_optimizer(config), data_of(each, config.warm_up + config.window)
    step = jit(functools.partial(train_steps, network, optimizer, config, max(each.horizons)))
    params = jit(lambda key: network.init(key, each.inputs.shape[-1]))(jax.random.key(0))
    state = initial_state(params, optimizer, jax.random.key(1))
    for _ in range(config.train_steps // config.steps_a_call):
        state, _ = step(state, data)
    found = np.asarray(jit(network.forecasts)(state.best, data.whole.inputs, data.whole.known), np.float64)
    return baselines.in_unit(each, found)


def worth(each: Task, tried: list[Tried]) -> str:
    """Skill over persistence in the test part, with intervals, as a Markdown table."""
    rows = []
    block = 3 if each.period > 1 else 10
    for place, horizon in enumerate(each.horizons):
        truth, counted = ahead(each.values, horizon), origins(each, TEST)
        days = [by_day(each, one.forecasts[..., place] - truth, counted) for one in tried]
        squares = np.stack([day["squared"] for day in days], axis=1)
        skill = skills(squares, squares[:, 0], block)
        for number, one in enumerate(tried):
            rmse = np.sqrt(squares[:, number].sum() / days[number]["count"].sum())
            told = f"{100 * skill.low[number]:+.1f} to {100 * skill.high[number]:+.1f} %"
            rows.append(
                {
                    "model": one.name,
                    "ahead": f"{horizon} {each.step}",
                    "RMSE": f"{rmse:.4g}",
                    f"skill over {REFERENCE}": f"{100 * skill.skill[number]:+.1f} %" if number else "",
                    "95 % interval": told if number else "",
                }
            )
    return table(rows, {"model", "ahead"})


def forecast(each: Task, best: Tried) -> pd.DataFrame:
    """From the last row: a row for each horizon."""
    last = len(each.values) - max(each.horizons) - 1
    rows = []
    for place, horizon in enumerate(each.horizons):
        scale, errors = ahead(each.scale, horizon), best.forecasts[..., place] - ahead(each.values, horizon)
        low, high = band(each, errors, scale)
        value, width = best.forecasts[last, 0, place], scale[last, 0]
        when = each.times[last + horizon, 0] if each.step != "steps" else last + horizon + 1
        rows.append(
            {
                "time" if each.step != "steps" else "row": str(when).replace("T", " "),
                "steps_ahead": horizon,
                each.name: value,
                "low_10": value + low * width,
                "high_90": value + high * width,
                "model": best.name,
            }
        )
    return pd.DataFrame(rows)


def drawn(each: Task, best: Tried, found: pd.DataFrame) -> Figure:
    """The last steps, and the forecasts with their bands."""
    last = len(each.values) - max(each.horizons) - 1
    shown = min(last + 1, max(100, 4 * max(each.horizons)))
    figure, (axes,) = drawing.grid(1, 1, size=(8, 3))
    axes.plot(np.arange(1 - shown, 1), each.values[last + 1 - shown : last + 1, 0], color="black", label="so far")
    value = found[each.name].to_numpy()
    edges = np.stack([value - found["low_10"], found["high_90"] - value]).clip(0)
    axes.errorbar(
        found["steps_ahead"], value, edges, fmt="o", color=drawing.COLOURS[1], capsize=3, label="forecast, 80 % band"
    )
    drawing.legend(figure)
    return drawing.caption(figure, f"{each.name}: forecasts of {best.name}", f"step from the last row ({each.step})")


if __name__ == "__main__":
    command.run(main)
