"""Tracks what comes in, sample by sample: python -m experiments.tracking.stream --workdir=runs/tracking.

Each line of standard input, or of --file, is a sample x_t, one number. It is answered at once with a line of two: for
which sample the estimate is, t - d with the network's delay d, and the estimate. The state goes on from line to line;
with --state=FILE from one call to the next, too.

    python -m experiments.tracking.samples | python -m experiments.tracking.stream --run=gru-delay8-seed0
"""

import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from experiments.common import checkpoint, command
from experiments.common.errors import ExperimentError, explained
from experiments.tracking import model
from experiments.tracking.lines import LineError, Step, answer, answers, lines_of
from experiments.tracking.main import Tracker, load
from experiments.tracking.model import Network
from rnnjax.typing import State


def main(workdir: Path, run: str, file: str, kept: Path | None) -> None:
    """Answers until the samples end, or nobody reads any more, or Ctrl-C."""
    # A program of any size is then run by the thread that calls it, and not handed to another: see benchmarks.online.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    name, tracker = chosen(workdir, run)
    delay = tracker.delay or 0
    step = online_step(tracker.cell, tracker.network)
    last = 0, tracker.cell.initial_state(tracker.network.recurrent, ())
    if kept and kept.exists():
        last = read_state(kept, name, last[1])
    print(f"{name}: sample t is answered with the estimate for t{-delay:+d}", file=sys.stderr)
    try:
        with explained(LineError):
            for number, state, estimate in answers(lines_of(file), step, *last):
                last = number, state
                print(answer(number - delay, estimate), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        pass
    finally:
        if kept:
            write_state(kept, name, *last)


def chosen(workdir: Path, run: str) -> tuple[str, Tracker]:
    """The name of a run, and its network.

    Raises:
        ExperimentError: if there is no such workdir or run, or one that needs the whole sequence.
    """
    checkpoints = workdir / "checkpoints"
    there = sorted(folder.name for folder in checkpoints.glob("*") if checkpoint.steps(folder / "last"))
    online = [name for name in there if "-whole-" not in name]
    if not online:
        raise ExperimentError(
            f"--workdir={workdir} has no trained network: give the folder of a run of experiments.tracking"
        )
    if run in there and run not in online:
        raise ExperimentError(f"--run={run} needs the whole sequence at once: expected {' or '.join(online)}")
    if run and run not in online:
        raise ExperimentError(f"--run={run} is not in --workdir={workdir}: expected {' or '.join(online)}")
    name = run or next((name for name in online if "-delay0-" in name), online[0])
    return name, load(checkpoints / name)


def online_step(cell: rnnjax.Cell, network: Network) -> Step:
    """A jitted step, compiled when it returns; the network is a constant of the program, the state is donated."""
    jitted = jax.jit(lambda state, sample: model.step(cell, network, state, sample), donate_argnums=0)
    dtype = jax.tree.leaves(network)[0].dtype

    def step(state: State, sample: float) -> tuple[State, Any]:
        new_state, estimate = jitted(state, np.asarray(sample, dtype))
        return new_state, estimate

    step(cell.initial_state(network.recurrent, ()), 0.0)
    return step


# The state between two calls


def write_state(path: Path, run: str, number: int, state: State) -> None:
    """Written whole or not at all."""
    leaves = jax.tree.leaves(state)
    if any(leaf.is_deleted() for leaf in leaves):
        print(f"interrupted within a step: {path} is left as it was", file=sys.stderr)
        return
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.savez(file, run=run, number=number, **{f"leaf{place}": leaf for place, leaf in enumerate(leaves)})
    partial.replace(path)


def read_state(path: Path, run: str, like: State) -> tuple[int, State]:
    """How many samples there have been, and the state after them.

    Raises:
        ExperimentError: if the file is not of this network.
    """
    try:
        with path.open("rb") as file, np.load(file) as saved:
            found = dict(saved)
        leaves, structure = jax.tree.flatten(like)
        known = [found[f"leaf{place}"] for place in range(len(leaves))]
        whose, number = str(found["run"]), int(found["number"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ExperimentError(
            f"--state={path} is not a state of this program ({type(error).__name__}): give another file"
        ) from error
    shapes = [(leaf.shape, leaf.dtype) for leaf in leaves]
    if whose != run or [(leaf.shape, leaf.dtype) for leaf in known] != shapes:
        raise ExperimentError(
            f"--state={path} is of {whose}: expected one of {run}; give another file, or --run={whose}"
        )
    return number, jax.tree.unflatten(structure, [jnp.array(leaf) for leaf in known])


if __name__ == "__main__":
    workdir = flags.DEFINE_string("workdir", "runs/tracking", "Folder of a run of experiments.tracking.")
    run = flags.DEFINE_string("run", "", "Which network, as gru-delay8-seed0; by default the first without a delay.")
    file = flags.DEFINE_string("file", "-", "Where samples come from; - is standard input.")
    state = flags.DEFINE_string("state", "", "A file whose state is gone on from, if it is there; written at the end.")
    command.run(lambda: main(Path(workdir.value), run.value, file.value, Path(state.value) if state.value else None))
