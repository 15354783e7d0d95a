"""The arithmetic experiment: its numbers against Python's, networks set by hand on all inputs, its report, a run."""

import json
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rnnjax
from experiments.arithmetic import config as settings
from experiments.arithmetic import hand_set, learning, needs, networks, problems, reading, report
from experiments.arithmetic.main import plan
from experiments.arithmetic.problems import ADDITION, AUTOMATA, PARITY, PROBLEMS, Questions
from tests.experiments.runs import check_drawn, check_page, quick_run
from tests.experiments.undrawn import laid_out

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the quick variant, and what it printed."""
    return quick_run(tmp_path_factory, "arithmetic")


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "arithmetic")


def integers(digits: np.ndarray) -> list[int]:
    """What digits (T, B), lowest first, are as Python's whole numbers."""
    return [int("".join(map(str, column[::-1])), 2) for column in np.asarray(digits).T.astype(int)]


# What is asked


@given(bits=st.lists(st.integers(1, 90), min_size=3, max_size=3), seed=st.integers(0, 99))
def test_sums_are_those_of_pythons_whole_numbers_at_any_length(bits: list[int], seed: int) -> None:
    questions = PROBLEMS["addition"].questions(jax.random.key(seed), jnp.array(bits), 90)
    digits = np.asarray(questions.inputs) > 0
    first, second, sums = (integers(each) for each in (digits[..., 0], digits[..., 1], questions.answers))
    assert [a + b for a, b in zip(first, second, strict=True)] == sums
    assert all(max(a, b) < 2**n for a, b, n in zip(first, second, bits, strict=True))
    assert np.asarray(questions.asked).sum(axis=0).tolist() == [n + 1 for n in bits]


@pytest.mark.parametrize("name", ["parity", "parity_at_once"])
def test_parity_is_asked_of_all_digits_at_the_last_of_them_alone(name: str) -> None:
    bits = jnp.array([1, 7, 33, 40])
    questions = PROBLEMS[name].questions(KEY, bits, 40)
    ones = (np.asarray(questions.inputs[..., 0]) == 1).cumsum(axis=0)
    np.testing.assert_array_equal(questions.answers, ones % 2)
    assert np.argwhere(np.asarray(questions.asked).T).tolist() == [[0, 0], [1, 6], [2, 32], [3, 39]]
    assert np.abs(np.asarray(questions.inputs[..., 0])).sum(axis=0).tolist() == bits.tolist()  # and nothing after it


def test_operands_come_one_after_the_other_and_are_followed_by_their_sum() -> None:
    bits = [1, 3, 5, 5]
    questions = PROBLEMS["operands_first"].questions(KEY, jnp.array(bits), 5)
    for example, n in enumerate(bits):
        inputs, asked = np.asarray(questions.inputs[:, example]), np.asarray(questions.asked[:, example])
        digits, plus, equals, answering = inputs.T
        assert (np.flatnonzero(plus), np.flatnonzero(equals)) == (n, 2 * n + 1)
        assert np.flatnonzero(asked).tolist() == np.flatnonzero(answering).tolist() == list(range(2 * n + 2, 3 * n + 3))
        assert set(digits[:n]) | set(digits[n + 1 : 2 * n + 1]) <= {-1.0, 1.0}
        assert not digits[[n, 2 * n + 1]].any()
        assert not inputs[3 * n + 3 :].any()
        first, second = integers(digits[:n, None] > 0), integers(digits[n + 1 : 2 * n + 1, None] > 0)
        assert integers(np.asarray(questions.answers[:, example])[asked, None]) == [first[0] + second[0]]


def test_lengths_are_all_the_longest_or_each_up_to_it_as_often() -> None:
    longest = jnp.int32(4)
    assert set(PROBLEMS["addition"].lengths(KEY, 50, longest).tolist()) == {4}
    assert set(PROBLEMS["parity_at_once"].lengths(KEY, 50, longest).tolist()) == {4}
    _, counts = np.unique(PROBLEMS["parity"].lengths(KEY, 4000, longest), return_counts=True)
    assert len(counts) == 4
    assert abs(counts - 1000).max() < 150


@pytest.mark.parametrize("name", AUTOMATA)
def test_the_first_digit_of_a_chain_decides_the_last_answer(name: str) -> None:
    automaton = AUTOMATA[name]
    digits = automaton.chains(KEY, 30, 5)
    changed = digits.at[0].set(jnp.where(digits[0] == 1, 0, 1))
    last, other = (problems.read(automaton, each)[1][-1] for each in (digits, changed))
    assert (np.asarray(last) != np.asarray(other)).all()


# Networks set by hand


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in hand_set.BUILT if "adder" in name])
def test_an_adder_set_by_hand_adds_all_pairs_of_numbers_of_ten_bits(name: str) -> None:
    """A million sums, all at once, against NumPy's."""
    _, cell, network = hand_set.hand_set(name)
    first, second = (each.ravel() for each in np.meshgrid(np.arange(1024), np.arange(1024)))
    places = np.arange(11)[:, None]
    inputs = 2.0 * np.stack([first >> places & 1, second >> places & 1], axis=-1) - 1
    logits = jax.jit(networks.recurrent(cell, 2).logits)(network, jnp.asarray(inputs, jnp.float32))
    np.testing.assert_array_equal(np.asarray(logits) > 0, (first + second) >> places & 1)


@pytest.mark.parametrize("name", [name for name in hand_set.BUILT if "counter" in name])
def test_a_counter_set_by_hand_has_the_parity_of_all_numbers_of_ten_bits_with_one_unit(name: str) -> None:
    _, cell, network = hand_set.hand_set(name)
    number, places = np.arange(1024), np.arange(10)[:, None]
    digits = number >> places & 1
    logits = networks.recurrent(cell, 1).logits(network, jnp.asarray(2.0 * digits[..., None] - 1, jnp.float32))
    np.testing.assert_array_equal(np.asarray(logits) > 0, digits.cumsum(axis=0) % 2)
    assert logits[-1, 1023] < 0  # ten ones
    assert jax.tree.leaves(cell.initial_state(network.recurrent, ()))[0].shape == (1,)


@pytest.mark.parametrize("name", hand_set.BUILT)
def test_the_experiment_counts_no_wrong_number_among_them_and_all_where_the_readout_is_turned(name: str) -> None:
    problem, cell, network = hand_set.hand_set(name)
    assert reading.wrong_of_all(AUTOMATA[problem], cell, network, 4) == 0
    turned = network._replace(readout=jax.tree.map(jnp.negative, network.readout))
    assert reading.wrong_of_all(AUTOMATA[problem], cell, turned, 4) == 4**4 if problem == "addition" else 2**4


@pytest.mark.slow
def test_a_straight_network_keeps_its_gradient_and_a_saturated_one_loses_the_factor_that_its_slope_says() -> None:
    slope = 2 * (1 - hand_set.REST**2)  # of tanh(2 h) where it is h
    assert np.tanh(2 * hand_set.REST) == pytest.approx(hand_set.REST, abs=1e-4)
    for name in hand_set.BUILT:
        problem, cell, network = hand_set.hand_set(name)
        norms = np.asarray(reading.gradient_norms(AUTOMATA[problem], cell, network, KEY, 20, 1))
        factors = norms[:-2] / norms[1:-1]
        if name.startswith("straight"):
            np.testing.assert_allclose(factors, 1, rtol=1e-6)
        elif problem == "addition":
            np.testing.assert_allclose(factors[:-3], slope, rtol=0.1)
        else:
            ones = np.asarray(PARITY.chains(KEY, 20, 1))[1:-1, 0, 0] == 1
            np.testing.assert_allclose(factors, np.where(ones, slope, 1), rtol=0.01)


@pytest.mark.slow
def test_noise_on_the_state_is_put_right_by_a_saturated_network_and_not_by_a_straight_one() -> None:
    shares = {}
    for name in hand_set.BUILT:
        problem, cell, network = hand_set.hand_set(name)
        arguments = (AUTOMATA[problem], cell, network, KEY)
        quiet, loud = (reading.right_at_the_end(*arguments, jnp.float32(noise), 1000, 200) for noise in (0.0, 0.03))
        assert quiet == 1
        shares[name] = float(loud)
    assert min(share for name, share in shares.items() if name.startswith("saturated")) > 0.99
    assert max(share for name, share in shares.items() if name.startswith("straight")) < 0.85


# Reading


@pytest.mark.parametrize("name", AUTOMATA)
def test_a_number_read_in_pieces_has_as_many_wrong_answers_as_one_read_at_once_beside_pythons(name: str) -> None:
    automaton, bits, count = AUTOMATA[name], 2 * reading.PIECE + 37, 7
    cell = rnnjax.gru(3)
    model = networks.recurrent(cell, automaton.digits)
    network = model.init(jax.random.key(3))
    read = reading.read_online(automaton, cell, network, KEY, jnp.int32(bits), count)

    shape = (reading.PIECE, count, automaton.digits)
    drawn = [
        problems.draw(jax.random.fold_in(KEY, piece), shape, jnp.full((count,), bits), piece * reading.PIECE)
        for piece in range(3)
    ]
    steps = bits + automaton.extra
    digits = np.concatenate(drawn)[:steps]
    assert 0.45 < digits[:bits].mean() < 0.55
    logits = np.asarray(model.logits(network, problems.signs(jnp.asarray(digits))))
    if name == "addition":
        sums = [sum(pair) for pair in zip(integers(digits[..., 0]), integers(digits[..., 1]), strict=True)]
        answers = np.array([[number >> place & 1 for number in sums] for place in range(steps)])
    else:
        answers = digits[..., 0].cumsum(axis=0) % 2
    wrong = (logits > 0) != (answers == 1)
    assert wrong.any(axis=0).all()
    np.testing.assert_array_equal(read.wrong, wrong.sum(axis=0))
    np.testing.assert_array_equal(read.first, wrong.argmax(axis=0))


def test_a_perfect_network_reads_to_the_end() -> None:
    _, cell, network = hand_set.hand_set("straight_adder")
    read = reading.read_online(ADDITION, cell, network, KEY, jnp.int32(250), 3)
    assert (read.wrong.tolist(), read.first.tolist()) == ([0, 0, 0], [251, 251, 251])


@pytest.mark.slow
@pytest.mark.parametrize("name", AUTOMATA)
def test_gradient_norms_are_of_the_last_answer_with_respect_to_each_state(name: str) -> None:
    """Against the gradient with respect to a zero added to one state after the other."""
    automaton, cell = AUTOMATA[name], rnnjax.lstm(3)
    network = networks.recurrent(cell, automaton.digits).init(KEY)
    digits = automaton.chains(KEY, 6, 4)
    inputs, answers = problems.signs(digits), problems.read(automaton, digits)[1][-1]

    def last_loss(perturbation: Any) -> jax.Array:
        _, outputs = rnnjax.unroll(cell, network.recurrent, inputs, perturbation=perturbation)
        readout = network.readout["params"]
        logits = (outputs[-1] @ readout["kernel"])[:, 0] + readout["bias"][0]
        return jnp.log1p(jnp.exp(jnp.where(answers == 1, -logits, logits))).mean()

    zeros = jax.tree.map(lambda leaf: jnp.zeros((6, *leaf.shape)), cell.initial_state(network.recurrent, (4,)))
    adjoints = jax.tree.leaves(jax.grad(last_loss)(zeros))
    expected = np.sqrt(sum((np.asarray(adjoint) ** 2).sum((1, 2)) for adjoint in adjoints))
    norms = reading.gradient_norms(automaton, cell, network, KEY, 6, 4)
    np.testing.assert_allclose(norms, expected, rtol=1e-5)


# The MLP, loss and training


def test_an_mlp_sees_nothing_where_a_number_has_ended() -> None:
    model = networks.fully_connected(5, window=6, input_size=2, outputs=7)
    params = model.init(KEY)
    hidden, readout = (jax.tree.map(np.asarray, layer["params"]) for layer in params)
    inputs = problems.signs(problems.draw(KEY, (3, 4, 2), jnp.full((4,), 3)))
    window = np.zeros((4, 6, 2))
    window[:, :3] = np.moveaxis(np.asarray(inputs), 0, 1)
    units = np.tanh(window.reshape(4, 12) @ hidden["kernel"] + hidden["bias"])
    expected = units @ readout["kernel"] + readout["bias"]
    np.testing.assert_allclose(model.logits(params, inputs), expected.T[:3], rtol=1e-5, atol=1e-6)
    assert networks.count_weights(params) == 12 * 5 + 5 + 5 * 7 + 7


def test_an_mlp_of_which_some_units_are_used_has_no_others_and_its_readout_is_drawn_for_them() -> None:
    wide, narrow = (networks.fully_connected(400, 3, 1, 1, used) for used in (400, 100))
    inputs = problems.signs(problems.draw(KEY, (3, 2, 1), jnp.full((2,), 3)))
    params = narrow.init(KEY)
    gradient = jax.grad(lambda params: narrow.logits(params, inputs).sum())(params)
    assert np.asarray(gradient[1]["params"]["kernel"])[:, 0].astype(bool).tolist() == [True] * 100 + [False] * 300
    deviations = [float(model.init(KEY)[1]["params"]["kernel"].std()) for model in (wide, narrow)]
    np.testing.assert_allclose(deviations, [1 / 20, 1 / 10], rtol=0.1)


def test_loss_and_wrong_answers_are_of_what_is_asked_alone() -> None:
    logits = jnp.array([[2.0, -1.0], [3.0, 0.5]])
    questions = Questions(logits, jnp.array([[1, 1], [0, 1]]), jnp.array([[True, True], [True, False]]))
    expected = np.mean([np.log1p(np.exp(-2.0)), np.log1p(np.exp(1.0)), np.log1p(np.exp(3.0))])
    np.testing.assert_allclose(networks.loss(logits, questions), expected, rtol=1e-6)
    assert networks.wrong(logits, questions).tolist() == [[False, True], [True, False]]


@pytest.mark.slow
def test_numbers_grow_by_a_bit_after_a_batch_without_an_error_up_to_the_longest() -> None:
    config = settings.get_config("quick")
    config.learning_rate = 1e-6
    _, cell, network = hand_set.hand_set("straight_counter")
    model = networks.recurrent(cell, 1)
    turned = network._replace(readout=jax.tree.map(jnp.negative, network.readout))
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its floats with its counts
        for params, expected in ((network, [3, 4, 4]), (turned, [2, 2, 2])):
            state, grown = learning.initial_state(params, 2, config), []
            for _ in range(3):
                state = learning.train_step(model, PROBLEMS["parity"], 4, config, KEY, state)
                grown.append(int(state.longest))
            assert (grown, int(state.step)) == (expected, 3)


def test_what_is_needed_is_sought_by_doubling_until_it_suffices_or_there_is_no_more() -> None:
    found = needs.until_enough("units", 10, lambda count: 0.0 if count >= 4 else 0.5)
    assert [(record["count"], record["wrong"]) for record in found] == [(1, 0.5), (2, 0.5), (4, 0.0)]
    assert [record["count"] for record in needs.until_enough("units", 10, lambda _: 1.0)] == [1, 2, 4, 8, 10]


@pytest.mark.parametrize(("automaton", "asked"), [(ADDITION, 4), (PARITY, 1)])
def test_what_is_needed_is_tested_on_every_number_once(automaton: problems.Automaton, asked: int) -> None:
    questions = needs.all_questions(automaton, 3)
    count = 2 ** (3 * automaton.digits)
    assert len({tuple(number.ravel().tolist()) for number in np.moveaxis(np.asarray(questions.inputs), 1, 0)}) == count
    assert np.asarray(questions.asked).sum(axis=0).tolist() == [asked] * count


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"addition": "elman"}, "--config.addition has 'elman': expected CELL-UNITS or mlp-UNITS, as in elman-8"),
        ({"parity": "gru-0"}, "--config.parity has 'gru-0': expected"),
        ({"parity": "gruu-8"}, "gru"),
        ({"operands_first": "mlp-8"}, "--config.operands_first has mlp-8: expected a cell"),
        ({"window": 5}, "--config.window is 5: expected at least the 8 bits of training"),
        ({"hand_set": "adder"}, "straight_adder"),
        ({"needs_recurrent": "elman"}, "--config.needs_recurrent has 'elman'"),
        ({"needs_parity": "0"}, "--config.needs_parity is '0': expected positive whole numbers"),
        ({"evaluate_every": 7}, "expected a multiple of --config.evaluate_every=7"),
        ({"needs_addition": "2,13"}, "--config.needs_addition has 13: expected at most 12 bits in addition"),
        ({"all_bits": 20}, "--config.all_bits has 20: expected at most 12 bits in addition"),
        ({"noise": 0.0}, "--config.noise is 0.0: expected a positive number"),
    ],
)
def test_a_field_that_cannot_be_is_refused_by_its_name(change: dict[str, Any], words: str) -> None:
    config = settings.get_config("quick")
    config.update(change)
    with pytest.raises(ValueError, match=re.escape(words)):
        plan(config)


def test_fields_that_may_be_empty_leave_out_what_they_name() -> None:
    config = settings.get_config("quick")
    config.update({"parity": "", "parity_at_once": "", "operands_first": "", "hand_set": "", "needs_parity": ""})
    config.update({"needs_addition": ""})
    assert {run.program.network for run in plan(config)} == {"elman-8", "mlp-16"}
    config.addition = ""
    with pytest.raises(ValueError, match="there is nothing to do"):
        plan(config)


# Reports of known records


def known() -> list[dict[str, Any]]:
    """A cell with one seed of two exact at 100 bits, an MLP at chance, and an adder set by hand."""

    def run(work: str, network: str, longest: int, seed: int, *records: dict[str, Any]) -> list[dict[str, Any]]:
        identity = {"run": f"{network}-{longest}-{seed}", "problem": "addition", "network": network, "seed": seed}
        return [{**identity, "work": work, "longest": longest, **record} for record in records]

    def tested(bits: int, wrong: int, right: float, **more: Any) -> dict[str, Any]:
        return {"kind": "test", "bits": bits, "numbers": 10, "wrong": wrong, "right": right, "weights": 97, **more}

    def flow(phase: str, factor: float) -> dict[str, Any]:
        return {"kind": "state_gradient", "phase": phase, "norms": [factor ** (5 - t) for t in range(6)]}

    records = []
    for seed, wrong in enumerate((0, 5)):
        online = {"kind": "online", "bits": 1000, "wrong": wrong, "first_wrong": 1001 - wrong}
        chains = [{"kind": "chain", "steps": 300, "noise": 0.1 * n, "right": 1 - 0.1 * n * seed} for n in (0, 1)]
        both = (flow("initialization", 0.9), flow("trained", 0.1 if seed == 0 else 1.0))
        tests = (tested(8, 0, 1.0), tested(100, wrong, 1 - wrong / 1000))
        records += run("recurrent", "elman-8", 8, seed, *both, *tests, online, *chains)
        seen = (tested(8, 2, 0.9, beyond=None), tested(16, 10, 0.7, beyond=0.5 + 0.01 * seed))
        records += run("mlp", "mlp-128", 8, seed, *seen)
        for bits, enough in ((2, 16), (3, 64)):
            tries = [{"of": "examples", "count": count, "wrong": 0.5} for count in (1, enough // 2)]
            tries += [{"of": "examples", "count": enough, "wrong": 0.01}]
            tries += [{"of": "units", "count": 4, "wrong": 0.0 if bits == 2 else 0.2, "weights": 35}]
            records += run("needs", "mlp-4", bits, seed, *({"kind": "need", **each} for each in tries))
    whole = {"kind": "all", "numbers": 4**10, "wrong": 0}
    chains = [{"kind": "chain", "steps": 300, "noise": 0.1 * n, "right": 1 - 0.5 * n} for n in (0, 1)]
    end = (tested(100, 0, 1.0), {"kind": "online", "bits": 1000, "wrong": 0, "first_wrong": 1001})
    return records + run("hand_set", "straight_adder", 10, 0, whole, flow("hand_set", 1.0), *end, *chains)


def test_verdict_of_known_records() -> None:
    after = "with noise N(0, 0.1²) added to the state at each of 300 steps,"
    assert report.verdict(known()).splitlines() == [
        "That a recurrent network that learned from short numbers works at any length, and an MLP does not, holds for "
        "50 % of the recurrent networks: 1/2 recurrent networks have no error at 100 bits, 0/2 MLPs have no error at "
        "16 bits.",
        "Addition, learned from numbers of at most 8 bits, is done without an error by this share of the seeds: "
        "elman-8 1/2 at 100 bits, 1/2 in one number of 1,000 bits, 2/2 in chains of 300 steps; mlp-128 0/2 at 16 bits "
        "(80 % of the numbers of 8 bits and 90 % of their answers are right; at steps beyond those it was trained on, "
        "50 to 51 % of its answers are right).",
        "Addition, mlp-4 needs examples: 16 at 2 bits and 64 at 3 bits; units: 4 at 2 bits and none at 3 bits.",
        "1/1 of the networks set by hand are exact on all numbers of at most 10 bits.",
        "Addition, learned and exact (1 network): the norm of the gradient at the first of 6 steps is 10^-5.0 times "
        f"that at the last; {after} 100 % of the last answers are right.",
        "Addition, learned, not exact (1 network): the norm of the gradient at the first of 6 steps is 10^+0.0 times "
        f"that at the last; {after} 90 % of the last answers are right.",
        "Straight adder (1 network): the norm of the gradient at the first of 6 steps is 10^+0.0 times that at the "
        f"last; {after} 50 % of the last answers are right.",
    ]


def test_tables_of_known_records() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in report.table(known()).splitlines()]
    lengths = ["8 bits", "16 bits", "100 bits"]
    assert rows[0] == [
        "problem",
        "network",
        "weights",
        *lengths,
        "one number of 1,000 bits",
        "chains of 300 steps",
        "right answers at the longest",
    ]
    assert rows[2:] == [
        ["addition", "elman-8", "97", "2/2", "-", "1/2", "1/2", "2/2", "99.5 to 100 %"],
        ["addition", "mlp-128", "97", "0/2", "0/2", "-", "-", "-", "70 %"],
        ["addition", "straight adder", "97", "-", "-", "1/1", "1/1", "1/1", "100 %"],
    ]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in report.needs_table(known()).splitlines()]
    assert rows[0] == ["problem", "N", "all numbers", "mlp-4: examples", "mlp-4: units", "mlp-4: weights"]
    assert rows[2:] == [["addition", "2", "16", "16", "4", "35"], ["addition", "3", "64", "64", "none", "none"]]


def test_figures_show_shares_needs_and_gradients() -> None:
    figure = report.right_by_length(known())
    assert figure is not None
    above, below = figure.axes
    assert "addition: elman-8 1/2 at 100 bits, mlp-128 0/2 at 16 bits" in figure.get_suptitle()
    np.testing.assert_allclose(above.lines[0].get_xydata(), [[8, 100], [100, 75]])
    np.testing.assert_allclose(below.lines[0].get_xydata(), [[8, 100], [100, 99.75]])
    np.testing.assert_allclose(below.lines[1].get_xydata(), [[8, 90], [16, 70]], rtol=1e-6)

    figure = report.needs_by_bits(known())
    assert figure is not None
    examples, weights = figure.axes
    np.testing.assert_allclose(examples.lines[0].get_xydata(), [[2, 16], [3, 64]])
    np.testing.assert_allclose(examples.lines[1].get_xydata(), [[2, 16], [3, 64]] * 2)  # of both seeds
    np.testing.assert_allclose(examples.lines[2].get_xydata(), [[2, 16], [3, 64]])  # all numbers there are
    np.testing.assert_allclose(weights.lines[0].get_xydata(), [[2, 35], [3, np.nan]])

    figure = report.gradient_by_lag(known())
    assert figure is not None
    by_hand, learned = figure.axes
    assert [axes.get_title(loc="left") for axes in (by_hand, learned)] == ["addition, set by hand", "addition, learned"]
    np.testing.assert_allclose(by_hand.lines[0].get_ydata(), np.zeros(6), atol=1e-6)
    np.testing.assert_allclose(learned.lines[-1].get_ydata(), -0.5 * np.arange(6), atol=1e-6)
    told = figure.get_suptitle().replace("\n", " ")
    assert "Straight adder: $10^{+0.0}$; addition, learned and exact: $10^{-5.0}$" in told


@pytest.mark.parametrize(
    ("work", "figures", "words"),
    [
        ("recurrent", ["right_by_length", "gradient_by_lag"], "elman-8 1/2 at 100 bits"),
        ("mlp", ["right_by_length"], "mlp-128 0/2 at 16 bits"),
        ("needs", ["needs_by_bits"], "Addition, mlp-4 needs "),
        (
            "hand_set",
            ["gradient_by_lag"],
            "1/1 of the networks set by hand are exact on all numbers of at most 10 bits",
        ),
    ],
)
def test_where_one_kind_of_network_alone_is_asked_for_there_is_a_report_all_the_same(
    work: str, figures: list[str], words: str, tmp_path: Path
) -> None:
    records = [record for record in known() if record["work"] == work]
    assert [path.stem for path in laid_out(report.FIGURES, records, tmp_path)] == figures
    assert words in report.summary(records)


# End to end


def test_a_run_leaves_records_figures_and_a_summary(finished: tuple[Path, str]) -> None:
    workdir, printed = finished
    check_drawn(workdir, ("right_by_length", "needs_by_bits", "gradient_by_lag"))
    summary = (workdir / "summary.md").read_text()
    assert "Addition, learned from numbers of at most 8 bits, is done without an error by this share" in printed
    assert "| parity |" in summary.replace("  ", "")
    assert "4/4 of the networks set by hand are exact on all numbers of at most 4 bits." in summary
    assert "NaN" not in (workdir / "metrics.jsonl").read_text()


def test_a_short_training_finds_an_adder_that_is_exact_far_beyond_its_numbers(finished: tuple[Path, str]) -> None:
    records = [json.loads(line) for line in (finished[0] / "metrics.jsonl").read_text().splitlines()]
    of_elman = [record for record in records if record["run"].startswith("recurrent-addition-elman-8")]
    assert [record["error"] for record in of_elman if record.get("step") == 600] == [0.0, 0.0]
    assert [record["wrong"] for record in of_elman if record["kind"] == "test" and record["bits"] == 300] == [0, 0]
    assert {record["weights"] for record in of_elman if record["kind"] == "test"} == {2 * 8 + 8 * 8 + 8 + 8 + 1}
    assert [record["step"] for record in of_elman if record["kind"] == "evaluation"] == [0, 200, 400, 600] * 2


def test_parity_grows_with_what_has_been_learned_and_is_not_learned_from_long_numbers(
    finished: tuple[Path, str],
) -> None:
    records = [json.loads(line) for line in (finished[0] / "metrics.jsonl").read_text().splitlines()]
    longest: dict[str, list[float]] = {}
    for record in records:
        if record["kind"] == "evaluation":
            longest.setdefault(record["problem"], []).append(record["longest"])
    assert longest["parity"][0] == 2
    assert max(longest["parity"]) == 12
    assert set(longest["parity_at_once"]) == {12}
    errors = [r["error"] for r in records if r.get("step") == 600 and r["problem"] == "parity_at_once"]
    assert min(errors) > 0.3
