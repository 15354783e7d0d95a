"""Real data: texts, as characters, words or bytes, and images."""

from rnnjax.data.corpus import Corpus, Text, load_corpus, load_text, random_windows
from rnnjax.data.images import Images, load_images
from rnnjax.data.streams import parallel_streams, sliding_windows, stream_window
from rnnjax.data.vocabulary import UnknownError, Vocabulary, decode, encode, vocabulary_of

__all__ = [
    "Corpus",
    "Images",
    "Text",
    "UnknownError",
    "Vocabulary",
    "decode",
    "encode",
    "load_corpus",
    "load_images",
    "load_text",
    "parallel_streams",
    "random_windows",
    "sliding_windows",
    "stream_window",
    "vocabulary_of",
]
