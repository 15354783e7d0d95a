"""How good captions are: as a whole, by BLEU, and word by word for each combination of a colour and a shape."""

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np

from experiments.captioning.data import HELD_OUT, SEEN
from experiments.captioning.grammar import Said, parsed, seen_in, words_of
from experiments.captioning.scenes import COMBINATIONS, MOST, Scene, Thing, held_out
from experiments.common.workdir import Record
from rnnjax.extras import needed

UNSEEN, OTHERS = "unseen", "others"
"""In scenes with a combination that was not seen in training: the object that has it, and the other objects."""

NOTHING = Thing("", "", "")
"""Stands for an object that a caption does not name, or for every object if it does not follow the grammar."""


def metrics() -> ModuleType:
    """The metrics of sacrebleu.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    with needed("sacrebleu", by="experiments.captioning", extra="captioning"):
        from sacrebleu import metrics
    found: ModuleType = metrics
    return found


class Bleu(NamedTuple):
    score: float  # 0 to 100
    signature: str  # how sacrebleu computed it


def bleu(said: Sequence[str], true: Sequence[str]) -> Bleu:
    """BLEU of captions without their full stop, each with one reference."""
    metric = metrics().BLEU()
    score = metric.corpus_score(list(said), [list(true)]).score
    return Bleu(float(score), str(metric.get_signature()))


def whole(said: Sequence[Sequence[str]], found: Sequence[Scene], part: str, beams: int) -> Record:
    """The share of captions that are right to the letter, and BLEU."""
    true = [words_of(seen_in(scene))[:-1] for scene in found]
    score = bleu([" ".join(each) for each in said], [" ".join(each) for each in true])
    right = np.array([list(one) == list(other) for one, other in zip(said, true, strict=True)])
    numbers = np.array([len(scene) for scene in found])
    by_number = {f"exact_{n}": _share(right[numbers == n]) for n in range(1, MOST + 1)}
    about = {"kind": "result", "part": part, "beams": beams, "scenes": len(found)}
    return {**about, "exact": _share(right), **by_number, "bleu": score.score, "signature": score.signature}


def words(said: Sequence[Sequence[str]], found: Sequence[Scene], part: str, held: int) -> Iterator[Record]:
    """The share of each kind of word that is right, by whether the object's combination was seen in training.

    Objects and relations are compared in their order; what a caption leaves out counts as wrong.
    """
    unseen, rights = held_out(held), dict[tuple[str, str], list[bool]]()
    for caption, scene in zip(said, found, strict=True):
        true, heard = seen_in(scene), parsed(caption) or Said((), ())
        rights.setdefault((part, "number"), []).append(len(true.things) == len(heard.things))
        for one, other in zip(true.relations, _filled(heard.relations, len(true.relations), ()), strict=True):
            rights.setdefault((part, "relation"), []).append(one == other)
        for thing, other_thing in zip(true.things, _filled(heard.things, len(true.things), NOTHING), strict=True):
            seen = SEEN if part == SEEN else OTHERS
            group = UNSEEN if thing[1:] in unseen else seen
            for kind in Thing._fields:
                rights.setdefault((group, kind), []).append(getattr(thing, kind) == getattr(other_thing, kind))
    for (group, kind), of_kind in rights.items():
        yield {"kind": "words", "group": group, "word": kind, "right": _share(of_kind), "words": len(of_kind)}


def combinations(said: dict[str, list[list[str]]], found: dict[str, list[Scene]], held: int) -> Record:
    """Counts (true, said) of combinations by number; the last column is for answers that are no combination.

    Combinations seen in training are counted in scenes that have no others, and unseen ones in the other scenes.
    """
    places, unseen = {each: number for number, each in enumerate(COMBINATIONS)}, held_out(held)
    counts = np.zeros((len(COMBINATIONS), len(COMBINATIONS) + 1), int)
    for part, scenes in found.items():
        for caption, scene in zip(said[part], scenes, strict=True):
            true, heard = seen_in(scene), parsed(caption) or Said((), ())
            for thing, other in zip(true.things, _filled(heard.things, len(true.things), NOTHING), strict=True):
                combination = (thing.colour, thing.shape)
                if (part == HELD_OUT) == (combination in unseen):
                    counts[places[combination], places.get((other.colour, other.shape), -1)] += 1
    return {"kind": "combinations", "held_out": held, "counts": counts}


def _filled(found: Sequence, count: int, empty: object) -> list:
    return [*found[:count], *[empty] * (count - len(found))]


def _share(rights: Sequence[bool] | np.ndarray) -> float | None:
    return float(np.mean(rights)) if len(rights) else None
