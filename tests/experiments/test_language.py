"""The language experiment: its loss by hand, what is carried and dropped, end to end with its commands."""

import functools
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import rnnjax
from experiments.common import host_devices
from experiments.language import config as settings
from experiments.language import held_out, published, report, suggest
from experiments.language import main as language
from experiments.language import model as language_model
from experiments.language import network as network_of_language
from experiments.language.model import Dropout
from experiments.language.network import (
    TrainState,
    count_params,
    initial_state,
    make_cell,
    make_optimizer,
    train_steps,
)
from rnnjax.data import decode
from tests.answers import completed
from tests.experiments.runs import check_page
from tests.test_errors import check_refused

ROOT = Path(__file__).parents[2]
V, B, T = 7, 3, 6
KEY = jax.random.key(0)


def network(layers: int = 2, embedding: int = 4) -> tuple[rnnjax.Cell, language_model.LanguageParams]:
    cell = rnnjax.stack(*(rnnjax.gru(5) for _ in range(layers)))
    return cell, language_model.init(cell, V, embedding, KEY)


def window(length: int = T) -> jax.Array:
    return jax.random.randint(jax.random.key(1), (length + 1, B), 0, V)


@pytest.mark.slow
@pytest.mark.parametrize("embedding", [0, 4])
def test_the_loss_of_a_window_is_the_mean_of_its_cross_entropies_step_by_step(embedding: int) -> None:
    cell, params = network(embedding=embedding)
    tokens, state = window(), cell.initial_state(params.recurrent, (B,))
    loss, after = language_model.window_loss(cell, params, tokens, state, Dropout(), KEY)
    table = params.embedding["params"]["embedding"] if params.embedding else jnp.eye(V)
    readout, losses = params.readout["params"], []
    for now, following in itertools.pairwise(tokens):
        state, outputs = cell.step(params.recurrent, state, table[now])
        found = jax.nn.log_softmax(outputs @ readout["kernel"] + readout["bias"][None])
        losses.append(-np.take_along_axis(np.asarray(found), np.asarray(following)[:, None], 1)[:, 0])
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), after, state)
    separate, _ = language_model.token_losses(cell, params, tokens, cell.initial_state(params.recurrent, (B,)))
    np.testing.assert_allclose(separate, losses, rtol=1e-4)


def test_two_windows_with_the_state_carried_are_one() -> None:
    cell, params = network()
    tokens, start = window(2 * T), cell.initial_state(params.recurrent, (B,))
    whole, _ = language_model.window_loss(cell, params, tokens, start, Dropout(), KEY)
    first, between = language_model.window_loss(cell, params, tokens[: T + 1], start, Dropout(), KEY)
    second, _ = language_model.window_loss(cell, params, tokens[T:], between, Dropout(), KEY)
    np.testing.assert_allclose((first + second) / 2, whole, rtol=1e-5)


@pytest.mark.parametrize(
    "dropout",
    [
        Dropout(embedding=0.5),
        Dropout(outputs=0.5),
        Dropout(recurrent=0.5),
        Dropout(weights=0.5),
        Dropout(states=0.5),
        Dropout(0.3, 0.3, 0.3, 0.3, 0.3, "step"),
    ],
)
def test_what_is_dropped_hangs_on_the_key_and_the_state_goes_on_without_it(dropout: Dropout) -> None:
    cell, params = network()
    start = cell.initial_state(params.recurrent, (B,))
    found = [language_model.window_loss(cell, params, window(), start, dropout, jax.random.key(k)) for k in (0, 0, 1)]
    assert found[0][0] == found[1][0] != found[2][0]
    assert jax.tree.structure(found[0][1]) == jax.tree.structure(start)
    kept, _ = language_model.window_loss(cell, params, window(), found[0][1], dropout, KEY)
    assert np.isfinite(kept)


def small() -> Any:
    config = settings.get_config("quick")
    config.steps_a_call = 3
    return config


@pytest.mark.slow
def test_steps_read_one_window_after_the_other_carry_the_state_and_move_the_weights() -> None:
    config, streams = small(), jax.random.randint(KEY, (33, 4), 0, V)  # two windows of 16
    config.warm_up = 0
    cell, optimizer = make_cell("gru", config, V), make_optimizer(config, "adam")
    state = initial_state(cell, optimizer, config.learning_rate, config, V, KEY)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its floats with its counts
        after, seen = train_steps(cell, optimizer, config, config.sequence_length, state, streams)
    by_hand, losses = state, []
    for place in (0, 16, 0):
        tokens = streams[place : place + 17]

        def loss_of(params: Any, by_hand: TrainState = by_hand, tokens: jax.Array = tokens) -> Any:
            return language_model.window_loss(cell, params, tokens, by_hand.carried, Dropout(), KEY)

        (loss, carried), gradients = jax.value_and_grad(loss_of, has_aux=True)(by_hand.params)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its floats with its counts
            updates, moved = optimizer.update(gradients, by_hand.optimizer, by_hand.params)
        params = jax.tree.map(lambda a, b: a + config.learning_rate * b, by_hand.params, updates)
        by_hand = by_hand._replace(params=params, optimizer=moved, carried=carried)
        losses.append(float(loss))
    np.testing.assert_allclose(seen["loss"], np.mean(losses), rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-4), after.params, by_hand.params)
    jax.tree.map(np.testing.assert_array_equal, after.average, after.params)
    assert after.step == 3


@pytest.mark.slow
def test_steps_are_the_same_on_two_devices_and_what_is_dropped_too() -> None:
    config, streams = small(), np.asarray(jax.random.randint(KEY, (33, 4), 0, V))
    config.embedding_dropout, config.output_dropout, config.recurrent_dropout, config.zoneout = 0.3, 0.3, 0.2, 0.1
    cell, optimizer = make_cell("gru", config, V), make_optimizer(config, "adam")
    steps = functools.partial(train_steps, cell, optimizer, config, config.sequence_length)
    trained = []
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its floats with its counts
        for count in (1, 2):
            mesh = host_devices.mesh(count)
            state = initial_state(cell, optimizer, config.learning_rate, config, V, KEY)
            places = network_of_language.shardings(state, mesh)
            given = jax.device_put(state, places), jax.device_put(streams, host_devices.divided(mesh, 1))
            trained.append(jax.jit(steps, out_shardings=(places, None))(*given))
            assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(trained[-1][0])} == {count}
    (alone, loss_alone), (divided, loss_divided) = trained
    np.testing.assert_allclose(loss_divided["loss"], loss_alone["loss"], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), divided.params, alone.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), divided.carried, alone.carried)
    assert not divided.carried[0].hidden.sharding.is_fully_replicated


def test_weights_are_averaged_over_all_steps_until_there_are_enough_of_them() -> None:
    average, values = {"a": jnp.zeros(())}, [1.0, 2.0, 6.0, 5.0]
    for step, value in enumerate(values[:3]):
        average = network_of_language._averaged(average, {"a": jnp.float32(value)}, jnp.int32(step), 3)  # type: ignore[arg-type,assignment]
    np.testing.assert_allclose(average["a"], 3.0)
    average = network_of_language._averaged(average, {"a": jnp.float32(6.0)}, jnp.int32(3), 3)  # type: ignore[arg-type,assignment]
    np.testing.assert_allclose(average["a"], 4.0)


def test_fresh_windows_follow_each_other_and_share_the_token_between_them() -> None:
    found = held_out.fresh_windows(np.arange(1000))
    assert found.shape == (257, 3)
    np.testing.assert_array_equal(found[0], [0, 256, 512])
    np.testing.assert_array_equal(found[-1], [256, 512, 768])


@pytest.mark.parametrize("steps", [3, 256, 700])
def test_text_read_in_parts_has_the_loss_of_text_read_at_once(steps: int) -> None:
    cell, params = network()
    streams = np.random.default_rng(0).integers(0, V, (steps + 1, B)).astype(np.int32)
    start = cell.initial_state(params.recurrent, (B,))
    read = jax.jit(functools.partial(held_out.loss_sum, cell))
    at_once = jax.jit(functools.partial(language_model.token_losses, cell))
    found = held_out.carried_loss(read, params, streams, start)
    np.testing.assert_allclose(found, np.mean(at_once(params, streams, start)[0]), rtol=1e-5)
    windows = held_out.fresh_windows(streams[:, 0])  # one column less than fits, or more
    many = np.tile(windows, 4)[:, :4]
    each = [np.mean(at_once(params, many[:, [column] * B], start)[0][:, 0]) for column in range(many.shape[1])]
    np.testing.assert_allclose(held_out.fresh_loss(read, params, many, start, B), np.mean(each), rtol=1e-5)


@pytest.mark.slow
def test_a_gradient_that_is_cut_is_the_sum_of_those_of_its_parts_each_from_a_constant_state() -> None:
    cell, params = network()
    tokens, start = window(6), cell.initial_state(params.recurrent, (B,))

    def loss(params: Any, tokens: jax.Array, state: Any, through: int | None) -> Any:
        return language_model.window_loss(cell, params, tokens, state, Dropout(), KEY, through)

    whole = jax.value_and_grad(loss, has_aux=True)
    (cut_loss, last), cut = whole(params, tokens, start, 2)
    (whole_loss, _), uncut = whole(params, tokens, start, None)
    by_parts, state, losses = [], start, []
    for place in (0, 2, 4):
        (value, state), gradient = whole(params, tokens[place : place + 3], state, None)
        by_parts.append(gradient)
        losses.append(value)
    np.testing.assert_allclose([cut_loss, np.mean(losses)], [whole_loss, whole_loss], rtol=1e-5)
    mean = jax.tree.map(lambda *parts: np.mean(parts, axis=0), *by_parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), cut, mean)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), last, state)
    assert not np.allclose(cut.recurrent[0].recurrent_kernel, uncut.recurrent[0].recurrent_kernel, rtol=1e-2)


@pytest.mark.slow
def test_the_typical_gradient_is_the_geometric_mean_of_those_of_each_streams_own_loss() -> None:
    cell, params = network()
    tokens, start = window(), cell.initial_state(params.recurrent, (B,))
    found = language_model.gradient_norms(cell, params, tokens, start)
    alone = []
    for stream in range(B):
        own = cell.initial_state(params.recurrent, (1,))
        alone.append(language_model.gradient_norms(cell, params, tokens[:, stream : stream + 1], own).whole)
    np.testing.assert_allclose(found.typical, np.exp(np.mean(np.log(alone), axis=0)), rtol=1e-4)
    np.testing.assert_allclose(found.whole, np.sqrt(np.sum(np.square(alone), axis=0)) / B, rtol=1e-4)


@pytest.mark.parametrize("name", ["elman", "lstm", "gru", "recurrent_highway", "slstm", "min_gru"])
def test_a_cell_is_as_wide_as_a_number_of_params_allows(name: str) -> None:
    config = small()
    config.params, config.layers = 10_000, 2
    cell = make_cell(name, config, V)
    params = language_model.init(cell, V, config.embedding_size, KEY)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == count_params(cell, config, V)
    assert abs(count - 10_000) < 400  # a unit more or less


def test_after_training_zoneout_keeps_what_it_kept_on_average() -> None:
    cell, params = network(layers=1)
    used = language_model.without_draws(cell, Dropout(states=0.3))
    start = cell.initial_state(params.recurrent, (B,))
    kept, _ = used.step(params.recurrent, start, jnp.ones((B, 4)))
    new, _ = cell.step(params.recurrent, start, jnp.ones((B, 4)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, 0.7 * b, rtol=1e-5), kept, new)


def test_the_last_tenth_is_held_out_and_the_vocabulary_is_that_of_the_rest(tmp_path: Path) -> None:
    config = settings.get_config("quick")
    (tmp_path / "text.txt").write_text("abcd" * 225 + "abcx" * 25)
    config.corpus = str(tmp_path / "text.txt")
    data = language.read(config)
    assert [len(part) for part in (data.train, data.choose, data.report)] == [900, 50, 50]
    assert set(data.vocabulary.entries) == {"a", "b", "c", "d", "\ufffd"}
    assert decode(data.vocabulary, data.report[-4:].tolist()) == "abc\ufffd"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of the quick variant on a text of two kinds of salad, and what it printed."""
    folder = tmp_path_factory.mktemp("language")
    (folder / "salads.txt").write_text("apple and pear salad\na pair of shoes\n" * 200)
    workdir = folder / "run"
    flags = [f"--config.corpus={folder / 'salads.txt'}", "--config.train_steps=400", "--config.learning_rate=0.02"]
    done = completed("language", "--variant=quick", f"--workdir={workdir}", *flags)
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def test_the_page_has_charts_and_explains_every_field_that_is_recorded(finished: tuple[Path, str]) -> None:
    check_page(finished[0], "language")


def test_a_run_leaves_held_out_losses_samples_the_gradients_flow_figures_and_a_summary(
    finished: tuple[Path, str],
) -> None:
    workdir, printed = finished
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    evaluations = [record for record in records if record["kind"] == "evaluation"]
    assert [record["step"] for record in evaluations] == list(range(0, 401, 20))
    assert evaluations[-1]["loss_report"] < 0.3 < 2 < evaluations[0]["loss_report"]
    assert {"fresh_choose", "fresh_report", "loss_choose"} <= set(evaluations[0])
    for kind in ("sample", "state_gradient"):
        assert [record["step"] for record in records if record["kind"] == kind] == list(range(0, 401, 20))
    assert "gru predicts held-out text at" in printed
    assert "What it says" in (workdir / "summary.md").read_text()
    for name in ("loss_by_step", "gradient_by_lag"):
        assert (workdir / "figures" / f"{name}.png").stat().st_size > 10_000


def test_the_best_weights_are_those_of_the_least_loss_to_choose_by(finished: tuple[Path, str]) -> None:
    workdir, _ = finished
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    least = min(record["loss_choose"] for record in records if record["kind"] == "evaluation")
    known = language.load(workdir / "checkpoints" / "gru-seed0" / "best")
    config = settings.get_config("quick")
    config.corpus = str(workdir.parent / "salads.txt")
    data = language.read(config)
    streams = jnp.asarray(data.choose[: len(data.choose) // 5 * 5].reshape(5, -1).T)
    start = known.cell.initial_state(known.params.recurrent, (5,))
    losses, _ = language_model.token_losses(known.cell, known.params, streams, start)
    np.testing.assert_allclose(losses.mean(), least, rtol=1e-4)


def test_after_training_on_pear_salad_it_is_likelier_than_pair_salad(finished: tuple[Path, str]) -> None:
    texts = ("apple and pear salad", "apple and pair salad")
    scored = completed("language.score", f"--workdir={finished[0]}", *(f"--text={text}" for text in texts))
    assert scored.returncode == 0, scored.stderr
    assert scored.stdout.strip().endswith("likeliest: apple and pear salad")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in scored.stdout.splitlines()[2:4]]
    assert [row[0] for row in rows] == list(texts)
    nats, each, bits, by_word = (float(value) for value in rows[0][1:])
    np.testing.assert_allclose(each, -nats / 20, atol=1e-3)
    np.testing.assert_allclose(bits, each / np.log(2), atol=2e-3)
    np.testing.assert_allclose(by_word, -nats / 4, atol=1e-3)


def test_what_it_generates_begins_with_the_prompt_and_ends_at_the_stop(finished: tuple[Path, str]) -> None:
    flags = [f"--workdir={finished[0]}", "--prompt=apple and", "--greedy", r"--stop=\n"]
    said = completed("language.generate", *flags)
    assert said.returncode == 0, said.stderr
    assert said.stdout == "apple and pear salad\n\n"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cells", "lstn", "unknown cell 'lstn': did you mean 'lstm'"),
        ("optimizers", "adan", "unknown optimizer 'adan': did you mean 'adam'"),
        ("optimizers", "adam:fast", "--config.optimizers has 'adam:fast': expected a positive learning rate behind"),
        ("optimizers", "adam:-1", "--config.optimizers has 'adam:-1': expected a positive learning rate behind"),
        ("through", "5", "--config.through has 5: expected divisors of --config.sequence_length=16"),
        ("zoneout", -0.1, "--config.zoneout is -0.1: expected a number from 0 to 0.99"),
        ("schedule", "linear", "unknown schedule 'linear'"),
        ("train_steps", 45, "--config.train_steps is 45: expected a multiple of --config.steps_a_call=10"),
        ("output_dropout", 1.0, "--config.output_dropout is 1: expected a number from 0 to 0.99"),
        ("dropout_each", "day", "unknown dropout_each 'day'"),
        ("batch_size", 0, "--config.batch_size is 0: expected at least 1"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(language.plan, settings.get_config("quick"), field, value, message)


def test_the_table_has_the_best_evaluation_of_each_run_with_ranges_over_seeds() -> None:
    records = []
    for seed in range(2):
        for step, chosen, reported in ((0, 3.0, 3.1), (20, 1.0 + seed, 1.5 + seed), (40, 2.0 + seed, 1.0)):
            own = {"run": f"gru-seed{seed}", "cell": "gru", "seed": seed, "step": step}
            own |= {"optimizer": "adam", "through": 64, "learning_rate": 0.006}
            numbers = {
                "loss_choose": chosen,
                "loss_report": reported,
                "fresh_choose": 4.0,
                "fresh_report": 2 * reported,
            }
            records += [
                {**own, "kind": "evaluation", **numbers},
                {**own, "kind": "state_gradient", "typical": [0.01, 1.0]},
            ]
        records.append({**own, "kind": "network", "params": 1234})
    (row,) = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.table(records).splitlines()[2:]]
    assert row[:4] == ["gru", "1,234", "20", "1.500 to 2.500"]
    assert row[6:] == ["3.000 to 5.000", "1.000 to 2.000", "1.250 to 2.250", "1"]
    assert report.verdict(records) == (
        "gru predicts held-out text at 1.500 to 2.500 nats a token with the state carried (2 seeds)."
    )


def test_what_is_suggested_goes_on_with_what_was_begun_or_comes_next(finished: tuple[Path, str]) -> None:
    for text, word in (("apple and pe", "pear"), ("apple and ", "pear"), ("a pair of", "of")):
        done = completed("language.suggest", f"--workdir={finished[0]}", f"--text={text}")
        assert done.returncode == 0, done.stderr
        first = done.stdout.splitlines()[2].split("|")
        assert first[1].strip() == word
        assert float(first[2].strip().rstrip("%")) > 50


def test_the_probability_of_a_word_is_that_of_its_characters_and_of_one_that_ends_it(
    finished: tuple[Path, str],
) -> None:
    known = language.load(finished[0] / "checkpoints" / "gru-seed0" / "best")
    found = dict(suggest.suggestions(known, "apple ", 1000, beams=400, longest=3))
    entries = known.vocabulary.entries
    tokens = [entries.index(character) for character in "apple an"]
    state = known.cell.initial_state(known.params.recurrent, ())
    _, outputs = rnnjax.unroll(
        known.cell, known.params.recurrent, language_model.embed(known.params, jnp.array(tokens)), state
    )
    p = np.asarray(jax.nn.softmax(language_model.logits(known.params, outputs)))
    ends = [number for number, entry in enumerate(entries) if not entry.isalnum()]
    np.testing.assert_allclose(found["an"], p[5, tokens[6]] * p[6, tokens[7]] * p[7, ends].sum(), rtol=1e-3)
    assert sum(found.values()) <= 1 + 1e-6


def test_a_best_rate_at_the_edge_of_those_tried_is_said_to_be_there() -> None:
    losses = {("adam", 0.1): 3.0, ("adam", 0.2): 2.0, ("adam", 0.3): 2.5, ("sgd", 1.0): 3.0, ("sgd", 2.0): 2.0}
    records = [
        {
            "kind": "evaluation",
            "run": f"gru-{optimizer}-{rate}",
            "cell": "gru",
            "optimizer": optimizer,
            "through": 8,
            "learning_rate": rate,
            "seed": 0,
            "step": 10,
            "loss_choose": loss,
            "loss_report": loss,
        }
        for (optimizer, rate), loss in losses.items()
    ]
    assert (
        report.at_the_edge(records) == "sgd is best at the highest rate tried: rates that were not tried may be better."
    )
    assert report.at_the_edge(records[:3]) == ""
    assert report.at_the_edge(records[1:]) == (
        "adam is best at the lowest rate tried; sgd is best at the highest rate tried: rates that were not tried "
        "may be better."
    )


@pytest.mark.slow
def test_what_is_published_stands_beside_ours_where_the_text_is_the_same_and_nowhere_else(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("to be or not to be")
    config = settings.get_config()
    config.corpus = str(text)
    assert published.text_of(config) == hashlib.sha256(b"to be or not to be").hexdigest()
    config.unit = "words"
    assert published.text_of(config) == ""
    records = [
        {"run": "a", "cell": "gru", "optimizer": "adam", "through": 64, "learning_rate": 0.1, "seed": 0, "step": 1}
        | {"kind": "evaluation", "loss_choose": 1.4, "loss_report": 1.7}
    ]
    assert published.table(records, "another text") == ""
    known = pd.read_csv(published.FIGURES)["text"][0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in published.table(records, known).splitlines()]
    losses = [float(row[1]) for row in rows[2:]]
    assert losses == sorted(losses)
    assert ["gru", "1.550", "state carried", "here"] in rows
