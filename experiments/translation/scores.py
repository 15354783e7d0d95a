"""How good translations are: the share of whole translations right, and the symbol error by jiwer's edit distance."""

from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import pandas as pd

from experiments.common.workdir import Record
from experiments.translation.examples import Example, Target, Task
from rnnjax.extras import needed

_SPACE = "_"
"""Stands for a space among the symbols, which jiwer would take for a separator."""

MISTAKES = 12
"""Wrong translations that are recorded at most, evenly spaced over the test set."""


class Translated(NamedTuple):
    """Examples and their translations."""

    examples: list[Example]
    said: list[Target]
    log_probabilities: list[float]  # ln p that the network gives each translation

    def rights(self) -> list[bool]:
        """Whether each translation is one of its references."""
        return [said in example.references for example, said in zip(self.examples, self.said, strict=True)]


def jiwer() -> ModuleType:
    """The package jiwer.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    with needed("jiwer", by="experiments.translation", extra="translation"):
        import jiwer as package
    found: ModuleType = package
    return found


def symbol_error(translated: Translated) -> float:
    """Symbols to be changed, added or deleted, as a share of the reference's; of several references the nearest."""
    nearest = [
        min(example.references, key=lambda reference, said=said: _distance(reference, said))  # type: ignore[misc]
        if len(example.references) > 1
        else example.references[0]
        for example, said in zip(translated.examples, translated.said, strict=True)
    ]
    return float(jiwer().wer([line(each) for each in nearest], [line(each) for each in translated.said]))


def _distance(reference: Target, said: Target) -> int:
    found = jiwer().process_words(line(reference), line(said))
    return int(found.substitutions + found.insertions + found.deletions)


def line(symbols: Target) -> str:
    """Symbols separated by spaces, as jiwer reads them."""
    return " ".join(_SPACE if symbol == " " else symbol for symbol in symbols)


def records(task: Task, translated: Translated) -> Iterator[Record]:
    """The results of all test sources: by what they test, by locale and format, and by length."""
    rows = pd.DataFrame([(each.asked, each.locale, each.form, each.length) for each in translated.examples])
    rows = rows.set_axis(["asked", "locale", "form", "length"], axis="columns").assign(right=translated.rights())
    for asked, group in rows.groupby("asked", sort=False):
        of_group = Translated(*([part[place] for place in group.index] for part in translated))
        found = {"right": float(group["right"].mean()), "symbol_error": symbol_error(of_group), "sources": len(group)}
        yield {"kind": "result", "asked": asked, **found}
    for (asked, locale, form), right in rows[rows["locale"] != ""].groupby(["asked", "locale", "form"])["right"]:
        where = {"asked": asked, "locale": locale, "form": form}
        yield {"kind": "locale", **where, "right": float(right.mean()), "sources": len(right)}
    by_length = rows[rows["locale"] == ""].groupby("length")["right"]  # those of several dates, or all words
    for length, right in by_length:
        trained = bool(length <= task.longest)
        found = {"right": float(right.mean()), "sources": len(right)}
        yield {"kind": "length", "length": int(length), "unit": task.unit, "trained": trained, **found}


def mistakes(task: Task, translated: Translated) -> Iterator[Record]:
    """A few of the sources whose translations are wrong."""
    rows = zip(translated.examples, translated.said, translated.rights(), strict=True)
    wrong = [(example, said) for example, said, right in rows if not right]
    for example, said in wrong[:: max(len(wrong) // MISTAKES, 1)][:MISTAKES]:
        reference = task.joint.join(example.references[0])
        told = {"said": task.joint.join(said), "reference": reference, "asked": example.asked}
        yield {"kind": "mistake", "source": example.source, **told}
