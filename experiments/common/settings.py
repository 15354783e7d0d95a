"""What a config says, read and checked: an error names the field, what it is, and what was expected."""

from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from rnnjax.names import lookup

Variant = Callable[[ConfigDict], None]
"""Changes a config; its name is that of the variant, its docstring says in a line what it is."""


def varied(config: ConfigDict, variant: str, variants: Sequence[Variant]) -> ConfigDict:
    """The config as a variant changes it, ``default`` not at all.

    Raises:
        ValueError: for a variant that there is not.
    """
    by_name: dict[str, Variant] = {"default": lambda config: None} | {each.__name__: each for each in variants}
    lookup("variant of the config", variant, by_name)(config)
    return config


def names(config: ConfigDict, field: str) -> list[str]:
    """A field's names, which have commas between, each once.

    Raises:
        ValueError: if there is none.
    """
    found = [name.strip() for name in config[field].split(",") if name.strip()]
    if not found:
        raise ValueError(f"--config.{field} is empty: expected names with commas between")
    return list(dict.fromkeys(found))


def numbers(config: ConfigDict, field: str) -> list[int]:
    """A field's positive whole numbers, which have commas between, each once.

    Raises:
        ValueError: if there is none, or anything else.
    """
    found = names(config, field)
    if not all(name.isascii() and name.isdigit() and int(name) > 0 for name in found):
        raise ValueError(f"--config.{field} is {config[field]!r}: expected positive whole numbers with commas between")
    return [int(name) for name in found]


def require_least(config: ConfigDict, least: int, *fields: str) -> None:
    """Raises ``ValueError`` for a field below that."""
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
    """Raises ``ValueError`` for a field that is no multiple of the field ``of``."""
    for field in fields:
        if config[field] % config[of]:
            raise ValueError(f"--config.{field} is {config[field]}: expected a multiple of --config.{of}={config[of]}")
