"""How well words were tagged: by tag, by what is known of a word, by the distance of what decides; and by counting."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.common.workdir import Record
from experiments.tagging.data import Data
from experiments.tagging.grammar import Case, chance_level
from rnnjax.data import TaggedSentence
from rnnjax.extras import needed


def metrics() -> ModuleType:
    """Those of scikit-learn.

    Raises:
        ModuleNotFoundError: without it.
    """
    with needed("sklearn", by="experiments.tagging", extra="tagging"):
        from sklearn import metrics
    found: ModuleType = metrics
    return found


class Counted(NamedTuple):
    """What each word's tag mostly is in the sentences to train on."""

    of_words: dict[str, str]
    of_others: str  # that of most different words


def counted(train: Sequence[TaggedSentence]) -> Counted:
    """The tags of each word, counted; of equally frequent ones the first to occur."""
    of_words = {word: of_word.most_common(1)[0][0] for word, of_word in tags_of(train).items()}
    return Counted(of_words, Counter(of_words.values()).most_common(1)[0][0])


def tags_of(train: Sequence[TaggedSentence]) -> dict[str, Counter[str]]:
    """How often each word has each tag."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for sentence in train:
        for word, tag in zip(sentence.words, sentence.tags, strict=True):
            found[word][tag] += 1
    return dict(found)


def said_by_counting(known: Counted, sentences: Sequence[TaggedSentence]) -> list[tuple[str, ...]]:
    """The tags of sentences, each word by itself."""
    return [tuple(known.of_words.get(word, known.of_others) for word in each.words) for each in sentences]


def records(data: Data, said: Sequence[Sequence[str]]) -> Iterator[Record]:
    """Everything that there is to say of what was said of the sentences to test on.

    Args:
        data: what was trained on and what was to be said.
        said: the tags of each sentence to test on.
    """
    true_tags, said_tags = (
        np.array([tag for each in part for tag in each]) for part in ([each.tags for each in data.test], said)
    )
    rights = true_tags == said_tags
    seen = tags_of(data.train)
    words = [word for sentence in data.test for word in sentence.words]
    kinds = {
        "all": np.ones(len(words), bool),
        "known": np.array([word in seen for word in words]),
        "unknown": np.array([word not in seen for word in words]),
        "ambiguous": np.array([len(seen.get(word, ())) > 1 for word in words]),
    }
    yield {
        "kind": "result",
        "source": data.source,
        "tags": ",".join(data.tags),
        "trained_on": len(data.train),
        "trained_words": sum(len(sentence.words) for sentence in data.train),
        "tested_on": len(data.test),
        **{f"right_{name}": _share(rights[chosen]) for name, chosen in kinds.items()},
        **{f"words_{name}": int(chosen.sum()) for name, chosen in kinds.items()},
        "confusion": metrics().confusion_matrix(true_tags, said_tags, labels=data.tags),
    }
    yield from by_tag(true_tags, said_tags, data.tags)
    yield from by_distance(data.cases, said)


def by_tag(true_tags: np.ndarray, said_tags: np.ndarray, tags: Sequence[str]) -> Iterator[Record]:
    """Precision, recall and F1 of each tag that is true of a word; 0 of one that was never said."""
    found = metrics().precision_recall_fscore_support(true_tags, said_tags, labels=tags, zero_division=0.0)
    for tag, precision, recall, f1, support in zip(tags, *found, strict=True):
        if support:
            scores = {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
            yield {"kind": "tag", "tag": tag, **scores, "support": int(support)}


def by_distance(cases: Sequence[Case], said: Sequence[Sequence[str]]) -> Iterator[Record]:
    """Of the grammar's ambiguous words, how many are right, by side, distance and kind of what decides."""
    if not cases:
        return
    rights = [case.sentence.tags[case.place] == tags[case.place] for case, tags in zip(cases, said, strict=True)]
    rows = pd.DataFrame(
        [(case.side, case.distance, case.deciding) for case in cases], columns=["side", "distance", "deciding"]
    ).assign(right=rights)
    for (side, distance, deciding), right in rows.groupby(["side", "distance", "deciding"], sort=False)["right"]:
        where = {"side": side, "distance": int(distance), "deciding": deciding}
        found = {"right": float(right.mean()), "sentences": len(right), "chance": chance_level()}
        yield {"kind": "distance", **where, **found}


def _share(rights: np.ndarray) -> float | None:
    return float(rights.mean()) if len(rights) else None
