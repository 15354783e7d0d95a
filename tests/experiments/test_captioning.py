"""The captioning experiment: its networks by hand, where gradients come in, scores by counting, what a run leaves."""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from experiments.captioning import config as settings
from experiments.captioning import flow, model, report, scenes, scores
from experiments.captioning.convolution import over_patches
from experiments.captioning.data import HELD_OUT, SEEN, batch_of, in_rows
from experiments.captioning.grammar import END, LONGEST, WORDS, seen_in, words_of
from experiments.captioning.main import loss_with, plan
from experiments.captioning.model import ATTENTION, EVERY_STEP, INITIAL_STATE, NO_PICTURE, WAYS, Model, Network
from experiments.captioning.scenes import COMBINATIONS, Placed, Thing
from experiments.captioning.trained import captions, load
from tests.experiments.answers import answered
from tests.experiments.logs import records_in
from tests.experiments.runs import check_drawn
from tests.test_errors import check_refused

QUICK = ["--variant=quick"]
SEEING = (INITIAL_STATE, EVERY_STEP, ATTENTION)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the quick variant."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    ((status, printed),) = answered([{"module": "captioning", "flags": [*QUICK, f"--workdir={workdir}"]}])
    assert status == 0, printed
    return workdir


# Networks


BATCH = batch_of(in_rows(2, 5))
READ = model.shifted(BATCH.words)
SMALL = ConfigDict(
    {"cell": "elman", "hidden_size": 3, "channels": 4, "vector_size": 5, "embedding_size": 2, "attention_size": 6}
)


def network_of(way: str) -> tuple[Model, Network]:
    """Of Elman cells; no param is 0."""
    made = model.make_model(way, SMALL)
    with jax.enable_x64(False):
        network = jax.jit(lambda key: model.init(made, key))(jax.random.key(1))
        leaves, structure = jax.tree.flatten(network)
        moved = [leaf + 0.1 * np.cos(np.arange(leaf.size, dtype=np.float32)).reshape(leaf.shape) for leaf in leaves]
    return made, jax.tree.unflatten(structure, moved)


def features_of(made: Model) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(25, 2, made.channels)).astype(np.float32)


def written_out(made: Model, network: Network, features: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Logits (T, V) of one caption, of features (S, C), word by word."""
    plain = jax.tree.map(np.asarray, network)
    params, hidden, found = plain.decoder, np.zeros(3), []
    if made.way in (INITIAL_STATE, EVERY_STEP):
        dense, norm = (plain.vector["params"][f"layers_{number}"] for number in range(2))
        vector = features.reshape(-1) @ dense["kernel"] + dense["bias"]
        vector = (vector - vector.mean()) / np.sqrt(vector.var() + 1e-6) * norm["scale"] + norm["bias"]
        vector = np.maximum(vector, 0)
    if made.way == INITIAL_STATE:
        (start,) = params.state  # of an Elman cell's only field
        hidden = np.tanh(vector @ start.kernel + start.bias)
    cell = params if made.way in (EVERY_STEP, NO_PICTURE) else params.cell
    for word in [0, *words[:-1]]:
        x = plain.words[word]
        if made.way == EVERY_STEP:
            x = np.concatenate([x, vector])
        if made.way == ATTENTION:
            scores = [
                np.tanh(hidden @ params.query_kernel + m @ params.memory_kernel) @ params.score_kernel for m in features
            ]
            weights = np.exp(scores) / np.exp(scores).sum()
            x = np.concatenate([x, sum(a * m for a, m in zip(weights, features, strict=True))])
        hidden = np.tanh(x @ cell.kernel + hidden @ cell.recurrent_kernel + cell.bias)
        readout = plain.readout["params"]
        found.append(hidden @ readout["kernel"] + readout["bias"])
    return np.array(found)


@pytest.mark.parametrize("way", WAYS)
def test_logits_of_each_way_are_those_written_out_word_by_word(way: str) -> None:
    made, network = network_of(way)
    features = features_of(made)
    found = jax.jit(lambda network: model.logits(made, network, jnp.asarray(features), READ))(network)
    words = np.asarray(BATCH.words)
    for place in range(2):
        expected = written_out(made, network, features[:, place], words[:, place])
        np.testing.assert_allclose(found[:, place], expected, rtol=2e-4, atol=2e-5)
    nats = model.losses(found, BATCH._replace(mask=BATCH.mask.at[10:, 1].set(False)))
    assert (np.asarray(nats[10:, 1]) == 0).all()
    expected = np.log(np.exp(found).sum(axis=-1)) - np.take_along_axis(np.asarray(found), words[..., None], -1)[..., 0]
    np.testing.assert_allclose(nats[:, 0], expected[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", SEEING)
def test_without_features_each_way_says_what_a_decoder_says_that_sees_no_picture(way: str) -> None:
    """As it is before training, where biases are 0; the decoder that sees none has the same weights."""
    gated = ConfigDict({**SMALL, "cell": "gru"})
    made, blind = (model.make_model(each, gated) for each in (way, NO_PICTURE))
    network = jax.jit(lambda key: model.init(made, key))(jax.random.key(2))
    cell = network.decoder if way == EVERY_STEP else network.decoder.cell
    same = Network(None, None, None, network.words, cell._replace(kernel=cell.kernel[:2]), network.readout)
    features = jnp.zeros((25, 2, 4))
    found = model.logits(made, network, features, READ)
    expected = model.logits(blind, same, features, READ)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert abs(np.asarray(model.logits(made, network, features + 1, READ)) - expected).max() > 1e-3


@pytest.mark.parametrize("way", WAYS)
def test_one_beam_says_what_the_likeliest_word_each_time_says(way: str) -> None:
    made, network = network_of(way)
    features = jnp.asarray(features_of(made))
    found = jax.jit(lambda network: model.said(made, network, features, 1))(network)
    words = np.zeros((0, 2), np.int32)
    for _ in range(LONGEST):  # each time from the start, without a state that is carried
        padded = np.concatenate([words, np.zeros((LONGEST - len(words), 2), np.int32)])
        chosen = np.asarray(_LOGITS(made, network, features, model.shifted(jnp.asarray(padded))))[len(words)].argmax(
            axis=-1
        )
        ended = (words == 0).any(axis=0) if len(words) else np.zeros(2, bool)
        words = np.concatenate([words, np.where(ended, 0, chosen)[None].astype(np.int32)])
    np.testing.assert_array_equal(found.tokens[:, 0], words)


_LOGITS = jax.jit(model.logits, static_argnums=0)


def test_attention_looks_where_its_weights_say_and_moves_with_the_words() -> None:
    made, network = network_of(ATTENTION)
    features = features_of(made)
    found = np.asarray(model.looked_at(made, network, jnp.asarray(features), BATCH.words))
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)
    params, m = jax.tree.map(np.asarray, network.decoder), features[:, 1]
    hidden = np.zeros(3)
    scores = np.tanh(hidden @ params.query_kernel + m @ params.memory_kernel) @ params.score_kernel
    np.testing.assert_allclose(found[0, 1], np.exp(scores) / np.exp(scores).sum(), rtol=1e-4)
    assert abs(found[1] - found[0]).max() > 1e-4


@pytest.mark.parametrize(("side", "stride"), [(10, 2), (9, 2), (7, 1)])
def test_a_convolution_over_patches_has_the_values_and_gradients_of_jaxs_own(side: int, stride: int) -> None:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(2, side, side, 3)).astype(np.float32)
    kernel = generator.normal(size=(3, 3, 3, 4)).astype(np.float32)

    def of(convolve: Any) -> Any:
        def loss(images: Any, kernel: Any) -> Any:
            found = convolve(images, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            return jnp.sin(found).sum(), found

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(images, kernel)

    for own, jaxs in zip(
        *(jax.tree.leaves(of(each)) for each in (over_patches, jax.lax.conv_general_dilated)), strict=True
    ):
        np.testing.assert_allclose(own, jaxs, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="padding is 'VALID': expected 'SAME'"):
        over_patches(jnp.asarray(images), jnp.asarray(kernel), (1, 1), "VALID")


def test_each_place_of_the_feature_map_sees_the_pixels_around_its_middle_alone() -> None:
    made, network = network_of(ATTENTION)
    pictures = np.full((1, scenes.SIDE, scenes.SIDE, 3), 255, np.uint8)
    blank = np.asarray(model.see(made, network, pictures))
    for pixel in [(0, 0), (14, 14), (15, 15), (23, 30)]:
        changed = pictures.copy()
        changed[0, pixel[0], pixel[1]] = 0
        moved = (np.asarray(model.see(made, network, changed)) != blank).any(axis=-1)[:, 0].reshape(model.GRID, -1)
        middles = model.MIDDLE + model.SPACING * np.arange(model.GRID)
        rows, columns = (abs(middles - (place + 0.5)) <= 7.5 for place in pixel)
        assert not moved[~np.outer(rows, columns)].any()
        assert moved.any()


# Gradients


@pytest.mark.parametrize("way", SEEING)
@jax.numpy_dtype_promotion("standard")  # flax norms layers with numbers of 32 bits, too
def test_gradients_at_the_picture_by_step_are_those_of_differences_and_add_up(way: str, x64: None) -> None:
    made, network = network_of(way)
    network = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network)
    features = jnp.asarray(features_of(made), jnp.float64)
    apart = jnp.zeros((LONGEST + 1, *features.shape))

    @jax.jit
    def decided(moves: Any) -> Any:
        """Of the fourth word, by probabilities."""
        answers = flow.logits_apart(made, network, features, moves, BATCH.words)[3]
        most = jax.nn.softmax(answers).max(axis=-1)
        return jnp.log(most / (1 - most)).sum()

    gradient = np.asarray(jax.jit(jax.grad(decided))(apart))
    for place in [(0, 3, 0, 1), (1, 7, 1, 0), (4, 24, 0, 2), (5, 24, 0, 2)]:
        step = apart.at[place].set(1e-5)
        difference = (decided(step) - decided(-step)) / 2e-5
        np.testing.assert_allclose(gradient[place], difference, atol=1e-8)
    assert (gradient[5:] == 0).all()
    first, later = abs(gradient[0]).max(), abs(gradient[1:]).max()
    assert (first > 0) == (way == INITIAL_STATE)
    assert (later > 0) == (way != INITIAL_STATE)

    def whole(features: Any) -> Any:
        answers = model.logits(made, network, features, READ)[3]
        most = jax.nn.softmax(answers).max(axis=-1)
        return jnp.log(most / (1 - most)).sum()

    np.testing.assert_allclose(gradient.sum(axis=0), jax.jit(jax.grad(whole))(features), atol=1e-12)


def test_the_flow_of_a_network_is_root_mean_squares_over_pictures_of_these_gradients() -> None:
    made, network = network_of(EVERY_STEP)
    found = jax.jit(lambda network: flow.flow(made, network, BATCH))(network)
    features = model.see(made, network, BATCH.pictures)
    apart = jnp.zeros((LONGEST + 1, *features.shape))

    @jax.jit
    @jax.grad
    def decided(moves: Any, step: Any) -> Any:
        answers = flow.logits_apart(made, network, features, moves, BATCH.words)[step]
        most = jax.nn.softmax(answers).max(axis=-1)
        return jnp.log(most / (1 - most)).sum()

    for step in (2, 9):
        gradient = np.asarray(decided(apart, step))
        seen = np.sqrt(np.square(gradient).sum(axis=(1, 3)).mean(axis=1))
        np.testing.assert_allclose(found.seen[step], seen, rtol=1e-3, atol=1e-7)
        whole = np.sqrt(np.square(gradient.sum(axis=0)).sum(axis=(0, 2)).mean())
        np.testing.assert_allclose(found.picture[step], whole, rtol=1e-3)
        assert (np.asarray(found.states[step, step + 1 :]) == 0).all()
        assert (np.asarray(found.states[step, : step + 1]) > 0).all()
    assert found.states.shape == (LONGEST, LONGEST)


def test_a_fixed_cnn_has_no_gradient_and_a_trained_one_has() -> None:
    made, network = network_of(ATTENTION)

    def loss(network: Network, cnn: str) -> Any:
        key = jax.random.key(0)
        return loss_with(cnn, lambda network, batch, _: model.loss(made, network, batch), network, BATCH, key)

    for cnn, moves in (("trained", True), ("fixed", False)):
        gradient = jax.jit(jax.grad(loss), static_argnums=1)(network, cnn)
        assert any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient.convolutions)) == moves
        assert np.abs(gradient.words).max() > 0


# Scores


SCENES = [
    (Placed(Thing("small", *COMBINATIONS[0]), 8.0, 8.0, (1, 2, 3)),),
    (
        Placed(Thing("large", *COMBINATIONS[7]), 8.0, 8.0, (1, 2, 3)),
        Placed(Thing("small", *COMBINATIONS[8]), 21.0, 8.0, (1, 2, 3)),
    ),
]


def test_captions_are_right_to_the_letter_or_not_and_bleu_tells_how_it_was_counted() -> None:
    true = [words_of(seen_in(scene))[:-1] for scene in SCENES]
    found = scores.whole(true, SCENES, SEEN, 4)
    assert (found["exact"], found["exact_1"], found["exact_3"]) == (1, 1, None)
    np.testing.assert_allclose(found["bleu"], 100)
    assert found["signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    wrong = [true[0], [*true[1][:-1], "cross" if true[1][-1] != "cross" else "star"]]
    found = scores.whole(wrong, SCENES, SEEN, 4)
    assert found["exact"] == 0.5
    precisions = [13 / 14, 11 / 12, 9 / 10, 7 / 8]  # n-grams of 4 and of 10 words without the one that is wrong
    np.testing.assert_allclose(found["bleu"], 100 * np.prod(precisions) ** 0.25)


def test_without_sacrebleu_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(
        ModuleNotFoundError, match=r'needs sacrebleu, which is not installed: pip install "rnnjax\[capt'
    ):
        scores.metrics()


def test_words_are_counted_by_their_kind_and_by_whether_their_object_was_seen() -> None:
    true = [words_of(seen_in(scene))[:-1] for scene in SCENES]
    colour = COMBINATIONS[7][0]
    wrong = [word if word != "large" else "small" for word in true[1]]
    rows = {(row["group"], row["word"]): row for row in scores.words([true[0], wrong], SCENES, HELD_OUT, 1)}
    assert rows[scores.UNSEEN, "shape"] == {
        "kind": "words",
        "group": scores.UNSEEN,
        "word": "shape",
        "right": 1.0,
        "words": 1,
    }
    assert (rows[scores.OTHERS, "size"]["right"], rows[scores.OTHERS, "colour"]["right"]) == (0.5, 1.0)
    assert (rows[HELD_OUT, "relation"]["right"], rows[HELD_OUT, "number"]["words"]) == (1.0, 2)
    cut = scores.words([[], ["a", "large", colour, COMBINATIONS[7][1]]], SCENES, SEEN, 1)
    of_cut = {(row["group"], row["word"]): row["right"] for row in cut}
    assert of_cut[SEEN, "number"] == 0
    assert of_cut[SEEN, "relation"] == 0
    assert of_cut[SEEN, "shape"] == 0.5


def test_combinations_are_counted_with_what_they_were_called() -> None:
    true = [words_of(seen_in(scene))[:-1] for scene in SCENES]
    instead = ["a", "small", *COMBINATIONS[3]]
    found = scores.combinations({HELD_OUT: [instead], SEEN: [[]]}, {HELD_OUT: SCENES[:1], SEEN: SCENES[1:]}, 1)
    assert found["counts"].sum() == 3
    assert found["counts"][0, 3] == 1
    assert found["counts"][7, 25] == found["counts"][8, 25] == 1
    found = scores.combinations({HELD_OUT: true[1:], SEEN: true[:1]}, {HELD_OUT: SCENES[1:], SEEN: SCENES[:1]}, 1)
    assert found["counts"].sum() == 0


# A run


def test_a_run_leaves_records_figures_and_a_summary(finished: Path) -> None:
    check_drawn(finished, [make.__name__ for make in report.FIGURES])
    summary = (finished / "summary.md").read_text()
    records = records_in(finished)
    signature = next(record["signature"] for record in records if record["kind"] == "result")
    assert f"signature\n`{signature}`" in summary
    assert "tok:13a" in signature
    assert "400 scenes to train on, none with any of 5 of the 25 combinations" in summary
    assert "NaN" not in (finished / "metrics.jsonl").read_text()
    flows = [record for record in records if record["kind"] == "flow"]
    assert {(record["way"], record["phase"]) for record in flows} == {
        (way, phase) for way in SEEING for phase in ("initialization", "trained")
    }
    for record in flows:
        seen = np.array(record["seen"])
        assert (seen[:, 1:].max() > 0) == (record["way"] != INITIAL_STATE)
        assert (seen[:, 0].max() > 0) == (record["way"] == INITIAL_STATE)


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(finished: Path, tmp_path: Path) -> None:
    flags = [*QUICK, f"--workdir={tmp_path / 'run'}", "--config.ways=attention", "--config.seeds=1"]
    call = {"module": "captioning", "flags": flags}
    killed, done = answered([call | {"fault": "killed", "at": ("experiments.common.checkpoint", "save", 2)}, call])
    assert killed[0] != 0
    assert done[0] == 0, done[1]
    assert records_in(tmp_path / "run") == [each for each in records_in(finished) if each["run"] == "attention-seed0"]


def test_a_trained_network_says_of_a_picture_what_it_said_of_it_in_the_run(finished: Path) -> None:
    known = load(finished / "checkpoints" / "attention-seed0" / "last")
    of_run = [each for each in records_in(finished) if each["kind"] == "example" and each["run"] == "attention-seed0"]
    for each in of_run:
        found = captions(known, scenes.rendered(scenes.scene_of(each["scene"])), 2)
        assert " ".join(found[0].words) == each["said"]
        assert found[0].probability >= found[1].probability > 0
        assert len(each["looked"]) == len(found[0].words) + (len(found[0].words) < LONGEST)
    assert END not in found[0].words
    assert set(found[0].words) <= set(WORDS)


def test_a_picture_is_drawn_and_captioned_and_wrong_commands_are_answered_in_a_line(
    finished: Path, tmp_path: Path
) -> None:
    picture, grey = tmp_path / "scene.png", tmp_path / "grey.png"
    draw = {
        "module": "captioning.picture",
        "flags": ["--of=a small red star above a large blue cross.", f"--to={picture}"],
    }
    ((status, printed),) = answered([draw])
    assert status == 0, printed
    Image.open(picture).convert("L").save(grey)
    Image.open(picture).resize((80, 80)).save(tmp_path / "large.png")
    given = f"--workdir={finished}"
    ((status, printed),) = answered([{"module": "captioning.caption", "flags": [str(tmp_path / "large.png"), given]}])
    assert status == 0
    assert printed.strip() == f"{tmp_path / 'large.png'}: scaled from 80 by 80 pixels to 40 by 40"
    calls = {
        ("captioning.caption", given): "there is no picture: give files",
        ("captioning.caption", given, "nowhere.png"): "nowhere.png does not exist: give a picture file",
        ("captioning.caption", given, str(grey)): "has no colours (mode L of Pillow)",
        ("captioning.caption", given, str(Path(__file__))): "is no picture that Pillow can read",
        ("captioning.caption", given, str(picture), "--run=atention-seed0"): "--run=atention-seed0 is not in",
        ("captioning.caption", given, str(picture), "--beams=0"): "--beams is 0: expected 1 to 100",
        (
            "captioning.caption",
            f"--workdir={tmp_path}",
            str(picture),
        ): "has no trained network: give the folder of a run",
        ("captioning.picture", "--of=a red star"): "--of='a red star' is no caption: expected one to 3 of",
        ("captioning.picture", "--of=a small red star", f"--to={tmp_path}/scene.what"): "cannot be written (",
        ("captioning", "--config.ways=sideways"): "unknown way 'sideways'",
    }
    found = answered([{"module": module, "flags": list(flags)} for module, *flags in calls])
    for (status, printed), message in zip(found, calls.values(), strict=True):
        assert status == 1
        assert message in printed
        assert len(printed.strip().splitlines()) <= 2


@pytest.mark.parametrize("variant", ["default", *(variant.__name__ for variant in settings.VARIANTS)])
def test_the_plan_of_every_variant_has_each_way_once_a_seed(variant: str) -> None:
    config = settings.get_config(variant)
    runs = plan(config)
    assert len({run.name for run in runs}) == len(runs) == len(config.ways.split(",")) * config.seeds


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ways", "attention,sideways", "unknown way 'sideways'"),
        ("cnn", "frozen", "unknown cnn 'frozen'"),
        ("cell", "gruu", "unknown cell 'gruu': did you mean 'gru'"),
        ("held_out", 21, "--config.held_out is 21"),
        ("held_out", 0, "--config.held_out is 0"),
        ("channels", 3, "--config.channels is 3: expected at least 4"),
        ("beams", 0, "--config.beams is 0: expected at least 1"),
        ("evaluate_every", 75, "--config.evaluate_every is 75: expected a multiple of --config.steps_a_call"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("default"), field, value, message)
