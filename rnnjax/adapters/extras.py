"""The packages that adapters need besides rnnjax; each has an extra of its own name."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needed(package: str, *, by: str) -> Iterator[None]:
    """Around the imports of a package: where it is missing, the error says which module needs it and what installs it.

    Raises:
        ModuleNotFoundError: the package is not installed. One that is installed and misses another says so itself.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        message = f'{by} needs {package}, which is not installed: pip install "rnnjax[{package}]"'
        raise ModuleNotFoundError(message, name=package) from error
