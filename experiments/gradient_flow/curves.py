"""Curves of gradient norms, picked out of the records: a row a seed, in reading order, the numbers of its decay beside.

What a curve is of: a cell with an activation, an initialization, a depth and a sequence length, the step at which the
loss was read (``position``) and how many training steps there had been (``step``).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing
from experiments.common.frames import decays, frame, median_half_life
from experiments.common.workdir import Record

AXES = ["cell", "activation", "initialization", "depth", "sequence_length", "position", "step"]
"""What tells curves apart, but for seeds."""

USUAL = ("default", "orthogonal")
NORM = r"$\log_{10} \|\partial L / \partial s_t\|$"
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


def half_lives(found: pd.DataFrame, by: str | list[str]) -> pd.Series:
    """Medians over seeds."""
    return found.groupby(by, sort=False)["half_life"].agg(median_half_life)


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


def steps(half_life: float) -> str:
    """A half-life."""
    return "it does not fall" if half_life == float("inf") else f"half-life {number(half_life)} steps"


def number(half_life: float) -> str:
    """With a decimal where that matters."""
    return "∞" if half_life == float("inf") else f"{half_life:.1f}" if half_life < 100 else f"{half_life:.0f}"


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
    quantity: str = f"{NORM}, layer 1",
) -> tuple[Figure, dict[Any, Axes]]:
    """``drawing.multiples`` with labels, legend, titles; where the loss is at every step, no half-life is claimed."""
    every = every_step(found)
    figure, by_panel = drawing.multiples(found, "norms", panel=panel, line=line, name=name)
    for value, axes in by_panel.items():
        told = str(value) if heads is None else heads[value]
        drawing.head(axes, told.partition("\n")[0] if every else told)
    drawing.legend(figure if found[line].nunique() > 5 else next(iter(by_panel.values())), heading)
    drawing.label(figure, LAG["all" if every else "last"], quantity)
    drawing.title(figure, NO_LAG if every else finding)
    return figure, by_panel
