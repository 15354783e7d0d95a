"""What a run writes as it goes."""

from collections.abc import Callable, Iterable

from experiments.common.workdir import Record, Workdir, checkpoints_of


class Log:
    """The records of one run, written to its workdir as they are made.

    A run that goes on after an interruption does again what it did before its training began, and then what comes after
    its last checkpoint. What it writes the second time is counted and not written, so that each record is there once.

    Attributes:
        name: of the run.
        checkpoints: its folder for them.
        progress: to be called with a number of steps that are done; raises where the sweep has been stopped.
        place: how many records it has made so far, those written before an interruption included.
    """

    def __init__(self, workdir: Workdir, name: str, identity: Record, progress: Callable[[int], None]) -> None:
        self.name = name
        self.checkpoints = checkpoints_of(workdir.path, name)
        self.progress = progress
        self.place = 0
        self._workdir = workdir
        self._identity = {"run": name, **identity}

    def write(self, records: Iterable[Record], *, safe: bool = False) -> None:
        """Adds records; ``safe`` returns once all there are will survive a loss of power."""
        new = []
        for record in records:
            if self.place >= self._workdir.begun.get(self.name, 0):
                new.append({**self._identity, **record})
            self.place += 1
        if new or safe:
            self._workdir.append(new, safe=safe)
