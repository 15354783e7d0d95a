"""By which way a gradient comes back: through the network's own state, or through the output that it was fed with.

A network that is fed with what it said hands its state to the next step twice, and so the gradient comes back twice:

    dL/dh_t = (ds_{t+1}/dh_t)^T dL/ds_{t+1}  +  (dc_t/dh_t)^T dL/dc_t        c_t what is chosen of the output
              through the state                 through the output

``unroll`` gives the first term, and dL/dc_t, as gradients of a zero that is added to the fields of the cell's state.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import rnnjax
from experiments.feedback import model
from experiments.feedback.model import Network
from rnnjax.typing import Params

CHOICES: dict[str, Callable[[Array], Array]] = {"probabilities": jax.nn.softmax, "outputs": lambda outputs: outputs}
"""What has a gradient; none flows through argmax and sampled."""


class Ways(NamedTuple):
    """By step (T,): root mean squares over texts of the norms of both terms and of their sum, and the mean share.

    The share is that of the second term in the sum of both norms.
    """

    state: Array
    output: Array
    whole: Array
    share: Array


def ways(network: Network, choice: str, params: Params, tokens: Array, flags: Array) -> Ways:
    """Of texts (T, B) that are fed where flags say so, else the network's choice; L is the loss of the last step.

    The last step has no later one, and is nothing in all of it.
    """
    of_state, of_output = terms(network, choice, params, tokens, flags)
    norms = [jnp.linalg.norm(each, axis=-1) for each in (of_state, of_output, of_state + of_output)]
    both = norms[0] + norms[1]
    share = jnp.where(both > 0, norms[1] / jnp.where(both > 0, both, 1), 0).mean(axis=1)
    state, output, whole = (jnp.sqrt(jnp.square(each).mean(axis=1)) for each in norms)
    return Ways(state, output, whole, share)


def terms(network: Network, choice: str, params: Params, tokens: Array, flags: Array) -> tuple[Array, Array]:
    """Both terms (T, B, H) of dL/dh_t, L the sum over texts of the last step's loss."""
    cell, inputs = rnnjax.feedback(network.cell, choice), model.flagged(network, tokens, flags)
    start = cell.initial_state(params, (tokens.shape[1],))
    nothing = jax.tree.map(lambda leaf: jnp.zeros((len(tokens), *leaf.shape), leaf.dtype), start)

    def loss(added: rnnjax.FeedbackState) -> tuple[Array, Array]:
        _, logits = rnnjax.unroll(cell, params, inputs, perturbation=added)
        return model.nats(logits[-1], tokens[-1]).sum(), logits

    gradient, logits = jax.grad(loss, has_aux=True)(nothing)
    _, back = jax.vjp(CHOICES[choice], logits)
    (of_logits,) = back(gradient.choice)
    readout = params[1].kernel
    return gradient.cell[0].hidden, of_logits @ readout.T
