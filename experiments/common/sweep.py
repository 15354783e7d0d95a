"""A sweep: runs that share compiled programs, over threads, processes and machines; an interrupted one goes on.

Each program is compiled once, in a thread of its own, and serves all of its runs. With ``--num_processes`` the programs
are dealt out to processes, on one machine or several; each keeps its records in its own workdir until process 0 has
them all. No disk need be shared.

What a run computes must depend on the config and on itself alone, not on which other runs are still to be done. An
interrupted sweep then ends with the same records as an uninterrupted one.
"""

import contextlib
import itertools
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from absl import flags
from filelock import FileLock, Timeout
from ml_collections import ConfigDict
from tqdm import tqdm

from experiments.common import command, processes
from experiments.common.errors import ExperimentError
from experiments.common.run_log import Log
from experiments.common.workdir import Record, Workdir, open_workdir, read_records


class Run(Protocol):
    """What is done once and recorded as a whole."""

    @property
    def name(self) -> str:
        """The name of the run, which no other run of the sweep has."""
        ...

    def identity(self) -> Record:
        """The fields of its records that say which run it is."""
        ...


class RunOfProgram(Run, Protocol):
    """A run that says what has to be compiled for it."""

    @property
    def program(self) -> Any:
        """A value that can be ordered, and is equal for runs that share what is compiled."""
        ...


Fields = TypeVar("Fields", bound=tuple[Any, ...])


class SeededRun(NamedTuple, Generic[Fields]):
    """One network: the program that is compiled for it and for all of its seeds, and its own seed."""

    program: Fields  # a NamedTuple
    seed: int

    @property
    def name(self) -> str:
        words = [str(field).replace(":", "-") for field in self.program]  # a folder of checkpoints has this name
        return "-".join([*words, f"seed{self.seed}"])

    def identity(self) -> Record:
        return {**self.program._asdict(), "seed": self.seed}  # type: ignore[attr-defined]


R = TypeVar("R", bound=Run)
P = TypeVar("P", bound=RunOfProgram)
T = TypeVar("T")

Logs = Callable[[R], AbstractContextManager[Log]]
"""``with log_of(run) as log`` gives the run its log; the run is finished if the block ends without an exception."""

Work = Callable[[Sequence[R], Logs[R]], None]
"""Does some runs of one program, one after the other."""


def run(name: str, main: Callable[[ConfigDict, Callable[[], Workdir]], None]) -> None:
    """The command of an experiment: ``main(config, open_workdir)`` with what the flags say.

    ``main`` first checks the config, then opens the workdir, which for process k > 0 is the folder process-k inside it.
    """
    workdir = flags.DEFINE_string(
        "workdir", f"runs/{name}", f"Folder for records, figures, summary, checkpoints; without it, runs/{name}."
    )
    overwrite = flags.DEFINE_bool("overwrite", False, "Discard what the workdir holds.")
    tensorboard = flags.DEFINE_bool("tensorboard", False, "Also write event files for TensorBoard into the workdir.")
    places: list[flags.FlagHolder[Any]] = [
        flags.DEFINE_string("coordinator_address", None, "HOST:PORT of process 0, for a sweep in several processes."),
        flags.DEFINE_integer("num_processes", None, "Number of processes of the sweep; you start each of them."),
        flags.DEFINE_integer("process_id", None, "Number of this process, from 0; process 0 draws and prints."),
    ]

    def start(config: ConfigDict) -> None:
        processes.join({flag.name: flag.value for flag in places})
        if not workdir.value.strip():
            raise ExperimentError(f"--workdir is empty: name a folder, as in --workdir=runs/{name}")
        options = {"overwrite": overwrite.value, "tensorboard": tensorboard.value}
        with contextlib.ExitStack() as until_the_end:

            def open_workdir() -> Workdir:
                processes.together(lambda: until_the_end.enter_context(_alone_in(Path(workdir.value))))
                return open_sweep(workdir.value, config.to_dict(), **options)

            main(config, open_workdir)

    command.run_experiment(name, start)


@contextlib.contextmanager
def _alone_in(path: Path) -> Iterator[None]:
    """Locks the folder against other commands; the lock ends with the process, even if that is killed.

    Raises:
        ExperimentError: if another command is at work there.
    """
    if path.exists() and not path.is_dir():
        yield  # open_workdir refuses it
        return
    path.mkdir(parents=True, exist_ok=True)
    file = path / f".lock-{processes.place()}"
    lock = FileLock(file, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise ExperimentError(
            f"--workdir={path} is in use by another command: wait until that has ended, or give another --workdir"
        ) from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        lock.release()


def open_sweep(path: str | Path, config: Record, *, overwrite: bool, tensorboard: bool = False) -> Workdir:
    """Opens the workdir of this process, with the records that further processes of an interrupted sweep left there.

    Raises:
        AlreadyFinishedError, ExperimentError: as ``open_workdir``; and if configs differ between processes.
    """
    configs = processes.gathered(json.dumps(config, sort_keys=True))
    if len(set(configs)) > 1:
        raise ExperimentError("the processes were started with different configs: give all of them the same flags")
    path = Path(path)
    if processes.place():
        processes.together(lambda: None)
        return processes.together(lambda: open_workdir(path / f"process-{processes.place()}", config, overwrite=False))

    def open_first() -> Workdir:
        workdir = open_workdir(path, config, overwrite=overwrite, tensorboard=tensorboard)
        for folder in sorted(path.glob("process-*")):  # left by a sweep that ran in more processes, or was cut short
            _absorb(workdir, read_records(folder))
        return workdir

    workdir = processes.together(open_first)
    processes.together(lambda: None)
    return workdir


def execute(
    programs: Iterable[Sequence[R]], work: Work[R], workdir: Workdir, *, steps: int, threads: int = 0
) -> list[Record] | None:
    """Does the runs that no process has finished yet, and gives the records of all to process 0.

    Args:
        programs: the runs of each program, the longest first.
        work: does some runs of one program.
        workdir: from ``open_sweep``.
        steps: how many steps of progress a run reports to its log.
        threads: how many programs run at the same time; 0 takes one for each core.

    Returns:
        All records, on process 0; None on the others.
    """
    programs = list(programs)
    done = {name for names in processes.gathered(json.dumps(sorted(_finished(workdir)))) for name in json.loads(names)}
    missing = [[run for run in program if run.name not in done] for program in programs]
    mine = dealt([program for program in missing if program], processes.count())[processes.place()]
    processes.together(lambda: _in_threads(mine, work, workdir, steps, threads))
    gathered = processes.gathered(json.dumps(read_records(workdir.path)))
    if processes.place():
        return None
    for records in gathered[1:]:
        _absorb(workdir, json.loads(records))
    workdir.put_in_order(run.name for program in programs for run in program)
    return read_records(workdir.path)


def by_program(runs: Iterable[P], size: Callable[[Any], int]) -> list[list[P]]:
    """Runs grouped by their ``program``, those of the greatest size first: they take longest."""
    ordered = sorted(runs, key=lambda run: (-size(run.program), run.program))
    return [list(group) for _, group in itertools.groupby(ordered, key=lambda run: run.program)]


def dealt(programs: list[list[R]], hands: int) -> list[list[list[R]]]:
    """Deals programs to processes, as evenly as their numbers of runs allow; splits one only if there are too few."""
    pieces = list(programs)
    while pieces and len(pieces) < hands and len(largest := max(pieces, key=len)) > 1:
        pieces.remove(largest)
        pieces += [largest[0::2], largest[1::2]]
    held: list[list[list[R]]] = [[] for _ in range(hands)]
    for piece in sorted(pieces, key=len, reverse=True):
        min(held, key=lambda hand: sum(map(len, hand))).append(piece)
    order = {id(piece): place for place, piece in enumerate(pieces)}
    return [sorted(hand, key=lambda piece: order[id(piece)]) for hand in held]


def _in_threads(programs: list[list[R]], work: Work[R], workdir: Workdir, steps: int, threads: int) -> None:
    stop = threading.Event()
    total = steps * sum(map(len, programs))
    with (
        tqdm(total=total, unit="step", smoothing=0.05, mininterval=0.2 if sys.stderr.isatty() else 10) as bar,
        ThreadPoolExecutor(threads or os.cpu_count()) as pool,
    ):
        bar.set_description("compiling")

        @contextlib.contextmanager
        def log_of(run: R) -> Iterator[Log]:
            reported = 0

            def progress(count: int = 1) -> None:
                nonlocal reported
                if stop.is_set() or command.interrupted.is_set():
                    raise InterruptedError
                reported += count
                with workdir.lock:
                    bar.set_description(run.name, refresh=False)
                    bar.update(count)

            log = Log(workdir, run.name, run.identity(), progress)
            yield log
            progress(steps - reported)  # the steps that a run which ended early has left out
            log.write([{"kind": "finished"}], safe=True)

        futures = [pool.submit(work, program, log_of) for program in programs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise


def _finished(workdir: Workdir) -> set[str]:
    return {record["run"] for record in read_records(workdir.path)}


def _absorb(workdir: Workdir, records: list[Record]) -> None:
    """Adds the records of runs that the workdir does not have yet."""
    known = _finished(workdir)
    workdir.append(record for record in records if record["run"] not in known)
