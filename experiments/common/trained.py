"""What commands that use a trained network share: finding it in a workdir, and reading a file that a flag names."""

from pathlib import Path

from experiments.common import checkpoint
from experiments.common.errors import ExperimentError


def folder_of(workdir: str, run: str, experiment: str, kind: str) -> Path:
    """The folder of a run's checkpoints in a workdir.

    Args:
        workdir: the value of ``--workdir``.
        run: the value of ``--run``, the name of a folder in ``checkpoints``; if empty, the first that has checkpoints.
        experiment: the experiment whose workdir is expected.
        kind: which checkpoints of the run, "last" or "best".

    Raises:
        ExperimentError: if there is no such workdir, no such run, or no checkpoint.
    """
    checkpoints = Path(workdir) / "checkpoints"
    there = sorted(folder.name for folder in checkpoints.glob("*") if checkpoint.steps(folder / kind))
    if not there and (Path(workdir) / "config.json").exists():
        raise ExperimentError(
            f"--workdir={workdir} has no trained network yet: expected a checkpoint; wait for its first "
            "evaluation, or, if it was interrupted, give the command that began it again"
        )
    if not there:
        raise ExperimentError(
            f"--workdir={workdir} has no trained network: give the folder of a run of experiments.{experiment} that "
            "has checkpoints"
        )
    chosen = run or there[0]
    if chosen not in there:
        raise ExperimentError(f"--run={chosen} is not in --workdir={workdir}: expected {' or '.join(there)}")
    return checkpoints / chosen / kind


def read_file(path: str, flag: str) -> str:
    """The text of a UTF-8 file that a flag names.

    Raises:
        ExperimentError: if it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"--{flag}={path} cannot be read ({error}): give a UTF-8 text file") from error
