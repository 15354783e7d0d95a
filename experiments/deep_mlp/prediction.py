r"""What a random network of many units in each layer does to signals and to gradients, without drawing one.

With z_l = a_{l-1} W_l + b_l, a_l = \phi(z_l), and weights of variance v_l and biases of variance c_l, all independent,
the mean squares over the n_l units of a layer follow, for n_l to infinity,

    q_l = E z_l^2 = n_{l-1} v_l m_{l-1} + c_l      m_l = E a_l^2 = E \phi(\sqrt{q_l} x)^2,  x ~ N(0, 1)
    d_l = E (dL/dz_l)^2 = \chi_l d_{l+1}           \chi_l = n_{l+1} v_{l+1} E \phi'(\sqrt{q_l} x)^2

(Poole et al., 2016; Schoenholz et al., 2017). The gradient of one example with respect to the weights that come into
unit j of layer l is a_{l-1} dL/dz_{l,j}: its mean square norm over units is n_{l-1} m_{l-1} d_l. Back through a layer
it changes by n_{l-1} m_{l-1} / (n_l m_l) \chi_l, where what the signal has lost on its way up comes back.

Valid at initialization, for depths far below the width: fluctuations of ln d_l grow as depth / width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rnnjax.measure.mean_field import gaussian_moments
from rnnjax.typing import Activation


class Predicted(NamedTuple):
    """Layers 1 to L of a network; gradients relative to those of layer L.

    Attributes:
        inputs: (L,) root mean square of what comes into a layer, sqrt(m_{l-1}).
        adjoints: (L,) root mean square of dL/dz_l, sqrt(d_l / d_L).
        norms: (L,) root mean square over units of the norm of one example's gradient of the incoming weights.
    """

    inputs: np.ndarray
    adjoints: np.ndarray
    norms: np.ndarray


def predict(
    activation: Activation,
    widths: Sequence[int],
    variances: Sequence[tuple[float, float]],
    input_square: float,
) -> Predicted:
    """Mean squares up and down the L layers whose units ``widths[1:]`` counts.

    Args:
        activation: phi.
        widths: (L + 1,), the number of inputs first.
        variances: of each layer's single weights and of its biases, v_l and c_l.
        input_square: mean square of the inputs, m_0.
    """
    squares, slopes = [input_square], []
    for fan_in, (weights, biases) in zip(widths[:-1], variances, strict=True):
        square, slope = gaussian_moments(activation, fan_in * weights * squares[-1] + biases)
        squares.append(square)
        slopes.append(slope)
    # Down from layer L, whose own factor depends on what is above it.
    gains = np.multiply(widths[2:], [weights for weights, _ in variances[1:]]) * slopes[:-1]
    adjoints = np.append(np.cumprod(gains[::-1])[::-1], 1.0)
    norms = np.multiply(widths[:-1], squares[:-1]) * adjoints
    return Predicted(np.sqrt(squares[:-1]), np.sqrt(adjoints), np.sqrt(norms / norms[-1]))
