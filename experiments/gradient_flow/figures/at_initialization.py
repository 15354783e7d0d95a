"""Before training: cells, activations and depths against each other, then one thing varied, all else equal."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import rnnjax
from experiments.common import drawing, frames
from experiments.common.frames import frame, median_logs, span
from experiments.common.workdir import Record
from experiments.gradient_flow import curves as c


def norm_by_lag(records: Sequence[Record]) -> Figure:
    """The shallowest networks at initialization, one line for each cell."""
    chosen = c.shallowest(c.typical(c.state_norms(records)))
    found = f"At initialization {frames.leaders(chosen, 'name')}"
    return c.panels_by_lag(chosen, found, panel="layers", line="name", heading="shade: range over seeds")[0]


def norm_by_activation(records: Sequence[Record]) -> Figure | None:
    """Small multiples: a panel for each activation, a line for each depth."""
    chosen = c.typical(c.state_norms(records))
    chosen = chosen[chosen["activation"] != "-"]
    if chosen.empty:
        return None
    shallow = c.shallowest(chosen)
    found = f"In Elman networks ({shallow['layers'].iloc[0]}, initialization) {frames.leaders(shallow, 'activation')}"
    told = "1/10 at lag " + shallow.groupby("activation")["tenth_lag"].agg(frames.lags)
    return c.panels_by_lag(chosen, found, panel="activation", line="layers", told=told)[0]


def depth_and_time(records: Sequence[Record]) -> Figure | None:
    """Heat maps of the deepest stacks: layer against time."""
    depth = max(record["depth"] for record in records)
    if depth == 1:
        return None
    of_layers = [c.typical(c.state_norms(records, layer=layer)) for layer in range(1, depth + 1)]
    every, found = c.every_step(of_layers[0]), pd.concat([layer[layer["depth"] == depth] for layer in of_layers])
    maps, more = {}, []
    for name, rows in found.groupby("name", sort=False):
        logs = pd.DataFrame({layer: median_logs(seeds) for layer, seeds in rows.groupby("layer")["norms"]}).T
        lowest, highest = (logs.iloc[layer, 0] - logs.iloc[layer, -1] for layer in (0, -1))
        more += [lowest > highest] if np.isfinite([lowest, highest]).all() else []
        changes = f": {_power(lowest)} in layer 1, {_power(highest)} in layer {depth}"
        maps[name if every else name + changes] = logs.rename(columns=lambda place: place + 1)
    figure, panels = drawing.grid(len(maps), 1, size=(6.7, 1.15))
    drawing.maps(figure, panels, maps, drawing.NORM)
    for axes in panels:
        axes.set_yticks([1, depth])
    end = "the loss is at every step" if every else "the loss is at the right end"
    x = f"time step t ({end}; white: below float32's range)"
    told = (
        f"Going back {logs.shape[1] - 1} steps, layer 1 keeps more of its gradient than layer {depth} in {sum(more)} "
        f"of the {len(more)} stacks that stay in float32's range (above each: the norm at the first step as a multiple "
        "of that at the last)"
    )
    return drawing.caption(figure, c.NO_LAG if every else told, x, "layer")


def norm_by_initialization(records: Sequence[Record]) -> Figure | None:
    """A panel for each network, a line for each initialization, and where it exists its mean-field prediction."""
    varied = _varied(records, "initialization")
    if varied.empty:
        return None
    found = f"The initialization alone moves the lag at which a tenth is left {_moved(varied, 'initialization')}"
    lines = varied.sort_values("order", kind="stable")
    told = _ends(varied, "initialization", str)
    figure, by_panel = c.panels_by_lag(lines, found, panel="network", line="initialization", told=told)
    predictions = frame(records, "mean_field", dtype=np.float64)
    if not predictions.empty:
        predicted = varied.merge(predictions[[*c.AXES[:3], "sequence_length", "seed", "factors", "valid_to_lag"]])
        groups = predicted.groupby(["network", "initialization"], sort=False)
        errors = [_draw_prediction(by_panel[network], rows) for (network, _), rows in groups]
        theory = "the slope of ln norm that mean-field theory predicts (circles, to lag √H)"
        off = f"{theory} is off by {span(errors, '.3f')} a step"
        drawing.caption(figure, f"{found}; {off}")
    return figure


def _draw_prediction(axes: Axes, rows: pd.DataFrame) -> float:
    """Draws circles over the lags where theory is valid; returns how far the slopes of ln norm are apart."""
    first = rows.iloc[0]
    logs = np.concatenate([[0], np.cumsum(np.log10(first["factors"][: first["position"]][::-1]) / 2)])
    lags = np.arange(min(first["valid_to_lag"], first["position"] - 1) + 1)
    measured = median_logs(rows["norms"])[::-1][lags]
    axes.plot(lags, logs[lags], **{**drawing.CIRCLES, "linewidth": 0.6, "linestyle": "-"})
    return float(abs(np.log(10) * (measured[-1] - measured[0] - logs[lags[-1]]) / lags[-1]))


def reach_by_drive(records: Sequence[Record]) -> Figure | None:
    """The lags at which a half and a hundredth are left, a panel each, against how hard the inputs drive the units."""
    found = _varied(records, "initialization")
    found = found[found["initialization"].str.startswith("drive:")] if len(found) else found
    if found.empty:
        return None
    found["drive"] = found["initialization"].str.partition(":")[2].astype(float)
    length = found["sequence_length"].iloc[0]
    shares = {"a half is left": 1 / 2, "a hundredth is left": 1 / 100}
    each = pd.concat(found.assign(share=words, lag=_lags(found, share)) for words, share in shares.items())
    figure, by_panel = drawing.courses(each, "drive", "lag", panel="share", line="network", size=(3.4, 3.4))
    predicted = _predicted(found, records)
    for words, axes in by_panel.items():
        axes.set_xscale("log")
        drawing.plain_ticks(axes, (1, 2, 5))
        axes.plot(
            predicted["drive"], _lags(predicted, shares[words]), label="mean-field theory (Elman)", **drawing.CIRCLES
        )
    drawing.legend(figure, "shade: range over seeds")
    half = frames.condensed(found, ["drive", "network"])["half_lag"].unstack()
    ends = {drive: of_drive.sort_values(ascending=False).index for drive, of_drive in half.iloc[[0, -1]].iterrows()}
    orders = [f"{', '.join(networks)} at {drive:g}" for drive, networks in ends.items()]
    told = f"The drive decides who keeps half of the gradient longest. The order is {'; '.join(orders)}"
    x = "drive (standard deviation of what an input adds to a unit)"
    return drawing.caption(figure, told, x, f"lag (steps; {length}: never)")


def _predicted(found: pd.DataFrame, records: Sequence[Record]) -> pd.DataFrame:
    """The curves that mean-field theory predicts, for the networks that it covers, one for all seeds."""
    predictions = frame(records, "mean_field", dtype=np.float64, seed=0).reindex(
        columns=[*c.AXES[:3], "seed", "factors"]
    )
    theory = found.merge(predictions)
    curves = theory["factors"].map(lambda factors: np.sqrt(np.cumprod([1, *factors[:0:-1]]))[::-1])
    return theory.assign(norms=curves)


def _lags(found: pd.DataFrame, share: float) -> list[int]:
    """The lags at which a share of the norm is left; T where that is never."""
    return [rnnjax.first_lag_below(norms, share) or len(norms) for norms in found["norms"]]


def norm_by_length(records: Sequence[Record]) -> Figure | None:
    """A panel for each network, a line for each sequence length; before training all should lie on one curve."""
    varied = _varied(records, "sequence_length")
    if varied.empty:
        return None
    longest = varied["sequence_length"].max()
    of_longest = varied[varied["sequence_length"] == longest].groupby("network")["norms"]
    gone = of_longest.agg(lambda norms: np.isnan(median_logs(norms)[0]))
    found = (
        f"The sequence length moves the lag at which a tenth is left {_moved(varied, 'sequence_length')}; "
        f"{longest - 1:,} steps back {gone.sum()} of {len(gone)} gradients are out of float32's range"
    )
    name = "T = {:,}".format
    told = _ends(varied, "sequence_length", name)
    return c.panels_by_lag(varied, found, panel="network", line="sequence_length", told=told, name=name)[0]


def norm_by_position(records: Sequence[Record]) -> Figure | None:
    """A panel for each network, a line for each step that the loss is read at; against lag they should coincide."""
    varied = _varied(records, "position")
    if varied.empty:
        return None
    spreads = pd.Series({network: _spread(rows) for network, rows in varied.groupby("network", sort=False)})
    found = (
        f"Whichever step the loss is read at, norms at equal lag differ by a factor of {span(spreads, '.2f')} only "
        "(at initialization; the largest over the smallest, median over lags)"
    )
    told = spreads.map("factor {:.2f}".format)
    positions = {"panel": "network", "line": "position", "heading": "loss read", "quantity": f"{drawing.NORM}, layer 1"}
    return c.panels_by_lag(varied, found, **positions, told=told, name="at step {}".format)[0]


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
    by_position = of_network.groupby("position")["norms"]
    logs = [median_logs(norms.map(lambda curve: curve[-lags:])) for _, norms in by_position]
    return float(10 ** np.nanmedian(np.ptp(logs, axis=0)))


def _ends(varied: pd.DataFrame, axis: str, name: Callable[[Any], str]) -> dict[str, str]:
    """By network, the lags at which a tenth is left, as "1/10 at lag 3 (gain:0.9) to never (gain:1.5)"."""
    told = {}
    for network, lags in frames.condensed(varied, ["network", axis])["tenth_lag"].groupby("network", sort=False):
        ends = dict.fromkeys((lags.idxmin(), lags.idxmax()))
        told[network] = "1/10 at lag " + " to ".join(f"{frames.lags([lags[end]])} ({name(end[1])})" for end in ends)
    return told


def _moved(varied: pd.DataFrame, axis: str) -> str:
    """By what factors the largest lag at which a tenth is left exceeds the smallest, and where it is never reached."""
    ends = frames.condensed(varied, ["network", axis])["tenth_lag"].groupby("network").agg(["min", "max"])
    both = ends[np.isfinite(ends["max"])]
    never = len(ends) - len(both)
    factors = f"by a factor of {span(both['max'] / both['min'], '.1f')}" if len(both) else ""
    without = f"beyond the first step in {never} of {len(ends)} networks" if never else ""
    return " and ".join(filter(None, [factors, without]))


def _power(change: float) -> str:
    return f"$10^{{{change:+.1f}}}$" if np.isfinite(change) else "out of range"
