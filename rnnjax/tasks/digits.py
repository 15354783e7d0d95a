"""Images read pixel by pixel: handwritten digits as long sequences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.arguments import of_their_kinds
from rnnjax.checks import positive_integer
from rnnjax.data.sequences import digit_images
from rnnjax.tasks.task import Batch, Task, any_wrong, checked, cross_entropy
from rnnjax.typing import Key

PIXELS = 64
TRAINING = 1437
"""The number of images to train on, of 1,797; the other fifth is for testing."""


@of_their_kinds
def sequential_digits(length: int = PIXELS, *, permuted: bool = False) -> Task:
    """Classification of a digit after reading its pixels one by one (Le, Jaitly & Hinton, 2015).

        x_t = pixel t, from 0 to 1, row by row; 0 from step 65 on        target at the last step: the digit

    The images are the 8 x 8 ones that come with scikit-learn (Alpaydin & Kaynak, 1998), of which a fixed draw holds out
    a fifth; the original task has the 28 x 28 ones of MNIST. Chance is the entropy of the digits' frequencies, which is
    ln 10 up to 0.0001; without a memory it is their entropy given the last pixel. The task is solved if at most 5 % of
    the test images are wrong.

    Args:
        length: T, 64 or more; in the steps after the last pixel the inputs are 0.
        permuted: puts the pixels in a fixed random order, which separates neighbours.

    Raises:
        ValueError: if length < 64.
        TypeError: if it is not a whole number.
        ImportError: if scikit-learn is not installed.
    """
    steps = positive_integer("length", length)
    if steps < PIXELS:
        raise ValueError(f"length is {steps}: expected at least {PIXELS}, the number of pixels")
    images, digits = digit_images()
    if permuted:
        images = images[:, np.random.default_rng(0).permutation(PIXELS)]
    images = np.pad(images, ((0, 0), (0, steps - PIXELS)))
    order = np.random.default_rng(1).permutation(len(digits))

    def sample(part: np.ndarray, key: Key, batch_size: int) -> Batch:
        chosen = jnp.asarray(part)[jax.random.randint(key, (batch_size,), 0, len(part))]
        return Batch(jnp.asarray(images, float)[chosen].T[..., None], jnp.asarray(digits)[chosen][None])

    task = Task(
        input_size=1,
        output_size=10,
        length=steps,
        sample=partial(sample, order[:TRAINING]),
        sample_test=partial(sample, order[TRAINING:]),
        loss=cross_entropy,
        error=any_wrong,
        chance=_entropy(digits, np.zeros_like(digits)),
        memoryless=_entropy(digits, images[:, -1]),
        tolerance=0.05,
    )
    return checked(task)


def _entropy(digits: np.ndarray, given: np.ndarray) -> float:
    """The entropy of the digits given another number, in nats, from the frequencies of both."""
    values, counts = np.unique(np.stack([digits, given]), axis=1, return_counts=True)
    _, of_given = np.unique(values[1], return_inverse=True)
    return float(-(counts * np.log(counts / np.bincount(of_given, counts)[of_given])).sum() / len(digits))
