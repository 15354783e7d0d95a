"""The minimal character model as loops in NumPy, after the lecture's program, for comparison with rnnjax.

It computes in float64, and ``step`` does one iteration, on one window of characters. The tests compare the losses of
experiments/min_char with those of this model.
"""

from typing import NamedTuple

import numpy as np

Params = dict[str, np.ndarray]


class State(NamedTuple):
    """Params, the sums of squares of Adagrad, and the place in the text with the state carried there."""

    params: Params
    squares: Params
    hidden: np.ndarray  # (H,)
    place: int


def start(params: Params) -> State:
    """The state at the start of the text.

    Args:
        params: kernel (V, H), recurrent_kernel (H, H), bias (H,), readout_kernel (H, V), readout_bias (V,).
    """
    squares = {name: np.zeros_like(param) for name, param in params.items()}
    return State(params, squares, np.zeros_like(params["bias"]), 0)


def step(state: State, tokens: np.ndarray, length: int, *, rate: float = 0.1, clip: float = 5.0) -> tuple[State, float]:
    """One iteration on the next ``length`` characters: the state after it, and the loss before it in nats."""
    params, squares, hidden, place = state
    if place + length + 1 >= len(tokens):
        hidden, place = np.zeros_like(hidden), 0
    window = tokens[place : place + length + 1]
    loss, gradients, hidden = loss_and_gradients(params, window[:-1], window[1:], hidden)
    moved, summed = {}, {}
    for name, gradient in gradients.items():
        gradient = np.clip(gradient, -clip, clip)
        summed[name] = squares[name] + gradient * gradient
        moved[name] = params[name] - rate * gradient / np.sqrt(summed[name] + 1e-8)
    return State(moved, summed, hidden, place + length), loss


def loss_and_gradients(
    params: Params, inputs: np.ndarray, targets: np.ndarray, hidden: np.ndarray
) -> tuple[float, Params, np.ndarray]:
    """The sum of cross-entropies, its gradients by backpropagation through the window, the last hidden state."""
    states, probabilities, loss = [hidden], [], 0.0
    for token, target in zip(inputs, targets, strict=True):
        drive = params["kernel"][token] + states[-1] @ params["recurrent_kernel"] + params["bias"]
        states.append(np.tanh(drive))
        logits = states[-1] @ params["readout_kernel"] + params["readout_bias"]
        exponentials = np.exp(logits - logits.max())
        probabilities.append(exponentials / exponentials.sum())
        loss -= float(np.log(probabilities[-1][target]))

    gradients = {name: np.zeros_like(param) for name, param in params.items()}
    from_later = np.zeros_like(hidden)
    for place in reversed(range(len(inputs))):
        of_logits = probabilities[place].copy()
        of_logits[targets[place]] -= 1
        gradients["readout_kernel"] += np.outer(states[place + 1], of_logits)
        gradients["readout_bias"] += of_logits
        of_state = params["readout_kernel"] @ of_logits + from_later
        of_drive = (1 - states[place + 1] ** 2) * of_state
        gradients["bias"] += of_drive
        gradients["kernel"][inputs[place]] += of_drive
        gradients["recurrent_kernel"] += np.outer(states[place], of_drive)
        from_later = params["recurrent_kernel"] @ of_drive
    return loss, gradients, states[-1]
