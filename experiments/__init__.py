"""Experiments, each a folder: ``python -m experiments`` lists them."""

import os
import signal
import sys
from types import FrameType, TracebackType


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        return sys.__excepthook__(kind, error, trace)
    print("\ninterrupted before it began; run the same command again", file=sys.stderr, flush=True)
    os._exit(130)


if sys.argv[:1] == ["-m"]:  # A command is starting, and this is the first of it: imports take seconds.
    signal.signal(signal.SIGTERM, _stop)  # as Ctrl-C
    sys.excepthook = _told
