r"""What should a recurrent network be fed in training, the truth or what it said itself, and what does each cost?

    python -m experiments.feedback                                                all defaults
    python -m experiments.feedback --variant=text --workdir=runs/feedback-text    characters of real text

TO BE WRITTEN.

Run time: 10 min on two CPU cores; the quick variant 30 s.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    # What is read: brackets, a source of known entropy; docstrings, those of Python's standard library; the path of a
    # text; nothing for the standard library's sources.
    config.data = "brackets"
    config.max_characters = 1_000_000  # of a text, its first ones; the last tenth of them is held out
    config.max_vocabulary = 48  # characters of a text; rarer ones are one
    # FEEDBACK:SCHEDULE:COIN with commas between: sampled, argmax, probabilities or outputs; never, linear, exponential
    # or inverse_sigmoid, how often the truth is fed; for each token or each sequence. Or teacher, professor, watched.
    config.regimes = (
        "teacher,sampled:linear:token,sampled:exponential:token,sampled:inverse_sigmoid:token,"
        "sampled:linear:sequence,sampled:exponential:sequence,sampled:inverse_sigmoid:sequence,"
        "argmax:inverse_sigmoid:token,probabilities:inverse_sigmoid:token,outputs:inverse_sigmoid:token,"
        "sampled:never,argmax:never,probabilities:never,outputs:never,professor,watched"
    )
    config.truth_at_end = 0.5  # how often the truth is still fed where a schedule ends
    config.hidden_size = 64  # units of the GRU
    config.judge_size = 32  # units of the judge's GRU in each direction, in professor forcing
    config.judge_weight = 0.1  # of what it says, beside nats a symbol
    config.length = 64  # symbols of a sequence, to train on and to be tested on; each begins from a state of zeros
    config.batch_size = 32  # sequences in a training step
    config.train_steps = 600  # of which the last network is measured
    config.learning_rate = 5e-3  # of Adam at the start; it falls to a tenth as a cosine
    config.clip_norm = 1.0  # global gradient norm
    config.evaluate_every = 50  # training steps
    config.steps_a_call = 50  # training steps in a dispatch, of which all other numbers of steps are multiples
    config.held_out_texts = 128  # sequences that networks are tested on
    config.free_length = 128  # symbols of a text that a network draws by itself
    config.free_texts = 256  # such texts
    config.prefixes = "2,8,32,128"  # symbols of a network's own that it reads before the truth comes (again)
    config.context = 16  # true characters before them, in a text
    config.ahead = 8  # true symbols after them that it is tested on
    config.seeds = 5  # independent initializations and orders
    config.threads = 0  # programs compiled and run at the same time; 0: one a core
    return varied(config, variant, VARIANTS)


def text(config: ConfigDict) -> None:
    """10 min. Characters of Python's docstrings, fewer regimes."""
    config.data, config.hidden_size, config.learning_rate = "docstrings", 128, 5e-3
    config.regimes = "teacher,sampled:inverse_sigmoid:token,sampled:inverse_sigmoid:sequence,sampled:never,professor"
    config.prefixes, config.free_length, config.train_steps = "1,4,16,40", 64, 500


def quick(config: ConfigDict) -> None:
    """30 s. The same steps on tiny networks."""
    config.regimes = "teacher,sampled:linear:token,sampled:linear:sequence,probabilities:never,professor"
    config.hidden_size, config.judge_size, config.length, config.batch_size = 8, 4, 12, 8
    config.train_steps, config.evaluate_every, config.steps_a_call, config.seeds = 60, 20, 20, 2
    config.held_out_texts, config.free_length, config.free_texts = 32, 16, 32
    config.prefixes, config.context, config.ahead, config.learning_rate = "1,8", 2, 4, 2e-2


VARIANTS = (text, quick)
