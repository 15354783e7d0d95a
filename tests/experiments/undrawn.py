"""An experiment as its user starts it, its figures left empty: python -m tests.experiments.undrawn NAME FLAG...

For tests whose claims are about records: to draw the figures takes most of a small run's time. Where the claim is that
figures can be drawn, ``laid_out`` does all that can fail, in a third to a half of the time.
"""

import base64
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from experiments.common import drawing, vega_lite
from experiments.common.workdir import Record

POINT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
"""A PNG of one pixel."""


def leave_empty(figure: Figure, path: Path, **options: Any) -> None:
    """Instead of ``Figure.savefig``."""
    path.write_bytes(POINT)


def leave_figures_empty() -> None:
    """All figures of this process, from now on."""
    Figure.savefig = leave_empty
    drawing.lay_out = lambda figure: None
    vega_lite.library = lambda: ""  # to put it together takes a second


def laid_out(figures: drawing.Figures, records: Sequence[Record], folder: Path) -> list[Path]:
    """As ``drawing.draw``, but what is drawn goes nowhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", leave_empty)
        return drawing.draw(figures, records, folder)


if __name__ == "__main__":
    leave_figures_empty()
    runpy.run_module(f"experiments.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
