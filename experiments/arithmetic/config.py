"""Who learns to add numbers and to count their ones, and does so at any length?

    python -m experiments.arithmetic                                                    all defaults
    python -m experiments.arithmetic --variant=VARIANT --workdir=runs/VARIANT

The lectures say that an RNN which was trained on short numbers adds and counts numbers of any length, because a carry
or a parity is all that it has to remember. An MLP does not: one for N bits does not work for N + 1, and the larger N
is, the more weights and examples it needs.

Run time: 3 min on two CPU cores, 5 min where other programs use them, too; the quick variant 30 to 45 s.

What to expect, from ten seeds each, after 3,000 training steps of 64 numbers (192,000 in all):

* Addition, lowest bits first, learned from 8 bits. Tanh Elman nets of 8 units (97 weights) make no error in 1,000
  random numbers each of 100, 1,000 and 10,000 bits, nor in one of a million bits, with 10 of 10 seeds. GRUs of 8 units
  do so with 9 of 10; one begins to err at 16 bits. A random number hands a carry on over about 20 steps at most. Where
  it must be handed on over 1,000 steps, 10 Elman nets and 8 GRUs make no error.
* Parity, learned from lengths that grow to 40 bits, with the answer asked for at the last step alone. In 1,000 numbers
  of 10,000 bits, 9 of 10 Elman nets of 8 units and 5 of 10 GRUs of 16 units make no error at any step; the other GRUs
  err in 1 to 16 numbers of the 1,000. In one number of a million bits 9 and 8 of 10 make none. None (0 of 20) learns it
  from numbers that have their full length from the start.
* An MLP with inputs for 100 bits adds 99.7 to 100 % of the numbers of 8 bits and 10 to 15 % of those of 9 bits. At 100
  bits, 49.6 to 50.3 % of the bits beyond those that it has seen are right. It has the parity of 93 to 99 % of the
  numbers of 8 bits, of 85 to 91 % at 16 bits, and of 46 to 54 % from 32 bits on, although it was trained on up to 40.
* What is needed to have at most 1 % wrong of all numbers of N bits (medians of five seeds). For addition the Elman net
  needs 16 to 32 examples and 97 weights at each N from 2 to 6. An MLP needs 16, 64, 256, 512 and 2,048 examples, and 35
  to 647 weights (4, 8, 16, 16 and 32 units). For parity an MLP needs all 2^N numbers, and 9 to 769 weights (2, 8, 16,
  32 and 64 units at N = 2, 4, 6, 8 and 10); at 10 that fails with two of five seeds.
* The networks whose weights are set by hand are exact on all numbers of up to 10 bits. The straight ones keep the
  gradient over 40 steps, except for what the readout takes. The saturated ones lose it, by a factor of 0.17 for each
  carry or one. The saturated ones put noise of 0.03 on the state right (100 % of the answers are right after 1,000
  steps), the straight ones do not (69 and 49 %). What learning finds is mostly saturated: over 40 steps 10^-22.9 of the
  gradient is left in addition (from less than float32 holds to 10^+1.6) and 10^-11.8 in parity (10^-25.8 to 10^-4.5).
  These are medians and ranges of the exact networks.
* Operands first and the sum after them (three seeds). A GRU or an LSTM of 64 units has 26 to 36 % of the sums of 8 bits
  right and 87 to 91 % of their digits, 57 to 62 % of the digits at 16 bits, 50 to 55 % at 32 bits and 50 to 51 % at 100
  bits. Published LSTMs, which are larger and were trained for longer, stop at about 55 % on longer sums (Deletang et
  al., 2023).
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or ``quick``: the same steps with few numbers and seeds, in seconds."""
    config = ConfigDict()
    # Networks that learn to add two numbers, two bits a step: CELL-UNITS separated by commas, or mlp-UNITS for a hidden
    # layer that sees all bits at once; empty for none.
    config.addition = "elman-8,gru-8,mlp-128"
    config.parity = "elman-8,gru-16,mlp-128"  # networks that learn parity from lengths that grow as they learn
    config.parity_at_once = "elman-8,gru-16"  # networks that learn parity from numbers of full length from the start
    config.operands_first = "gru-64,lstm-64"  # networks that read one operand after the other, then answer
    config.hand_set = "straight_adder,saturated_adder,straight_counter,saturated_counter"  # weights set by hand
    config.seeds = 10  # independent initializations and data
    config.operands_seeds = 3  # seeds of operands_first, which takes longest
    config.addition_bits = 8  # length of the longest numbers that are added in training
    config.parity_bits = 40  # length of the longest numbers whose ones are counted in training
    config.train_steps = 3000  # training steps of every network
    config.batch_size = 64  # numbers in a training step
    config.learning_rate = 1e-2  # of Adam at the first step; it falls to 0 as a cosine
    config.clip_norm = 1.0  # largest global norm of a gradient
    config.evaluate_every = 500  # training steps between evaluations, in one dispatch; train_steps is a multiple
    config.lengths = "8,9,16,32,40,64,100,1000,10000"  # bits of the numbers to test on
    config.window = 100  # bits that an MLP has inputs for; what sees all bits at once is tested up to that length
    config.numbers = 1000  # random numbers of each length to test on
    config.online_bits = 1_000_000  # length of one very long number, read bit by bit
    config.flow_steps = 40  # steps over which the gradient's flow is measured
    config.chain_steps = 1000  # steps over which a carry or a count is kept, without and with noise
    config.noise = 0.03  # standard deviation of what is added to the state at each of these steps
    config.all_bits = 10  # networks set by hand are tested on all numbers of up to this length
    config.needs_addition = "2,3,4,5,6"  # lengths for which the needs of an MLP are found out; empty for none
    config.needs_parity = "2,4,6,8,10"  # the same for parity
    config.needs_units = 64  # hidden units of that MLP; fewer and fewer are tried until they do not suffice
    config.needs_recurrent = "elman-8"  # networks whose need of examples for addition is found out; empty for none
    config.needs_seeds = 5  # independent initializations and choices of examples
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
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
