"""How the experiments' figures look: the forms that recur, and how they are saved and drawn again.

Lines can be distinguished without colour, too: by lightness, dashes and markers.
"""

import itertools
import math
import re
import sys
import textwrap
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from absl import flags

from experiments.common import command, page
from experiments.common.frames import log10, relative_to_first, stacked
from experiments.common.workdir import FIGURES, Record, Workdir, read_records, read_run, write_whole
from rnnjax.plot.looks import COLOURS as COLOURS
from rnnjax.plot.looks import DASHES as DASHES
from rnnjax.plot.looks import styles as styles

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

Figures = Sequence[Callable[[Sequence[Record]], Figure | None]]
"""Functions of a run's records, each named like its file; they return None where the records have nothing to show."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#8a8a8a"

CIRCLES: dict[str, Any] = {
    "color": "black",
    "linestyle": "none",
    "marker": "o",
    "markersize": 4,
    "markerfacecolor": "none",
}
"""The looks of points that show a prediction, or something else to compare lines with."""

NORM = r"$\log_{10} \|\partial L / \partial s_t\|$"
RELATIVE = r"$\log_{10} \|\partial L / \partial s_t\| \, / \, \|\partial L / \partial s_T\|$"
TENTH = "lag (steps back from the loss; grey line: a tenth is left)"

_CHARACTERS = 13.0  # characters of 10 points that fit into an inch


# A run's figures


def draw(figures: Figures, records: Sequence[Record], folder: Path) -> list[Path]:
    """Draws all figures that the records have data for, each as PNG and SVG; returns the PNGs.

    For a run that diverged it draws those that can be drawn, and prints which ones cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "rnnjax"}):
        for make in figures:
            try:
                figure = make(records)
                if figure is None:
                    continue
                used = lay_out(figure)
                for suffix in ("png", "svg"):
                    figure.savefig(folder / f"{make.__name__}.{suffix}", dpi=figure.dpi, bbox_inches=used)
            except (ArithmeticError, LookupError, ValueError) as error:
                if not any(_lacks_numbers(record) for record in records):
                    raise
                print(f"{make.__name__} is not drawn: some numbers are not finite ({error})", file=sys.stderr)
                continue
            finally:
                plt.close("all")
            paths.append(folder / f"{make.__name__}.png")
    return paths


def lay_out(figure: Figure) -> Bbox:
    """Gives everything its place, once for all files, and returns what part of the figure is used, in inches."""
    figure.set_dpi(150)
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    return figure.get_tightbbox().padded(mpl.rcParams["savefig.pad_inches"])


def _lacks_numbers(value: Any) -> bool:
    """Whether a record holds a null, which stands for a number that is not finite, as in a run that diverged."""
    if isinstance(value, dict | list):
        return any(map(_lacks_numbers, value.values() if isinstance(value, dict) else value))
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def finish(workdir: Workdir, figures: Figures, records: Sequence[Record], summary: str, found: str) -> None:
    """Leaves figures and pages in the workdir, and prints what was found and where everything is."""
    paths = draw(figures, records, workdir.path / "figures")
    workdir.stop_clock()
    workdir.finish(summary, paths, page.of_run(summary, paths, read_run(workdir.path), records))
    places = [f"{name}: {workdir.path / file}" for name, file in (("page", "report.html"), ("summary", "summary.md"))]
    print("\n".join(["", found, "", *places, f"figures: {', '.join(map(str, paths))}"]))


def draw_again(figures: Figures, workdir: str) -> None:
    """The command of a report, ``python -m experiments.NAME.report``: draws the figures of the run in --workdir again.

    Without the flag it takes ``workdir``.
    """
    chosen = flags.DEFINE_string("workdir", workdir, "Folder of a run.")

    def main() -> None:
        workdir, records = Path(chosen.value), read_records(chosen.value)
        paths = draw(figures, records, workdir / "figures")
        summary = workdir / "summary.md"
        if summary.exists():
            words, _, _ = summary.read_text(encoding="utf-8").partition(FIGURES)
            paths.append(write_whole(workdir / "report.html", page.of_run(words, paths, read_run(workdir), records)))
        for path in paths:
            print(path)

    command.run(main)


# Panels


def panels(
    count: int,
    *,
    across: int = 5,
    size: tuple[float, float] = (2.4, 3.1),
    share: tuple[str | bool, str | bool] = (True, True),
) -> tuple[Figure, list[Axes]]:
    """Small multiples with equal axes: at most ``across`` in a row, each of a size in inches."""
    columns = -(-count // -(-count // across))
    return grid(-(-count // columns), columns, count, size=size, share=share)


def grid(
    rows: int,
    columns: int,
    count: int | None = None,
    *,
    size: tuple[float, float],
    share: tuple[str | bool, str | bool] = (True, True),
) -> tuple[Figure, list[Axes]]:
    """The first ``count`` panels of a grid, in reading order; ``share`` is matplotlib's ``sharex`` and ``sharey``."""
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(size[0] * columns + 0.8, 7.0), size[1] * rows + 0.7),
        sharex=share[0],
        sharey=share[1],
        squeeze=False,
        layout="constrained",
    )
    count = rows * columns if count is None else count
    for place, each in enumerate(axes.flat):
        each.set_visible(place < count)
        each.xaxis.set_major_locator(MaxNLocator(4 if size[0] < 3.5 else 7, integer=True, steps=[1, 2, 5, 10]))
        if place < count <= place + columns:
            each.tick_params(labelbottom=True)
    return figure, list(axes.flat[:count])


def head(axes: Axes, text: str) -> None:
    """Sets the title of a panel, in as many lines as it needs there."""
    figure = axes.get_figure(root=True)
    place = axes.get_subplotspec()
    if figure is None or place is None:
        raise ValueError("the axes belong to no grid: expected those of panels() or grid()")
    width = figure.get_figwidth() / place.get_gridspec().ncols
    size = 10 if width > 2 else 9
    axes.set_title(_filled(text, 0.85 * width * _CHARACTERS * 10 / size), loc="left", fontsize=size)


def caption(figure: Figure, finding: str, x: str = "", y: str = "") -> Figure:
    """Writes what was found above the figure, within its width, and labels the axes of all panels."""
    figure.suptitle(_filled(finding, figure.get_figwidth() * _CHARACTERS * 10 / 11), x=0.01, ha="left", fontsize=11)
    if x:
        figure.supxlabel(_filled(x, figure.get_figwidth() * _CHARACTERS), fontsize=10)
    if y:
        figure.supylabel(_filled(y, 0.8 * figure.get_figheight() * _CHARACTERS), fontsize=10)  # the title is above it
    return figure


def legend(where: Axes | Figure, heading: str = "", **options: Any) -> None:
    """A legend in axes, ordered as their lines end, or at the right of a figure, ordered as in its fullest panel."""
    options = {"frameon": False, "fontsize": 9, "title_fontsize": 9, "alignment": "left", **options}
    found: dict[str, Any] = {}
    panels = [axes for axes in (where.axes if isinstance(where, Figure) else [where]) if axes.get_visible()]
    for lines in sorted((axes.get_legend_handles_labels() for axes in panels), key=lambda lines: -len(set(lines[1]))):
        for handle, text in zip(*lines, strict=True):
            found.setdefault(text, handle)
    if isinstance(where, Figure):
        where.legend(found.values(), found.keys(), title=heading, loc="outside right center", **options)
        return
    ordered = sorted(found, key=lambda text: _end(found[text]), reverse=True)
    where.legend([found[text] for text in ordered], ordered, title=heading, **options)


def _end(line: Any) -> tuple[float, float]:
    """The last finite point (x, y) of a line, by which a legend is ordered: lines that end early come last."""
    x, y = (np.asarray(values, float) for values in line.get_data())
    seen = np.isfinite(y)
    return (float(x[seen][-1]), float(y[seen][-1])) if seen.any() else (-np.inf, -np.inf)


def power_of_ten(exponent: float) -> str:
    """A power of ten in a title, by its exponent, which is -inf for a norm that has underflowed."""
    return "0 in float32" if np.isinf(exponent) else f"$10^{{{exponent:+z.1f}}}$"


def plain_ticks(axes: Axes, digits: Sequence[float] = (1, 3)) -> None:
    """Makes the y axis logarithmic, with labels without powers at those digits of each decade."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=digits))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _filled(text: str, width: float) -> str:
    """The text in lines of at most ``width`` characters; formulae stay whole, and count as what is seen of them.

    A number stays on one line with its sign of percent.
    """
    formulae = iter(re.findall(r"\$.*?\$", text))
    held = re.sub(r"\$.*?\$", lambda formula: "\1".ljust(_seen(formula.group()), "\2"), text)
    held = re.sub(r"(?<=\d) (?=%)", "\3", held)
    lines = (textwrap.wrap(line, max(int(width), 12), break_long_words=False) for line in held.splitlines())
    filled = "\n".join(line for wrapped in lines for line in wrapped).replace("\3", " ")
    return re.sub("\1\2*", lambda _: next(formulae), filled)


def _seen(formula: str) -> int:
    """About how many characters wide a formula is."""
    return len(re.sub(r"[${}^_\s]", "", re.sub(r"\\([A-Za-z]+|\W)", "x", formula)))


# Lines


def looks_of(names: Iterable[Hashable]) -> dict[Any, dict[str, Any]]:
    """The colour and dashes of each name, which are the same in all panels."""
    return dict(zip(dict.fromkeys(names), styles(), strict=False))


def markers_of(names: Iterable[Hashable]) -> dict[Any, str]:
    """A marker for each name."""
    return dict(zip(dict.fromkeys(names), itertools.cycle(MARKERS), strict=False))


def band(axes: Axes, x: np.ndarray, curves: np.ndarray, look: dict[str, Any], label: str | None = None) -> None:
    """Draws the median of curves (seeds, N), shaded from the least to the greatest, where all of them are finite."""
    alive = np.isfinite(curves).all(axis=0) & (len(curves) > 0)
    low, middle, high = (np.full(len(x), np.nan) for _ in range(3))
    low[alive], high[alive] = curves[:, alive].min(axis=0), curves[:, alive].max(axis=0)
    middle[alive] = np.median(curves[:, alive], axis=0)
    axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axes.plot(x, middle, **{"linewidth": 1.7, **look}, label=label)


def by_lag(
    axes: Axes,
    norms: Iterable[np.ndarray],
    look: dict[str, Any],
    label: str | None = None,
    *,
    relative: bool = False,
) -> None:
    """Draws log10 of norms (T,) of several seeds, time forward, against lag: a band, with a cross where it ends early.

    A line ends where norms underflow or overflow. With ``relative`` each seed's curve begins at 0: its first number,
    mostly that of lag 0, is subtracted from all.
    """
    values = stacked(norms)
    logs = log10(values)[:, ::-1]
    logs = relative_to_first(logs) if relative else logs
    band(axes, np.arange(logs.shape[1]), logs, look, label)
    alive = ~np.isnan(logs).any(axis=0)
    last = int(np.flatnonzero(alive)[-1]) if alive.any() else -1
    if 0 <= last < logs.shape[1] - 1:
        height = np.median(logs[:, last])
        axes.plot(last, height, marker="x", color=look["color"], markersize=7)
        word = "underflows" if np.isfinite(values).all() else "overflows"
        if word not in [text.get_text() for text in axes.texts]:
            right = last < 0.4 * max(axes.get_xlim()[1], logs.shape[1])  # a line that ends later leaves room below it
            place, side = ((6, 4), "left") if right else ((-7, -4), "right")
            axes.annotate(word, (last, height), place, textcoords="offset points", fontsize=8, ha=side)


def multiples(
    frame: pd.DataFrame, *, panel: str, line: str, **options: Any
) -> tuple[Figure, dict[Any, Axes], Iterator[tuple[Axes, Any, dict[str, Any], pd.DataFrame]]]:
    """Small multiples: a panel for each value of a column, under its name, and a line for each value of another.

    Args:
        frame: one row for each seed, in the order in which panels and lines are to come.
        panel: the column whose values are panels.
        line: the column whose values are lines, with the same looks in all panels.
        **options: options of ``panels``.

    Returns:
        The figure, its panels, and for every line its panel, its value, its looks and its rows.
    """
    figure, axes = panels(frame[panel].nunique(), **options)
    looks = looks_of(frame[line])
    by_panel = dict(zip(frame[panel].unique(), axes, strict=True))
    for value, each in by_panel.items():
        head(each, str(value))
    groups = frame.groupby([panel, line], sort=False, observed=True)
    return figure, by_panel, ((by_panel[place], name, looks[name], rows) for (place, name), rows in groups)


def panels_by_lag(
    frame: pd.DataFrame,
    finding: str,
    *,
    panel: str,
    line: str,
    name: Callable[[Any], str] = str,
    told: Mapping[Any, str] | pd.Series | None = None,
    heading: str = "",
    quantity: str = "",
    lag: str = "",
    **options: Any,
) -> tuple[Figure, dict[Any, Axes]]:
    """``multiples`` of norms by lag, with their titles, labels and legend.

    Args:
        frame: as for ``multiples``; its column ``norms`` has the curves, time forward.
        finding: the figure's title.
        panel: the column whose values are panels.
        line: the column whose values are lines.
        name: a line's value in words.
        told: what stands below a panel's own name.
        heading: the heading of the legend.
        quantity: a label for norms as they are; without it they are relative to the norm at the loss.
        lag: a label for lags; with it, or with a quantity, no line is drawn at a tenth.
        **options: options of ``panels``.
    """
    figure, by_panel, lines = multiples(frame, panel=panel, line=line, **options)
    longest = max(frame["norms"].map(len).max() - 1, 1)
    for axes in by_panel.values():
        axes.set_xlim(-0.05 * longest, 1.05 * longest)
    for axes, value, look, rows in lines:
        by_lag(axes, rows["norms"], look, name(value), relative=not quantity)
    for value, axes in by_panel.items():
        if told is not None:
            head(axes, f"{value}\n{told[value]}")
        if not (quantity or lag):
            axes.axhline(-1, color=GREY, linewidth=0.8, zorder=0)
    first = next(iter(by_panel.values()))
    few = len(set(first.get_legend_handles_labels()[1])) == frame[line].nunique() <= 5
    legend(first if few else figure, heading)
    x = lag or ("lag (steps back from the loss)" if quantity else TENTH)
    return caption(figure, finding, x, quantity or RELATIVE), by_panel


def courses(
    frame: pd.DataFrame, x: str, y: str, *, panel: str, line: str, marker: str = "", **options: Any
) -> tuple[Figure, dict[Any, Axes]]:
    """``multiples`` of one number against another; each row has a seed's value at one x."""
    figure, by_panel, lines = multiples(frame, panel=panel, line=line, **options)
    for axes, name, look, rows in lines:
        table = rows.pivot_table(index="seed", columns=x, values=y, dropna=False)
        band(axes, table.columns.to_numpy(), table.to_numpy(), look | {"marker": marker}, str(name))
    return figure, by_panel


# Maps


def maps(figure: Figure, axes: Sequence[Axes], values: Mapping[str, pd.DataFrame], label: str) -> None:
    """Draws maps of log norms, one in each axes, with the index upwards and columns to the right, in one colour scale.

    The colour scale is the square root of the distance from the largest value: finest there, with nothing cut off.
    Where norms overflow there is no colour.
    """
    logs = np.concatenate([each.to_numpy().ravel() for each in values.values()])
    seen = logs[np.isfinite(logs)]
    lowest, highest = (seen.min(), seen.max()) if len(seen) else (-1.0, 0.0)

    def root(values: np.ndarray) -> np.ndarray:
        return -np.sqrt(np.maximum(highest - np.asarray(values), 0))

    def square(roots: np.ndarray) -> np.ndarray:
        return highest - np.asarray(roots) ** 2

    norm = FuncNorm((root, square), lowest, highest)
    for each, (name, frame) in zip(axes, values.items(), strict=True):
        x, y = (_edges(places.to_numpy(float)) for places in (frame.columns, frame.index))
        image = each.pcolormesh(x, y, frame.to_numpy(), norm=norm, rasterized=True)
        each.yaxis.set_major_locator(MaxNLocator(integer=True))
        head(each, name)
    figure.colorbar(image, ax=list(axes), label=label)


def confusion(axes: Axes, names: Sequence[str], counts: np.ndarray) -> None:
    """Draws counts (true, predicted) of classes, true ones downwards; dark means a large share of the true class."""
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
    for true, said in zip(*np.nonzero(counts), strict=True):
        light = "white" if shares[true, said] > 0.5 else "black"
        axes.text(said, true, str(counts[true, said]), ha="center", va="center", fontsize=7, color=light)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)


def _edges(places: np.ndarray) -> np.ndarray:
    """The edges of fields around those places: half-way to the next, and as far beyond the ends."""
    gaps = np.diff(places) if len(places) > 1 else np.ones(1)
    return np.concatenate([[places[0] - gaps[0] / 2], places[:-1] + np.diff(places) / 2, [places[-1] + gaps[-1] / 2]])
