"""Models of words beside the recurrent network: n-grams by hand, a window as one-hot vectors, one text and one end."""

import collections
import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from experiments.common import host_devices
from experiments.common.run_log import Log
from experiments.common.workdir import read_records
from experiments.language import comparison, window, words
from experiments.language import config as settings
from experiments.language import main as language
from experiments.language.network import make_optimizer
from experiments.networks import ngrams
from tests.answers import completed
from tests.experiments.logs import logs_in, records_in
from tests.experiments.runs import check_page
from tests.test_errors import check_refused

ROOT = Path(__file__).parents[2]
KEY = jax.random.key(0)
V, W, H = 6, 3, 4
PADDING = V - 1


def words_of(seed: int, length: int) -> np.ndarray:
    """Some that are frequent and some that are rare, none of them padding."""
    return np.random.default_rng(seed).choice(V - 1, length, p=[0.4, 0.3, 0.2, 0.07, 0.03]).astype(np.int32)


# n-grams


def by_hand(text: Sequence[int], order: int, history: tuple[int, ...], word: int) -> float:
    """Interpolated modified Kneser-Ney as it is written down, by scanning the text: no table is kept."""
    padded = [PADDING] * (order - 1) + list(text)
    places = [tuple(padded[end - order : end]) for end in range(order, len(padded) + 1)]

    def count(gram: tuple[int, ...]) -> int:
        if len(gram) == order:
            return places.count(gram)
        return len({before for before in range(V) for place in places if place[-len(gram) - 1 :] == (before, *gram)})

    @functools.cache
    def discounts(length: int) -> list[float]:
        counts = [count(gram) for gram in itertools.product(range(V), repeat=length)]
        n1, n2, n3, n4 = (counts.count(each) for each in (1, 2, 3, 4))
        usual = [0.5, 1.0, 1.5]
        if n1 and n2 and n3:
            y = n1 / (n1 + 2 * n2)
            found = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            usual = found if min(found) > 0 else usual
        return [0.0, *usual]

    def smoothed(history: tuple[int, ...]) -> float:
        below = smoothed(history[1:]) if history else 1 / V
        counts = [count((*history, each)) for each in range(V)]
        if not sum(counts):
            return below
        taken = [discounts(len(history) + 1)[min(each, 3)] for each in counts]
        return (counts[word] - taken[word] + sum(taken) * below) / sum(counts)

    return smoothed(history)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("length", [7, 60])
def test_ngrams_are_those_of_the_definition(order: int, length: int) -> None:
    text = words_of(0, length)
    model = ngrams.fit(text, order, padding=PADDING, size=V)
    for history in itertools.product(range(V), repeat=order - 1):
        found = [ngrams.probability(model, history, word) for word in range(V)]
        expected = [by_hand(text.tolist(), order, history, word) for word in range(V)]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_discounts_are_told_by_how_many_ngrams_came_how_often_or_the_usual_ones() -> None:
    came = {1: 8, 2: 4, 3: 2, 4: 1}  # so many n-grams so often
    counts = [count for count, number in came.items() for _ in range(number)]
    found = ngrams.discounts(collections.Counter({(place,): count for place, count in enumerate(counts)}))
    np.testing.assert_allclose(found, (0, 1 - 2 * 0.5 * 4 / 8, 2 - 3 * 0.5 * 2 / 4, 3 - 4 * 0.5 * 1 / 2))
    assert ngrams.discounts(collections.Counter({(0,): 1, (1,): 2})) == ngrams.FALLBACK


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_sum_to_one_after_what_was_seen_and_what_was_not(order: int) -> None:
    text = words_of(1, 200) % 4
    model = ngrams.fit(text, order, padding=PADDING, size=V)
    seen, unseen = tuple(text[50 : 50 + order - 1].tolist()), (4,) * (order - 1)
    for history in (seen, unseen):
        found = [ngrams.probability(model, history, word) for word in range(V)]
        assert sum(found) == pytest.approx(1, abs=1e-12)
        assert min(found) > 0


@pytest.fixture(scope="module")
def chain() -> tuple[np.ndarray, np.ndarray]:
    """A Markov chain's transitions (4, 4) and a text of it."""
    transitions = np.random.default_rng(0).dirichlet(np.full(4, 0.5), 4)
    uniform, text = np.random.default_rng(1).random(60_000), [0]
    ends = transitions.cumsum(axis=1)
    for each in uniform:
        text.append(int(np.searchsorted(ends[text[-1]], each * ends[text[-1], -1])))
    return transitions, np.array(text, np.int32)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_perplexity_on_a_markov_chain_tends_to_e_to_its_entropy(
    order: int, chain: tuple[np.ndarray, np.ndarray]
) -> None:
    transitions, text = chain
    values, vectors = np.linalg.eig(transitions.T)
    stationary = np.real(vectors[:, np.argmax(values.real)])
    stationary /= stationary.sum()
    with np.errstate(divide="ignore"):
        logs = np.where(transitions > 0, np.log(transitions), 0)
    entropy = -(stationary[:, None] * transitions * logs).sum()
    alone = -(stationary * np.log(stationary)).sum()  # of a word without the one before
    model = ngrams.fit(text[:45_000], order, padding=PADDING, size=V)
    found = np.exp(ngrams.losses(model, text[45_000:])[1:].mean())
    assert found == pytest.approx(np.exp(alone if order == 1 else entropy), rel=0.02)
    assert np.exp(alone) > 1.2 * np.exp(entropy)
    if order > 1:  # as good as who knows the chain
        held_out = text[45_000:]
        true = -np.log(transitions[held_out[:-1], held_out[1:]]).mean()
        assert true <= np.log(found) + 1e-4
        assert np.log(found) == pytest.approx(true, abs=2e-3)


def test_a_model_keeps_as_many_numbers_as_there_are_different_ngrams() -> None:
    text = np.array([0, 1, 0, 1, 2])
    model = ngrams.fit(text, 2, padding=PADDING, size=V)
    assert model.counts == 3 + len({(PADDING, 0), (0, 1), (1, 0), (1, 2)})


# Networks on windows


def test_the_fully_connected_network_is_one_hot_words_side_by_side_times_a_matrix() -> None:
    network = window.connected(W, V, H)
    params = network.init(KEY)
    windows = jnp.asarray(words_of(2, 5 * W).reshape(5, W))
    side_by_side = np.concatenate([np.eye(V)[windows[:, place]] for place in range(W)], axis=1)
    assert side_by_side.shape == (5, W * V)
    hidden, readout = params.hidden["params"], params.readout["params"]
    outputs = np.tanh(side_by_side @ np.asarray(hidden["kernel"]) + np.asarray(hidden["bias"]))
    expected = outputs @ np.asarray(readout["kernel"]) + np.asarray(readout["bias"])
    np.testing.assert_allclose(network.logits(params, windows), expected, rtol=1e-5, atol=1e-6)


def test_its_params_grow_by_a_row_for_each_word_with_each_place_in_the_window() -> None:
    counts = []
    for length in range(1, 5):
        params = window.connected(length, V, H).init(KEY)
        counts.append(sum(leaf.size for leaf in jax.tree.leaves(params)))
    assert counts == [length * V * H + H + H * V + V for length in range(1, 5)]


def test_the_recurrent_network_on_a_window_reads_it_word_by_word_from_a_fresh_state() -> None:
    cell = rnnjax.gru(H)
    network = window.recurrent(cell, V, 2)
    params = network.init(KEY)
    windows = words_of(3, 2 * W).reshape(2, W)
    state = cell.initial_state(params.recurrent, (2,))
    for place in range(W):
        inputs = params.embedding["params"]["embedding"][windows[:, place]]
        state, outputs = cell.step(params.recurrent, state, inputs)
    expected = outputs @ params.readout["params"]["kernel"] + params.readout["params"]["bias"][None]
    np.testing.assert_allclose(network.logits(params, jnp.asarray(windows)), expected, rtol=1e-4, atol=1e-6)


def test_the_held_out_loss_is_the_mean_over_all_examples_however_many_there_are() -> None:
    network = window.connected(W, V, H)
    params = network.init(KEY)
    examples = window.examples(words_of(4, window._CHUNK + 7), W, PADDING)
    logs = np.asarray(jax.nn.log_softmax(network.logits(params, examples.windows)))
    expected = -logs[np.arange(len(logs)), np.asarray(examples.targets)].mean()
    np.testing.assert_allclose(window.held_out_loss(network, params, examples), expected, rtol=1e-5)


def test_a_training_step_lowers_the_loss_and_is_the_same_from_the_same_state() -> None:
    config = settings.get_config("quick")
    config.learning_rate, config.warm_up = 0.05, 0
    network, examples = window.connected(1, V, H), window.examples(np.arange(300, dtype=np.int32) % (V - 1), 1, PADDING)
    optimizer = make_optimizer(config, "adam")
    state = window.initial_state(network, optimizer, KEY)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its floats with its counts
        step = jax.jit(functools.partial(window.train_steps, network, optimizer, config))
        after, first = step(state, examples)
        again, same = step(state, examples)
        for _ in range(3):
            after, last = step(after, examples)
    assert first["loss"] == same["loss"]
    assert again.step == config.steps_a_call
    assert last["loss"] < 0.2 * first["loss"]  # the next word is certain


@pytest.mark.parametrize("length", [1, 8])
def test_no_window_reaches_over_the_border_between_training_and_held_out_text(length: int, tmp_path: Path) -> None:
    """What is trained on has words that the rest has not, and the other way round."""
    (tmp_path / "text.txt").write_text("a b c " * 300 + "a b d " * 33 + "a b")
    config = settings.get_config("words")
    config.corpus, config.vocabulary_size, config.batch_size, config.sequence_length = (
        str(tmp_path / "text.txt"),
        0,
        2,
        4,
    )
    data = language.read(config)
    padding, unknown = data.vocabulary.entries.index("<pad>"), data.vocabulary.unknown
    only_first = data.vocabulary.entries.index("c")
    train = window.examples(data.train, length, padding)
    assert not (np.asarray(train.windows) == unknown).any()
    assert not (np.asarray(train.targets) == unknown).any()
    for part in (data.choose, data.report):
        found = window.examples(part, length, padding)
        assert (found.windows[0] == padding).all()
        assert not (np.asarray(found.windows) == only_first).any()
        np.testing.assert_array_equal(found.after_first().targets, part[1:])
        np.testing.assert_array_equal(found.after_first().windows[:, -1], part[:-1])


# The variant


TINY = {
    "vocabulary_size": 9,
    "train_steps": 40,
    "hidden_size": 8,
    "embedding_size": 4,
    "batch_size": 4,
    "sequence_length": 8,
    "evaluate_every": 20,
    "checkpoint_every": 10,
    "windows": "1,2",
    "recurrent_windows": "2",
    "ngrams": 3,
    "sample_length": 10,
    "warm_up": 0,
    "learning_rate": 0.05,
}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After "of" comes what came before it: two words tell more than one."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    lines = np.random.default_rng(0).choice(["apples of apples\n", "pears of pears\n", "plums of salt\n"], 400)
    path.write_text("".join(lines))
    return path


def tiny(text: Path) -> Any:
    config = settings.get_config("words")
    config.update({**TINY, "corpus": str(text)})
    return config


@pytest.fixture(scope="module")
def finished(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the variant, and what it printed."""
    workdir = tmp_path_factory.mktemp("words") / "run"
    flags = [f"--config.{name}={value}" for name, value in {**TINY, "corpus": text}.items()]
    done = completed("language", "--variant=words", f"--workdir={workdir}", *flags)
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "language")


def test_the_variant_leaves_a_table_a_figure_and_a_verdict_of_all_models(finished: tuple[Path, str]) -> None:
    workdir, printed = finished
    found = comparison.models(read_records(workdir))
    seeds = found.groupby(["model", "sees"], dropna=False)["seed"].nunique().to_dict()
    expected = {("fully connected", 1): 2, ("fully connected", 2): 2, ("gru on windows", 2): 2}
    expected |= {("n-gram", 0): 1, ("n-gram", 1): 1, ("n-gram", 2): 1}
    assert {key: count for key, count in seeds.items() if key[1] == key[1]} == expected
    assert found["sees"].isna().sum() == 2  # both seeds of the one in streams
    assert comparison.verdict(read_records(workdir)) in printed
    assert comparison.table(read_records(workdir)) in (workdir / "summary.md").read_text()
    assert (workdir / "figures" / "perplexity_by_window.png").stat().st_size > 10_000


def test_two_words_tell_more_than_one_to_networks_and_to_ngrams(finished: tuple[Path, str]) -> None:
    found = comparison.models(read_records(finished[0])).groupby(["model", "sees"])["perplexity"].median()
    assert found["fully connected", 2] < 0.9 * found["fully connected", 1]
    assert found["n-gram", 2] < 0.9 * found["n-gram", 1] < 0.9 * found["n-gram", 0]


def test_the_networks_in_streams_are_those_that_the_commands_use(finished: tuple[Path, str]) -> None:
    best = {folder.parent.name for folder in (finished[0] / "checkpoints").glob("*/best")}
    assert best == {"gru-seed0", "gru-seed1"}


@pytest.mark.slow
def test_interrupted_training_on_windows_goes_on_to_the_same_records(text: Path, tmp_path: Path) -> None:
    config, run = tiny(text), words.Run(words.CONNECTED, 2, 0)
    data = language.read(config)

    def execute(log_of: Any) -> None:
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its floats with its counts
            language.execute([run], log_of, config=config, data=data, mesh=host_devices.mesh(1))

    execute(logs_in(tmp_path / "whole"))
    calls = itertools.count()

    @contextlib.contextmanager
    def log_of(run: words.Run) -> Iterator[Log]:
        with logs_in(tmp_path / "parts")(run) as log:

            def progress(count: int) -> None:
                if next(calls) == 3:
                    raise InterruptedError

            log.progress = progress
            yield log

    with pytest.raises(InterruptedError):
        execute(log_of)
    cut_short = records_in(tmp_path / "parts")
    execute(log_of)
    assert len(cut_short) < len(records_in(tmp_path / "whole"))
    assert records_in(tmp_path / "parts") == records_in(tmp_path / "whole")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("unit", "characters", "--config.unit is characters, --config.evaluation_streams is 1: with windows,"),
        ("evaluation_streams", 100, "--config.unit is words, --config.evaluation_streams is 100: with windows,"),
        ("windows", "1,0", "--config.windows is '1,0': expected positive whole numbers separated by commas"),
        ("optimizers", "adam:1e-3", "--config.optimizers is 'adam:1e-3', --config.through is '': with windows,"),
        ("through", "8,16", "--config.optimizers is 'adam', --config.through is '8,16': with windows,"),
        ("ngrams", -1, "--config.ngrams is -1: expected 0 or more"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(language.plan, settings.get_config("words"), field, value, message)


def test_without_windows_and_ngrams_there_is_nothing_beside_the_network_in_streams() -> None:
    assert {type(run) for run in language.plan(settings.get_config("quick"))} == {language.Run}
    alone = [{"run": "gru-seed0", "cell": "gru", "seed": 0, "kind": "evaluation", "loss_choose": 1, "loss_report": 2}]
    assert comparison.table(alone) == comparison.verdict(alone) == ""
    assert comparison.perplexity_by_window(alone) is None


def test_the_verdict_tells_the_medians_of_each_kind_at_its_best() -> None:
    records = []
    for model, length, params, losses in (
        (words.CONNECTED, 1, 100, [2.0, 2.2]),
        (words.CONNECTED, 4, 400, [2.5, 2.5]),
        (words.NGRAM, 3, 70, [1.5]),
        (None, None, 50, [1.0, 1.0]),
    ):
        for seed, loss in enumerate(losses):
            own = {"model": model, "length": length} if model else {"cell": "gru"}
            own |= {"run": f"{model}{length}{seed}", "seed": seed}
            chosen = {"loss_choose": loss, "loss_report": float(np.log(10 * loss))}
            records += [
                {**own, "kind": "network", "params": params},
                {**own, "kind": "evaluation", "step": 9, **chosen},
            ]
            records += [{**own, "kind": "evaluation", "step": 10, "loss_choose": loss + 1, "loss_report": 0.0}]
            records += [{**own, "kind": "train", "step": 10, "loss": 1.0}]
    assert comparison.verdict(records) == (
        "On windows of 1, 4 words the fully connected network reaches a perplexity of 21.0, 25.0, while its params "
        "grow 4.0-fold. The best perplexity of each kind of model is: gru in streams 10.0 (all words, 50 params), "
        "n-gram 15.0 (2 words, 70 n-grams), fully connected 21.0 (1 word, 100 params)."
    )
    row = next(line for line in comparison.table(records).splitlines() if "fully connected" in line)
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells == ["fully connected", "1", "100", "20.0 to 22.0", "2.7", "9"]
