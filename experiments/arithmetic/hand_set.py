r"""Weights set by hand: the smallest recurrent networks that add and count, as params of the library's own cells.

Digits x, a, b are signs, and so is the carry c: as a sign it is that of the majority, c_t = sign(a_t + b_t + c_{t-1}).
With u = a_t + b_t + c_{t-1} in {-3, -1, 1, 3} the digit of the sum is u - 2 c_t, again a sign. One unit has to bound u,
another one not to: a readout of a single monotone unit cannot rise, fall and rise with u.

    straight adder     c_t = hard_tanh(u)     d_t = hard_tanh(u / 4)     logit 4 (4 d_t - 2 c_t)
    saturated adder    c_t = tanh(2 u)        d_t = tanh(u / 4)          logit 4 (4 d_t - 2 c_t)

With a_t != b_t the carry is handed on: dc_t / dc_{t-1} is 1 in the straight one, and 2 (1 - c²) = 0.17 in the saturated
one, whose carry rests at c = tanh 2c = 0.96. With a_t = b_t nothing is handed on, in both.

    straight counter   h_t = |h_{t-1} - (1 + x_t) / 2|, h_0 = 1/4: to 3/4 or back at each one     logit 8 h_t - 4
    saturated counter  a GRU of one unit, z_t = sigmoid(-20 x_t), n_t = tanh(-2 h_{t-1}): turns h = 0.96 around

dh_t / dh_{t-1} is 1 or -1 in the straight counter; in the saturated one it is 1 at a zero, and -0.17 at a one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

import rnnjax
from experiments.networks.task_network import Network
from rnnjax.names import lookup

REST = 0.9575
"""Where h = tanh 2h."""


class HandSet(NamedTuple):
    """A problem's name, a cell, and its params with those of a dense readout (H, 1)."""

    problem: str
    cell: rnnjax.Cell
    network: Network


def hand_set(name: str) -> HandSet:
    """The network of that name; a ``ValueError`` with the nearest valid names for any other."""
    return lookup("network set by hand", name, BUILT)()


def straight_adder() -> HandSet:
    """Two hard_tanh units: where the carry is handed on, its gradient is, whole."""
    return _adder("hard_tanh", carry=1.0, start=1.0)


def saturated_adder() -> HandSet:
    """Two tanh units: the carry rests where tanh is flat."""
    return _adder("tanh", carry=2.0, start=REST)


def straight_counter() -> HandSet:
    """One unit whose activation is the absolute value: no slope but 1 and -1."""
    cell = rnnjax.learned_initial_state(rnnjax.elman(1, jnp.abs))
    drawn = cell.init(jax.random.key(0), 1)
    elman = drawn.cell._replace(kernel=jnp.array([[-0.5]]), recurrent_kernel=jnp.array([[1.0]]), bias=jnp.array([-0.5]))
    recurrent = drawn._replace(cell=elman, state=drawn.state._replace(hidden=jnp.array([0.25])))
    return HandSet("parity", cell, Network(recurrent, _readout([8.0], -4.0)))


def saturated_counter() -> HandSet:
    """A GRU of one unit, open at ones; its candidate is the old state, turned around and made as large as before."""
    cell = rnnjax.learned_initial_state(rnnjax.gru(1))
    drawn = cell.init(jax.random.key(0), 1)
    gru = drawn.cell._replace(
        kernel=jnp.array([[0.0, -20.0, 0.0]]),  # reset gate, update gate, candidate
        recurrent_kernel=jnp.array([[0.0, 0.0, -2.0]]),
        bias=jnp.array([20.0, 0.0, 0.0]),
    )
    recurrent = drawn._replace(cell=gru, state=drawn.state._replace(hidden=jnp.array([-REST])))
    return HandSet("parity", cell, Network(recurrent, _readout([4.0], 0.0)))


def _adder(activation: str, carry: float, start: float) -> HandSet:
    """The units are the carry, g(carry u), and g(u / 4); only the carry feeds back, and it starts as a zero."""
    cell = rnnjax.learned_initial_state(rnnjax.elman(2, activation))
    drawn = cell.init(jax.random.key(0), 2)
    rows = jnp.array([carry, 0.25])
    elman = drawn.cell._replace(
        kernel=jnp.stack([rows, rows]), recurrent_kernel=jnp.stack([rows, 0 * rows]), bias=jnp.zeros(2)
    )
    recurrent = drawn._replace(cell=elman, state=drawn.state._replace(hidden=jnp.array([-start, 0.0])))
    return HandSet("addition", cell, Network(recurrent, _readout([-8.0, 16.0], 0.0)))


def _readout(weights: list[float], bias: float) -> dict[str, dict[str, jax.Array]]:
    """Params of ``flax.linen.Dense(1)``."""
    return {"params": {"kernel": jnp.array(weights)[:, None], "bias": jnp.array([bias])}}


BUILT = {each.__name__: each for each in (straight_adder, saturated_adder, straight_counter, saturated_counter)}
"""By name."""
