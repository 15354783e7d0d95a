"""Is "Teddy" part of a person's name? Which tag has each word of a sentence, and which way must a network read it?

    python -m experiments.tagging                                              names and other words, generated
    python -m experiments.tagging --variant=corpus --workdir=runs/corpus       parts of speech, spoken Cantonese
    python -m experiments.tagging.tag --sentence="Teddy bears are on sale"     what a trained network says

The lectures give each word a tag. In "Teddy bears are on sale!" and in "Teddy Roosevelt was a great president!" all
that stands before the word in question is the same, so that a network which reads forward cannot know; one that reads
both ways can. Here each way is a network of about the same number of params. A grammar makes sentences in which one
word, a given number of words to the right or to the left, decides. What can be guessed without that word is known in
closed form. The variant corpus is HKCanCor (Luke & Wong, 2015), conversations and radio programmes that the package
pycantonese brings: ``pip install -e ".[tagging]"``. The recordings of the latest days are for testing.

Run time: 1 min on two CPU cores, 3 to 4 min where other programs use them, too; there corpus 10 min; the quick variant
15 to 60 s.

What to expect, from five seeds each:

* The default has GRUs of 48 units in each of two directions (36,232 params) or of 74 in one (36,482). Ambiguous words
  are decided by another word, 1 to 12 words away. Without that word 63.3 % can be right at best. Forward has 63.3 %
  right where the word to the right decides, and backward 63.3 % where the word to the left does, with every seed and at
  every distance.
* What a network can see it uses at all distances alike. It has 100.0 % right where a word that was seen in training
  decides, with every seed. Where a word that was held out decides, over all distances, bidirectional has 97.6 to 100.0
  % right from the left and 94.2 to 100.0 % from the right, backward 94.4 to 98.8 % and forward 98.0 to 99.4 %.
* That "Teddy" is part of a name has a probability of 0.0 to 0.1 % in "Teddy bears are on sale" and of 93.1 to 99.9 % in
  "Teddy Roosevelt was a great president" for bidirectional, and of 44.6 to 51.3 % in both for forward.
* Before training, the gradient of a decision with respect to what is read 12 words away is 10^-1.9 to 10^-2.1 of that
  at the word itself, after training 10^-0.8 to 10^-1.6 (medians). There, at the word that decides, it rises again,
  except for bidirectional to the left.
* corpus has 96 units in each of two directions or 147 in one (636,559 and 636,640 params) and 33,123 words to test on.
  Both directions have 92.9 % right (92.7 to 93.1), forward 92.7 % (92.4 to 92.8), backward 91.9 % (91.6 to 92.2), and
  the most frequent tag of each word 90.8 %. Of the 2,448 words that were not seen in training they have 62.1 % (61.0 to
  62.9), 60.9 % (60.6 to 61.0), 55.5 % (54.3 to 56.3) and 43.6 % right. So both directions are better than backward and
  than counting; whether they are better than forward is undecided. Word dropout, its form, and the size of vectors were
  chosen before that in seven trials of one seed, on the latest recordings of the training part.

Held-out words of the grammar have the endings of words that were seen; no more is claimed of them.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    config.data = "grammar"  # or corpus, of spoken Cantonese
    # The direction in which each network reads; most_frequent gives each word the tag that it mostly had in training.
    config.networks = "most_frequent,forward,backward,bidirectional"
    config.cell = "gru"  # a name of rnnjax.CELLS
    config.hidden_size = 48  # units in each of two directions; one direction alone has more, for about as many params
    config.embedding_size = 32  # length of a word's embedding
    config.longest_affix = 3  # letters at the start and the end of a word that are read beside the word itself
    config.distances = 12  # of the grammar: the greatest distance of the deciding word, in words
    config.train_sentences = 20_000  # training sentences that the grammar generates
    config.longest = 40  # words; a longer training sentence is cut into several
    # A word that occurs n times in training is taken there for an unknown one with probability a / (a + n): this is a.
    config.word_dropout = 20.0
    config.output_dropout = 0.0  # probability that an output of the layer is dropped, for a whole sentence
    config.batch_size = 64  # sentences in a training step
    config.train_steps = 1500  # training steps; the mean of the weights over the last ones is tested
    config.learning_rate = 5e-3  # of AdamW at the start; it falls to 0 as a cosine
    config.weight_decay = 0.0  # of matrices
    config.clip_norm = 1.0  # largest global norm of a gradient
    config.averaged_over = 100  # training steps over which the tested mean of the weights is taken, about
    config.evaluate_every = 300  # training steps between evaluations
    config.steps_a_call = 50  # training steps in one dispatch; all other numbers of steps are multiples of it
    config.checkpoint_every = 500  # training steps between checkpoints; 0 for none, and nothing can be tagged later
    config.lags = 12  # words to either side of a word over which the gradient of its tag is measured
    config.seeds = 5  # independent initializations and orders of the training data
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
    return varied(config, variant, VARIANTS)


def corpus(config: ConfigDict) -> None:
    """10 min. Parts of speech of spoken Cantonese."""
    config.data, config.word_dropout = "corpus", 1.0
    config.hidden_size, config.embedding_size, config.output_dropout = 96, 64, 0.3
    config.train_steps, config.evaluate_every, config.checkpoint_every, config.lags = 600, 100, 300, 8


def quick(config: ConfigDict) -> None:
    """15 to 60 s. The same steps on tiny networks."""
    config.hidden_size, config.embedding_size, config.distances, config.lags, config.seeds = 8, 8, 2, 2, 2
    config.cell, config.train_sentences = "elman", 1000
    config.train_steps, config.evaluate_every, config.steps_a_call = 120, 40, 40
    config.checkpoint_every, config.learning_rate = 80, 3e-2


VARIANTS = (corpus, quick)
