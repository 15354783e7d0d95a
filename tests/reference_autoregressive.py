"""TDNN and NARX as plain NumPy loops over lists of past inputs and outputs, to be read beside the equations.

Float64, sequences (T, B, ...), rows as vectors. Weights come as one matrix for each tap.
"""

import numpy as np

from tests.reference import sigmoid


def input_taps(kernel, taps):
    """W_0, ..., W_{L-1} of (I, L H)."""
    return np.split(np.asarray(kernel), taps, axis=1)


def output_taps(recurrent_kernel, taps):
    """U_1, ..., U_K of (K O, H)."""
    return np.split(np.asarray(recurrent_kernel), taps, axis=0)


def tapped(sequence, t, matrices):
    """Sum over l of sequence_{t-l} matrices_l; what is before the sequence is zero."""
    total = np.zeros((*np.shape(sequence[0])[:-1], matrices[0].shape[1]))
    for lag, matrix in enumerate(matrices):
        if t - lag >= 0:
            total = total + sequence[t - lag] @ matrix
    return total


def tdnn(params, inputs, taps):
    kernel, b = params
    W = input_taps(kernel, taps)
    return np.stack([np.tanh(tapped(inputs, t, W) + b) for t in range(len(inputs))])


def narx(params, inputs, taps, feedback, activation=sigmoid):
    """``feedback(t, predictions)``: what comes back of step t, given the predictions of steps 0, ..., t."""
    kernel, recurrent_kernel, b, V, c = params
    past, window = taps
    W, U = input_taps(kernel, window), output_taps(recurrent_kernel, past)
    predictions, fed = [], []
    for t in range(len(inputs)):
        total = tapped(inputs, t, W) + b
        if fed:
            total = total + tapped(fed, t - 1, U)
        predictions.append(activation(total) @ V + c)
        fed.append(feedback(t, predictions))
    return np.stack(predictions)


def least_squares(inputs, outputs, past, window):
    """Coefficients of y_t on x_t, ..., x_{t-L+1}, y_{t-1}, ..., y_{t-K} and 1, by least squares over scalar series."""
    rows = []
    for t in range(len(outputs)):
        xs = [inputs[t - lag] if t - lag >= 0 else 0.0 for lag in range(window)]
        ys = [outputs[t - lag] if t - lag >= 0 else 0.0 for lag in range(1, past + 1)]
        rows.append([*xs, *ys, 1.0])
    return np.linalg.lstsq(np.array(rows), outputs, rcond=None)[0]
