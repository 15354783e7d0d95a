"""The last training state of a run on disk, by orbax: written whole or not at all."""

import shutil
import threading
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

# Orbax waits for ever where two threads save at once.
_one_at_a_time = threading.Lock()


def save(folder: Path, step: int, tree: Any) -> None:
    """Saves a pytree as the state after ``step``, then drops the one before."""
    with _one_at_a_time, _checkpointer() as checkpointer:
        checkpointer.save(folder.absolute() / str(step), jax.device_get(tree), force=True)
    for old in folder.iterdir():
        if old.name.isdigit() and int(old.name) < step:
            shutil.rmtree(old)


def restore(folder: Path, tree: Any) -> tuple[int, Any]:
    """The step and the state of the last checkpoint, or 0 and ``tree`` itself, which gives structure and shapes."""
    step = latest(folder)
    if not step:
        return 0, tree
    with _one_at_a_time, _checkpointer() as checkpointer:
        return step, checkpointer.restore(folder.absolute() / str(step), jax.device_get(tree))


def _checkpointer() -> ocp.StandardCheckpointer:
    """Of this process alone: by itself orbax takes all processes for one that saves one thing."""
    process = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix=f"process-{process}"
    )
    return ocp.StandardCheckpointer(multiprocessing_options=alone)


def latest(folder: Path) -> int:
    """The step of the last checkpoint, 0 if there is none; orbax gives unfinished ones other names."""
    if not folder.exists():
        return 0
    return max((int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()), default=0)
