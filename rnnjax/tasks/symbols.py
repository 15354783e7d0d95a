"""Symbols over long lags: the first inputs decide the last targets, whatever comes between.

Inputs are one-hot vectors. The input at a target's own step contains no information about it (unless the sequence is so
short that the first symbol is also the last), so a network without a memory cannot do better than chance.
"""

import math
from string import ascii_lowercase

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.checks import positive_integer
from rnnjax.tasks.task import Batch, Task, any_wrong, checked, cross_entropy, unsure
from rnnjax.typing import Key

WOMEN = ("anna", "jane", "mary", "ruth")
MEN = ("adam", "john", "mark", "paul")


def copy_memory(lag: int) -> Task:
    """The copying memory problem: ten symbols to be repeated after a pause (Arjovsky, Shah & Bengio, 2016).

        inputs:   s_1 ... s_10, blank x (T - 1), delimiter, blank x 10        s_i uniform over 8 symbols
        targets:  blank x (T + 10), s_1 ... s_10

    There are T + 20 steps, all of which count (after Hochreiter & Schmidhuber, 1997). Chance is 10 ln 8 / (T + 20): all
    blanks are right, and the symbols of the last ten steps are guessed. A sequence is wrong if any step is.

    Args:
        lag: T, the number of steps between the last symbol and the first repeated one.

    Raises:
        ValueError: if lag < 1.
        TypeError: if it is not a whole number.
    """
    silence = positive_integer("lag", lag)
    blank, delimiter = 8, 9

    def sample(key: Key, batch_size: int) -> Batch:
        said = jax.random.randint(key, (10, batch_size), 0, 8)

        def blanks(steps: int) -> Array:
            return jnp.full((steps, batch_size), blank)

        inputs = [said, blanks(silence - 1), jnp.full((1, batch_size), delimiter), blanks(10)]
        return Batch(_one_hot(jnp.concatenate(inputs), 10), jnp.concatenate([blanks(silence + 10), said]))

    chance = 10 * math.log(8) / (silence + 20)
    return checked(Task(10, 9, silence + 20, sample, sample, cross_entropy, any_wrong, chance, chance))


def temporal_order(length: int, relevant: int = 2) -> Task:
    """The temporal order problem: the order in which X and Y came, far apart (Hochreiter & Schmidhuber, 1997).

        X or Y at random steps in [T/10, 2T/10) and [5T/10, 6T/10), of four other symbols one at each other step
        target at the last step: the class of (X, X), (X, Y), (Y, X), (Y, Y)

    Three relevant symbols are in [T/10, 2T/10), [3T/10, 4T/10) and [6T/10, 7T/10), and there are eight classes. This is
    the form in the code of Pascanu et al. (2013); the original has lengths of 100 to 110 and special symbols at the
    start and at the end. Chance is ln 4 with two relevant symbols and ln 8 with three.

    Args:
        length: T, the number of steps.
        relevant: 2 or 3, the number of symbols that decide.

    Raises:
        ValueError: if length < 10, or relevant is neither 2 nor 3.
        TypeError: if they are not whole numbers.
    """
    steps = positive_integer("length", length)
    if steps < 10:
        raise ValueError(f"length is {steps}: expected at least 10, so that a tenth of it is a step")
    tenths = {2: (1, 5), 3: (1, 3, 6)}
    if positive_integer("relevant", relevant) not in tenths:
        raise ValueError(f"relevant is {relevant}: expected 2 or 3 symbols that decide")
    starts = [[tenth * steps // 10] for tenth in tenths[relevant]]

    def sample(key: Key, batch_size: int) -> Batch:
        others_key, places_key, relevant_key = jax.random.split(key, 3)
        symbols = jax.random.randint(others_key, (steps, batch_size), 2, 6)
        places = jnp.array(starts) + jax.random.randint(places_key, (relevant, batch_size), 0, steps // 10)
        deciding = jax.random.randint(relevant_key, (relevant, batch_size), 0, 2)
        symbols = symbols.at[places, jnp.arange(batch_size)].set(deciding)
        powers = 2 ** jnp.arange(relevant)[::-1, None]
        return Batch(_one_hot(symbols, 6), (powers * deciding).sum(axis=0, keepdims=True))

    classes = 2**relevant
    chance = math.log(classes)
    return checked(Task(6, classes, steps, sample, sample, cross_entropy, any_wrong, chance, chance))


def random_permutation(length: int) -> Task:
    """The random permutation problem: the first symbol is the target at the end (Martens & Sutskever, 2011).

        x_1 in {1, 2}, x_2 ... x_T uniform over {3, ..., 100}        target at the last step: x_1

    It has the lag of ``latching`` without its regularity, as in task 2b of Hochreiter & Schmidhuber (1997). As in the
    code of Pascanu et al. (2013) the loss is read at the last step alone, the only one that can be predicted. Chance is
    ln 2.

    Args:
        length: T, the number of steps.

    Raises:
        ValueError: if length < 1.
        TypeError: if it is not a whole number.
    """
    steps = positive_integer("length", length)

    def sample(key: Key, batch_size: int) -> Batch:
        first_key, others_key = jax.random.split(key)
        first = jax.random.randint(first_key, (1, batch_size), 0, 2)
        others = jax.random.randint(others_key, (steps - 1, batch_size), 2, 100)
        return Batch(_one_hot(jnp.concatenate([first, others]), 100), first)

    chance, memoryless = math.log(2), math.log(2) if steps > 1 else 0.0
    return checked(Task(100, 100, steps, sample, sample, cross_entropy, any_wrong, chance, memoryless))


def latching(lag: int) -> Task:
    """Noise-free sequences with long time lags, task 2a of Hochreiter & Schmidhuber (1997): predict the next symbol.

        (x, a_1, ..., a_{p-1}, x) or (y, a_1, ..., a_{p-1}, y), each with probability 1/2

    Every symbol but the last follows from the one before; for the last one the first symbol has to be held for p steps.
    Chance is ln 2 / p: the other p - 1 are right, and the last one is guessed. A sequence is wrong if any output at any
    step is 0.25 or more off its target. This is the paper's criterion; its outputs are sigmoids with squared error,
    here they are a softmax.

    Args:
        lag: p, the number of steps read; there are p + 1 symbols.

    Raises:
        ValueError: if lag < 1.
        TypeError: if it is not a whole number.
    """
    steps = positive_integer("lag", lag)

    def sample(key: Key, batch_size: int) -> Batch:
        first = jax.random.randint(key, (1, batch_size), steps - 1, steps + 1)
        between = jnp.broadcast_to(jnp.arange(steps - 1)[:, None], (steps - 1, batch_size))
        return Batch(
            _one_hot(jnp.concatenate([first, between]), steps + 1),
            jnp.concatenate([between, first]),
        )

    chance = math.log(2) / steps
    memoryless = chance if steps > 1 else 0.0
    return checked(Task(steps + 1, steps + 1, steps, sample, sample, cross_entropy, unsure, chance, memoryless))


def patterns(lag: int) -> Task:
    """Two related patterns with any text between them, as in "Jane had a quick lunch in the bistro. Then she".

        a name, random letters and spaces, a full stop        target at the full stop: she or he

    There are eight names of four letters, four for each pronoun. Each letter is an input, and the same letters occur in
    the text that follows. The name begins at a random step, with nothing before it, so that 1 to ``lag`` random
    characters lie between the name and the full stop. The names can be learned from short gaps, and long gaps have to
    be bridged. Chance is ln 2. Many lectures on long-term dependencies use this example.

    Args:
        lag: the greatest number of characters between name and full stop.

    Raises:
        ValueError: if lag < 1.
        TypeError: if it is not a whole number.
    """
    most = positive_integer("lag", lag)
    letters = ascii_lowercase + " "
    names = [[letters.index(letter) for letter in name] for name in WOMEN + MEN]
    stop = len(letters)

    def sample(key: Key, batch_size: int) -> Batch:
        name_key, start_key, between_key = jax.random.split(key, 3)
        chosen = jax.random.randint(name_key, (batch_size,), 0, len(names))
        start = jax.random.randint(start_key, (batch_size,), 0, most)
        symbols = jax.random.randint(between_key, (4 + most, batch_size), 0, len(letters))
        place = jnp.arange(4 + most)[:, None] - start[None]  # from the name's first letter
        in_name = jnp.array(names)[chosen[None], jnp.clip(place, 0, 3)]
        symbols = jnp.where(place < 0, -1, jnp.where(place < 4, in_name, symbols))
        symbols = jnp.concatenate([symbols, jnp.full((1, batch_size), stop)])
        return Batch(_one_hot(symbols, stop + 1), (chosen >= len(WOMEN)).astype(int)[None])

    chance = math.log(2)
    return checked(Task(stop + 1, 2, 4 + most + 1, sample, sample, cross_entropy, any_wrong, chance, chance))


def _one_hot(symbols: Array, size: int) -> Array:
    """Vectors (T, B, size); zeros for a negative number."""
    return jax.nn.one_hot(symbols, size)
