"""Cells, and what is made of cells, know how they were made: equality, hash, repr, copies, pickles, compiled once."""

import copy
import functools
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.cells.elman import ElmanState
from tests.cases import CELL_CASES

T, B, I, H = 4, 2, 3, 5  # noqa: E741  the dimension letters of rnnjax.typing
KEY = jax.random.key(0)

MADE_OF_CELLS: dict[str, Any] = {
    "stack": lambda cell: rnnjax.stack(cell, rnnjax.lstm(H), input_to_all=True),
    "repeat": lambda cell: rnnjax.repeat(cell, 3),
    "residual": rnnjax.residual,
    "highway": lambda cell: rnnjax.highway(cell, -1.0),
    "layer_norm": rnnjax.layer_norm,
    "learned_initial_state": rnnjax.learned_initial_state,
    "dropout": lambda cell: rnnjax.dropout(cell, 0.5, jax.random.key(3), each="sequence"),
    "variational_dropout": lambda cell: rnnjax.variational_dropout(cell, 0.5, jax.random.key(3)),
    "zoneout": lambda cell: rnnjax.zoneout(cell, ElmanState(0.1)),  # type: ignore[arg-type]
    "drop_connect": lambda cell: rnnjax.drop_connect(cell, 0.5, jax.random.key(3)),
    "mixed_precision": rnnjax.mixed_precision,
    "clip_gradient_norm": lambda cell: rnnjax.clip_gradient_norm(cell, 1.0),
    "clip_gradient_values": lambda cell: rnnjax.clip_gradient_values(cell, 1.0),
    "series_parallel": rnnjax.series_parallel,
    "error_feedback": rnnjax.error_feedback,
    "bidirectional": lambda cell: rnnjax.bidirectional(cell, rnnjax.lstm(H)),
    "chain": lambda cell: rnnjax.chain(cell, rnnjax.bidirectional(rnnjax.gru(H), rnnjax.gru(H))),
    "delayed": lambda cell: rnnjax.delayed(cell, 2),
    "one_to_many": lambda cell: rnnjax.one_to_many(cell, "identity"),
    "encoder_decoder": lambda cell: rnnjax.encoder_decoder(cell, rnnjax.one_to_many(cell)),
}


def of_elman(name: str) -> Any:
    return MADE_OF_CELLS[name](rnnjax.narx(H) if name in ("series_parallel", "error_feedback") else rnnjax.elman(H))


BY_HAND = ("own_cell", "stack_of_learned_initial_states")  # or with a part that is
CASES = {name: make for name, make in CELL_CASES.items() if name not in BY_HAND}
CASES |= {name: functools.partial(of_elman, name) for name in MADE_OF_CELLS}


@pytest.mark.parametrize("name", CASES)
def test_what_is_made_the_same_way_is_equal_has_one_hash_and_can_be_copied_and_pickled(name: str) -> None:
    make = CASES[name]
    one, other = make(), make()
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other}) == 1
    assert copy.copy(one) == copy.deepcopy(one) == one
    again = pickle.loads(pickle.dumps(one))
    assert again == one
    assert hash(again) == hash(one)
    assert repr(again) == repr(one)


@pytest.mark.parametrize("name", MADE_OF_CELLS)
def test_its_repr_is_the_call_that_makes_it(name: str) -> None:
    made = of_elman(name)
    names = {each: getattr(rnnjax, each) for each in rnnjax.__all__} | {
        "key": jax.random.key(3),
        "bfloat16": jnp.bfloat16,
    }
    assert eval(repr(made), names | {"ElmanState": ElmanState}) == made


def test_a_repr_has_what_is_not_as_usual_and_no_addresses() -> None:
    orthogonal = rnnjax.initializers.orthogonal(0.5)
    expected = {
        "stack(lstm(64), gru(32))": rnnjax.stack(rnnjax.lstm(64), rnnjax.gru(32)),
        "gru(5, 'after')": rnnjax.cell_named("gru_reset_after")(5),
        "elman(5, 'relu', recurrent_init=orthogonal(scale=0.5))": rnnjax.elman(5, "relu", recurrent_init=orthogonal),
        "elman(5, tanh)": rnnjax.elman(5, jnp.tanh),
        "lstm(5)": rnnjax.lstm(hidden_size=5, forget_bias=1.0),
    }
    assert {text: repr(cell) for text, cell in expected.items()} == {text: text for text in expected}
    by_hand = rnnjax.lstm(5)._replace(advance=lambda params, state, drive: state)
    assert repr(by_hand).startswith("Cell(init, _initial_state, _project, <lambda>")


def test_other_arguments_make_another_cell() -> None:
    normal = jax.nn.initializers.normal
    cells = [
        rnnjax.elman(H),
        rnnjax.elman(H + 1),
        rnnjax.elman(H, "relu"),
        rnnjax.elman(H, jnp.tanh),
        rnnjax.elman(H, lambda x: jnp.tanh(x)),
        rnnjax.elman(H, lambda x: jnp.sin(x)),
        *(rnnjax.elman(H, kernel_init=normal(scale)) for scale in (0.1, 0.2)),
        *(rnnjax.elman(H, functools.partial(jnp.clip, min=-low)) for low in (1.0, 2.0)),
        *(rnnjax.dropout(rnnjax.elman(H), 0.5, jax.random.key(seed)) for seed in (0, 1)),
        rnnjax.elman(H)._replace(output=lambda params, state: state.hidden),
        rnnjax.jordan(H),
    ]
    assert len(set(cells)) == len(cells)
    assert rnnjax.elman(H, kernel_init=normal(0.1)) == cells[6]


def test_what_adds_nothing_is_the_cell_itself() -> None:
    cell = rnnjax.lstm(H)
    assert rnnjax.dropout(cell, 0.5) is cell


def test_a_part_that_was_changed_is_no_longer_what_it_was_made_as() -> None:
    cell, other = rnnjax.lstm(H), rnnjax.gru(H)
    changed = cell._replace(advance=other.advance)
    assert changed != cell
    assert changed._replace(advance=cell.advance) == cell
    assert changed == cell._replace(advance=other.advance)


def test_equal_cells_are_one_static_argument_and_compile_nothing_a_second_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def make() -> Any:
        return rnnjax.stack(rnnjax.lstm(H), rnnjax.residual(rnnjax.gru(H)))

    static = jax.jit(lambda cell, params, xs: rnnjax.unroll(cell, params, xs)[1], static_argnums=0)
    params, xs = make().init(KEY, I), jnp.ones((T, B, I))
    found = [static(make(), params, xs) for _ in range(2)]
    assert static._cache_size() == 1
    np.testing.assert_array_equal(*found)
    rnnjax.unroll(make(), params, xs)
    caplog.clear()
    with jax.log_compiles():
        again = rnnjax.unroll(make(), params, xs)[1]
    assert not [record.message for record in caplog.records if "Compiling" in record.message]
    np.testing.assert_allclose(again, found[0], rtol=1e-5)


def test_a_flax_module_with_an_equal_cell_is_an_equal_module() -> None:
    linen = pytest.importorskip("flax.linen", reason="flax is not installed")
    from rnnjax.adapters.linen import RNN

    def make() -> Any:
        return RNN(rnnjax.stack(rnnjax.lstm(H), rnnjax.gru(H)))

    assert isinstance(make(), linen.Module)
    static = jax.jit(lambda module, params, xs: module.apply(params, xs), static_argnums=0)
    params = {"params": make().init(KEY, jnp.ones((T, B, I)))["params"]}
    for _ in range(2):
        static(make(), params, jnp.ones((T, B, I)))
    assert static._cache_size() == 1


def test_a_function_without_a_name_cannot_be_pickled_and_the_error_says_so() -> None:
    cell = rnnjax.elman(H, lambda x: jnp.tanh(x))
    with pytest.raises(pickle.PicklingError, match="expected a function that has a name in its module"):
        pickle.dumps(cell)
    assert pickle.loads(pickle.dumps(rnnjax.elman(H, jax.nn.relu))) == rnnjax.elman(H, jax.nn.relu)


def test_cells_whose_arguments_are_being_traced_are_equal_to_themselves_alone() -> None:
    @jax.jit
    def traced(key: jax.Array) -> jax.Array:
        one, other = (rnnjax.dropout(rnnjax.lstm(H), 0.5, key) for _ in range(2))
        assert one == other  # of the very same key
        assert one != rnnjax.dropout(rnnjax.lstm(H), 0.5, jax.random.fold_in(key, 1))
        return rnnjax.unroll(one, one.init(KEY, I), jnp.ones((T, B, I)))[1]

    assert np.isfinite(traced(KEY)).all()
