"""Reads the values of flags and refuses wrong ones. It imports little, for programs timed from their start."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def refusals(name: str) -> Iterator[None]:
    """Ends the program with one line if a ``ValueError`` says what is wrong with its flags."""
    try:
        yield
    except ValueError as error:
        sys.exit(f"benchmarks.{name}: {error}")


def whole_numbers(flag: str, texts: Sequence[str], least: int = 1, count: int = 1) -> list[int]:
    """The values of a list flag, sorted and each of them once.

    Raises:
        ValueError: if there are fewer than ``count`` different values, or one is no whole number from ``least`` on.
    """
    if not all(text.isdecimal() and int(text) >= least for text in texts) or len({*map(int, texts)}) < count:
        kind = "whole numbers" if count == 1 else f"{count} or more different whole numbers"
        raise ValueError(f"--{flag} is {','.join(texts)}: expected {kind} from {least} on, as in --{flag}=100,200,400")
    return sorted({*map(int, texts)})


def sizes(flag: str, text: str, letters: str) -> list[int]:
    """The numbers of a text such as ``8x64``, one for each of the letters, here ``BxH``.

    Raises:
        ValueError: if there are more or fewer numbers than letters, or one is not a whole number above 0.
    """
    numbers = [int(part) if part.isdecimal() else 0 for part in text.split("x")]
    if len(numbers) != len(letters.split("x")) or min(numbers) < 1:
        example = "x".join(["100", "32", "128", "128"][-len(letters.split("x")) :])
        raise ValueError(f"--{flag} has {text!r}: expected {letters} in whole numbers above 0, as in {example}")
    return numbers
