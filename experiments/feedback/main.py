"""What to feed a recurrent network in training: the truth, what it said itself, or some of both?

Run as ``python -m experiments.feedback``; config.py explains the settings.
"""

import collections
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from experiments.common import drawing, sweep, training
from experiments.common.compiling import jit
from experiments.common.errors import explained
from experiments.common.settings import names, numbers, require_least, require_multiples, require_positive
from experiments.common.training import Evaluation
from experiments.common.workdir import Record, Workdir
from experiments.feedback import exposure, findings, flow, learning, model, professor, report, source
from experiments.feedback.data import Data, draw, load
from experiments.feedback.feeding import DISCRIMINATED, Feeding, Regime, regime_named, truth_of
from experiments.feedback.learning import TrainState, make_optimizer
from experiments.feedback.model import Network
from experiments.networks import sizing
from rnnjax.checks import number_between
from rnnjax.typing import Key, Params

ORDERS = (1, 2, 3, 4)
"""Of n-grams."""

HELD_OUT, TRUE, ALSO_TRUE = 0, 1, 2
"""Numbers of keys: of texts to be tested on, of those that a network's own are compared with, and of others."""


class Program(NamedTuple):
    """What has to be compiled on its own: one program serves all regimes that differ in when the truth is fed."""

    feedback: str


class Run(NamedTuple):
    """One network, trained once."""

    program: Program
    regime: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.regime.replace(':', '-')}-seed{self.seed}"

    def identity(self) -> Record:
        return {"regime": self.regime, "seed": self.seed}


def main(config: ConfigDict, open_workdir: Callable[[], Workdir]) -> None:
    """Plans the runs, does those that are missing in the workdir, draws and prints."""
    with explained(ValueError, OSError):
        runs = plan(config)
        data = load(config.data, config.max_characters, config.max_vocabulary, longest(config))
    workdir = open_workdir()
    counts = collections.Counter(run.program for run in runs)
    weights = {program: count * (4 if program.feedback == DISCRIMINATED else 1) for program, count in counts.items()}
    programs = sweep.by_program(runs, weights.__getitem__)  # with a discriminator there are two networks to train
    work = functools.partial(execute, config=config, data=data)
    calls = config.train_steps // config.steps_a_call + 1
    records = sweep.execute(programs, work, workdir, steps=calls, threads=config.threads)
    if records is None:
        return
    found = f"{report.table(records)}\n\n{findings.verdict(records)}"
    drawing.finish(workdir, report.FIGURES, records, report.summary(records), found)


def longest(config: ConfigDict) -> int:
    """How long a passage must be at most."""
    return max(config.length, config.free_length, config.context + max(numbers(config, "prefixes")) + config.ahead)


def plan(config: ConfigDict) -> list[Run]:
    """A run for each regime and seed.

    Raises:
        ValueError: for a field that cannot be.
    """
    require_least(config, 1, "seeds", "hidden_size", "discriminator_size", "batch_size", "train_steps", "steps_a_call")
    require_least(config, 1, "evaluate_every", "held_out_texts", "free_texts", "ahead", "context")
    require_least(config, 2, "length", "max_vocabulary")
    require_least(config, max(ORDERS), "free_length")
    require_least(config, 0, "threads")
    require_positive(config, "learning_rate", "clip_norm")
    require_multiples(config, "steps_a_call", "train_steps", "evaluate_every")
    number_between("--config.truth_at_end", config.truth_at_end, 0.001, 0.999)
    number_between("--config.discriminator_weight", config.discriminator_weight, 0.0, 1e6)
    farthest = max(numbers(config, "prefixes"))
    if farthest > config.free_length:
        raise ValueError(
            f"--config.prefixes has {farthest}: expected at most the free_length, {config.free_length} symbols"
        )
    regimes = names(config, "regimes")
    programs = {regime: Program(regime_named(regime).program) for regime in regimes}
    return [Run(programs[regime], regime, seed) for regime in regimes for seed in range(config.seeds)]


def execute(runs: Sequence[Run], log_of: sweep.Logs[Run], *, config: ConfigDict, data: Data) -> None:
    """Runs of one program: trained, tested as they go with the truth fed, and measured as they run freely."""
    feedback = runs[0].program.feedback
    network, optimizer = model.make_network(config.hidden_size, len(data.symbols)), make_optimizer(config)
    if feedback == DISCRIMINATED:
        steps = functools.partial(professor.train_steps, network, config)
    else:
        steps = functools.partial(learning.train_steps, network, feedback, config)
    step = jit(steps)
    examine = jit(lambda params, texts: model.nats(model.forced(network, params, texts), texts).mean())
    held_out = held_out_texts(config, data)
    flows = flow_of(network, feedback, config, data)
    measure = measured(network, config, data)

    @jit
    def initialize(key: Key) -> TrainState:
        params_key, discriminator_key, step_key = jax.random.split(key, 3)
        params = network.cell.init(params_key, network.symbols)
        state = TrainState(params, optimizer.init(params), None, jnp.int32(0), step_key)
        if feedback != DISCRIMINATED:
            return state
        discriminator = professor.init_discriminator(
            config.discriminator_size, network.hidden_size + network.symbols, discriminator_key
        )
        return state._replace(discriminator=(discriminator, optimizer.init(discriminator)))

    def evaluate(state: TrainState, _: int) -> Evaluation:
        return Evaluation({"loss": examine(state.params, held_out)})

    for run in runs:
        with log_of(run) as log:
            feeding = feeding_of(regime_named(run.regime), config)
            state = initialize(jax.random.key(run.seed))
            log.write([about(state.params, config, data, held_out)])
            log.write(flows(state.params, "initialization"))
            state, _ = training.train(
                state,
                lambda state, feeding: step(state, feeding, data.train),
                feeding,
                evaluate,
                log,
                steps=config.train_steps,
                stride=config.steps_a_call,
                evaluate_at={*range(0, config.train_steps, config.evaluate_every), config.train_steps},
            )
            log.write([*flows(state.params, "trained"), *measure(state.params, state.key)])


def feeding_of(regime: Regime, config: ConfigDict) -> Callable[[int], Feeding]:
    """What the training steps after so many others are fed."""
    truth = truth_of(regime.schedule, config.train_steps, config.truth_at_end)
    by_sequence, say = jnp.array(regime.coin == "sequence"), jnp.float32(config.discriminator_weight * regime.has_say)

    def feeding(number: int) -> Feeding:
        return Feeding(jnp.asarray(truth[number : number + config.steps_a_call]), by_sequence, say)

    return feeding


def held_out_texts(config: ConfigDict, data: Data) -> Array:
    """Those that all networks are tested on."""
    return draw(data.held_out, jax.random.key(HELD_OUT), config.length, config.held_out_texts)


def about(params: Params, config: ConfigDict, data: Data, held_out: Array) -> Record:
    """What is trained, on what, and what is known of that."""
    known: Record = {}
    if data.train is None:
        length = config.length
        known = {
            "entropy": source.entropies(length).mean(),
            "marginal_entropy": source.marginal_entropies(length).mean(),
            "held_out_entropy": source.nats(held_out).mean(),
        }
    count = sizing.count_numbers(params)
    return {"kind": "network", "params": count, "origin": data.origin, "symbols": len(data.symbols), **known}


def flow_of(
    network: Network, feedback: str, config: ConfigDict, data: Data
) -> Callable[[Params, str], Iterator[Record]]:
    """``(params, phase) -> records``: by which way a gradient comes back, the second half of the steps fed freely.

    Measured with the choice that a network was trained with, if it has a gradient, else with probabilities.
    """
    choice = feedback if feedback in flow.CHOICES else "probabilities"
    tokens = draw(data.held_out, jax.random.key(HELD_OUT), config.length, config.batch_size)
    flags = jnp.broadcast_to(jnp.arange(config.length)[:, None] <= config.length // 2, tokens.shape)
    find = jit(lambda params: flow.ways(network, choice, params, tokens, flags))

    def flows(params: Params, phase: str) -> Iterator[Record]:
        found: flow.Ways = find(params)
        yield {"kind": "ways", "phase": phase, "choice": choice, **found._asdict(), "free": config.length // 2}

    return flows


def measured(network: Network, config: ConfigDict, data: Data) -> Callable[[Params, Key], Iterator[Record]]:
    """``(params, key) -> records``: a network's own text, and what it costs to read it."""
    length, count, prefixes = config.free_length, config.free_texts, numbers(config, "prefixes")
    true, other = (draw(data.held_out, jax.random.key(each), length, count) for each in (TRUE, ALSO_TRUE))
    floor = distances(other, true, network.symbols)
    say = jit(lambda params, key: model.say(network, params, key, length, model.nothing_before(count)))

    @jit
    def of_source(params: Params, own: Array, key: Key) -> tuple[exposure.Free, Array]:
        after = functools.partial(exposure.after_prefix, network, params, lengths=prefixes, ahead=config.ahead, key=key)
        return exposure.free(network, params, own, true), jax.lax.map(after, jnp.stack([true, own]))

    @jit
    def of_text(params: Params, key: Key) -> Array:
        steps = config.context + max(prefixes) + config.ahead
        passages = draw(data.held_out, jax.random.key(TRUE), steps, config.held_out_texts)
        return exposure.after_replacement(network, params, passages, config.context, prefixes, config.ahead, key)

    def measure(params: Params, key: Key) -> Iterator[Record]:
        own_key, after_key = jax.random.split(key)
        own = say(params, own_key)
        yield {"kind": "distances", "own": distances(own, true, network.symbols), "floor": floor}
        yield {"kind": "sample", "text": "".join(data.symbols[token] for token in np.asarray(own)[:, 0])}
        if data.train is None:
            found, after = of_source(params, own, after_key)
            yield {"kind": "free", **found._asdict()}
            costs = dict(zip(("truth", "own"), after, strict=True))
        else:
            costs = dict(zip(exposure.REPLACEMENTS, of_text(params, after_key), strict=True))
        for number, prefix in enumerate(prefixes):
            yield {"kind": "prefix", "length": prefix, **{name: each[number] for name, each in costs.items()}}

    return measure


def distances(own: Array, true: Array, symbols: int) -> list[float]:
    """Between the frequencies of n-grams of some texts and of others, by order."""
    given: tuple[Any, Any] = np.asarray(own), np.asarray(true)
    return [exposure.distance(*given, order, symbols) for order in ORDERS]
