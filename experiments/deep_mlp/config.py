"""In a deep fully connected network, how far back from the output does a gradient reach?

    python -m experiments.deep_mlp                                                     all defaults
    python -m experiments.deep_mlp --config.images=mnist --config.optimizer=adam --workdir=runs/mnist
    python -m experiments.deep_mlp --variant=quick --workdir=runs/quick_mlp

Run time: 4 min 30 s on two CPU cores, peak memory 1.3 GB; the quick variant 10 to 15 s.

What to expect on scikit-learn's digits. Values at initialization are medians of three draws.

* With the weights and biases that PyTorch's Linear draws (variance 1/3n), the gradient of a neuron's incoming weights
  falls to a hundredth after 9 layers back with ELU and tanh, 6 with ReLU, 4 with GELU and 3 with sigmoid. With SELU it
  never does. So it is gone after about 10 layers, as the lecture says, and ELU is tied with tanh.
* With each of the other initializations only sigmoid's gradient falls, after 3 to 5 layers.
* Without biases the gradient of the weights is about as large in layer 2 as in layer 19, in all networks but sigmoid's.
  At variance 1/3n it is small in all layers, 1e-5 with ELU and 3e-8 with ReLU, because the signal fades on its way up
  as dL/dz does on its way down.
* The measured factors per layer are within 2.0 % of those of mean-field theory, and half of them within 0.2 %.
* Of the 17 networks that start with a layer below 1e-3, one learns anything in 100 steps (ReLU at 1/n, with an accuracy
  of 25 and 39 % on two machines). Each of the 13 others reaches 80 % or more.
* Training makes the median gradient smaller in 12 of 30 networks; in 10 or 11 of these the largest one grows.
* With --config.optimizer=adam --config.learning_rate=1e-4 a step does not depend on the gradient's size, as long as
  that is above epsilon, 1e-8. Then ELU at 1/3n reaches 59 %, with PyTorch's biases 67 %. Sigmoid still learns nothing.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or ``quick``: the same steps on small networks, in seconds."""
    config = ConfigDict()
    # An IDX file, or a folder of MNIST's; empty: fashion-MNIST where installed, else scikit-learn's digits.
    config.images = ""
    config.max_images = 10_000  # images that are read; 0: all. A tenth is held out for measuring
    config.activations = "elu,relu,sigmoid,tanh,gelu,selu"  # names of rnnjax.ACTIVATIONS
    config.initializations = "torch,1/3n,1/n,2/n,glorot"  # names of network.INITIALIZATIONS
    config.depth = 19  # hidden layers; the readout comes on top
    config.width = 1024  # units in each hidden layer
    config.draws = 3  # networks measured at initialization; the first of them is trained
    config.measured_images = 64  # images whose gradients are measured, together and one by one
    config.chunk = 32  # images whose own gradients are taken at the same time, which limits the memory
    config.train_steps = 100  # training steps; 0 measures at initialization only
    config.batch_size = 32  # images in a training step
    config.optimizer = "sgd"  # with momentum 0.9; or "adam", with a learning_rate of about 1e-4
    config.learning_rate = 0.03  # of the optimizer
    config.clip_norm = 1.0  # largest global norm of a gradient
    config.threads = 1  # activations that are trained at the same time; a step uses all cores by itself, and 0.5 GB
    return varied(config, variant, VARIANTS)


def quick(config: ConfigDict) -> None:
    """10 to 15 s. The same steps on small networks."""
    config.max_images, config.depth, config.width = 400, 6, 64
    config.activations, config.initializations = "relu,sigmoid", "torch,2/n"
    config.draws, config.measured_images, config.train_steps, config.batch_size = 2, 16, 5, 8


VARIANTS = (quick,)
