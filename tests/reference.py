"""Recurrent nets as plain NumPy loops, forward and backward, to be read beside the equations.

Everything is float64. Sequences are (T, B, ...), vectors are rows, weights are rnnjax's: x W + h U + b, the gates'
columns side by side. Only ``min_char_rnn`` keeps the column vectors of its original.
"""

import statistics
from typing import NamedTuple

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda x: np.maximum(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(np.minimum(x, 0)) - 1)),
    "gelu": lambda x: x * np.vectorize(statistics.NormalDist().cdf)(x),
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "identity": lambda x: x,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
}


# Elman network


def elman_forward(params, inputs, hidden, activation=np.tanh):
    """h_1, ..., h_T, (T, B, H), from h_0 (B, H)."""
    W, U, b = params
    hiddens = []
    for x in inputs:
        hidden = activation(x @ W + hidden @ U + b)
        hiddens.append(hidden)
    return np.stack(hiddens)


class ElmanGradients(NamedTuple):
    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray
    inputs: np.ndarray
    hidden_0: np.ndarray
    hiddens: np.ndarray  # dL/dh_t, the total derivative


def elman_backward(params, inputs, hidden_0, hiddens, d_outputs):
    """Backpropagation through time of a tanh network, by the lecture notes' rules.

    Args:
        params: W, U, b.
        inputs: (T, B, I).
        hidden_0: (B, H).
        hiddens: from ``elman_forward``.
        d_outputs: (T, B, H), the direct part of dL/dh_t.
    """
    W, U, b = params
    dW, dU, db, dx, dh = (np.zeros_like(a) for a in (W, U, b, inputs, hiddens))
    carried = np.zeros_like(hidden_0)
    for t in reversed(range(len(inputs))):
        previous = hiddens[t - 1] if t > 0 else hidden_0
        dh[t] = d_outputs[t] + carried
        dz = (1 - hiddens[t] ** 2) * dh[t]
        db += dz.sum(0)
        dW += inputs[t].T @ dz
        dU += previous.T @ dz
        dx[t] = dz @ W.T
        carried = dz @ U.T
    return ElmanGradients(dW, dU, db, dx, carried, dh)


def min_char_rnn(inputs, targets, hprev, Wxh, Whh, Why, bh, by, clip=None):
    """``lossFun`` of Karpathy's min-char-rnn in Python 3: cross-entropy, its gradients, and the last hidden state.

    Inputs and targets are lists of integers, hprev, bh and by are columns. ``clip=5`` is the original's.
    """
    xs, hs, ys, ps = {}, {}, {}, {}
    hs[-1] = np.copy(hprev)
    loss = 0
    vocab_size = len(by)
    for t in range(len(inputs)):
        xs[t] = np.zeros((vocab_size, 1))  # encode in 1-of-k representation
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(np.dot(Wxh, xs[t]) + np.dot(Whh, hs[t - 1]) + bh)
        ys[t] = np.dot(Why, hs[t]) + by
        ps[t] = np.exp(ys[t]) / np.sum(np.exp(ys[t]))
        loss += -np.log(ps[t][targets[t], 0])
    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dbh, dby = np.zeros_like(bh), np.zeros_like(by)
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(len(inputs))):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        dWhy += np.dot(dy, hs[t].T)
        dby += dy
        dh = np.dot(Why.T, dy) + dhnext
        dhraw = (1 - hs[t] * hs[t]) * dh
        dbh += dhraw
        dWxh += np.dot(dhraw, xs[t].T)
        dWhh += np.dot(dhraw, hs[t - 1].T)
        dhnext = np.dot(Whh.T, dhraw)
    gradients = [dWxh, dWhh, dWhy, dbh, dby]
    if clip is not None:
        for gradient in gradients:
            np.clip(gradient, -clip, clip, out=gradient)
    return loss, gradients, hs[len(inputs) - 1]


# Long short-term memory. Without peepholes: peephole = 0.


class LSTMTrace(NamedTuple):
    """Everything of the forward pass, each (T, B, H)."""

    i: np.ndarray
    f: np.ndarray
    g: np.ndarray
    o: np.ndarray
    cell: np.ndarray
    hidden: np.ndarray


def lstm_forward(params, inputs, hidden, cell):
    """From h_0 and c_0, (B, H)."""
    W, U, b, (p_i, p_f, p_o) = params
    steps = []
    for x in inputs:
        z_i, z_f, z_g, z_o = np.split(x @ W + hidden @ U + b, 4, axis=-1)
        i = sigmoid(z_i + p_i * cell)
        f = sigmoid(z_f + p_f * cell)
        g = np.tanh(z_g)
        cell = f * cell + i * g
        o = sigmoid(z_o + p_o * cell)  # sees the new memory
        hidden = o * np.tanh(cell)
        steps.append((i, f, g, o, cell, hidden))
    return LSTMTrace(*map(np.stack, zip(*steps, strict=True)))


class LSTMGradients(NamedTuple):
    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray
    peephole: np.ndarray
    inputs: np.ndarray
    hidden_0: np.ndarray
    cell_0: np.ndarray
    hidden: np.ndarray  # dL/dh_t
    cell: np.ndarray  # dL/dc_t, through h_t and through c_{t+1}
    carried_cell: np.ndarray  # the part of it through c_{t+1} and the gates of step t+1: h_t held fixed


def lstm_backward(params, inputs, hidden_0, cell_0, trace, d_outputs):
    """The lecture notes' backpropagation rules, with the gates' names put right.

    Erratum: their last line for dL/dh_t has the candidate's term as dC_{t+1} o_{t+1} tanh'(.) W_hi; it is
    dC_{t+1} i_{t+1} tanh'(.) W_hC. And what they write there as grad_{h_t} C_{t+1} is dDiv/dC_{t+1}.
    """
    W, U, b, peephole = params
    p_i, p_f, p_o = peephole
    dW, dU, db, dp, dx = (np.zeros_like(a) for a in (W, U, b, peephole, inputs))
    dh, dc, carried_cells = (np.zeros_like(trace.cell) for _ in range(3))
    carried_hidden, carried_cell = np.zeros_like(hidden_0), np.zeros_like(cell_0)
    for t in reversed(range(len(inputs))):
        i, f, g, o, c, _ = (leaf[t] for leaf in trace)
        h_before = trace.hidden[t - 1] if t > 0 else hidden_0
        c_before = trace.cell[t - 1] if t > 0 else cell_0

        carried_cells[t] = carried_cell
        dh[t] = d_outputs[t] + carried_hidden
        dz_o = dh[t] * np.tanh(c) * o * (1 - o)
        dc[t] = dh[t] * o * (1 - np.tanh(c) ** 2) + dz_o * p_o + carried_cell
        dz_i = dc[t] * g * i * (1 - i)
        dz_f = dc[t] * c_before * f * (1 - f)
        dz_g = dc[t] * i * (1 - g**2)

        dz = np.concatenate([dz_i, dz_f, dz_g, dz_o], axis=-1)
        dW += inputs[t].T @ dz
        dU += h_before.T @ dz
        db += dz.sum(0)
        dp += np.stack([(dz_i * c_before).sum(0), (dz_f * c_before).sum(0), (dz_o * c).sum(0)])
        dx[t] = dz @ W.T
        carried_hidden = dz @ U.T
        carried_cell = dc[t] * f + dz_i * p_i + dz_f * p_f
    return LSTMGradients(dW, dU, db, dp, dx, carried_hidden, carried_cell, dh, dc, carried_cells)


# Gated recurrent unit


def gru_forward(params, inputs, hidden, reset="before"):
    """In the lecture notes' convention, h_t = (1 - z_t) h_{t-1} + z_t n_t: z is the share that is new."""
    W, U, b, *recurrent_bias = params
    U_r, U_z, U_n = np.split(U, 3, axis=-1)
    hiddens = []
    for x in inputs:
        x_r, x_z, x_n = np.split(x @ W + b, 3, axis=-1)
        r = sigmoid(x_r + hidden @ U_r)
        z = sigmoid(x_z + hidden @ U_z)
        if reset == "before":
            n = np.tanh(x_n + (r * hidden) @ U_n)
        else:
            n = np.tanh(x_n + r * (hidden @ U_n + recurrent_bias[0]))
        hidden = (1 - z) * hidden + z * n
        hiddens.append(hidden)
    return np.stack(hiddens)


def with_update_gate_turned(params):
    """The same GRU in the other convention: 1 - sigmoid(a) = sigmoid(-a), so z's columns change their sign."""
    W, U, b, *rest = params

    def turned(weight):
        r, z, n = np.split(weight, 3, axis=-1)
        return np.concatenate([r, -z, n], axis=-1)

    return turned(W), turned(U), turned(b), *rest
