"""Real data: text corpora and images."""

from rnnjax.data.corpus import Corpus, load_corpus, random_windows
from rnnjax.data.images import Images, load_images

__all__ = ["Corpus", "Images", "load_corpus", "load_images", "random_windows"]
