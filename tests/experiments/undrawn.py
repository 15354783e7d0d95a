"""An experiment as its user starts it, its figures left empty: python -m tests.experiments.undrawn NAME FLAG...

For tests whose claims are about records: to draw the figures takes most of a small run's time.
"""

import base64
import runpy
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.common import vega_lite

POINT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
"""A PNG of one pixel."""


def leave_empty(figure: Figure, path: Path, **options: Any) -> None:
    """Instead of ``Figure.savefig``."""
    path.write_bytes(POINT)


def leave_figures_empty() -> None:
    """All figures of this process, from now on."""
    Figure.savefig = leave_empty
    vega_lite.library = lambda: ""  # to put it together takes a second


if __name__ == "__main__":
    leave_figures_empty()
    runpy.run_module(f"experiments.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
