"""What the command of an experiment answers to impossible flags and workdirs; gradient_flow stands for all."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.common import command, sweep
from experiments.common.errors import ExperimentError
from experiments.common.workdir import open_workdir
from experiments.gradient_flow import config as settings
from tests.answers import answered, completed

ROOT = Path(__file__).parents[2]


Answers = dict[str, tuple[int, str, Path]]

WRONG_FLAGS = [
    ("--config.learning_rate=0", "--config.learning_rate is 0.0: expected a positive number"),
    ("--config.learning_rate=nan", "--config.learning_rate is nan: expected a finite number"),
    ("--config.clip_norm=-1", "--config.clip_norm is -1.0: expected a positive number"),
    ("--config.clip_norm=inf", "--config.clip_norm is inf: expected a finite number"),
    ("--config.seeds=100000000", "--config.seeds is 100000000: expected numbers up to 10,000, in digits 0 to 9"),
    ("--config.depths=1,99999", "--config.depths is '1,99999': expected numbers up to 10,000, in digits 0 to 9"),
    ("--config.depths=\u0663", "--config.depths is '\u0663': expected numbers up to 10,000, in digits 0 to 9"),
    ("--config.hidden_size=9999999999", "--config.hidden_size is 9999999999: expected numbers up to 1,000,000"),
    ("--config.celss=a", 'error: unknown config field celss: Did you mean "cells" instead of "celss"?'),
    ("--config.cells=lstn", "error: unknown cell 'lstn': did you mean 'lstm'"),
    ("--config=nofile.py", "error: the config could not be read: [Errno 2] No such file or directory: 'nofile.py'"),
    ("--config=experiments/gradient_flow/config.py:quik", "did you mean 'quick'? valid names: default, "),
    ("--variant=quik", "did you mean 'quick'? valid names: default, drive, gates, "),
    ("--variant", "error: argument --variant: expected one argument; --help prints all flags"),
    ("--wrkdir=x", "error: Unknown command line flag 'wrkdir'. Did you mean: workdir ?"),
    ("--workdir=", "error: --workdir is empty: name a folder, as in --workdir=runs/gradient_flow"),
    ("more", "error: unexpected argument 'more': everything is a flag, as in --workdir=runs/mine"),
    ("--config.seeds=1.5", "error: flag --config.seeds=1.5: expected a whole number"),
    ("--config.corpus=missing.txt", "error: corpus missing.txt does not exist: give the path of a UTF-8 text file"),
]
WRONG_PROCESSES: list[tuple[list[str], str]] = [
    (["--num_processes=2"], "--coordinator_address and --process_id missing: several processes need"),
    (
        ["--num_processes=2", "--process_id=2", "--coordinator_address=localhost:1"],
        "--process_id=2: expected 0 to --num_processes - 1",
    ),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Exit status, standard error and workdir of every wrong command line."""
    given = [[flag] for flag, _ in WRONG_FLAGS] + [flags for flags, _ in WRONG_PROCESSES]
    workdirs = [tmp_path_factory.mktemp("refused") / "none" for _ in given]
    found = answered(
        [
            {"module": "gradient_flow", "flags": [f"--workdir={workdir}", *flags]}
            for workdir, flags in zip(workdirs, given, strict=True)
        ]
    )
    return {" ".join(flags): (*a, workdir) for flags, a, workdir in zip(given, found, workdirs, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize(("flag", "message"), WRONG_FLAGS)
def test_a_wrong_flag_is_answered_in_a_line(answers: Answers, flag: str, message: str) -> None:
    status, printed, workdir = answers[flag]
    assert status == 1
    assert message in printed
    assert len(printed.strip().splitlines()) <= 2, printed
    assert not workdir.exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_among_the_imports_ends_it_with_a_line(tmp_path: Path, how: signal.Signals) -> None:
    words = [sys.executable, "-X", "importtime", "-m", "experiments.gradient_flow", f"--workdir={tmp_path / 'none'}"]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if line.rstrip().endswith(" numpy"):  # told when it has been imported: JAX is still to come
                break
        process.send_signal(how)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.rstrip().endswith("interrupted before it began; run the same command again")
    assert not (tmp_path / "none").exists()


AT_THE_END = """
import os, signal
from experiments.common import command

class Last:  # of what Python tidies up
    def __del__(self, kill=os.kill, process=os.getpid(), how=signal.SIGTERM):
        kill(process, how)

last = Last()
command.run(lambda: None)
"""


def test_a_signal_after_everything_is_done_changes_no_exit_status() -> None:
    assert subprocess.run([sys.executable, "-c", AT_THE_END], cwd=ROOT, timeout=60).returncode == 0


@pytest.mark.slow
def test_an_interruption_that_python_cannot_raise_is_not_lost(tmp_path: Path) -> None:
    flags = ["--variant=quick", f"--workdir={tmp_path / 'run'}"]
    at = ["experiments.common.sweep", "_in_threads", 1]
    call = {"module": "gradient_flow", "flags": flags, "fault": "interruption lost", "at": at}
    ((status, printed),) = answered([call])
    assert status == 130, printed
    assert printed.endswith("interrupted; run the same command again to continue where it stopped\n")
    assert "Traceback" not in printed


@pytest.mark.slow
def test_waiting_for_a_process_that_never_comes_says_so_and_can_be_interrupted(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    flags = [
        f"--coordinator_address={address}",
        "--num_processes=2",
        "--process_id=0",
        f"--workdir={tmp_path / 'none'}",
    ]
    words = [sys.executable, "-m", "experiments.gradient_flow", *flags]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert process.stderr.readline().strip() == f"process 0 waits at {address} until all 2 processes are there"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted while waiting; what was finished is kept: start all processes again to go on" in told


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_error(tmp_path: Path, closed: str) -> None:
    flags = f"--variant=quick --workdir={tmp_path / 'run'} --config.cells=elman --config.seeds=1 --config.train_steps=0"
    words = f"{sys.executable} -m tests.experiments.undrawn gradient_flow {flags} {closed}"
    assert subprocess.run(["bash", "-c", words], cwd=ROOT, timeout=300).returncode == 0
    assert (tmp_path / "run" / "summary.md").exists()


@pytest.mark.slow
def test_help_prints_the_question_every_field_every_variant_and_the_flags() -> None:
    page = subprocess.run(
        [sys.executable, "-m", "experiments.gradient_flow", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert page.returncode == 0, page.stderr
    assert page.stdout.startswith("Where do gradients die, in next-character prediction on real text?\n")
    for field, value in settings.get_config().items():
        assert f"\n  {field} = {value!r}" in page.stdout
    for variant in settings.VARIANTS:
        assert f"\n  {variant.__name__} " in page.stdout
    for flag in ("config", "workdir", "overwrite", "tensorboard", "num_processes", "process_id", "coordinator_address"):
        assert f"\n  --{flag}" in page.stdout


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("language.generate", ("prompt", "temperature", "workdir", "run", "unknown")),  # the last three are shared
        ("language.score", ("text", "file", "workdir", "run", "unknown")),
        ("language.report", ("workdir",)),
        ("tracking.stream", ("state", "workdir", "run")),
    ],
)
def test_help_of_a_command_lists_its_flags_and_those_that_it_shares(name: str, listed: tuple[str, ...]) -> None:
    page = completed(name, "--help").stdout
    assert [flag for flag in listed if f"\n  --{flag}: " not in page] == []
    assert "--helpfull" in page
    assert "--vmodule" not in page  # of absl, whose flags --helpfull lists


VARIED = "--config=default.py:quick"


@pytest.mark.parametrize(
    ("given", "told", "file", "helped"),
    [
        ([], [], "default.py", False),
        (["--variant=quick"], [VARIED], "default.py", False),
        (["--variant", "quick", "--config.depths=2"], [VARIED, "--config.depths=2"], "default.py", False),
        (["--config=my.py"], ["--config=my.py"], "my.py", False),
        (["--config=my.py", "--variant=a"], ["--config=my.py:a"], "my.py", False),
        (["--config=my.py:b", "--workdir=w"], ["--config=my.py:b", "--workdir=w"], "my.py", False),
        (["--help", "--config=my.py"], ["--config=my.py"], "my.py", True),
        (["-h"], [], "default.py", True),
        (["--helpfull"], [], "default.py", True),
    ],
)
def test_a_variant_is_told_as_ml_collections_has_it(given: list[str], told: list[str], file: str, helped: bool) -> None:
    found = command._given(["program", *given], Path("default.py"))
    assert found.arguments == ["program", *told]
    assert (found.file, found.help) == (Path(file), helped)


def test_two_variants_are_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command._given(["program", "--config=my.py:a", "--variant=b"], Path("default.py"))
    assert "--config=my.py:a and --variant=b both name a variant: give one of them" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("given", "message"), WRONG_PROCESSES)
def test_flags_for_processes_that_do_not_go_together_are_refused(
    answers: Answers, given: list[str], message: str
) -> None:
    status, printed, workdir = answers[" ".join(given)]
    assert status == 1
    assert message in printed
    assert len(printed.strip().splitlines()) == 1
    assert not workdir.exists()


def test_a_folder_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ExperimentError, match=r"holds something other than a run \(figures\): give another"):
            open_workdir(tmp_path, {}, overwrite=overwrite)
    for text in ("{}", "[1]", "3", "not json", '{"config": 3}'):
        (tmp_path / "config.json").write_text(text)
        for overwrite in (False, True):
            with pytest.raises(ExperimentError, match="is not the config of a run: give another --workdir"):
                open_workdir(tmp_path, {}, overwrite=overwrite)
    assert (tmp_path / "figures" / "mine.txt").exists()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config.json", "figures"]


@pytest.mark.parametrize("line", ['{"kind": "train"', "[1, 2]", '{"step": 3}', "3", "\xff\xfe"])
def test_a_damaged_line_among_the_records_is_named_and_nothing_is_changed(tmp_path: Path, line: str) -> None:
    workdir = open_workdir(tmp_path, {}, overwrite=False)
    workdir.append([{"run": "a", "kind": "finished"}])
    with workdir.metrics.open("a", encoding="latin-1") as metrics:
        metrics.write(f"{line}\n")
    workdir.append([{"run": "b", "kind": "finished"}])
    before = workdir.metrics.read_bytes()
    with pytest.raises(ExperimentError, match=r"metrics.jsonl, line 2 is damaged: .* is no record of a run; delete"):
        open_workdir(tmp_path, {}, overwrite=False)
    assert workdir.metrics.read_bytes() == before


@pytest.mark.slow
def test_a_folder_in_which_a_command_is_at_work_is_refused_to_another_until_that_has_ended(tmp_path: Path) -> None:
    with sweep._alone_in(tmp_path):
        module = [sys.executable, "-m", "experiments.gradient_flow", "--variant=quick", f"--workdir={tmp_path}"]
        refused = subprocess.run(module, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert refused.stderr.strip() == (
            f"error: --workdir={tmp_path} is in use by another command: wait until that has ended, or give another "
            "--workdir"
        )
    assert not list(tmp_path.iterdir())
    with sweep._alone_in(tmp_path):
        pass


def test_an_interrupted_workdir_of_another_config_is_refused(tmp_path: Path) -> None:
    config = settings.get_config("quick").to_dict()
    open_workdir(tmp_path, {**config, "hidden_size": 9}, overwrite=False)
    with pytest.raises(ExperimentError, match=r"hidden_size was 9, is 8.*give another --workdir, or --overwrite"):
        open_workdir(tmp_path, config, overwrite=False)
