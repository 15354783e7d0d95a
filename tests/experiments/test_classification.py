"""The classification experiment: its networks by hand, lengths, gradients by step, what a run leaves."""

import functools
import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from experiments.classification import config as settings
from experiments.classification import data as classification_data
from experiments.classification import evidence, model, report
from experiments.classification import main as classification
from experiments.classification.main import plan
from experiments.classification.model import Batch, Network, Noise
from experiments.common.averaged import TrainState, initial_state, train_steps
from experiments.common.errors import ExperimentError
from experiments.common.optimizer import make_optimizer
from rnnjax.data import Labelled, Sequences
from tests.experiments.logs import records_in
from tests.experiments.runs import check_drawn, check_page, quick_run
from tests.experiments.undrawn import laid_out
from tests.test_errors import check_refused

LENGTHS = np.array([3, 7, 5, 1])
POOLINGS = ("last", "mean", "attention")
LAYERS = ("elman", "bidirectional:elman", "steps")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the quick variant, and what it printed."""
    pytest.importorskip("sktime", reason="not installed: rnnjax[classification]")
    return quick_run(tmp_path_factory, "classification")


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "classification")


def batch_of(steps: int = 7) -> Batch:
    """Four sequences of three numbers a step, nothing but NaN in the padding."""
    generator = np.random.default_rng(0)
    mask = np.arange(steps)[:, None] < LENGTHS
    inputs = np.where(mask[..., None], np.resize(generator.normal(size=(7, 4, 3)), (steps, 4, 3)), np.nan)
    return Batch(jnp.asarray(inputs, jnp.float32), jnp.asarray(mask), jnp.array([0, 4, 2, 1]))


def network_of(layer: rnnjax.Cell, pooling: Any) -> Network:
    with jax.enable_x64(False):
        return jax.jit(lambda key: model.init(layer, pooling, 3, 5, key))(jax.random.key(1))


def loop(name: str, params: Any, inputs: np.ndarray) -> np.ndarray:
    """Outputs of one sequence alone, (T, O), the recurrences written out."""
    if name == "steps":
        return np.tanh(inputs @ params.kernel + params.bias)
    if name.startswith("bidirectional"):
        forward, backward = loop("elman", params.forward, inputs), loop("elman", params.backward, inputs[::-1])[::-1]
        return np.concatenate([forward, backward], axis=1)
    hidden, outputs = np.zeros(4), []
    for x in inputs:
        hidden = np.tanh(x @ params.kernel + hidden @ params.recurrent_kernel + params.bias)
        outputs.append(hidden)
    return np.array(outputs)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", LAYERS)
def test_logits_of_a_padded_batch_are_those_of_each_sequence_alone_written_out(name: str, pooling: Any) -> None:
    layer, batch = model.make_layer(name, 4), batch_of()
    network = network_of(layer, pooling)
    found = jax.jit(lambda network: model.logits(layer, pooling, network, batch))(network)
    plain = jax.tree.map(np.asarray, network)
    for place, length in enumerate(LENGTHS):
        outputs = loop(name, plain.recurrent, np.asarray(batch.inputs[:length, place]))
        if pooling == "last":
            both = name.startswith("bidirectional")
            pooled = np.concatenate([outputs[-1, :4], outputs[0, 4:]]) if both else outputs[-1]
        elif pooling == "mean":
            pooled = outputs.mean(axis=0)
        else:
            hidden, score = (each["params"] for each in plain.attention)
            scores = np.tanh(outputs @ hidden["kernel"] + hidden["bias"]) @ score["kernel"]
            weights = np.exp(scores) / np.exp(scores).sum()
            pooled = (weights * outputs).sum(axis=0)
        readout = plain.readout["params"]
        np.testing.assert_allclose(found[place], pooled @ readout["kernel"] + readout["bias"], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_more_padding_changes_nothing(pooling: Any) -> None:
    layer = model.make_layer("bidirectional:elman", 4)
    network = network_of(layer, pooling)
    found = [np.asarray(model.logits(layer, pooling, network, batch_of(steps))) for steps in (7, 12)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6, atol=1e-7)
    assert evidence.change_with_padding(layer, pooling, network, batch_of()) < 1e-6


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_by_step_are_differences_of_the_log_odds_and_nothing_in_the_padding(pooling: Any, x64: None) -> None:
    layer, given = model.make_layer("bidirectional:elman", 4), batch_of()
    network = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network_of(layer, pooling))
    batch = given._replace(inputs=jnp.nan_to_num(given.inputs).astype(jnp.float64))
    found = jax.jit(lambda network: evidence.gradients(layer, pooling, network, batch))(network)

    def decided(inputs: Any, perturbation: Any) -> Any:
        """By probabilities: log p / (1 - p) of the likeliest class."""

        def unroll(*arguments: Any, **options: Any) -> Any:
            return rnnjax.unroll(*arguments, **options, perturbation=perturbation)

        logits = model.logits(layer, pooling, network, batch._replace(inputs=inputs), unroll)
        most = jax.nn.softmax(logits, axis=-1).max(axis=-1)
        return jnp.log(most / (1 - most))

    states = layer.initial_state(network.recurrent, (4,))
    zeros = jax.tree.map(lambda leaf: jnp.zeros((7, *leaf.shape)), states)
    decided = jax.jit(decided)
    for t, place in ((0, 0), (2, 0), (4, 2), (6, 1), (5, 2)):
        squares, step = np.zeros(2), 1e-6
        for channel in range(3):
            change = jnp.zeros_like(batch.inputs).at[t, place, channel].set(step)
            ends = [decided(batch.inputs + sign * change, zeros)[place] for sign in (1, -1)]
            squares[0] += ((ends[0] - ends[1]) / (2 * step)) ** 2
        for field in range(2):
            for unit in range(4):
                moved = [
                    jax.tree.unflatten(
                        jax.tree.structure(zeros),
                        [
                            leaf.at[t, place, unit].add(sign * step) if number == field else leaf
                            for number, leaf in enumerate(jax.tree.leaves(zeros))
                        ],
                    )
                    for sign in (1, -1)
                ]
                ends = [decided(batch.inputs, each)[place] for each in moved]
                squares[1] += ((ends[0] - ends[1]) / (2 * step)) ** 2
        if t < LENGTHS[place]:
            np.testing.assert_allclose([found.inputs[t, place], found.states[t, place]], np.sqrt(squares), rtol=1e-5)
        else:
            assert found.inputs[t, place] == found.states[t, place] == 0


def test_shares_by_part_are_those_of_steps_cut_at_the_borders() -> None:
    norms = jnp.array([[1.0, 2.0], [1.0, 0.0], [2.0, 0.0]])
    mask = jnp.array([[True, True], [True, False], [True, False]])
    # Of steps with 1/4, 1/4 and 1/2 the first half has one and a half; of one step alone each half has a half.
    np.testing.assert_allclose(evidence.by_part(norms, mask, 2), [(0.375 + 0.5) / 2, (0.625 + 0.5) / 2])
    np.testing.assert_allclose(evidence.by_part(norms, mask, 3).sum(), 1, rtol=1e-6)


@pytest.mark.slow
def test_errors_without_steps_are_those_of_sequences_that_never_had_them() -> None:
    layer = model.make_layer("elman", 4)
    network, batch = network_of(layer, "mean"), batch_of()
    ranks = jax.random.uniform(jax.random.key(2), batch.mask.shape)
    wrong = []
    for share in (0.0, 0.4):
        answers = []
        for place, length in enumerate(LENGTHS):
            order = np.argsort(-np.asarray(ranks[:length, place]))[round(share * length) :]
            left = np.asarray(batch.inputs)[np.sort(order), place][:, None]
            alone = Batch(jnp.asarray(left), jnp.ones(left.shape[:2], bool), batch.labels[place : place + 1])
            answers.append(int(model.logits(layer, "mean", network, alone).argmax()))
        wrong.append(np.mean(np.array(answers) != np.asarray(batch.labels)))
    found = evidence.errors_without(layer, "mean", network, batch, ranks, (0.0, 0.4))
    np.testing.assert_allclose(found, wrong, rtol=1e-6)


def test_steps_go_by_gradient_or_around_a_place_in_the_sequence() -> None:
    mask = batch_of().mask
    gradients = evidence.Evidence(
        jnp.where(mask, jax.random.uniform(jax.random.key(4), mask.shape), 0.0), mask.astype(jnp.float32)
    )
    ranks = evidence.rankings(gradients, mask, jax.random.key(5))
    assert (ranks["most input gradient"] == -ranks["least input gradient"]).all()
    for place, length in enumerate(LENGTHS):
        for taken in range(1, length + 1):
            chosen = np.sort(np.argsort(-np.asarray(ranks["a random stretch"][:length, place]))[:taken])
            assert (np.diff(chosen) == 1).all()


def test_training_without_noise_is_cross_entropy_and_noise_disturbs_it() -> None:
    layer, batch = model.make_layer("elman", 4), batch_of()
    network, key = network_of(layer, "last"), jax.random.key(3)

    def loss(noise: Noise) -> float:
        return float(jax.jit(lambda network: model.training_loss(layer, "last", noise, network, batch, key))(network))

    logits = np.asarray(model.logits(layer, "last", network, batch), np.float64)
    chosen = logits[np.arange(4), np.asarray(batch.labels)]
    plain = (np.log(np.exp(logits).sum(axis=1)) - chosen).mean()
    np.testing.assert_allclose(loss(Noise()), plain, rtol=1e-5)
    smoothed = (np.log(np.exp(logits).sum(axis=1)) - 0.8 * chosen - 0.2 * logits.mean(axis=1)).mean()
    np.testing.assert_allclose(loss(Noise(smoothing=0.2)), smoothed, rtol=1e-5)
    for each in ("inputs", "recurrent", "outputs"):
        assert abs(loss(Noise(**{each: 0.4})) - plain) > 1e-4
    assert np.isfinite(loss(Noise(0.4, 0.4, 0.4, 0.1)))


def test_the_weights_that_are_tested_are_means_over_the_last_steps() -> None:
    config = settings.get_config("quick")
    config.averaged_over, batch = 3, batch_of()
    layer, optimizer = model.make_layer("steps", 4), make_optimizer(config)
    batch = batch._replace(inputs=jnp.nan_to_num(batch.inputs))
    loss = functools.partial(model.drawn_loss, layer, "mean", Noise(), config.batch_size)
    start = initial_state(network_of(layer, "mean"), optimizer, jax.random.key(6))

    def trained(calls: int, steps: int) -> list[TrainState]:
        config.steps_a_call = steps
        step, states = jax.jit(functools.partial(train_steps, loss, optimizer, config)), [start]
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its floats with its counts
            for _ in range(calls):
                states.append(step(states[-1], batch)[0])
        return states[1:]

    one_by_one, together = trained(4, 1), trained(1, 4)[-1]
    for one, other in zip(*(jax.tree.leaves(state.params) for state in (together, one_by_one[-1])), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    weights = [np.asarray(state.params.recurrent.kernel) for state in one_by_one]
    expected = np.mean(weights[:3], axis=0) * 2 / 3 + weights[3] / 3  # exponential, once there are three
    np.testing.assert_allclose(one_by_one[-1].average.recurrent.kernel, expected, rtol=1e-5, atol=1e-6)


def test_inputs_are_standardized_by_what_is_trained_on_and_letters_are_left_alone() -> None:
    generator = np.random.default_rng(0)
    parts = []
    for count in (50, 20):
        inputs = generator.normal(3, 2, (6, count, 2)).astype(np.float32)
        inputs[..., 1] = 5  # never another one
        lengths = generator.integers(1, 7, count)
        inputs[np.arange(6)[:, None] >= lengths] = 0
        parts.append(Sequences(inputs, lengths, np.zeros(count, np.int32)))
    known = Labelled(*parts, ("a",), ("x", "y"), "made")
    train, test = classification_data.batches("speakers", known)
    real = np.asarray(train.inputs)[np.asarray(train.mask)]
    np.testing.assert_allclose(real.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(real.std(axis=0), [1, 0], atol=1e-5)
    assert not np.asarray(train.inputs)[~np.asarray(train.mask)].any()
    of_train = parts[0].inputs[np.asarray(train.mask)][:, 0]
    expected = (parts[1].inputs[0, :, 0] - of_train.mean()) / of_train.std()
    np.testing.assert_allclose(test.inputs[0, :, 0], expected, rtol=1e-4, atol=1e-5)
    left_alone, _ = classification_data.batches("surnames", known)
    np.testing.assert_array_equal(left_alone.inputs, parts[0].inputs)


def test_a_run_leaves_records_figures_and_a_summary(finished: tuple[Path, str]) -> None:
    workdir, printed = finished
    check_drawn(workdir, [make.__name__ for make in report.FIGURES])
    summary = (workdir / "summary.md").read_text()
    assert "270 sequences to train on, 370 to test on, 9 classes, 2 seeds, 60 training steps" in summary
    assert "More padding, as long again as the longest sequence, changes no logit by more than" in summary
    assert "test sequences are right" in printed
    assert " right (signature kernels, published) |" in summary
    assert "NaN" not in (workdir / "metrics.jsonl").read_text()


def test_the_error_of_a_run_is_that_of_what_it_said_and_it_learned_something(finished: tuple[Path, str]) -> None:
    ends = [record for record in records_in(finished[0]) if record["kind"] == "result"]
    assert len(ends) == 8
    for end in ends:
        wrong = np.mean(np.array(end["said"]) != np.array(end["labels"]))
        np.testing.assert_allclose(end["error"], wrong, rtol=1e-5)
        assert wrong < 0.5  # of nine classes, guessed
        assert end["padding_change"] < 1e-4


def test_without_no_step_taken_out_the_error_is_that_of_the_run(finished: tuple[Path, str]) -> None:
    records = records_in(finished[0])
    ends = {record["run"]: record["error"] for record in records if record["kind"] == "result"}
    rows = [record for record in records if record["kind"] == "taken_out"]
    assert len(rows) == 5 * len(ends)
    for row in rows:
        np.testing.assert_allclose(row["errors"][0], ends[row["run"]], rtol=1e-5)


def known(rights: dict[str, list[list[int]]]) -> list[dict[str, Any]]:
    """Runs on four test sequences of the classes a, a, b, c by what their seeds said."""
    records = []
    for case, of_seeds in rights.items():
        network, pooling = case.split(", ")
        for seed, said in enumerate(of_seeds):
            identity = {"run": f"{case}-{seed}", "network": network, "pooling": pooling, "seed": seed}
            labels = [0, 0, 1, 2]
            error = float(np.mean(np.array(said) != np.array(labels)))
            about = {
                "source": "made",
                "classes": "a,b,c",
                "trained_on": 9,
                "padding_change": 0.0,
                "step": 10,
                "loss": 0.5,
            }
            errors = {
                "a random stretch": 0.2,
                "most input gradient": 0.4,
                "least input gradient": 0.1,
                "most state gradient": 0.3,
            }
            kinds = [
                {"kind": "network", "params": 7},
                *({"kind": "evaluation", "step": s, "loss": 1.0, "error": 0.5, "train_error": 0.25} for s in (0, 10)),
                {"kind": "result", "error": error, "train_error": 0.25, "labels": labels, "said": said, **about},
                {"kind": "parts", "inputs": [0.1, 0.9], "states": [0.5, 0.5]},
                *(
                    {"kind": "taken_out", "ranking": ranking, "shares": [0.0, 0.5], "errors": [error, last]}
                    for ranking, last in errors.items()
                ),
            ]
            if seed == 0:
                kinds += [{"kind": "example", "text": "no", "label": "a", "said": "b", "shares": [0.25, 0.75]}] * 2
            records += [{**identity, **each} for each in kinds]
    return records


KNOWN = {
    "gru, last": [[0, 0, 1, 0], [0, 2, 1, 0]],
    "gru, mean": [[0, 0, 1, 2], [0, 0, 1, 2]],
    "steps, mean": [[0, 0, 0, 2], [0, 1, 1, 2]],
}


def test_table_verdict_and_confusions_of_known_runs() -> None:
    records = known(KNOWN)
    rows = [[entry.strip() for entry in line.strip("|").split("|")] for line in report.table(records).splitlines()]
    assert rows[2][:5] == ["gru", "last", "7", "62.5 % (50.0 to 75.0)", "1 to 2"]
    assert rows[3][:5] == ["gru", "mean", "7", "100.0 %", "0"]
    assert report.verdict(records) == (
        "gru (mean) is best: 100.0 % of 4 test sequences are right. That a memory helps is confirmed: gru has +25.0 "
        "points (100.0 against 75.0 % right) compared with the network without a memory, both pooled by the mean. That "
        "the last state is enough is refuted: gru has +37.5 points (100.0 against 50.0 to 75.0 % right) compared with "
        "the last state if pooled by the mean."
    )
    names, counts = report.matrices(records)["steps (mean)"]
    assert (names, counts.tolist()) == (["a", "b", "c"], [[3, 1, 0], [1, 1, 0], [0, 0, 2]])
    assert report.confusions(records) == (
        "The most frequent mistake is none in gru (mean); a taken for b in steps (mean) (1 of 4 times; 2 mistakes in "
        "all, over all seeds)."
    )


def test_figures_say_and_show_what_the_records_have() -> None:
    records = known(KNOWN)
    figure = report.share_right(records)
    assert figure.get_suptitle() == "gru (mean) is best: 100.0 % of 4 test sequences are right"
    drawn = {(float(x), float(y)) for line in figure.axes[0].lines for x, y in zip(*line.get_data(), strict=True)}
    assert {(75, 0), (50, 0), (62.5, 0), (100, 1), (75, 2)} <= drawn
    figure = report.gradient_by_part(records)
    title = figure.get_suptitle().replace("\n", " ")
    assert "90 % on the second tenth in gru (last)" in title
    assert "steps" not in title
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [10, 90])
    title = report.errors_without_steps(records).get_suptitle().replace("\n", " ")
    assert "30.0, 40.0, 20.0, 10.0 % in gru (last)" in title
    figure = report.examples(records)
    assert [text.get_text() for text in figure.axes[0].texts] == ["n", "o", "n", "o"]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["b (a)", "b (a)"]


@pytest.mark.slow
def test_a_single_network_without_a_memory_can_be_drawn(tmp_path: Path) -> None:
    records = known({"steps, mean": KNOWN["steps, mean"]})
    assert all(path.exists() for path in laid_out(report.FIGURES, records, tmp_path))
    assert "steps (mean)" in report.summary(records)


def test_without_the_data_the_command_names_the_extra_and_opens_no_workdir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExperimentError, match=r"pip install 'rnnjax\[classification\]'"):
        classification.main(settings.get_config("quick"), lambda: pytest.fail("a workdir was opened"))


@pytest.mark.parametrize("variant", ["default", *(variant.__name__ for variant in settings.VARIANTS)])
def test_the_plan_of_every_variant_has_each_combination_once(variant: str) -> None:
    config = settings.get_config(variant)
    runs = plan(config)
    counts = [len(config[field].split(",")) for field in ("networks", "poolings")]
    assert len({run.name for run in runs}) == len(runs) == int(np.prod(counts)) * config.seeds


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data", "vowels", "unknown data 'vowels'"),
        ("networks", "gru,backwards:gru", "unknown layer 'backwards'"),
        ("networks", "bidirectional:gruu", "unknown cell 'gruu': did you mean 'gru'"),
        ("poolings", "max", "unknown pooling 'max'"),
        (
            "networks",
            "lru",
            "networks has lru, --config.recurrent_dropout is 0.2: variational_dropout found no product",
        ),
        ("output_dropout", 1.0, "--config.output_dropout is 1"),
        ("input_noise", -0.1, "--config.input_noise is -0.1"),
        ("evaluate_every", 75, "--config.evaluate_every is 75: expected a multiple of --config.steps_a_call"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("default"), field, value, message)
