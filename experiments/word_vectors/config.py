r"""What do distances between words mean, once words are projected to fewer dimensions by what they predict?

    python -m experiments.word_vectors                                                   about Python, in English
    python -m experiments.word_vectors --config.corpus=FILE --workdir=runs/mine          any UTF-8 text
    python -m experiments.word_vectors --variant=negative_sampling --workdir=runs/negative_sampling
    python -m experiments.word_vectors.nearest --workdir=runs/word_vectors --word=list   nearest words

EXPECTED
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    # Any UTF-8 text file; prose: docstrings of the standard library and the topics of pydoc; docstrings: these alone.
    config.corpus = "prose"
    config.max_characters = 1_500_000  # of it are read; 0: all
    config.vocabulary_size = 2000  # keeps no more words, rarer ones become one; 0: all that are not too rare
    config.least_count = 5  # then a word must come so often in what is trained on
    # tdnn:W, the next word from a window of W; direct:W, with direct connections, too; any name of rnnjax.CELLS, from
    # all words before; cbow and skip_gram, with full softmax, or as cbow:negative by negative sampling.
    config.models = "tdnn:4,direct:4,gru,cbow,skip_gram"
    config.ngrams = 5  # orders of n-grams beside, all up to this; 0: none
    config.projection_size = 64  # numbers that a word is projected to
    config.hidden_size = 128  # units of the layer between projected words and softmax
    config.batch_size = 32  # parallel streams
    config.sequence_length = 32  # words of a window of the streams
    config.epochs = 2  # of those that predict the next word
    config.learning_rate = 4e-3  # of their Adam at the start; it falls to nothing as a cosine
    config.clip_norm = 1.0  # global gradient norm
    config.window = 5  # words on each side that CBOW and skip-gram see, at most
    config.subsampling = 1e-3  # words above this share of the text are thinned out for CBOW and skip-gram; 0: none
    config.pair_epochs = 8  # of CBOW and skip-gram
    config.pair_learning_rate = 4e-3  # of their Adam with full softmax
    config.negatives = 5  # noise words to each pair, with negative sampling
    config.skip_gram_rate = 0.025  # learning rate of a pair, with negative sampling; it falls to nothing in a line
    config.cbow_rate = 0.1  # the same for CBOW
    config.block_size = 16  # words that share their noise words; with many a frequent word takes too large steps
    config.shared_noise = 32  # noise words of a block
    config.steps_a_call = 10  # windows of the streams, or as many words in blocks, in a dispatch
    config.checkpoint_every = 200  # the same, a multiple of these; 0 for none, and then no nearest words afterwards
    # Words of which the nearest are told, with commas between; those outside of the vocabulary are left out.
    config.probes = "list,ValueError,returns,file,three,json,thread,encode"
    config.seeds = 3  # independent initializations
    config.threads = 0  # programs compiled and run at the same time; 0: one a core
    return varied(config, variant, VARIANTS)


def negative_sampling(config: ConfigDict) -> None:
    """3 min. All words that come five times, CBOW and skip-gram by negative sampling."""
    config.max_characters, config.vocabulary_size, config.ngrams = 0, 0, 0
    config.models = "cbow:negative,skip_gram:negative"
    config.projection_size, config.pair_epochs = 100, 10


def quick(config: ConfigDict) -> None:
    """20 s. All of it on a tiny text."""
    config.max_characters, config.vocabulary_size = 60_000, 300
    config.models, config.ngrams = "tdnn:2,direct:2,cbow,skip_gram:negative", 2
    config.projection_size, config.hidden_size, config.batch_size, config.sequence_length = 8, 16, 8, 16
    config.epochs, config.pair_epochs = 2, 3
    config.steps_a_call, config.checkpoint_every, config.seeds = 4, 8, 2


VARIANTS = (negative_sampling, quick)
