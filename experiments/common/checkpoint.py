"""A training state on disk, by orbax: written whole or not at all, with what is needed to use it.

    saved = checkpoint.read("runs/gradient_flow/checkpoints/RUN")
    saved.step, saved.about["config"], saved.tree["params"]

Experiments whose networks are used later have a function ``load``, which makes a usable network from a checkpoint.

A folder has the newest checkpoint and the one before it, which is used if the newest is damaged. Each is a folder
named by its training step, with two parts: ``state``, which orbax's own StandardCheckpointer reads, too, and ``about``,
in JSON. ``sha256.json`` has a digest of every file, since orbax itself does not notice every change of them.
"""

import contextlib
import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from experiments.common.errors import ExperimentError

_KEPT = 2
_SUMS = "sha256.json"
_FILES = 1 << 17  # bytes, more than orbax's files about the arrays of an experiment take together

# Orbax waits forever if two threads save at the same time.
_one_at_a_time = threading.Lock()


class Saved(NamedTuple):
    """A checkpoint as it was read.

    Attributes:
        step: how many training steps the state has behind it.
        tree: the state, as nested dicts and lists of NumPy arrays; from ``restore`` with its original types.
        about: what was saved beside the state.
    """

    step: int
    tree: Any
    about: dict[str, Any]


def save(folder: Path, step: int, tree: Any, about: dict[str, Any]) -> None:
    """Saves a pytree as the state after ``step`` training steps, and keeps of the others only the one before.

    Raises:
        ExperimentError: if it cannot be written; the existing checkpoints stay as they are.
    """
    plain = jax.tree.map(_plain, tree)
    parts = ocp.args.Composite(state=ocp.args.StandardSave(plain), about=ocp.args.JsonSave(about))
    new = folder / f"{step}.partial"
    tidy(folder)
    try:
        _require_room(folder, sum(leaf.nbytes for leaf in jax.tree.leaves(plain)) + len(json.dumps(about)) + _FILES)
        with _checkpointer() as checkpointer:
            checkpointer.save(new.absolute(), parts)
        (new / _SUMS).write_text(json.dumps(_sums(new), indent=2))
    except (OSError, ValueError, RuntimeError) as error:  # a full disk may raise any of these
        tidy(folder)
        before = next((folder / str(other) for other in steps(folder)), "none")
        raise ExperimentError(
            f"the checkpoint {folder / str(step)} cannot be written ({_reason(error)}; last good one: "
            f"{before}): mend this and run the same command again to go on"
        ) from error
    for other in steps(folder):
        if other >= step:  # left by a run that has begun anew since
            drop(folder / str(other))
    new.rename(folder / str(step))
    tidy(folder)


def tidy(folder: Path) -> None:
    """Deletes all but the two newest checkpoints, and what a process that was killed has left unfinished."""
    for old in steps(folder)[_KEPT:]:
        drop(folder / str(old))
    for entry in folder.iterdir() if folder.is_dir() else ():
        if not entry.name.isdigit():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def drop(checkpoint: Path) -> None:
    """Deletes a checkpoint; if that is interrupted, no half of it remains under its name."""
    if checkpoint.exists():
        dropped = checkpoint.with_name(f"{checkpoint.name}.dropped")
        shutil.rmtree(dropped, ignore_errors=True)  # left by a process that was killed
        shutil.rmtree(checkpoint.rename(dropped))


def steps(folder: str | Path) -> list[int]:
    """The training steps of the checkpoints in a folder, the newest first; unfinished ones have other names."""
    folder = Path(folder)
    found = [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()] if folder.is_dir() else []
    return sorted(found, reverse=True)


def of_run(folder: Path) -> list[Path]:
    """All checkpoints in the folder of a run, its last ones and its best ones, the newest first."""
    found = [(step, kind) for kind in ("last", "best") for step in steps(folder / kind)]
    return [folder / kind / str(step) for step, kind in sorted(found, reverse=True)]


def damage(checkpoint: Path) -> str | None:
    """What in a checkpoint is not as it was written; None if it is undamaged."""
    try:
        expected = dict(json.loads((checkpoint / _SUMS).read_text()))
        found = _sums(checkpoint)
    except (OSError, TypeError, ValueError):
        return f"{_SUMS} cannot be read"
    changed = sorted(name for name, digest in expected.items() if found.get(name) != digest)
    return f"{changed[0]} is {'changed' if changed[0] in found else 'missing'}" if changed else None


def whole(folder: str | Path) -> Path:
    """The newest undamaged checkpoint in a folder of checkpoints, or in the folder of a run, ``checkpoints/RUN``.

    Damaged ones are reported on standard error. ``folder`` may also be that of a single checkpoint.

    Raises:
        ExperimentError: if there is none.
    """
    folder = _last(folder)
    there = [folder] if folder.name.isdigit() else [folder / str(step) for step in steps(folder)]
    if not there:
        raise ExperimentError(f"{folder} has no checkpoint: expected a folder checkpoints/RUN of a run's workdir")
    for place, checkpoint in enumerate(there):
        wrong = damage(checkpoint)
        if wrong is None:
            return checkpoint
        told = f"{checkpoint} is damaged ({wrong})"
        if place + 1 < len(there):
            print(f"{told}: the checkpoint before it is used", file=sys.stderr)
    raise ExperimentError(f"{told}, and there is no other checkpoint: do this run again")


def read(folder: str | Path) -> Saved:
    """Reads the checkpoint that ``whole`` finds.

    Raises:
        ExperimentError: if there is none, or it cannot be read.
    """
    return _read(whole(folder), ocp.args.StandardRestore())


def restore(folder: str | Path, like: Any) -> Saved:
    """As ``read``, with a tree of the structure, shapes and dtypes of ``like``, which may come from ``jax.eval_shape``.

    Raises:
        ExperimentError: as ``read`` does, and if the saved arrays have other shapes or dtypes.
    """
    checkpoint, plain = whole(folder), jax.tree.map(_empty, like)
    saved = _read(checkpoint, ocp.args.StandardRestore(plain))
    with _readable(checkpoint):
        jax.tree.map(_require_like, plain, saved.tree)
    return saved._replace(tree=jax.tree.map(_as, like, saved.tree))


def about(folder: str | Path) -> dict[str, Any]:
    """What was saved beside the state, which is not read."""
    checkpoint = whole(folder)
    with _readable(checkpoint), _checkpointer() as checkpointer:
        parts = ocp.args.Composite(about=ocp.args.JsonRestore())
        found: dict[str, Any] = checkpointer.restore(checkpoint.absolute(), parts).about
        return found


def _last(folder: str | Path) -> Path:
    folder = Path(folder)
    return folder / "last" if (folder / "last").is_dir() else folder


def _require_room(folder: Path, size: int) -> None:
    """Raises ``OSError`` if the disk is full: some of the threads in which orbax notices that report it too late."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / "room.partial"
    try:
        with beside.open("wb") as file:
            for place in range(0, size, 1 << 20):
                file.write(bytes(min(1 << 20, size - place)))
    finally:
        beside.unlink(missing_ok=True)


def _sums(checkpoint: Path) -> dict[str, str]:
    """The digest of every file, except for the one that holds the digests."""
    found = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != _SUMS:
            with path.open("rb") as file:
                found[path.relative_to(checkpoint).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _read(checkpoint: Path, state: Any) -> Saved:
    with _readable(checkpoint), _checkpointer() as checkpointer:
        parts = ocp.args.Composite(state=state, about=ocp.args.JsonRestore())
        found = checkpointer.restore(checkpoint.absolute(), parts)
    return Saved(int(checkpoint.name), found.state, found.about)


@contextlib.contextmanager
def _readable(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExperimentError(
            f"the checkpoint {checkpoint} does not hold the arrays that this program expects: use the version that "
            "wrote it, or do its run again"
        ) from error


def _reason(error: Exception) -> str:
    """The reason for an error of the operating system or of TensorStore, where it is the end of a long line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0].rpartition(": ")[2].partition(" [")[0]


def _plain(leaf: Any) -> np.ndarray:
    """The leaf as a NumPy array; a key of ``jax.random`` becomes the numbers that it is made of."""
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _empty(like: Any) -> np.ndarray:
    """An array of the shape and dtype that ``_plain`` gives, with any values; ``like`` may be a shape alone."""
    if not hasattr(like, "dtype"):
        return np.asarray(like)
    shape = jax.eval_shape(jax.random.key_data, like) if _is_key(like) else like
    return np.empty(shape.shape, shape.dtype)


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _implementation(key: Any) -> Any:
    found = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), key)  # it refuses a shape, but not a tracer
    return found[0]


def _require_like(expected: np.ndarray, found: np.ndarray) -> None:
    if (expected.shape, expected.dtype) != (found.shape, found.dtype):
        raise ValueError(f"{found.dtype} {found.shape}: expected {expected.dtype} {expected.shape}")


def _as(like: Any, plain: np.ndarray) -> jax.Array:
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(plain), impl=_implementation(like))
    array = jax.device_put(np.array(plain))  # a copy: what was read may lie in memory that orbax owns
    several = isinstance(like, jax.Array) and len(like.sharding.device_set) > 1
    return jax.device_put(array, like.sharding) if several else array


@contextlib.contextmanager
def _checkpointer() -> Iterator[ocp.Checkpointer]:
    handlers = ocp.CompositeCheckpointHandler(state=ocp.StandardCheckpointHandler(), about=ocp.JsonCheckpointHandler())
    with _one_at_a_time, ocp.Checkpointer(handlers) as checkpointer:
        yield checkpointer
