"""Gated and linear recurrent cells as plain NumPy loops, to be read beside the equations.

Everything is float64, sequences are (T, B, ...), vectors are rows: x W + h U + b, the gates' columns side by side. Each
takes the params as a tuple of arrays in the order of their fields, and the initial state's parts; each returns the
outputs (T, B, H) and, where there is one, the memory.
"""

import numpy as np

from tests.reference import sigmoid

# LSTM variants


def cifg_lstm(params, inputs, hidden, cell):
    W, U, b = params
    hiddens, cells = [], []
    for x in inputs:
        z_f, z_g, z_o = np.split(x @ W + hidden @ U + b, 3, axis=-1)
        f = sigmoid(z_f)
        i = 1 - f
        cell = f * cell + i * np.tanh(z_g)
        hidden = sigmoid(z_o) * np.tanh(cell)
        hiddens.append(hidden)
        cells.append(cell)
    return np.stack(hiddens), np.stack(cells)


def lstm_1997(params, inputs, hidden, cell, into=np.tanh, out_of=np.tanh):
    """``into`` and ``out_of`` squash what goes into the memory and out of it."""
    W, U, b = params
    hiddens, cells = [], []
    for x in inputs:
        z_i, z_g, z_o = np.split(x @ W + hidden @ U + b, 3, axis=-1)
        cell = cell + sigmoid(z_i) * into(z_g)
        hidden = sigmoid(z_o) * out_of(cell)
        hiddens.append(hidden)
        cells.append(cell)
    return np.stack(hiddens), np.stack(cells)


def janet(params, inputs, hidden, beta=1):
    W, U, b = params
    hiddens = []
    for x in inputs:
        s, z_g = np.split(x @ W + hidden @ U + b, 2, axis=-1)
        hidden = sigmoid(s) * hidden + (1 - sigmoid(s - beta)) * np.tanh(z_g)
        hiddens.append(hidden)
    return np.stack(hiddens)


def normalized(z):
    return (z - z.mean(axis=-1, keepdims=True)) / np.sqrt(z.var(axis=-1, keepdims=True) + 1e-5)


def layer_norm_lstm(params, inputs, hidden, cell):
    W, U, b, gain_x, gain_h, gain_c, b_c = params
    hiddens, cells = [], []
    for x in inputs:
        z = gain_x * normalized(x @ W) + gain_h * normalized(hidden @ U) + b
        z_i, z_f, z_g, z_o = np.split(z, 4, axis=-1)
        cell = sigmoid(z_f) * cell + sigmoid(z_i) * np.tanh(z_g)
        hidden = sigmoid(z_o) * np.tanh(gain_c * normalized(cell) + b_c)
        hiddens.append(hidden)
        cells.append(cell)
    return np.stack(hiddens), np.stack(cells)


def slstm_unstabilized(params, inputs, hidden, memory, normalizer):
    """The sLSTM as defined, without stabilizer: exp of a large input gate overflows."""
    W, U, b = params
    hiddens, memories, normalizers = [], [], []
    for x in inputs:
        z_i, z_f, z_g, z_o = np.split(x @ W + hidden @ U + b, 4, axis=-1)
        i, f = np.exp(z_i), sigmoid(z_f)
        memory = f * memory + i * np.tanh(z_g)
        normalizer = f * normalizer + i
        hidden = sigmoid(z_o) * memory / normalizer
        hiddens.append(hidden)
        memories.append(memory)
        normalizers.append(normalizer)
    return np.stack(hiddens), np.stack(memories), np.stack(normalizers)


# GRU variants


def minimal_gated_unit(params, inputs, hidden):
    W, U, b = params
    U_f, U_n = np.split(U, 2, axis=-1)
    hiddens = []
    for x in inputs:
        x_f, x_n = np.split(x @ W + b, 2, axis=-1)
        f = sigmoid(x_f + hidden @ U_f)
        n = np.tanh(x_n + (f * hidden) @ U_n)
        hidden = (1 - f) * hidden + f * n
        hiddens.append(hidden)
    return np.stack(hiddens)


def ugrnn(params, inputs, hidden):
    W, U, b = params
    hiddens = []
    for x in inputs:
        a_z, a_n = np.split(x @ W + hidden @ U + b, 2, axis=-1)
        z = sigmoid(a_z)
        hidden = z * hidden + (1 - z) * np.tanh(a_n)
        hiddens.append(hidden)
    return np.stack(hiddens)


def recurrent_highway(params, inputs, hidden):
    W, Us, bs = params
    hiddens = []
    for x in inputs:
        for layer, (U, b) in enumerate(zip(Us, bs, strict=True)):
            indicator = 1 if layer == 0 else 0
            a_h, a_t = np.split(indicator * (x @ W) + hidden @ U + b, 2, axis=-1)
            transform = sigmoid(a_t)
            carry = 1 - transform
            hidden = np.tanh(a_h) * transform + hidden * carry
        hiddens.append(hidden)
    return np.stack(hiddens)


# Linear recurrences


def min_gru(params, inputs, hidden):
    W, b = params
    hiddens = []
    for x in inputs:
        a_z, n = np.split(x @ W + b, 2, axis=-1)
        z = sigmoid(a_z)
        hidden = (1 - z) * hidden + z * n
        hiddens.append(hidden)
    return np.stack(hiddens)


def min_lstm(params, inputs, hidden):
    W, b = params
    hiddens = []
    for x in inputs:
        a_i, a_f, g = np.split(x @ W + b, 3, axis=-1)
        i, f = sigmoid(a_i), sigmoid(a_f)
        hidden = f / (f + i) * hidden + i / (f + i) * g
        hiddens.append(hidden)
    return np.stack(hiddens)


def qrnn(params, inputs, cell):
    W, b = params
    outputs = []
    for x in inputs:
        a_f, a_g, a_o = np.split(x @ W + b, 3, axis=-1)
        f = sigmoid(a_f)
        cell = f * cell + (1 - f) * np.tanh(a_g)
        outputs.append(sigmoid(a_o) * cell)
    return np.stack(outputs)


def sru(params, inputs, cell):
    W, b, W_x = params
    b_f, b_r = np.split(b, 2)
    outputs = []
    for x in inputs:
        a_f, a_r, candidate = np.split(x @ W, 3, axis=-1)
        f, r = sigmoid(a_f + b_f), sigmoid(a_r + b_r)
        cell = f * cell + (1 - f) * candidate
        outputs.append(r * np.tanh(cell) + (1 - r) * (x if W_x is None else x @ W_x))
    return np.stack(outputs)


def lru(params, inputs, memory):
    """With complex matrices, as the paper has it."""
    nu, theta, log_gamma, B_real, B_imaginary, C_real, C_imaginary, D = params
    eigenvalues = np.exp(-np.exp(nu) + 1j * np.exp(theta))
    B, C = B_real + 1j * B_imaginary, C_real + 1j * C_imaginary
    outputs = []
    for x in inputs:
        memory = eigenvalues * memory + np.exp(log_gamma) * (x @ B)
        outputs.append((memory @ C).real + x @ D)
    return np.stack(outputs)
