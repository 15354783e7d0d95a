"""A command imports this first: signals then end its slow imports with one line, and closed streams are opened."""

import os
import signal
import sys
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    # An exception in the middle of an import may be swallowed, and there is nothing to tidy up yet.
    print("\ninterrupted before it began; run the same command again", file=sys.stderr, flush=True)
    os._exit(130)


def _open_closed_streams() -> None:
    """Opens closed standard streams on the null device: else the next file to be opened would get their descriptors."""
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
