"""Which cells learned which tasks, and whether the gradient's reach at initialization predicts it, from the records."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from experiments.common import frames, solving
from experiments.common.frames import frame
from experiments.common.workdir import Record

CASE = ["task", "lag", "cell"]
PROBLEM = ["task", "lag"]

_DRAWS = 2000  # samples of cells with replacement, for an interval
_FEWEST = 5  # cells for which a correlation is computed, at least


def results(records: Sequence[Record]) -> pd.DataFrame:
    """How each counted network ended, with ``rank_key``, which orders the networks on one task and lag.

    Networks that solve the task come first, by training steps, and then the others, by loss.
    """
    ends = solving.results(records)
    order = ends["steps"].where(ends["solved"], 1e9 * (1 + ends["relative"].clip(upper=1e3)))
    return ends.assign(rank_key=order, problem=_named(ends))


def reaches(records: Sequence[Record]) -> pd.DataFrame:
    """The lag at which a tenth of the gradient is left, or T for never: medians over seeds, by task, lag and cell."""
    found = frames.flows(records).groupby([*CASE, "phase"])["reach"].median()
    return frames.unstacked(found).reset_index()


def cases(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each task, lag and cell: how its seeds ended, its learning rate, and how far its gradient reaches."""
    ends = results(records)
    by_case = ends.groupby([*PROBLEM, "problem", "cell"], sort=False)
    rows = pd.DataFrame(
        {
            "share": by_case["solved"].mean(),
            "solved": by_case["solved"].agg(solving.count),
            "steps": by_case["steps"].median(),
            "relative": by_case["relative"].median(),
            "loss": by_case["loss"].median(),
            "chance": by_case["chance"].first(),
            "memoryless": by_case["memoryless"].first(),
            "rank_key": by_case["rank_key"].median(),
            "learning_rate": by_case["learning_rate"].first(),
        }
    )
    rows = rows.sort_index(level=PROBLEM, sort_remaining=False, kind="stable").reset_index()
    sizes = frame(records, "network")[[*CASE, "hidden_size", "params"]]
    return rows.merge(reaches(records), on=CASE).merge(sizes, on=CASE)


def standing(found: pd.DataFrame) -> pd.Series:
    """The number of tasks and lags that all seeds of a cell solve, the best cells first; the mean rank breaks ties."""
    solved = (found["share"] == 1).groupby(found["cell"]).sum()
    ranks = found.groupby("problem")["rank_key"].rank().groupby(found["cell"]).mean()
    order = pd.DataFrame({"solved": -solved, "rank": ranks}).sort_values(["solved", "rank"]).index
    return solved.loc[order]


def correlations(found: pd.DataFrame, phase: str = "initialization") -> pd.DataFrame:
    """Spearman's rank correlation over cells of reach with success, for each task and lag, and their mean.

    It is 1 if a cell learns the better, the farther its gradient reaches, and NaN if all cells are alike or fewer than
    five. Intervals hold 95 % of the values for as many cells drawn with replacement; for the mean, cells are drawn with
    all of their tasks.
    """
    reach = found.pivot(index="cell", columns="problem", values=phase)[found["problem"].unique()]
    success = -found.pivot(index="cell", columns="problem", values="rank_key")[reach.columns]
    chosen = np.random.default_rng(0).integers(len(reach), size=(_DRAWS, len(reach)))
    drawn = np.array([_spearman(reach.to_numpy()[rows], success.to_numpy()[rows]) for rows in chosen])
    values = _spearman(reach.to_numpy(), success.to_numpy())
    rows = [_with_interval(values[place], drawn[:, place], name) for place, name in enumerate(reach)]
    return pd.DataFrame([*rows, _with_interval(_mean(values), np.apply_along_axis(_mean, 1, drawn), "mean of all")])


def _spearman(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The rank correlation of each column of arrays (cells, problems)."""
    if len(one) < _FEWEST:
        return np.full(one.shape[1], np.nan)
    ranks = (stats.rankdata(values, axis=0) for values in (one, other))
    a, b = (values - values.mean(axis=0) for values in ranks)
    with np.errstate(invalid="ignore"):
        return np.asarray((a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0)))


def _mean(values: np.ndarray) -> float:
    """The mean of the values that are numbers."""
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if len(seen) else np.nan


def _with_interval(value: float, drawn: np.ndarray, name: str) -> Record:
    seen = drawn[np.isfinite(drawn)]
    low, high = np.quantile(seen, [0.025, 0.975]) if len(seen) and np.isfinite(value) else (np.nan, np.nan)
    return {"problem": name, "correlation": value, "low": low, "high": high}


def _named(ends: pd.DataFrame) -> pd.Series:
    return ends["task"].map(solving.words) + ", T = " + ends["lag"].astype(str)
