"""The captioning experiment: scores by counting, what a run leaves, and its commands."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.captioning import config as settings
from experiments.captioning import report, scenes, scores
from experiments.captioning.data import HELD_OUT, SEEN
from experiments.captioning.grammar import END, LONGEST, WORDS, seen_in, words_of
from experiments.captioning.main import plan
from experiments.captioning.model import ATTENTION, EVERY_STEP, INITIAL_STATE
from experiments.captioning.scenes import COMBINATIONS, Placed, Thing
from experiments.captioning.trained import captions, load
from tests.answers import answered
from tests.experiments.logs import records_in
from tests.experiments.runs import check_drawn, check_page
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
    check_page(finished, "captioning")
    summary = (finished / "summary.md").read_text()
    records = records_in(finished)
    signature = next(record["signature"] for record in records if record["kind"] == "result")
    assert f"signature is\n`{signature}`" in summary
    assert "tok:13a" in signature
    assert "400 scenes to train on, none of which has any of 5 of the 25 combinations" in summary
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
    call = {"module": "captioning", "flags": flags, "drawn": False}
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
    picture = tmp_path / "scene.png"
    draw = {
        "module": "captioning.picture",
        "flags": ["--of=a small red star above a large blue cross.", f"--to={picture}"],
    }
    ((status, printed),) = answered([draw])
    assert status == 0, printed
    Image.open(picture).resize((80, 80)).save(tmp_path / "large.png")
    given = f"--workdir={finished}"
    ((status, printed),) = answered([{"module": "captioning.caption", "flags": [str(tmp_path / "large.png"), given]}])
    assert status == 0
    assert printed.strip() == f"{tmp_path / 'large.png'}: scaled from 80 by 80 pixels to 40 by 40"
    calls = {
        ("captioning.caption", given): "no picture is given: give files",
        ("captioning.caption", given, "nowhere.png"): "nowhere.png does not exist: give a picture file",
        ("captioning.caption", given, str(picture), "--run=atention-seed0"): "--run=atention-seed0 is not in",
        ("captioning.caption", given, str(picture), "--beams=0"): "--beams is 0: expected 1 to 100",
        (
            "captioning.caption",
            f"--workdir={tmp_path}",
            str(picture),
        ): "has no trained network: give the folder of a run",
        ("captioning.picture", "--of=a red star"): "--of='a red star' is not a caption: expected one to 3",
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
