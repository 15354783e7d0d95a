"""How the experiments' figures and tables look, how they are saved, and drawn again from a run's records."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from absl import flags
from tabulate import tabulate

from experiments import command
from experiments.workdir import Record, Workdir, read_records
from rnnjax.measure.decay import norm_floor

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

Figures = Mapping[str, Callable[[Sequence[Record]], Figure | None]]
"""By file name, functions of a run's records; None where these have nothing to show."""

# Told apart in grey: by lightness, by dashes, by markers. One dash fewer, so that all pairs come in turn.
COLOURS = ("#000000", "#0072b2", "#d55e00", "#56b4e9", "#8a8a8a", "#e69f00", "#009e73", "#cc79a7")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def draw(figures: Figures, records: Sequence[Record], folder: Path) -> list[Path]:
    """All figures that the records have data for, each as PNG and SVG; returns the PNGs."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "rnnjax"}):
        for name, make in figures.items():
            figure = make(records)
            if figure is None:
                continue
            for suffix in ("png", "svg"):
                figure.savefig(folder / f"{name}.{suffix}", dpi=150, bbox_inches="tight")
            plt.close(figure)
            paths.append(folder / f"{name}.png")
    return paths


def finish(workdir: Workdir, figures: Figures, records: Sequence[Record], summary: str, found: str) -> None:
    """Leaves figures and summary in the workdir, and prints what was found and where all of it is."""
    paths = draw(figures, records, workdir.path / "figures")
    workdir.finish(summary)
    print(f"\n{found}\n\nsummary: {workdir.path / 'summary.md'}\nfigures: {', '.join(map(str, paths))}")


def draw_again(figures: Figures, workdir: str) -> None:
    """The command of a report: draws the figures of the run in --workdir, by default this one."""
    chosen = flags.DEFINE_string("workdir", workdir, "Folder of a run.")

    def main() -> None:
        for path in draw(figures, read_records(chosen.value), Path(chosen.value) / "figures"):
            print(path)

    command.run(main)


def styles() -> Iterator[dict[str, Any]]:
    """One line's looks after the other."""
    return ({"color": c, "linestyle": d} for c, d in zip(itertools.cycle(COLOURS), itertools.cycle(DASHES)))


def log10(norms: np.ndarray) -> np.ndarray:
    """NaN where a norm has underflowed, which is not a small norm, or overflowed."""
    alive = np.isfinite(norms) & (norms >= norm_floor(norms.dtype))
    return np.where(alive, np.log10(np.where(alive, norms, 1)), np.nan)


def table(rows: Sequence[Record], words: set[str]) -> str:
    """A Markdown table; columns of ``words`` to the left, of numbers to the right."""
    alignment = ["left" if column in words else "right" for column in rows[0]]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True, colalign=alignment)
