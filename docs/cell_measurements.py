"""Measurements for docs/cells.md of how far back the gradient of each cell reaches, seed by seed.

``docs/cells.csv`` has a row for each network and seed. A network is a cell of the table, or such a cell with a
change: the changes show why some cells keep their gradient.
"""

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

import rnnjax
from experiments.common.frames import decays

DATA = Path(__file__).parent / "cells.csv"
T, B, I, H = 100, 16, 32, 64  # noqa: E741  the dimension letters of rnnjax.typing
WARM_UP = 200
SEEDS = 8
STRONG, WEAK = 1.0, 0.1  # the standard deviations of the inputs


class Network(NamedTuple):
    """A cell, what is changed in it, and how it is driven; ``change`` is empty for a cell of the table."""

    cell: str
    change: str
    make: Callable[..., rnnjax.Cell]
    scale: float = STRONG
    warm_up: int = WARM_UP


def networks() -> list[Network]:
    """Every cell under both drives, then the changes."""
    table = [Network(name, "", make, scale) for scale in (STRONG, WEAK) for name, make in rnnjax.CELLS.items()]
    return [*table, *changes()]


def changes() -> list[Network]:
    """Changes to the cells that keep the gradient, and to those that never settle."""
    return [*_not_linear(), *_larger_steps(), *_longer_warm_ups()]


def _not_linear() -> Iterable[Network]:
    negative = jax.nn.initializers.constant(-0.1)
    for name in ("orthogonal_rnn", "orthogonal_rnn_cayley"):
        make = rnnjax.CELLS[name]
        biased = partial(make, bias_init=negative)
        yield Network(name, "no modReLU", partial(make, activation="identity"))
        yield Network(name, "modReLU with bias -0.1", biased)
        yield Network(name, "modReLU with bias -0.1, warm-up 0", biased, warm_up=0)
        yield Network(name, "tanh", partial(make, activation="tanh"))


def _larger_steps() -> Iterable[Network]:
    stepped = {name: rnnjax.CELLS[name] for name in ("antisymmetric", "gated_antisymmetric", "lipschitz")}
    for name, make in (stepped | {"residual_tanh": residual_tanh}).items():
        for size in (0.1, 1.0) if name in stepped else (0.01, 0.1, 1.0):
            yield Network(name, f"step size {size:g}", partial(make, step_size=size))
        yield Network(name, "step size 1, warm-up 0", partial(make, step_size=1.0), warm_up=0)


def _longer_warm_ups() -> Iterable[Network]:
    for length in (0, 5 * WARM_UP):
        yield Network("lstm_1997", f"warm-up {length:,}", rnnjax.CELLS["lstm_1997"], warm_up=length)


class ResidualParams(NamedTuple):
    kernel: Array  # (I, H)
    recurrent_kernel: Array  # (H, H)


def residual_tanh(hidden_size: int, step_size: float) -> rnnjax.Cell:
    """``antisymmetric`` without the antisymmetric matrix: h_t = h_{t-1} + epsilon tanh(h_{t-1} U + x_t W)."""
    draw = jax.nn.initializers.lecun_normal()

    def init(key: Array, input_size: int) -> ResidualParams:
        keys = jax.random.split(key)
        return ResidualParams(draw(keys[0], (input_size, hidden_size)), draw(keys[1], (hidden_size, hidden_size)))

    def initial_state(params: ResidualParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return jnp.zeros((*batch_shape, hidden_size), params.kernel.dtype)

    def project(params: ResidualParams, inputs: Array) -> Array:
        return inputs @ params.kernel

    def advance(params: ResidualParams, hidden: Array, drive: Array) -> Array:
        return hidden + step_size * jnp.tanh(drive + hidden @ params.recurrent_kernel)

    return rnnjax.Cell(init, initial_state, project, advance)


# Measuring


def measure(chosen: Iterable[Network], seeds: int = SEEDS) -> pd.DataFrame:
    """Measures networks; returns a row for each network and seed, with its decay and shares of the norm at the loss."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return pd.concat(pool.map(partial(_rows, seeds=seeds), chosen), ignore_index=True)


def _rows(network: Network, seeds: int) -> pd.DataFrame:
    norms = gradient_norms(network.make, network.scale, warm_up=network.warm_up, seeds=seeds)
    return described(norms).assign(
        cell=network.cell,
        change=network.change,
        scale=network.scale,
        warm_up=network.warm_up,
        deviation=network.scale * deviation(network.make),
        seed=range(seeds),
    )


def described(norms: np.ndarray) -> pd.DataFrame:
    """The decays of norms (seeds, T), and the shares of the norm at the loss: left at the last lag, lowest, highest."""
    shares = norms / norms[:, -1:]
    return decays(pd.Series(list(norms))).assign(
        left=shares[:, 0], lowest=shares.min(axis=1), highest=shares.max(axis=1)
    )


def gradient_norms(
    make: Callable[..., rnnjax.Cell], scale: float = STRONG, *, warm_up: int = WARM_UP, seeds: int = SEEDS
) -> np.ndarray:
    """||dL/ds_t|| (seeds, T) at initialization, over all fields of the state together; L = sum over B of y_T . v."""
    # One seed after the other, since the QR that draws orthogonal matrices is very slow in batches on few cores. In
    # float64, since in float32 the fastest decays leave the range of the numbers long before the beginning.
    with jax.enable_x64(True):
        of_seed = _program(make, warm_up)
        return np.stack([np.hypot.reduce(np.array(of_seed(jax.random.key(seed), scale))) for seed in range(seeds)])


@functools.cache
def _program(make: Callable[..., rnnjax.Cell], warm_up: int) -> Callable[[Array, float], list[Array]]:
    cell = make(H)

    @jax.jit
    def of_seed(key: Array, scale: float) -> list[Array]:
        params_key, inputs_key, readout_key = jax.random.split(key, 3)
        params = cell.init(params_key, I)
        before, inputs = jnp.split(scale * jax.random.normal(inputs_key, (warm_up + T, B, I)), [warm_up])
        state: Any = rnnjax.unroll(cell, params, before)[0] if warm_up else None

        def loss(outputs: Array) -> Array:
            return jnp.sum(outputs[-1] @ jax.random.normal(readout_key, outputs.shape[-1:]))

        return jax.tree.leaves(rnnjax.gradient_flow(cell, params, inputs, loss, state).state)

    return of_seed


def deviation(make: Callable[..., rnnjax.Cell], seeds: int = SEEDS) -> float:
    """The standard deviation of what an input of standard deviation 1 adds to a unit's pre-activation, x_t W.

    It is the root of the mean over units and seeds of the sum of W² over inputs; NaN for a cell without such a kernel.
    """
    drawn: list[Any] = [make(H).init(jax.random.key(seed), I) for seed in range(seeds)]
    drawn = [getattr(params, "elman", params) for params in drawn]  # learned_leaky contains one
    kernels = [np.asarray(params.kernel) for params in drawn if hasattr(params, "kernel")]
    if not kernels:
        return float("nan")
    return float(np.sqrt(np.mean([np.square(kernel).sum(axis=0).mean() for kernel in kernels])))


# Keeping


def write(found: pd.DataFrame) -> None:
    """Write docs/cells.csv with six digits, under a line with the version of jax."""
    columns = ["cell", "change", "scale", "deviation", "warm_up", "seed", "half_lag", "tenth_lag", "thousandth_lag"]
    columns += ["asymptotic_rate", "r_squared", "last_lag", "left", "lowest", "highest", "verdict"]
    rows = found[columns].to_csv(index=False, float_format="%.6g")
    DATA.write_text(f"# jax {jax.__version__}\n{rows}", encoding="utf-8")


def read() -> tuple[pd.DataFrame, str]:
    """Read docs/cells.csv, and the version of jax that it was measured with."""
    version = DATA.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# jax ")
    numbers = {"deviation": "", "asymptotic_rate": "", "r_squared": ""}
    return pd.read_csv(DATA, comment="#", keep_default_na=False, na_values=numbers), version
