"""Figures, table and verdict of the forward_memory experiment, drawn from its metrics.jsonl alone.

``python -m experiments.forward_memory.report --workdir=runs/forward_memory`` draws the figures of a run again.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing, frames
from experiments.common.frames import stacked
from experiments.common.workdir import Record

DOZEN = 12
"""Steps: "typically forgotten in a dozen or so timesteps", says the lecture, "otherwise outputs would saturate or blow
up"."""

_GROWN, _SATURATED = 3.0, 0.1  # what counts as blown up, times the size at step 100, and as saturated, of the units
_EARLY = 100
_RUN = ["cell", "activation", "initialization", "seed"]
_NETWORK = ["family", "setting"]
_MEASURED = {  # column: the records it is of, and their field
    "recall": ("recall", "measured", "r_squared"),
    "capacity": ("recall", "measured", "capacity"),
    "exact recall": ("recall", "exact", "r_squared"),
    "forward": ("derivative", "forward", "norms"),
    "backward": ("derivative", "backward", "norms"),
    "exact forward": ("derivative", "exact", "norms"),
}
_CIRCLES = {"color": "#000000", "marker": "o", "markersize": 4, "markerfacecolor": "none", "linestyle": "none"}
_SPREAD = "lines: medians, shade: range over seeds"


def read(records: Sequence[Record]) -> pd.DataFrame:
    """A row a run, networks in order; NaN where nothing was measured, as the recall of states that overflow."""
    runs = frames.frame(records, "size").set_index(_RUN)
    for column, (kind, of, field) in _MEASURED.items():
        rows = frames.frame(records, kind, of=of).reindex(columns=[*_RUN, field])
        runs[column] = rows.set_index(_RUN)[field]
    runs = runs.reset_index()
    words = {"default": "", "orthogonal:": "radius ", "forget_bias:": "forget bias "}
    runs["setting"] = runs["initialization"].replace(words, regex=True)
    runs["family"] = list(map(_family, runs["cell"], runs["activation"]))
    runs["value"] = pd.to_numeric(runs["setting"].str.split().str[-1]).fillna(0)
    runs["gated"] = runs["cell"] != "elman"
    return runs.sort_values(["gated", "cell", "activation", "value", "seed"], ignore_index=True)


def _family(cell: str, activation: str) -> str:
    if cell == "elman":
        return "linear" if activation == "identity" else activation
    name = cell.upper() if cell in ("gru", "lstm") else cell
    return name if activation == "-" else f"{name} {activation}"


def findings(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a network, medians over seeds.

    ``forward`` and ``backward`` are what a step back multiplies dh_T/dx_t and dL/ds_t by. The former ``fades`` if, by
    the line fitted, it falls to a tenth or less over the lags seen. ``fate`` is what becomes of the outputs.
    """
    forward, backward = (frames.decays(runs[of]) for of in ("forward", "backward"))
    numbers = runs[["activation", *_NETWORK, "capacity", "saturated"]].assign(
        forgotten=runs["recall"].map(forgotten_after, na_action="ignore").astype(float),
        forward=forward["per_step"],
        backward=backward["per_step"],
        vanishes=(forward["verdict"] == "vanishes").astype(float),
        growth=list(map(growth, runs["steps"], runs["sizes"])),
    )
    networks = numbers.groupby(["activation", *_NETWORK], sort=False)
    found = networks.median().assign(fades=networks["vanishes"].mean() > 0.5).reset_index()
    found["name"] = (found["family"] + " " + found["setting"]).str.strip()
    fates = {"blow up": found["growth"] > _GROWN, "saturate": found["saturated"] > _SATURATED}
    found["fate"] = np.select(list(fates.values()), list(fates), "stay as they are")
    return found


def forgotten_after(r_squared: np.ndarray) -> float:
    """Steps until less than half of an input's variance can be read off the state (lags,); inf if that is never so."""
    below = r_squared < 0.5
    return float(np.argmax(below)) if below.any() else np.inf


def growth(steps: np.ndarray, sizes: np.ndarray) -> float:
    """Of outputs from step 100 to the last; their size is NaN from where it overflows."""
    limits, sizes = np.finfo(sizes.dtype), np.nan_to_num(sizes, nan=np.inf)
    early = sizes[np.argmax(steps >= min(_EARLY, steps[-1]))].clip(limits.tiny, limits.max)
    return float(sizes[-1] / early)


def table(records: Sequence[Record]) -> str:
    """Medians over seeds, as a Markdown table."""
    rows = [
        {
            "network": found.family,
            "setting": found.setting,
            "half forgotten after (steps)": _number(found.forgotten, ".0f"),
            "capacity": _number(found.capacity, ".1f"),
            "dh_T/dx_t per step": f"{found.forward:.3f}",
            "dL/ds_t per step": f"{found.backward:.3f}",
            "outputs grow by": "overflow" if np.isinf(found.growth) else f"{found.growth:.3g}",
            "saturated": f"{found.saturated:.0%}",
        }
        for found in findings(read(records)).itertuples()
    ]
    return frames.table(rows, {"network", "setting"})


def verdict(records: Sequence[Record]) -> str:
    """The lecture's words judged: forgotten in a dozen steps, or else saturated or blown up; by what it is ruled."""
    found = findings(read(records))
    lasting = "; ".join(_fates(found[~found["fades"]]))
    alike = found[found["setting"] == "radius 1"]
    factors = ", ".join(alike["family"] + alike["forward"].map(" {:.2f}".format))
    sentences = [
        _soon_forgotten(found),
        f"Where dh_T/dx_t does not fade, outputs {lasting}" if lasting else "",
        f"With all eigenvalues of modulus 1 a step multiplies dh_T/dx_t by {factors}" if len(alike) > 1 else "",
        _gap(found),
    ]
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def _soon_forgotten(found: pd.DataFrame) -> str:
    bounded = found.query("activation != 'identity' and fate != 'blow up'")["forgotten"]
    soon = f"{sum(bounded <= DOZEN)} forget half of an input within {DOZEN} steps (all: {_ends(bounded)})"
    return f"Of {len(bounded)} nonlinear networks that do not blow up, {soon}" if len(bounded) else ""


def _fates(found: pd.DataFrame) -> list[str]:
    shares = found["saturated"].map(" ({:.0%} of units)".format).where(found["fate"] == "saturate", "")
    named = (found["name"] + shares).groupby(found["fate"], sort=False)
    return [f"{fate} in {', '.join(names)}" for fate, names in named]


def _gap(found: pd.DataFrame) -> str:
    gap = (found["forward"] - found["backward"]).abs().max()
    return f"The factors of dL/ds_t differ from those of dh_T/dx_t by at most {gap:.3f}"


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    return (
        f"# How soon does a recurrent network forget its inputs on the way forward?\n\n{verdict(records)}\n\n"
        "Of networks at initialization that hear uniform noise, one number a step; medians over seeds. Half of an "
        "input is forgotten at the first lag at which a linear readout of the state recovers less than half of its "
        "variance, on steps that it was not fitted to; the capacity is the sum of those shares. A step back multiplies "
        "||dh_T/dx_t|| and ||dL/ds_t||, of the typical example, by the factors given; outputs grow by theirs from step "
        "100 to the last. Saturated is the share of units in the most saturated tanh or, where there is none, gate."
        f"\n\n{table(records)}\n"
    )


def recall_by_lag(records: Sequence[Record]) -> Figure | None:
    """A panel for each kind of network: how much of an input a linear readout recovers, against lag."""
    runs = read(records)
    looks, runs = _looks(runs), runs.dropna(subset="recall")
    if runs.empty:
        return None
    found, (figure, panels) = findings(runs), _panels(runs)
    lags = np.arange(len(runs["recall"].iloc[0]))
    for (family, setting), rows in runs.groupby(_NETWORK, sort=False):
        drawing.band(panels[family], lags, stacked(rows["recall"]), looks[setting], setting)
        if rows["exact recall"].notna().any():
            drawing.band(panels[family], lags, stacked(rows["exact recall"]), _CIRCLES | {"markevery": 4}, "theory")
    last = max(np.flatnonzero(curve > 0.02).max(initial=DOZEN) for curve in runs["recall"])
    for family, of_family in found.groupby("family"):
        axes = panels[family]
        axes.axvline(DOZEN, color=drawing.GREY, linewidth=3, alpha=0.4, zorder=0)
        axes.set(xlim=(-1, 1.05 * last), ylim=(-0.1, 1.05))
        drawing.head(axes, f"{family}: half after {_ends(of_family['forgotten'])} steps")
        drawing.legend(axes)
    drawing.label(figure, f"lag (steps); {_SPREAD}; grey: a dozen steps", "R² of reading x at that lag off the state")
    drawing.title(figure, _soon_forgotten(found))
    return figure


def derivative_by_lag(records: Sequence[Record]) -> Figure:
    """A panel for each kind of network: dh_T/dx_t against lag, dL/ds_t beside it, both relative to lag 0."""
    runs = read(records)
    looks, found, (figure, panels) = _looks(runs), findings(runs), _panels(runs)
    factors = found.set_index(_NETWORK)["forward"]
    wide = {"color": "#e69f00", "linewidth": 5, "alpha": 0.4, "zorder": 0}
    for (family, setting), rows in runs.groupby(_NETWORK, sort=False):
        axes, name = panels[family], f"{setting}, {factors[family, setting]:.2f} a step"
        drawing.by_lag(axes, rows["forward"], looks[setting], name, relative=True)
        drawing.by_lag(axes, rows["backward"], _CIRCLES | {"markevery": 10}, relative=True)
        if rows["exact forward"].notna().any():
            drawing.by_lag(axes, rows["exact forward"], wide, relative=True)
        axes.set_ylim(-10, 6)
    for family, axes in panels.items():
        drawing.head(axes, family)
        drawing.legend(axes)
    x = rf"lag T - t (steps); {_SPREAD}; circles: $\|\partial L / \partial s_t\|$; wide: exact, of linear networks"
    drawing.label(figure, x, r"$\log_{10}$ of $\|\partial h_T / \partial x_t\|$, relative to lag 0")
    drawing.title(figure, _gap(found))
    return figure


def size_by_step(records: Sequence[Record]) -> Figure:
    """A panel for each kind of network: the size of its outputs against time."""
    runs = read(records)
    looks, found, (figure, panels) = _looks(runs), findings(runs), _panels(runs)
    fades = found.set_index(_NETWORK)["fades"]
    for (family, setting), rows in runs.groupby(_NETWORK, sort=False):
        name = setting if fades[family, setting] else f"{setting} *"
        drawing.band(panels[family], rows["steps"].iloc[0], np.log10(stacked(rows["sizes"])), looks[setting], name)
    for family, axes in panels.items():
        axes.set(xscale="log", ylim=(-1.5, 5))
        drawing.head(axes, family)
        drawing.legend(axes)
    x = rf"step t; {_SPREAD}; *: $\|\partial h_T / \partial x_t\|$ does not fade"
    drawing.label(figure, x, r"$\log_{10}$ of the root mean square of $h_t$")
    fates = _fates(found[found["fate"] != "stay as they are"])
    drawing.title(figure, f"Outputs {'; '.join(fates) or 'neither blow up nor saturate'}")
    return figure


def _panels(runs: pd.DataFrame) -> tuple[Figure, dict[str, Axes]]:
    """By kind of network, with equal axes."""
    families = runs["family"].unique()
    figure, axes = drawing.panels(len(families), across=3, size=(3.2, 2.6))
    return figure, dict(zip(families, axes, strict=True))


def _looks(runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """By setting: radii have the same ones as forget biases, the least the first."""
    by_word = runs["setting"].groupby(runs["setting"].str.split().str[0].fillna(""), sort=False)
    return {setting: look for _, settings in by_word for setting, look in drawing.looks_of(settings).items()}


def _ends(values: Iterable[float]) -> str:
    return " to ".join(dict.fromkeys(_number(end, ".0f") for end in (min(values), max(values))))


def _number(value: float, form: str) -> str:
    return "-" if np.isnan(value) else "never" if np.isinf(value) else format(value, form)


FIGURES: drawing.Figures = (recall_by_lag, derivative_by_lag, size_by_step)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/forward_memory")
