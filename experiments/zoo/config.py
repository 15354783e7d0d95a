"""Which cell learns the classical tasks of memory, with as many params as the others and a learning rate of its own?

    python -m experiments.zoo                                        a few cells on two tasks
    python -m experiments.zoo --variant=all --workdir=runs/zoo_all   all cells on all tasks, at two lags each

Every network has about the same number of params, which decides how wide its cell is. Its learning rate is chosen for
each task and lag from a small grid, with a seed that does not count, and then it is trained from fresh seeds. Losses
are compared with chance and with the best guess without a memory. The gradient of a loss at the last step is measured
before and after training, to see whether its reach at initialization predicts which cells learn.

Run time: 2 min on two CPU cores that other programs use, too; the quick variant 20 s; all 45 min, estimated from 85 min
of processor time.

What to expect from the default, with three seeds, 1,969 to 2,056 params, at most 1,500 training steps, and T = 50:

* LSTM, GRU and minGRU solve both tasks with every seed: adding after 500, 300 and 900 training steps, and temporal
  order after 100, 200 and 500 (medians). The orthogonal, the antisymmetric and the IndRNN cell solve temporal order
  with every seed (after 200, 300 and 400 steps) and adding with none, where their last losses are 0.06, 0.85 and 0.94
  of that of the best guess without a memory. The tanh Elman net and a single layer of LRU solve temporal order with two
  seeds and adding with none (0.29 and 1.08).
* How far back a gradient reaches at initialization does not tell which cells learn. Over these eight cells, the rank
  correlation of the lag at which a tenth of the gradient is left with success is -0.61 (-0.92 to +0.22) in adding and
  +0.10 (-0.58 to +0.96) in temporal order; brackets hold 95 % of the values for cells drawn with replacement. In the
  three cells that solve both tasks this lag is 4 to 9 before training and 45 or more after it.

Cells whose units do not see each other (IndRNN, minGRU, LRU) are made for several layers; here they have a single one.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    # Names of rnnjax.CELLS; all stands for every one of them.
    config.cells = "elman,indrnn,antisymmetric,orthogonal_rnn,lstm,gru,min_gru,lru"
    config.problems = "adding:50,temporal_order:50"  # TASK:LAG, names of rnnjax.tasks.TASKS with their lag or length
    config.params = 2000  # params of a network with its readout; a cell gets the width that comes nearest to it
    config.learning_rates = "0.001,0.003,0.01"  # of Adam; one of them is chosen for each cell, task and lag
    config.choosing_seeds = 1  # seeds that are trained at each learning rate to choose it, and do not count otherwise
    config.seeds = 3  # fresh seeds that are trained at the chosen learning rate and reported
    config.batch_size = 32  # sequences in a training step
    config.train_steps = 1500  # training steps, at most; a run ends when its task is solved
    config.clip_norm = 1.0  # largest global norm of a gradient
    config.evaluate_every = 100  # training steps between evaluations
    config.test_size = 500  # test sequences, the same at every evaluation
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
    return varied(config, variant, VARIANTS)


def all(config: ConfigDict) -> None:
    """45 min, estimated from 85 min of processor time. All cells on five tasks at two lags each.

    All 34 cells have 1,892 to 2,105 params, three seeds, and at most 1,500 training steps; docs/zoo.md has the whole
    table. Ten of them solve adding, patterns and temporal order at both lags with every seed: ugrnn, slstm, janet, lem,
    cifg_lstm, lstm, gru, minimal_gated_unit, gru_reset_after and recurrent_highway. clockwork and tdnn solve no task
    with all seeds. No cell solves copy memory or permuted digits with every seed (mist solves copy memory at T = 10
    with two of them); orthogonal_rnn has the lowest loss of copy memory at T = 50, 0.07 (0.04 to 0.08) of that of the
    best guess without a memory, and of permuted digits, 0.10 at T = 64 (0.10 to 0.13) and at T = 128 (0.10 to 0.11),
    which is 6 to 9 % of them read wrongly.

    How far back a gradient reaches at initialization does not tell which cells learn: over tasks the mean rank
    correlation with success is +0.08 (-0.17 to +0.31), and by task it is -0.33 to +0.67. At T = 128 of permuted digits
    alone it is +0.67 (+0.40 to +0.83), and in adding over 50 steps -0.33 (-0.61 to -0.01). After training the mean is
    +0.42 (+0.24 to +0.58). The highest learning rate was chosen in 249 of 340 cases and the lowest in 47, so that some
    cells might do better with others.
    """
    config.cells = "all"
    config.problems = (
        "adding:50,adding:100,copy_memory:10,copy_memory:50,temporal_order:20,temporal_order:50,"
        "patterns:20,patterns:50,permuted_digits:64,permuted_digits:128"
    )


def quick(config: ConfigDict) -> None:
    """20 s. The same steps on tiny networks."""
    config.cells, config.problems = "elman,gru", "latching:3,adding:5"
    config.params, config.seeds, config.learning_rates = 150, 2, "0.003,0.03"
    config.batch_size, config.test_size, config.train_steps, config.evaluate_every = 8, 100, 120, 20


VARIANTS = (all, quick)
