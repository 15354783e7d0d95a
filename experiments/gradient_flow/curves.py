"""Curves of gradient norms, picked out of the records: a row a seed, in reading order, the numbers of its decay beside.

What a curve is of: a cell with an activation, an initialization, a depth and a sequence length, the step at which the
loss was read (``position``) and how many training steps there had been (``step``).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing, frames
from experiments.common.frames import decays, frame, geometric_mean, log10, stacked
from experiments.common.workdir import Record

AXES = ["cell", "activation", "initialization", "depth", "sequence_length", "position", "step"]
"""What tells curves apart, but for seeds."""

USUAL = ("default", "orthogonal")
NORM = r"$\log_{10} \|\partial L / \partial s_t\|$"
RELATIVE = r"$\log_{10} \|\partial L / \partial s_t\| \, / \, \|\partial L / \partial s_T\|$"
TENTH = "lag (steps back from the loss; grey line: a tenth is left)"
LAG = {"last": "lag (steps back from the loss)", "all": "steps back from the end (the loss is at every step)"}
NO_LAG = "With the loss at every step a norm is a sum over lags: it shows no decay with lag (use --config.loss=last)"


def state_norms(records: Sequence[Record], *, layer: int = 1, field: str = "all") -> pd.DataFrame:
    """The gradient of a layer's state, or of one of its fields."""
    return curves(records, "state_gradient", "norms", layer=layer, field=field)


def curves(records: Sequence[Record], kind: str, norms: str, **where: Any) -> pd.DataFrame:
    """The records of a kind that have the curve ``norms``, as ``norms``, its decay, and names for it."""
    found = frame(records, kind, **where)
    if found.empty:
        return found
    if "position" not in found:  # of what speaks of no loss
        found["position"] = found["sequence_length"]
    found["norms"] = found[norms]
    found["network"] = found["cell"].where(found["activation"] == "-", found["cell"] + " " + found["activation"])
    unusual = ~found["initialization"].isin(USUAL)
    found["name"] = found["network"] + (" " + found["initialization"]).where(unusual, "")
    found["layers"] = found["depth"].map(layers)
    found["weights"] = found["step"].map(lambda step: "trained" if step else "initialization")
    found["order"] = found["initialization"].map(initialization_order)
    found = found.join(decays(found["norms"]))
    return found.sort_values(
        ["cell", "activation", "order", "depth", "sequence_length", "position", "step", "seed"], ignore_index=True
    )


def typical(found: pd.DataFrame, *free: str) -> pd.DataFrame:
    """One curve for each network, depth, and value of the free axes.

    It is that of the longest sequence, the loss at its end, the usual initialization, before training.
    """
    ends = found.assign(end=pd.to_numeric(found["position"], errors="coerce").fillna(0))
    preferred = ends.sort_values(
        ["sequence_length", "end", "order", "step"], ascending=[False, False, True, True], kind="stable"
    )
    return found.merge(preferred.drop_duplicates(["network", "depth", *free])[AXES])


def shallowest(found: pd.DataFrame) -> pd.DataFrame:
    """Those of the fewest layers."""
    return found[found["depth"] == found["depth"].min()]


def first_and_last(found: pd.DataFrame) -> pd.DataFrame:
    """Those before training and after all of it."""
    return found[found["step"].isin([0, found["step"].max()])]


def condensed(found: pd.DataFrame, by: str | list[str]) -> pd.DataFrame:
    """By group, the geometric mean over seeds of the curves, and its decay."""
    typical = found.groupby(by, sort=False)["norms"].agg(geometric_mean).to_frame()
    return typical.join(decays(typical["norms"]))


def lags(found: pd.DataFrame, by: str | list[str], lag: str = "tenth_lag") -> pd.Series:
    """By group, the lag of a tenth (or another of ``frames.LAGS``) as words: the range over seeds."""
    return found.groupby(by, sort=False)[lag].agg(frames.lags)


def every_step(found: pd.DataFrame) -> bool:
    """Whether the loss is read at every step: then there is no lag."""
    return bool((found["position"] == "all").any())


def initialization_order(name: str) -> tuple[bool, str, float]:
    """The usual ones first, then by name and number."""
    kind, _, number = name.partition(":")
    return kind not in USUAL, kind, float(number or 0)


# In words


def layers(depth: int) -> str:
    """How many."""
    return "1 layer" if depth == 1 else f"{depth} layers"


def leaders(found: pd.DataFrame, by: str) -> str:
    """Where half of the gradient is gone first, where last, and who has most left farthest from the loss.

    Of the geometric means over seeds.
    """
    typical = condensed(found, by)
    half = typical["half_lag"]
    first, last = (f"{_listed(half.index[half == end])} ({_after(end)})" for end in (half.min(), half.max()))
    shortest = typical["norms"].map(len).min()  # the lags that all have
    logs = stacked(log10(curve[::-1][:shortest]) for curve in typical["norms"])
    logs = np.nan_to_num(logs - drawing.first(logs), nan=-np.inf)
    most = int(np.argmax(logs[:, -1]))
    behind = np.flatnonzero(logs[most] < logs.max(axis=0))
    since = f"from lag {behind[-1] + 1} on" if behind.max(initial=0) > 1 else "at every lag"
    return f"half of the gradient is gone first in {first}, last in {last}; {since} {typical.index[most]} has most left"


def _after(lag: float) -> str:
    return "never" if np.isinf(lag) else f"lag {lag:.0f}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 4 else f"{len(names)} networks"


# The form that recurs


def panels_by_lag(
    found: pd.DataFrame,
    finding: str,
    *,
    panel: str,
    line: str,
    heads: Mapping[Any, str] | None = None,
    name: Callable[[Any], str] = str,
    heading: str = "",
    quantity: str = "",
) -> tuple[Figure, dict[Any, Axes]]:
    """``drawing.multiples`` with labels, legend, titles; where the loss is at every step, no decay is claimed.

    Norms are relative to the last, with a line at a tenth, unless it is said what quantity they are.
    """
    every, relative = every_step(found), not quantity
    figure, by_panel = drawing.multiples(found, "norms", panel=panel, line=line, name=name, relative=relative)
    for value, axes in by_panel.items():
        told = str(value) if heads is None else heads[value]
        drawing.head(axes, told.partition("\n")[0] if every else told)
        if relative and not every:
            axes.axhline(-1, color=drawing.GREY, linewidth=0.8, zorder=0)
    drawing.legend(figure if found[line].nunique() > 5 else next(iter(by_panel.values())), heading)
    drawing.label(figure, TENTH if relative and not every else LAG["all" if every else "last"], quantity or RELATIVE)
    drawing.title(figure, NO_LAG if every else finding)
    return figure, by_panel
