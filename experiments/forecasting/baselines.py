"""Forecasts that nothing recurrent makes: what persists, means, and linear regressions by statsmodels.

All are (T, S, H), in the unit of the values, at each origin t for t + h of each horizon.

persistence          y_t
seasonal persistence y of the same hour of the last day that is known
smart persistence    base_{t+h} + scale_{t+h} z_t: the share of a clear sky persists, or the distance from the mean day
mean                 base_{t+h} + scale_{t+h} m, m the mean of z where it is trained on
random walk          0, of returns
ar                   z_{t+h} = c + sum over l < 24 of a_l z_{t-l}, by weighted least squares, a regression for each
                     horizon, as direct networks have it
arx                  the same with inputs of the last 3 steps, and the calendar

The weights are squares of scale_{t+h}, so that what is least is the error in the unit.
"""

import warnings
from collections.abc import Callable

import numpy as np

from experiments.forecasting.series import TRAIN, Task, ahead, before, origins
from rnnjax.names import lookup

LAGS, INPUT_LAGS = 24, 3


def baseline(name: str, task: Task) -> np.ndarray:
    """The forecasts of one of ``BASELINES``."""
    return lookup("baseline", name, BASELINES)(task)


def persistence(task: Task) -> np.ndarray:
    """What is now."""
    return np.stack([task.values] * len(task.horizons), axis=-1)


def seasonal(task: Task) -> np.ndarray:
    """What was at the same time of the last day known."""
    back = [-horizon % task.period for horizon in task.horizons]
    return np.stack([before(task.values, steps) for steps in back], axis=-1)


def smart(task: Task) -> np.ndarray:
    """What is now, as a share of the clear sky or as a distance from the mean day."""
    return in_unit(task, np.stack([task.standardized] * len(task.horizons), axis=-1))


def mean(task: Task) -> np.ndarray:
    """What was on average."""
    weights = np.square(task.scale[task.parts == TRAIN])
    found = np.average(task.standardized[task.parts == TRAIN], weights=weights)
    return in_unit(task, np.full((*task.parts.shape, len(task.horizons)), found))


def random_walk(task: Task) -> np.ndarray:
    """Of returns none."""
    return np.zeros((*task.parts.shape, len(task.horizons)))


def autoregression(task: Task) -> np.ndarray:
    """From the past of the values alone."""
    return _regression(task, _lagged(task.standardized[..., None], LAGS))


def autoregression_with_inputs(task: Task) -> np.ndarray:
    """From the past of the values, and from inputs."""
    past, inputs = _lagged(task.standardized[..., None], LAGS), _lagged(task.inputs[..., : task.held], INPUT_LAGS)
    return _regression(task, np.concatenate([past, inputs, task.inputs[..., task.held :]], axis=-1))


def in_unit(task: Task, standardized: np.ndarray) -> np.ndarray:
    """Forecasts (T, S, H) of z as forecasts of y."""
    scales, bases = (
        np.stack([ahead(each, horizon) for horizon in task.horizons], axis=-1) for each in (task.scale, task.base)
    )
    return np.asarray(bases + scales * standardized)


def _lagged(columns: np.ndarray, lags: int) -> np.ndarray:
    """(T, S, lags C) of columns (T, S, C): those of now, of one step ago, and so on."""
    return np.concatenate([before(columns, lag) for lag in range(lags)], axis=-1)


def _regression(task: Task, known: np.ndarray) -> np.ndarray:
    # Here alone: it takes seconds to import.
    import statsmodels.api as sm

    known = np.concatenate([np.ones((*known.shape[:-1], 1)), known], axis=-1).astype(float)
    fit_on = origins(task, TRAIN)
    fit_on[: LAGS - 1] = False
    found = []
    for horizon in task.horizons:
        targets, weights = ahead(task.standardized, horizon)[fit_on], np.square(ahead(task.scale, horizon)[fit_on])
        with warnings.catch_warnings():  # of several solutions, as for an index held all night, the least is as good
            warnings.filterwarnings("ignore", "The design matrix is rank-deficient")
            fitted = sm.WLS(targets.astype(float), known[fit_on], weights=weights).fit()
        found.append(known @ fitted.params)
    return in_unit(task, np.stack(found, axis=-1))


BASELINES: dict[str, Callable[[Task], np.ndarray]] = {
    "persistence": persistence,
    "seasonal persistence": seasonal,
    "smart persistence": smart,
    "mean": mean,
    "random walk": random_walk,
    "ar": autoregression,
    "arx": autoregression_with_inputs,
}
