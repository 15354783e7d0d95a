"""Tasks: their targets and chance levels, against NumPy that reads the sequences with a perfect memory or with none."""

import itertools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax.tasks import TASKS, adding, sequential_digits, task_named, temporal_order
from rnnjax.tasks.symbols import MEN, WOMEN
from tests.test_errors import check

KEY = jax.random.key(0)
B, T = 4000, 21
each_task = pytest.mark.parametrize("name", TASKS)


@pytest.fixture(scope="module")
def drawn():
    """``name -> (task, one large batch in NumPy)``, each drawn once."""
    known = {}

    def draw(name):
        if "digits" in name:
            pytest.importorskip("sklearn", reason="scikit-learn, which has the digits, is not installed: rnnjax[data]")
        if name not in known:
            task = TASKS[name](64 if "digits" in name else T)
            known[name] = task, jax.tree.map(np.asarray, jax.jit(task.sample, static_argnums=1)(KEY, B))
        return known[name]

    return draw


def symbols_of(inputs):
    """(T, B), -1 where nothing was shown."""
    return np.where(inputs.any(-1), inputs.argmax(-1), -1)


# With a perfect memory: what has to be said follows from what was shown


def marked_values(column):
    return [value for value, marked in column if marked == 1]


def relevant(column):
    return [symbol for symbol in symbols_of(column) if symbol in (0, 1)]


def text_of(column):
    return "".join("_abcdefghijklmnopqrstuvwxyz ."[symbol + 1] for symbol in symbols_of(column))


def digit_of(column, order):
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    (found,) = np.flatnonzero((images[:, order] == np.round(column[:64, 0] * 16)).all(1))[:1]
    return digits[found]


ANSWERS = {
    "adding": lambda x: [[sum(marked_values(x))]],
    "multiplication": lambda x: [[math.prod(marked_values(x))]],
    "parity": lambda x: [list(x[:, 0]).count(1) % 2],
    "copy_memory": lambda x: [8] * (T + 10) + list(symbols_of(x[:10])),
    "temporal_order": lambda x: [{(0, 0): 0, (0, 1): 1, (1, 0): 2, (1, 1): 3}[tuple(relevant(x))]],
    "temporal_order_of_three": lambda x: [int("".join(map(str, relevant(x))), 2)],
    "random_permutation": lambda x: [symbols_of(x)[0]],
    "latching": lambda x: [*symbols_of(x)[1:], symbols_of(x)[0]],
    "patterns": lambda x: [int(text_of(x).strip("_")[:4] in MEN)],
    "sequential_digits": lambda x: [digit_of(x, np.arange(64))],
    "permuted_digits": lambda x: [digit_of(x, np.random.default_rng(0).permutation(64))],
}


def saying(task, answers):
    """A readout (T, B, O) that says the answers (S, B) or (S, B, 1) at the last steps, and before them nonsense."""
    if answers.ndim == 2:
        answers = 50 * np.eye(task.output_size)[answers]
    nonsense = np.random.default_rng(0).normal(size=(task.length - len(answers), *answers.shape[1:]))
    return jnp.asarray(np.concatenate([nonsense, answers]), jnp.float32)


@pytest.mark.slow
@each_task
def test_perfect_memory_makes_no_error(name, drawn):
    task, batch = drawn(name)
    assert batch.inputs.shape == (task.length, B, task.input_size)
    few = jax.tree.map(lambda leaf: leaf[:, :200], batch)
    answers = np.stack([ANSWERS[name](few.inputs[:, example]) for example in range(200)], axis=1)
    readout = saying(task, answers)
    assert float(task.loss(readout, few)) < 1e-10
    assert not task.error(readout, few).any()


@each_task
def test_one_wrong_answer_is_one_error(name, drawn):
    task, batch = drawn(name)
    answers = batch.targets.copy()
    if answers.ndim == 2:
        answers[0, 7] = (answers[0, 7] + 1) % task.output_size
    else:
        answers[0, 7] += 0.21
        answers[0, 8] -= 0.19
    error = task.error(saying(task, answers), batch)
    assert error.shape == (B,)
    assert np.flatnonzero(error).tolist() == [7]
    assert error[7] == 1


def test_latching_asks_for_outputs_within_a_quarter_of_their_targets(drawn):
    task, batch = drawn("latching")
    for right, error in ((0.76, 0), (0.74, 1)):
        probabilities = np.where(np.eye(T + 1)[batch.targets] == 1, right, (1 - right) / T)
        sure = np.where(np.eye(T + 1)[batch.targets] == 1, 1.0, 1e-9)
        readout = np.log(np.concatenate([sure[:3], probabilities[3:4], sure[4:]]))
        assert set(np.asarray(task.error(jnp.asarray(readout, jnp.float32), batch))) == {error}


def test_losses_are_cross_entropy_in_nats_and_mean_squared_error(drawn):
    generator = np.random.default_rng(1)
    for name in ("copy_memory", "adding"):
        task, batch = drawn(name)
        few = jax.tree.map(lambda leaf: leaf[:, :5], batch)
        readout = generator.normal(size=(task.length, 5, task.output_size)).astype(np.float32)
        losses = []
        for step, example in itertools.product(range(len(few.targets)), range(5)):
            said, target = readout[step - len(few.targets), example], few.targets[step, example]
            if name == "adding":
                losses.append((said[0] - target[0]) ** 2)
            else:
                losses.append(np.log(np.exp(said).sum()) - said[target])
        np.testing.assert_allclose(task.loss(jnp.asarray(readout), few), np.mean(losses), rtol=1e-5)


# Without any memory


@each_task
def test_chance_is_the_loss_of_the_best_guess_that_knows_only_the_step(name, drawn):
    """The mean target, or the frequencies of the classes, of each step, in one batch; its loss in another."""
    task, batch = drawn(name)
    if batch.targets.ndim == 2:
        counts = np.stack([(batch.targets == symbol).sum(1) for symbol in range(task.output_size)], axis=1)
        guess = np.log((counts + 1e-9) / B)
    else:
        guess = batch.targets.mean(1)
    readout = np.zeros((task.length, B, task.output_size), np.float32)
    readout[-len(guess) :] = guess[:, None]
    loss = task.loss(jnp.asarray(readout), task.sample(jax.random.key(1), B))
    np.testing.assert_allclose(loss, task.chance, rtol=0.05 if "multi" in name else 0.03)


@each_task
def test_memoryless_is_the_loss_of_the_best_guess_that_knows_the_step_and_its_input(name, drawn):
    """The mean target, or the frequencies of the classes, of a step and its input in one batch; its loss in another.

    Of a number that was marked a straight line is the best guess.
    """
    task, batch = drawn(name)
    other = task.sample(jax.random.key(1), B)
    steps = len(batch.targets)
    readout = np.zeros((task.length, B, task.output_size), np.float32)
    for step in range(-steps, 0):
        seen, shown = np.asarray(batch.inputs[step]), np.asarray(other.inputs[step])
        if name in ("adding", "multiplication"):
            marked = (seen[:, 1] == 1, shown[:, 1] == 1)
            targets = batch.targets[step, :, 0]
            readout[step, ~marked[1], 0] = targets[~marked[0]].mean()
            line = np.polyfit(seen[marked[0], 0], targets[marked[0]], 1)
            readout[step, marked[1], 0] = np.polyval(line, shown[marked[1], 0])
            continue
        _, kinds = np.unique(np.concatenate([seen, shown]), axis=0, return_inverse=True)
        kinds, shown_kinds = kinds.ravel()[:B], kinds.ravel()[B:]
        counts = np.zeros((kinds.max() + 2, task.output_size)) + 1e-3
        np.add.at(counts, (kinds, batch.targets[step]), 1)
        readout[step] = np.log(counts / counts.sum(1, keepdims=True))[np.minimum(shown_kinds, len(counts) - 1)]
    loss = task.loss(jnp.asarray(readout), other)
    np.testing.assert_allclose(loss, task.memoryless, rtol=0.05, atol=1e-3)


def test_memoryless_is_below_chance_where_the_last_input_is_of_use():
    assert TASKS["adding"](50).memoryless == pytest.approx(1 / 6 - 1 / 300)
    assert TASKS["adding"](2).memoryless == pytest.approx(1 / 12)  # the second number is the last one
    grid = (np.arange(2000) + 0.5) / 2000
    given = np.mean(grid**2) * np.var(grid)
    assert TASKS["multiplication"](2).memoryless == pytest.approx(given, rel=1e-5)
    assert [TASKS[name](1).memoryless for name in ("parity", "random_permutation", "latching")] == [0, 0, 0]


def test_chance_of_sum_and_product_is_their_variance():
    grid = (np.arange(2000) + 0.5) / 2000
    first, second = grid[:, None], grid
    np.testing.assert_allclose(TASKS["adding"](T).chance, np.var(first + second), rtol=1e-6)
    np.testing.assert_allclose(TASKS["multiplication"](T).chance, np.var(first * second), rtol=1e-6)


def test_chance_falls_with_the_lag_where_most_steps_need_no_memory():
    assert TASKS["copy_memory"](100).chance == pytest.approx(10 * math.log(8) / 120)
    assert TASKS["latching"](100).chance == pytest.approx(math.log(2) / 100)
    assert {TASKS[name](100).chance for name in ("parity", "patterns", "random_permutation")} == {math.log(2)}


# What is shown


def test_two_steps_are_marked_uniformly_one_in_each_half(drawn):
    for name in ("adding", "multiplication"):
        _, batch = drawn(name)
        values, markers = batch.inputs[..., 0], batch.inputs[..., 1]
        assert set(np.unique(markers)) == {0, 1}
        assert (markers[: T // 2].sum(0) == 1).all()
        assert (markers[T // 2 :].sum(0) == 1).all()
        near_uniform(markers.sum(1) / B, 2 / T)
        assert values.min() >= 0
        assert values.max() <= 1
        np.testing.assert_allclose(np.sort(values.ravel()), np.linspace(0, 1, values.size), atol=0.01)


def near_uniform(frequencies, expected):
    """Five standard deviations of a count of B."""
    np.testing.assert_allclose(frequencies, expected, atol=5 * math.sqrt(expected * (1 - expected) / B))


@pytest.mark.parametrize(("deciding", "tenths"), [(2, (1, 5)), (3, (1, 3, 6))])
@pytest.mark.parametrize("length", [20, 57])
def test_relevant_symbols_come_in_their_tenths_among_four_others(deciding, tenths, length):
    task = temporal_order(length, deciding)
    batch = task.sample(KEY, B)
    symbols = symbols_of(np.asarray(batch.inputs))
    is_relevant = symbols < 2
    assert (is_relevant.sum(0) == deciding).all()
    seen = set(np.flatnonzero(is_relevant.any(1)))
    assert seen == {tenth * length // 10 + step for tenth in tenths for step in range(length // 10)}
    near_uniform(np.bincount(batch.targets[0]) / B, 1 / 2**deciding)
    others = np.bincount(symbols[~is_relevant])[2:]
    np.testing.assert_allclose(others / others.sum(), 1 / 4, atol=0.01)


def test_copy_memory_is_symbols_silence_a_delimiter_and_ten_blanks_more(drawn):
    _, batch = drawn("copy_memory")
    symbols = symbols_of(batch.inputs)
    assert len(symbols) == T + 20
    assert (symbols[10 : T + 9] == 8).all()
    assert (symbols[T + 9] == 9).all()
    assert (symbols[T + 10 :] == 8).all()
    for row in symbols[:10]:
        near_uniform(np.bincount(row, minlength=8) / B, 1 / 8)
    assert np.abs(np.corrcoef(symbols[:10]) - np.eye(10)).max() < 0.1


def test_latching_has_two_sequences_that_differ_at_their_ends(drawn):
    _, batch = drawn("latching")
    sequences = np.concatenate([symbols_of(batch.inputs), batch.targets[-1:]])
    between = list(range(T - 1))
    assert {tuple(column) for column in sequences.T} == {(y, *between, y) for y in (T - 1, T)}
    near_uniform(np.bincount(sequences[0])[-2:] / B, 1 / 2)


def test_a_random_permutation_has_98_symbols_between_and_none_twice_as_often(drawn):
    _, batch = drawn("random_permutation")
    symbols = symbols_of(batch.inputs)
    near_uniform(np.bincount(symbols[0]) / B, 1 / 2)
    counts = np.bincount(symbols[1:].ravel(), minlength=100)
    assert (counts[:2] == 0).all()
    np.testing.assert_allclose(counts[2:] / counts.sum(), 1 / 98, rtol=0.25)


def test_patterns_are_a_name_some_characters_and_a_full_stop(drawn):
    _, batch = drawn("patterns")
    texts = [text_of(batch.inputs[:, example]) for example in range(B)]
    stripped = [text.lstrip("_") for text in texts]
    assert {text[:4] for text in stripped} == {*WOMEN, *MEN}
    assert {text.index(".") for text in stripped} == {4 + between for between in range(1, T + 1)}
    assert {len(text) for text in texts} == {T + 5}
    assert all(text.endswith(".") and text.count(".") == 1 and "_" not in text for text in stripped)
    assert set("".join(text[4:-1] for text in stripped)) == set("abcdefghijklmnopqrstuvwxyz ")
    near_uniform(np.mean(batch.targets), 1 / 2)


def test_test_digits_are_never_trained_on_and_silence_follows_the_last_pixel():
    pytest.importorskip("sklearn", reason="scikit-learn, which has the digits, is not installed: rnnjax[data]")
    task = sequential_digits(70)
    trained, tested = task.sample(KEY, 20_000), task.sample_test(KEY, 20_000)
    images = [{tuple(image) for image in np.asarray(part.inputs)[..., 0].T} for part in (trained, tested)]
    assert [len(part) for part in images] == [1437, 360]
    assert not images[0] & images[1]
    assert not np.asarray(trained.inputs)[64:].any()
    assert np.asarray(trained.inputs).max() == 1


# As functions


def equal(one, other):
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(one, other, strict=True))


@each_task
def test_batches_follow_the_key_alone_compiled_or_not_or_many_at_once(name, drawn):
    task, batch = drawn(name)
    assert equal(task.sample(KEY, B), batch)
    assert not equal(jax.jit(task.sample, static_argnums=1)(jax.random.key(1), B), batch)
    keys = jax.random.split(KEY, 3)
    many = jax.vmap(lambda key: task.sample_test(key, 4))(keys)
    for number, key in enumerate(keys):
        assert equal(jax.tree.map(lambda leaf, n=number: leaf[n], many), task.sample_test(key, 4))


@each_task
def test_numbers_are_of_the_default_precision(name, drawn):
    task, batch = drawn(name)
    with jax.enable_x64(True):
        wide = jax.eval_shape(lambda key: task.sample(key, 2), jax.random.key(0))
    for short, long in zip(batch, wide, strict=True):
        assert not long.weak_type
        if np.issubdtype(short.dtype, np.floating):
            assert (short.dtype, long.dtype) == (np.dtype("float32"), np.dtype("float64"))
        else:
            assert np.issubdtype(long.dtype, np.integer)
    assert np.issubdtype(wide.inputs.dtype, np.floating)


def test_errors_say_what_was_expected():
    check(ValueError, ["unknown task 'ading'", "did you mean 'adding'"], lambda: task_named("ading"))
    check(ValueError, ["length is 1", "at least 2"], lambda: adding(1))
    check(TypeError, ["lag is 2.5", "whole number"], lambda: TASKS["copy_memory"](2.5))
    check(ValueError, ["length is 9", "at least 10"], lambda: temporal_order(9))
    check(ValueError, ["relevant is 4", "2 or 3"], lambda: temporal_order(20, 4))
    check(ValueError, ["length is 63", "at least 64"], lambda: sequential_digits(63))


def test_without_scikit_learn_digits_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    check(ImportError, ["scikit-learn", "pip install 'rnnjax[data]'"], sequential_digits)
