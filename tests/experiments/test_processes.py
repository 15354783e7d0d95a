"""Processes of a sweep: each receives the texts of all; one that fails, dies or is started wrongly ends all of them."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each line that it reads is said to all; "fail" and "sleep" are done instead.
MEMBER = """
import json, signal, sys, time
from experiments.common import processes
from experiments.common.errors import ExperimentError

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
try:
    processes.join(dict(zip(("coordinator_address", "num_processes", "process_id"), json.loads(sys.argv[1]))))
    for line in sys.stdin:
        match line.strip():
            case "fail":
                processes.together(lambda: 1 / 0)
            case "sleep":
                processes.together(lambda: print("asleep", flush=True) or time.sleep(100))
            case "together":
                print(processes.together(lambda: processes.place()), flush=True)
            case said:
                print(processes.gathered(said), flush=True)
except (ExperimentError, ZeroDivisionError) as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
"""


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


def member(address: str, count: int, place: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", MEMBER, json.dumps([address, count, place])]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(words, cwd=ROOT, text=True, **pipes)


def ended(process: subprocess.Popen[str], said: str | None = None) -> tuple[int, str, str]:
    """Exit status, output and errors without the line that says that it waits."""
    output, errors = process.communicate(said, timeout=60)
    return process.returncode, output, "".join(errors.splitlines(keepends=True)[1:])


def say(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin
    process.stdin.write(text + "\n")
    process.stdin.flush()


@pytest.mark.slow
def test_all_hear_what_all_said_in_the_order_of_their_numbers() -> None:
    address = free_address()
    group = [member(address, 3, place) for place in (2, 0, 1)]
    texts = ["much\U0001f600" * 100_000, "", "ä"]
    for process, text in zip(group, texts, strict=True):
        say(process, text)
    heard = f"{[texts[1], texts[2], texts[0]]}\n"
    assert [ended(process) for process in group] == [(0, heard, "")] * 3


@pytest.mark.slow
def test_together_gives_each_its_own_result() -> None:
    address = free_address()
    group = [member(address, 2, place) for place in (0, 1)]
    for process in group:
        say(process, "together")
    assert [ended(process) for process in group] == [(0, "0\n", ""), (0, "1\n", "")]


@pytest.mark.slow
def test_one_that_fails_ends_all_and_each_says_whose_fault_it_was() -> None:
    address = free_address()
    failing, other = member(address, 2, 0), member(address, 2, 1)
    say(failing, "fail")
    assert ended(other, "together\n") == (
        1,
        "",
        "error: process 0 failed: see its own message; what was finished before is kept\n",
    )
    message = "process 0 failed and waits for the others: division by zero\nerror: division by zero\n"
    assert ended(failing) == (1, "", message)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("gone", [0, 1])
def test_one_that_dies_ends_the_others_with_a_line(gone: int, how: signal.Signals) -> None:
    address = free_address()
    group = [member(address, 3, place) for place in range(3)]
    dying = group.pop(gone)
    say(dying, "sleep")
    assert dying.stdout
    assert dying.stdout.readline() == "asleep\n"
    dying.send_signal(how)
    dying.wait(60)
    again = "what was finished is kept: start all processes again to go on"
    # Process 2 hears of it by process 0 leaving.
    for process, seen in zip(group, [gone, 0], strict=True):
        assert ended(process, "together\n") == (1, "", f"error: process {seen} is gone; {again}\n")
    status, _, told = ended(dying)
    assert status == (130 if how is signal.SIGINT else -how)
    assert told.strip() == (f"interrupted; {again}" if how is signal.SIGINT else "")


@pytest.mark.slow
def test_processes_started_differently_are_told_so_and_strangers_are_not_heard() -> None:
    address = free_address()
    first = member(address, 2, 0)
    host, port = address.split(":")
    while True:
        try:
            stranger = socket.create_connection((host, int(port)))
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            break
    with stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert ended(member(address, 3, 1)) == (
        1,
        "",
        "error: process 1 has --num_processes=3, process 0 has 2: give all processes the same\n",
    )
    second = member(address, 2, 1)
    for process in (first, second):
        say(process, "here")
    assert [ended(process)[:2] for process in (first, second)] == [(0, "['here', 'here']\n")] * 2


@pytest.mark.slow
def test_two_of_one_number_are_refused() -> None:
    address = free_address()
    group = [member(address, 3, 0)]
    twins = [member(address, 3, 1), member(address, 3, 1)]
    while all(twin.poll() is None for twin in twins):
        time.sleep(0.1)
    refused, admitted = sorted(twins, key=lambda twin: twin.poll() is None)
    group.append(admitted)
    status, _, told = ended(refused)
    assert (status, told) == (1, "error: --process_id=1 is given twice: give each process its own\n")
    group.append(member(address, 3, 2))
    for process in group:
        say(process, "x")
    assert [ended(process)[1] for process in group] == ["['x', 'x', 'x']\n"] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("localhost", "--coordinator_address=localhost: expected HOST:PORT of process 0, as in localhost:8476"),
        ("localhost:99999", "--coordinator_address=localhost:99999: expected HOST:PORT"),
        ("no.such.host.invalid:80", "the processes cannot connect at no.such.host.invalid:80: "),
    ],
)
def test_an_address_that_cannot_be_is_named(address: str, message: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MEMBER, json.dumps([address, 2, 1])], cwd=ROOT, text=True, stderr=subprocess.PIPE
    ) as process:
        _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert message in told


@pytest.mark.slow
def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("", 0)) as taken:
        address = f"localhost:{taken.getsockname()[1]}"
        status, _, told = ended(member(address, 2, 0))
    assert status == 1
    assert told.startswith(f"error: the processes cannot connect at {address}: ")
    assert "ddress already in use" in told
