"""What a trained network teaches another one: how probable each key is, and not only which keys sound.

    taught = (1 - s) x + s q

x is 1 where a key really sounds, and q is the probability that the teacher gives it, having read the frames before.
The teacher reads each training chorale in all keys of the training, and its logits are averaged. With cross-entropy as
the loss, this is the distillation of Hinton et al. (2015); a network of the same size that learns from one like
itself is a born-again network (Furlanello et al., 2018).
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from experiments.common.errors import ExperimentError
from experiments.music import model
from experiments.music.corpus import Frames
from experiments.music.data import Stock, batch_of, moves_of
from experiments.music.trained import Trained, load


def teacher_of(config: ConfigDict) -> Trained | None:
    """The network in the config's folder, if it names one.

    Raises:
        ExperimentError: if the folder has no network of this experiment with sigmoids.
    """
    if not config.teacher:
        return None
    found = load(config.teacher)
    if found.model.output.logits is None:
        raise ExperimentError(
            f"--config.teacher={config.teacher} has a joint output, without a probability of each key: expected a "
            "network with sigmoids"
        )
    return found


def taught(stock: Stock, teacher: Trained, music: Sequence[Frames], config: ConfigDict) -> Stock:
    """The stock of these chorales, with the teacher's probabilities mixed into its targets."""
    targets = (1 - config.teacher_share) * stock.notes + config.teacher_share * probabilities(teacher, music, config)
    return stock._replace(targets=targets)


def probabilities(teacher: Trained, music: Sequence[Frames], config: ConfigDict) -> Array:
    """Those of all keys (N, 88) in chorales that follow each other, each after a silent frame, which has none."""
    read = jax.jit(functools.partial(model.logits_in_keys, teacher.model))
    logits = read(teacher.network, batch_of(music), moves_of(music, config.down, config.up))
    found = jnp.pad(jax.nn.sigmoid(logits), ((1, 0), (0, 0), (0, 0)))
    return jnp.concatenate([found[: 1 + len(each), place] for place, each in enumerate(music)])
