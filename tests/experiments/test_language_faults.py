"""What kills, interruptions, a full disk and damage do to the language experiment, and what it answers to bad input."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments.common import checkpoint
from experiments.language import main as language
from tests.answers import answered

FLAGS = ["--variant=quick", "--config.hidden_size=8", "--config.checkpoint_every=10", "--config.averaged_over=10"]
FLAGS += ["--config.recurrent_dropout=0.2", "--config.devices=2"]
Life = dict[str, Any]
Answers = dict[tuple[str, ...], tuple[int, str]]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of texts to train on, few of which can be."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "salads.txt").write_text("apple and pear salad\na pair of shoes\n" * 200)
    (folder / "empty.txt").write_text("")
    (folder / "binary.txt").write_bytes(b"abc\xdf\x00" * 400)
    (folder / "ten.txt").write_text("0123456789")
    (folder / "hundred.txt").write_text("0123456789" * 10)
    (folder / "same.txt").write_text("a" * 9000)
    (folder / "spaces.txt").write_text(" " * 9000)
    (folder / "rare.txt").write_text(" ".join(f"w{number}" for number in range(3000)))
    (folder / "prompt.txt").write_text("apple ")
    return folder


def life(texts: Path, workdir: Path, fault: str = "", at: tuple[str, str, int] | None = None, *flags: str) -> Life:
    """A call of the experiment, in which something may go wrong when a function is called for a given time."""
    given = [*FLAGS, f"--config.corpus={texts / 'salads.txt'}", f"--workdir={workdir}", *flags]
    return {"module": "language", "flags": given, "drawn": False} | ({"fault": fault, "at": at} if fault else {})


@pytest.fixture(scope="module")
def finished(texts: Path) -> Path:
    """The workdir of a run that nothing happened to."""
    ((status, printed),) = answered([life(texts, texts / "finished")])
    assert status == 0, printed
    return texts / "finished"


def arrays(saved: Path) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(checkpoint.read(saved).tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def check_same(workdir: Path, finished: Path) -> None:
    """Records and every checkpoint, with all that a step depends on, bit for bit."""
    assert (workdir / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()
    assert (workdir / "summary.md").read_bytes() == (finished / "summary.md").read_bytes()
    run = Path("checkpoints") / "gru-seed0"
    found, expected = (checkpoint.of_run(folder / run) for folder in (workdir, finished))
    assert [path.relative_to(workdir) for path in found] == [path.relative_to(finished) for path in expected]
    assert [path.name for path in expected if path.parent.name == "last"] == ["40", "30"]
    for saved, other in zip(found, expected, strict=True):
        assert checkpoint.about(saved) == checkpoint.about(other)
        ours, theirs = arrays(saved), arrays(other)
        assert {"['key']", "['step']"} < set(theirs) == set(ours)
        assert {name.split("'")[1] for name in theirs} == set(language.TrainState._fields)
        for name, value in theirs.items():
            assert ours[name].tobytes() == value.tobytes(), name
    assert not [*(workdir / run).rglob("*.partial*"), *(workdir / run).rglob("*.dropped")]


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(
    finished: Path, texts: Path, tmp_path: Path
) -> None:
    """In the first save of all, in one on the way, between a save and the end of an older one, while drawing."""
    saving, tidying = ("experiments.common.checkpoint", "_sums"), ("experiments.common.checkpoint", "tidy")
    workdir = tmp_path / "killed"
    kills = [(*saving, 1), (*saving, 4), (*tidying, 6), ("experiments.common.drawing", "draw", 1)]
    answers = answered([life(texts, workdir, "killed", at) for at in kills[:2]])
    assert [status for status, _ in answers] == [-9, -9], answers
    run = workdir / "checkpoints" / "gru-seed0"
    assert [path.relative_to(run).as_posix() for path in checkpoint.of_run(run)] == ["best/20", "last/10", "best/0"]
    with (workdir / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"run": "gru-se')  # killed while it wrote
    answers = answered([*(life(texts, workdir, "killed", at) for at in kills[2:]), life(texts, workdir)])
    assert [status for status, _ in answers] == [-9, -9, 0], answers
    check_same(workdir, finished)


def test_a_run_that_is_interrupted_says_how_it_goes_on_and_ends_as_one_that_was_not(
    finished: Path, texts: Path, tmp_path: Path
) -> None:
    """While it compiles, trains and evaluates."""
    workdir = tmp_path / "interrupted"
    compiling, training = ("experiments.language.model", "window_loss"), ("experiments.common.training", "_best")
    moments = [(*compiling, 1), (*training, 3), ("experiments.language.held_out", "carried_loss", 1)]
    *stopped, (status, printed) = answered(
        [*(life(texts, workdir, "interrupted", at) for at in moments), life(texts, workdir)]
    )
    for code, told in stopped:
        assert code == 130, told
        assert told.splitlines()[-1] == "interrupted; run the same command again to continue where it stopped"
        assert "Traceback" not in told
    assert status == 0, printed
    check_same(workdir, finished)


@pytest.mark.slow
def test_what_was_interrupted_while_it_overwrites_goes_on_without_that_flag(texts: Path, tmp_path: Path) -> None:
    at = ("experiments.language.model", "window_loss", 1)
    ((status, printed),) = answered([life(texts, tmp_path / "run", "interrupted", at, "--overwrite")])
    assert status == 130, printed
    assert printed.endswith(
        "\ninterrupted; run the same command again, without --overwrite, to continue where it stopped\n"
    )


def test_a_full_disk_is_told_in_a_line_and_the_last_checkpoint_gone_on_from(
    finished: Path, texts: Path, tmp_path: Path
) -> None:
    """While a checkpoint is written, then while records are."""
    workdir = tmp_path / "full"
    moments = [
        ("experiments.common.checkpoint", "_require_room", 4),
        ("experiments.language.held_out", "carried_loss", 1),
    ]
    in_checkpoint, in_records, last = answered(
        [*(life(texts, workdir, "disk full", at) for at in moments), life(texts, workdir)]
    )
    saved = workdir / "checkpoints" / "gru-seed0" / "last"
    assert in_checkpoint[0] == in_records[0] == 1
    assert in_checkpoint[1].splitlines()[-1] == (
        f"error: the checkpoint {saved / '20'} cannot be written (File too large; last good one: {saved / '10'}): mend "
        "this and run the same command again to go on"
    )
    assert (
        in_records[1].splitlines()[-1].startswith("error: [Errno 27] File too large; what was finished before is kept")
    )
    assert "Traceback" not in in_checkpoint[1] + in_records[1]
    assert last[0] == 0, last[1]
    check_same(workdir, finished)


def test_evaluating_saving_and_sampling_less_often_changes_nothing_in_training(
    finished: Path, texts: Path, tmp_path: Path
) -> None:
    seldom = ["--config.evaluate_every=40", "--config.checkpoint_every=40", "--config.sample_length=1"]
    ((status, printed),) = answered([life(texts, tmp_path, "", None, *seldom)])
    assert status == 0, printed
    ours, theirs = (arrays(path / "checkpoints" / "gru-seed0" / "last" / "40") for path in (tmp_path, finished))
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert ours[name].tobytes() == value.tobytes(), name


def test_a_damaged_best_checkpoint_is_told_and_the_one_before_used(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = tmp_path / "best"
    shutil.copytree(finished / "checkpoints" / "gru-seed0" / "best", best)
    newest, before = checkpoint.steps(best)
    expected = arrays(best / str(before))["['average']['readout']['params']['kernel']"]
    (best / str(newest) / "state" / "manifest.ocdbt").unlink()
    known = language.load(best)
    np.testing.assert_array_equal(known.params.readout["params"]["kernel"], expected)
    assert capsys.readouterr().err.splitlines() == [
        f"{best / str(newest)} is damaged (state/manifest.ocdbt is missing): the checkpoint before it is used"
    ]


TRAINING = [
    (["--config.corpus=TEXTS/empty.txt"], "empty.txt is empty: expected text"),
    (["--config.corpus=TEXTS/missing.txt"], "missing.txt does not exist: give the path of a UTF-8 text file"),
    (["--config.corpus=TEXTS/binary.txt"], "binary.txt is not UTF-8 text: byte 0xdf at position 3"),
    (["--config.corpus=TEXTS"], "is not a file: give the path of one UTF-8 text file"),
    (["--config.corpus=/proc/self/mem"], "corpus /proc/self/mem cannot be read (Input/output error)"),
    (
        ["--config.corpus=TEXTS/ten.txt"],
        "nine tenths of it to train on, --config.batch_size=4: streams of 2 tokens are",
    ),
    (["--config.corpus=TEXTS/hundred.txt"], "a twentieth of it held out, --config.evaluation_streams=5: there are 5"),
    (["--config.corpus=TEXTS/same.txt"], "has but one of the characters that are told apart"),
    (["--config.corpus=TEXTS/spaces.txt", "--config.unit=words"], "there are 0 tokens for 4 streams"),
    (
        ["--config.corpus=TEXTS/rare.txt", "--config.unit=words", "--config.vocabulary_size=2"],
        "has but one of the words",
    ),
    (["--config.hidden_size=1000000"], "not enough memory: about "),
    (["--config.devices=3"], "--config.devices=3: expected a divisor of batch_size=4"),
    (["--config.learning_rate=nan"], "--config.learning_rate is nan: expected a finite number"),
    (["--config.learning_rate=inf"], "--config.learning_rate is inf: expected a finite number"),
    (["--config.optimizers=adam:nan"], "--config.optimizers has 'adam:nan': expected a positive learning rate"),
    (["--config.weight_decay=nan"], "--config.weight_decay is nan: expected a finite number"),
    (["--config.hidden_size=wide"], "flag --config.hidden_size=wide: expected a whole number"),
    (["--config.zoneout=half"], "flag --config.zoneout=half: expected a number"),
    (["--config.residual=maybe"], "flag --config.residual=maybe: expected true or false"),
    (["--config=TEXTS/wrong.py"], "--config.hidden_size is '8' (str): expected int, as 256 in"),
    (["--config=TEXTS/less.py"], "the config has no field patience: expected all fields of"),
]


@pytest.fixture(scope="module")
def refused(texts: Path) -> Answers:
    """Exit status and standard error of every command line in TRAINING."""
    for name, change in (("wrong", "fields['hidden_size'] = '8'"), ("less", "del fields['patience']")):
        (texts / f"{name}.py").write_text(
            "from ml_collections import ConfigDict\nfrom experiments.language import config\n\n"
            "def get_config():\n    fields = config.get_config().to_dict()\n"
            f"    {change}\n    return ConfigDict(fields)\n"
        )
    quick = ["--variant=quick", f"--workdir={texts / 'none'}"]
    lines = [[*([] if "--config=" in flags[0] else quick[:1]), quick[1], *flags] for flags, _ in TRAINING]
    calls = [{"module": "language", "flags": [flag.replace("TEXTS", str(texts)) for flag in line]} for line in lines]
    return {tuple(flags): answer for (flags, _), answer in zip(TRAINING, answered(calls), strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "message"), TRAINING)
def test_a_text_or_config_that_cannot_be_is_answered_in_a_line(
    refused: Answers, texts: Path, flags: list[str], message: str
) -> None:
    status, printed = refused[tuple(flags)]
    assert status == 1
    assert message in printed
    assert len(printed.strip().splitlines()) <= 2, printed
    assert not (texts / "none").exists()


UNKNOWN_CHARACTER = "the character '€' (line 1, column 7) is not among the 14 characters that the model knows"
NO_ENTRY = "--unknown=replace: the vocabulary of 14 characters has no entry for the unknown; give --unknown=skip"
COMMANDS = [
    ("generate", ["--workdir=/nowhere"], "--workdir=/nowhere has no trained network: give the folder of a run"),
    ("generate", ["--workdir=TEXTS/begun"], "has no trained network yet: expected a checkpoint; wait for its first"),
    ("score", ["--workdir=TEXTS/begun", "--text=a"], "has no trained network yet: expected a checkpoint"),
    ("suggest", ["--workdir=TEXTS/begun", "--text=a"], "has no trained network yet: expected a checkpoint"),
    ("generate", ["--run=lstm-seed0"], "--run=lstm-seed0 is not in --workdir="),
    ("generate", ["--prompt=apple €"], f"--prompt: {UNKNOWN_CHARACTER}; --unknown=skip goes on"),
    ("score", ["--text=apple €"], f"--text: {UNKNOWN_CHARACTER}; --unknown=skip goes on"),
    ("suggest", ["--text=apple €"], f"--text: {UNKNOWN_CHARACTER}; --unknown=skip goes on"),
    ("generate", ["--prompt=apple €", "--unknown=replace"], NO_ENTRY),
    ("score", ["--text=apple €", "--unknown=replace"], NO_ENTRY),
    ("suggest", ["--text=apple €", "--unknown=replace"], NO_ENTRY),
    ("generate", ["--prompt=€", "--unknown=skip"], "--prompt has no characters in it: give at least one"),
    ("score", ["--text=€", "--unknown=skip"], "--text has no characters in it: give at least one"),
    ("suggest", ["--text=€", "--unknown=skip"], "--text has no characters in it: give at least one"),
    ("generate", ["--prompt="], "--prompt has no characters in it: give at least one"),
    ("generate", ["--prompt_file=/nowhere"], "--prompt_file=/nowhere cannot be read"),
    ("generate", ["--prompt_file=TEXTS/empty.txt"], "--prompt_file has no characters in it: give at least one"),
    ("generate", ["--prompt_file=TEXTS/binary.txt"], "cannot be read ('utf-8' codec can't decode byte 0xdf"),
    ("generate", ["--prompt=a", "--prompt_file=TEXTS/prompt.txt"], "--prompt and --prompt_file are both given"),
    ("generate", ["--temperature=0"], "temperature is 0.0: expected a positive number"),
    ("generate", ["--temperature=-1"], "temperature is -1.0: expected a positive number"),
    ("generate", ["--temperature=nan"], "temperature is nan: expected a positive number"),
    ("generate", ["--top_k=0"], "top_k is 0: expected at least 1"),
    ("generate", ["--top_k=1000"], "top_k is 1000: expected at most 14, the size of the vocabulary"),
    ("generate", ["--nucleus=0"], "nucleus is 0.0: expected a probability above 0"),
    ("generate", ["--nucleus=1.5"], "nucleus is 1.5: expected a probability above 0 and at most 1"),
    ("generate", ["--nucleus=nan"], "nucleus is nan: expected a probability above 0 and at most 1"),
    ("generate", ["--length=0"], "--length=0 --samples=1: expected at least 1 of both"),
    ("generate", ["--length=-3"], "--length=-3 --samples=1: expected at least 1 of both"),
    ("generate", ["--samples=0"], "--length=500 --samples=0: expected at least 1 of both"),
    ("generate", ["--seed=-1"], "flag --seed=-1: -1 is not an integer in the range [0, "),
    ("score", [], "there is no text: give --text=... or --file=FILE"),
    ("score", ["--file=/nowhere.txt"], "--file=/nowhere.txt cannot be read"),
    ("suggest", [], "there is no text: give what has been typed, as in --text="),
]


@pytest.fixture(scope="module")
def answers(finished: Path, texts: Path) -> Answers:
    """Exit status and standard error of every command line in COMMANDS."""
    (texts / "begun" / "checkpoints" / "gru-seed0" / "best" / "20.partial").mkdir(parents=True)
    shutil.copy(finished / "config.json", texts / "begun")
    calls = []
    for module, flags, _ in COMMANDS:
        given = [f"--workdir={finished}", *(flag.replace("TEXTS", str(texts)) for flag in flags)]
        calls.append({"module": f"language.{module}", "flags": given})
    return {(each[0], *each[1]): answer for each, answer in zip(COMMANDS, answered(calls), strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize(("module", "flags", "message"), COMMANDS)
def test_what_a_command_cannot_do_is_answered_in_a_line(
    answers: Answers, module: str, flags: list[str], message: str
) -> None:
    status, printed = answers[module, *flags]
    assert status == 1
    assert message in printed
    assert len(printed.strip().splitlines()) <= 2, printed


@pytest.mark.slow
def test_a_learning_rate_that_lets_the_loss_overflow_is_told_with_the_step_and_the_last_good_checkpoint(
    texts: Path, tmp_path: Path
) -> None:
    too_high = ["--config.optimizers=sgd:3e38", "--config.warm_up=0", "--config.clip_norm=1000"]  # weights overflow
    ((status, printed),) = answered([life(texts, tmp_path, "", None, *too_high)])
    assert status == 1
    assert printed.splitlines()[-1] == (
        f"error: loss is nan after 0 to 9 training steps of gru-seed0 (last good checkpoint: {tmp_path}/checkpoints/"
        "gru-seed0/best/0); lower --config.learning_rate or --config.clip_norm"
    )
    assert np.isfinite(arrays(tmp_path / "checkpoints" / "gru-seed0" / "best" / "0")["['learning_rate']"])


def test_a_checkpoint_of_other_settings_is_refused_with_those_that_differ(
    finished: Path, texts: Path, tmp_path: Path
) -> None:
    """A checkpoint that somebody has copied into the workdir of another config, and that workdir itself."""
    wider = ["--config.hidden_size=9", "--config.clip_norm=2"]
    stopped = life(texts, tmp_path, "killed", ("experiments.common.training", "_best", 3), *wider)
    assert answered([stopped])[0][0] == -9
    run = tmp_path / "checkpoints" / "gru-seed0"
    shutil.rmtree(run)
    shutil.copytree(finished / "checkpoints" / "gru-seed0" / "best" / "20", run / "best" / "20")
    lines = (finished / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_text("".join(line for line in lines if json.loads(line)["kind"] != "finished"))
    (status, printed), (other, told) = answered([life(texts, tmp_path, "", None, *wider), life(texts, tmp_path)])
    assert status == other == 1
    assert printed.splitlines()[-1] == (
        f"error: the checkpoint {run}/best/20 has other settings (config.clip_norm was 1.0, is 2.0; "
        "config.hidden_size was 8, is 9): give those, another --workdir, or --overwrite"
    )
    assert told == (
        f"error: --workdir={tmp_path} holds an interrupted run (clip_norm was 2.0, is 1.0; hidden_size was 9, is 8): "
        "give another --workdir, or --overwrite to discard it\n"
    )
