"""What should a recurrent network be fed in training, the truth or what it said itself, and what does each cost?

    python -m experiments.feedback                                                all defaults
    python -m experiments.feedback --variant=text --workdir=runs/feedback-text    characters of real text

The lecture lists what can be fed back: the raw output, a sample of it or its argmax, or the truth (teacher forcing).
The last "makes training more robust since errors don't accumulate, and the training converges faster. The disadvantage
is that inference is different than training which leads to exposure bias. Some alternatives include curriculum learning
and professor forcing." Each of these claims is tested on a source of brackets of which every probability is known.
There a network's own text has a true continuation, and the divergence of the network's prediction from it shows what
its errors cost.

Run time: 3 min on two CPU cores; text 2 to 3 min; the quick variant 15 s, 60 s where other programs use the cores, too.

What to expect of five seeds: a GRU of 64 units after 600 training steps of 32 texts of 64 symbols, with schedules that
fall to feeding the truth at half of the steps. Ranges are over seeds. The source's entropy is 1.688 nats a symbol; a
predictor that sees nothing loses 2.065.

* Teacher forcing loses 1.773 nats (1.767 to 1.777) on new texts. It converges faster than 8 of 13 other regimes: it has
  done 90 % of the way to its last loss after 200 to 250 steps. With an inverse sigmoid, which feeds the truth for long,
  it takes as many in some seeds. With the other schedules, and where the truth is never fed, that loss is never
  reached.
* That it is more robust is refuted here. Its losses spread by 0.010 nats over seeds; those of 8 of 13 others spread by
  less, and 12 of 13 have smaller gradients. What is not robust is feeding raw outputs at every step: 2.111 to 3.134
  nats with the truth fed, and gradients of up to 120.
* Inference differs from training. After 128 symbols of its own, KL(p || q) is 0.035 nats larger (0.028 to 0.047) than
  after 128 true ones; after 2 symbols it is not. At the first true symbol after them it is 0.076 nats larger, at the
  eighth 0.021 (medians). The network's own text is 0.296 nats a symbol (0.287 to 0.304) less probable than the
  source's. Its 3-grams are off by 0.066, those of true texts by 0.063. A discriminator that learns along tells its free
  states from its forced ones in 71 % of the cases (69 to 73).
* Curriculum learning takes away most of the exposure bias (it leaves 0.007 to 0.018 with samples, means; below 0 with
  argmax and probabilities), at a price that is larger: 0.023 to 0.136 nats with the truth fed, in all of nine regimes.
  After its own text, too, seven of them are farther from the source than teacher forcing (KL 0.196 to 0.250 against
  0.145); those fed with raw outputs and probabilities cannot be told apart from it. As the truth gets rarer the loss
  rises again. The target is how the text goes on, not how a text goes on that has just said something else, and so a
  network learns to distrust its input (Huszár, 2015).
* A coin for each sequence is better than a coin for each token, by 0.047 to 0.050 nats, where Bengio et al. (2015)
  found it much worse. Sequences that are fed with the truth throughout are teacher forcing, and nothing in these texts
  depends on anything outside of them, as captions depend on their image.
* Professor forcing does not help: it loses 1.785 nats (1.782 to 1.792), and 0.033 after its own text (-0.003 to 0.077).
  It does what it is meant to do: the discriminator is right in 68 % of the cases (66 to 70). By the paper's rule the
  network listened to it in 3 to 8 % of the steps. Nor does it help with four other weights
  (--config.discriminator_weight), five seeds each. With 0.01, 0.03, 0.3 and 1.0 the discriminator is right in 71, 71,
  65 and 64 % of the cases. The loss with the truth fed is then 0.002, 0.005, 0.013 and 0.016 nats above that of teacher
  forcing; with the last two, every seed loses more than all of its seeds. What its own text costs is 0.031 to 0.039
  nats, beside 0.035.
* A network that is never fed with the truth learns the frequencies alone, 2.065 to 2.068 nats, with all four kinds of
  feedback.
* One to eight steps before the loss, 5 to 9 % of dL/dh_t come through the output where probabilities are fed back, and
  27 to 41 % before training and 28 to 52 % after it where raw outputs are. Nothing comes through a sample or an argmax.

The variant text reads docstrings in 48 characters, with a GRU of 128 units after 500 steps, five seeds, and windows of
64 from a fresh state:

* Teacher forcing loses 1.977 nats a character (1.973 to 1.981). Scheduled sampling by the inverse sigmoid loses 2.182
  (2.177 to 2.186) with a coin for each token and 2.155 (2.138 to 2.166) with one for each sequence, professor forcing
  2.102 (2.057 to 2.196), and training without the truth 3.216. All regimes that see the truth have done 90 % of the way
  after 200 to 250 steps.
* After 40 characters of its own, teacher forcing loses 0.836 nats more on what follows (0.816 to 0.864); after 40
  characters of another passage it loses 0.827 more (0.810 to 0.859). That the characters are its own makes 0.009
  (-0.006 to 0.032), which is undecided; what costs is that the right ones are missing. After one character its own is
  better than another's (0.364 against 0.492).
* After such a break scheduled sampling, which has learned to distrust what it reads, loses less than teacher forcing:
  2.491 (a coin for each token) and 2.509 (for each sequence) against 2.655. Its text is farther from the true one: its
  3-grams are off by 0.541 and 0.565 against 0.412 (professor forcing 0.448, true texts 0.239).
* Professor forcing makes a network rely less on what it reads, whoever wrote it. With a --config.discriminator_weight
  of 0.01, 0.03, 0.1, 0.3 and 1.0 it loses 1.986 (1.980 to 1.999), 2.013 (1.995 to 2.034), 2.110 (2.080 to 2.148), 2.210
  (2.141 to 2.274) and 2.231 nats (2.104 to 2.350) with the truth fed, in runs beside teacher forcing alone. Means over
  seeds of what its own 40 characters then cost are 0.823, 0.798, 0.709, 0.599 and 0.571 nats, of another passage 0.831,
  0.799, 0.685, 0.593 and 0.582. After its own it loses as much as teacher forcing, 2.653 to 2.684 against 2.655.
* Where the network is fed with its probabilities, 26 to 37 % of dL/dh_t come through the output after teacher forcing,
  and 1 to 2 % before training.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    # The data: brackets, a source of known entropy; docstrings, those of Python's standard library; the path of a text;
    # empty for the standard library's sources.
    config.data = "brackets"
    config.max_characters = 1_000_000  # of a text that are read, from its beginning; their last tenth is held out
    config.max_vocabulary = 48  # different characters of a text; all rarer ones become one
    # FEEDBACK:SCHEDULE:COIN separated by commas. What is fed back: sampled, argmax, probabilities or outputs; how often
    # the truth is fed: never, linear, exponential or inverse_sigmoid; a coin for each token or each sequence. Or else
    # teacher, professor, watched.
    config.regimes = (
        "teacher,sampled:linear:token,sampled:exponential:token,sampled:inverse_sigmoid:token,"
        "sampled:linear:sequence,sampled:exponential:sequence,sampled:inverse_sigmoid:sequence,"
        "argmax:inverse_sigmoid:token,probabilities:inverse_sigmoid:token,outputs:inverse_sigmoid:token,"
        "sampled:never,argmax:never,probabilities:never,outputs:never,professor,watched"
    )
    config.truth_at_end = 0.5  # share of steps still fed with the truth where a schedule ends
    config.hidden_size = 64  # units of the GRU
    config.discriminator_size = 32  # units of the discriminator's GRU in each direction, in professor forcing
    config.discriminator_weight = 0.1  # weight of the discriminator's loss, which is added to the nats a symbol
    config.length = 64  # symbols of a sequence, in training and in tests; each begins from a state of zeros
    config.batch_size = 32  # sequences in a training step
    config.train_steps = 600  # training steps; the network after the last one is measured
    config.learning_rate = 5e-3  # of Adam at the start; it falls to a tenth as a cosine
    config.clip_norm = 1.0  # largest global norm of a gradient
    config.evaluate_every = 50  # training steps between evaluations
    config.steps_a_call = 50  # training steps in one dispatch; all other numbers of steps are multiples of it
    config.held_out_texts = 128  # sequences that networks are tested on
    config.free_length = 128  # symbols of a text that a network draws by itself
    config.free_texts = 256  # number of such texts
    config.prefixes = "2,8,32,128"  # lengths of its own text that a network reads before the truth comes (again)
    config.context = 16  # true characters before such a prefix, in a text
    config.ahead = 8  # true symbols after a prefix that a network is tested on
    config.seeds = 5  # independent initializations and orders of the training data
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
    return varied(config, variant, VARIANTS)


def text(config: ConfigDict) -> None:
    """3 min. Characters of Python's docstrings, fewer regimes."""
    config.data, config.hidden_size, config.learning_rate = "docstrings", 128, 5e-3
    config.regimes = "teacher,sampled:inverse_sigmoid:token,sampled:inverse_sigmoid:sequence,sampled:never,professor"
    config.prefixes, config.free_length, config.train_steps = "1,4,16,40", 64, 500


def quick(config: ConfigDict) -> None:
    """20 to 60 s. The same steps on tiny networks."""
    config.regimes = "teacher,sampled:linear:token,sampled:linear:sequence,probabilities:never,professor"
    config.hidden_size, config.discriminator_size, config.length, config.batch_size = 8, 4, 12, 8
    config.train_steps, config.evaluate_every, config.steps_a_call, config.seeds = 60, 20, 20, 2
    config.held_out_texts, config.free_length, config.free_texts = 32, 16, 32
    config.prefixes, config.context, config.ahead, config.learning_rate = "1,8", 2, 4, 2e-2


VARIANTS = (text, quick)
