"""The gradient-flow study with rnnjax, as a script of its own: what ``benchmarks.study`` times from process start.

    python -m benchmarks.study_rnnjax --devices=2

Seeds are divided among host devices, and done one after the other on each. A program has all depths, and the four
Elman networks are one program, their activation a number that it takes. Programs are traced and compiled in threads,
each runs as soon as it is there, and JAX keeps them in its persistent cache.
"""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax import Array
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import rnnjax
from benchmarks import command, study_script
from benchmarks.measure import Call, elapsed
from benchmarks.study_script import Norms, Settings, Timeline, name_of
from rnnjax.typing import Params

ACTIVATIONS = ("tanh", "relu", "sigmoid")
FAMILIES = {
    "lstm": {"lstm": 0},
    "gru": {"gru": 0},
    "elman": {"elman_tanh": 0, "elman_relu": 1, "elman_sigmoid": 2, "irnn": 1},
}
"""Networks that share their programs, with their places in ``ACTIVATIONS``."""

COMPILER_OPTIONS: dict[str, str | bool] = {"xla_backend_optimization_level": "1"}
"""LLVM at -O1 takes about 30% less processor time to compile these programs than at XLA's -O3; they run as fast."""

TRACING = threading.Lock()
"""Tracing is Python, of which one thread at a time runs anyway: this way the first program is there sooner."""

FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    timeline = Timeline()
    jax.config.update("jax_num_cpu_devices", FLAGS.devices)
    if FLAGS.cache:
        jax.config.update("jax_compilation_cache_dir", FLAGS.cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    with command.refusals("study_rnnjax"):
        settings = study_script.settings()
        if settings.seeds % FLAGS.devices:
            raise ValueError(f"--seeds is {settings.seeds}, which --devices={FLAGS.devices} does not divide")
    with timeline.during("starting"):
        devices = jax.devices()
    mesh = Mesh(np.array(devices), ("seeds",))
    norms, calls = study(settings, mesh, FLAGS.threads or os.cpu_count(), timeline)
    again = [sum(map(elapsed, calls)) for _ in range(FLAGS.repeats)]
    study_script.finish(timeline, norms, again)


def study(settings: Settings, mesh: Mesh, threads: int | None, timeline: Timeline) -> tuple[Norms, list[Call]]:
    """The norms of all networks; and the programs that found them, each as a call."""
    families = families_of(settings)
    over_seeds = NamedSharding(mesh, P("seeds"))
    seeds = jax.device_put(np.arange(settings.seeds), over_seeds)
    with timeline.during("inputs"):
        inputs = jax.device_put(settings.inputs(), over_seeds)
    prepare = partial(compile_program, mesh, timeline)
    with ThreadPoolExecutor(threads) as pool:
        draws = {family: draw(family, cells, settings) for family, cells in families.items()}
        drawing = {family: pool.submit(prepare, f"{family} weights", draws[family], seeds) for family in families}
        measuring = {}
        for family, cells in families.items():
            flows = measure(family, list(cells.values()), settings)
            measuring[pool.submit(prepare, family, flows, jax.eval_shape(draws[family], seeds), inputs)] = family

        params: dict[str, Params] = {}
        for family, future in drawing.items():
            program = future.result()
            with timeline.during("running", f"{family} weights"):
                params[family] = jax.block_until_ready(program(seeds))
        norms: Norms = {}
        calls: list[Call] = []
        for finished in as_completed(measuring):
            family = measuring[finished]
            run = partial(_run, finished.result(), params[family], inputs)
            with timeline.during("running", family):
                found = run()
            calls.append(run)
            for depth, of_depth in zip(settings.depths, found, strict=True):
                norms |= {name_of(cell, depth): of_depth[:, place] for place, cell in enumerate(families[family])}
    return norms, calls


def _run(program: jax.stages.Compiled, params: Params, inputs: Array) -> list[np.ndarray]:
    return jax.device_get(program(params, inputs))


def families_of(settings: Settings) -> dict[str, dict[str, int]]:
    """Those of ``FAMILIES`` that the settings ask for."""
    chosen = {
        family: {cell: place for cell, place in cells.items() if cell in settings.cells}
        for family, cells in FAMILIES.items()
    }
    return {family: cells for family, cells in chosen.items() if cells}


def compile_program(
    mesh: Mesh, timeline: Timeline, name: str, function: Callable[..., Any], *arguments: Any
) -> jax.stages.Compiled:
    """The function, compiled for arguments and results whose leading axis is divided among the devices."""
    with TRACING, timeline.during("tracing", name):
        divided = jax.shard_map(function, mesh=mesh, in_specs=P("seeds"), out_specs=P("seeds"), check_vma=False)
        over_seeds = NamedSharding(mesh, P("seeds"))
        lowered = jax.jit(divided, in_shardings=over_seeds, out_shardings=over_seeds).lower(*arguments)
    with timeline.during("compiling", name):
        return lowered.compile(COMPILER_OPTIONS)


def draw(family: str, variants: Iterable[str], settings: Settings) -> Callable[[Array], Params]:
    """A function of the seeds (S,): params of all layers that the deepest network has, leaves (S, V, L, ...)."""
    usual = cell_of(family, settings.hidden, np.int32(0))
    irnn = rnnjax.elman(settings.hidden, recurrent_init=rnnjax.initializers.identity())
    cells = [irnn if name == "irnn" else usual for name in variants]

    def of_layer(key: Array) -> Params:
        params = {id(cell): cell.init(key, settings.hidden) for cell in cells}
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(params[id(cell)] for cell in cells))

    def of_seed(seed: Array) -> Params:
        layers = jax.lax.map(of_layer, jax.random.split(jax.random.key(seed), max(settings.depths)))
        return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), layers)

    return partial(jax.lax.map, of_seed)


def measure(family: str, activations: Sequence[int], settings: Settings) -> Callable[[Params, Array], list[Array]]:
    """A function of params (S, V, L, ...) and inputs (S, T, B, H): for each depth norms (S, V, depth, T).

    All depths are one program, since what is alike in its loops is compiled once: half the time that three take.
    """

    def of_network(depth: int, activation: Array, params: Params, inputs: Array) -> Array:
        network = rnnjax.stack(*[cell_of(family, settings.hidden, activation)] * depth)
        layers = tuple(jax.tree.map(itemgetter(layer), params) for layer in range(depth))
        flow = rnnjax.gradient_flow(network, layers, inputs, lambda outputs: jnp.sum(outputs[-1] ** 2))
        return jnp.stack([state.hidden for state in flow.state])

    def of_seed(depth: int, arguments: tuple[Params, Array]) -> Array:
        params, inputs = arguments
        variants = np.array(activations, np.int32), params
        return jax.lax.map(lambda variant: of_network(depth, variant[0], variant[1], inputs), variants)

    def of_all(params: Params, inputs: Array) -> list[Array]:
        return [jax.lax.map(partial(of_seed, depth), (params, inputs)) for depth in settings.depths]

    return of_all


def cell_of(family: str, hidden: int, activation: Array | np.int32) -> rnnjax.Cell:
    """The cell of a family, its activation chosen when the program runs."""
    if family == "elman":
        branches = [rnnjax.ACTIVATIONS[name] for name in ACTIVATIONS]
        return rnnjax.elman(hidden, lambda x: jax.lax.switch(activation, branches, x))
    return rnnjax.lstm(hidden) if family == "lstm" else rnnjax.gru(hidden, reset="after")


def define_flags() -> None:
    study_script.define_flags()
    study_script.define_record_flag()
    flags.DEFINE_integer("devices", 1, "Host devices, among which the seeds are divided.", lower_bound=1)
    flags.DEFINE_integer("threads", 0, "Programs traced and compiled at the same time; 0: one a core.", lower_bound=0)
    flags.DEFINE_string("cache", None, "Folder where compiled programs are kept; without it they are not.")
    flags.DEFINE_integer("repeats", 0, "After the study, runs all its programs again so many times.", lower_bound=0)


if __name__ == "__main__":
    define_flags()
    app.run(main)
