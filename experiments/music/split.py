"""Divides the chorales of music21 into parts, which split.csv lists: python -m experiments.music.split.

Chorales of the same tune are a family and stay together. Families are taken in the order of a digest of their first
chorale's name. The first ones are for testing, until these are a fifth of all chorales, the next fifth is for
validation, and the others are for training.
"""

import csv
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

from absl import flags

from experiments.common import command
from experiments.common.errors import explained
from experiments.common.workdir import write_whole
from experiments.music.corpus import SPLIT, Listed, chorales, families, melody, music21

HELD_OUT = 0.2
"""The share of all chorales in the test part and in the validation part, or slightly more."""

OUTPUT = flags.DEFINE_string("output", str(SPLIT), "The file to write.")


def main() -> None:
    """Writes the file, and prints how many chorales and tunes each part has."""
    with explained(ValueError, ImportError):
        found = dealt(catalogue())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Listed._fields)
    writer.writerows(found)
    write_whole(Path(OUTPUT.value), text.getvalue())
    for part in ("train", "valid", "test"):
        of_part = [each for each in found if each.part == part]
        print(f"{part}: {len(of_part)} chorales of {len({each.family for each in of_part})} tunes")


def catalogue() -> dict[str, str]:
    """The titles in Riemenschneider's collection of 371 chorales by the names of their files, each file once."""
    numbered = music21().corpus.chorales.ChoraleListRKBWV().byRiemenschneider
    return {f"bwv{entry['bwv']}": str(entry["title"]) for _, entry in sorted(numbered.items())}


def dealt(titles: dict[str, str]) -> list[Listed]:
    """The chorales in four voices and in bars of four quarters, each with its family and part."""
    frames = {name: found for name, found in chorales(titles).items() if found}
    titles = {name: titles[name] for name in frames}
    family = families(titles, {name: melody(each) for name, each in frames.items()})
    parts = parts_of(family.values())
    return [Listed(name, titles[name], family[name], parts[family[name]]) for name in titles]


def parts_of(family: Iterable[str]) -> dict[str, str]:
    """The part of each family, from the family of every chorale."""
    of_all = list(family)
    parts, held = {}, {"test": 0, "valid": 0}
    for name in sorted(set(of_all), key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        open_parts = (part for part in held if held[part] < HELD_OUT * len(of_all))
        parts[name] = next(open_parts, "train")
        if parts[name] in held:
            held[parts[name]] += of_all.count(name)
    return parts


if __name__ == "__main__":
    command.run(main)
