"""Checkpoints: read by a documented call, and by orbax's own reader; damage is told in a line."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments.common import checkpoint
from experiments.common.command import ExperimentError
from experiments.common.workdir import checkpoints_of, open_workdir


class Params(NamedTuple):
    kernel: jax.Array
    layers: tuple[jax.Array, ...]


TREE = {"params": Params(jnp.ones((2, 3)), (jnp.int32(3), jnp.bfloat16(0.5))), "key": jax.random.key(4), "empty": ()}


def test_what_was_saved_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "last", 7, TREE, {"vocabulary": ["a", "€"], "loss": float("nan")})
    saved = checkpoint.restore(tmp_path, jax.tree.map(jnp.zeros_like, TREE) | {"key": jax.random.key(0)})
    assert saved.step == 7
    assert jax.tree.structure(saved.tree) == jax.tree.structure(TREE)
    for found, expected in zip(jax.tree.leaves(saved.tree), jax.tree.leaves(TREE), strict=True):
        assert found.dtype == expected.dtype
    np.testing.assert_array_equal(saved.tree["params"].kernel, TREE["params"].kernel)
    assert jax.random.bits(saved.tree["key"]) == jax.random.bits(TREE["key"])
    assert saved.about["vocabulary"] == ["a", "€"]
    assert np.isnan(checkpoint.about(tmp_path)["loss"])


def test_without_a_structure_and_by_orbax_alone_it_is_dicts_and_lists_of_arrays(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "last", 1, TREE, {})
    by_orbax = ocp.StandardCheckpointer().restore(tmp_path.absolute() / "last" / "1" / "state")
    for tree in (checkpoint.read(tmp_path).tree, by_orbax):
        np.testing.assert_array_equal(tree["params"]["kernel"], np.ones((2, 3)))
        assert tree["params"]["layers"][0] == 3


def test_the_checkpoint_before_is_dropped_and_an_unfinished_one_not_seen(tmp_path: Path) -> None:
    for step in (2, 4):
        checkpoint.save(tmp_path, step, TREE, {})
    (tmp_path / "9.orbax-checkpoint-tmp-1").mkdir()
    assert checkpoint.latest(tmp_path) == 4
    assert not (tmp_path / "2").exists()
    checkpoint.save(tmp_path, 3, TREE, {})  # of a run that was begun anew
    assert checkpoint.latest(tmp_path) == 3


def test_a_folder_without_a_checkpoint_and_a_damaged_one_are_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"has no checkpoint: expected a folder checkpoints/RUN of a run's workd"):
        checkpoint.read(tmp_path)
    checkpoint.save(tmp_path, 2, TREE, {})
    (tmp_path / "2" / "about" / "metadata").write_text('{"torn')
    with pytest.raises(ExperimentError, match=r"cannot be read \(.*\): delete that folder, and its run starts anew"):
        checkpoint.about(tmp_path)
    with pytest.raises(ExperimentError, match=r"cannot be read"):
        checkpoint.restore(tmp_path, {"other": jnp.zeros(3)})


@pytest.mark.parametrize("damage", [None, '{"torn', '{"records": 7}', "{}"])
def test_a_run_whose_last_checkpoint_is_of_no_use_begins_anew_and_another_goes_on(
    tmp_path: Path, damage: str | None
) -> None:
    open_workdir(tmp_path, {}, overwrite=False).append([{"run": "a", "kind": "train"}, {"run": "a", "kind": "train"}])
    folder = checkpoints_of(tmp_path, "a") / "last"
    checkpoint.save(folder, 5, TREE, {"records": 1})
    if damage:
        (folder / "5" / "about" / "metadata").write_text(damage)
    again = open_workdir(tmp_path, {}, overwrite=False)
    assert again.begun == {"a": 0 if damage else 1}
    assert len(again.metrics.read_bytes().splitlines()) == (0 if damage else 1)
    assert folder.exists() == (damage is None)
