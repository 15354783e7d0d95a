"""Whole runs of experiments, as their users start them."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from experiments.common.record_fields import explained
from experiments.common.workdir import read_records
from tests.answers import completed


def quick_run(factory: pytest.TempPathFactory, experiment: str) -> tuple[Path, str]:
    """The workdir of a finished run of the quick variant, and what it printed."""
    workdir = factory.mktemp("runs") / "finished"
    done = completed(experiment, "--variant=quick", f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def check_drawn(workdir: Path, names: Iterable[str]) -> None:
    """The run left these figures, and there is something in them."""
    for name in names:
        assert (workdir / "figures" / f"{name}.png").stat().st_size > 10_000
        assert b"<svg" in (workdir / "figures" / f"{name}.svg").read_bytes()


def check_page(workdir: Path, experiment: str) -> None:
    """The page of the run has charts, says what everything is that was recorded, and is not too large to be sent."""
    assert [each for each in explained(read_records(workdir), experiment) if not each.words] == []
    page = (workdir / "report.html").read_text(encoding="utf-8")
    assert 'class="chart"' in page
    assert len(page) < 4_000_000
