r"""Which phoneme is heard at each moment of speech, and what do convolutions, an LSTM and a dense layer each add?

    python -m experiments.speech                                             clean speech and speech in noise
    python -m experiments.speech --variant=VARIANT --workdir=runs/VARIANT
    python -m experiments.speech.label FILE.wav --workdir=runs/speech        what a trained network hears

The lectures: recurrent networks label speech frame by frame, from "sequences of audio feature vectors" to the
"phonetic label of each vector", and Sainath et al. (2015) put convolutions before LSTMs and dense layers after them.
Here espeak-ng speaks, at rates and pitches that are drawn, and tells where each phoneme begins
(``pip install -e ".[speech]"``); six voices are trained on, two are heard in tests alone. A network is given 40 mel
bands every 10 ms and says one of 44 phonemes or silence; the closure of a stop is silence, as in TIMIT's 39 classes.
Each part is left out in turn, the others made wider, so that all have about 80,000 params; training is clean and in
pink noise at 20, 10 and 0 dB. All are trained for 600 steps, at the end of which errors still fall. Phonemes made by
rules are easier than those of people: nothing is claimed of theirs.

Run time: 6 min on two idle CPU cores, by its 11 min of processor time (35 min were seen on cores that many others
use); delays 5 min by the same reckoning (31 min), the quick variant 30 s to 2 min.

Expect, three seeds, shares of frames that are wrong, of known voices and of held-out ones:

* default, clean speech: cnn-lstm-dnn 7.5 % (7.2 to 8.1) and 19.5 % (19.0 to 20.5), both directions 7.3 % (6.8 to
  7.7) and 17.1 % (16.2 to 17.9), an LSTM alone 11.4 % (11.3 to 11.5) and 26.2 % (25.6 to 27.0). At 0 dB 28.1 and
  38.4 %, 26.4 and 34.8 %, 30.0 and 39.2 %.
* What Sainath et al. say is confirmed and more in clean speech: all three parts have 34 % (28 to 38) fewer frames
  wrong than an LSTM of as many params, 25 % (20 to 30) of held-out voices; at 0 dB it is 6 % (5 to 8), and undecided
  for held-out voices (-1 to 3). They report 4 to 6 % fewer words wrong.
* Convolutions add most in clean speech: without them 3.1 points more are wrong (2.7 to 3.8), 6.8 of held-out voices
  (5.5 to 8.7); at 0 dB 1.0 (0.8 to 1.3) and 2.3 (1.8 to 3.0). The LSTM adds nothing that shows in clean speech of
  known voices (0.3, -0.1 to 0.6), but 5.3 points (4.3 to 6.2) of held-out ones, and at 0 dB 4.2 (3.8 to 4.9) and 4.5
  (4.0 to 4.9). That the dense layer adds something is nowhere confirmed (0.9 points at most on average, -0.4 to 1.8,
  of known voices at 10 dB), and refuted of held-out voices at 0 dB (-0.9, -1.7 to 0.0).
* Both directions: undecided in clean speech of known voices (2 % fewer wrong, -4 to 6), else confirmed (6 to 12 %).
* delays, clean speech: cnn-lstm-dnn 10.3 % (10.2 to 10.4) and 21.8 % (20.7 to 22.7) where it decides at once, 8.1 %
  (7.8 to 8.2) and 20.2 % (19.7 to 20.9) where it has heard 20 ms more, 7.5 % (7.2 to 8.1) and 19.5 % (19.0 to 20.5)
  with 50 ms, 8.1 % (7.5 to 9.0) and 21.2 % (19.8 to 21.9) with 100 ms. Of known voices 50 ms ahead are worth about
  as much as convolutions.
* A trained label reaches back 90 to 110 ms with convolutions and LSTM, 120 to 140 ms with an LSTM alone, up to where
  a tenth of the largest gradient of a decision with respect to what is heard is left; before training 210 to 250 ms
  and 40 to 50 ms.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    # Parts with hyphens between, in this order: cnn, lstm, dnn; "bidirectional:" before them for an LSTM each way.
    config.networks = "cnn-lstm-dnn,cnn-lstm,cnn-dnn,lstm-dnn,lstm,bidirectional:cnn-lstm-dnn"
    config.delays = "5"  # frames of 10 ms heard before one is decided; bidirectional networks hear all without
    config.maps = 8  # of each of two convolutions
    config.reduced_size = 64  # numbers that what convolutions find comes down to
    config.hidden_size = 96  # units of LSTM and dense layer in cnn-lstm-dnn; of others so many that params are as many
    # Of espeak-ng, a language and a variant each; test utterances are also spoken by those held out.
    config.voices = "en-us+m1,en+f1,en-us+m6,en+belinda,en-us+Andrea,en+m3"
    config.held_out_voices = "en-us+Annie,en+m4"  # which no network hears in training
    config.slowest = 130  # words a minute, from
    config.fastest = 210  # to
    config.lowest_pitch = 30  # of espeak-ng, from 0 to 99; 50 is what a voice has
    config.highest_pitch = 70  # up to this
    config.train_sentences = 240  # each spoken once
    config.test_sentences = 30  # each spoken by a known voice and by a held-out one
    config.noise = "pink"  # or white
    config.train_conditions = "clean,20,10,0"  # of which each window is in one, drawn at random; decibels over noise
    config.test_conditions = "clean,20,10,0"  # in which all are tested
    config.frames = 100  # of a window, of 10 ms each
    config.dropout = 0.1  # probability that an output of a part is dropped, at each frame by itself
    config.batch_size = 32  # windows in a training step
    config.train_steps = 600  # of which the weights of the last ones are averaged, and tested
    config.learning_rate = 5e-3  # of AdamW at the start; it falls to nothing as a cosine
    config.weight_decay = 0.0  # of matrices
    config.clip_norm = 1.0  # global gradient norm
    config.averaged_over = 100  # training steps: the mean of the weights over about so many is what is tested
    config.evaluate_every = 200  # training steps
    config.steps_a_call = 20  # training steps in a dispatch, of which all other numbers of steps are multiples
    config.checkpoint_every = 300  # training steps; 0 for no checkpoints, so that nothing can be labelled afterwards
    config.lags = 60  # frames to either side in which the gradient of a decision is measured
    config.seeds = 3  # independent initializations and orders
    config.threads = 0  # programs compiled and run at the same time; 0: one a core
    return varied(config, variant, VARIANTS)


def delays(config: ConfigDict) -> None:
    """5 min. How much of what follows a frame must be heard, by forward networks, beside both directions."""
    config.networks = "cnn-lstm-dnn,bidirectional:cnn-lstm-dnn"
    config.delays = "0,2,5,10"


def quick(config: ConfigDict) -> None:
    """30 s to 2 min. The same steps on tiny networks."""
    config.networks = "cnn-lstm-dnn,cnn-dnn,bidirectional:lstm"
    config.maps, config.reduced_size, config.hidden_size = 2, 8, 8
    config.voices, config.held_out_voices = "en-us+m1", "en+f1"
    config.train_sentences, config.test_sentences, config.lags = 12, 3, 20
    config.train_conditions = config.test_conditions = "clean,10"
    config.frames, config.batch_size, config.train_steps, config.learning_rate = 40, 8, 40, 2e-2
    config.evaluate_every, config.steps_a_call, config.checkpoint_every, config.averaged_over = 20, 20, 20, 20
    config.seeds = 2


VARIANTS = (delays, quick)
