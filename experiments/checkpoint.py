"""The last training state of a run on disk, by orbax: written whole or not at all."""

import dataclasses
import shutil
import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization

# Orbax waits for ever where two threads save at once.
_one_at_a_time = threading.Lock()


def save(folder: Path, step: int, tree: Any) -> None:
    """Saves a pytree as the state after ``step``, then drops the one before."""
    with _one_at_a_time, _checkpointer() as checkpointer:
        checkpointer.save(folder.absolute() / str(step), _Tree(tree), force=True)
    for old in folder.iterdir():
        if old.name.isdigit() and int(old.name) < step:
            shutil.rmtree(old)


def restore(folder: Path, tree: Any) -> tuple[int, Any]:
    """The step and the state of the last checkpoint, or 0 and ``tree`` itself, which gives structure and shapes."""
    step = latest(folder)
    if not step:
        return 0, tree
    with _one_at_a_time, _checkpointer() as checkpointer:
        return step, checkpointer.restore(folder.absolute() / str(step), args=_Tree(tree))


def latest(folder: Path) -> int:
    """The step of the last checkpoint, 0 if there is none; orbax gives unfinished ones other names."""
    if not folder.exists():
        return 0
    return max((int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()), default=0)


class _OneProcess(ocp.CheckpointHandler):  # type: ignore[misc]
    """A pytree as a file of flax. Orbax's own handlers write nothing in the second of several JAX processes."""

    def save(self, directory: Path, args: "_Tree") -> None:
        (directory / "state.msgpack").write_bytes(serialization.to_bytes(args.tree))

    def restore(self, directory: Path, args: "_Tree") -> Any:
        saved = serialization.from_bytes(args.tree, (directory / "state.msgpack").read_bytes())
        return jax.tree.map(np.array, saved)  # copies, since what is read from bytes cannot be written to


@ocp.args.register_with_handler(_OneProcess, for_save=True, for_restore=True)
@dataclasses.dataclass
class _Tree(ocp.args.CheckpointArgs):  # type: ignore[misc]
    tree: Any


def _checkpointer() -> ocp.Checkpointer:
    process = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix=f"process-{process}"
    )
    return ocp.Checkpointer(_OneProcess(), multiprocessing_options=alone)
