"""The folder of one run of an experiment: its config, its records, its end.

config.json    the config, versions, devices, git revision, how long it took
metrics.jsonl  one flat record on each line, with the name of its run, written as it is made; the last record of a run
               is of kind "finished"
checkpoints    a folder for each run; when an interrupted run goes on, its records after the newest checkpoint are
               dropped, so that it ends with the same file as one that was never interrupted
events         the scalars of metrics.jsonl for TensorBoard, with --tensorboard
process-1, ... the workdirs of further processes, see sweep.py
report.html    all of it on one page
summary.md     written last: a folder that has it is finished, and is never overwritten silently
"""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

import rnnjax
from experiments.common import checkpoint
from experiments.common.errors import AlreadyFinishedError, ExperimentError

if TYPE_CHECKING:
    from experiments.common.tensorboard import Events

Record = dict[str, Any]

_OWN = ("summary.md", "report.html", "figures", "checkpoints", "events", "process-*", "metrics.jsonl", "config.json")
"""What a workdir holds, in the order in which it is deleted: as long as config.json is there, the folder is a run's."""

NO_MATTER = ("threads", "checkpoint_every")
"""Fields that do not change what a run computes: they may differ when it goes on."""

FIGURES = "\n\n## Figures\n\n"
"""What stands between words and figures in summary.md."""

_EARLY = ("*.partial", ".lock-*", "process-*")  # what may be there before config.json is


class Workdir(NamedTuple):
    """Where a run keeps everything; safe to append to from several threads."""

    path: Path
    lock: threading.Lock
    begun: dict[str, int]
    """How many records each interrupted run already has."""
    events: "Events | None"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    def append(self, records: Iterable[Record], *, safe: bool = False) -> None:
        """Adds records; with ``safe`` it returns only once all records so far would survive a loss of power."""
        plain = [_plain(record) for record in records]
        lines = "".join(json.dumps(record) + "\n" for record in plain).encode()
        with self.lock, self.metrics.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                while lines:
                    lines = lines[file.write(lines) :]
            except OSError:  # the disk is full: what another thread writes must not come after half a line
                file.truncate(end)
                raise
            if safe:
                os.fsync(file.fileno())
            if self.events:
                self.events.write(plain)

    def stop_clock(self) -> None:
        """Adds the time since the workdir was opened to the time that the run has taken."""
        run = read_run(self.path)
        seconds = run["seconds"] + time.time() - run["started"]
        _write_config(self.path / "config.json", {**run, "seconds": round(seconds, 1)})

    def finish(self, summary: str, figures: Sequence[Path], report: str) -> None:
        """Marks the run as finished: its page, its summary, the figures shown in it."""
        if self.events:
            self.events.close()
        shown = "\n\n".join(f"![{path.stem}]({path.relative_to(self.path)})" for path in figures)
        write_whole(self.path / "report.html", report)
        write_whole(self.path / "summary.md", f"{summary.rstrip()}{FIGURES}{shown}\n" if shown else summary)

    def put_in_order(self, runs: Iterable[str]) -> None:
        """Orders records by their runs, so that the order in which threads wrote them leaves no trace."""
        place = {run: number for number, run in enumerate(runs)}
        records = sorted(read_records(self.path), key=lambda record: place.get(record["run"], len(place)))
        write_whole(self.metrics, "".join(json.dumps(record) + "\n" for record in records))


def open_workdir(path: str | Path, config: Record, *, overwrite: bool, tensorboard: bool = False) -> Workdir:
    """Makes the folder, or goes on in one that an interrupted run of the same config left.

    Raises:
        AlreadyFinishedError: if it holds a finished run of the same config.
        ExperimentError: if it holds one of another config, a damaged one, or something else.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise ExperimentError(f"--workdir={path} is a file: give a folder, new or of an interrupted run")
    _require_of_a_run(path)
    if overwrite and path.exists():
        for target in [target for name in _OWN for target in path.glob(name)]:
            shutil.rmtree(target) if target.is_dir() else target.unlink()
    remedy = "give another --workdir, or --overwrite to discard it"
    finished = (path / "summary.md").exists()
    path.mkdir(parents=True, exist_ok=True)
    config_file = path / "config.json"
    if config_file.exists():
        _require_same_config(config_file, config, finished, remedy)
    if finished:
        raise AlreadyFinishedError(f"--workdir={path} holds this run, finished: see {path / 'summary.md'}")
    _start_clock(config_file, config, path / "metrics.jsonl")
    kept, begun = _kept(path)
    write_whole(path / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in kept))
    events = None
    if tensorboard:
        # Here alone: tensorboardX imports PyTorch wherever that is installed, which takes seconds.
        from experiments.common.tensorboard import Events

        events = Events(path / "events")
        events.write(kept)
    return Workdir(path, threading.Lock(), begun, events)


def read_run(path: str | Path) -> Record:
    """The content of config.json in a workdir: the config, the command, versions, devices.

    Raises:
        ExperimentError: if the folder holds no run.
    """
    config_file = Path(path) / "config.json"
    if not config_file.exists():
        raise ExperimentError(f"{config_file} does not exist: {path} holds no run; give the folder of one")
    _config(config_file)
    return {"command": "", **json.loads(config_file.read_text(encoding="utf-8"))}


def read_records(path: str | Path) -> list[Record]:
    """All records of the finished runs in a workdir.

    Raises:
        ExperimentError: if the folder holds no run, or its metrics.jsonl is damaged.
    """
    metrics = Path(path) / "metrics.jsonl"
    if not metrics.exists():
        raise ExperimentError(f"{metrics} does not exist: --workdir={path} holds no run; give the folder of one")
    records = _whole_lines(metrics)
    finished = {record["run"] for record in records if record["kind"] == "finished"}
    return [record for record in records if record["run"] in finished]


def checkpoints_of(path: Path, run: str) -> Path:
    """The folder in a workdir for the checkpoints of a run."""
    return path / "checkpoints" / run.replace("/", "-")


def _require_of_a_run(path: Path) -> None:
    """Raises ``ExperimentError`` if the folder holds what neither a run nor the beginning of one has left there."""
    config_file = path / "config.json"
    if config_file.exists():
        _config(config_file)
    elif path.exists():
        strangers = [each.name for each in path.iterdir() if not any(each.match(name) for name in _EARLY)]
        if strangers:
            holds = f"holds something other than a run ({min(strangers)})"
            raise ExperimentError(f"--workdir={path} {holds}: give another --workdir")


def _config(config_file: Path) -> Record:
    try:
        return dict(json.loads(config_file.read_text())["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise ExperimentError(f"{config_file} is not the config of a run: give another --workdir") from error


def _require_same_config(config_file: Path, config: Record, finished: bool, remedy: str) -> None:
    before = _config(config_file)
    fields = [field for field in config if field not in NO_MATTER and before.get(field) != config[field]]
    if fields:
        kind = "a finished" if finished else "an interrupted"
        changed = "; ".join(f"{field} was {before.get(field)!r}, is {config[field]!r}" for field in fields)
        raise ExperimentError(f"--workdir={config_file.parent} holds {kind} run ({changed}): {remedy}")


def _kept(path: Path) -> tuple[list[Record], dict[str, int]]:
    """The records with which a sweep goes on, and the number of them that each unfinished run has.

    Of finished runs these are all records, of others those up to the newest checkpoint.
    """
    records = _whole_lines(path / "metrics.jsonl")
    by_run: dict[str, list[Record]] = {}
    for record in records:
        by_run.setdefault(record["run"], []).append(record)
    kept: list[Record] = []
    begun = {}
    for stray in {*(path / "checkpoints").glob("*")} - {checkpoints_of(path, run) for run in by_run}:
        print(f"{stray} is deleted: metrics.jsonl has no records of that run, which begins anew", file=sys.stderr)
        shutil.rmtree(stray)
    for run, of_run in by_run.items():
        if of_run[-1]["kind"] != "finished":
            begun[run] = _records_at_checkpoint(checkpoints_of(path, run), len(of_run))
            of_run = of_run[: begun[run]]
        kept += of_run
    return kept, begun


def _records_at_checkpoint(folder: Path, made: int) -> int:
    """With how many of its ``made`` records a run goes on: those up to its newest usable checkpoint.

    Newer checkpoints are reported and deleted. If none is usable the run begins anew.
    """
    flaws, count = dict[Path, str](), 0
    for saved in checkpoint.of_run(folder):
        flaw = _flaw(saved, made)
        if flaw is None:
            count = int(checkpoint.about(saved)["records"])
            break
        flaws[saved] = flaw
    if flaws:
        told = ", ".join(f"{saved.relative_to(folder)} ({flaw})" for saved, flaw in flaws.items())
        then = f"goes on from {saved.relative_to(folder)}" if count else "begins anew"
        print(f"{folder}: damaged and deleted: {told}; the run {then}", file=sys.stderr)
    for saved in flaws:
        checkpoint.drop(saved)
    for kind in ("last", "best"):
        checkpoint.tidy(folder / kind)
    if not count:
        shutil.rmtree(folder, ignore_errors=True)
    return count


def _flaw(saved: Path, made: int) -> str | None:
    """Why a run with ``made`` records cannot go on from a checkpoint; None if it can.

    The checkpoint, or the best one of its time, may be damaged, or records from before it may be lost.
    """
    wrong = checkpoint.damage(saved)
    if wrong:
        return wrong
    about = checkpoint.about(saved)
    best = saved.parents[1] / "best" / str(about.get("best"))
    if about.get("best") is not None and checkpoint.damage(best):
        return f"its best/{best.name} is damaged"
    return None if 0 < about.get("records", 0) <= made else "metrics.jsonl has lost records of it"


def _whole_lines(metrics: Path) -> list[Record]:
    """The records of a file, without a torn last line, which a kill or a full disk may leave; others are an error."""
    lines = metrics.read_bytes().splitlines(keepends=True) if metrics.exists() else []
    records = []
    for number, line in enumerate(lines, start=1):
        if line.endswith(b"\n"):
            records.append(_record(line, f"{metrics}, line {number}"))
    return records


def _record(line: bytes, where: str) -> Record:
    try:
        record = json.loads(line)
        _ = record["run"], record["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise ExperimentError(
            f"{where} is damaged: {line[:40]!r} is no record of a run; delete the lines of that run, which then begins "
            "anew, or discard the whole workdir by --overwrite"
        ) from error
    return dict(record)


def _start_clock(config_file: Path, config: Record, metrics: Path) -> None:
    """Writes config.json with the time at which the run starts or goes on, and the time that it has taken so far.

    An interrupted run is taken to have worked until its last record.
    """
    if not config_file.exists():
        _write_config(config_file, {"config": config, **_circumstances(), "started": time.time(), "seconds": 0.0})
        return
    run = json.loads(config_file.read_text(encoding="utf-8"))
    if "started" in run and metrics.exists():
        run["seconds"] += max(0.0, metrics.stat().st_mtime - run["started"])
    _write_config(config_file, {**run, "started": time.time(), "seconds": run.get("seconds", 0.0)})


def _write_config(config_file: Path, run: Record) -> None:
    write_whole(config_file, json.dumps(run, indent=2) + "\n")


def _circumstances() -> Record:
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() if which("git") else ""
    return {
        "command": _command(),
        "rnnjax": rnnjax.__version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "devices": [str(device) for device in jax.devices()],
        "git_revision": revision or None,
    }


def _command() -> str:
    """The command that repeats the run, without its folder and processes; empty outside of an experiment's command."""
    module = getattr(sys.modules["__main__"].__spec__, "parent", "")
    if not module.startswith("experiments."):
        return ""
    words = [
        word for word in sys.argv[1:] if not re.match("--(workdir=|overwrite|num_processes|process_id|coord)", word)
    ]
    return shlex.join(["python", "-m", module, *words])


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: arrays become lists, NaN and infinity become null."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | jax.Array | np.generic):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def write_whole(path: Path, text: str) -> Path:
    """Writes a file under another name and renames it, so that half a file is never left."""
    beside = path.with_name(path.name + ".partial")
    beside.write_text(text, encoding="utf-8")
    return beside.replace(path)
