"""Optional packages, which only a part of rnnjax needs; each is installed by an extra."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needed(package: str, *, by: str, extra: str = "") -> Iterator[None]:
    """Import a package in this context: if it is missing, the error says which module needs it and what installs it.

    Args:
        package: the name that is imported.
        by: the module that needs it.
        extra: the extra that installs it, by default the one with the name of the package.

    Raises:
        ModuleNotFoundError: if the package is not installed. If it is installed and misses another package, its own
            error is raised.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        message = f'{by} needs {package}, which is not installed: pip install "rnnjax[{extra or package}]"'
        raise ModuleNotFoundError(message, name=package) from error
