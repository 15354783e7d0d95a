"""Packages that a part of rnnjax needs and the rest does not; an extra installs each."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needed(package: str, *, by: str, extra: str = "") -> Iterator[None]:
    """Around the imports of a package: where it is missing, the error says which module needs it and what installs it.

    Args:
        package: by the name that is imported.
        by: the module that needs it.
        extra: what installs it, by default the extra of its own name.

    Raises:
        ModuleNotFoundError: the package is not installed. One that is installed and misses another says so itself.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        message = f'{by} needs {package}, which is not installed: pip install "rnnjax[{extra or package}]"'
        raise ModuleNotFoundError(message, name=package) from error
