"""What a benchmark does not know or cannot do is refused in a line, before anything is measured."""

import json

import pytest

from benchmarks.accelerator.parts import PARTS
from benchmarks.common import arguments
from tests.benchmarks.running import run

REFUSED = {
    "unroll": {
        "--cells=lstn": "did you mean 'lstm'",
        "--shapes=3x4": "expected TxBxIxH",
        "--peers=kera": "did you mean 'keras'",
    },
    "parallel": {
        "--cells=gruu": "did you mean 'gru'",
        "--sizes=8": "expected BxH in whole numbers",
        "--steps=1.5": "as in --steps",
    },
    "memory": {"--steps=ten": "expected whole numbers", "--steps=10": "from 50 on"},
    "compile_time": {"--depths=1": "whole numbers from 2 on"},
    "profile": {"--shapes=8": "expected TxBxIxH", "--shapes=1x2x3x4": "at least two steps"},
    "scaling": {
        "--cell=lstn": "did you mean 'lstm'",
        "--steps=8,16": "expected 3 or more",
        "--hidden=8,8,16": "different whole numbers",
        "--base=8x0x8": "expected TxBxH",
    },
    "training": {"--hidden=8,x": "expected whole numbers from 1 on", "--batch=5": "expected an even number"},
    "online": {"--cells=lstn": "did you mean 'lstm'", "--counts=7": "expected 2 or more different whole numbers"},
    "streaming": {"--cells=lstn": "did you mean 'lstm'", "--hidden=8,0": "expected whole numbers from 1 on"},
    "generation": {"--cells=lstn": "did you mean 'lstm'", "--streams=0": "expected whole numbers from 1 on"},
    "language": {"--corpus=nowhere.txt": "give a UTF-8 text file"},
    "step_cost": {
        "--cells=lstn": "did you mean 'lstm'",
        "--ways=scn": "did you mean 'scan'",
        "--programs=gradien": "did you mean 'gradient'",
        "--steps=8,16,32": "expected 4 or more different whole numbers",
        "--unroll=0": "expected whole numbers from 1 on",
    },
    "accelerator": {"--parts=trainin": "did you mean 'training'"},
    "study": {
        "--cells=lstn": "did you mean 'lstm'",
        "--depths=0": "expected whole numbers from 1 on",
        "--devices=3": "cannot be divided evenly",
        "--devices=2 --on_gpu": "JAX found a GPU (gpu, 1 of 1)",
    },
}


# They show that the settings for a GPU are accepted: what is refused is the word after them.
ON_A_GPU = {"--on_gpu too": "received 'too'", "--on_gpu --quick too": "received 'too'"}


def accepted(name: str) -> dict[str, str]:
    """What shows that a benchmark accepts its own settings for a GPU, and those of ``benchmarks.accelerator``."""
    own = [" ".join(part.flags + part.sizes) for part in PARTS.values() if part.benchmark == name]
    return ON_A_GPU | {f"{flags} --on_gpu too": "received 'too'" for flags in own}


@pytest.fixture(scope="module")
def answers() -> dict[str, list[str]]:
    """Of every benchmark to its command lines, from one process: most of the time goes by until it has imported JAX."""
    lines = {name: [*refused, *accepted(name)] for name, refused in REFUSED.items()}
    finished = run("tests.benchmarks.refuse", input=json.dumps(lines))
    assert finished.returncode == 0, finished.stderr
    found: dict[str, list[str]] = json.loads(finished.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_a_line(answers: dict[str, list[str]], name: str) -> None:
    for answer, text in zip(answers[name], (REFUSED[name] | accepted(name)).values(), strict=True):
        assert answer.startswith(f"benchmarks.{name}: ")
        assert "\n" not in answer
        assert text in answer


@pytest.mark.slow
def test_a_refusal_ends_the_program_with_a_line() -> None:
    finished = run("benchmarks.memory", "--steps=ten")
    assert finished.returncode != 0
    assert finished.stderr.count("\n") == 1


def test_numbers_are_sorted_and_each_is_there_once() -> None:
    assert arguments.whole_numbers("steps", ["20", "3", "20"]) == [3, 20]
    assert arguments.sizes("shapes", "8x4x2x1", "TxBxIxH") == [8, 4, 2, 1]
