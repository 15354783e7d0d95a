"""Clipping that records what it does: the gradient's norm before and after, and the share of it that was changed."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array


class Watched(NamedTuple):
    """The state of ``watched``; each number is found in an optimizer's state by ``optax.tree.get(state, name)``.

    Attributes:
        clipping: the state of the transformation itself.
        norm_before: the global norm of the last gradient before clipping.
        norm_after: its global norm after clipping.
        share_clipped: the share of its elements that clipping changed.
    """

    clipping: Any
    norm_before: Array
    norm_after: Array
    share_clipped: Array


def watched(clipping: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same clipping, for example ``optax.clip``, with a state that records what clipping does."""

    def init(params: Any) -> Watched:
        return Watched(clipping.init(params), jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))

    def update(gradients: Any, state: Watched, params: Any = None) -> tuple[Any, Watched]:
        clipped, inner = clipping.update(gradients, state.clipping, params)
        changed = jax.tree.map(
            lambda before, after: jnp.sum((before != after) & ~jnp.isnan(before)), gradients, clipped
        )
        share = optax.tree.sum(changed) / optax.tree.size(gradients)
        return clipped, Watched(inner, optax.tree.norm(gradients), optax.tree.norm(clipped), share)

    return optax.GradientTransformation(init, update)
