r"""Into which class does a whole sequence belong: by its last state, by the mean of all, or by attention to some?

    python -m experiments.classification                                       who of nine men says /ae/
    python -m experiments.classification --variant=VARIANT --workdir=runs/VARIANT

Run time: 5 min on two CPU cores; the quick variant 20 s.

Expect.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    config.data = "speakers"  # or surnames, rows or pixels (of digits)
    # Names of rnnjax.CELLS; two of a cell as bidirectional:gru; steps, a dense layer in which no step knows of others.
    config.networks = "bidirectional:gru,steps"
    config.poolings = "last,mean,attention"  # what of a layer's outputs is read
    config.hidden_size = 64  # units of a cell; of steps twice as many
    config.input_noise = 0.5  # standard deviation of what is added to standardized inputs in training
    config.recurrent_dropout = 0.2  # probability that what enters a recurrent product is dropped, for a whole sequence
    config.output_dropout = 0.4  # the same of an output of the layer, for a whole sequence
    config.label_smoothing = 0.1  # so much of a label's probability is shared out among all classes
    config.batch_size = 32  # sequences in a training step
    config.train_steps = 600  # of which the weights of the last ones are averaged, and tested
    config.learning_rate = 3e-3  # of AdamW at the start; it falls to nothing as a cosine
    config.weight_decay = 0.0  # of matrices
    config.clip_norm = 1.0  # global gradient norm
    config.averaged_over = 100  # training steps: the mean of the weights over about so many is what is tested
    config.evaluate_every = 100  # training steps
    config.steps_a_call = 50  # training steps in a dispatch, of which all other numbers of steps are multiples
    config.seeds = 5  # independent initializations and orders
    config.threads = 0  # programs compiled and run at the same time; 0: one a core
    return varied(config, variant, VARIANTS)


def plain(config: ConfigDict) -> None:
    """1 min. The speakers as the lectures draw it: one direction, the last state, nothing disturbed, three cells."""
    config.networks, config.poolings = "elman,gru,lstm", "last"
    config.input_noise = config.recurrent_dropout = config.output_dropout = config.label_smoothing = 0.0


def surnames(config: ConfigDict) -> None:
    """2 min. Of which of twelve languages a surname is, letter by letter, three seeds."""
    config.data, config.seeds = "surnames", 3
    config.input_noise, config.label_smoothing = 0.0, 0.0


def rows(config: ConfigDict) -> None:
    """1 min. Which of ten digits an image of 8 by 8 is, row by row, three seeds."""
    config.data, config.seeds, config.input_noise = "rows", 3, 0.2


def pixels(config: ConfigDict) -> None:
    """5 min. The same pixel by pixel, in one direction."""
    config.data, config.networks, config.seeds = "pixels", "gru,steps", 3
    config.input_noise, config.recurrent_dropout, config.output_dropout, config.train_steps = 0.1, 0.0, 0.2, 2000


def quick(config: ConfigDict) -> None:
    """20 s. The same steps on tiny networks."""
    config.poolings, config.hidden_size, config.seeds = "last,mean", 4, 2
    config.train_steps, config.evaluate_every, config.steps_a_call = 60, 20, 20
    config.learning_rate = 3e-2


VARIANTS = (plain, surnames, rows, pixels, quick)
