"""Whether words of one kind are near each other: kinds that Python itself has, neighbours, intervals, maps.

One-hot words are all equally far from each other. Whether distances mean anything is seen by whether the word nearest
to an exception is an exception, to a module a module, and so on.
"""

import builtins
import collections
import importlib.util
import keyword
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from experiments.common.workdir import Record
from rnnjax.data import Vocabulary

DRAWS = 2000
"""Of words, with replacement, for an interval."""

SHARE = 0.95
"""Of the draws lie within the interval."""

EQUAL = 1e-6
"""Cosines that differ by less are one: of float32 numbers."""


class Kinds(NamedTuple):
    """Words of the vocabulary that are of one kind each: their numbers (N,), and what they are (N,)."""

    words: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]


def python_names() -> dict[str, set[str]]:
    """What Python's own names are, kind by kind."""
    values = {name: getattr(builtins, name) for name in dir(builtins) if not name.startswith("_")}
    classes = {name for name, value in values.items() if isinstance(value, type)}
    exceptions = {name for name in classes if issubclass(values[name], BaseException)}
    holders = (str, bytes, list, dict, set)
    return {
        "exceptions": exceptions,
        "types": classes - exceptions,
        "functions": {name for name, value in values.items() if callable(value)} - classes,
        "methods": {name for holder in holders for name in dir(holder) if not name.startswith("_")},
        "modules": {name for name in sys.stdlib_module_names if not name.startswith("_")},
        "keywords": set(keyword.kwlist),
    }


def kinds_of(vocabulary: Vocabulary) -> Kinds:
    """Those of these names that the vocabulary has; a name of two kinds is left out, as is a kind of one word.

    None at all where there are not two kinds: a text of something else than Python.
    """
    by_kind = python_names()
    times = collections.Counter(name for names in by_kind.values() for name in names)
    numbers = {entry: number for number, entry in enumerate(vocabulary.entries)}
    found = {
        kind: [numbers[name] for name in sorted(names) if times[name] == 1 and name in numbers]
        for kind, names in by_kind.items()
    }
    found = {kind: words for kind, words in found.items() if len(words) > 1}
    if len(found) < 2:
        return Kinds(np.array([], int), np.array([], int), ())
    labels = np.repeat(np.arange(len(found)), [len(words) for words in found.values()])
    return Kinds(np.concatenate([np.array(words) for words in found.values()]), labels, tuple(found))


def cosines(vectors: np.ndarray) -> np.ndarray:
    """(N, N) of vectors (N, E); 0 with a vector that is zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    return unit @ unit.T


def same_kind_nearest(similar: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each of N words: 1 if the one nearest to it is of its kind, 0 if not; of several equally near, the share."""
    others = np.where(np.eye(len(labels), dtype=bool), -np.inf, similar)
    nearest = others >= others.max(axis=1, keepdims=True) - EQUAL
    same = labels[:, None] == labels[None]
    return (nearest & same).sum(axis=1) / nearest.sum(axis=1)


def separation(similar: np.ndarray, labels: np.ndarray) -> float:
    """The probability that two words of one kind are nearer than two of different kinds; 1/2 if that means nothing."""
    from sklearn.metrics import roc_auc_score

    pairs = np.triu_indices(len(labels), 1)
    same = labels[pairs[0]] == labels[pairs[1]]
    return float(roc_auc_score(same, np.round(similar[pairs], 6)))


def chance(labels: np.ndarray) -> float:
    """The expected share of nearest words of the same kind where the nearest is any other one."""
    counts = np.bincount(labels)
    return float((counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1)))


def interval(hits: np.ndarray) -> tuple[float, float]:
    """Of the mean of (N,) words: within which it lies for most draws of words with replacement (bootstrap)."""
    drawn = np.random.default_rng(0).integers(0, len(hits), (DRAWS, len(hits)))
    low, high = np.quantile(hits[drawn].mean(axis=1), [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


def measured(vectors: np.ndarray, kinds: Kinds, vocabulary: Vocabulary) -> Record:
    """How a run's vectors (V, E) stand, with what a report needs."""
    similar = cosines(vectors[kinds.words].astype(np.float64))
    return {
        "kind": "similarity",
        "hits": same_kind_nearest(similar, kinds.labels),
        "separation": separation(similar, kinds.labels),
        "chance": chance(kinds.labels),
        **described(kinds, vocabulary),
    }


def described(kinds: Kinds, vocabulary: Vocabulary) -> Record:
    """Which words, and of what kind they are, as a record holds them."""
    words = " ".join(vocabulary.entries[word] for word in kinds.words)
    return {"words": words, "labels": kinds.labels, "names": " ".join(kinds.names)}


def neighbours(vectors: np.ndarray, query: np.ndarray, count: int, left_out: set[int]) -> list[tuple[int, float]]:
    """The words nearest to a vector (E,) by the cosine, the nearest first, but for some."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    similar = vectors @ query / np.where(lengths > 0, lengths, 1)
    order = [int(word) for word in np.argsort(-similar, kind="stable") if int(word) not in left_out]
    return [(word, float(similar[word])) for word in order[:count]]


def maps(vectors: np.ndarray, kinds: Kinds, vocabulary: Vocabulary) -> Iterator[Record]:
    """The words of all kinds in two dimensions, by their directions: principal components, and t-SNE."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    chosen = vectors[kinds.words].astype(np.float64)
    lengths = np.linalg.norm(chosen, axis=1, keepdims=True)
    unit = chosen / np.where(lengths > 0, lengths, 1)
    near = min(15.0, (len(unit) - 1) / 3)
    made = {"principal components": PCA(2), "t-SNE": TSNE(2, perplexity=near, init="pca", random_state=0)}
    for method, model in made.items():
        x, y = model.fit_transform(unit).T
        yield {"kind": "map", "method": method, "x": x, "y": y, **described(kinds, vocabulary)}


def require_scikit_learn() -> None:
    """Raises ``ModuleNotFoundError`` where it is not installed."""
    if importlib.util.find_spec("sklearn") is None:
        raise ModuleNotFoundError("maps of words need scikit-learn: pip install 'rnnjax[word_vectors]'")
