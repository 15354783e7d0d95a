"""Whatever is passed for an argument of a public function is taken, or refused by rnnjax in a few words of its own.

The message must come from here, not from the depths of JAX or NumPy: that is where it can name the argument.
"""

import traceback
import warnings
from pathlib import Path

import jax
import pytest

import rnnjax
from tests.wrong_arguments import right_calls, wrong_calls

ROOT = str(Path(rnnjax.__file__).parent)
CALLS = right_calls()
KINDS = (ValueError, TypeError, FileNotFoundError)


def fault(error: Exception) -> str | None:
    """What is wrong with how something was refused."""
    text = str(error).split("\n----")[0]
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    ours = max((place for place, file in enumerate(files) if file.startswith(ROOT)), default=-1)
    if any(file.endswith("wrong_arguments.py") for file in files[ours + 1 :]) and ours >= 0:
        return None  # it came from the function that was passed
    if not isinstance(error, KINDS):
        return f"{type(error).__name__}: {text[:100]}"
    if len(text) > 300:
        return f"{len(text)} characters: {text[:100]}"
    if "Array(" in text or "[[" in text:
        return f"the contents of an array: {text[:100]}"
    if not files[-1].startswith(ROOT) and "unexpected keyword" not in text:
        return f"not from rnnjax, {files[-1]}: {text[:100]}"
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_wrong_arguments_are_taken_or_refused_in_few_words(name: str) -> None:
    call, faults = CALLS[name], []
    with jax.numpy_dtype_promotion("standard"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with jax.numpy_rank_promotion("raise"):
            call.then(call.function(**call.arguments))
        for described, make in wrong_calls(name, call):
            try:
                make()
            except Exception as error:
                if found := fault(error):
                    faults.append(f"{described}: {found}")
    assert not faults, "\n".join(faults)


def test_every_public_function_has_a_right_call() -> None:
    cells = {f"CELLS[{name}]" for name in rnnjax.CELLS}
    covered = {name.rpartition(".")[2] for name in CALLS}
    public = {name for name in rnnjax.__all__ if callable(getattr(rnnjax, name)) and name[0].islower()}
    assert cells <= set(CALLS)
    assert public - covered - set(rnnjax.CELLS) == set()
