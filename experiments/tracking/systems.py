"""What is tracked: a position p_t of mean 0 and variance 1, stationary from the first step on, seen in noise as x_t.

    z_t = A z_{t-1} + w_t,  w_t ~ N(0, Q)        p_t = c z_t        x_t = p_t + v_t,  v_t ~ N(0, R)

spring   a mass on a damped spring that noise drives; z_t = (position, velocity / angular frequency)
jumps    a target at 1 or at -1, which at each step goes over to the other place with a probability q. It is not
         Gaussian, but has the covariances of  A = 1 - 2q:  what is the best linear estimate of the one is so of the
         other.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array
from ml_collections import ConfigDict

from experiments.tracking import optimum
from experiments.tracking.optimum import Linear
from rnnjax.typing import Key


class System(NamedTuple):
    """A system of a config.

    Attributes:
        linear: the linear one with its covariances.
        draw: ``(key, T, B) -> positions (T, B), observations (T, B)``.
        estimates: ``(observations (T, B), delay) -> (T, B)``, the best there are, each at the step in which it is made.
        gaussian: whether the best estimates are linear ones, and so their error is known in closed form.
    """

    linear: Linear
    draw: Callable[[Key, int, int], tuple[Array, Array]]
    estimates: Callable[[np.ndarray, int], np.ndarray]
    gaussian: bool


def spring(config: ConfigDict) -> System:
    """A mass on a spring:  p'' = -w² p - 2 a w p' + noise,  w = 2 pi / period,  a the damping, seen once a time unit.

    In the coordinates (p, p' / w) the stationary covariance is 1, hence  Q = 1 - A A^T.
    """
    frequency, sensor = 2 * math.pi / config.period, config.sensor_noise
    motion = scipy.linalg.expm(frequency * np.array([[0.0, 1.0], [-1.0, -2 * config.damping]]))
    linear = Linear(motion, np.eye(2) - motion @ motion.T, np.array([1.0, 0.0]), sensor**2)
    factor = np.linalg.cholesky(linear.drive)

    def draw(key: Key, steps: int, count: int) -> tuple[Array, Array]:
        start_key, drive_key, sensor_key = jax.random.split(key, 3)
        start = jax.random.normal(start_key, (count, 2))
        transition, spread = (jnp.asarray(each.T, start.dtype) for each in (motion, factor))

        def step(place: Array, drive: Array) -> tuple[Array, Array]:
            place = place @ transition + drive
            return place, place[:, 0]

        _, positions = jax.lax.scan(step, start, jax.random.normal(drive_key, (steps, count, 2)) @ spread)
        return positions, positions + sensor * jax.random.normal(sensor_key, positions.shape)

    return System(linear, draw, lambda seen, delay: optimum.linear_estimates(linear, seen, delay), gaussian=True)


def jumps(config: ConfigDict) -> System:
    """At 1 or -1, over to the other with a probability."""
    probability, sensor = config.jump_probability, config.sensor_noise
    kept = 1 - 2 * probability
    linear = Linear(np.array([[kept]]), np.array([[1 - kept**2]]), np.ones(1), sensor**2)

    def draw(key: Key, steps: int, count: int) -> tuple[Array, Array]:
        start_key, jump_key, sensor_key = jax.random.split(key, 3)
        start = jax.random.rademacher(start_key, (1, count), float)
        turns = jnp.where(jax.random.bernoulli(jump_key, probability, (steps, count)), -1.0, 1.0)
        positions = start * jnp.cumprod(turns, axis=0)
        return positions, positions + sensor * jax.random.normal(sensor_key, positions.shape)

    def estimates(seen: np.ndarray, delay: int) -> np.ndarray:
        return optimum.jump_estimates(probability, sensor**2, seen, delay)

    return System(linear, draw, estimates, gaussian=False)


SYSTEMS: dict[str, Callable[[ConfigDict], System]] = {"spring": spring, "jumps": jumps}
