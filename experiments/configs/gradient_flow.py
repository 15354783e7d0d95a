r"""Where do gradients die, in next-character prediction on real text?

    python -m experiments.gradient_flow                                                    all defaults
    python -m experiments.gradient_flow --config.cells=elman,lstm --config.depths=1,4 --workdir=runs/mine
    python -m experiments.gradient_flow --config=experiments/configs/gradient_flow.py:quick --workdir=runs/quick

Run time: 45 s on two CPU cores with nothing compiled beforehand, 30 s after that; the quick variant about 15 s.

Expect: at initialization every one-layer network's gradient vanishes exponentially (R² above 0.95). Half-lives in
steps: LSTM 19, Elman tanh 11, GRU 2.3, Elman ReLU 2.2, Elman sigmoid 0.5, the last below float32's range after 48
steps. In the lowest of four layers it decays no faster than in a single one. Training brings the networks together:
LSTM 3.5, tanh 2.9, GRU 1.5, ReLU 3.2, sigmoid 1.4.
"""

from ml_collections import ConfigDict

from rnnjax.names import lookup


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or ``quick``: the same steps on tiny networks, in seconds."""
    config = ConfigDict()
    config.corpus = ""  # any UTF-8 text file; empty: the sources of Python's standard library
    config.max_characters = 4_000_000  # of it are read; 0: all
    config.cells = "elman,gru,lstm"  # names of rnnjax.CELLS
    config.activations = "tanh,relu,sigmoid"  # of Elman networks; names of rnnjax.ACTIVATIONS
    config.depths = "1,4"  # layers
    config.sequence_lengths = "100"  # characters the network reads, T
    config.seeds = 3  # independent initializations and batches
    config.hidden_size = 64
    config.batch_size = 16
    config.loss = "last"  # measured on the last character (norm against lag), or on "all"
    config.train_steps = 150  # Adam on all characters; 0 measures at initialization only
    config.learning_rate = 3e-3
    config.clip_norm = 1.0  # global gradient norm
    config.checkpoint_every = 100  # training steps; 0 for none
    config.threads = 0  # programs compiled and run at the same time; 0: one a core

    def quick() -> None:
        config.depths, config.sequence_lengths, config.seeds = "1,2", "20", 2
        config.hidden_size, config.batch_size = 8, 4
        config.train_steps, config.checkpoint_every = 6, 3

    lookup("variant of the config", variant, {"default": lambda: None, "quick": quick})()
    return config
