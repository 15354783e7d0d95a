r"""Where do gradients die, in next-character prediction on real text?

    python -m experiments.gradient_flow                                                    all defaults
    python -m experiments.gradient_flow --config.cells=elman,lstm --config.depths=1,4 --workdir=runs/mine
    python -m experiments.gradient_flow --variant=VARIANT --workdir=runs/VARIANT

Run time: 50 s on two CPU cores with nothing compiled beforehand, 30 s after that; the quick variant 30 s.

Expect: at initialization every one-layer network's gradient vanishes exponentially (R² above 0.95). Half-lives in
steps: LSTM 19, Elman tanh 11, GRU 2.3, Elman ReLU 2.2, Elman sigmoid 0.5, the last below float32's range after 48
steps. In the lowest of four layers it decays no faster than in a single one. Training brings the networks together:
LSTM 3.5, tanh 2.9, GRU 1.5, ReLU 3.2, sigmoid 1.4. The product of an LSTM's forget gates halves every 2.5 steps at
initialization, dc_T/dc_t on all ways every 16: the ways through h carry the rest. After training the gates are all.

What the variants show is told beside them, below; times are of two cores, nothing compiled beforehand.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    config.corpus = ""  # any UTF-8 text file; empty: the sources of Python's standard library
    config.max_characters = 4_000_000  # of it are read; 0: all
    config.cells = "elman,gru,lstm"  # names of rnnjax.CELLS
    config.activations = "tanh,relu,sigmoid"  # of Elman networks; names of rnnjax.ACTIVATIONS
    config.initializations = "default"  # as networks/initializations.py names them, with commas between
    config.depths = "1,4"  # layers
    config.sequence_lengths = "100"  # characters the network reads, T
    config.seeds = 3  # independent initializations and batches
    config.hidden_size = 64  # units of each layer
    config.batch_size = 16  # sequences in a training step
    config.loss = "last"  # measured on the last character (norm against lag), at other steps "25,50,last", or on "all"
    config.train_steps = 150  # Adam on all characters; 0 measures at initialization only
    config.learning_rate = 3e-3  # of Adam
    config.clip_norm = 1.0  # global gradient norm
    config.measure_every = 0  # training steps between measurements on the way; 0: before and after alone
    config.checkpoint_every = 100  # training steps; 0 for none
    config.threads = 0  # programs compiled and run at the same time; 0: one a core
    return varied(config, variant, VARIANTS)


def initializations(config: ConfigDict) -> None:
    """70 s. Recurrent kernels and biases of gates, at width 128, before training.

    Half-life by recurrent kernel: Elman tanh from 4.7 steps (gain 0.9) to none (1.5, where the gradient grows), Elman
    ReLU from 1.5 to none, identity 160. Mean-field theory (Gaussian kernels, to lag sqrt(H)) is off by at most 0.013 a
    step in ln norm.
    """
    config.initializations = "orthogonal,identity,glorot,gain:0.9,gain:1.5,radius:1.2,forget_bias:3,chrono:100"
    config.activations, config.depths, config.hidden_size = "tanh,relu", "1", 128
    config.train_steps = 0


def gates(config: ConfigDict) -> None:
    """35 s. Biases of the gates of LSTM and GRU.

    LSTM: forget bias 0 2.3 steps, 1 (its default) 19, and from 3 on the gradient grows at initialization, through h:
    the forget gates alone give half-lives of 1.0, 2.5, 19 and 104 (bias 5). chrono:100 52, and it is the one whose
    reach outlasts 150 training steps (44). GRU: 2.3, 22 (bias 3), 112 (bias 5), chrono:100 52.
    """
    config.cells, config.depths = "lstm,gru", "1"
    config.initializations = "default,forget_bias:0,forget_bias:3,forget_bias:5,chrono:100"


def training(config: ConfigDict) -> None:
    """70 s. 1,000 steps, measured every 20.

    Half-lives meet at 4 to 6 steps (sigmoid 2.0), after a shortest at step 20 (tanh, 1.2) to 320. The spectral radius
    grows in all five; that lengthens the reach in three.
    """
    config.depths, config.train_steps, config.measure_every = "1", 1000, 20


def drive(config: ConfigDict) -> None:
    """60 s. How hard the inputs drive the units, from a standard deviation of 0.03 to 3, before training."""
    config.initializations = "drive:0.03,drive:0.1,drive:0.3,drive:1,drive:3"
    config.activations, config.depths = "tanh,relu", "1"
    config.train_steps = 0


def positions(config: ConfigDict) -> None:
    """15 s. The loss read at steps 25, 50, 100 and 200, before training.

    Norms at equal lag differ by a factor of 1.05 to 1.13.
    """
    config.loss, config.sequence_lengths, config.depths, config.train_steps = "25,50,100,last", "200", "1", 0


def long(config: ConfigDict) -> None:
    """25 s, 1.0 GB. Sequences of 100, 300 and 1,000 steps, before training.

    Half-lives change by a factor of 1.0 to 1.4 (LSTM 19 to 26, since its decay is slowest far from the loss); 1,000
    steps back three of five are below float32's range.
    """
    config.sequence_lengths, config.depths, config.train_steps = "100,300,1000", "1", 0


def quick(config: ConfigDict) -> None:
    """30 s. All the steps of a study, on tiny networks."""
    config.depths, config.sequence_lengths, config.seeds = "1,2", "20", 2
    config.hidden_size, config.batch_size = 8, 4
    config.train_steps, config.measure_every, config.checkpoint_every = 6, 2, 3


VARIANTS = (initializations, gates, drive, training, positions, long, quick)
