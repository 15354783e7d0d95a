"""Logs for an experiment's ``execute`` called by hand, without a sweep."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.common.run_log import Log
from experiments.common.sweep import Logs
from experiments.common.workdir import open_workdir


def logs_in(path: Path, reported: list[int] | None = None) -> Logs[Any]:
    """What ``execute`` takes; steps that are reported as done are added to a list."""
    workdir = open_workdir(path, {}, overwrite=False)

    @contextlib.contextmanager
    def log_of(run: Any) -> Iterator[Log]:
        yield Log(workdir, run.name, run.identity(), (reported if reported is not None else []).append)

    return log_of


def records_in(path: Path) -> list[dict[str, Any]]:
    """What was written there."""
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
