"""What do distances between words mean, once words are projected to fewer dimensions by what they predict?

    python -m experiments.word_vectors                                                   English, about Python
    python -m experiments.word_vectors --config.corpus=FILE --workdir=runs/mine          any UTF-8 text
    python -m experiments.word_vectors --variant=negative_sampling --workdir=runs/negative_sampling
    python -m experiments.word_vectors.nearest --workdir=runs/word_vectors --word=list   nearest words

The lectures: one-hot words are all equally far from each other, "a tremendously inefficient use of dimensions". Let one
matrix, the same for all positions, project them to fewer dimensions, and learn it together with a prediction that it
serves; then "distances between projected points will capture semantic relations". Words are projected by the TDNN of
Bengio et al. (2003), which feeds a window of projected words into a tanh layer and a softmax, with direct connections
past that layer and without them; by a recurrent cell in its place; by CBOW, the soft bag of words; and by skip-gram.

Whether distances mean anything is asked of Python's own names in the text. Of a word that is an exception, a type, a
function, a method, a module or a keyword: is the nearest of all these words of the same kind? Beside them stand one-hot
words and words that are projected at random. The last tenth of the text is held out, its first half to choose by and
its second to report.

Run time: 5 min 30 s on two CPU cores that others use, too; negative_sampling 25 s to 1 min on idle ones, the quick
variant 15 s to 1 min.

What to expect, from three seeds each; ranges over seeds are in brackets:

* The default has 468,398 words to train on and keeps the 2,000 most frequent. Of 177 names, the nearest is of the same
  kind for 55 % (52 to 56) with the TDNN on 2 words, 52 % (51 to 53) on 4 words, 54 % (51 to 58) there with direct
  connections, and 51 % (49 to 54) on 8 words; for 53 % (51 to 55) with a GRU and with CBOW (51 to 55), and for 50 % (48
  to 53) with skip-gram. Half-widths of 95 % intervals over words are 5 to 7 points. One-hot words have 21 %, which is
  chance, and words projected at random 21 % (19 to 23). So the lectures' claim is confirmed for all seven. Their
  intervals overlap, so that none of them is shown to be best.
* Perplexity on the held-out text at that vocabulary, after two epochs: GRU 39.9 to 40.2, 5-grams 43.0, trigrams 45.9;
  the TDNN on 4 words with direct connections 45.4 to 45.8, without them 47.5 to 47.7, on 8 words 46.7 to 46.9, on 2
  words 50.7 to 50.9.
* The recurrent network of experiments.language (a GRU of the same sizes, 600 steps of 32 windows of 32 words) has a
  perplexity of 38.5 to 40.0 on the same text with the same vocabulary: ``python -m experiments.language
  --variant=words --config.corpus=prose --config.max_characters=0 --config.windows= --config.recurrent_windows=
  --config.ngrams=0 --config.seeds=3 --workdir=runs/words_of_prose``.
* CBOW and skip-gram with a full softmax lose 6.12 (6.116 to 6.119) and 6.36 (6.357 to 6.362) nats a held-out pair,
  beside 6.51 without context.
* negative_sampling has 4,613 words. Of 261 names the nearest is of the same kind for 63 % (61 to 64; over words 59 to
  68) with CBOW, 63 % (61 to 64; 57 to 68) with skip-gram, 23 % with one-hot words and 27 % (21 to 30) with words
  projected at random. The loss is 2.17 (2.164 to 2.169) and 2.49 (2.490 to 2.492) nats a held-out pair, of which one in
  six is real, beside 2.70 without context. In CBOW one copy of the vectors instead of two learns as well: 63 % (62 to
  64), with the same loss. With blocks of 16 words, 32 noise words and a rate of 0.1, one copy comes to 65 % (62 to 67)
  and a loss of 2.13, and learns from two thirds as many words a second.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    # Any UTF-8 text file; prose: docstrings of the standard library and the topics of pydoc; docstrings: these alone.
    config.corpus = "prose"
    config.max_characters = 0  # of the text that are read; 0: all
    config.vocabulary_size = 2000  # the most words that are kept; all rarer ones become one; 0: least_count decides
    config.least_count = 5  # then the times that a word must occur in the training text to be kept
    # tdnn:W, the next word from a window of W; direct:W, with direct connections, too; any name of rnnjax.CELLS, from
    # all words before; cbow and skip_gram, with full softmax, or as cbow:negative by negative sampling.
    config.models = "tdnn:2,tdnn:4,tdnn:8,direct:4,gru,cbow,skip_gram"
    config.ngrams = 5  # the highest order of the n-grams that are compared; 0: none
    config.projection_size = 64  # length of a word's projection
    config.hidden_size = 128  # units of the layer between projected words and softmax
    config.batch_size = 32  # parallel streams
    config.sequence_length = 32  # words of a window of the streams
    config.epochs = 2  # passes over the text by models that predict the next word
    config.learning_rate = 4e-3  # of Adam for these models at the start; it falls to 0 as a cosine
    config.clip_norm = 1.0  # largest global norm of a gradient
    config.window = 5  # the most words on each side that CBOW and skip-gram see
    # For CBOW and skip-gram, words above this share of the text are dropped at random; 0: none are.
    config.subsampling = 1e-3
    config.pair_epochs = 8  # passes over the text by CBOW and skip-gram
    config.pair_learning_rate = 4e-3  # of Adam for these two with full softmax
    config.negatives = 5  # noise words for each pair, with negative sampling
    config.skip_gram_rate = 0.025  # learning rate of a pair, with negative sampling; it falls to 0 linearly
    config.cbow_rate = 0.07  # the same for CBOW
    config.block_size = 16  # words that share their noise words; in large blocks frequent words take too large steps
    config.shared_noise = 32  # noise words of a block
    config.cbow_block_size = 32  # words that share their noise words in CBOW with negative sampling
    config.cbow_shared_noise = 16  # noise words of such a block
    # Copies of the vectors that learn side by side in CBOW with negative sampling, each from its part of a dispatch, on
    # a core each where it is trained alone; what they have learned is added up after each dispatch.
    config.cbow_copies = 2
    config.steps_a_call = 10  # windows of the streams, or as many words in blocks, in one dispatch
    config.checkpoint_every = 200  # the same, between checkpoints; 0 for none, and then no nearest words afterwards
    # Words whose nearest words are listed, separated by commas; those outside the vocabulary are left out.
    config.probes = "list,ValueError,returns,file,three,json,thread,encode"
    config.seeds = 3  # independent initializations
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
    return varied(config, variant, VARIANTS)


def negative_sampling(config: ConfigDict) -> None:
    """25 s to 1 min. All words that occur at least five times; CBOW and skip-gram by negative sampling."""
    config.vocabulary_size, config.models, config.ngrams = 0, "cbow:negative,skip_gram:negative", 0
    config.projection_size, config.pair_epochs, config.steps_a_call = 100, 10, 20


def quick(config: ConfigDict) -> None:
    """1 min. The same steps on a tiny text, from which little is learned."""
    config.max_characters, config.vocabulary_size = 60_000, 300
    config.models, config.ngrams = "tdnn:2,direct:2,cbow,skip_gram:negative", 2
    config.projection_size, config.hidden_size, config.batch_size, config.sequence_length = 8, 16, 8, 16
    config.epochs, config.pair_epochs = 2, 3
    config.steps_a_call, config.checkpoint_every, config.seeds = 4, 8, 2


VARIANTS = (negative_sampling, quick)
