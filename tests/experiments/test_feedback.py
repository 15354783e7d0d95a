"""The feedback experiment: its source by enumeration, what is fed, the gradient by both ways, what a run leaves."""

import functools
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rnnjax
from experiments.feedback import config as settings
from experiments.feedback import exposure, flow, learning, model, professor, report, source
from experiments.feedback.data import draw, load
from experiments.feedback.feeding import FEEDBACKS, Feeding, regime_named, truth_of
from experiments.feedback.learning import TrainState, make_optimizer
from experiments.feedback.main import feeding_of, plan
from tests.answers import completed
from tests.experiments.logs import records_in
from tests.experiments.runs import check_drawn, check_page, quick_run
from tests.test_errors import check_refused

ROOT = Path(__file__).parents[2]
V, H = len(source.SYMBOLS), 5


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the quick variant, and what it printed."""
    return quick_run(tmp_path_factory, "feedback")


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "feedback")


NETWORK = model.make_network(H, V)


def params_of() -> Any:
    """Some, in 32 bits, with biases."""
    with jax.enable_x64(False):
        found = jax.jit(lambda key: NETWORK.cell.init(key, V))(jax.random.key(1))
        return jax.tree.map(lambda leaf: leaf + 0.3 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), found)


def texts(steps: int, count: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).integers(V, size=(steps, count)), jnp.int32)


# The source


def stack_probabilities(said: tuple[int, ...]) -> np.ndarray:
    """What comes next after these symbols, a Python list being the stack."""
    stack: list[int] = []
    for symbol in said:
        if symbol < 3 and len(stack) < source.DEPTH:
            stack.append(symbol)
        elif 3 <= symbol < 6 and stack:
            stack.pop()
    rule = np.zeros(V)
    rule[6:] = 0.3 / 2
    opens = 1 if not stack else 0 if len(stack) == source.DEPTH else 0.5
    rule[:3] += 0.7 * opens / 3
    if stack:
        rule[3 + stack[-1]] += 0.7 * (1 - opens)
    return 0.95 * rule + 0.05 / V


def test_probabilities_are_those_of_a_stack() -> None:
    said = np.array(source.draw(jax.random.key(3), 40, 6))
    said[:12, 0], said[:9, 1] = 1, 4  # fuller than it can be, and emptier
    found = source.read(jnp.asarray(said))
    for t, b in itertools.product(range(40), range(6)):
        np.testing.assert_allclose(found[t, b], stack_probabilities(tuple(said[:t, b])), rtol=1e-5)
    chosen = [-np.log(stack_probabilities(tuple(said[:t, 2]))[said[t, 2]]) for t in range(40)]
    np.testing.assert_allclose(source.nats(jnp.asarray(said))[:, 2], chosen, rtol=1e-5)


def test_entropies_are_those_of_all_texts_there_are() -> None:
    steps = 4
    every = np.array(list(itertools.product(range(V), repeat=steps))).T
    nats = np.asarray(source.nats(jnp.asarray(every, jnp.int32)), np.float64)
    probabilities = np.exp(-nats.sum(axis=0))
    np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(source.entropies(steps), (probabilities * nats).sum(axis=1), rtol=1e-5)
    for step in range(steps):
        marginal = np.bincount(every[step], weights=probabilities)
        entropy = -(marginal * np.log(marginal)).sum()
        np.testing.assert_allclose(source.marginal_entropies(steps)[step], entropy, rtol=1e-5)


def test_long_texts_have_the_entropy_that_the_depths_predict() -> None:
    said = source.draw(jax.random.key(4), 100, 400)
    found = np.asarray(source.nats(said)).mean(axis=0)
    assert abs(found.mean() - source.entropies(100).mean()) < 4 * found.std() / np.sqrt(400)


def test_a_continuation_begins_with_its_prefix_and_goes_on_as_the_source_does() -> None:
    prefix = jnp.zeros((8, 4000), jnp.int32)
    said = np.asarray(source.continued(jax.random.key(5), prefix, 7))
    assert (said[:7] == 0).all()
    np.testing.assert_allclose(np.bincount(said[7], minlength=V) / 4000, stack_probabilities((0,) * 7), atol=0.03)


# What is fed


@pytest.mark.parametrize("least", [0.1, 0.5])
def test_schedules_fall_from_the_truth_to_what_is_asked_for(least: float) -> None:
    found = {name: truth_of(name, 400, least) for name in ("linear", "exponential", "inverse_sigmoid")}
    for values in found.values():
        assert (np.diff(values) < 0).all()
        assert values[0] > 0.97
        np.testing.assert_allclose(values[-1], least, atol=0.01)
    np.testing.assert_allclose(found["linear"][200], (1 + least) / 2)
    np.testing.assert_allclose(found["exponential"][200], np.sqrt(least), rtol=1e-6)
    k = found["inverse_sigmoid"][0] / (1 - found["inverse_sigmoid"][0])  # k / (k + 1) at the first step
    expected = k / (k + np.exp(np.arange(400) / k))
    np.testing.assert_allclose(found["inverse_sigmoid"], expected, rtol=1e-3)
    assert (truth_of("always", 3, least).tolist(), truth_of("never", 2, least).tolist()) == ([1, 1, 1], [0, 0])


def test_a_coin_is_thrown_for_each_token_or_for_each_sequence() -> None:
    def thrown(by_sequence: bool) -> np.ndarray:
        truth, whole = jnp.float32(0.3), jnp.array(by_sequence)
        return np.asarray(learning.flags_of(jax.random.key(0), truth, whole, (50, 400)))

    each, whole = thrown(False), thrown(True)
    assert (whole == whole[:1]).all()
    np.testing.assert_allclose(whole.mean(), 0.3, atol=0.1)
    np.testing.assert_allclose(each.mean(), 0.3, atol=0.02)
    assert np.abs(each.mean(axis=0) - 0.3).max() < 0.35


def stepwise(params: Any, given: np.ndarray) -> np.ndarray:
    """Logits of single steps of the library's cell, one after the other, fed with texts (T, B)."""
    state, found = NETWORK.cell.initial_state(params, (given.shape[1],)), []
    step = jax.jit(NETWORK.cell.step)
    for t in range(len(given)):
        x = np.zeros((given.shape[1], V), np.float32) if t == 0 else np.eye(V, dtype=np.float32)[given[t - 1]]
        state, logits = step(params, state, jnp.asarray(x))
        found.append(np.asarray(logits))
    return np.array(found)


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


@pytest.mark.slow
def test_the_training_loss_is_that_of_the_text_fed_or_of_the_networks_own_choice() -> None:
    params, tokens = params_of(), texts(9, 4)
    given = np.asarray(tokens)

    def loss_of(choice: str, truth: float) -> float:
        of_choice = functools.partial(learning.loss, NETWORK, choice)
        found = jax.jit(of_choice)(params, tokens, jnp.float32(truth), jnp.array(False), jax.random.key(0))
        return float(found)

    def nats(logits: np.ndarray) -> float:
        return float(-np.log(np.take_along_axis(softmax(logits), given[..., None], axis=-1)).mean())

    np.testing.assert_allclose(loss_of("sampled", 1.0), nats(stepwise(params, given)), rtol=1e-5)
    state, fed, found = NETWORK.cell.initial_state(params, (4,)), jnp.zeros((4, V)), []
    for _ in range(9):
        state, logits = jax.jit(NETWORK.cell.step)(params, state, fed)
        found.append(np.asarray(logits))
        fed = jax.nn.softmax(logits)
    np.testing.assert_allclose(loss_of("probabilities", 0.0), nats(np.array(found)), rtol=1e-5)


def test_a_network_that_is_sure_says_what_it_is_sure_of_after_what_it_has_read() -> None:
    params = params_of()
    params = (params[0], params[1]._replace(kernel=params[1].kernel * 1e4))
    before = texts(3, 4)
    said = np.asarray(model.say(NETWORK, params, jax.random.key(2), 6, before))
    whole = np.concatenate([np.asarray(before), said])
    np.testing.assert_array_equal(stepwise(params, whole).argmax(axis=-1)[3:], said)
    alone = np.asarray(model.say(NETWORK, params, jax.random.key(2), 6, model.nothing_before(2)))
    np.testing.assert_array_equal(stepwise(params, alone).argmax(axis=-1), alone)


# Exposure


def test_divergence_is_that_of_the_sources_probabilities_from_the_networks() -> None:
    params, tokens = params_of(), texts(12, 3)
    said = softmax(stepwise(params, np.asarray(tokens)).astype(np.float64))
    found = exposure.divergence(NETWORK, params, tokens)
    for t, b in itertools.product(range(12), range(3)):
        true = stack_probabilities(tuple(np.asarray(tokens)[:t, b]))
        np.testing.assert_allclose(found[t, b], (true * np.log(true / said[t, b])).sum(), rtol=1e-3, atol=1e-5)


def test_after_a_prefix_the_source_goes_on_from_just_that_one() -> None:
    nothing = jax.tree.map(jnp.zeros_like, params_of())  # says each symbol as often
    prefix = jnp.zeros((8, 5), jnp.int32)  # opening brackets
    found = exposure.after_prefix(NETWORK, nothing, prefix, (1, 3, 8), 2, jax.random.key(0))
    for row, length in enumerate((1, 3, 8)):
        true = stack_probabilities((0,) * length)
        np.testing.assert_allclose(found[row, 0], np.log(V) + (true * np.log(true)).sum(), rtol=1e-4)
    assert found.shape == (3, 2)


def test_characters_are_replaced_after_the_context_and_the_truth_follows() -> None:
    params, passages, lengths = params_of(), texts(3 + 4 + 2, 5), (2, 4)
    key = jax.random.key(7)
    found = exposure.after_replacement(NETWORK, params, passages, 3, lengths, 2, key)
    true = np.asarray(passages)
    own = np.asarray(model.say(NETWORK, params, key, 4, passages[:3]))
    for place, instead in enumerate((true[3:7], own, np.roll(true[3:7], 1, axis=1))):
        for row, length in enumerate(lengths):
            read = true.copy()
            read[3 : 3 + length] = instead[:length]
            probabilities = softmax(stepwise(params, read).astype(np.float64))
            nats = -np.log(np.take_along_axis(probabilities, true[..., None], axis=-1)[..., 0]).mean(axis=1)
            np.testing.assert_allclose(found[place, row], nats[3 + length : 5 + length], rtol=1e-4)


def test_distances_of_ngrams_are_those_of_counters() -> None:
    one, other = (np.asarray(texts(20, 6, seed)) for seed in (1, 2))
    for order in (1, 2, 3):
        counts = [
            Counter(tuple(column[t : t + order]) for column in each.T for t in range(20 - order + 1))
            for each in (one, other)
        ]
        total = 6 * (20 - order + 1)
        expected = sum(abs(counts[0][gram] - counts[1][gram]) for gram in {*counts[0], *counts[1]}) / total / 2
        np.testing.assert_allclose(exposure.distance(one, other, order, V), expected, rtol=1e-9)
    assert exposure.distance(one, one, 2, V) == 0
    np.testing.assert_allclose(exposure.distance(one * 0, one * 0 + 1, 2, V), 1)


# The gradient by both ways


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["probabilities", "outputs"])
def test_both_ways_together_are_the_gradient_of_a_loop_and_each_that_without_the_other(choice: str, x64: None) -> None:
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params_of())
    tokens, flags = texts(7, 3), jnp.broadcast_to(jnp.arange(7)[:, None] <= 3, (7, 3))
    of_state, of_output = flow.terms(NETWORK, choice, params, tokens, flags)
    choose = {"probabilities": jax.nn.softmax, "outputs": lambda outputs: outputs}[choice]
    gru = rnnjax.gru(H)

    def loss(added: jax.Array, by_output: bool) -> jax.Array:
        """Added to the hidden state of each step before all that is made of it."""
        state = gru.initial_state(params[0], (3,))
        fed, logits = jnp.zeros((3, V)), jnp.zeros((3, V))
        for t in range(7):
            if t:
                fed = jnp.where(flags[t][:, None], jax.nn.one_hot(tokens[t - 1], V), choose(logits))
            state, _ = gru.step(params[0], state, fed)
            hidden = state.hidden + added[t]
            state = state._replace(hidden=hidden)
            seen = hidden if by_output or t == 6 else hidden - added[t]
            logits = seen @ params[1].kernel + params[1].bias[None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[-1]).sum()

    whole = jax.grad(loss)(jnp.zeros((7, 3, H)), True)
    np.testing.assert_allclose((of_state + of_output)[:-1], whole[:-1], rtol=1e-9, atol=1e-14)
    alone = jax.grad(loss)(jnp.zeros((7, 3, H)), False)
    np.testing.assert_allclose(of_state[:-1], alone[:-1], rtol=1e-9, atol=1e-14)
    found = flow.ways(NETWORK, choice, params, tokens, flags)
    by_output, by_state = (np.linalg.norm(each[3:6], axis=-1) for each in (of_output, of_state))
    np.testing.assert_allclose(found.share[3:6], (by_output / (by_output + by_state)).mean(axis=1), rtol=1e-9)
    assert (found.share[:3] == 0).all()  # the truth was fed after these steps
    np.testing.assert_allclose(found.whole[:-1] ** 2, (whole**2).sum(axis=-1).mean(axis=1)[:-1], rtol=1e-9)


# Professor forcing


def discriminated_state(config: Any) -> TrainState:
    params, optimizer = params_of(), make_optimizer(config)
    discriminator = professor.init_discriminator(config.discriminator_size, H + V, jax.random.key(8))
    return TrainState(
        params, optimizer.init(params), (discriminator, optimizer.init(discriminator)), jnp.int32(0), jax.random.key(9)
    )


@pytest.fixture(scope="module")
def taught() -> dict[str, TrainState]:
    """One training step of the quick variant, with a discriminator that is heard or not, and learns or not."""
    config = settings.get_config("quick")
    config.hidden_size, found = H, {}
    state = discriminated_state(config)
    limits = {"learns": (-1.0, 2.0), "is right enough": (1.0, 0.0)}  # always heard and learning; neither of both
    for does, (heard_above, learns_below) in limits.items():
        with pytest.MonkeyPatch.context() as patch, jax.numpy_dtype_promotion("standard"):
            patch.setattr(professor, "HEARD_ABOVE", heard_above)
            patch.setattr(professor, "LEARNS_BELOW", learns_below)
            step = jax.jit(functools.partial(professor.train_steps, NETWORK, config))
            for say in (0.0, 5.0):
                feeding = Feeding(jnp.ones(1), jnp.array(False), jnp.float32(say))
                found[f"{does}, {say}"] = step(state, feeding, None)[0]
    return {"before": state, **found}


@pytest.mark.slow
def test_a_discriminator_that_is_not_heard_leaves_teacher_forcing(taught: dict[str, TrainState]) -> None:
    config = settings.get_config("quick")
    before, optimizer = taught["before"], make_optimizer(config)
    text_key, _ = jax.random.split(jax.random.fold_in(before.key, 0))
    tokens = draw(None, text_key, config.length, config.batch_size)
    of_params = jax.grad(lambda params: model.nats(model.forced(NETWORK, params, tokens), tokens).mean())
    gradient = jax.jit(of_params)(before.params)
    with jax.numpy_dtype_promotion("standard"):
        expected, _ = learning.moved(optimizer, before.params, before.optimizer, gradient)
    for name in ("learns, 0.0", "is right enough, 5.0"):
        for one, other in zip(jax.tree.leaves(taught[name].params), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    changes = [
        np.abs(one - other).max()
        for one, other in zip(jax.tree.leaves(taught["learns, 5.0"].params), jax.tree.leaves(expected), strict=True)
    ]
    assert max(changes) > 1e-3


def test_a_discriminator_learns_unless_it_is_right_enough(taught: dict[str, TrainState]) -> None:
    before = jax.tree.leaves(taught["before"].discriminator)
    for name, learns in (("learns, 0.0", True), ("learns, 5.0", True), ("is right enough, 5.0", False)):
        same = [np.array_equal(a, b) for a, b in zip(before, jax.tree.leaves(taught[name].discriminator), strict=True)]
        assert all(same) != learns


def test_a_behaviour_has_the_states_and_the_probabilities() -> None:
    params, tokens = params_of(), texts(6, 3)
    logits, behaviours = professor.behave(NETWORK, params, tokens)
    expected = stepwise(params, np.asarray(tokens))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(behaviours[..., H:], softmax(expected), rtol=1e-4)
    hidden = np.asarray(behaviours[..., :H])
    readout = jax.tree.map(np.asarray, params[1])
    np.testing.assert_allclose(hidden @ readout.kernel + readout.bias, expected, rtol=1e-4, atol=1e-5)


# Data


def test_passages_of_a_text_are_in_it_and_its_end_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("".join(chr(97 + i % 7) for i in range(900)) + "xyz" * 34)
    data = load(str(tmp_path / "text"), 1000, 12, 20)
    assert len(data.train) == 900
    assert len(data.held_out) == 100
    passages = np.asarray(draw(data.train, jax.random.key(0), 10, 30))
    said = ["".join(data.symbols[token] for token in column) for column in passages.T]
    assert all(each in "abcdefg" * 3 for each in said)
    with pytest.raises(ValueError, match=r"has 1,000 characters: expected at least 1,200"):
        load(str(tmp_path / "text"), 1000, 12, 60)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load(str(tmp_path / "none"), 1000, 12, 20)


# A run


def test_a_run_leaves_records_figures_and_a_summary(finished: tuple[Path, str]) -> None:
    workdir, printed = finished
    check_drawn(workdir, [make.__name__ for make in report.FIGURES])
    summary = (workdir / "summary.md").read_text()
    assert "brackets of 3 kinds, 8 symbols" in summary
    assert "2 seeds; 60 training steps" in summary
    assert "That teacher forcing converges faster is" in printed
    assert "NaN" not in (workdir / "metrics.jsonl").read_text()


def test_the_records_of_a_run_fit_together(finished: tuple[Path, str]) -> None:
    records = records_in(finished[0])
    regimes = settings.get_config("quick").regimes.split(",")
    assert len({record["run"] for record in records}) == 2 * len(regimes)
    first = {
        record["run"]: record["loss"] for record in records if record["kind"] == "evaluation" and not record["step"]
    }
    by_seed = {run[-1]: loss for run, loss in first.items()}
    for run, loss in first.items():
        assert loss == by_seed[run[-1]]  # all regimes start from the same networks
    for record in records:
        if record["kind"] == "network":
            np.testing.assert_allclose(record["held_out_entropy"], record["entropy"], atol=0.15)
        if record["kind"] == "distances":
            assert all(0 <= value <= 1 for value in record["own"] + record["floor"])
        if record["kind"] == "ways":
            whole, parts = np.array(record["whole"]), np.array(record["state"]) + np.array(record["output"])
            assert (whole[:-1] <= parts[:-1] * 1.001 + 1e-12).all()
            assert not any(record["output"][: len(whole) // 2])
        if record["kind"] == "free":
            assert min(record["divergence"] + record["divergence_true"]) > -1e-5


@pytest.mark.slow
def test_a_text_is_measured_by_what_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    flags = [f"--workdir={tmp_path / 'run'}", "--variant=quick", f"--config.data={tmp_path / 'text'}"]
    few = ["--config.regimes=teacher,sampled:never", "--config.seeds=1", "--config.train_steps=20"]
    done = completed("feedback", *flags, *few, drawn=False)
    assert done.returncode == 0, done.stderr
    rows = [record for record in records_in(tmp_path / "run") if record["kind"] == "prefix"]
    assert {tuple(sorted(row)) for row in rows} == {
        ("foreign", "kind", "length", "own", "regime", "run", "seed", "truth")
    }
    assert "of another passage" in (tmp_path / "run" / "summary.md").read_text()


# Settings


@pytest.mark.parametrize("variant", ["default", *(variant.__name__ for variant in settings.VARIANTS)])
def test_the_plan_of_every_variant_has_each_regime_and_seed_once(variant: str) -> None:
    config = settings.get_config(variant)
    runs = plan(config)
    assert len({run.name for run in runs}) == len(runs) == len(config.regimes.split(",")) * config.seeds


def test_what_is_fed_is_what_the_regime_says() -> None:
    config = settings.get_config("quick")
    feeding = feeding_of(regime_named("sampled:linear:sequence"), config)(20)
    np.testing.assert_allclose(feeding.truth, truth_of("linear", 60, config.truth_at_end)[20:40])
    assert (bool(feeding.by_sequence), float(feeding.say)) == (True, 0)
    feeding = feeding_of(regime_named("professor"), config)(0)
    assert feeding.truth.tolist() == [1.0] * 20
    np.testing.assert_allclose(feeding.say, config.discriminator_weight)
    assert {regime_named(f"{each}:never").program for each in FEEDBACKS} == set(FEEDBACKS)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("regimes", "teachr", "unknown regime 'teachr': did you mean 'teacher'"),
        ("regimes", "drawn:linear", "unknown feedback 'drawn'"),
        ("regimes", "sampled:linar", "unknown schedule 'linar': did you mean 'linear'"),
        ("regimes", "sampled:linear:word", "unknown coin 'word'"),
        ("truth_at_end", 0.0, "--config.truth_at_end is 0: expected a number from 0.001 to 0.999"),
        ("prefixes", "8,500", "--config.prefixes has 500: expected at most the free_length, 128"),
        ("evaluate_every", 75, "--config.evaluate_every is 75: expected a multiple of --config.steps_a_call"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("default"), field, value, message)
