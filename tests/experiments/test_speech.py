"""The speech experiment: its networks by hand, params, delays, padding, how far decisions reach, what a run leaves."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.speech import config as settings
from experiments.speech import main as speech
from experiments.speech import model, reach, report
from experiments.speech.data import Batch, Stream
from experiments.speech.main import SIZES, plan
from experiments.speech.model import Drawn, Layer, Network, Sizes
from tests.answers import answered
from tests.experiments.logs import records_in
from tests.experiments.runs import check_drawn, check_page
from tests.test_errors import check_refused

QUICK = ["--variant=quick"]
SMALL = Sizes(bands=24, classes=5)
LENGTHS = np.array([6, 14, 9])
NAMES = ("cnn-lstm-dnn", "lstm-dnn", "cnn-dnn", "cnn-lstm", "lstm", "dnn", "cnn", "bidirectional:cnn-lstm-dnn")


def layer_of(name: str) -> Layer:
    return Layer(*model.parts_of(name), maps=2, reduced=4, width=3)


def network_of(layer: Layer) -> Network:
    with jax.enable_x64(False):
        found = jax.jit(lambda key: model.init(layer, SMALL, key))(jax.random.key(1))
        keys = iter(jax.random.split(jax.random.key(2), 30))
        return jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(next(keys), leaf.shape), found)  # biases, too


def batch_of(steps: int = 14) -> Batch:
    """Three utterances, zeros in the padding."""
    generator = np.random.default_rng(0)
    mask = np.arange(steps)[:, None] < LENGTHS
    inputs = np.where(mask[..., None], np.resize(generator.normal(size=(14, 3, 24)), (steps, 3, 24)), 0)
    labels = np.where(mask, generator.integers(0, 5, (steps, 3)), 0)
    return Batch(jnp.asarray(inputs, jnp.float32), jnp.asarray(mask), jnp.asarray(labels, jnp.int32))


# Networks


def convolved(frames: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(T, F', C') of (T, F, C), nothing before the first frame; relu."""
    times, bands = kernel.shape[:2]
    found = np.zeros((len(frames), frames.shape[1] - bands + 1, kernel.shape[3]))
    for t in range(len(frames)):
        for f in range(found.shape[1]):
            total = bias.copy()
            for i in range(times):
                if t - times + 1 + i >= 0:
                    total = total + np.einsum("fc,fcd->d", frames[t - times + 1 + i, f : f + bands], kernel[i])
            found[t, f] = np.maximum(total, 0)
    return found


def lstm(params: Any, inputs: np.ndarray) -> np.ndarray:
    hidden, cell, outputs = np.zeros(3), np.zeros(3), []
    for x in inputs:
        i, f, g, o = np.split(x @ params.kernel + hidden @ params.recurrent_kernel + params.bias, 4)
        cell = cell / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        hidden = np.tanh(cell) / (1 + np.exp(-o))
        outputs.append(hidden)
    return np.array(outputs)


def written_out(layer: Layer, network: Network, frames: np.ndarray) -> np.ndarray:
    """Logits (T, K) of one utterance (T, F) alone, step by step."""
    plain, found = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), network), frames
    if "cnn" in layer.parts:
        params = plain.convolutions["params"]
        planes = convolved(
            found[..., None], params["Dense_0"]["kernel"].reshape(9, 9, 1, 2).swapaxes(0, 1), params["Dense_0"]["bias"]
        )
        planes = np.stack([planes[:, 3 * b : 3 * b + 3].max(axis=1) for b in range(planes.shape[1] // 3)], axis=1)
        planes = convolved(
            planes, params["Dense_1"]["kernel"].reshape(4, 3, 2, 2).swapaxes(0, 1), params["Dense_1"]["bias"]
        )
        found = planes.reshape(len(planes), -1) @ params["Dense_2"]["kernel"] + params["Dense_2"]["bias"]
    if layer.bidirectional:
        both = plain.recurrent
        found = np.concatenate([lstm(both.forward, found), lstm(both.backward, found[::-1])[::-1]], axis=1)
    elif "lstm" in layer.parts:
        found = lstm(plain.recurrent, found)
    if "dnn" in layer.parts:
        if layer.parts == ("dnn",):
            before = np.concatenate([np.zeros((10, 24)), found])
            found = np.stack([before[t : t + 11].ravel() for t in range(len(found))])
        params = plain.dense["params"]
        found = np.maximum(found @ params["kernel"] + params["bias"], 0)
    readout = plain.readout["params"]
    result: np.ndarray = found @ readout["kernel"] + readout["bias"]
    return result


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_answers_of_a_padded_batch_are_those_of_each_utterance_alone_written_out_and_delayed(name: str) -> None:
    layer, batch, delay = layer_of(name), batch_of(), 0 if ":" in name else 2
    network = network_of(layer)
    found = jax.jit(lambda network: model.answers(layer, delay, network, batch))(network)
    for place, length in enumerate(LENGTHS):
        frames = np.concatenate([np.asarray(batch.inputs[:length, place], np.float64), np.zeros((delay, 24))])
        expected = written_out(layer, network, frames)[delay:]
        np.testing.assert_allclose(found[:length, place], expected, rtol=2e-4, atol=2e-5)


def test_a_forward_network_knows_nothing_of_what_comes_after_its_delay_and_a_bidirectional_one_all() -> None:
    batch = batch_of()
    changed = batch._replace(inputs=batch.inputs.at[9:, 1].add(1.0))
    for name, delay, first in (("cnn-lstm-dnn", 2, 7), ("dnn", 0, 9), ("bidirectional:lstm", 0, 0)):
        layer = layer_of(name)
        answer = jax.jit(lambda network, batch, layer=layer, delay=delay: model.answers(layer, delay, network, batch))
        network = network_of(layer)
        change = np.abs(answer(network, batch) - answer(network, changed)).max(axis=(1, 2))
        assert (change[:first] == 0).all()
        assert (change[first:13] > 0).all()


@pytest.mark.slow
def test_more_padding_changes_nothing() -> None:
    for name in ("cnn-lstm-dnn", "bidirectional:cnn-lstm-dnn"):
        layer = layer_of(name)
        network = network_of(layer)
        found = [np.asarray(model.answers(layer, 2, network, batch_of(steps))) for steps in (14, 20)]
        mask = np.asarray(batch_of().mask)
        np.testing.assert_allclose(found[0][mask], found[1][:14][mask], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["default", "quick"])
def test_all_networks_have_about_as_many_params_and_no_width_is_nearer(variant: str) -> None:
    config = settings.get_config(variant)
    target = model.count_params(model.sized_layer("cnn-lstm-dnn", config, SIZES), SIZES)
    for name in config.networks.split(","):
        layer = model.sized_layer(name, config, SIZES)
        gaps = [
            abs(model.count_params(layer._replace(width=layer.width + more), SIZES) - target) for more in (-1, 0, 1)
        ]
        assert gaps[1] == min(gaps)
        assert gaps[1] / target < (0.01 if variant == "default" else 0.1)


def test_params_are_those_counted_by_hand() -> None:
    layer = Layer(("cnn", "lstm", "dnn"), False, 8, 64, 96)
    convolutions = (81 * 8 + 8) + (12 * 8 * 8 + 8) + (7 * 8 * 64 + 64)  # 40 - 8 bands, 10 thirds, 10 - 3 of them
    expected = convolutions + 4 * 96 * (64 + 96 + 1) + 97 * 96 + 97 * 45
    assert model.count_params(layer, SIZES) == expected


def test_a_drawn_window_has_the_labels_that_its_frames_have_and_its_loss_is_that_of_the_answers() -> None:
    layer = layer_of("lstm")
    network, delay = network_of(layer), 2
    generator = np.random.default_rng(3)
    inputs = generator.normal(size=(1, 8, 24)).astype(np.float32)
    stream = Stream(jnp.asarray(inputs), jnp.asarray(generator.integers(0, 5, 8), jnp.int32))
    found = jax.jit(
        lambda network: model.drawn_loss(layer, delay, Drawn(1, 6, 0.0), network, stream, jax.random.key(0))
    )
    logits = written_out(layer, network, inputs[0].astype(np.float64))[delay:]  # there is but one window of 6 + 2
    nats = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(6), np.asarray(stream.labels[:6])]
    np.testing.assert_allclose(found(network), nats.mean(), rtol=1e-4)
    dropped = jax.jit(
        lambda network: model.drawn_loss(layer, delay, Drawn(1, 6, 0.5), network, stream, jax.random.key(0))
    )
    assert abs(dropped(network) - found(network)) > 1e-4


@pytest.mark.parametrize("name", ["cnn-dnn", "lstm", "bidirectional:lstm"])
def test_gradients_by_distance_are_medians_of_differences_of_the_log_odds(name: str, x64: None) -> None:
    layer, delay, lags = layer_of(name), 1, 2
    network = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network_of(layer))
    batch = batch_of()
    batch = batch._replace(inputs=batch.inputs.astype(jnp.float64))
    places = np.array([2, 6, 4])
    given = reach.Asked(batch, jnp.asarray(places))
    found = jax.jit(lambda network: reach.flow(layer, delay, network, given, lags))(network)

    @jax.jit
    def log_odds(inputs: Any) -> Any:
        """By probabilities: ln p / (1 - p) of the likeliest class."""
        logits = model.answers(layer, delay, network, batch._replace(inputs=inputs))[places, jnp.arange(3)]
        most = jax.nn.softmax(logits, axis=-1).max(axis=-1)
        return jnp.log(most / (1 - most))

    norms = np.zeros((2 * lags + 1, 3))
    for lag in range(-lags, lags + 1):
        squares = np.zeros(3)
        for band in range(24):
            change = np.zeros(batch.inputs.shape)
            change[places + lag, np.arange(3), band] = 1e-6
            squares += np.square((log_odds(batch.inputs + change) - log_odds(batch.inputs - change)) / 2e-6)
        norms[lag + lags] = np.sqrt(squares)
    np.testing.assert_allclose(found.inputs, np.median(norms, axis=1), rtol=1e-4, atol=1e-9)
    if not layer.bidirectional:
        assert found.inputs[-1] == 0  # 20 ms ahead, where 10 are heard
    directions = {"cnn-dnn": [], "lstm": ["forward"], "bidirectional:lstm": ["forward", "backward"]}
    assert sorted(found.states) == sorted(directions[name])


def test_decisions_are_asked_of_frames_with_a_phoneme_that_have_room_to_both_sides() -> None:
    batch = batch_of()
    batch = batch._replace(labels=batch.labels.at[6:8].set(0))
    found = reach.asked(batch, 4)
    assert found.batch.inputs.shape[1] == len(found.places) == 6  # of the first utterance none has
    for column, place in enumerate(np.asarray(found.places)):
        assert found.batch.labels[place, column] != 0
        assert 4 <= place < int(found.batch.mask[:, column].sum()) - 4
    with pytest.raises(ValueError, match=r"--config.lags is 9: expected less"):
        reach.asked(batch, 9)


def test_scores_are_those_counted_by_hand() -> None:
    layer, batch = layer_of("dnn"), batch_of()
    network = network_of(layer)
    found = jax.jit(lambda network: speech.scores(layer, 1, network, batch))(network)
    said = np.asarray(model.answers(layer, 1, network, batch)).argmax(axis=-1)
    pairs = [(int(batch.labels[t, n]), int(said[t, n])) for n, length in enumerate(LENGTHS) for t in range(length)]
    np.testing.assert_allclose(found.error, np.mean([true != one for true, one in pairs]), rtol=1e-6)
    spoken = [true != one for true, one in pairs if true]
    np.testing.assert_allclose(found.speech_error, np.mean(spoken), rtol=1e-6)
    assert int(found.confusion.sum()) == int(found.frames) == len(pairs)
    assert all(found.confusion[true, one] == pairs.count((true, one)) for true in range(5) for one in range(5))


# A run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the quick variant."""
    pytest.importorskip("espeakng_loader", reason="not installed: rnnjax[speech]")
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    call = {"module": "speech", "flags": [*QUICK, f"--workdir={workdir}"]}
    ((status, printed),) = answered([call])
    assert status == 0, printed
    return workdir


def test_a_run_leaves_records_figures_and_a_summary(finished: Path) -> None:
    check_drawn(finished, [make.__name__ for make in report.FIGURES if make is not report.error_by_delay])
    check_page(finished, "speech")
    summary = (finished / "summary.md").read_text()
    assert "espeak-ng" in summary
    assert "cnn-lstm-dnn has fewer frames wrong than cnn-dnn" in summary
    heard: set[int] = set()
    for record in records_in(finished):
        if record["kind"] == "result":
            counts = np.array(record["confusion"])
            np.testing.assert_allclose(record["error"], 1 - np.trace(counts) / counts.sum(), atol=1e-6)
        if record["kind"] == "flow" and record["network"] == "cnn-dnn":
            heard |= set(np.flatnonzero(record["inputs"]) - 20)
    # Each frame from t + 5 - 10 to t + 5; with two maps, both may be without effect in one of the networks.
    assert heard == set(range(-5, 6))


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(finished: Path, tmp_path: Path) -> None:
    flags = [*QUICK, f"--workdir={tmp_path / 'run'}", "--config.networks=cnn-dnn", "--config.seeds=1"]
    call = {"module": "speech", "flags": flags, "drawn": False}
    killed, done = answered([call | {"fault": "killed", "at": ("experiments.common.checkpoint", "save", 2)}, call])
    assert killed[0] != 0
    assert done[0] == 0, done[1]
    assert records_in(tmp_path / "run") == [each for each in records_in(finished) if each["run"] == "cnn-dnn-5-seed0"]


@pytest.mark.parametrize("variant", ["default", *(variant.__name__ for variant in settings.VARIANTS)])
def test_the_plan_of_every_variant_has_bidirectional_networks_once_a_seed_and_others_once_a_delay(variant: str) -> None:
    config = settings.get_config(variant)
    runs, networks = plan(config), config.networks.split(",")
    both = sum(":" in name for name in networks)
    expected = config.seeds * (both + (len(networks) - both) * len(config.delays.split(",")))
    assert len({run.name for run in runs}) == len(runs) == expected


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("networks", "lstm-cnn", "unknown network 'lstm-cnn'"),
        ("networks", "bidirectional:dnn", "unknown network 'bidirectional:dnn'"),
        ("networks", "forward:lstm", "unknown network 'forward:lstm'"),
        ("delays", "5,-1", "--config.delays is '5,-1'"),
        ("noise", "brown", "unknown noise 'brown'"),
        ("train_conditions", "clean,loud", "'loud' is not a condition"),
        ("held_out_voices", "en+f1", "--config.held_out_voices has en+f1"),
        ("fastest", 100, "--config.fastest is 100"),
        ("highest_pitch", 120, "--config.highest_pitch is 120"),
        ("dropout", 1.0, "--config.dropout is 1"),
        ("evaluate_every", 30, "--config.evaluate_every is 30: expected a multiple of --config.steps_a_call"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("default"), field, value, message)
