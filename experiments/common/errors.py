"""Errors that a person can act on; ``experiments.common.command`` shows them in a line."""

import contextlib
from collections.abc import Iterator


class ExperimentError(Exception):
    """An error that the user can mend; it is shown in one line, without a traceback."""


class AlreadyFinishedError(Exception):
    """There is nothing left to do; this is shown in one line and is not an error."""


@contextlib.contextmanager
def explained(*kinds: type[Exception]) -> Iterator[None]:
    """Turns those kinds of exception, raised by checks of what a person gave, into an ``ExperimentError``."""
    try:
        yield
    except kinds as error:
        raise ExperimentError(str(error)) from error
