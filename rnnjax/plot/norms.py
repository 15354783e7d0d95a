"""Figures of gradient norms against the lag, and over depth and time."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rnnjax.checks import told
from rnnjax.measure.gradient_flow import GradientFlow
from rnnjax.plot.looks import styles

Curves = Any
"""A ``GradientFlow``, whose state gives a curve for every field, or norms (T,) or (seeds, T)."""


def norms_by_lag(flows: Curves | Mapping[str, Curves], axes: Axes | None = None, *, relative: bool = True) -> Axes:
    """Draw how much of a gradient is left, by lag back from the loss, as a line for each field and layer of the state.

    For several seeds the line is the median, and a shade reaches from the least to the greatest norm. A line ends in a
    cross where the norm becomes 0 or leaves the range of its dtype. The loss is assumed to be at the last step.

    Args:
        flows: a ``GradientFlow``, also one with a leading axis of seeds in every leaf, as ``jax.vmap`` gives; an array
            of norms (T,) or (seeds, T), time forward; or several of them by name.
        axes: the axes to draw into, by default those of a new figure.
        relative: whether to divide by the norm nearest the loss and draw a grey line where a tenth is left.

    Returns:
        The axes, logarithmic in the norm, with labels, and with a legend if there are several lines.

    Raises:
        TypeError: if ``flows`` is none of these.
        ValueError: for an array of another rank, or if there is nothing to draw.
    """
    curves = dict(_named(flows))
    if not curves:
        raise ValueError("flows are empty: expected a GradientFlow, norms (T,), or several of them by name")
    axes = axes or plt.subplots(figsize=(6.4, 4.2), layout="constrained")[1]
    for (name, norms), look in zip(curves.items(), styles(), strict=False):
        _draw_curve(axes, _relative(norms) if relative else norms, look, name)
    if relative:
        axes.axhline(0.1, color="#8a8a8a", linewidth=1, zorder=0)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(f"lag (steps back from the loss{'; grey line: a tenth is left' if relative else ''})")
    axes.set_ylabel("gradient norm relative to the norm at the loss" if relative else "gradient norm")
    axes.spines[["top", "right"]].set_visible(False)
    if len(curves) > 1:
        axes.legend(frameon=False)
    return axes


def norms_by_depth_and_time(flow: GradientFlow, axes: Axes | None = None) -> Axes:
    """Draw log10 of ||dL/ds_t|| of each layer of a stack (rows) at each step (columns).

    The norm of a layer is over all fields of its state together. White is a norm that is 0 or not finite.

    Args:
        flow: of a stack, or of any other cell, which gives a single row.
        axes: the axes to draw into, by default those of a new figure.

    Raises:
        TypeError: if ``flow`` is not a ``GradientFlow``.
        ValueError: if it has an axis of seeds.
    """
    if not isinstance(flow, GradientFlow):
        raise TypeError(f"flow is {told(flow)}: expected a GradientFlow, as rnnjax.gradient_flow returns it")
    layers = flow.state if type(flow.state) is tuple else (flow.state,)
    rows = np.array([_together(layer) for layer in layers])
    if rows.ndim != 2:
        raise ValueError(f"flow has leaves of shape {rows.shape[1:]}: expected (T,), of one seed")
    height = min(6.0, 1.6 + 0.35 * len(rows))
    axes = axes or plt.subplots(figsize=(6.4, height), layout="constrained")[1]
    logs = np.full(rows.shape, np.nan)
    seen = np.isfinite(rows) & (rows > 0)
    logs[seen] = np.log10(rows[seen])
    image = axes.imshow(logs, aspect="auto", origin="lower", cmap="viridis", interpolation="nearest")
    axes.set_yticks(range(len(rows)), [str(number + 1) for number in range(len(rows))])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("time step t (from 0)")
    axes.set_ylabel("layer (1 reads the inputs)" if len(rows) > 1 else "layer")
    axes.figure.colorbar(image, ax=axes, label=r"$\log_{10} \|\partial L / \partial s_t\|$")
    return axes


def _named(flows: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Curves (seeds, T) by name."""
    if isinstance(flows, Mapping):
        for key, value in flows.items():
            yield from _named(value, f"{name} {key}".strip())
    elif isinstance(flows, GradientFlow):
        leaves = jax.tree_util.tree_leaves_with_path(flows.state)
        for path, leaf in leaves:
            field = " ".join(_word(part) for part in path) if len(leaves) > 1 else ""
            yield from _named(leaf, f"{name} {field}".strip())
    elif hasattr(flows, "shape") and hasattr(flows, "dtype"):
        if len(flows.shape) not in (1, 2) or not flows.shape[-1]:
            raise ValueError(f"norms have shape {flows.shape}: expected (T,) or (seeds, T), such as flow.state.hidden")
        yield name or "gradient norm", np.atleast_2d(np.asarray(flows, float))
    else:
        raise TypeError(f"flows are {told(flows)}: expected a GradientFlow, norms (T,), or several of them by name")


def _word(part: Any) -> str:
    return f"layer {part.idx + 1}" if hasattr(part, "idx") else str(getattr(part, "name", getattr(part, "key", part)))


def _relative(norms: np.ndarray) -> np.ndarray:
    """Divide by the nonzero norm nearest the loss; an LSTM's memory has none at the last step itself."""
    seen = np.isfinite(norms) & (norms > 0)
    nearest = norms.shape[1] - 1 - np.argmax(seen[:, ::-1], axis=1)
    first = np.take_along_axis(norms, nearest[:, None], axis=1)
    return np.divide(norms, first, out=np.full(norms.shape, np.nan), where=seen.any(axis=1, keepdims=True))


def _draw_curve(axes: Axes, norms: np.ndarray, look: dict[str, Any], name: str) -> None:
    back = norms[:, ::-1]
    alive = (np.isfinite(back) & (back > 0)).all(axis=0)
    lags = np.flatnonzero(alive)
    if not lags.size:
        axes.plot([], [], **look, label=f"{name} (0 or not finite)")
        return
    low, middle, high = (np.where(alive, reduce(back, axis=0), np.nan) for reduce in (np.min, np.median, np.max))
    if len(back) > 1:
        axes.fill_between(np.arange(len(middle)), low, high, color=look["color"], alpha=0.15, linewidth=0)
    axes.plot(middle, linewidth=1.7, **look, label=name)
    if lags[-1] < len(middle) - 1:
        axes.plot(lags[-1], middle[lags[-1]], marker="x", color=look["color"], markersize=7)


def _together(layer: Any) -> np.ndarray:
    return np.sqrt(sum(np.square(np.asarray(leaf, float)) for leaf in jax.tree.leaves(layer)))
