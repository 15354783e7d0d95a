"""The log of a run, which writes its records as they are made."""

from collections.abc import Callable, Iterable

from experiments.common.workdir import Record, Workdir, checkpoints_of


class Log:
    """The records of one run, written to its workdir as they are made.

    A run that goes on after an interruption repeats what it did before training, and then continues from its last
    checkpoint. Records that it makes a second time are counted but not written, so that each is there once.

    Attributes:
        name: the name of the run.
        checkpoints: the folder for its checkpoints.
        progress: to be called with the number of steps just done; raises ``InterruptedError`` if the sweep is stopped.
        place: how many records the run has made so far, including those from before an interruption.
    """

    def __init__(self, workdir: Workdir, name: str, identity: Record, progress: Callable[[int], None]) -> None:
        self.name = name
        self.checkpoints = checkpoints_of(workdir.path, name)
        self.progress = progress
        self.place = 0
        self._workdir = workdir
        self._identity = {"run": name, **identity}

    def write(self, records: Iterable[Record], *, safe: bool = False) -> None:
        """Adds records; with ``safe`` it returns only once all records so far would survive a loss of power."""
        new = []
        for record in records:
            if self.place >= self._workdir.begun.get(self.name, 0):
                new.append({**self._identity, **record})
            self.place += 1
        if new or safe:
            self._workdir.append(new, safe=safe)
