r"""Which phoneme is heard at each moment of speech, and what do convolutions, an LSTM and a dense layer each add?

    python -m experiments.speech                                             clean speech and speech in noise
    python -m experiments.speech --variant=VARIANT --workdir=runs/VARIANT
    python -m experiments.speech.label FILE.wav --workdir=runs/speech        what a trained network hears

TO BE WRITTEN

Run time: 10 min on two CPU cores.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    # Parts with hyphens between, in this order: cnn, lstm, dnn; "bidirectional:" before them for an LSTM each way.
    config.networks = "cnn-lstm-dnn,cnn-lstm,cnn-dnn,lstm-dnn,lstm,bidirectional:cnn-lstm-dnn"
    config.delays = (
        "5"  # frames of 10 ms that are heard before one is decided, but by bidirectional ones, which hear all
    )
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


def clean(config: ConfigDict) -> None:
    """10 min. Trained on clean speech alone, tested in noise all the same."""
    config.train_conditions = "clean"


def delays(config: ConfigDict) -> None:
    """10 min. How much of what follows a frame must be heard, by forward networks, beside both directions."""
    config.networks = "cnn-lstm-dnn,bidirectional:cnn-lstm-dnn"
    config.delays = "0,2,5,10"


def quick(config: ConfigDict) -> None:
    """30 s. The same steps on tiny networks."""
    config.networks = "cnn-lstm-dnn,cnn-dnn,lstm,bidirectional:lstm"
    config.maps, config.reduced_size, config.hidden_size = 2, 8, 8
    config.voices, config.held_out_voices = "en-us+m1", "en+f1"
    config.train_sentences, config.test_sentences, config.lags = 12, 3, 20
    config.train_conditions = config.test_conditions = "clean,10"
    config.frames, config.batch_size, config.train_steps, config.learning_rate = 40, 8, 60, 2e-2
    config.evaluate_every, config.steps_a_call, config.checkpoint_every, config.averaged_over = 20, 20, 40, 20
    config.seeds = 2


VARIANTS = (clean, delays, quick)
