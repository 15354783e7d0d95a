"""Looking things up by name, with an error that proposes the nearest valid names."""

import difflib
import textwrap
from collections.abc import Mapping
from typing import TypeVar

from rnnjax.checks import told

Value = TypeVar("Value")

LONGEST = 300
"""Characters of a message."""


def lookup(kind: str, name: str, table: Mapping[str, Value]) -> Value:
    """``table[name]``, or a ``ValueError`` that names the valid ones, nearest first, as far as they fit."""
    if isinstance(name, str) and name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=3, cutoff=0.5) if isinstance(name, str) else []
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    received = repr(name) if isinstance(name, str) and len(name) < 60 else told(name)
    said = f"unknown {kind} {received}: {hint}valid names: "
    valid = textwrap.shorten(", ".join(sorted(table)), LONGEST - len(said), placeholder=f" ... ({len(table)} in all)")
    raise ValueError(said + valid)
