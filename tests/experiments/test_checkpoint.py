"""Checkpoints: read by a documented call, and by orbax's own reader; damage is told in a line."""

import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments.common import checkpoint
from experiments.common.errors import ExperimentError
from experiments.common.workdir import checkpoints_of, open_workdir


class Params(NamedTuple):
    kernel: jax.Array
    layers: tuple[jax.Array, ...]


TREE: dict[str, Any] = {
    "params": Params(jnp.ones((2, 3)), (jnp.int32(3), jnp.bfloat16(0.5))),
    "key": jax.random.key(4),
    "empty": (),
}


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


def test_the_checkpoint_before_is_kept_and_an_unfinished_one_not_seen(tmp_path: Path) -> None:
    for step in (1, 2, 4):
        checkpoint.save(tmp_path, step, TREE, {})
    for left in ("9.partial.orbax-checkpoint-tmp", "1.dropped"):
        (tmp_path / left).mkdir()
    (tmp_path / "room.partial").write_text("")
    assert checkpoint.steps(tmp_path) == [4, 2]
    assert checkpoint.read(tmp_path).step == 4
    checkpoint.save(tmp_path, 3, TREE, {})  # of a run that was begun anew
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["2", "3"]


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda saved: next(saved.glob("state/ocdbt*/d/*")).write_bytes(b""),
    "one bit": lambda saved: flip(max(saved.rglob("d/*"), key=lambda path: path.stat().st_size)),
    "removed": lambda saved: (saved / "state" / "_METADATA").unlink(),
    "garbage": lambda saved: (saved / "about" / "metadata").write_bytes(b"\xff\x00\x01"),
    "digests": lambda saved: (saved / "sha256.json").write_text("[3]"),
    "empty": lambda saved: (shutil.rmtree(saved), saved.mkdir()),
}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_a_checkpoint_is_damaged_that_is_told_and_the_one_before_read(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"a": jnp.arange(1000.0) * step}, {"number": step})
    DAMAGES[damage](tmp_path / "2")
    saved = checkpoint.read(tmp_path)
    (told,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / '2'} is damaged (" in told
    assert told.endswith("): the checkpoint before it is used")
    assert (saved.step, saved.about["number"]) == (1, 1)
    np.testing.assert_array_equal(saved.tree["a"], np.arange(1000.0))
    DAMAGES["empty"](tmp_path / "1")
    with pytest.raises(ExperimentError, match=r"/1 is damaged \(sha256.json cannot be read\), and there is no other"):
        checkpoint.read(tmp_path)


def test_a_full_disk_is_told_in_a_line_and_leaves_the_checkpoints_that_are_there(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    checkpoint.save(tmp_path, 1, TREE, {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(
            ExperimentError, match=r"/2 cannot be written \(File too large; last good one: .*/1\): mend"
        ):
            checkpoint.save(tmp_path, 2, TREE, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]
    assert checkpoint.read(tmp_path).step == 1


def test_a_folder_without_a_checkpoint_and_one_of_other_arrays_are_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"has no checkpoint: expected a folder checkpoints/RUN of a run's workd"):
        checkpoint.read(tmp_path)
    checkpoint.save(tmp_path, 2, TREE, {})
    other_shape = {**TREE, "params": Params(jnp.ones((3, 2)), TREE["params"].layers)}
    for other in ({"other": jnp.zeros(3)}, other_shape):
        with pytest.raises(ExperimentError, match=r"/2 does not hold the arrays that this program expects: use the"):
            checkpoint.restore(tmp_path, other)


@pytest.mark.parametrize("damage", [None, "damaged", {"records": 7}, {}])
def test_a_run_whose_last_checkpoint_is_of_no_use_begins_anew_and_another_goes_on(
    tmp_path: Path, damage: str | dict[str, int] | None
) -> None:
    open_workdir(tmp_path, {}, overwrite=False).append([{"run": "a", "kind": "train"}, {"run": "a", "kind": "train"}])
    folder = checkpoints_of(tmp_path, "a") / "last"
    checkpoint.save(folder, 5, TREE, damage if isinstance(damage, dict) else {"records": 1})
    if damage == "damaged":
        (folder / "5" / "about" / "metadata").write_text('{"torn')
    again = open_workdir(tmp_path, {}, overwrite=False)
    assert again.begun == {"a": 1 if damage is None else 0}
    assert len(again.metrics.read_bytes().splitlines()) == (1 if damage is None else 0)
    assert folder.exists() == (damage is None)
