"""The parts of a run, in the order of their importance: other benchmarks, each with its flags and its limit of time."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rnnjax.names import lookup


class Part(NamedTuple):
    name: str  # also that of its folder
    benchmark: str
    seconds: float  # its limit
    flags: tuple[str, ...]
    sizes: tuple[str, ...] = ()  # more flags, left out where ``--quick`` of the benchmark chooses the sizes

    def words(self, folder: Path, quick: bool) -> list[str]:
        """The command that measures it."""
        flags = (*self.flags, *(["--quick"] if quick else self.sizes), f"--output={folder}", "--overwrite")
        return [sys.executable, "-m", f"benchmarks.{self.benchmark}", *flags]


def layer(name: str, cell: str, shape: str) -> Part:
    """A recurrent layer in every library that has one, and the cost of measuring its gradient flow."""
    peers = "--peers=scan,flax,cudnn,torch,torch_loop,matmul"
    return Part(name, "unroll", 100, (f"--cells={cell}", peers), (f"--shapes={shape}", "--rounds=5", "--seconds=5"))


def steps(name: str, *flags: str, sizes: tuple[str, ...] = ()) -> Part:
    """What a step of a loop over time costs."""
    return Part(name, "step_cost", 80, flags, sizes)


def parallel(name: str, cell: str, lengths: str) -> Part:
    """All steps of a sequence at once, beside the loop."""
    return Part(name, "parallel", 60, (f"--cells={cell}",), (f"--steps={lengths}", "--sizes=1x8,8x64"))


PARTS = {
    part.name: part
    for part in (
        steps("step_cost_forward", "--programs=forward", "--ways=rnnjax"),
        layer("unroll_lstm", "lstm", "200x64x512x512"),
        Part("training", "training", 100, (), ("--hidden=512", "--rounds=5")),
        Part("generation", "generation", 60, ("--cells=gru",), ("--rounds=5",)),
        parallel("parallel_lru", "lru", "64,1024,16384"),
        layer("unroll_gru", "gru_reset_after", "200x64x512x512"),
        layer("unroll_lstm_one_sequence", "lstm", "100x1x128x128"),
        steps("step_cost_gradient", "--cells=lstm", "--programs=gradient"),
        steps(
            "step_cost_by_width",
            "--programs=forward",
            "--ways=rnnjax",
            sizes=("--cells=lstm", "--hidden=64,256,1024", "--unroll=1"),
        ),
        layer("unroll_lstm_wide", "lstm", "100x256x1024x1024"),
        parallel("parallel_gru", "gru", "64,1024"),
        layer("unroll_elman", "elman", "200x64x512x512"),
        Part("training_wide", "training", 100, (), ("--hidden=2048", "--rounds=5")),
    )
}


def chosen(names: Sequence[str], quick: bool) -> list[Part]:
    """The parts of these names; where sizes are tiny, only the first of those that differ in nothing else.

    Raises:
        ValueError: if there is no part of a name.
    """
    parts = dict.fromkeys(lookup("part", name, PARTS) for name in names)
    if not quick:
        return list(parts)
    alike = {(part.benchmark, part.flags): part for part in reversed(parts)}
    return [part for part in parts if part in alike.values()]
