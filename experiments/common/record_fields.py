"""Explains what records hold, from the files records.toml in this folder and in the folder of each experiment."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.common import catalogue
from experiments.common.workdir import Record

ANY = "any"
"""The table of records.toml with the fields that mean the same in records of all kinds."""


class Explained(NamedTuple):
    """The explanation of a kind of records, or of one of its fields."""

    kind: str
    field: str  # empty for the kind itself
    words: str  # empty if records.toml has none
    records: int = 0  # how many there are of the kind; 0 for a field


def explained(records: Sequence[Record], experiment: str) -> list[Explained]:
    """Explains all kinds and fields of these records; fields that mean the same in all kinds come first, once."""
    words = _words(experiment)
    counts = Counter(str(record["kind"]) for record in records)
    fields = dict.fromkeys((str(record["kind"]), field) for record in records for field in record if field != "kind")
    shared = dict.fromkeys(field for kind, field in fields if field in words[ANY] and field not in words.get(kind, {}))
    found = [Explained(ANY, field, words[ANY][field]) for field in shared]
    for kind, count in counts.items():
        of_kind = words.get(kind, {})
        found.append(Explained(kind, "", of_kind.get("kind", ""), count))
        own = [field for each, field in fields if each == kind and (field in of_kind or field not in words[ANY])]
        found += [Explained(kind, field, of_kind.get(field, "")) for field in own]
    return found


def _words(experiment: str) -> dict[str, dict[str, str]]:
    """The words by kind and field; those of the experiment replace those that several experiments share."""
    words = _read(Path(__file__).with_name("records.toml"))
    for kind, fields in _read(catalogue.ROOT / experiment / "records.toml").items():
        words[kind] = {**words.get(kind, {}), **fields}
    return words


def _read(path: Path) -> dict[str, dict[str, str]]:
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
