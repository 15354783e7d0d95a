"""Figures, table and verdict of the tracking experiment, drawn from its metrics.jsonl alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record

LEAST, LINEAR, ALONE = "the least possible", "the best linear estimate", "the last sample alone"

EXPONENTIAL = 0.9
"""The R² from which on a slope of norms is given as a rate."""

_LINES: dict[str, dict[str, Any]] = {
    LINEAR: {"color": "#e69f00", "linestyle": "-", "linewidth": 4, "alpha": 0.6, "zorder": 0},
    ALONE: {"color": drawing.GREY, "linestyle": ":", "linewidth": 2, "zorder": 0},
}


def results(records: Sequence[Record]) -> pd.DataFrame:
    """How each run ended, beside the least errors: ``least`` is exact, or that of the best estimates on the test set.

    ``excess`` is the network's mean squared distance from the best estimates, in per cent of the least error, by which
    its error is greater. ``expected`` is both together, which a test set measures better than ``error``, the plain mean
    over it. ``linear_excess`` is the excess of the best linear estimate.
    """
    ends, beside = (frames.frame(records, kind, dtype=np.float64) for kind in ("result", "known"))
    found = ends.merge(beside[["run", "best", "exact", "linear", "alone"]], on="run")
    found["least"] = found["exact"].astype(float).fillna(found["best"])
    found["expected"] = found["least"] + found["distance"]
    found["excess"] = 100 * found["distance"] / found["least"]
    found["linear_excess"] = 100 * (found["linear"] / found["least"] - 1)
    return found.assign(when=found["delay"].astype(float).map(when))


def when(delay: float) -> str:
    """A delay in words."""
    if np.isnan(delay):
        return "whole sequence seen"
    steps = f"{abs(delay):.0f} step{'s' if abs(delay) != 1 else ''}"
    return f"{steps} ahead" if delay < 0 else "at once" if delay == 0 else f"{steps} late"


def percent(value: float) -> str:
    """A number with as many digits as are meaningful."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else f"{value:.2f}"


def online(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of networks that answer step by step."""
    return rows[rows["delay"].notna()].sort_values("delay", kind="stable", ignore_index=True)


def is_linear(ends: pd.DataFrame) -> bool:
    """Whether nothing is better than the best linear estimate."""
    return bool(ends["exact"].notna().all())


# Tables and verdict


def table(records: Sequence[Record]) -> str:
    """The least error of each delay and by how much each network's is greater, medians and ranges over seeds."""
    ends = results(records)
    ends = pd.concat([online(ends), ends[ends["delay"].isna()]])
    rows = []
    for told, of_delay in ends.groupby("when", sort=False):
        first = of_delay.iloc[0]
        row: Record = {"estimate": told, "least error": f"{first['least']:.3f}"}
        if not is_linear(ends):
            row["best linear"] = f"{first['linear']:.3f} ({first['linear_excess']:+.0f} %)"
        row["last sample alone"] = f"{first['alone']:.3f}"
        for network in ends["network"].unique():
            excess = of_delay[of_delay["network"] == network]["excess"]
            row[network] = f"+{frames.median(excess, percent)} %" if len(excess) else "-"
        rows.append(row)
    return frames.table(rows, {"estimate"})


def verdict(records: Sequence[Record]) -> str:
    """What was found, one sentence in each line."""
    tellers = (_errors, _excess, _linear, _whole, _weights, _rates)
    return "\n".join(f"{sentence}." for tell in tellers for sentence in tell(records))


def _errors(records: Sequence[Record]) -> Iterator[str]:
    """The least error of the estimates farthest ahead, at once, and latest."""
    ends = online(results(records)).drop_duplicates("delay")
    told = ends[ends["delay"].isin([ends["delay"].min(), 0, ends["delay"].max()])]
    listed = ", ".join(f"{least:.3f} ({words})" for least, words in zip(told["least"], told["when"], strict=True))
    yield f"The least error possible, as a share of the position's variance, is {listed}"


def _excess(records: Sequence[Record]) -> Iterator[str]:
    """How near each network comes to the least error, over all delays and seeds."""
    ends = online(results(records))
    parts = []
    for network, rows in ends.groupby("network", sort=False):
        worst = rows.groupby("when", sort=False)["excess"].median().fillna(float("inf")).idxmax()
        parts.append(f"{frames.median(rows['excess'], percent)} % in {network}, most of all {worst}")
    told = "The errors of networks are above the least one by"
    yield f"{told} {'; '.join(parts)} (medians and ranges over delays and seeds)"


def _linear(records: Sequence[Record]) -> Iterator[str]:
    """How many networks are better than the best linear estimate, where that is not the best of all."""
    ends = online(results(records))
    if is_linear(ends):
        return
    better = (ends["excess"] < ends["linear_excess"]).sum()
    by = frames.span(ends["linear_excess"], ".0f")
    told = f"The error of the best linear estimate is above the least one by {by} %"
    yield f"{told}; {better} of {len(ends)} networks are nearer to the least error"


def _whole(records: Sequence[Record]) -> Iterator[str]:
    """The least error where the whole sequence is seen, and how near networks of both directions come to it."""
    ends = results(records)
    ends = ends[ends["delay"].isna()]
    if len(ends):
        by_network = ends.groupby("network", sort=False)["excess"]
        parts = [f"{frames.median(of, percent)} % ({name})" for name, of in by_network]
        least = f"Where the whole sequence is seen, the least error is {ends['least'].iloc[0]:.3f}"
        yield f"{least}; networks of both directions are above it by {', '.join(parts)}"


def weights(records: Sequence[Record]) -> pd.DataFrame:
    """The weights of each network by lag, ``mean``, beside the ``best`` ones, and how far they are ``apart``."""
    found, beside = (frames.frame(records, kind, dtype=np.float64) for kind in ("weights", "optimal"))
    found = online(found.merge(beside[["run", "mean"]].rename(columns={"mean": "best"}), on="run"))
    pairs = zip(found["mean"], found["best"], strict=True)
    apart = [np.linalg.norm(mean - best) / np.linalg.norm(best) for mean, best in pairs]
    return found.assign(apart=apart, when=found["delay"].map(when))


def _weights(records: Sequence[Record]) -> Iterator[str]:
    """How far a network's derivatives with respect to past samples are from those of the best estimate."""
    found = weights(records)
    by_network = found.groupby("network", sort=False)
    parts = [f"{frames.median(rows['apart'], '{:.2f}'.format)} in {name}" for name, rows in by_network]
    told = (
        "The distance of a network's weights of past samples from the best ones, as a share of the best ones' norm, is"
    )
    yield f"{told} {', '.join(parts)} (medians and ranges over delays and seeds)"


def rates(records: Sequence[Record]) -> pd.DataFrame:
    """The norms of each network's dL/ds_t, and their decay back from the position that is asked for.

    Even the best estimator keeps what it has seen for as many steps as the delay.
    """
    found = online(frames.frame(records, "state_gradient"))
    beyond = [
        norms[: len(norms) - max(0, int(delay))] for norms, delay in zip(found["norms"], found["delay"], strict=True)
    ]
    return found.join(frames.decays(pd.Series(beyond, found.index))).assign(when=found["delay"].map(when))


def _rates(records: Sequence[Record]) -> Iterator[str]:
    """What a step back multiplies dL/ds_t and the best filter's derivative by; what is left, if that is not linear."""
    found, beside = rates(records), frames.frame(records, "optimal", dtype=np.float64)
    if "rate" not in beside:
        left = frames.changes(found["norms"]).groupby(found["network"], sort=False)
        told = ", ".join(f"{frames.median(kept, '10^{:+.1f}'.format)} (in {name})" for name, kept in left)
        steps = len(found["norms"].iloc[0]) - 1
        spread = "medians and ranges over delays and seeds"
        yield f"{steps} steps back the norm of dL/ds_t is {told} times the last one ({spread})"
        return
    parts = []
    for network, rows in found.groupby("network", sort=False):
        fits = rows[rows["r_squared"] >= EXPONENTIAL]
        told = frames.rates(fits["asymptotic_rate"]) if len(fits) else "no constant"
        parts.append(f"dL/ds_t of {network} by {told} ({len(fits)} of {len(rows)} networks decay exponentially)")
    best = f"A step back multiplies the best filter's derivative by {beside['rate'].iloc[0]:.3f} in the long run"
    yield f"{best}, {'; '.join(parts)}"


def summary(records: Sequence[Record], config: ConfigDict) -> str:
    """The page left in the workdir."""
    found = {"verdict": "\n".join(f"- {line}" for line in verdict(records).splitlines()), "table": table(records)}
    return page.filled(__file__, **found, config=config, linear=is_linear(results(records)))


# Figures


def error_by_delay(records: Sequence[Record]) -> Figure:
    """The mean squared error against the delay: networks, the least error possible, and simpler estimates."""
    ends = results(records)
    by_delay = online(ends)
    figure, (axes,) = drawing.grid(1, 1, size=(6.5, 4))
    _draw_lines(axes, by_delay, "expected")
    once = by_delay.drop_duplicates("delay")
    axes.plot(once["delay"], once["least"], **drawing.CIRCLES | {"markersize": 8}, label=LEAST)
    lines = {ALONE: "alone"} | ({} if is_linear(ends) else {LINEAR: "linear"})
    for label, column in lines.items():
        axes.plot(once["delay"], once[column], **_LINES[label], label=label)
    whole = ends[ends["delay"].isna()]
    if len(whole):
        look: dict[str, Any] = {"color": "black", "linewidth": 0.8, "zorder": 0}
        axes.axhline(whole["least"].iloc[0], linestyle=(0, (6, 3)), **look, label=f"{LEAST}, whole sequence seen")
    axes.set_ylim(bottom=0)
    drawing.legend(figure, "line: median\nshade: range over seeds")
    ends_at = (percent(end(by_delay["excess"])) for end in (min, max))
    title = f"{next(_errors(records))}; networks are above it by {' to '.join(ends_at)} %"
    return drawing.caption(
        figure, title, "delay d of the estimate of $p_{t-d}$ (steps; below 0 ahead)", "mean squared error / variance"
    )


def excess_by_delay(records: Sequence[Record]) -> Figure:
    """By how much errors are greater than the least one, against the delay."""
    ends = online(results(records))
    figure, (axes,) = drawing.grid(1, 1, size=(6.5, 3.6))
    _draw_lines(axes, ends, "excess")
    once = ends.drop_duplicates("delay")
    if not is_linear(ends):
        axes.plot(once["delay"], once["linear_excess"], **_LINES[LINEAR], label=LINEAR)
    drawing.plain_ticks(axes, (1, 2, 5))
    drawing.legend(figure, "line: median\nshade: range over seeds")
    return drawing.caption(figure, next(_excess(records)), "delay (steps; below 0 ahead)", "error above the least (%)")


def _draw_lines(axes: Axes, rows: pd.DataFrame, column: str) -> None:
    """A line for each network against delay."""
    looks, markers = drawing.looks_of(rows["network"]), drawing.markers_of(rows["network"])
    for network, of_network in rows.groupby("network", sort=False):
        seeds = of_network.pivot_table(index="seed", columns="delay", values=column)
        look = looks[network] | {"marker": markers[network], "markersize": 4}
        drawing.band(axes, seeds.columns.to_numpy(float), seeds.to_numpy(), look, str(network))


def weights_by_lag(records: Sequence[Record]) -> Figure:
    """The derivative of an estimate with respect to past samples, and the best estimate's: a panel for each delay."""
    found = weights(records)
    figure, panels, lines = drawing.multiples(found, panel="when", line="network", across=4, size=(2.7, 2.4))
    for axes, network, look, rows in lines:
        curves = frames.stacked(rows["mean"])
        drawing.band(axes, np.arange(curves.shape[1]), curves, look, network)
    for told, axes in panels.items():
        best = frames.stacked(found[found["when"] == told]["best"]).mean(axis=0)
        axes.plot(np.arange(len(best)), best, **drawing.CIRCLES | {"markersize": 3.5}, label="best estimate")
        axes.axhline(0, color=drawing.GREY, linewidth=0.8, zorder=0)
    drawing.legend(figure, "line: median\nshade: range over seeds")
    y = r"weight, mean of $\partial y_T / \partial x_{T-k}$"
    return drawing.caption(figure, next(_weights(records)), "lag k (steps before the last sample)", y)


def state_gradient_by_lag(records: Sequence[Record]) -> Figure:
    """dL/ds_t of each network by lag, and that of the best linear network: a panel for each delay."""
    found = rates(records)
    figure, panels, lines = drawing.multiples(found, panel="when", line="network", across=4, size=(2.7, 2.4))
    for axes, network, look, rows in lines:
        drawing.by_lag(axes, rows["norms"], look, network, relative=True)
    beside = online(frames.frame(records, "optimal", dtype=np.float64))
    for delay, rows in beside.groupby("delay") if "norms" in beside else ():
        look = drawing.CIRCLES | {"markevery": 4, "markersize": 3.5}
        drawing.by_lag(panels[when(delay)], rows["norms"].iloc[:1], look, "best estimate", relative=True)
    drawing.legend(figure, "line: median\nshade: range over seeds")
    return drawing.caption(figure, next(_rates(records)), "lag (steps back from the estimate)", drawing.RELATIVE)


def stretch(records: Sequence[Record]) -> Figure:
    """Positions, samples, a network's estimates and the best ones over a stretch of steps: ahead, at once, and late."""
    network = online(results(records)).groupby("network", sort=False)["excess"].median().idxmin()
    by_delay = online(frames.frame(records, "stretch", dtype=np.float64, network=network))
    delays = sorted({by_delay["delay"].min(), min(by_delay["delay"], key=abs), by_delay["delay"].max()})
    apart: list[float] = []
    figure, panels = drawing.grid(len(delays), 1, size=(8.5, 2.1))
    for axes, delay in zip(panels, delays, strict=True):
        row = by_delay[by_delay["delay"] == delay].iloc[0]
        steps = row["first"] + np.arange(len(row["position"]))
        axes.plot(steps, row["seen"], color=drawing.GREY, linestyle="none", marker=".", markersize=4, label="seen")
        axes.plot(steps, row["position"], color="#56b4e9", linewidth=3, alpha=0.7, label="position")
        axes.plot(steps, row["best"], color="black", linewidth=1.2, linestyle="-", label="best estimate")
        axes.plot(steps, row["said"], color="#d55e00", linewidth=1.2, linestyle="--", label=str(network))
        apart.append(_root_mean_square(row["said"] - row["best"]))
        drawing.head(axes, f"{when(delay)}: {apart[-1]:.2f} and {_root_mean_square(row['best'] - row['position']):.2f}")
    drawing.legend(figure)
    title = (
        f"The estimates of {network} are {frames.span(apart, '.2f')} away from the best ones (first number of a panel; "
        "second: the best ones' distance from the position; root mean squares over this stretch, first seed)"
    )
    return drawing.caption(figure, title, "step of the position", "position (standard deviations)")


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))


def excess_by_step(records: Sequence[Record]) -> Figure:
    """By how much errors are greater than the least one, against the training step: a panel for each delay."""
    found = frames.frame(records, "evaluation", dtype=np.float64).merge(
        results(records)[["run", "least", "when"]], on="run"
    )
    found = online(found.assign(excess=100 * found["distance"] / found["least"]))
    figure, panels = drawing.courses(
        found, "step", "excess", panel="when", line="network", across=4, size=(2.7, 2.4), marker="."
    )
    for axes in panels.values():
        drawing.plain_ticks(axes, (1,))
    drawing.legend(figure, "line: median\nshade: range over seeds")
    last = found.sort_values("step").groupby("run")["excess"].apply(lambda values: values.iloc[-2] / values.iloc[-1])
    falls = frames.median(last, "{:.2f}".format)
    title = (
        f"From the last evaluation but one to the last the error above the least falls by a factor of {falls} (median "
        "and range over networks)"
    )
    return drawing.caption(figure, title, "training step", "error above the least (%)")


FIGURES: drawing.Figures = (
    error_by_delay,
    excess_by_delay,
    weights_by_lag,
    state_gradient_by_lag,
    stretch,
    excess_by_step,
)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/tracking")
