"""One thing varied, all else equal: initialization, sequence length, where the loss is read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing
from experiments.common.frames import frame, log10, span, stacked
from experiments.common.workdir import Record
from experiments.gradient_flow import curves as c


def norm_by_initialization(records: Sequence[Record]) -> Figure | None:
    """A panel for each network, a line for each initialization, and where it exists its mean-field prediction."""
    varied = _varied(records, "initialization")
    if varied.empty:
        return None
    heads = {}
    for network, of_network in varied.groupby("network", sort=False):
        half_lives = c.half_lives(of_network, "initialization")
        ends = [f"{name} {c.number(half_lives[name])}" for name in (half_lives.idxmin(), half_lives.idxmax())]
        heads[network] = f"{network}: {' to '.join(ends)} steps"
    found = f"Initialization alone changes the half-life {_factors(varied, 'initialization')}"
    lines = varied.sort_values("order", kind="stable")
    figure, by_panel = c.panels_by_lag(lines, found, panel="network", line="initialization", heads=heads)
    predictions = frame(records, "mean_field", dtype=np.float64)
    if not predictions.empty:
        predicted = varied.merge(predictions[[*c.AXES[:3], "sequence_length", "seed", "factors", "valid_to_lag"]])
        groups = predicted.groupby(["network", "initialization"], sort=False)
        errors = [_draw_prediction(by_panel[network], rows) for (network, _), rows in groups]
        drawing.title(
            figure,
            f"{found}; the mean-field slope of ln norm is off by {span(errors, '.3f')} a step (circles, to lag √H)",
        )
    return figure


def _draw_prediction(axes: Axes, rows: pd.DataFrame) -> float:
    """A thin line of circles over the lags where it is valid; how far the slopes of ln norm are apart."""
    first = rows.iloc[0]
    logs = np.concatenate([[0], np.cumsum(np.log10(first["factors"][: first["position"]][::-1]) / 2)])
    lags = np.arange(min(first["valid_to_lag"], first["position"] - 1) + 1)
    measured = np.median(log10(stacked(rows["norms"]))[:, ::-1], axis=0)[lags]
    drawn = measured[0] + logs[lags]
    look: dict[str, Any] = {
        "linewidth": 0.6,
        "marker": "o",
        "markersize": 2.5,
        "markerfacecolor": "white",
        "color": "black",
    }
    axes.plot(lags, drawn, **look, zorder=5)
    return float(abs(np.log(10) * (measured[-1] - drawn[-1]) / lags[-1]))


def norm_by_length(records: Sequence[Record]) -> Figure | None:
    """A panel for each network, a line for each sequence length: before training all should be parts of one."""
    varied = _varied(records, "sequence_length")
    if varied.empty:
        return None
    half_lives = c.half_lives(varied, ["network", "sequence_length"]).map(c.number)
    heads = {network: f"{network}\n{', '.join(half_lives[network])} steps" for network in varied["network"].unique()}
    longest = varied["sequence_length"].max()
    of_longest = varied[varied["sequence_length"] == longest].groupby("network")["norms"]
    gone = of_longest.agg(lambda norms: np.isnan(log10(stacked(norms)[:, 0])).any()).sum()
    found = (
        f"From one length to another the half-life at initialization changes {_factors(varied, 'sequence_length')}; "
        f"{longest} steps back {gone} of {len(heads)} gradients are out of float32's range"
    )
    lengths = {"panel": "network", "line": "sequence_length"}
    return c.panels_by_lag(varied, found, **lengths, heads=heads, name="T = {}".format)[0]


def norm_by_position(records: Sequence[Record]) -> Figure | None:
    """A panel for each network, a line for each step that the loss is read at: against lag they should be one."""
    varied = _varied(records, "position")
    if varied.empty:
        return None
    spreads = {network: _spread(of_network) for network, of_network in varied.groupby("network", sort=False)}
    found = (
        f"Wherever the loss is read, norms at equal lag differ by a factor of {span(spreads.values(), '.2f')} "
        "(at initialization; the largest over the smallest, median over lags)"
    )
    heads = {network: f"{network}\nfactor {spread:.2f}" for network, spread in spreads.items()}
    positions = {"panel": "network", "line": "position", "heading": "loss read"}
    return c.panels_by_lag(varied, found, **positions, heads=heads, name="at step {}".format)[0]


def _varied(records: Sequence[Record], axis: str) -> pd.DataFrame:
    """The shallowest curves before training, of networks that have several values of an axis."""
    found = c.state_norms(records)
    if found.empty or c.every_step(found):
        return found.iloc[:0]
    if axis == "position":  # of one sequence, not the ends of several
        found = found[found["sequence_length"] == found["sequence_length"].max()]
    chosen = c.shallowest(c.typical(found, axis))
    return chosen[chosen.groupby("network")[axis].transform("nunique") > 1]


def _spread(of_network: pd.DataFrame) -> float:
    """The largest norm over the smallest, median over lags."""
    lags = of_network["norms"].map(len).min()
    logs = [
        np.median(log10(stacked(norms.map(lambda curve: curve[-lags:]))), axis=0)
        for _, norms in of_network.groupby("position")["norms"]
    ]
    return float(10 ** np.nanmedian(np.ptp(logs, axis=0)))


def _factors(varied: pd.DataFrame, axis: str) -> str:
    """By what factors the longest half-life of each network exceeds its shortest."""
    half_lives = c.half_lives(varied, ["network", axis]).groupby("network").agg(["min", "max"])
    falling = half_lives[np.isfinite(half_lives["max"])]
    rest = len(half_lives) - len(falling)
    factors = f"by a factor of {span(falling['max'] / falling['min'], '.1f')}" if len(falling) else ""
    without = f"in {rest} of {len(half_lives)} networks from a decay to none" if rest else ""
    return " and ".join(filter(None, [factors, without]))
