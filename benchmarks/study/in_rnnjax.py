"""The gradient-flow study with rnnjax, as a script of its own: what ``benchmarks.study`` times from process start.

    python -m benchmarks.study.in_rnnjax --devices=2

Seeds are divided among devices. A CPU does its seeds one after the other, other devices do them all at once. One
program has all depths of a cell, so that the cell is traced once; the four Elman networks are one program, in which the
activation is a number among the params. Programs are traced and compiled in threads, and each runs as soon as it is
compiled. With --cache the compiled programs are kept in files, so that the next study with the same settings, versions
and sources does not trace them either.
"""

import functools
import hashlib
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from importlib import metadata
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax import Array
from jax.experimental import serialize_executable
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import rnnjax
from benchmarks.common import arguments
from benchmarks.common.measure import Call, elapsed
from benchmarks.study import script
from benchmarks.study.script import Norms, Settings, Timeline, name_of
from rnnjax.cells.elman import ElmanParams
from rnnjax.cells.gru import GRUResetAfterParams
from rnnjax.cells.lstm import LSTMParams
from rnnjax.typing import Params, State

FAMILIES = {
    "lstm": ("lstm",),
    "gru": ("gru",),
    "elman": ("elman_tanh", "elman_relu", "elman_sigmoid", "irnn"),
}
"""Networks that share their programs."""

ACTIVATIONS = ("tanh", "relu", "sigmoid")
ACTIVATION_OF = {"elman_tanh": 0, "elman_relu": 1, "elman_sigmoid": 2, "irnn": 1}

COMPILER_OPTIONS: dict[str, str | bool] = {"xla_backend_optimization_level": "1"}
"""LLVM at -O1 takes about 30% less processor time to compile these programs than at XLA's -O3; they run as fast.

The option is used on a CPU only.
"""

TRACING = threading.Lock()
"""Held while tracing: one thread at a time runs Python anyway, and so the first program is ready sooner."""

FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    timeline = script.begin()
    jax.config.update("jax_num_cpu_devices", FLAGS.devices)
    with arguments.refusals("study_rnnjax"):
        settings = script.settings()
        if settings.seeds % FLAGS.devices:
            raise ValueError(f"--seeds is {settings.seeds}, which --devices={FLAGS.devices} does not divide")
    with timeline.during("starting"):
        devices = jax.devices()[: FLAGS.devices]
    mesh = Mesh(np.array(devices), ("seeds",))
    norms, calls = study(settings, mesh, FLAGS.threads or os.cpu_count(), timeline)
    again = [sum(map(elapsed, calls)) for _ in range(FLAGS.repeats)]
    script.finish(timeline, norms, again)


def study(settings: Settings, mesh: Mesh, threads: int | None, timeline: Timeline) -> tuple[Norms, list[Call]]:
    """The norms of all networks, and the programs that computed them, each as a call."""
    families = families_of(settings)
    over_seeds = NamedSharding(mesh, P("seeds"))
    seeds = jax.device_put(np.arange(settings.seeds), over_seeds)
    with timeline.during("inputs"):
        inputs = jax.device_put(settings.inputs(), over_seeds)
    prepare = partial(compile_program, mesh, timeline)
    with ThreadPoolExecutor(threads) as pool:
        each = one_by_one if jax.default_backend() == "cpu" else all_at_once
        draw_all = draw(families, settings, each)
        drawing = pool.submit(kept, timeline, "weights", lambda: prepare("weights", draw_all, lambda: (seeds,)))
        shapes = functools.cache(lambda: jax.eval_shape(draw_all, seeds))

        def prepared(family: str) -> jax.stages.Compiled:
            return prepare(family, measure(family, settings, each), lambda: (shapes()[family], inputs))

        measuring = {pool.submit(kept, timeline, family, partial(prepared, family)): family for family in families}
        program = drawing.result()
        with timeline.during("running", "weights"):
            params = jax.block_until_ready(program(seeds))
        norms: Norms = {}
        calls: list[Call] = []
        for finished in as_completed(measuring):
            family = measuring[finished]
            run = partial(_run, finished.result(), params[family], inputs)
            with timeline.during("running", family):
                found = run()
            calls.append(run)
            for depth, of_depth in zip(settings.depths, found, strict=True):
                norms |= {name_of(name, depth): of_depth[:, place] for place, name in enumerate(families[family])}
    return norms, calls


def _run(program: jax.stages.Compiled, params: Params, inputs: Array) -> list[np.ndarray]:
    return jax.device_get(program(params, inputs))


def families_of(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Those of ``FAMILIES`` that the settings ask for."""
    chosen = {family: tuple(name for name in names if name in settings.cells) for family, names in FAMILIES.items()}
    return {family: names for family, names in chosen.items() if names}


def kept(timeline: Timeline, name: str, prepare: Callable[[], jax.stages.Compiled]) -> jax.stages.Compiled:
    """The program from the file that ``--cache`` keeps of it; where there is none, what is prepared is kept."""
    if not FLAGS.cache:
        return prepare()
    file = Path(FLAGS.cache) / f"{name}-{circumstances()}.program"
    if file.exists():
        with timeline.during("compiling", name):
            register_lapack()
            return serialize_executable.deserialize_and_load(*pickle.loads(file.read_bytes()))
    program = prepare()
    file.parent.mkdir(parents=True, exist_ok=True)
    begun = file.with_suffix(".begun")
    begun.write_bytes(pickle.dumps(serialize_executable.serialize(program)))
    begun.rename(file)  # so that a file is whole or is not there
    return program


@functools.cache
def register_lapack() -> None:
    """Lets programs from files call LAPACK, which JAX registers when a decomposition is lowered."""
    with TRACING:
        jax.jit(jnp.linalg.qr).lower(jax.ShapeDtypeStruct((1, 1), jnp.float32))


@functools.cache
def circumstances() -> str:
    """A digest of all that decides about a program: settings, devices, versions, sources of library and script."""
    about = script.settings(), FLAGS.devices, jax.devices(), jax.__version__, metadata.version("jaxlib")
    found = hashlib.sha256(repr(about).encode())
    for path in sorted([*Path(rnnjax.__file__).parent.rglob("*.py"), *Path(__file__).parent.glob("*.py")]):
        found.update(path.read_bytes())
    return found.hexdigest()


def compile_program(
    mesh: Mesh,
    timeline: Timeline,
    name: str,
    function: Callable[..., Any],
    arguments: Callable[[], tuple[Any, ...]],
) -> jax.stages.Compiled:
    """The function, compiled for arguments and results whose leading axis is divided among the devices."""
    with TRACING, timeline.during("tracing", name):
        divided = jax.shard_map(function, mesh=mesh, in_specs=P("seeds"), out_specs=P("seeds"), check_vma=False)
        over_seeds = NamedSharding(mesh, P("seeds"))
        lowered = jax.jit(divided, in_shardings=over_seeds, out_shardings=over_seeds).lower(*arguments())
    with timeline.during("compiling", name):
        return lowered.compile(COMPILER_OPTIONS if jax.default_backend() == "cpu" else None)


Each = Callable[[Callable[[Any], Any], Any], Any]
"""``each(function, arguments)`` applies the function to every element along the leading axis."""


def one_by_one(function: Callable[[Any], Any], arguments: Any) -> Any:
    """Applies the function to one element after the other, which is faster on a CPU."""
    return jax.lax.map(function, arguments)


def all_at_once(function: Callable[[Any], Any], arguments: Any) -> Any:
    """Applies the function to all elements at once, which fills a GPU or TPU."""
    return jax.vmap(function)(arguments)


def draw(
    families: dict[str, tuple[str, ...]], settings: Settings, each: Each = one_by_one
) -> Callable[[Array], dict[str, Params]]:
    """A function of the seeds (S,): params of as many layers as the deepest network has, by family (S, V, L, ...)."""

    def of_layer(key: Array) -> dict[str, Params]:
        gates = rnnjax.lstm(settings.hidden).init(key, settings.hidden)
        drawn = {family: weights_from(gates, family, settings.hidden) for family in families}
        variants = {family: [variant(name, drawn[family]) for name in names] for family, names in families.items()}
        return {family: jax.tree.map(lambda *leaves: jnp.stack(leaves), *each) for family, each in variants.items()}

    def of_seeds(seeds: Array) -> dict[str, Params]:
        keys = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed), max(settings.depths)))(seeds)
        layers = each(of_layer, keys.reshape(-1))  # (S L, V, ...)
        return jax.tree.map(lambda leaf: jnp.swapaxes(leaf.reshape(*keys.shape, *leaf.shape[1:]), 1, 2), layers)

    return of_seeds


def weights_from(gates: LSTMParams, family: str, hidden: int) -> Params:
    """Weights of a family's cell: as many of an LSTM's gates as it needs, the first ones, and zero biases.

    All cells start from the same draws, so that there is one program to compile instead of three.
    """
    if family == "lstm":
        return gates
    width = 3 * hidden if family == "gru" else hidden
    kernels = gates.kernel[:, :width], gates.recurrent_kernel[:, :width]
    if family == "gru":
        return GRUResetAfterParams(*kernels, bias=jnp.zeros(width), recurrent_bias=jnp.zeros(hidden))
    return ElmanParams(*kernels, bias=jnp.zeros(width))


def measure(family: str, settings: Settings, each: Each = one_by_one) -> Callable[[Params, Array], list[Array]]:
    """A function of params (S, V, L, ...) and inputs (S, T, B, H): for each depth norms (S, V, depth, T).

    All depths are one program, since what is alike in its loops is compiled once, in half the time of three programs.
    """
    cell = cell_of(family, settings.hidden)

    def of_network(depth: int, inputs: Array, params: Params) -> Array:
        network = rnnjax.stack(*[cell] * depth)
        layers = tuple(jax.tree.map(itemgetter(layer), params) for layer in range(depth))
        flow = rnnjax.gradient_flow(network, layers, inputs, lambda outputs: jnp.sum(outputs[-1] ** 2))
        return jnp.stack([state.hidden for state in flow.state])

    def of_seed(depth: int, arguments: tuple[Params, Array]) -> Array:
        params, inputs = arguments
        return each(partial(of_network, depth, inputs), params)

    def of_all(params: Params, inputs: Array) -> list[Array]:
        return [each(partial(of_seed, depth), (params, inputs)) for depth in settings.depths]

    return of_all


class AnyElmanParams(NamedTuple):
    """Params of an Elman network that takes its activation as a number."""

    activation: Array  # an index into ``ACTIVATIONS``
    weights: Params


def plain_cell(family: str, hidden: int) -> rnnjax.Cell:
    """The cell that the weights of a family are drawn for."""
    if family == "gru":
        return rnnjax.gru(hidden, reset="after")
    return rnnjax.lstm(hidden) if family == "lstm" else rnnjax.elman(hidden)


def variant(name: str, weights: Params) -> Params:
    """Params of that network for the cell that is measured, from weights of its family."""
    if name not in ACTIVATION_OF:
        return weights
    if name == "irnn":
        weights = weights._replace(recurrent_kernel=jnp.eye(len(weights.recurrent_kernel)))
    return AnyElmanParams(jnp.int32(ACTIVATION_OF[name]), weights)


def cell_of(family: str, hidden: int) -> rnnjax.Cell:
    """The cell that is measured; the Elman networks share one cell, which has any activation."""
    plain = plain_cell(family, hidden)
    if family != "elman":
        return plain
    activations = [rnnjax.ACTIVATIONS[name] for name in ACTIVATIONS]

    def advance(params: AnyElmanParams, state: State, drive: Array) -> State:
        cell = rnnjax.elman(hidden, lambda x: jax.lax.select_n(params.activation, *(f(x) for f in activations)))
        return cell.advance(params.weights, state, drive)

    return rnnjax.Cell(
        init=lambda key, input_size: variant("elman_tanh", plain.init(key, input_size)),
        initial_state=lambda params, batch_shape: plain.initial_state(params.weights, batch_shape),
        project=lambda params, inputs: plain.project(params.weights, inputs),
        advance=advance,
    )


def define_flags() -> None:
    script.define_flags()
    script.define_record_flag()
    flags.DEFINE_integer(
        "devices", 1, "Devices among which the seeds are divided; on a CPU they are parts of it.", lower_bound=1
    )
    flags.DEFINE_integer("threads", 0, "Programs compiled at the same time; 0 takes one a core.", lower_bound=0)
    flags.DEFINE_string("cache", None, "Folder where compiled programs are kept; without it they are not kept.")
    flags.DEFINE_integer("repeats", 0, "How many times all programs are run again after the study.", lower_bound=0)


if __name__ == "__main__":
    define_flags()
    app.run(main)
