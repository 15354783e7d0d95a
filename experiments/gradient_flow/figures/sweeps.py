"""One thing varied, all else equal: initialization, sequence length, where the loss is read."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import frames
from experiments.common.workdir import Record
from experiments.gradient_flow.figures import curves as c
from experiments.gradient_flow.figures.curves import Curves


def norm_by_initialization(records: Sequence[Record]) -> Figure | None:
    """A panel for each network, a line for each initialization, and where it exists its mean-field prediction."""
    varied = _varied(records, "initialization")
    if not varied:
        return None
    predictions = {
        (record["cell"], record["activation"], record["initialization"], record["sequence_length"]): record
        for record in records
        if record["kind"] == "mean_field"
    }
    figure, panels = c.panels(len(varied), c.LAG["last"])
    names = sorted({curve.initialization for group in varied.values() for curve in group}, key=c.initialization_order)
    errors = []
    for axes, (network, group) in zip(panels, varied.items(), strict=True):
        c.draw_by_lag(axes, [(curve.initialization, array[:, 0]) for curve, array in group.items()], names)
        for curve, array in group.items():
            record = predictions.get((curve.cell, curve.activation, curve.initialization, curve.sequence_length))
            if record and isinstance(curve.position, int):
                errors.append(_draw_prediction(axes, record, curve.position, array[:, 0]))
        half_lives = c.half_lives(group)
        longest, shortest = (choose(half_lives, key=lambda k: half_lives[k]) for choose in (max, min))
        axes.set_title(
            f"{network}: {shortest.initialization} {c.number(half_lives[shortest])}\n"
            f"to {longest.initialization} {c.number(half_lives[longest])} steps",
            loc="left",
            fontsize=10,
        )
        c.label_left(axes)
    c.legend(figure)
    found = f"Initialization alone changes the half-life {_factors(varied)}"
    if errors:
        found += f";\nthe mean-field slope of ln norm is off by {c.span(errors, '.3f')} a step (circles, to lag √H)"
    c.title(figure, found)
    return figure


def _draw_prediction(axes: Axes, record: Record, position: int, norms: np.ndarray) -> float:
    """A thin dotted line over the lags where it is valid; how far the slopes of ln norm are apart."""
    logs = np.concatenate([[0], np.cumsum(np.log10(record["factors"][:position][::-1]) / 2)])
    lags = np.arange(min(record["valid_to_lag"], position - 1) + 1)
    measured = np.median(frames.log10(norms)[:, ::-1], axis=0)[lags]
    drawn = measured[0] + logs[lags]
    looks: dict[str, Any] = {"linewidth": 0.6, "marker": "o", "markersize": 2.5, "markerfacecolor": "white"}
    axes.plot(lags, drawn, color="black", zorder=5, label="mean field", **looks)
    return float(abs(np.log(10) * (measured[-1] - drawn[-1]) / lags[-1]))


def norm_by_length(records: Sequence[Record]) -> Figure | None:
    """A panel for each network, a line for each sequence length: before training all should be parts of one."""
    varied = _varied(records, "sequence_length")
    if not varied:
        return None
    figure, panels = c.panels(len(varied), c.LAG["last"])
    for axes, (network, group) in zip(panels, varied.items(), strict=True):
        c.draw_by_lag(axes, [(f"T = {curve.sequence_length}", array[:, 0]) for curve, array in group.items()])
        values = [c.number(value) for value in c.half_lives(group).values()]
        axes.set_title(f"{network}\n{', '.join(values)} steps", loc="left", fontsize=10)
        c.label_left(axes)
    panels[0].legend(frameon=False, fontsize=9)
    longest = max(curve.sequence_length for group in varied.values() for curve in group)
    gone = sum(np.isnan(frames.log10(list(group.values())[-1][:, 0, 0])).any() for group in varied.values())
    c.title(
        figure,
        f"From one length to another the half-life at initialization changes {_factors(varied)};\n"
        f"{longest} steps back {gone} of {len(varied)} gradients are out of float32's range",
    )
    return figure


def norm_by_position(records: Sequence[Record]) -> Figure | None:
    """A panel for each network, a line for each step that the loss is read at: against lag they should be one."""
    varied = _varied(records, "position")
    if not varied:
        return None
    figure, panels = c.panels(len(varied), c.LAG["last"])
    spreads = []
    for axes, (network, group) in zip(panels, varied.items(), strict=True):
        c.draw_by_lag(axes, [(f"at step {curve.position}", array[:, 0]) for curve, array in group.items()])
        spreads.append(_spread(list(group.values())))
        axes.set_title(f"{network}\nfactor {spreads[-1]:.2f}", loc="left", fontsize=10)
        c.label_left(axes)
    panels[0].legend(frameon=False, fontsize=9, title="loss read")
    c.title(
        figure,
        f"Wherever the loss is read, norms at equal lag differ by a factor of {c.span(spreads, '.2f')}\n"
        "(at initialization; the largest over the smallest, median over lags)",
    )
    return figure


def _varied(records: Sequence[Record], axis: str) -> dict[str, Curves]:
    """By network, the shallowest curves before training of several values of an axis."""
    norms = c.state_norms(records)
    if not norms or next(iter(norms)).loss == "all":
        return {}
    longest = max(curve.sequence_length for curve in norms)
    if axis == "position":  # of one sequence, not the ends of several
        norms = {curve: array for curve, array in norms.items() if curve.sequence_length == longest}
    chosen = c.shallowest(c.typical(norms, axis))
    groups = itertools.groupby(chosen, key=lambda curve: curve.network)
    by_network = {network: {curve: chosen[curve] for curve in group} for network, group in groups}
    return {network: group for network, group in by_network.items() if len(group) > 1}


def _spread(arrays: list[np.ndarray]) -> float:
    """The largest norm of layer 1 over the smallest, median over lags."""
    lags = min(array.shape[-1] for array in arrays)
    logs = np.array([np.median(frames.log10(array[:, 0, -lags:]), axis=0) for array in arrays])
    return float(10 ** np.nanmedian(np.ptp(logs, axis=0)))


def _factors(varied: dict[str, Curves]) -> str:
    """By what factors the longest half-life of each network exceeds its shortest."""
    half_lives = [list(c.half_lives(group).values()) for group in varied.values()]
    falling = [max(values) / min(values) for values in half_lives if np.isfinite(values).all()]
    rest = len(half_lives) - len(falling)
    without = f"in {rest} of {len(half_lives)} networks from a decay to none" if rest else ""
    return " and ".join(filter(None, [f"by a factor of {c.span(falling, '.1f')}" if falling else "", without]))
