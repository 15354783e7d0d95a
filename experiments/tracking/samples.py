"""Samples to be tracked, one a line: python -m experiments.tracking.samples --workdir=runs/tracking.

They are of the system of that run, or of the default one where there is no such run. --true has the position beside
each sample; --pause waits before the next.
"""

import json
import os
import sys
import time
from pathlib import Path

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from experiments.common import command
from experiments.common.errors import ExperimentError
from experiments.tracking.config import get_config
from experiments.tracking.systems import SYSTEMS


def main(lines: list[str], pause: float) -> None:
    """Prints them as time goes by."""
    try:
        for place, line in enumerate(lines):
            time.sleep(pause if place else 0)
            print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def written(config: ConfigDict, steps: int, seed: int, *, true: bool = False) -> list[str]:
    """So many samples, each with the position beside it if that is to be told."""
    drawn = SYSTEMS[config.system](config).draw(jax.random.key(seed), steps, 1)
    positions, observations = (np.asarray(each)[:, 0] for each in drawn)
    columns = (observations, positions) if true else (observations,)
    return [" ".join(f"{number:.6g}" for number in line) for line in zip(*columns, strict=True)]


def config_of(workdir: Path) -> ConfigDict:
    """That of a run, or the default one.

    Raises:
        ExperimentError: if there is one that cannot be read.
    """
    path = workdir / "config.json"
    if not path.exists():
        return get_config()
    try:
        return ConfigDict(json.loads(path.read_text(encoding="utf-8"))["config"])
    except (OSError, ValueError, KeyError) as error:
        raise ExperimentError(f"{path} cannot be read ({type(error).__name__}): give the folder of a run") from error


if __name__ == "__main__":
    workdir = flags.DEFINE_string("workdir", "runs/tracking", "Folder of a run of experiments.tracking, or none.")
    steps = flags.DEFINE_integer("steps", 200, "How many samples.", lower_bound=1)
    seed = flags.DEFINE_integer("seed", 0, "Another one gives other samples.", lower_bound=0, upper_bound=2**31)
    pause = flags.DEFINE_float("pause", 0.0, "Seconds before each of the samples but the first.", lower_bound=0.0)
    true = flags.DEFINE_bool("true", False, "Writes the position beside each sample; a tracker is not to see it.")
    command.run(
        lambda: main(written(config_of(Path(workdir.value)), steps.value, seed.value, true=true.value), pause.value)
    )
