r"""Which phoneme is heard at each moment of speech, and what do convolutions, an LSTM and a dense layer each add?

    python -m experiments.speech                                             clean speech and speech in noise
    python -m experiments.speech --variant=VARIANT --workdir=runs/VARIANT
    python -m experiments.speech.label FILE.wav --workdir=runs/speech        a trained network labels a recording

In the lectures recurrent networks label speech frame by frame, from "sequences of audio feature vectors" to the
"phonetic label of each vector". Sainath et al. (2015) put convolutions before LSTMs and dense layers after them. Here
the synthesizer espeak-ng speaks, at random rates and pitches, and reports where each phoneme begins:
``pip install -e ".[speech]"``. Six voices are for training, and two others are heard in tests alone. A network reads 40
mel bands every 10 ms and gives each of these frames one of 44 phonemes or silence. The closure of a stop is silence, as
in the 39 classes of TIMIT. Each part of the network is left out in turn, and the others are made wider, so that all
networks have about 80,000 params. They are trained for 600 steps, on clean speech and on speech in pink noise at 20, 10
and 0 dB; at the end their errors are still falling. Phonemes made by rules are easier than those of people, about which
this experiment claims nothing.

Run time: 5 min 10 s on two CPU cores, and 35 min where many other programs used them; delays 5 min, which is an
estimate, and 31 min likewise; the quick variant 30 s to 2 min.

What to expect from three seeds. Where two numbers stand side by side, the first is of known voices and the second of
held-out voices.

* In clean speech cnn-lstm-dnn labels 7.5 % (7.2 to 8.1) and 19.5 % (19.0 to 20.5) of the frames wrongly, the same with
  an LSTM in each direction 7.3 % (6.8 to 7.7) and 17.1 % (16.2 to 17.9), and an LSTM alone 11.4 % (11.3 to 11.5) and
  26.2 % (25.6 to 27.0). In noise at 0 dB these errors are 28.1 and 38.4 %, 26.4 and 34.8 %, and 30.0 and 39.2 %.
* That all three parts together are better than an LSTM, as Sainath et al. say, is confirmed for clean speech, where
  cnn-lstm-dnn has 34 % (28 to 38) and 25 % (20 to 30) fewer frames wrong than an LSTM of as many params. At 0 dB it is
  confirmed for known voices, with 6 % fewer (5 to 8), and undecided for held-out voices (-1 to 3). They report 4 to 6 %
  fewer words wrong.
* Convolutions add most in clean speech: without them 3.1 (2.7 to 3.8) and 6.8 (5.5 to 8.7) percentage points more
  frames are wrong, and at 0 dB 1.0 (0.8 to 1.3) and 2.3 (1.8 to 3.0). Whether the LSTM adds something in clean speech
  of known voices is undecided (0.3 points, -0.1 to 0.6); it adds 5.3 points (4.3 to 6.2) for held-out voices, and 4.2
  (3.8 to 4.9) and 4.5 (4.0 to 4.9) at 0 dB. That the dense layer adds something is confirmed nowhere: it adds at most
  0.9 points on average, for known voices at 10 dB (-0.4 to 1.8), and for held-out voices at 0 dB it is refuted (-0.9,
  -1.7 to 0.0).
* That both directions are better than one is undecided in clean speech of known voices, with 2 % fewer frames wrong (-4
  to 6). It is confirmed for held-out voices and at 0 dB, with 6 to 12 % fewer.
* delays. In clean speech cnn-lstm-dnn has 10.3 % (10.2 to 10.4) and 21.8 % (20.7 to 22.7) of the frames wrong if it
  decides on a frame at once, 8.1 % (7.8 to 8.2) and 20.2 % (19.7 to 20.9) if it hears 20 ms more before, 7.5 % (7.2 to
  8.1) and 19.5 % (19.0 to 20.5) with 50 ms, and 8.1 % (7.5 to 9.0) and 21.2 % (19.8 to 21.9) with 100 ms. For known
  voices, hearing 50 ms ahead is worth about as much as convolutions.
* The label of a frame reaches back as far as the gradient of its decision with respect to what is heard is a tenth of
  its largest value or more. After training this is 90 to 110 ms with convolutions and LSTM, and 120 to 140 ms with an
  LSTM alone. Before training it is 210 to 250 ms and 40 to 50 ms.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    # Parts in this order, joined by hyphens: cnn, lstm, dnn; with "bidirectional:" before them for both directions.
    config.networks = "cnn-lstm-dnn,cnn-lstm,cnn-dnn,lstm-dnn,lstm,bidirectional:cnn-lstm-dnn"
    # How many frames of 10 ms a network hears after a frame before it labels it; bidirectional ones hear all of them.
    config.delays = "5"
    config.maps = 8  # feature maps of each of the two convolutions
    config.reduced_size = 64  # size of the linear layer between the convolutions and the LSTM
    config.hidden_size = 96  # units of LSTM and dense layer in cnn-lstm-dnn; the others get about as many params
    # Voices of espeak-ng for training and tests, each a language and a variant.
    config.voices = "en-us+m1,en+f1,en-us+m6,en+belinda,en-us+Andrea,en+m3"
    config.held_out_voices = "en-us+Annie,en+m4"  # voices for tests alone
    config.slowest = 130  # lowest rate of speech, in words a minute
    config.fastest = 210  # highest rate of speech, in words a minute
    config.lowest_pitch = 30  # of espeak-ng, from 0 to 99; a voice by itself has 50
    config.highest_pitch = 70  # of espeak-ng
    config.train_sentences = 240  # training sentences, each spoken once
    config.test_sentences = 30  # test sentences, each spoken by a known voice and by a held-out voice
    config.noise = "pink"  # or white
    # Conditions of the training windows, one of which is drawn for each: clean, or a signal-to-noise ratio in dB.
    config.train_conditions = "clean,20,10,0"
    config.test_conditions = "clean,20,10,0"  # conditions in which all networks are tested
    config.frames = 100  # frames of 10 ms in a training window
    config.dropout = 0.1  # probability that an output of a part is dropped, at each frame by itself
    config.batch_size = 32  # windows in a training step
    config.train_steps = 600  # training steps; the mean of the weights over the last ones is tested
    config.learning_rate = 5e-3  # of AdamW at the start; it falls to 0 as a cosine
    config.weight_decay = 0.0  # of matrices
    config.clip_norm = 1.0  # largest global norm of a gradient
    config.averaged_over = 100  # training steps over which the tested mean of the weights is taken, about
    config.evaluate_every = 200  # training steps between evaluations
    config.steps_a_call = 20  # training steps in one dispatch; all other numbers of steps are multiples of it
    config.checkpoint_every = 300  # training steps between checkpoints; 0 for none, and nothing can be labelled later
    config.lags = 60  # frames to either side of a frame over which the gradient of its label is measured
    config.seeds = 3  # independent initializations and orders of the training data
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
    return varied(config, variant, VARIANTS)


def delays(config: ConfigDict) -> None:
    """5 min. How much a forward network must hear after a frame, beside a network of both directions."""
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
