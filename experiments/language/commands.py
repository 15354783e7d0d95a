"""What the commands over a workdir of language share: which network is meant, and its text as tokens."""

from pathlib import Path

import numpy as np
from absl import flags

from experiments.common import checkpoint
from experiments.common.command import ExperimentError
from experiments.language.main import Trained, load
from rnnjax.data import UnknownError, Vocabulary, encode
from rnnjax.data.vocabulary import Answer

WORKDIR = flags.DEFINE_string("workdir", "runs/language", "Folder of a run of experiments.language.")
RUN = flags.DEFINE_string("run", "", "Which network, as cell-seedN; by default the first one there is.")
UNKNOWN = flags.DEFINE_enum("unknown", "error", ["error", "skip", "replace"], "What to do with what it does not know.")


def network() -> Trained:
    """The best weights of the network that the flags name.

    Raises:
        ExperimentError: if there is no such workdir, no such run, or no checkpoint that can be read.
    """
    checkpoints = Path(WORKDIR.value) / "checkpoints"
    there = sorted(folder.name for folder in checkpoints.glob("*") if checkpoint.steps(folder / "best"))
    if not there and (Path(WORKDIR.value) / "config.json").exists():
        raise ExperimentError(
            f"--workdir={WORKDIR.value} has no trained network yet: expected a checkpoint; wait for its first "
            "evaluation, or, if it was interrupted, give the command that began it again"
        )
    if not there:
        raise ExperimentError(
            f"--workdir={WORKDIR.value} has no trained network: give the folder of a run of experiments.language that "
            "has checkpoints"
        )
    chosen = RUN.value or there[0]
    if chosen not in there:
        raise ExperimentError(f"--run={chosen} is not in --workdir={WORKDIR.value}: expected {' or '.join(there)}")
    return load(checkpoints / chosen / "best")


def tokens_of(vocabulary: Vocabulary, text: str, flag: str, unknown: Answer = "error") -> np.ndarray:
    """The tokens of a text that a flag gave.

    Raises:
        ExperimentError: for a text of none, or one that has what the network does not know.
    """
    others = "skip" if vocabulary.unknown is None else "skip or replace"
    try:
        tokens = encode(vocabulary, text, unknown=unknown)
    except UnknownError as error:
        raise ExperimentError(f"--{flag}: {str(error).partition(': ')[0]}; --unknown={others} goes on") from error
    except ValueError as error:
        raise ExperimentError(
            f"--unknown={unknown}: {str(error).partition(': ')[0]}; give --unknown={others}"
        ) from error
    if not len(tokens):
        raise ExperimentError(f"--{flag} has no {vocabulary.unit} in it: give at least one")
    return tokens


def read_file(path: str, flag: str) -> str:
    """A UTF-8 file that a flag names.

    Raises:
        ExperimentError: if it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"--{flag}={path} cannot be read ({error}): give a UTF-8 text file") from error
