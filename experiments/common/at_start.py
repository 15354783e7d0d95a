"""Imported first by a command, before what takes seconds: a signal then ends it with a line, and output has a place."""

import os
import signal
import sys
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    # An exception in the middle of an import may be swallowed, and there is nothing to tidy up yet.
    print("\ninterrupted before it began; run the same command again", file=sys.stderr, flush=True)
    os._exit(130)


def _open_closed_streams() -> None:
    """Somewhere for output to go: else the next file to be opened would be taken for it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


_open_closed_streams()
signal.signal(signal.SIGINT, _leave)
signal.signal(signal.SIGTERM, _leave)
