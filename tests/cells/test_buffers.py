"""Fresh params and states can be donated: each of their arrays is one of its own."""

import jax
import jax.numpy as jnp
import pytest

import rnnjax
from rnnjax import Cell
from tests.cases import B, H, I

KEY = jax.random.key(0)


def pointers(tree: object) -> list[int]:
    return [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(tree) if not _is_key(leaf) and leaf.size]


def _is_key(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


@pytest.mark.parametrize("batch_shape", [(), (B,)])
def test_no_two_arrays_of_fresh_params_and_state_share_a_buffer(cell: Cell, batch_shape: tuple[int, ...]) -> None:
    params = cell.init(KEY, I)
    found = pointers((params, cell.initial_state(params, batch_shape)))
    assert len(set(found)) == len(found)


def test_what_donates_a_learned_state_leaves_the_params_alone() -> None:
    cell = rnnjax.learned_initial_state(rnnjax.gru(5))
    params = cell.init(KEY, I)
    moved = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
    moved(cell.initial_state(params, ()))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("wrong", [4, None, "32"])
@pytest.mark.parametrize("name", rnnjax.CELLS)
def test_a_batch_shape_that_is_no_tuple_is_refused(name: str, wrong: object) -> None:
    cell = rnnjax.cell_named(name)(H)
    params = jax.eval_shape(lambda: cell.init(KEY, I))
    with pytest.raises(TypeError, match=r"batch_shape is .* expected a tuple") as raised:
        jax.eval_shape(lambda params: cell.initial_state(params, wrong), params)
    assert len(str(raised.value)) <= 300
