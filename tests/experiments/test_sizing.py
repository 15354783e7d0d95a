"""How wide a network is for a number of params: nearest of all widths, found in few counts."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp

from experiments.networks import sizing


@hypothesis.given(st.integers(0, 3), st.integers(0, 9), st.integers(1, 200), st.integers(0, 100_000))
def test_the_width_is_the_nearest_of_all_and_few_are_tried(squares: int, each: int, most: int, params: int) -> None:
    tried = []

    def count(width: int) -> int:
        tried.append(width)
        return squares * width**2 + (each + 1) * width + 5

    found = sizing.nearest_width(range(1, most + 1), params, count)
    distances = [abs(squares * width**2 + (each + 1) * width + 5 - params) for width in range(1, most + 1)]
    assert distances[found - 1] == min(distances)
    assert len(tried) == len(set(tried)) <= 10


def test_numbers_of_arrays_and_of_their_shapes_are_counted() -> None:
    def made() -> dict[str, jax.Array]:
        return {"kernel": jnp.zeros((3, 4)), "scale": jnp.zeros(())}

    assert sizing.count_numbers(made()) == sizing.count_numbers(jax.eval_shape(made)) == 13
