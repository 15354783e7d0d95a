"""How well does a network track what it sees in noise, beside the best there is: ahead of time, at once or later?

    python -m experiments.tracking                                              a mass on a spring
    python -m experiments.tracking --variant=jumps --workdir=runs/jumps         a target that jumps
    python -m experiments.tracking.samples | python -m experiments.tracking.stream

The lectures say that recurrent networks "can be used in tracking: incremental prediction", and name "delayed sequence
to sequence" among the shapes of sequence problems. Here a network that has seen x_1 ... x_t is asked for the position
at t - d, for several delays d; delays below 0 look ahead. For the spring the least possible error is known at each
delay: that of Kalman's filter, of the fixed-lag smoother, and of the smoother of the whole sequence, beside which
stands a network of both directions. For the target that jumps the exact estimate is a nonlinear recursion, and the best
linear estimate is worse. The third command reads samples as they come, one in each line, and answers each at once.

Run time: 3 min on two CPU cores, 9 min where other programs use them, too; jumps 4 min; the quick variant 10 to 40 s.

What to expect of networks of 32 units after 1,500 training steps. Numbers say by how much the error is above the least
possible one, from the least to the greatest of three seeds.

* The default is the spring. The least error is 0.357 of the variance 8 steps ahead, 0.171 at once and 0.094 16 steps
  late. GRU and LSTM are above it by 0.2 to 0.4 % ahead and at once, by 0.3 to 1.0 % up to 8 steps late, and by 1.8 to
  2.8 % at 16. The tanh Elman net is above it by 0.9 to 7.7 % up to 4 steps late, by 9 to 31 % at 8 and by 36 to 44 % at
  16 (28 to 33 % at a third of the learning rate, two seeds). That recurrent networks can track is confirmed.
* GRU and LSTM weigh each sample that they have seen as the filter weighs it, except for a share of 0.02 (medians over
  delays and seeds; 0.01 to 0.10, most 16 steps late). Their dL/ds_t falls as the filter's does. The filter's factor is
  0.899 a step, the largest eigenvalue; theirs is 0.896 to 0.920 (R² of at least 0.9 in 48 of 48 networks; in 14 of 24
  Elman nets, by 0.896 to 0.945).
* With the whole sequence seen the least error is 0.092, and a GRU in each direction is above that by 0.6 to 0.8 %.
* jumps. The best linear estimate is above the least error by 11 % 8 steps ahead, 91 % at once and 270 % 16 steps late.
  All 72 networks are nearer to it: they are above it by 0.03 to 0.14 % ahead and at once, by 0.6 to 1.3 % 2 steps late,
  and by 21 to 24 % (GRU and LSTM) and 26 to 36 % (Elman) at 16, where it is 0.038. With the whole sequence seen a GRU
  in each direction is above the least error by 71 to 72 %, and with a dense layer of tanh above both by 0.7 to 0.8 %.
  What the past and the future tell has to be added before it is squashed, and a linear readout adds what has been
  squashed. 63 steps back 10^-16.7 of dL/ds_t is left in Elman nets, 10^-5.0 in LSTMs and 10^-2.4 in GRUs (medians over
  delays and seeds), so how far back a gradient reaches does not tell how well a network tracks.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    config.system = "spring"  # or jumps
    # Names of rnnjax.CELLS; with +dense a dense layer of tanh, which sees each step alone, follows the cell.
    config.networks = "elman,gru,lstm"
    config.delays = "-8,-4,-2,0,2,4,8,16"  # steps by which an estimate comes after its position; below 0: before it
    config.whole = "gru,gru+dense"  # networks of both directions that see the whole sequence; empty for none
    config.period = 24.0  # period of the spring without damping, in steps
    config.damping = 0.05  # of the spring; at 1 it no longer swings
    config.jump_probability = 0.02  # probability at each step that a target jumps
    config.sensor_noise = 1.0  # standard deviation of the noise added to a position, whose own is 1
    config.hidden_size = 32  # units of a cell, in each direction
    config.length = 160  # steps of a sequence in training
    config.warm_up = 48  # steps at the start of these that do not count; at least the longest delay
    config.batch_size = 32  # sequences in a training step, drawn anew each time
    config.train_steps = 1500  # training steps; the mean of the weights over the last ones is tested
    config.learning_rate = 1e-2  # of AdamW at the start; it falls to 0 as a cosine
    config.weight_decay = 0.0  # of matrices
    config.clip_norm = 1.0  # largest global norm of a gradient
    config.averaged_over = 100  # training steps over which the tested mean of the weights is taken, about
    config.evaluate_every = 500  # training steps between evaluations
    config.steps_a_call = 100  # training steps in one dispatch; all other numbers of steps are multiples of it
    config.test_sequences = 256  # sequences of the test set, which is the same for all
    config.test_length = 400  # steps of each test sequence
    config.lags = 64  # steps back over which an estimate's dependence on samples is measured
    config.seeds = 3  # independent initializations and training data
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
    return varied(config, variant, VARIANTS)


def jumps(config: ConfigDict) -> None:
    """4 min. A target that jumps between two places, where a linear filter is no longer the best."""
    config.system = "jumps"


def quick(config: ConfigDict) -> None:
    """20 s. The same steps on tiny networks."""
    config.networks, config.delays, config.whole = "elman,gru", "-4,0,4", "gru+dense"
    config.hidden_size, config.seeds = 8, 2
    config.length, config.warm_up, config.batch_size = 80, 24, 16
    config.train_steps, config.evaluate_every, config.steps_a_call = 120, 60, 20
    config.learning_rate = 3e-2
    config.test_sequences, config.test_length, config.lags = 64, 128, 24


VARIANTS = (jumps, quick)
