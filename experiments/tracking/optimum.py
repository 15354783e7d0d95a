"""The best estimates there are, and their mean squared errors, from covariances and probabilities: no training.

A delay d says which position is estimated from what has been seen up to step t: p_{t-d}. Of 0 it is the filter's, of
more the fixed-lag smoother's, of less a prediction. The time-invariant estimators are meant, long after the start.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg


class Linear(NamedTuple):
    """z_t = A z_{t-1} + w_t,  p_t = c z_t,  x_t = p_t + v_t."""

    transition: np.ndarray  # A (n, n)
    drive: np.ndarray  # Q (n, n), the covariance of w
    reading: np.ndarray  # c (n,)
    sensor: float  # R, the variance of v


class Kalman(NamedTuple):
    """The steady Kalman filter; innovations are  e_t = x_t - c A z_{t-1},  z_{t-1} its estimate."""

    predicted: np.ndarray  # P (n, n), the covariance of the error of A z_{t-1}
    innovation: float  # S, the variance of e_t
    gain: np.ndarray  # K (n,), what is added to A z_{t-1} for each e_t
    carried: np.ndarray  # F (n, n) = A (1 - K c), from the error of one prediction to that of the next


class Recurrent(NamedTuple):
    """A linear recurrent network  h_t = M h_{t-1} + b x_t,  y_t = r h_t."""

    transition: np.ndarray  # M (m, m)
    kernel: np.ndarray  # b (m,)
    readout: np.ndarray  # r (m,)


def kalman(linear: Linear) -> Kalman:
    """By the discrete algebraic Riccati equation."""
    A, Q, c, R = linear
    P = scipy.linalg.solve_discrete_are(A.T, c[:, None], Q, np.array([[R]]))
    S = float(c @ P @ c) + R
    K = P @ c / S
    return Kalman(P, S, K, A - np.outer(A @ K, c))


def smoothing_gains(linear: Linear, known: Kalman, delay: int) -> np.ndarray:
    """(delay + 1,): what is added to the estimate of p_t for the innovations e_t, ..., e_{t+delay}.

    The innovation i steps later has the covariance  c P (F^T)^i c  with the error of the prediction (Anderson & Moore,
    1979, section 7.3).
    """
    gains, carried = [], linear.reading @ known.predicted
    for _ in range(delay + 1):
        gains.append(carried @ linear.reading / known.innovation)
        carried = carried @ known.carried.T
    return np.array(gains)


def error(linear: Linear, delay: int) -> float:
    """The mean squared error of the best linear estimate."""
    known, c = kalman(linear), linear.reading
    covariance = known.predicted
    if delay < 0:
        for _ in range(-delay - 1):
            covariance = linear.transition @ covariance @ linear.transition.T + linear.drive
        return float(c @ covariance @ c)
    gains = smoothing_gains(linear, known, delay)
    return float(c @ covariance @ c - known.innovation * (gains**2).sum())


def error_of_one(linear: Linear, delay: int) -> float:
    """The same of what x_t alone tells, where nothing else is remembered; p has a variance of 1."""
    power = np.linalg.matrix_power(linear.transition, abs(delay))
    stationary = scipy.linalg.solve_discrete_lyapunov(linear.transition, linear.drive)
    correlation = linear.reading @ power @ stationary @ linear.reading
    return float(1 - correlation**2 / (1 + linear.sensor))


def as_network(linear: Linear, delay: int) -> Recurrent:
    """The estimator as a linear recurrent network: n units, and one more for each step of the delay.

    The first n are the filter's estimate of z_t. Of the others the i-th has that of p_{t-i}: what the one before it had
    a step ago, put right by the gain for an innovation that is i steps late.
    """
    A, _, c, _ = linear
    known, n, lags = kalman(linear), len(c), max(delay, 0)
    gains = smoothing_gains(linear, known, lags)
    M, b, r = np.zeros((n + lags, n + lags)), np.zeros(n + lags), np.zeros(n + lags)
    M[:n, :n], b[:n] = A - np.outer(known.gain, c @ A), known.gain
    for lag in range(1, lags + 1):
        place = n + lag - 1
        M[place, :n] = -gains[lag] * (c @ A)
        if lag == 1:
            M[place, :n] += c
        else:
            M[place, place - 1] = 1
        b[place] = gains[lag]
    if lags:
        r[-1] = 1
    else:
        r[:n] = c @ np.linalg.matrix_power(A, -delay)
    return Recurrent(M, b, r)


def linear_estimates(linear: Linear, seen: np.ndarray, delay: int) -> np.ndarray:
    """(T, B), each at the step in which it is made, of observations (T, B)."""
    M, b, r = as_network(linear, delay)
    hidden, found = np.zeros((len(b), seen.shape[1])), np.empty(seen.shape)
    for step, observed in enumerate(seen):
        hidden = M @ hidden + b[:, None] * observed
        found[step] = r @ hidden
    return found


def state_norms(network: Recurrent, lags: int) -> np.ndarray:
    """||dy_T/dh_t|| by lag T - t (lags,)."""
    norms, back = [], network.readout
    for _ in range(lags):
        norms.append(np.linalg.norm(back))
        back = back @ network.transition
    return np.array(norms)


def rate(linear: Linear) -> float:
    """What a step back multiplies a derivative of the filter by, in the long run: the largest eigenvalue's modulus."""
    return float(np.abs(np.linalg.eigvals(kalman(linear).carried)).max())


def jump_estimates(probability: float, sensor: float, seen: np.ndarray, delay: int) -> np.ndarray:
    """(T, B) means of a position at 1 or -1 that changes its sign with a probability: the exact nonlinear estimates.

        l_t = 2 x_t / R + f(l_{t-1}),   f(l) = 2 artanh((1 - 2q) tanh(l / 2)),   E[p_t | x_1 ... x_t] = tanh(l_t / 2)

    l are the log odds of 1 against -1, in a recurrent network of one unit. What comes later sends back
    m_t = f(2 x_{t+1} / R + m_{t+1}),  which is added to l_t.
    """
    kept = 1 - 2 * probability

    def passed(odds: np.ndarray) -> np.ndarray:
        return 2 * np.arctanh(kept * np.tanh(odds / 2))

    told = 2 * np.asarray(seen, np.float64) / sensor
    odds, before = np.empty_like(told), np.zeros(told.shape[1:])
    for step, of_step in enumerate(told):
        odds[step] = before = of_step + passed(before)
    if delay <= 0:
        return kept**-delay * np.tanh(odds / 2)
    later = np.zeros_like(told)
    for _ in range(delay):
        later[:-1] = passed(told[1:] + later[1:])
    return np.roll(np.tanh((odds + later) / 2), delay, axis=0)
