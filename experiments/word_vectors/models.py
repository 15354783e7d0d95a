"""The models by name: what kind each is of, how far it looks, what it is called in a report."""

from experiments.word_vectors.pairs import CBOW, NEGATIVE, SKIP_GRAM
from experiments.word_vectors.predictor import DIRECT, TDNN

NGRAM, ONE_HOT, RANDOM = "n-gram", "one-hot", "random"
"""Models that are not trained: counted; every word alone; one-hot words, projected at random."""

UNTRAINED = (NGRAM, ONE_HOT, RANDOM)


def head(model: str) -> str:
    """What stands before the colon."""
    return model.partition(":")[0]


def is_pairs(model: str) -> bool:
    """Whether it is CBOW or skip-gram."""
    return head(model) in (CBOW, SKIP_GRAM)


def is_compared(model: str) -> bool:
    """Whether it is there for others to be compared with, and not to predict."""
    return model in (ONE_HOT, RANDOM)


def family(model: str) -> str:
    """In words, without how far it looks."""
    told = {
        TDNN: "TDNN",
        DIRECT: "TDNN with direct connections",
        CBOW: "CBOW",
        SKIP_GRAM: "skip-gram",
        NGRAM: "n-grams",
        RANDOM: "projected at random",
    }
    how = " by negative sampling" if model.endswith(f":{NEGATIVE}") else ""
    return told.get(head(model), model) + how


def sees(model: str) -> int | None:
    """How many words before the next one; None for all of them."""
    number = model.partition(":")[2]
    return (int(number) - (head(model) == NGRAM)) if number.isdigit() else None


def title(model: str) -> str:
    """In words."""
    if head(model) == TDNN:
        return f"TDNN of {_words(model)}"
    return f"TDNN of {_words(model)} with direct connections" if head(model) == DIRECT else family(model)


def _words(model: str) -> str:
    return "1 word" if sees(model) == 1 else f"{sees(model)} words"
