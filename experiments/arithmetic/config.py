r"""Who learns to add numbers and to count their ones, and does so at any length?

    python -m experiments.arithmetic                                                    all defaults
    python -m experiments.arithmetic --variant=VARIANT --workdir=runs/VARIANT

Run time: TO FILL on two CPU cores; the quick variant 20 s.

Expect:
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or ``quick``: the same steps with few numbers and seeds, in seconds."""
    config = ConfigDict()
    # Networks that learn a problem, CELL-UNITS with commas between, or mlp-UNITS for a hidden layer that sees all bits
    # at once; empty for none. Here they add two numbers, two bits a step.
    config.addition = "elman-8,gru-8,mlp-128"
    config.parity = "elman-8,gru-16,mlp-128"  # the same of parity, by lengths that grow with what has been learned
    config.parity_at_once = "elman-8,gru-16"  # the same of parity, all numbers being of full length from the start
    config.operands_first = "gru-64,lstm-64"  # the same of addition, one operand after the other, and then the sum
    config.hand_set = "straight_adder,saturated_adder,straight_counter,saturated_counter"  # weights set by hand
    config.seeds = 10  # independent initializations and data
    config.operands_seeds = 3  # the same of operands_first, which takes longest
    config.addition_bits = 8  # of the longest numbers that are added in training
    config.parity_bits = 40  # of the longest numbers whose ones are counted in training
    config.train_steps = 3000  # of all networks
    config.batch_size = 64  # numbers in a training step
    config.learning_rate = 1e-2  # of Adam at first; it falls to 0 as a cosine
    config.clip_norm = 1.0  # global gradient norm
    config.evaluate_every = 500  # training steps, done in one dispatch; train_steps is a multiple
    config.lengths = "8,9,16,32,40,64,100,1000,10000"  # bits of the numbers to test on
    config.window = 100  # bits that the MLP has inputs for; what sees all digits at once is tested up to that length
    config.numbers = 1000  # random numbers of each length to test on
    config.online_bits = 1_000_000  # of one number, read digit by digit
    config.flow_steps = 40  # over which the gradient's flow is measured
    config.chain_steps = 1000  # over which a carry, or all ones counted, is kept, without noise and with it
    config.noise = 0.03  # standard deviation of what is added to the state at each of these steps
    config.all_bits = 10  # networks set by hand are given all numbers of so many bits
    config.needs_addition = "2,3,4,5,6"  # bits of numbers for which is found out what an MLP needs; empty for none
    config.needs_parity = "2,4,6,8,10"  # the same of parity
    config.needs_units = 64  # of that MLP; of it, fewer and fewer until they do not suffice
    config.needs_recurrent = "elman-8"  # whose need of examples for addition is found out beside; empty for none
    config.needs_seeds = 5  # independent initializations and choices of examples
    config.threads = 0  # programs compiled and run at the same time; 0: one a core
    return varied(config, variant, VARIANTS)


def quick(config: ConfigDict) -> None:
    """20 s. Few numbers, seeds and steps."""
    config.addition, config.parity, config.parity_at_once = "elman-8,mlp-16", "gru-16", "elman-8"
    config.operands_first, config.seeds, config.parity_bits = "gru-8", 2, 12
    config.operands_seeds = 2
    config.train_steps, config.evaluate_every, config.learning_rate = 600, 200, 2e-2
    config.lengths, config.window, config.numbers = "8,12,20,300", 20, 100
    config.online_bits, config.flow_steps, config.chain_steps, config.all_bits = 2000, 12, 100, 4
    config.needs_addition, config.needs_parity, config.needs_units, config.needs_seeds = "2,3", "2,3", 16, 2


VARIANTS = (quick,)
