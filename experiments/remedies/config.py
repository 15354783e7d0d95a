"""Which remedy lets a tanh network learn what lies far back, and what does each do to its gradients?

    python -m experiments.remedies                                                    all defaults
    python -m experiments.remedies --config.init_scale=0.1 --workdir=runs/larger_weights
    python -m experiments.remedies --variant=published --workdir=runs/published

The network has 50 tanh units and is trained by SGD. Gradients are clipped to a norm of 1, and the penalty has a weight
of 4, as in Pascanu, Mikolov & Bengio (2013). The cell's weights start from N(0, 0.01²), as those of the minimal
character model do, where every step back takes 93 % of the gradient. All remedies have the same setting and the same
number of steps.

Run time: 3.5 minutes on two CPU cores; ``published`` about as long; the quick variant 10 s.

What to expect, from 5 seeds at each length. Where two machines differ, the range covers both.

* Temporal order of lengths 20, 35 and 50 is solved by all 15 networks with norm clipping and the penalty, in 800 to
  6,200 steps (medians 1,600, 2,400 to 3,600 and 3,600 to 3,800). With norm clipping alone and without a remedy no
  network solves it. In 10,000 steps their loss stays at that of the best guess without a memory, and clipping has
  nothing to clip: no gradient's norm reaches 1.
* What the penalty alone brings back explodes, to norms of 20 to 30,000. It solves 4 or 5 of 5 at T = 20 and none at 35
  and 50. Element clipping serves the penalty as well as norm clipping does (15 of 15), and flossing before training can
  replace it (13 to 15 of 15 with norm clipping; without, 1 of 15).
* Where the task is solved, the gradient at the first step is 0.6 to 7.6 times that at the last, and the largest
  Lyapunov exponent has come from -2.5 to within 0.06 of 0 (medians).
* The networks without the penalty stay where they are neither for lack of steps nor of speed. Norm clipping alone stays
  at chance (loss 1.383 to 1.404 beside ln 4 = 1.386) for three times the steps, 30,000, at all lengths (5 seeds each),
  and at T = 20 with learning rates of 0.3 and 1 (3 seeds each). What they lack is a gradient at the beginning. From
  N(0, 0.1²) norm clipping alone solves T = 20 and 35 for 5 of 5 seeds, in 800 and 3,400 to 3,600 steps beside 400 and
  1,200 to 1,400 with the penalty (medians), and T = 50 for 0 or 1 of 5, beside 5 of 5.
* The setting was found by trying, for norm clipping with the penalty at T = 20 and 50, scales of 0.01, 0.03 and 0.05,
  learning rates of 0.01 to 0.1 and weights of 0.5 to 4. At T = 20 all of them work. At T = 50 at most every second
  network with a rate below 0.1 gets there in 10,000 steps.
* ``published`` has all of Pascanu, Mikolov & Bengio's setting: N(0, 0.1²), learning rate 0.01, 30,000 steps. There
  every network learns T = 20, in medians of 400 to 800 steps with the penalty or flossing (400 to 1,600 over all runs),
  and in 1,800 to 4,000 without (1,600 to 4,800). At T = 50 none of 3 learns without a remedy, with norm clipping alone
  or with flossing alone. The penalty alone solves 0 or 2 of 3. The penalty and clipping solve 3 of 3 (in 5,000 to
  15,000 steps), as do flossing and clipping (4,000 to 21,200). Of eight seeds at T = 50, 7 solve it with the penalty
  and norm clipping, and 1 with norm clipping alone.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    config.task = "temporal_order"  # a name of rnnjax.tasks.TASKS
    config.lengths = "20,35,50"  # lengths T of its sequences (or lags, as the task counts)
    # Joined by +: none, norm_clipping, element_clipping, penalty (which preserves the gradient), flossing (beforehand).
    config.remedies = (
        "none,norm_clipping,penalty,penalty+norm_clipping,penalty+element_clipping,flossing,flossing+norm_clipping"
    )
    config.seeds = 5  # independent initializations and data
    config.hidden_size = 50  # units of each layer
    config.init_scale = 0.01  # standard deviation of the cell's weights at initialization
    config.batch_size = 20  # sequences in a training step
    config.train_steps = 10_000  # steps of SGD at most; a run stops when its task is solved
    config.learning_rate = 0.1  # of SGD
    config.evaluate_every = 200  # training steps between evaluations
    config.test_size = 1000  # test sequences, the same at every evaluation
    config.clip_norm = 1.0  # largest norm of a gradient
    config.clip_value = 0.02  # largest absolute value of an element; a gradient of such elements has a norm of 1.1
    config.penalty_weight = 4.0  # of the gradient-preserving penalty, added to the loss
    config.flossing_steps = 200  # steps of Adam before training
    config.flossing_rate = 3e-3  # learning rate of flossing
    config.exponents = 10  # how many of the largest Lyapunov exponents are flossed
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
    return varied(config, variant, VARIANTS)


def published(config: ConfigDict) -> None:
    """3.5 min. The setting of Pascanu, Mikolov & Bengio (2013): larger weights, more and smaller steps."""
    config.init_scale, config.learning_rate, config.train_steps = 0.1, 0.01, 30_000
    config.lengths, config.seeds = "20,50", 3


def quick(config: ConfigDict) -> None:
    """10 s. The same steps on tiny networks."""
    config.lengths, config.seeds = "10", 2
    config.remedies = "none,flossing+penalty+element_clipping"
    config.hidden_size, config.batch_size, config.test_size, config.exponents = 8, 8, 100, 3
    config.train_steps, config.evaluate_every, config.flossing_steps = 40, 20, 5


VARIANTS = (published, quick)
