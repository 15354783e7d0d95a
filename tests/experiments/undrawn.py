"""An experiment as its user starts it, its figures left empty: python -m tests.experiments.undrawn NAME FLAG...

For tests whose claims are about records: to draw the figures takes most of a small run's time.
"""

import runpy
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def leave_empty(figure: Figure, path: Path, **options: Any) -> None:
    """Instead of ``Figure.savefig``."""
    path.touch()


if __name__ == "__main__":
    Figure.savefig = leave_empty
    runpy.run_module(f"experiments.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
