"""Which networks the gradient_flow experiment trains, and when and where their gradients are measured."""

import inspect
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common.settings import names, numbers, require_least, require_positive
from experiments.common.workdir import Record
from experiments.networks import initializations
from rnnjax.names import lookup
from rnnjax.typing import Activation


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all activations, initializations and seeds."""

    cell: str
    depth: int
    sequence_length: int


class Run(NamedTuple):
    """One network, trained once."""

    program: Program
    activation: str
    initialization: str
    seed: int

    @property
    def name(self) -> str:
        program, start = self.program, self.initialization.replace(":", "")  # the name of a folder
        network = f"{program.cell}-{self.activation}-{start}"
        return f"{network}-depth{program.depth}-T{program.sequence_length}-seed{self.seed}"

    def identity(self) -> Record:
        own = {"activation": self.activation, "initialization": self.initialization, "seed": self.seed}
        return {**self.program._asdict(), **own}


def plan(config: ConfigDict) -> list[Run]:
    """Every combination that the config names.

    Raises:
        ValueError: for a field that cannot be.
    """
    require_least(config, 1, "seeds", "hidden_size", "batch_size")
    require_least(config, 0, "train_steps", "measure_every", "checkpoint_every", "threads", "max_characters")
    require_positive(config, "learning_rate", "clip_norm")
    lengths = numbers(config, "sequence_lengths")
    for length in lengths:
        loss_steps(config, length)
    for activation in names(config, "activations"):
        lookup("activation", activation, rnnjax.ACTIVATIONS)
    starts = names(config, "initializations")
    runs = []
    for cell, depth, length in itertools.product(names(config, "cells"), numbers(config, "depths"), lengths):
        taken = [start for start in starts if initializations.is_taken(start, cell, config.hidden_size)]
        for activation, start, seed in itertools.product(activations_of(config, cell), taken, range(config.seeds)):
            runs.append(Run(Program(cell, depth, length), activation, start, seed))
    unused = [start for start in starts if start not in {run.initialization for run in runs}]
    if unused:
        raise ValueError(
            f"--config.initializations: none of the cells {config.cells} takes {unused[0]!r}; recurrent kernels are "
            "for cells with a recurrent_init, biases for those with a forget or update gate"
        )
    return runs


def activations_of(config: ConfigDict, cell: str) -> list[str]:
    """Those with which the config has a cell, in alphabetical order; - for a cell that takes none."""
    return sorted(names(config, "activations")) if _takes_activation(cell) else ["-"]


def loss_steps(config: ConfigDict, length: int) -> list[int]:
    """The steps, 1 to T, whose outputs the measured losses read, each for itself; none for all of them together."""
    places = names(config, "loss")
    if places == ["all"]:
        return []
    steps = [length if name == "last" else int(name) if name.isascii() and name.isdigit() else 0 for name in places]
    if not all(1 <= step <= length for step in steps):
        raise ValueError(
            f"--config.loss is {config.loss!r}: expected all, or last and steps from 1 to {length} separated by commas"
        )
    return sorted(set(steps))


def measured_steps(config: ConfigDict) -> list[int]:
    """The numbers of training steps after which a network is measured: before the first, on the way, at the end."""
    on_the_way = range(0, config.train_steps, config.measure_every) if config.measure_every else []
    return sorted({0, *on_the_way, config.train_steps})


def make_cell(
    program: Program, hidden_size: int, activation: Activation | None = None, initialization: str = "default"
) -> rnnjax.Cell:
    """The stack of a program; cells that take no activation have their own."""
    constructor = rnnjax.cell_named(program.cell)
    options = initializations.options(initialization, inspect.signature(constructor).parameters) or {}
    if activation and _takes_activation(program.cell):
        options["activation"] = activation
    return rnnjax.stack(*(constructor(hidden_size, **options) for _ in range(program.depth)))


def switched(activations: Sequence[str], place: Array) -> Activation:
    """One of several activations, chosen at run time: one program for all of them."""
    branches = [rnnjax.ACTIVATIONS.get(name, jnp.tanh) for name in activations]
    return lambda x: jax.lax.switch(place, branches, x)


def _takes_activation(cell: str) -> bool:
    return "activation" in inspect.signature(rnnjax.cell_named(cell)).parameters
