"""What the commands over a workdir of language share: which network is meant, and its text as tokens."""

import numpy as np
from absl import flags

from experiments.common import trained
from experiments.common.errors import ExperimentError
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
    return load(trained.folder_of(WORKDIR.value, RUN.value, "language", "best"))


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
