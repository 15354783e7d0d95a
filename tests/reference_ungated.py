"""The cells without gates as plain NumPy loops, to be read beside the equations.

Float64, sequences (T, B, ...), rows as vectors, as in ``tests.reference``. Each takes the params in their order, the
inputs, the start, and returns the outputs of all steps and the last state, in its order.
"""

import numpy as np
import scipy.linalg

from tests.reference import sigmoid


def relu(x):
    return np.maximum(x, 0)


def jordan(params, inputs, output):
    W, U, b, V, c = params
    outputs = []
    for x in inputs:
        output = np.log(1 + np.exp(np.tanh(x @ W + output @ U + b) @ V + c))
        outputs.append(output)
    return np.stack(outputs), (output,)


def leaky(params, inputs, hidden, rate):
    W, U, b = params
    outputs = []
    for x in inputs:
        hidden = hidden + rate * (-hidden + np.tanh(x @ W + hidden @ U + b))
        outputs.append(hidden)
    return np.stack(outputs), (hidden,)


def learned_leaky(params, inputs, hidden):
    elman_params, logit = params
    return leaky(elman_params, inputs, hidden, 1 / (1 + np.exp(-logit)))


def indrnn(params, inputs, hidden, activation):
    W, u, b = params
    outputs = []
    for x in inputs:
        hidden = activation(x @ W + hidden @ np.diag(u) + b)
        outputs.append(hidden)
    return np.stack(outputs), (hidden,)


def scrn(params, inputs, hidden, context, alpha):
    A, R, b, B, P = params
    outputs = []
    for x in inputs:
        context = (1 - alpha) * x @ B + alpha * context
        hidden = sigmoid(context @ P + x @ A + hidden @ R + b)
        outputs.append(np.concatenate([hidden, context], axis=-1))
    return np.stack(outputs), (hidden, context)


def clockwork(params, inputs, hidden, step, modules):
    """``modules``: (period, units) of each. One module after the other, as the paper describes them."""
    W, U, b = params
    outputs = []
    (t,) = set(np.round(step).ravel())
    for x in inputs:
        old, hidden = hidden, hidden.copy()
        for period, units in modules:
            if t % period == 0:
                received = x @ W[:, units] + b[units]
                for other_period, others in modules:
                    if other_period >= period:
                        received = received + old[:, others] @ U[np.ix_(others, units)]
                hidden[:, units] = np.tanh(received)
        t += 1
        outputs.append(hidden)
    cycle = np.lcm.reduce([period for period, _ in modules])
    return np.stack(outputs), (hidden, np.full(step.shape, t % cycle))


def mist(params, inputs, hidden, earlier, delays):
    W, U, b, W_a, U_a, b_a = params
    (W_r, W_h), (U_r, U_h), (b_r, b_h) = (np.split(weight, 2, axis=-1) for weight in (W, U, b))
    hiddens = [*(earlier[:, i] for i in reversed(range(earlier.shape[1]))), hidden]  # oldest first
    for x in inputs:
        last = hiddens[-1]
        scores = np.exp(x @ W_a + last @ U_a + b_a)
        a = scores / scores.sum(axis=-1, keepdims=True)
        mixed = sum(a[:, [i]] * hiddens[-(2**i)] for i in range(delays))
        r = sigmoid(x @ W_r + last @ U_r + b_r)
        hiddens.append(np.tanh(x @ W_h + (r * mixed) @ U_h + b_h))
    newest_first = hiddens[::-1]
    window = 2 ** (delays - 1)
    return np.stack(hiddens[-len(inputs) :]), (newest_first[0], np.stack(newest_first[1:window], axis=1))


def antisymmetric(params, inputs, hidden, epsilon, gamma):
    W, U, b = params
    A = U - U.T - gamma * np.eye(len(U))
    outputs = []
    for x in inputs:
        hidden = hidden + epsilon * np.tanh(x @ W + hidden @ A + b)
        outputs.append(hidden)
    return np.stack(outputs), (hidden,)


def gated_antisymmetric(params, inputs, hidden, epsilon, gamma):
    W, U, b = params
    (W_z, W_h), (b_z, b_h) = np.split(W, 2, axis=-1), np.split(b, 2)
    A = U - U.T - gamma * np.eye(len(U))
    outputs = []
    for x in inputs:
        z = sigmoid(hidden @ A + x @ W_z + b_z)
        hidden = hidden + epsilon * z * np.tanh(hidden @ A + x @ W_h + b_h)
        outputs.append(hidden)
    return np.stack(outputs), (hidden,)


def lipschitz(params, inputs, hidden, epsilon, beta, gamma):
    W, A, U, b = params

    def stabilized(M):
        return (1 - beta) * (M + M.T) + beta * (M - M.T) - gamma * np.eye(len(M))

    outputs = []
    for x in inputs:
        hidden = hidden + epsilon * (hidden @ stabilized(A) + np.tanh(hidden @ stabilized(U) + x @ W + b))
        outputs.append(hidden)
    return np.stack(outputs), (hidden,)


def cornn(params, inputs, y, z, dt, gamma, epsilon):
    W, U, V, b = params
    outputs = []
    for x in inputs:
        z = z + dt * (np.tanh(y @ U + z @ V + x @ W + b) - gamma * y - epsilon * z)
        y = y + dt * z
        outputs.append(y)
    return np.stack(outputs), (y, z)


def lem(params, inputs, y, z, dt):
    W, U, V, b = params
    W_1, W_2, W_z, W_y = np.split(W, 4, axis=-1)
    U_1, U_2, U_z = np.split(U, 3, axis=-1)
    b_1, b_2, b_z, b_y = np.split(b, 4)
    outputs = []
    for x in inputs:
        d = dt * sigmoid(y @ U_1 + x @ W_1 + b_1)
        e = dt * sigmoid(y @ U_2 + x @ W_2 + b_2)
        z = (1 - d) * z + d * np.tanh(y @ U_z + x @ W_z + b_z)
        y = (1 - e) * y + e * np.tanh(z @ V + x @ W_y + b_y)
        outputs.append(y)
    return np.stack(outputs), (y, z)


def orthogonal_matrix(skew, parametrization):
    A = np.triu(skew, 1) - np.triu(skew, 1).T
    if parametrization == "exponential":
        return scipy.linalg.expm(A)
    return np.linalg.inv(np.eye(len(A)) + A) @ (np.eye(len(A)) - A)


def orthogonal_rnn(params, inputs, hidden, parametrization, activation):
    W, S, b = params
    U = orthogonal_matrix(S, parametrization)
    outputs = []
    for x in inputs:
        z = x @ W + hidden @ U
        if activation == "modrelu":
            hidden = np.where(np.abs(z) + b > 0, np.sign(z) * (np.abs(z) + b), 0)
        else:
            hidden = np.tanh(z + b)
        outputs.append(hidden)
    return np.stack(outputs), (hidden,)
