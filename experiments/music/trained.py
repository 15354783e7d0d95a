"""A network that this experiment has trained."""

import functools
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from experiments.common import checkpoint, trained
from experiments.common.averaged import restored
from experiments.common.errors import ExperimentError
from experiments.common.optimizer import make_optimizer
from experiments.music import model
from experiments.music.model import Model, Network, make_model


class Trained(NamedTuple):
    """A trained network, with what is needed to use it."""

    model: Model
    network: Network
    name: str  # of its run


def load(folder: str | Path) -> Trained:
    """The network of a run, from a folder such as ``runs/music/checkpoints/gru-joint-seed0/best``.

    Raises:
        ExperimentError: if there is no checkpoint, if it cannot be read, or if it is of another experiment.
    """
    folder = checkpoint.whole(folder)
    about = checkpoint.about(folder)
    if "most" not in about:
        raise ExperimentError(f"{folder} has a network of another experiment: give a folder of experiments.music")
    config = ConfigDict(about["config"])
    used = make_model(about["run"]["network"], config, about["most"])
    network = restored(folder, functools.partial(model.init, used), make_optimizer(config))
    return Trained(used, network, folder.parents[1].name)


def chosen(workdir: str, run: str) -> Path:
    """The folder of a run's best weights, by default of the first run with a joint output, or else of the first one.

    Raises:
        ExperimentError: if there are none.
    """
    folder = trained.folder_of(workdir, run, "music", "best")
    joint = sorted(other for other in folder.parents[1].glob("*-joint-*/best") if checkpoint.steps(other))
    return joint[0] if joint and not run else folder
