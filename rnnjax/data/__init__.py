"""Real data: texts as characters, words or bytes, images, labelled sequences, and tagged sentences."""

from rnnjax.data.cantonese import Document, TaggedSentence, load_cantonese
from rnnjax.data.corpus import Corpus, Text, load_corpus, load_text, random_windows
from rnnjax.data.images import Images, load_images
from rnnjax.data.sequences import Labelled, Sequences, load_digits
from rnnjax.data.speakers import load_speakers
from rnnjax.data.streams import parallel_streams, sliding_windows, stream_window
from rnnjax.data.surnames import load_surnames
from rnnjax.data.vocabulary import UnknownError, Vocabulary, decode, encode, vocabulary_of

__all__ = [
    "Corpus",
    "Document",
    "Images",
    "Labelled",
    "Sequences",
    "TaggedSentence",
    "Text",
    "UnknownError",
    "Vocabulary",
    "decode",
    "encode",
    "load_cantonese",
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
