"""How sure a network is of what it decides."""

import jax
import jax.numpy as jnp
from jax import Array


def log_odds(logits: Array) -> Array:
    """The log-odds ln(p / (1 - p)) (...) of the likeliest class, from logits (..., K); they vary even with p near 1."""
    chosen = jax.nn.one_hot(logits.argmax(axis=-1), logits.shape[-1], dtype=bool)
    others = jax.nn.logsumexp(jnp.where(chosen, -jnp.inf, logits), axis=-1)
    return logits.max(axis=-1) - others
