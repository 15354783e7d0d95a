r"""A deep fully connected network, and the gradient of each of its neurons' incoming weights.

z_l = a_{l-1} W_l + b_l,  a_l = \phi(z_l),  a_0 the image;  logits = a_L W + b
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.training.train_state import TrainState
from jax import Array

from rnnjax.engine.norms import norm
from rnnjax.typing import Activation, Key, Params

INITIALIZATIONS: dict[str, Callable[[int, int], tuple[float, float]]] = {
    "torch": lambda fan_in, fan_out: (1 / (3 * fan_in), 1 / (3 * fan_in)),  # what PyTorch's Linear does by itself
    "1/3n": lambda fan_in, fan_out: (1 / (3 * fan_in), 0.0),
    "1/n": lambda fan_in, fan_out: (1 / fan_in, 0.0),
    "2/n": lambda fan_in, fan_out: (2 / fan_in, 0.0),
    "glorot": lambda fan_in, fan_out: (2 / (fan_in + fan_out), 0.0),
}
"""Variance of a layer's weights and of its biases, from its numbers of inputs and of units; all are drawn normal."""


class NeuronGradients(NamedTuple):
    """Gradients of the L hidden layers, of H units each, for B examples.

    Attributes:
        loss: mean cross-entropy in nats.
        accuracy: the part of the examples classified correctly.
        batch: (L, H) norms over each unit's incoming weights of the mean loss's gradient.
        examples: (L, B, H) the same of each example's own loss.
        inputs: (L,) root mean square of what comes into a layer, a_{l-1}.
        adjoints: (L,) root mean square over examples and units of dL/dz_l, the loss being the example's own.
    """

    loss: Array
    accuracy: Array
    batch: Array
    examples: Array
    inputs: Array
    adjoints: Array


def layer_variances(initialization: str, widths: Sequence[int]) -> list[tuple[float, float]]:
    """Variances of weights and of biases, layer by layer."""
    variances = INITIALIZATIONS[initialization]
    return [variances(fan_in, fan_out) for fan_in, fan_out in itertools.pairwise(widths)]


def init(key: Key, widths: Sequence[int], variances: Array) -> list[Params]:
    """Params of every layer, the readout last; variances (layers, 2) may be traced: one program draws any."""
    params = []
    for number, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        kernel_init, bias_init = (nn.initializers.normal(deviation) for deviation in jnp.sqrt(variances[number]))
        layer = nn.Dense(fan_out, kernel_init=kernel_init, bias_init=bias_init, param_dtype=variances.dtype)
        params.append(layer.init(jax.random.fold_in(key, number), jnp.zeros(fan_in, variances.dtype)))
    return params


def forward(
    activation: Activation, params: list[Params], images: Array, offsets: Array | None = None
) -> tuple[Array, list[Array]]:
    """Logits (..., O), and what comes into each layer; offsets (L, ..., H) are added to z_1, ..., z_L."""
    inputs = [images]
    for number, layer in enumerate(params[:-1]):
        drive = _dense(layer, inputs[-1])
        inputs.append(activation(drive if offsets is None else drive + offsets[number]))
    return _dense(params[-1], inputs[-1]), inputs


def train_step(
    activation: Activation, state: TrainState, batch: tuple[Array, Array]
) -> tuple[TrainState, dict[str, Array]]:
    """One optimizer step on images and labels; the new state, and the loss before it."""
    images, labels = batch

    def loss_of(params: list[Params]) -> Array:
        return _losses(forward(activation, params, images)[0], labels).mean()

    loss, gradients = jax.value_and_grad(loss_of)(state.params)
    return state.apply_gradients(grads=gradients), {"loss": loss}


def neuron_gradients(
    activation: Activation, params: list[Params], images: Array, labels: Array, chunk: int
) -> NeuronGradients:
    """Norms of the mean loss's gradient, and of every example's own: these by ``vmap``, so many examples at a time."""

    def mean_loss(params: list[Params]) -> tuple[Array, Array]:
        logits = forward(activation, params, images)[0]
        correct = logits.argmax(axis=-1).astype(labels.dtype) == labels
        return _losses(logits, labels).mean(), correct.mean()

    (loss, accuracy), gradients = jax.value_and_grad(mean_loss, has_aux=True)(params)
    of_example = functools.partial(_example_norms, activation, params)
    examples, inputs, adjoints = jax.lax.map(of_example, (images, labels), batch_size=min(chunk, len(images)))
    sizes = jnp.array([layer["params"]["kernel"].shape for layer in params[:-1]], images.dtype)
    return NeuronGradients(
        loss=loss,
        accuracy=accuracy,
        batch=jnp.stack([norm(layer["params"]["kernel"], (0,)) for layer in gradients[:-1]]),
        examples=jnp.swapaxes(examples, 0, 1),
        inputs=norm(inputs, (0,)) / jnp.sqrt(len(images) * sizes[:, 0]),
        adjoints=norm(adjoints, (0,)) / jnp.sqrt(len(images) * sizes[:, 1]),
    )


def _example_norms(
    activation: Activation, params: list[Params], example: tuple[Array, Array]
) -> tuple[Array, Array, Array]:
    """Of one example's gradient: (L, H) norms over each unit's incoming weights, (L,) those of a_{l-1} and of dL/dz_l.

    The gradient of the weights into unit j is a_{l-1} dL/dz_{l,j}, whose norm is a product: an example needs no array
    of the kernel's shape, 75 MB for 18 layers of 1024 x 1024.
    """
    image, label = example

    def loss(offsets: Array) -> tuple[Array, list[Array]]:
        logits, inputs = forward(activation, params, image, offsets)
        return _losses(logits, label), inputs[:-1]

    offsets = jnp.zeros((len(params) - 1, len(params[0]["params"]["bias"])), image.dtype)
    adjoints, inputs = jax.grad(loss, has_aux=True)(offsets)
    input_norms = jnp.stack([norm(each, (0,)) for each in inputs])
    return input_norms[:, None] * jnp.abs(adjoints), input_norms, norm(adjoints, (1,))


def _dense(layer: Params, inputs: Array) -> Array:
    return nn.Dense(layer["params"]["bias"].shape[0]).apply(layer, inputs)


def _losses(logits: Array, labels: Array) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
