"""Where do gradients die, in next-character prediction on real text?

    python -m experiments.gradient_flow                                                    all defaults
    python -m experiments.gradient_flow --config.cells=elman,lstm --config.depths=1,4 --workdir=runs/mine
    python -m experiments.gradient_flow --variant=VARIANT --workdir=runs/VARIANT

Run time: 50 to 140 s, by machine, on two CPU cores with nothing compiled beforehand, 30 to 105 s after that; the quick
variant 30 s.

What to expect, from three seeds each; ranges are over seeds. A one-hot character drives each unit with a standard
deviation of 0.10. The kernel decides that, and it decides the ranking of the networks (see the variant drive).

* At initialization the gradient vanishes in every network of one layer. Half of it is gone at lag 1 in the LSTM, 2 in
  the GRU, 2 to 3 in Elman ReLU, 10 to 12 in Elman tanh and 1 in Elman sigmoid. A tenth is left at lag 16 to 22, 6, 7 to
  8, 33 to 39 and 2. In sigmoid it is below float32's range after lag 48.
* Beyond lag 58 the LSTM has most left, because it decays slowest far from the loss. A step back multiplies its gradient
  by 0.964 over all lags, which is an asymptotic half-life of 19 steps. In tanh the factor is 0.933 to 0.943 (10 to 12
  steps).
* In the lowest of four layers a tenth is left from farther back than in a single layer, in all five networks.
* After 150 training steps a tenth is left at lag 5 to 6 in the LSTM, 5 in the GRU, 11 to 13 (depending on the machine)
  in ReLU, 10 to 11 in tanh and 3 to 4 in sigmoid. That is nearer to the loss than before in LSTM, GRU and tanh, and
  farther from it in ReLU and sigmoid.
* Over 99 steps the product of an LSTM's forget gates leaves 10^-12.2 of the gradient at initialization, and dc_T/dc_t
  over all paths leaves 10^-2.8, so the paths through h carry the rest. After training the gates are everything: both
  leave 10^-2.2.

The variants' results are in their docstrings below. Times are of two cores, with nothing compiled beforehand.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    config.corpus = ""  # any UTF-8 text file; empty: the sources of Python's standard library
    config.max_characters = 4_000_000  # of the text that are read; 0: all
    config.cells = "elman,gru,lstm"  # names of rnnjax.CELLS
    config.activations = "tanh,relu,sigmoid"  # of Elman networks; names of rnnjax.ACTIVATIONS
    config.initializations = "default"  # as networks/initializations.py names them, separated by commas
    config.depths = "1,4"  # numbers of layers
    config.sequence_lengths = "100"  # numbers of characters that a network reads, T
    config.seeds = 3  # independent initializations and batches
    config.hidden_size = 64  # units of each layer
    config.batch_size = 16  # sequences in a training step
    config.loss = "last"  # characters at which the measured loss is read: last, steps as in "25,50,last", or all
    config.train_steps = 150  # training steps, with a loss at all characters; 0 measures at initialization only
    config.learning_rate = 3e-3  # of Adam
    config.clip_norm = 1.0  # largest global norm of a gradient
    config.measure_every = 0  # training steps between measurements; 0: only before and after training
    config.checkpoint_every = 100  # training steps between checkpoints; 0 for none
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
    return varied(config, variant, VARIANTS)


def initializations(config: ConfigDict) -> None:
    """70 s. Recurrent kernels and biases of gates, at width 128, before training; three seeds, drive 0.10.

    Lag at which a tenth is left, Elman tanh: 15 to 18 with a Gaussian kernel of gain 0.9, 31 to 36 orthogonal, never
    within 100 steps with gain 1.5 (where the gradient grows by 1.06 a step). Elman ReLU: 5 to 6, 7 to 8, never, and
    with the identity never either (0.996 a step). Mean-field theory (Gaussian kernels, to lag sqrt(H)) is off by at
    most 0.013 a step in ln norm.
    """
    config.initializations = "orthogonal,identity,glorot,gain:0.9,gain:1.5,radius:1.2,forget_bias:3,chrono:100"
    config.activations, config.depths, config.hidden_size = "tanh,relu", "1", 128
    config.train_steps = 0


def gates(config: ConfigDict) -> None:
    """35 s. Biases of the gates of LSTM and GRU; three seeds, drive 0.10.

    LSTM: half is gone at lag 1 whatever the bias. A tenth is left at lag 4 with forget bias 0 and at 16 to 22 with 1,
    its default; from 3 on the gradient grows far from the loss, through h. After 150 training steps a tenth is left at
    lag 4 to 7 with each of these, and at 4 to 12 with chrono:100. GRU: a tenth at lag 6 with update bias 0, 65 to 67
    with 3, never within 100 steps with 5 and with chrono:100, and that outlasts the training.
    """
    config.cells, config.depths = "lstm,gru", "1"
    config.initializations = "default,forget_bias:0,forget_bias:3,forget_bias:5,chrono:100"


def training(config: ConfigDict) -> None:
    """70 s. 1,000 steps, measured every 20; three seeds.

    A tenth is left at lag 8 to 12 in tanh, ReLU and GRU, 7 to 23 in the LSTM, 4 in sigmoid, where before training it
    was 33 to 39, 7 to 8, 6, 16 to 22 and 2. The reach of tanh and LSTM is shortest at step 20 (lag 4 and 2). The
    spectral radius grows in all five; in two of them the reach falls all the same.
    """
    config.depths, config.train_steps, config.measure_every = "1", 1000, 20


def drive(config: ConfigDict) -> None:
    """60 s. How hard the inputs drive the units, from a standard deviation of 0.03 to 3, before training; three seeds.

    Half is gone in Elman tanh at lag 30 to 41, 10 to 12, 4, 2 and 1, as mean-field theory has it to within 5; in Elman
    ReLU at lag 3, in the GRU at 2 and in the LSTM at 1 whatever the drive. A hundredth is left in tanh from never
    within 100 steps to lag 5, in the LSTM from never to 16. So tanh is ahead of ReLU at weak drives, behind it from 1
    on.
    """
    config.initializations = "drive:0.03,drive:0.1,drive:0.3,drive:1,drive:3"
    config.activations, config.depths = "tanh,relu", "1"
    config.train_steps = 0


def positions(config: ConfigDict) -> None:
    """15 s. The loss read at steps 25, 50, 100 and 200, before training; three seeds.

    Norms at equal lag differ by a factor of 1.05 to 1.13.
    """
    config.loss, config.sequence_lengths, config.depths, config.train_steps = "25,50,100,last", "200", "1", 0


def long(config: ConfigDict) -> None:
    """25 s, 1.0 GB. Sequences of 100, 300 and 1,000 steps, before training; three seeds.

    The lag at which a tenth is left is the same for all three, within the range over seeds. The LSTM's asymptotic
    half-life is 19 steps over 99 lags and 23 to 27 over 999, since its decay is slowest far from the loss. 1,000 steps
    back three of five are below float32's range.
    """
    config.sequence_lengths, config.depths, config.train_steps = "100,300,1000", "1", 0


def quick(config: ConfigDict) -> None:
    """30 s. All the steps of a study, on tiny networks."""
    config.depths, config.sequence_lengths, config.seeds = "1,2", "20", 2
    config.hidden_size, config.batch_size = 8, 4
    config.train_steps, config.measure_every, config.checkpoint_every = 6, 2, 3


VARIANTS = (initializations, gates, drive, training, positions, long, quick)
