"""What is measured of a network between training steps, and how it is written down."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

import rnnjax
from experiments.common.compiling import jit
from experiments.common.workdir import Record
from experiments.gradient_flow.plan import Program, Run, loss_steps, make_cell, switched
from experiments.networks import character_model, initializations
from experiments.networks.character_model import CharacterParams
from rnnjax.engine.norms import norm
from rnnjax.typing import Params


class Measurement(NamedTuple):
    """On text that the network is not trained on."""

    flow: rnnjax.GradientFlow  # with a leading axis for where the loss is read
    saturation: Any  # of every layer
    spectra: Any  # of every layer
    carousel: rnnjax.Carousel | None  # of layer 1, root mean squares (T,)


def measuring(
    program: Program, activations: Sequence[str], config: ConfigDict, characters: int
) -> Callable[[str, CharacterParams, np.ndarray], Measurement]:
    """A function of an activation, params and windows (T + 1, B), compiled once for all runs of a program."""
    weights = _loss_weights(loss_steps(config, program.sequence_length), program.sequence_length)
    cell_with = functools.partial(make_cell, program, config.hidden_size)

    @jit
    def flow(place: Array, params: CharacterParams, tokens: Array) -> rnnjax.GradientFlow:
        cell = cell_with(switched(activations, place))
        return jax.lax.map(lambda w: character_model.measure(cell, params, tokens, w), weights)

    @functools.partial(jit, static_argnums=0)  # it looks for tanh in the program, where a choice would hide it
    def saturation(activation: str, params: CharacterParams, tokens: Array) -> Any:
        cell = cell_with(rnnjax.ACTIVATIONS.get(activation))
        return rnnjax.saturation(cell, params.recurrent, character_model.one_hot(params, tokens[:-1]))

    @jit
    def carousel(params: CharacterParams, tokens: Array) -> rnnjax.Carousel:
        layer = rnnjax.cell_named(program.cell)(config.hidden_size)
        found = rnnjax.carousel(layer, params.recurrent[0], character_model.one_hot(params, tokens[:-1]))
        return jax.tree.map(lambda leaf: norm(leaf, (1, 2)) / math.sqrt(leaf[0].size), found)

    @jit
    def spectra(recurrent: Params) -> Any:
        return rnnjax.recurrent_spectra(cell_with(), recurrent, characters)

    def measure(activation: str, params: CharacterParams, tokens: np.ndarray) -> Measurement:
        here = jax.device_put(params.recurrent, jax.local_devices(backend="cpu")[0])  # where eigenvalues can be had
        return Measurement(
            flow=flow(jnp.int32(activations.index(activation)), params, tokens),
            saturation=saturation(activation, params, tokens),
            spectra=spectra(here),
            carousel=carousel(params, tokens) if _has_memory(program.cell, config.hidden_size) else None,
        )

    return measure


def _loss_weights(steps: list[int], length: int) -> np.ndarray:
    """Weights (P, T) of the losses of each step, for each place where the measured loss is read."""
    return (
        np.eye(length, dtype=np.float32)[np.array(steps) - 1] if steps else np.full((1, length), np.float32(1 / length))
    )


def measurement_records(run: Run, config: ConfigDict, step: int, measurement: Measurement) -> Iterator[Record]:
    """What was measured after so many training steps, as records."""
    phase = "initialization" if step == 0 else "trained" if step == config.train_steps else "training"
    when = {"phase": phase, "step": step}
    for place, position in enumerate(loss_steps(config, run.program.sequence_length) or ["all"]):
        flow = jax.tree.map(lambda leaf, place=place: leaf[place], measurement.flow)
        yield from _flow_records({**when, "position": position, "loss": flow.loss}, flow)
    of_layers = zip(measurement.saturation, measurement.spectra, strict=True)
    for layer, (saturation, spectra) in enumerate(of_layers, start=1):
        shares = {name: share.mean(axis=1) for name, share in saturation._asdict().items()}
        yield {"kind": "saturation", **when, "layer": layer, **shares}
        for number, spectrum in enumerate(spectra, start=1):
            yield {"kind": "recurrent_kernel", **when, "layer": layer, "kernel": number, **spectrum._asdict()}
    if measurement.carousel:
        yield {"kind": "carousel", **when, "layer": 1, **measurement.carousel._asdict()}


def _flow_records(common: Record, flow: rnnjax.GradientFlow) -> Iterator[Record]:
    """Norms, time forward up to where the loss is read: for every layer each state field, then each of its params."""
    seen = slice(None if common["position"] == "all" else common["position"])
    for layer, (state, examples, parameters) in enumerate(
        zip(flow.state, flow.examples, flow.parameters, strict=True), start=1
    ):
        for field in ("all", *state._fields):  # all: the norm over the fields together
            norms = [getattr(state, name)[seen] for name in state._fields if field in ("all", name)]
            by_example = [getattr(examples, name)[seen] for name in state._fields if field in ("all", name)]
            per_example = rnnjax.example_norms(np.hypot.reduce(by_example))
            yield {
                "kind": "state_gradient",
                **common,
                "layer": layer,
                "field": field,
                "norms": np.hypot.reduce(norms),
                "mean_of_log": per_example.mean_of_log,
                "log_of_mean": per_example.log_of_mean,
                "examples_underflowed": per_example.underflowed,
            }
        for field in parameters._fields:
            norms = getattr(parameters, field)[seen]
            yield {"kind": "parameter_gradient", **common, "layer": layer, "field": field, "norms": norms}


def prediction(run: Run, hidden_size: int, characters: int) -> Iterator[Record]:
    """What mean-field theory says of a network at initialization: of one Elman layer with kernels that it knows."""
    known = initializations.gain_and_drive(run.initialization, characters)
    if run.program.cell == "elman" and run.program.depth == 1 and known:
        gain, drive = known
        predicted = rnnjax.mean_field(run.activation, gain, run.program.sequence_length, input_variance=drive**2)
        valid = math.isqrt(hidden_size)
        yield {"kind": "mean_field", "step": 0, "factors": predicted.factors, "valid_to_lag": valid}


def _has_memory(cell: str, hidden_size: int) -> bool:
    made = rnnjax.cell_named(cell)(hidden_size)
    state = jax.eval_shape(lambda: made.initial_state(made.init(jax.random.key(0), 1), ()))
    return {"hidden", "cell"} <= set(getattr(state, "_fields", ()))
