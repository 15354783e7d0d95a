"""Skill over a reference, and how sure it is: the stationary bootstrap of days (Politis & Romano, 1994), by arch.

    skill = 1 - RMSE / RMSE of the reference

Errors of one day hang together, and of days that follow on one another somewhat: so whole days are drawn, in blocks
whose mean length is told, with replacement. Where segments follow on one another a block may reach over a seam.
"""

import importlib.util
from typing import NamedTuple

import numpy as np

DRAWS, LEVEL = 1000, 0.95


class Skill(NamedTuple):
    """Of M models, (M,) each."""

    skill: np.ndarray
    low: np.ndarray
    high: np.ndarray


def skills(squares: np.ndarray, reference: np.ndarray, block_days: int) -> Skill:
    """Of sums of squared errors by day, (D, M), over those of the reference, (D,), with 95 % intervals."""
    # Here alone: it takes seconds to import.
    from arch.bootstrap import StationaryBootstrap

    def skill(squares: np.ndarray, reference: np.ndarray) -> np.ndarray:
        return 1 - np.sqrt(squares.sum(axis=0) / reference.sum())

    drawn = StationaryBootstrap(block_days, squares, reference, seed=0).apply(skill, DRAWS)
    edges = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    return Skill(skill(squares, reference), *np.quantile(drawn, edges, axis=0))


def require_packages() -> None:
    """Raises ``ModuleNotFoundError`` where what bootstraps or regresses is not installed."""
    missing = [name for name in ("arch", "statsmodels") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"forecasting needs {' and '.join(missing)}: pip install 'rnnjax[forecasting]'")
