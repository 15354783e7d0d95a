"""Curves of gradient norms from the records: a row for each seed, in reading order, with the numbers of its decay.

A curve belongs to a cell with an activation, an initialization, a depth and a sequence length, to the step at which the
loss was read (``position``), and to the number of training steps before (``step``).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing, frames
from experiments.common.workdir import Record

AXES = ["cell", "activation", "initialization", "depth", "sequence_length", "position", "step"]
"""The fields in which curves differ, apart from seeds."""

USUAL = ("default", "orthogonal")
NO_LAG = "With the loss at every step a norm is a sum over lags: it shows no decay with lag (use --config.loss=last)"


def state_norms(records: Sequence[Record], *, layer: int = 1, field: str = "all") -> pd.DataFrame:
    """The gradient of a layer's state, or of one of its fields."""
    return curves(records, "state_gradient", "norms", layer=layer, field=field)


def curves(records: Sequence[Record], kind: str, norms: str, **where: Any) -> pd.DataFrame:
    """The records of a kind that have the curve ``norms``, its decay, and names for it."""
    found = frames.flows(records, kind, norms, **where)
    if found.empty:
        return found
    if "position" not in found:  # of what speaks of no loss
        found["position"] = found["sequence_length"]
    found["network"] = found["cell"].where(found["activation"] == "-", found["cell"] + " " + found["activation"])
    unusual = ~found["initialization"].isin(USUAL)
    found["name"] = found["network"] + (" " + found["initialization"]).where(unusual, "")
    found["layers"] = found["depth"].map(lambda depth: "1 layer" if depth == 1 else f"{depth} layers")
    found["weights"] = found["step"].map(lambda step: "trained" if step else "initialization")
    found["order"] = found["initialization"].map(initialization_order)
    order = [{"initialization": "order"}.get(axis, axis) for axis in AXES]
    return found.sort_values([*order, "seed"], ignore_index=True)


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


def every_step(found: pd.DataFrame) -> bool:
    """Whether the loss is read at every step: then there is no lag."""
    return bool((found["position"] == "all").any())


def initialization_order(name: str) -> tuple[bool, str, float]:
    """The usual ones first, then by name and number."""
    kind, _, number = name.partition(":")
    return kind not in USUAL, kind, float(number or 0)


def panels_by_lag(
    found: pd.DataFrame, finding: str, *, told: Mapping[Any, str] | pd.Series | None = None, **options: Any
) -> tuple[Figure, dict[Any, Axes]]:
    """``drawing.panels_by_lag``; where the loss is at every step, no decay is claimed."""
    if every_step(found):
        finding, told = NO_LAG, None
        options["lag"] = "steps back from the end (the loss is at every step)"
    return drawing.panels_by_lag(found, finding, told=told, **options)
