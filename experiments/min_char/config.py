"""What does the smallest recurrent model of characters learn, exactly as it is taught?

    python -m experiments.min_char                                                    all defaults
    python -m experiments.min_char --config.corpus=input.txt --workdir=runs/mine      any UTF-8 text

This is the minimal character model. It has 100 tanh units with weights from N(0, 0.01²) and reads 25 characters at a
time; the state is carried, and set to zero at the start of the text. The loss of a window is the sum of its
cross-entropies. Elements of the gradient are clipped to 5. Adagrad has a rate of 0.1 and 1e-8 inside the root. Of the
smoothed loss 0.999 stays at each iteration, and 200 characters are drawn every 100 iterations. All of it is a cell of
rnnjax, a dense readout and optax; the tests compare it, iteration by iteration, with the same model written as loops in
NumPy.

Run time: 30 s on two CPU cores; the quick variant 10 s.

What to expect, from one seed on the standard library's sources: in 50,000 iterations the smoothed loss falls from 4.56
nats a character (guessing among 96) to between 1.1 and 1.9, up and down with the file that is being read. Before
training a step back leaves a tenth of the gradient, the spectral radius of 100 units with weights from N(0, 0.01²).
During training a tenth is left at lag 5 to 16. Two runs that differ in the last digit of a number part within thirty
iterations, because Adagrad's first steps are as large as its rate for every weight.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The model as it is taught, or one of its variants."""
    config = ConfigDict()
    config.corpus = ""  # any UTF-8 text file; empty: the sources of Python's standard library
    config.max_characters = 1_000_000  # of the text that are read; 0: all
    config.hidden_size = 100  # units, H
    config.sequence_length = 25  # characters of an iteration, over which the gradient goes back
    config.train_steps = 50_000  # iterations
    config.learning_rate = 0.1  # of Adagrad
    config.clip_value = 5.0  # largest absolute value of an element of the gradient
    config.init_scale = 0.01  # standard deviation of all weights at initialization
    config.sample_every = 100  # iterations between samples, and in one dispatch
    config.sample_length = 200  # characters of a sample
    config.measure_every = 10_000  # iterations between measurements of the gradient's flow, a multiple of sample_every
    config.checkpoint_every = 10_000  # iterations between checkpoints, a multiple of sample_every; 0 for none
    config.seeds = 1  # independent initializations
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
    return varied(config, variant, VARIANTS)


def quick(config: ConfigDict) -> None:
    """10 s. A few iterations of a small network."""
    config.max_characters, config.hidden_size, config.sequence_length = 2_000, 16, 10
    config.train_steps, config.sample_every, config.sample_length = 600, 100, 40
    config.measure_every, config.checkpoint_every, config.seeds = 300, 300, 2


VARIANTS = (quick,)
