r"""How well does a network track what it sees in noise, beside the best there is: ahead of time, at once or later?

    python -m experiments.tracking                                              a mass on a spring
    python -m experiments.tracking --variant=jumps --workdir=runs/jumps         a target that jumps
    python -m experiments.tracking.samples | python -m experiments.tracking.stream

The lectures: recurrent networks "can be used in tracking: incremental prediction", and among the shapes of sequence
problems is "delayed sequence to sequence". Here a network that has seen x_1 ... x_t is asked for the position at t - d,
for several delays d, of which those below 0 look ahead. For the spring the least possible error is known for each of
them: of Kalman's filter, the fixed-lag smoother, and the smoother of the whole, beside which stands a network of both
directions. For the target that jumps the exact estimate is a nonlinear recursion, and the best linear one is worse. The
second command reads samples as they come, one a line, and answers each at once.

Run time: 5 min on two CPU cores; jumps 5 min, the quick variant 20 s.

Expect: to be measured.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    config.system = "spring"  # or jumps
    config.networks = "elman,gru,lstm"  # names of rnnjax.CELLS
    config.delays = "-8,-4,-2,0,2,4,8,16"  # steps between a position and its estimate; below 0 it is asked for ahead
    config.whole = "gru"  # of which one in each direction sees the whole sequence; empty for none
    config.period = 24.0  # of the spring without damping, in steps
    config.damping = 0.05  # of the spring; at 1 it no longer swings
    config.jump_probability = 0.02  # of a target that jumps, at each step
    config.sensor_noise = 1.0  # standard deviation of what is added to a position, whose own is 1
    config.hidden_size = 32  # units of a cell, in each direction
    config.length = 160  # steps of a sequence in training
    config.warm_up = 48  # of these, steps at the start that do not count; at least the longest delay
    config.batch_size = 32  # sequences in a training step, drawn anew each time
    config.train_steps = 1500  # of which the weights of the last ones are averaged, and tested
    config.learning_rate = 1e-2  # of AdamW at the start; it falls to nothing as a cosine
    config.weight_decay = 0.0  # of matrices
    config.clip_norm = 1.0  # global gradient norm
    config.averaged_over = 100  # training steps: the mean of the weights over about so many is what is tested
    config.evaluate_every = 500  # training steps
    config.steps_a_call = 100  # training steps in a dispatch, of which all other numbers of steps are multiples
    config.test_sequences = 256  # of one test set for all
    config.test_length = 400  # steps of each
    config.lags = 64  # over which it is measured how much an estimate hangs on what was seen before
    config.seeds = 3  # independent initializations and training data
    config.threads = 0  # programs compiled and run at the same time; 0: one a core
    return varied(config, variant, VARIANTS)


def jumps(config: ConfigDict) -> None:
    """5 min. A target that jumps between two places: a linear filter is no longer the best."""
    config.system = "jumps"


def quick(config: ConfigDict) -> None:
    """20 s. The same steps on tiny networks."""
    config.networks, config.delays, config.hidden_size, config.seeds = "elman,gru", "-4,0,4", 8, 2
    config.length, config.warm_up, config.batch_size = 80, 24, 16
    config.train_steps, config.evaluate_every, config.steps_a_call = 120, 60, 20
    config.learning_rate = 3e-2
    config.test_sequences, config.test_length, config.lags = 64, 128, 24


VARIANTS = (jumps, quick)
