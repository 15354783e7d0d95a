r"""Who learns to add numbers and to count their ones, and does so at any length?

    python -m experiments.arithmetic                                                    all defaults
    python -m experiments.arithmetic --variant=VARIANT --workdir=runs/VARIANT

Lectures say that an RNN, trained on short numbers, adds and counts numbers of any length, a carry or a parity being all
that it has to remember, and that an MLP does not: one for N bits does not work for N + 1, and needs the more weights
and examples the larger N is.

Run time: 3 min on two CPU cores, 5 min where other programs use them, too; the quick variant 30 to 45 s.

Expect, of ten seeds each, 3,000 training steps of 64 numbers (192,000):

* addition, lowest bits first, learned from 8 bits. No error in 1,000 random numbers each of 100, 1,000 and 10,000 bits,
  nor in one of a million bits: tanh Elman net of 8 units (97 weights) 10 of 10, GRU of 8 units 9 of 10 (one begins to
  err at 16 bits). A random number hands a carry on over some 20 steps at most; over 1,000 steps Elman 10, GRU 8.
* parity by lengths that grow to 40, asked at the last step alone. No error at any step of 1,000 numbers of 10,000 bits:
  Elman net of 8 units 9 of 10; GRU of 16 units 5 of 10, the others in 1 to 16 numbers of the 1,000. In one number of a
  million bits 9 and 8 of 10. From numbers of full length from the start 0 of 20.
* An MLP with inputs for 100 bits adds 99.7 to 100 % of the numbers of 8 bits, 10 to 15 % of those of 9, and of the bits
  beyond what it has seen 49.6 to 50.3 % are right at 100 bits. It has the parity of 93 to 99 % of the numbers of 8
  bits, of 85 to 91 % at 16, and of 46 to 54 % from 32 on, though it was trained on up to 40.
* What suffices for at most 1 % wrong of all numbers of N bits (five seeds, medians): for addition the Elman net needs
  16 to 32 examples and 97 weights at any N from 2 to 6, an MLP 16, 64, 256, 512 and 2,048 examples, and 35 to 647
  weights (4, 8, 16, 16 and 32 units). For parity an MLP needs all 2^N numbers, and 9 to 769 weights (2, 8, 16, 32 and
  64 units at N = 2, 4, 6, 8 and 10); at 10 that fails in two of five seeds.
* The networks set by hand are exact on all numbers of up to 10 bits. The straight ones keep the gradient over 40 steps
  but for what the readout takes, the saturated ones lose it (a factor of 0.17 a carry or one). Noise of 0.03 on the
  state is put right by the saturated ones (100 % right after 1,000 steps), not by the straight ones (69 and 49 %). What
  learning finds is mostly saturated: over 40 steps 10^-22.9 of the gradient are left in addition (from less than
  float32 holds to 10^+1.6), 10^-11.8 in parity (10^-25.8 to 10^-4.5), medians and ranges of the exact ones.
* Operands first and the sum after (three seeds): 26 to 36 % of the sums of 8 bits are right with a GRU or an LSTM of 64
  units, and of the digits 87 to 91 %; of 16 bits 57 to 62 %, of 32 bits 50 to 55 %, of 100 bits 50 to 51 %. Published
  LSTMs, larger and trained for longer, stop at about 55 % on longer sums (Deletang et al., 2023).
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
    config.learning_rate = 1e-2  # of Adam at the first step; it falls to 0 as a cosine
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
    """30 to 45 s. Few numbers, seeds and steps."""
    config.addition, config.parity, config.parity_at_once = "elman-8,mlp-16", "gru-16", "elman-8"
    config.operands_first, config.seeds, config.parity_bits = "gru-8", 2, 12
    config.operands_seeds = 2
    config.train_steps, config.evaluate_every, config.learning_rate = 600, 200, 2e-2
    config.lengths, config.window, config.numbers = "8,12,20,300", 20, 100
    config.online_bits, config.flow_steps, config.chain_steps, config.all_bits = 2000, 12, 100, 4
    config.needs_addition, config.needs_parity, config.needs_units, config.needs_seeds = "2", "2,3", 16, 2


VARIANTS = (quick,)
