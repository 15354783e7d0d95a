"""Who learns to add and to count ones, and does so at any length? Recurrent networks, an MLP, and weights set by hand.

Run as ``python -m experiments.arithmetic``; config.py explains the settings.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.arithmetic import hand_set, learning, needs, networks, reading, report
from experiments.arithmetic.networks import Model
from experiments.arithmetic.problems import ADDITION, AUTOMATA, PARITY, PROBLEMS, Automaton, Problem
from experiments.common import drawing, sweep
from experiments.common.compiling import jit
from experiments.common.errors import explained
from experiments.common.settings import names, numbers, require_least, require_multiples, require_positive
from experiments.common.workdir import Record, Workdir
from experiments.networks.task_network import Network
from rnnjax.typing import Key, Params


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all seeds."""

    work: str  # of WORK
    problem: str
    network: str  # CELL-UNITS, mlp-UNITS, or the name of one set by hand
    longest: int  # bits of the numbers that it learns from, or that it is asked for all of


Run = sweep.SeededRun[Program]
"""One network; of needs several, which are given more and more until that suffices."""


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError):
        runs = plan(config)
    workdir = open_workdir()
    programs = sweep.by_program(runs, lambda program: -list(WORK).index(program.work))
    work = functools.partial(execute, config=config)
    steps = config.train_steps // config.evaluate_every + 1
    records = sweep.execute(programs, work, workdir, steps=steps, threads=config.threads)
    if records is None:
        return
    found = f"{report.table(records)}\n\n{report.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records), found)


# What there is to do


def plan(config: ConfigDict) -> list[Run]:
    """All networks that learn, all that are set by hand, and all for which is found out what they need.

    Raises:
        ValueError: for a field that cannot be.
    """
    require_least(config, 1, "seeds", "operands_seeds", "needs_seeds", "train_steps", "evaluate_every", "batch_size")
    require_least(config, 1, "addition_bits", "window", "numbers", "online_bits", "all_bits", "needs_units")
    require_least(config, 1, "flow_steps", "chain_steps")
    require_least(config, 2, "parity_bits")
    require_least(config, 0, "threads")
    require_positive(config, "learning_rate", "clip_norm", "noise")
    require_multiples(config, "evaluate_every", "train_steps")
    numbers(config, "lengths")
    programs = [*_learning(config), *_by_hand(config), *_needing(config)]
    if not programs:
        raise ValueError("there is nothing to do: no network is named in any of the fields that name some")
    return [Run(program, seed) for program in programs for seed in range(seeds_of(program, config))]


def seeds_of(program: Program, config: ConfigDict) -> int:
    """How many networks there are of it."""
    of_work = {"hand_set": 1, "needs": config.needs_seeds}
    of_problem = {"operands_first": config.operands_seeds}
    return int(of_work.get(program.work) or of_problem.get(program.problem) or config.seeds)


def _learning(config: ConfigDict) -> list[Program]:
    found = []
    for name, problem in PROBLEMS.items():
        bits = config.parity_bits if problem.automaton is PARITY else config.addition_bits
        for network in _chosen(config, name):
            work = "mlp" if parts(network, name)[0] == "mlp" else "recurrent"
            if work == "mlp" and problem.automaton is None:
                raise ValueError(
                    f"--config.{name} has {network}: expected a cell, an mlp cannot be asked again and again"
                )
            if work == "mlp" and bits > config.window:
                raise ValueError(f"--config.window is {config.window}: expected at least the {bits} bits of training")
            found.append(Program(work, name, network, bits))
    return found


def _by_hand(config: ConfigDict) -> list[Program]:
    found = []
    for name in _chosen(config, "hand_set"):
        problem = hand_set.hand_set(name).problem
        _require_few(problem, config.all_bits, "all_bits")
        found.append(Program("hand_set", problem, name, config.all_bits))
    return found


def _needing(config: ConfigDict) -> list[Program]:
    """An MLP for both problems, cells for addition alone: of parity they learn nothing from long numbers."""
    mlp, cells = f"mlp-{config.needs_units}", _chosen(config, "needs_recurrent")
    for cell in cells:
        parts(cell, "needs_recurrent")
    found = []
    for problem, needing in (("addition", (mlp, *cells)), ("parity", (mlp,))):
        field = f"needs_{problem}"
        for bits in numbers(config, field) if config[field] else ():
            _require_few(problem, bits, field)
            found += [Program("needs", problem, network, bits) for network in needing]
    return found


def _require_few(problem: str, bits: int, field: str) -> None:
    """Raises ``ValueError`` where there are more numbers of so many bits than can be held at a time."""
    if bits * AUTOMATA[problem].digits > 24:
        most = 24 // AUTOMATA[problem].digits
        raise ValueError(
            f"--config.{field} has {bits}: expected at most {most} bits in {problem}, all numbers are tried"
        )


def _chosen(config: ConfigDict, field: str) -> list[str]:
    """A field's names, which may be none."""
    return names(config, field) if config[field] else []


def parts(network: str, field: str = "") -> tuple[str, int]:
    """The name of a cell, or mlp, and how many units there are.

    Raises:
        ValueError: for what is not NAME-UNITS, and for a cell that there is not.
    """
    name, _, units = network.rpartition("-")
    if not (name and units.isascii() and units.isdigit() and int(units)):
        raise ValueError(f"--config.{field} has {network!r}: expected CELL-UNITS or mlp-UNITS, as in elman-8")
    if name != "mlp":
        rnnjax.cell_named(name)
    return name, int(units)


def make_cell(network: str) -> rnnjax.Cell:
    """Of CELL-UNITS."""
    name, units = parts(network)
    return rnnjax.cell_named(name)(units)


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict) -> None:
    """Runs of one program."""
    WORK[runs[0].program.work](runs, log_of, config)


# Each kind of program


def learn_by_cells(runs: Sequence[Run], log_of: sweep.Logs[Run], config: ConfigDict) -> None:
    """Cells read numbers of any length after training; their gradient's flow is measured before training and after."""
    program = runs[0].program
    problem, cell = PROBLEMS[program.problem], make_cell(program.network)
    automaton, model = problem.automaton, networks.recurrent(cell, problem.input_size)
    train = learning.compiled(model, problem, program.longest, config)
    test = reading_tests(automaton, cell, config) if automaton else tests(model, problem, program.longest, config)
    flow = flow_of(automaton, cell, config.flow_steps) if automaton else None
    for run in runs:
        with log_of(run) as log:
            keys = learning.keys(run.seed)
            before, after = train(keys, log)
            if flow:
                log.write([flow(before, keys.test, "initialization"), flow(after, keys.test, "trained")])
            log.write(test(after, keys.test))


def learn_by_mlp(runs: Sequence[Run], log_of: sweep.Logs[Run], config: ConfigDict) -> None:
    """MLPs have inputs for a window of digits, and learn from the same numbers; the inputs of no digit are 0."""
    program = runs[0].program
    problem, (_, units) = PROBLEMS[program.problem], parts(program.network)
    outputs = config.window + 1 if problem.automaton is ADDITION else 1
    model = networks.fully_connected(units, config.window, problem.input_size, outputs)
    train = learning.compiled(model, problem, program.longest, config)
    test = tests(model, problem, program.longest, config)
    for run in runs:
        with log_of(run) as log:
            keys = learning.keys(run.seed)
            _, after = train(keys, log)
            log.write(test(after, keys.test))


def set_by_hand(runs: Sequence[Run], log_of: sweep.Logs[Run], config: ConfigDict) -> None:
    """Nothing is learned: all numbers of a few bits, numbers of any length, and the gradient's flow."""
    program = runs[0].program
    automaton, (_, cell, network) = AUTOMATA[program.problem], hand_set.hand_set(program.network)
    all_wrong = jit(functools.partial(reading.wrong_of_all, automaton, cell, bits=program.longest))
    test, flow = reading_tests(automaton, cell, config), flow_of(automaton, cell, config.flow_steps)
    for run in runs:
        with log_of(run) as log:
            key = learning.keys(run.seed).test
            count = 2 ** (program.longest * automaton.digits)
            log.write([{"kind": "all", "numbers": count, "wrong": all_wrong(network)}])
            log.write([flow(network, key, "hand_set"), *test(network, key)])


def find_needs(runs: Sequence[Run], log_of: sweep.Logs[Run], config: ConfigDict) -> None:
    """How many examples of numbers of N bits a network needs, and how many units, if it is an MLP."""
    program = runs[0].program
    automaton, bits, (name, units) = AUTOMATA[program.problem], program.longest, parts(program.network)
    if name == "mlp":
        model_of = functools.partial(needs.mlp, automaton, bits, units)
    else:
        model_of = functools.partial(_always, networks.recurrent(make_cell(program.network), automaton.digits))
    wrong, everything = needs.compiled(automaton, bits, model_of, config), 2 ** (bits * automaton.digits)
    for run in runs:
        with log_of(run) as log:
            log.write(needs.until_enough("examples", everything, functools.partial(wrong, run.seed, units=units)))
            if name == "mlp":
                found = needs.until_enough("units", units, functools.partial(wrong, run.seed, everything))
                log.write([{**each, "weights": needs.count_weights(automaton, bits, each["count"])} for each in found])


def _always(model: Model, units: Array) -> Model:
    """However many units an MLP would have."""
    return model


WORK = {"recurrent": learn_by_cells, "needs": find_needs, "mlp": learn_by_mlp, "hand_set": set_by_hand}
"""What is done of each kind of program; what takes longest is first."""


# Tests


def flow_of(automaton: Automaton, cell: rnnjax.Cell, steps: int) -> Callable[[Network, Key, str], Record]:
    """``(network, key, phase) -> record``: norms of dL/ds_t over 100 numbers, L the loss of the last answer."""
    measure = jit(functools.partial(reading.gradient_norms, automaton, cell, steps=steps, batch_size=100))

    def flow(network: Network, key: Key, phase: str) -> Record:
        return {"kind": "state_gradient", "phase": phase, "norms": measure(network, key)}

    return flow


def reading_tests(
    automaton: Automaton, cell: rnnjax.Cell, config: ConfigDict
) -> Callable[[Network, Key], list[Record]]:
    """``(network, key) -> records``: random numbers of each length, a long one, and chains, with noise and without."""
    read = jit(functools.partial(reading.read_online, automaton, cell, batch_size=config.numbers))
    read_one = jit(functools.partial(reading.read_online, automaton, cell, batch_size=1))
    sizes = {"steps": config.chain_steps, "batch_size": config.numbers}
    read_chains = jit(functools.partial(reading.right_at_the_end, automaton, cell, **sizes))

    def test(network: Network, key: Key) -> list[Record]:
        records = []
        for bits in numbers(config, "lengths"):
            wrong = read(network, jax.random.fold_in(key, bits), jnp.int32(bits)).wrong
            records.append(tested(network, bits, wrong, bits + automaton.extra))
        bits = config.online_bits
        one = read_one(network, jax.random.fold_in(key, bits), jnp.int32(bits))
        records.append({"kind": "online", "bits": bits, "wrong": one.wrong[0], "first_wrong": one.first[0]})
        for noise in (0.0, config.noise):
            right = read_chains(network, key, jnp.float32(noise))
            records.append({"kind": "chain", "steps": config.chain_steps, "noise": noise, "right": right})
        return records

    return test


def tests(model: Model, problem: Problem, longest: int, config: ConfigDict) -> Callable[[Params, Key], list[Record]]:
    """``(params, key) -> records``: random numbers of each length that the window has room for.

    What is ``beyond`` are answers at steps that numbers of the longest that were learned from have not got.
    """

    def find_wrong(bits: int, params: Params, key: Key) -> tuple[Array, Array]:
        questions = problem.questions(key, jnp.full((config.numbers,), bits), bits)
        return networks.wrong(model.logits(params, questions.inputs), questions), questions.asked

    lengths = [bits for bits in numbers(config, "lengths") if bits <= config.window]
    compiled = {bits: jit(functools.partial(find_wrong, bits)) for bits in lengths}
    seen = len(jax.eval_shape(lambda: problem.questions(jax.random.key(0), jnp.full((1,), longest), longest)).asked)

    def test(params: Params, key: Key) -> list[Record]:
        records = []
        for bits, find in compiled.items():
            wrong, asked = jax.device_get(find(params, jax.random.fold_in(key, bits)))
            beyond = 1 - float(wrong[seen:].sum() / asked[seen:].sum()) if asked[seen:].any() else None
            found = tested(params, bits, wrong.sum(axis=0), int(asked[:, 0].sum()))
            records.append({**found, "beyond": beyond})
        return records

    return test


def tested(params: Params, bits: int, wrong: Array, asked: int) -> Record:
    """How many of B numbers have a wrong answer, and which share of the answers is right; of each so many are wrong."""
    found = {"numbers": len(wrong), "wrong": int((wrong > 0).sum()), "right": 1 - float(wrong.mean()) / asked}
    return {"kind": "test", "bits": bits, "weights": networks.count_weights(params), **found}
