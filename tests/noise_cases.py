"""What the tests of noise share: networks whose outputs show the masks, and means over many keys.

One network's outputs are all 1, one counts its steps, one hands on what it gets.
"""

from functools import partial

import jax
import numpy as np

import rnnjax
from rnnjax.cells.elman import ElmanParams
from tests.cases import H, I, random_inputs, random_params

RATE = 0.3
KEYS = 2000
DROPS = {
    "dropout": rnnjax.dropout,
    "dropout_of_sequences": partial(rnnjax.dropout, each="sequence"),
    "variational_dropout": rnnjax.variational_dropout,
    "zoneout": rnnjax.zoneout,
    "drop_connect": rnnjax.drop_connect,
}
LINEAR = rnnjax.elman(H, "identity")

assert_equal = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-13)


def linear_params(recurrent_kernel, bias):
    """h_t = h_{t-1} U + b, whatever the inputs are."""
    size = len(recurrent_kernel)
    return ElmanParams(np.zeros((I, size)), np.asarray(recurrent_kernel), np.full(size, float(bias)))


ONES = linear_params(np.zeros((H, H)), 1)  # h_t = 1
COUNTER = linear_params(np.eye(H), 1)  # h_t = h_{t-1} + 1
HANDS_ON = linear_params(np.eye(H), 0)  # h_t = h_{t-1}


def key(seed):
    return jax.random.key(seed)


def arrays(tree):
    return jax.tree.map(np.asarray, tree)


def over_keys(function):
    """(KEYS, ...): what the function of a key gives, for many."""
    return np.asarray(jax.jit(jax.vmap(function))(jax.random.split(key(99), KEYS)))


def assert_mean(samples, expected):
    """Mean over keys within 4 standard errors of what is expected."""
    error = samples.std(axis=0) / np.sqrt(len(samples))
    assert (np.abs(samples.mean(axis=0) - expected) < 4 * error + 1e-12).all()


def assert_independent(draws, probability):
    """Draws (KEYS, ...) of steps, examples and units: no two of them go together more often than by chance."""
    centred = draws.reshape(KEYS, -1) - probability
    variance = probability * (1 - probability)
    covariance = centred.T @ centred / KEYS - variance * np.eye(centred.shape[1])
    assert np.abs(covariance[~np.eye(len(covariance), dtype=bool)]).max() < 5 * variance / np.sqrt(KEYS)


def run(cell):
    return lambda: rnnjax.unroll(cell, random_params(cell), random_inputs())
