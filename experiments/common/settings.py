"""Reads and checks the fields of a config; an error names the field, its value, and what was expected."""

from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from rnnjax.names import lookup

Variant = Callable[[ConfigDict], None]
"""A function that changes a config; the variant has its name, and the first line of its docstring describes it."""


def varied(config: ConfigDict, variant: str, variants: Sequence[Variant]) -> ConfigDict:
    """Changes the config as a variant does, and returns it; ``default`` changes nothing.

    Raises:
        ValueError: if there is no variant of that name.
    """
    by_name: dict[str, Variant] = {"default": lambda config: None} | {each.__name__: each for each in variants}
    lookup("variant of the config", variant, by_name)(config)
    return config


def names(config: ConfigDict, field: str) -> list[str]:
    """The names in a field, which are separated by commas; each is returned once.

    Raises:
        ValueError: if there is none.
    """
    found = [name.strip() for name in config[field].split(",") if name.strip()]
    if not found:
        raise ValueError(f"--config.{field} is empty: expected names separated by commas")
    return list(dict.fromkeys(found))


def numbers(config: ConfigDict, field: str) -> list[int]:
    """The positive whole numbers in a field, which are separated by commas; each is returned once.

    Raises:
        ValueError: if there is none, or anything else.
    """
    found = names(config, field)
    if not all(name.isascii() and name.isdigit() and int(name) > 0 for name in found):
        raise ValueError(f"--config.{field} is {config[field]!r}: expected positive whole numbers separated by commas")
    return [int(name) for name in found]


def require_least(config: ConfigDict, least: int, *fields: str) -> None:
    """Raises ``ValueError`` for a field below ``least``."""
    for field in fields:
        if config[field] < least:
            expected = "0 or more" if least == 0 else f"at least {least}"
            raise ValueError(f"--config.{field} is {config[field]}: expected {expected}")


def require_positive(config: ConfigDict, *fields: str) -> None:
    """Raises ``ValueError`` for a field that is 0 or less, or NaN."""
    for field in fields:
        if not config[field] > 0:
            raise ValueError(f"--config.{field} is {config[field]}: expected a positive number")


def require_multiples(config: ConfigDict, of: str, *fields: str) -> None:
    """Raises ``ValueError`` for a field that is not a multiple of the field ``of``."""
    for field in fields:
        if config[field] % config[of]:
            raise ValueError(f"--config.{field} is {config[field]}: expected a multiple of --config.{of}={config[of]}")
