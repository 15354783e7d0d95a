"""Real data: texts, as characters, words or bytes, images, and labelled sequences."""

from rnnjax.data.corpus import Corpus, Text, load_corpus, load_text, random_windows
from rnnjax.data.images import Images, load_images
from rnnjax.data.sequences import Labelled, Sequences, load_digits
from rnnjax.data.speakers import load_speakers
from rnnjax.data.streams import parallel_streams, sliding_windows, stream_window
from rnnjax.data.surnames import load_surnames
from rnnjax.data.vocabulary import UnknownError, Vocabulary, decode, encode, vocabulary_of

__all__ = [
    "Corpus",
    "Images",
    "Labelled",
    "Sequences",
    "Text",
    "UnknownError",
    "Vocabulary",
    "decode",
    "encode",
    "load_corpus",
    "load_digits",
    "load_images",
    "load_speakers",
    "load_surnames",
    "load_text",
    "parallel_streams",
    "random_windows",
    "sliding_windows",
    "stream_window",
    "vocabulary_of",
]
