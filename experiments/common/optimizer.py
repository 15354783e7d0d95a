"""The optimizer that several experiments train with."""

from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from rnnjax.typing import Params


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """AdamW on clipped gradients, with a learning rate that falls along a cosine, and weight decay of matrices alone.

    It reads ``learning_rate``, ``train_steps``, ``weight_decay`` and ``clip_norm`` from the config.
    """

    def is_matrix(params: Params) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    rate = optax.cosine_decay_schedule(config.learning_rate, config.train_steps)
    adam = optax.adamw(rate, weight_decay=config.weight_decay, mask=is_matrix)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)
