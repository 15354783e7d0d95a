"""Real data: text corpora."""

from rnnjax.data.corpus import Corpus, load_corpus, random_windows

__all__ = ["Corpus", "load_corpus", "random_windows"]
