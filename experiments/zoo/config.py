"""Which cell learns the classical tasks of memory, at equal numbers of params and at a learning rate of its own?

    python -m experiments.zoo                                        a few cells on two tasks
    python -m experiments.zoo --variant=all --workdir=runs/zoo_all   all cells on all tasks, at two lags each

Every cell is as wide as a number of params allows. Its learning rate is chosen for each task and lag from a small grid,
on a seed that does not count. Then it is trained from fresh seeds. Beside the loss stand chance and the best guess
without a memory. The gradient of a loss at the last step is measured before and after training: does how far back it
reaches at initialization predict who learns?

Run time: not measured yet, a few min.
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
    """2 h. All cells on five tasks at two lags each."""
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
