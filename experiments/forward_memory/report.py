"""Figures, table and verdict of the forward_memory experiment, drawn from its metrics.jsonl alone.

``python -m experiments.forward_memory.report --workdir=runs/forward_memory`` draws the figures of a run again.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing, frames
from experiments.common.frames import log10
from experiments.common.workdir import Record
from rnnjax import decay

DOZEN = 12
"""Steps: "typically forgotten in a dozen or so timesteps", says the lecture, "otherwise outputs would saturate or blow
up"."""

_GROWN, _SATURATED = 3.0, 0.1  # what counts as blown up, times the size at step 100, and as saturated, of the units
_EARLY = 100


class Network(NamedTuple):
    """All seeds of it."""

    cell: str
    activation: str
    initialization: str

    @property
    def family(self) -> str:
        if self.cell == "elman":
            return "linear" if self.activation == "identity" else self.activation
        name = self.cell.upper() if self.cell in ("gru", "lstm") else self.cell
        return name if self.activation == "-" else f"{name} {self.activation}"

    @property
    def setting(self) -> str:
        kind, _, number = self.initialization.partition(":")
        words = {"orthogonal": "radius", "forget_bias": "forget bias", "default": ""}
        return f"{words[kind]} {number}".strip()

    @property
    def name(self) -> str:
        return f"{self.family} {self.setting}".strip()


Curves = dict[Network, np.ndarray]
"""Arrays (seeds, ...), as the networks were planned."""


def read(records: Iterable[Record], kind: str, field: str, of: str | None = None) -> Curves:
    """A field of the records of a kind; what was not finite, and is null, is NaN."""
    found: dict[Network, dict[int, np.ndarray]] = {}
    for record in records:
        if record["kind"] == kind and record.get("of") == of:
            network = Network(*(record[name] for name in Network._fields))
            with np.errstate(over="ignore"):
                found.setdefault(network, {})[record["seed"]] = np.array(record[field], np.float32)
    networks = sorted(found, key=lambda n: (n.cell != "elman", *n[:2], float(n.initialization.partition(":")[2] or 0)))
    return {network: np.array([found[network][seed] for seed in sorted(found[network])]) for network in networks}


def forgotten_after(r_squared: np.ndarray) -> float:
    """Steps until less than half of an input's variance can be read off the state (lags,); inf if that is never so."""
    below = r_squared < 0.5
    return float(np.argmax(below)) if below.any() else np.inf


class Finding(NamedTuple):
    """Of a network, medians over seeds; NaN where its states overflow, so that nothing can be read off them."""

    forgotten_after: float
    capacity: float
    forward: float  # what a step back multiplies dh_T/dx_t by
    backward: float  # and dL/ds_t
    fades: bool  # dh_T/dx_t, by the line fitted, to a tenth or less over the lags seen
    growth: float  # of the outputs' size, from step 100 to the last; inf where it overflows
    saturated: float

    @property
    def fate(self) -> str:
        """What becomes of the outputs."""
        if self.growth > _GROWN:
            return "blow up"
        return "saturate" if self.saturated > _SATURATED else "stay as they are"


def findings(records: Sequence[Record]) -> dict[Network, Finding]:
    """Of every network."""
    recall, capacity = (read(records, "recall", field, "measured") for field in ("r_squared", "capacity"))
    forward, backward = (
        {network: [decay(np.nan_to_num(norms)) for norms in of_seeds] for network, of_seeds in curves.items()}
        for curves in (read(records, "derivative", "norms", of) for of in ("forward", "backward"))
    )
    saturated = read(records, "size", "saturated")
    found = {}
    for network, (steps, sizes) in size_curves(records).items():
        limits = np.finfo(sizes.dtype)
        early = sizes[:, np.argmax(steps >= min(_EARLY, steps[-1]))].clip(limits.tiny, limits.max)
        forgotten = [forgotten_after(of_seed) for of_seed in recall.get(network, [])]
        found[network] = Finding(
            forgotten_after=float(np.median(forgotten or np.nan)),
            capacity=float(np.median(capacity.get(network, np.nan))),
            forward=float(np.median([fit.per_step for fit in forward[network]])),
            backward=float(np.median([fit.per_step for fit in backward[network]])),
            fades=float(np.mean([fit.verdict == "vanishes" for fit in forward[network]])) > 0.5,
            growth=float(np.median(sizes[:, -1] / early)),
            saturated=float(np.median(saturated[network])),
        )
    return found


def size_curves(records: Sequence[Record]) -> dict[Network, tuple[np.ndarray, np.ndarray]]:
    """Steps (N,), and the size of the outputs there (seeds, N), inf from where it overflows."""
    steps = read(records, "size", "steps")
    sizes = read(records, "size", "sizes")
    return {network: (steps[network][0], np.nan_to_num(array, nan=np.inf)) for network, array in sizes.items()}


def table(records: Sequence[Record]) -> str:
    """Medians over seeds, as a Markdown table."""
    rows = []
    for network, found in findings(records).items():
        rows.append(
            {
                "network": network.family,
                "setting": network.setting,
                "half forgotten after (steps)": _number(found.forgotten_after, ".0f"),
                "capacity": _number(found.capacity, ".1f"),
                "dh_T/dx_t per step": f"{found.forward:.3f}",
                "dL/ds_t per step": f"{found.backward:.3f}",
                "outputs grow by": "overflow" if np.isinf(found.growth) else f"{found.growth:.3g}",
                "saturated": f"{found.saturated:.0%}",
            }
        )
    return frames.table(rows, {"network", "setting"})


def verdict(records: Sequence[Record]) -> str:
    """The lecture's words judged: forgotten in a dozen steps, or else saturated or blown up; by what it is ruled."""
    found = findings(records)
    bounded = [f for network, f in found.items() if network.activation != "identity" and f.fate != "blow up"]
    soon = sum(f.forgotten_after <= DOZEN for f in bounded)
    sentences = []
    if bounded:
        ends = " to ".join(_number(end(f.forgotten_after for f in bounded), ".0f") for end in (min, max))
        sentences.append(
            f"Of {len(bounded)} nonlinear networks that do not blow up, {soon} forget half of an input within {DOZEN} "
            f"steps (all: {ends})"
        )
    fates: dict[str, list[str]] = {}
    for network, f in found.items():
        if not f.fades:
            share = f" ({f.saturated:.0%} of units)" if f.fate == "saturate" else ""
            fates.setdefault(f.fate, []).append(network.name + share)
    if fates:
        told = "; ".join(f"{fate} in {', '.join(names)}" for fate, names in fates.items())
        sentences.append(f"Where dh_T/dx_t does not fade, outputs {told}")
    by_activation = {n.family: f.forward for n, f in found.items() if n.setting == "radius 1"}
    if len(by_activation) > 1:
        factors = ", ".join(f"{family} {factor:.2f}" for family, factor in by_activation.items())
        sentences.append(f"With all eigenvalues of modulus 1 a step multiplies dh_T/dx_t by {factors}")
    gap = np.nanmax([abs(f.forward - f.backward) for f in found.values()])
    sentences.append(f"The factors of dL/ds_t differ from those of dh_T/dx_t by at most {gap:.3f}")
    return ". ".join(sentences) + "."


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
    measured, exact = (read(records, "recall", "r_squared", of) for of in ("measured", "exact"))
    if not measured:
        return None
    figure, panels = _panels(measured)
    for network, curves in measured.items():
        _range(panels[network.family], np.arange(curves.shape[1]), curves, _looks(measured, network))
    for network, curves in exact.items():
        _dots(panels[network.family], np.median(curves, axis=0), 4, "theory")
    last = max(np.flatnonzero((curves > 0.02).any(axis=0)).max(initial=DOZEN) for curves in measured.values())
    for family, axes in panels.items():
        axes.axvline(DOZEN, color="#8a8a8a", linewidth=3, alpha=0.4, zorder=0)
        axes.set(xlim=(-1, 1.05 * last), ylim=(-0.1, 1.05))
        soonest = [f.forgotten_after for n, f in findings(records).items() if n.family == family and n in measured]
        ends = " to ".join(dict.fromkeys(_number(end, ".0f") for end in (min(soonest), max(soonest))))
        axes.set_title(f"{family}: half after {ends} steps", loc="left", fontsize=10)
        axes.legend(frameon=False, fontsize=8)
    figure.supylabel("R² of reading x at that lag off the state", fontsize=10)
    figure.supxlabel("lag (steps); lines: medians, shade: range over seeds; grey: a dozen steps", fontsize=10)
    figure.suptitle(verdict(records).split(". ")[0], x=0.01, ha="left", fontsize=11)
    return figure


def derivative_by_lag(records: Sequence[Record]) -> Figure:
    """A panel for each kind of network: dh_T/dx_t against lag, dL/ds_t beside it, both relative to lag 0."""
    forward, backward, exact = (read(records, "derivative", "norms", of) for of in ("forward", "backward", "exact"))
    figure, panels = _panels(forward)
    found = findings(records)
    for network, curves in forward.items():
        looks = _looks(forward, network)
        looks["label"] += f", {found[network].forward:.2f} a step"
        _range(panels[network.family], np.arange(curves.shape[1]), _relative(curves), looks)
        if network in exact:
            (theory,) = _relative(exact[network])[:1]
            panels[network.family].plot(theory, color="#e69f00", linewidth=5, alpha=0.4, zorder=0)
    for network, curves in backward.items():
        _dots(panels[network.family], np.median(_relative(curves), axis=0), 10, r"$\partial L/\partial s_t$")
    for family, axes in panels.items():
        axes.set_ylim(-10, 6)
        theory = " (wide: exact)" if any(network.family == family for network in exact) else ""
        axes.set_title(f"{family}{theory}", loc="left", fontsize=10)
        axes.legend(frameon=False, fontsize=8)
    figure.supylabel(r"$\log_{10}$ of $\|\partial h_T / \partial x_t\|$, relative to lag 0", fontsize=10)
    figure.supxlabel("lag T - t (steps); lines: medians, shade: range over seeds", fontsize=10)
    figure.suptitle(verdict(records).split(". ")[-1], x=0.01, ha="left", fontsize=11)
    return figure


def size_by_step(records: Sequence[Record]) -> Figure:
    """A panel for each kind of network: the size of its outputs against time."""
    curves = size_curves(records)
    figure, panels = _panels(curves)
    for network, (steps, sizes) in curves.items():
        _range(panels[network.family], steps, np.log10(sizes), _looks(curves, network))
    for family, axes in panels.items():
        axes.set(xscale="log", ylim=(-1.5, 5))
        axes.set_title(family, loc="left", fontsize=10)
        axes.legend(frameon=False, fontsize=8)
    figure.supylabel(r"$\log_{10}$ of the root mean square of $h_t$", fontsize=10)
    figure.supxlabel("step t; lines: medians, shade: range over seeds", fontsize=10)
    found = findings(records)
    blown = [network.name for network, f in found.items() if f.fate == "blow up"]
    lasting = [network.name for network, f in found.items() if not f.fades]
    text = (
        f"Outputs blow up in: {'; '.join(blown) or 'none'}\ndh_T/dx_t does not fade in: {'; '.join(lasting) or 'none'}"
    )
    figure.suptitle(text, x=0.01, ha="left", fontsize=11)
    return figure


def _panels(networks: Iterable[Network]) -> tuple[Figure, dict[str, Axes]]:
    """By kind of network, with equal axes."""
    families = list(dict.fromkeys(network.family for network in networks))
    across = min(len(families), 3)
    down = -(-len(families) // across)
    size = (max(3.2 * across, 8), 0.8 + 2.5 * down)
    figure, grid = plt.subplots(
        down, across, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for axes in grid.flat[len(families) :]:
        axes.set_visible(False)
    return figure, dict(zip(families, grid.flat, strict=False))


def _looks(networks: Iterable[Network], network: Network) -> dict[str, Any]:
    """Of a line among those of its kind."""
    kin = [other for other in networks if other.family == network.family]
    return {"label": network.setting, **dict(zip(kin, drawing.styles(), strict=False))[network]}


def _range(axes: Axes, x: np.ndarray, curves: np.ndarray, looks: dict[str, Any]) -> None:
    """The median of curves (seeds, N), shaded from the least to the greatest, as far as all are finite."""
    alive = np.isfinite(curves).all(axis=0)
    x, curves = x[alive], curves[:, alive]
    axes.fill_between(x, curves.min(axis=0), curves.max(axis=0), color=looks["color"], alpha=0.15, linewidth=0)
    axes.plot(x, np.median(curves, axis=0), **looks, linewidth=1.6)


def _dots(axes: Axes, curve: np.ndarray, every: int, label: str) -> None:
    """Of a curve by lag; in the legend once."""
    known = axes.get_legend_handles_labels()[1]
    looks: dict[str, Any] = {
        "marker": "o",
        "markersize": 4,
        "markerfacecolor": "none",
        "color": "#000000",
        "linestyle": "none",
    }
    axes.plot(np.arange(len(curve))[::every], curve[::every], **looks, label=None if label in known else label)


def _relative(norms: np.ndarray) -> np.ndarray:
    """log10 of norms (seeds, lags), time forward, by lag and relative to lag 0; NaN where one has underflowed."""
    logs = log10(norms)[:, ::-1]
    return logs - logs[:, :1]


def _number(value: float, form: str) -> str:
    return "-" if np.isnan(value) else "never" if np.isinf(value) else format(value, form)


FIGURES: drawing.Figures = {
    "recall_by_lag": recall_by_lag,
    "derivative_by_lag": derivative_by_lag,
    "size_by_step": size_by_step,
}
"""By the names of their files."""


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/forward_memory")
