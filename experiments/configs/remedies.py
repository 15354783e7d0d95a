r"""Which remedy lets a tanh network learn what lies far back, and what does each do to its gradients?

    python -m experiments.remedies                                                    all defaults
    python -m experiments.remedies --config.lengths=100 --config.train_steps=100000 --workdir=runs/mine
    python -m experiments.remedies --config=experiments/configs/remedies.py:quick --workdir=runs/quick

The set-up is that of Pascanu, Mikolov & Bengio (2013): 50 tanh units whose weights start from N(0, 0.1²), SGD with
learning rate 0.01, gradients clipped to a norm of 1, a penalty of weight 4.

Run time: 3.5 minutes on two CPU cores; the quick variant about 10 s.

Expect: of length 20 every network learns temporal order, with the penalty or flossing in 400 to 800 steps (medians of
three seeds), without in 2,000 to 3,600. Of length 50 none does within 30,000 steps without a remedy, nor with any
single one: at initialization 4e-5 of the gradient is left at the first step; with the penalty or flossing alone it
explodes, to norms of 500, and is lost afterwards. The penalty and clipping together, of norms or of elements, solve it
for 3 of 3 seeds, in 5,000 to 15,000 steps, flossing and clipping together in 4,000 to 20,000. (Flossing takes the ten
largest Lyapunov exponents from between -0.2 and -0.5 to within 0.04 of 0.) Where the task is solved, the gradient at
the first step is 3 to 70 times that at the last. Chance has a part in it: of eight seeds (--config.seeds=8
--config.lengths=50 --config.remedies=norm_clipping,penalty+norm_clipping) 7 solve it with the penalty and norm
clipping, and 1 with norm clipping alone.
"""

from ml_collections import ConfigDict

from rnnjax.names import lookup


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or ``quick``: the same steps on tiny networks, in seconds."""
    config = ConfigDict()
    config.task = "temporal_order"  # a name of rnnjax.tasks.TASKS
    config.lengths = "20,50"  # of its sequences, T (or lags, as the task counts)
    # Joined by +: none, norm_clipping, element_clipping, penalty (gradient-preserving), flossing (before training).
    config.remedies = (
        "none,norm_clipping,penalty,penalty+norm_clipping,penalty+element_clipping,flossing,flossing+norm_clipping"
    )
    config.seeds = 3  # independent initializations and data
    config.hidden_size = 50
    config.init_scale = 0.1  # standard deviation of the cell's weights at first
    config.batch_size = 20
    config.train_steps = 30_000  # of SGD, at most; a run stops when its task is solved
    config.learning_rate = 0.01
    config.evaluate_every = 200  # training steps
    config.test_size = 1000  # sequences, the same at every evaluation
    config.clip_norm = 1.0  # largest norm of a gradient
    config.clip_value = 0.02  # largest absolute value of its elements; all of them so large, its norm is 1.1
    config.penalty_weight = 4.0
    config.flossing_steps = 200  # of Adam, before training
    config.flossing_rate = 3e-3  # its learning rate
    config.exponents = 10  # how many of the largest are flossed
    config.threads = 0  # programs compiled and run at the same time; 0: one a core

    def quick() -> None:
        config.lengths, config.seeds = "10", 2
        config.remedies = "none,flossing+penalty+element_clipping"
        config.hidden_size, config.batch_size, config.test_size, config.exponents = 8, 8, 100, 3
        config.train_steps, config.evaluate_every, config.flossing_steps = 40, 20, 5

    lookup("variant of the config", variant, {"default": lambda: None, "quick": quick})()
    return config
