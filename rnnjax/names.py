"""Lookup by name, with an error that suggests the nearest valid names."""

import difflib
import textwrap
from collections.abc import Mapping
from typing import TypeVar

from rnnjax.checks import told

Value = TypeVar("Value")

LONGEST = 300
"""The greatest length of a message, in characters."""


def lookup(kind: str, name: str, table: Mapping[str, Value]) -> Value:
    """Return ``table[name]``, or raise a ``ValueError`` that lists valid names, nearest first, as many as fit."""
    if isinstance(name, str) and name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=3, cutoff=0.5) if isinstance(name, str) else []
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    received = repr(name) if isinstance(name, str) and len(name) < 60 else told(name)
    said = f"unknown {kind} {received}: {hint}valid names: "
    valid = textwrap.shorten(", ".join(sorted(table)), LONGEST - len(said), placeholder=f" ... ({len(table)} in all)")
    raise ValueError(said + valid)
