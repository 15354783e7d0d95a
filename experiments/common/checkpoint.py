"""A training state on disk, by orbax: written whole or not at all, with what is needed to use it.

    saved = checkpoint.read("runs/gradient_flow/checkpoints/RUN")
    saved.step, saved.about["config"], saved.tree["params"]

Experiments have a ``load`` that makes of it what can be called.

A folder has one checkpoint, named by its training step, with two parts: ``state``, which orbax's own
StandardCheckpointer reads, too, and ``about``, a JSON file.
"""

import contextlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint._src.multihost import multihost

from experiments.common.command import ExperimentError

# Orbax waits for ever where two threads save at once.
_one_at_a_time = threading.Lock()


class Saved(NamedTuple):
    """A checkpoint as it was read.

    Attributes:
        step: how many training steps its state has behind it.
        tree: the state, as nested dicts and lists of NumPy arrays; from ``restore`` as what it was.
        about: what was saved with it.
    """

    step: int
    tree: Any
    about: dict[str, Any]


def save(folder: Path, step: int, tree: Any, about: dict[str, Any]) -> None:
    """Saves a pytree as the state after ``step``, then drops the one before."""
    parts = ocp.args.Composite(state=ocp.args.StandardSave(jax.tree.map(_plain, tree)), about=ocp.args.JsonSave(about))
    with _checkpointer() as checkpointer:
        checkpointer.save(folder.absolute() / str(step), parts, force=True)
    for old in folder.iterdir():
        if old.name.isdigit() and int(old.name) != step:
            shutil.rmtree(old)


def latest(folder: str | Path) -> int | None:
    """The step of the checkpoint in a folder; orbax gives unfinished ones other names."""
    folder = Path(folder)
    steps = [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()] if folder.is_dir() else []
    return max(steps, default=None)


def read(folder: str | Path) -> Saved:
    """The checkpoint in a folder; in that of a run, ``checkpoints/RUN``, its last one.

    Raises:
        ExperimentError: if there is none, or it cannot be read.
    """
    return _read(_last(folder), ocp.args.StandardRestore())


def restore(folder: str | Path, like: Any) -> Saved:
    """The same, with a tree of the structure, shapes and dtypes of ``like``."""
    saved = _read(_last(folder), ocp.args.StandardRestore(jax.tree.map(_plain, like)))
    return saved._replace(tree=jax.tree.map(_as, like, saved.tree))


def about(folder: str | Path) -> dict[str, Any]:
    """What was saved with the checkpoint in a folder, without reading its state."""
    folder = _last(folder)
    with _readable(folder), _checkpointer() as checkpointer:
        parts = ocp.args.Composite(about=ocp.args.JsonRestore())
        found: dict[str, Any] = checkpointer.restore(folder.absolute() / str(latest(folder)), parts).about
        return found


def _last(folder: str | Path) -> Path:
    folder = Path(folder)
    return folder / "last" if (folder / "last").is_dir() else folder


def _read(folder: Path, state: Any) -> Saved:
    step = latest(folder)
    if step is None:
        raise ExperimentError(f"{folder} has no checkpoint: expected a folder checkpoints/RUN of a run's workdir")
    with _readable(folder), _checkpointer() as checkpointer:
        parts = ocp.args.Composite(state=state, about=ocp.args.JsonRestore())
        found = checkpointer.restore(folder.absolute() / str(step), parts)
    return Saved(step, found.state, found.about)


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ExperimentError(
            f"the checkpoint in {folder} cannot be read ({first}): delete that folder, and its run starts anew"
        ) from error


def _plain(leaf: Any) -> np.ndarray:
    """On the host; a key of ``jax.random`` as the numbers it is made of."""
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _as(like: Any, plain: np.ndarray) -> jax.Array:
    if isinstance(like, jax.Array) and jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(plain), impl=jax.random.key_impl(like))
    return jnp.array(plain)  # a copy: what was read may be of memory that is not ours


@contextlib.contextmanager
def _checkpointer() -> Iterator[ocp.Checkpointer]:
    """Of this process alone, also where JAX has several.

    In those orbax takes what they save for parts of one state: the second would write nothing, and both would wait for
    signals of the same name. A sweep's processes share no state, so each is to orbax the only one there is.
    """
    alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
    handlers = ocp.CompositeCheckpointHandler(
        state=ocp.StandardCheckpointHandler(multiprocessing_options=alone),
        about=ocp.JsonCheckpointHandler(multiprocessing_options=alone),
        composite_options=ocp.CompositeOptions(multiprocessing_options=alone),
    )
    with (
        _one_at_a_time,
        mock.patch.multiple(
            multihost,
            process_index=lambda: 0,
            process_count=lambda: 1,
            is_jax_distributed_client_initialized=lambda: False,
        ),
        ocp.Checkpointer(handlers, multiprocessing_options=alone) as checkpointer,
    ):
        yield checkpointer
