"""Who learns to remember, and over how long a lag, on the classical tasks of long-term dependency?

    python -m experiments.long_memory                                                      all defaults
    python -m experiments.long_memory --variant=VARIANT --workdir=runs/VARIANT

Run time: 3 min 30 s on two CPU cores; others 1 min 50 s, copy 50 s, adding 40 s, latching and digits 30 s; the quick
variant 10 to 20 seconds.

What to expect, from three seeds each. Where two machines differ, the range covers both.

* The default has three tasks. Adding: the GRU and the LSTM solve it at T = 20, 50 and 100. The tanh Elman net solves it
  at 20 (2 or 3 seeds), and from 50 on it is no better than the best guess without a memory. Patterns: the GRU solves it
  up to 100, the LSTM up to 50, the Elman net at no length or at 20 (0 or 1 seed). Temporal order: all solve it at 20.
  At 50 the GRU and the LSTM do, and one or two Elman nets; at 100 one LSTM does.
* After training, the first of 100 steps has 10^-0.9 to 10^+0.8 of the last one's gradient where the task was solved (10
  networks), and 10^-0.5 to nothing that float32 holds where it was not (17 networks, median 10^-12.3). Before training
  nothing of that can be seen: the GRU's gradient then dies first, with a tenth left at lag 6 to 7, where it is 10 and
  more in the Elman net.
* adding, T = 100. The GRU solves it after 300 to 400 steps (mean squared error 0.003), the LSTM after 900 to 1,000
  (0.002), and both then have more than a tenth of the gradient left at all 100 steps. In the Elman net a tenth is left
  at lag 1 to 19. Its error is 0.16 to 0.22, beside 0.165 for the best guess without a memory (chance is 1/6).
* copy. The Elman net stays within 1 % of chance, 10 ln 8 / (T + 20), at T = 20 and 100. The GRU has left it after 2,000
  steps, at 0.7 of chance, and is far from solving the task.
* latching is task 2a of Hochreiter & Schmidhuber (1997). Both cells solve it at p = 4 and 10 after 100 to 200 steps
  (1,600 to 3,200 sequences). At p = 100 the LSTM does after 1,200 to 1,400 (19,200 to 22,400 sequences; theirs after
  5,040), and the Elman net never does. For that the LSTM's forget gates start open (bias 5), and its cell learns a
  hundred times slower than the readout. With one rate for both, 1e-3 to 1e-2, and biases of 1, 5 and 7, no LSTM solved
  it in 2,000 to 4,000 steps, nor did lstm_1997 at 3e-3: soon all of the memory was used to predict the next symbol.
  This is the paper's "abuse problem", for which it adds memory cells late.
* others, at lags of 10, 20 and 50. Multiplication: the GRU and the LSTM solve it at all lags, the Elman net up to 20.
  Parity: the GRU and the LSTM solve it at 10, nobody from 20 on. Random permutation: the GRU at all lags, the Elman net
  up to 20, the LSTM at 10 and with two seeds at 20. Temporal order of three symbols: all at all lags.
* digits, one seed. GRU and LSTM read the rows in order with 3 to 5 % wrong, the Elman net with 15 to 19 %. Pixels in a
  random order are read with 9 to 13 % wrong by all three.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, one of its variants, or ``quick``: the same steps on tiny networks, in seconds."""
    config = ConfigDict()
    config.tasks = "adding,temporal_order,patterns"  # names of rnnjax.tasks.TASKS
    config.lags = "20,50,100"  # lags or lengths, as each task counts them
    config.cells = "elman,gru,lstm"  # names of rnnjax.CELLS
    config.seeds = 3  # independent initializations and data
    config.hidden_size = 64  # units of each layer
    config.forget_bias = placeholder(float)  # bias of a forget gate at initialization; not given: each cell's own
    config.batch_size = 32  # sequences in a training step
    config.train_steps = 2000  # training steps at most; a run ends when its task is solved
    config.learning_rate = 3e-3  # of Adam
    config.cell_learning_rate = placeholder(float)  # of the cell, if it is to differ from that of the readout
    config.clip_norm = 1.0  # largest global norm of a gradient
    config.evaluate_every = 100  # training steps between evaluations
    config.test_size = 500  # test sequences, the same at every evaluation
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
    return varied(config, variant, VARIANTS)


def adding(config: ConfigDict) -> None:
    """40 s. Only the adding problem, over 100 steps."""
    config.tasks, config.lags = "adding", "100"


def copy(config: ConfigDict) -> None:
    """50 s. Copying ten symbols after 20 and 100 steps; Elman network and GRU."""
    config.tasks, config.lags, config.cells = "copy_memory", "20,100", "elman,gru"


def others(config: ConfigDict) -> None:
    """110 s. Multiplication, parity, random permutation, temporal order of three symbols, at lags of 10, 20 and 50."""
    config.tasks, config.lags = "multiplication,parity,random_permutation,temporal_order_of_three", "10,20,50"


def digits(config: ConfigDict) -> None:
    """30 s. Digits read pixel by pixel, in the order of the rows and in a random order; one seed."""
    config.tasks, config.lags, config.seeds = "sequential_digits,permuted_digits", "64", 1


def latching(config: ConfigDict) -> None:
    """30 s. Task 2a of Hochreiter & Schmidhuber (1997) at p = 4, 10 and 100; Elman network and LSTM."""
    config.tasks, config.lags, config.cells = "latching", "4,10,100", "elman,lstm"
    config.forget_bias, config.learning_rate, config.cell_learning_rate = 5.0, 1e-2, 1e-4
    config.batch_size, config.test_size = 16, 100


def quick(config: ConfigDict) -> None:
    """10 to 20 s. The same steps on tiny networks."""
    config.tasks, config.lags, config.cells, config.seeds = "latching", "3,6", "elman,lstm", 2
    config.hidden_size, config.batch_size, config.test_size = 8, 8, 100
    config.train_steps, config.evaluate_every, config.learning_rate = 120, 20, 3e-2


VARIANTS = (adding, copy, others, digits, latching, quick)
