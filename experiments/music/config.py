r"""How well does a recurrent network know what comes next in a chorale, and how far back does it listen?

    python -m experiments.music                                                Bach's chorales, as music21 has them

Run time: 8 min on two CPU cores.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    # A JSON file of chorales, an object of train, valid and test; empty: those of music21.
    config.file = ""
    config.chorales = 0  # of music21, how many of each part at most; 0: all
    # Names of rnnjax.CELLS, with :joint behind for a joint output; frequency and held are counted.
    config.networks = "frequency,held,elman,gru,lstm,gru:joint"
    config.hidden_size = 128  # units of a layer
    config.layers = 1  # of the cell, one on the other
    config.intervals = 24  # semitones up and down in which a key is judged by the notes before; 0: by the state alone
    config.down = 5  # semitones by which a chorale is moved down in training, at most; which of them is drawn
    config.up = 6  # the same upwards
    config.note_dropout = 0.0  # probability that a note that is read is left out in training
    config.output_dropout = 0.25  # the same of an output of each layer
    config.recurrent_dropout = 0.0  # the same of what enters a recurrent product, for a whole row
    config.rows = 16  # in a training step
    config.row_frames = 128  # of each row, filled with chorales that follow each other
    config.train_steps = 500  # of which the weights of the last ones are averaged; the best by validation are tested
    config.learning_rate = 6e-3  # of AdamW at the start; it falls to nothing as a cosine
    config.weight_decay = 0.1  # of matrices
    config.clip_norm = 1.0  # global gradient norm
    config.averaged_over = 60  # training steps: the mean of the weights over about so many is what is evaluated
    config.evaluate_every = 100  # training steps
    config.steps_a_call = 20  # training steps in a dispatch, of which all other numbers of steps are multiples
    config.checkpoint_every = 100  # training steps; the best weights are kept in any case
    config.lags = 24  # beats back from a frame in which its gradient is measured
    config.contexts = "1,2,4,8,16,24"  # frames that are heard, of which it is told what hearing less costs
    config.bars = 32  # of a piece
    config.seeds = 3  # independent initializations and orders
    config.threads = 0  # programs compiled and run at the same time; 0: one a core
    return varied(config, variant, VARIANTS)


def best(config: ConfigDict) -> None:
    """12 min. A larger network, trained for longer, disturbed more, at a higher rate, weights averaged for longer."""
    config.networks, config.hidden_size, config.train_steps, config.seeds = "gru", 352, 2400, 1
    config.learning_rate, config.weight_decay, config.averaged_over = 8e-3, 0.35, 400
    config.output_dropout, config.note_dropout, config.checkpoint_every = 0.55, 0.12, 200


def quick(config: ConfigDict) -> None:
    """20 s. The same steps on tiny networks and few chorales."""
    config.chorales, config.hidden_size, config.intervals, config.seeds = 8, 12, 3, 2
    config.rows, config.row_frames, config.train_steps, config.steps_a_call = 8, 40, 60, 20
    config.evaluate_every, config.checkpoint_every, config.averaged_over = 20, 40, 10
    config.lags, config.contexts, config.bars, config.learning_rate = 8, "1,8", 4, 2e-2
    config.networks = "held,elman,gru:joint"


VARIANTS = (best, quick)
