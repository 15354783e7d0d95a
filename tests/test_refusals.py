"""What cannot be is refused with what was received, what was expected and what to do, in few words."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import tasks
from rnnjax.adapters import torch as adapter
from tests.cases import B, H, I, T, random_inputs

KEY = jax.random.key(0)
CELL = rnnjax.lstm(H)


def params() -> Any:
    return CELL.init(KEY, I)


def one_layer_of_torch() -> Any:
    shapes = {"weight_ih_l0": (4 * H, I), "weight_hh_l0": (4 * H, H), "bias_ih_l0": (4 * H,), "bias_hh_l0": (4 * H,)}
    return adapter.from_torch({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, "lstm")


def truncated(targets: Any) -> Any:
    cell = rnnjax.elman(H)
    inputs, loss = jnp.ones((6, B, I)), lambda outputs, targets: ((outputs - targets) ** 2).sum()
    return rnnjax.truncated_gradient(cell, cell.init(KEY, I), inputs, targets, loss, every=3, through=6)


def flow(loss: Any) -> Any:
    return rnnjax.gradient_flow(CELL, params(), random_inputs(T, B, I), loss)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "inputs for a size": (lambda: CELL.init(KEY, random_inputs(T, B, I)), "input_size is an array of shape (5, 2, 3)"),
    "a number for a key": (lambda: CELL.init(0, 3), "key is 0 (int): expected a random key"),  # type: ignore[arg-type]
    "a name for an initializer": (
        lambda: rnnjax.lstm(H, kernel_init="glorot"),  # type: ignore[arg-type]
        "kernel_init is 'glorot' (str): expected a function, such as jax.nn.initializers.normal(0.1)",
    ),
    "one layer of PyTorch": (
        lambda: rnnjax.unroll(CELL, one_layer_of_torch(), random_inputs(T, B, I)),
        "pass params[0], or put the cell into a stack",
    ),
    "targets of another length": (
        lambda: truncated(jnp.zeros((12, B, H))),
        f"targets have shape (12, {B}, {H}): expected 6 steps on axis 0, as many as the inputs have",
    ),
    "one target for all steps": (lambda: truncated(jnp.zeros((1, B, H))), "targets have shape (1,"),
    "a word for a flag": (
        lambda: rnnjax.unroll(CELL, params(), random_inputs(T, B, I), reverse="no"),  # type: ignore[arg-type]
        "reverse is 'no' (str): expected True or False",
    ),
    "a word for a loss": (lambda: flow("mse"), "loss is 'mse' (str): expected a function, such as lambda outputs"),
    "a loss that returns nothing": (
        lambda: flow(lambda outputs: None),
        "loss returned NoneType: expected a real scalar",
    ),
    "a loss of every step": (lambda: flow(lambda outputs: outputs.sum((1, 2))), "loss returned shape (5,): expected a"),
    "a whole flow": (
        lambda: rnnjax.decay(flow(lambda outputs: outputs[-1].sum())),  # type: ignore[arg-type]
        "norms are a GradientFlow: expected one leaf of GradientFlow.state, an array (T,)",
    ),
    "norms that are being traced": (
        lambda: jax.jit(rnnjax.decay)(jnp.ones(5)),
        "norms are being traced: expected their values; call decay outside of jax.jit and jax.vmap",
    ),
    "a readout of another length": (
        lambda: tasks.copy_memory(5).loss(jnp.zeros((10, 2, 9)), tasks.copy_memory(5).sample(KEY, 2)),
        "readout has shape (10, 2, 9): expected (25, 2, 9), (T, B, output_size)",
    ),
    "a readout that is too narrow": (
        lambda: tasks.copy_memory(5).error(jnp.zeros((25, 2, 3)), tasks.copy_memory(5).sample(KEY, 2)),
        "readout has shape (25, 2, 3): expected (25, 2, 9)",
    ),
    "a readout that would be broadcast": (
        lambda: tasks.adding(10).loss(jnp.zeros((10, 1)), tasks.adding(10).sample(KEY, 3)),
        "readout has shape (10, 1): expected (10, 3, 1)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_few_words(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises((TypeError, ValueError)) as raised:
        call()
    told = str(raised.value).partition("\n---")[0]
    assert message in told
    assert len(told) <= 300
