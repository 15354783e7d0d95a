"""How long a run took, as its config.json has it: the time until each interruption, and none in between."""

import json
import os
import time
from pathlib import Path

import pytest

from experiments.common.workdir import Record, open_workdir, read_run


def opened_before(path: Path, seconds: float, last_record: float) -> None:
    """A run that began so many seconds ago, and wrote its last record so many seconds ago."""
    open_workdir(path, {}, overwrite=False)
    run: Record = json.loads((path / "config.json").read_text())
    now = time.time()
    (path / "config.json").write_text(json.dumps({**run, "started": now - seconds}))
    os.utime(path / "metrics.jsonl", (now - last_record,) * 2)


def test_it_is_the_time_from_the_opening_of_the_workdir_to_the_end(tmp_path: Path) -> None:
    opened_before(tmp_path, 100, 0)
    run = json.loads((tmp_path / "config.json").read_text())
    workdir = open_workdir(tmp_path / "other", {}, overwrite=False)
    (workdir.path / "config.json").write_text(json.dumps(run))
    workdir.stop_clock()
    assert read_run(workdir.path)["seconds"] == pytest.approx(100, abs=5)


def test_of_an_interrupted_run_the_time_until_its_last_record_counts(tmp_path: Path) -> None:
    opened_before(tmp_path, 100, 40)
    workdir = open_workdir(tmp_path, {}, overwrite=False)
    assert read_run(tmp_path)["seconds"] == pytest.approx(60, abs=5)
    workdir.stop_clock()
    assert read_run(tmp_path)["seconds"] == pytest.approx(60, abs=5)


def test_a_workdir_from_before_times_were_written_is_gone_on_with(tmp_path: Path) -> None:
    open_workdir(tmp_path, {}, overwrite=False)
    run = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps({key: run[key] for key in run if key not in ("started", "seconds")})
    )
    open_workdir(tmp_path, {}, overwrite=False).stop_clock()
    assert 0 <= read_run(tmp_path)["seconds"] < 60
