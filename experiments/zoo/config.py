"""Which cell learns the classical tasks of memory, at equal numbers of params and at a learning rate of its own?

    python -m experiments.zoo                                        a few cells on two tasks
    python -m experiments.zoo --variant=all --workdir=runs/zoo_all   all cells on all tasks, at two lags each

Every cell is as wide as a number of params allows. Its learning rate is chosen for each task and lag from a small grid,
on a seed that does not count. Then it is trained from fresh seeds. Beside the loss stand chance and the best guess
without a memory. The gradient of a loss at the last step is measured before and after training: does how far back it
reaches at initialization predict who learns?

Run time: 2 min on two CPU cores that others use, too; the quick variant 15 s; all 1 to 2 h, which is an estimate.

What to expect from the default, three seeds, 2,000 params (1,969 to 2,056), at most 1,500 training steps, T = 50:

* LSTM, GRU and minGRU solve adding and temporal order with every seed, in medians of 500, 300 and 900 steps and of 100,
  200 and 500. The orthogonal, the antisymmetric and the IndRNN cell solve temporal order with every seed (200, 300 and
  400 steps) and adding with none; their last losses are 0.06, 0.85 and 0.94 of that of the best guess without a memory.
  The tanh Elman net and a single layer of LRU solve temporal order with two seeds and adding with none (0.29 and 1.08).
* How far back a gradient reaches at initialization does not tell who learns. Over these eight cells the rank
  correlation of that lag with success is -0.61 (-0.92 to +0.22) in adding and +0.10 (-0.58 to +0.96) in temporal order;
  in brackets 95 % of the values for cells drawn with replacement. A tenth is left at lag 4 to 9 before training in the
  three cells that solve both tasks, and at 45 or more after it.

A single layer of a cell whose units do not see each other (IndRNN, minGRU, LRU) is measured; such cells are made for
several layers.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default trial, or one of its variants."""
    config = ConfigDict()
    config.cells = "elman,indrnn,antisymmetric,orthogonal_rnn,lstm,gru,min_gru,lru"  # names of rnnjax.CELLS; all: each
    config.problems = "adding:50,temporal_order:50"  # TASK:LAG, names of rnnjax.tasks.TASKS and what these call a lag
    config.params = 2000  # of a network, its readout included; a cell is as wide as comes nearest to that
    config.learning_rates = "0.001,0.003,0.01"  # of Adam, to choose from
    config.choosing_seeds = 1  # trained at each learning rate, to choose it; they count for nothing else
    config.seeds = 3  # trained at the chosen rate: what is reported
    config.batch_size = 32  # sequences in a training step
    config.train_steps = 1500  # at most; a run ends when its task is solved
    config.clip_norm = 1.0  # global gradient norm
    config.evaluate_every = 100  # training steps
    config.test_size = 500  # sequences, the same at every evaluation
    config.threads = 0  # programs compiled and run at the same time; 0: one a core
    return varied(config, variant, VARIANTS)


def all(config: ConfigDict) -> None:
    """1 to 2 h, estimated. All cells on five tasks at two lags each; it has not been run to its end yet."""
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
