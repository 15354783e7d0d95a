"""The norm of gradients, at the ends of the range of floats."""

import jax.numpy as jnp
import numpy as np

from rnnjax.engine.norms import norm


def test_norm_of_zero_infinity_and_the_smallest_numbers() -> None:
    rows = jnp.array([[0.0, 0.0], [3.0, 4.0], [jnp.inf, 1.0], [3e-30, 4e-30], [3e30, 4e30]])
    np.testing.assert_allclose(norm(rows, (1,)), [0.0, 5.0, np.inf, 5e-30, 5e30], rtol=1e-6)
