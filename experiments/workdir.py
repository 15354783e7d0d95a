"""The folder of one run of an experiment: its config, its records, its end.

config.json    the config, versions, devices, git revision
metrics.jsonl  one flat record a line, each with the name of its run; a run's last record is of kind "finished",
and what an interrupted run left without one is dropped when work goes on
process-1, ... the workdirs of further processes, see sweep.py
summary.md     written last: a folder that has it is finished, and is never overwritten silently
"""

import json
import os
import platform
import shutil
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple

import jax
import numpy as np

import rnnjax
from experiments.command import ExperimentError

Record = dict[str, Any]

_OWN = ("config.json", "metrics.jsonl", "summary.md", "figures", "checkpoints", "process-*")


class Workdir(NamedTuple):
    """Where a run keeps everything; safe to append to from several threads."""

    path: Path
    lock: threading.Lock

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    def append(self, records: Iterable[Record]) -> None:
        """Adds records in one write, and returns once they are on the disk."""
        lines = "".join(json.dumps(_plain(record)) + "\n" for record in records).encode()
        with self.lock, self.metrics.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def finish(self, summary: str) -> None:
        """Marks the run as finished."""
        _write_whole(self.path / "summary.md", summary)


def open_workdir(path: str | Path, config: Record, *, overwrite: bool) -> Workdir:
    """Makes the folder, or goes on in one that an interrupted run of the same config left.

    Raises:
        ExperimentError: if it holds a finished run, or one of another config.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise ExperimentError(f"--workdir={path} is a file: give a folder, new or of an interrupted run")
    if overwrite and any(path.iterdir() if path.exists() else ()):
        if not (path / "config.json").exists():
            raise ExperimentError(f"--workdir={path} holds something else than a run: give another --workdir")
        for target in [target for name in _OWN for target in path.glob(name)]:
            shutil.rmtree(target) if target.is_dir() else target.unlink()
    remedy = "give another --workdir, or --overwrite to discard it"
    if (path / "summary.md").exists():
        raise ExperimentError(f"--workdir={path} holds a finished run: {remedy}")
    path.mkdir(parents=True, exist_ok=True)
    config_file = path / "config.json"
    if config_file.exists():
        try:
            before = json.loads(config_file.read_text())["config"]
        except (ValueError, KeyError) as error:
            raise ExperimentError(f"{config_file} is not a run's: give another --workdir") from error
        changed = [
            f"{key} was {before.get(key)!r}, is {config[key]!r}" for key in config if before.get(key) != config[key]
        ]
        if changed:
            raise ExperimentError(f"--workdir={path} holds an interrupted run ({'; '.join(changed)}): {remedy}")
    else:
        _write_whole(config_file, json.dumps({"config": config, **_circumstances()}, indent=2) + "\n")
    workdir = Workdir(path, threading.Lock())
    workdir.metrics.touch()
    # A kill or a full disk may have left a torn line, or some records of a run that has to be done again.
    kept = "".join(json.dumps(record) + "\n" for record in read_records(path))
    if len(kept) < workdir.metrics.stat().st_size:
        _write_whole(workdir.metrics, kept)
    return workdir


def read_records(path: str | Path) -> list[Record]:
    """All records of the finished runs in a workdir.

    Raises:
        ExperimentError: if it is not one.
    """
    metrics = Path(path) / "metrics.jsonl"
    if not metrics.exists():
        raise ExperimentError(f"{metrics} does not exist: --workdir={path} holds no run; give the folder of one")
    lines = metrics.read_bytes().splitlines(keepends=True)
    records = [json.loads(line) for line in lines if line.endswith(b"\n")]
    finished = {record["run"] for record in records if record["kind"] == "finished"}
    return [record for record in records if record["run"] in finished]


def _circumstances() -> Record:
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() if which("git") else ""
    return {
        "rnnjax": rnnjax.__version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "devices": [str(device) for device in jax.devices()],
        "git_revision": revision or None,
    }


def _plain(value: Any) -> Any:
    """JSON has neither arrays nor NaN nor infinity: lists, and null."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | jax.Array):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def _write_whole(path: Path, text: str) -> None:
    """Never leaves half a file: writes beside it, then renames."""
    beside = path.with_name(path.name + ".partial")
    beside.write_text(text)
    beside.replace(path)
