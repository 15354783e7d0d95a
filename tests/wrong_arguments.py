"""Every public function with a call that is right, and what else people pass in the place of each argument."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import data, initializers, tasks
from rnnjax.adapters import torch as torch_adapter

T, B, I, H, V = 4, 2, 3, 2, 5  # noqa: E741


class Call(NamedTuple):
    """A right call, its arguments by name; ``then`` uses what it makes, as a constructor's cell is used."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    then: Callable[[Any], Any] = lambda made: made


class Anything:
    """What no function expects."""

    def __repr__(self) -> str:
        return "<anything>"


def wrong_values() -> dict[str, Any]:
    """By a name for each; some of them are right in some places."""
    return {
        "None": None,
        "a word": "no",
        "an empty word": "",
        "-1": -1,
        "0": 0,
        "1.5": 1.5,
        "NaN": float("nan"),
        "infinity": float("inf"),
        "a complex number": 1j,
        "True": True,
        "a list": [1, 2],
        "an empty tuple": (),
        "a dict": {"a": 1},
        "a function": lambda *_: None,
        "a path": Path("weights.npz"),
        "anything": Anything(),
        "a class": int,
        "a vector": np.ones(3, np.float32),
        "a large array": np.ones((50, 40), np.float32),
        "no numbers": np.ones((0, B, I), np.float32),
        "whole numbers": np.ones((T, B, I), np.int32),
        "complex numbers": np.ones((T, B, I), np.complex64),
        "words": np.array(["a", "b"]),
        "float16": jnp.ones((T, B, I), jnp.float16),
        "a key": jax.random.key(0),
        "a cell": rnnjax.gru(H),
    }


def right_calls() -> dict[str, Call]:
    """By the name of each public function."""
    key, cell = jax.random.key(0), rnnjax.lstm(H)
    params, xs = cell.init(key, I), jnp.ones((T, B, I))
    run = {"cell": cell, "params": params, "inputs": xs}
    with_state = run | {"state": cell.initial_state(params, (B,))}
    where = {"mask": np.ones((T, B), bool), "reset": np.zeros((T, B), bool)}
    of_outputs = {"loss": lambda outputs: jnp.sum(outputs**2)}
    logits = jnp.zeros((B, V))
    tokens = {"state": with_state["state"], "logits": logits, "embed": lambda t: jax.nn.one_hot(t, I), "length": 3}
    speech = run | tokens | {"readout": lambda y: jnp.pad(y, [(0, 0)] * (y.ndim - 1) + [(0, V - H)])}
    del speech["inputs"]
    looking = {"queries": jnp.ones((T, B, H)), "memory": xs}
    additive = rnnjax.additive_attention(cell, xs).init(key, I)
    multiplicative = rnnjax.multiplicative_attention(cell, xs[:, 0]).init(key, I)
    line, flow = np.ones(6), rnnjax.gradient_flow(cell, params, xs, of_outputs["loss"])
    vocabulary = data.vocabulary_of("abc")
    text = np.arange(20) % 3

    def used(made: Any) -> Any:
        weights = made.init(key, I)
        return rnnjax.unroll(made, weights, xs)

    sizes = {"hidden_size": 4, "input_size": I}
    calls = {
        f"CELLS[{name}]": Call(
            lambda hidden_size, input_size, make=make: make(hidden_size).init(key, input_size), dict(sizes)
        )
        for name, make in rnnjax.CELLS.items()
    }
    calls |= {
        "init": Call(cell.init, {"key": key, "input_size": I}),
        "initial_state": Call(cell.initial_state, {"params": params, "batch_shape": (B,)}),
        "step": Call(cell.step, {"params": params, "state": with_state["state"], "inputs": xs[0]}),
        "elman": Call(rnnjax.elman, {"hidden_size": H, "activation": "tanh", "kernel_init": orthogonal()}, used),
        "lstm": Call(rnnjax.lstm, {"hidden_size": H, "forget_bias": 1.0, "recurrent_init": orthogonal()}, used),
        "gru": Call(rnnjax.gru, {"hidden_size": H, "reset": "after", "update_bias": 0.0}, used),
        "leaky": Call(rnnjax.leaky, {"hidden_size": H, "rate": 0.1}, used),
        "jordan": Call(rnnjax.jordan, {"hidden_size": H, "output_size": H}, used),
        "scrn": Call(rnnjax.scrn, {"hidden_size": H, "context_size": 1}, used),
        "clockwork": Call(rnnjax.clockwork, {"hidden_size": H, "periods": (1, 2)}, used),
        "mist": Call(rnnjax.mist, {"hidden_size": H, "delays": 2}, used),
        "tdnn": Call(rnnjax.tdnn, {"hidden_size": H, "taps": 2}, used),
        "narx": Call(rnnjax.narx, {"hidden_size": H, "output_size": 2}, used),
        "antisymmetric": Call(rnnjax.antisymmetric, {"hidden_size": H, "step_size": 0.1, "diffusion": 0.1}, used),
        "orthogonal_rnn": Call(rnnjax.orthogonal_rnn, {"hidden_size": H, "parametrization": "cayley"}, used),
        "recurrent_highway": Call(rnnjax.recurrent_highway, {"hidden_size": H, "depth": 2}, used),
        "lru": Call(rnnjax.lru, {"hidden_size": H, "r_min": 0.1, "r_max": 0.9}, used),
        "dense": Call(rnnjax.dense, {"output_size": H, "activation": "tanh", "kernel_init": orthogonal()}, used),
        "cell_named": Call(rnnjax.cell_named, {"name": "lstm"}),
        "stack": Call(
            lambda first, second, **skips: rnnjax.stack(first, second, **skips),
            {"first": cell, "second": cell, "input_to_all": False, "all_to_output": True},
            used,
        ),
        "repeat": Call(rnnjax.repeat, {"cell": rnnjax.gru(I), "times": 2}, used),
        "residual": Call(rnnjax.residual, {"cell": rnnjax.gru(I)}, used),
        "highway": Call(rnnjax.highway, {"cell": rnnjax.gru(I), "bias": -2.0}, used),
        "layer_norm": Call(rnnjax.layer_norm, {"cell": cell}, used),
        "learned_initial_state": Call(rnnjax.learned_initial_state, {"cell": cell}, used),
        "bidirectional": Call(rnnjax.bidirectional, {"forward": cell, "backward": cell}, used),
        "chain": Call(lambda first, second: rnnjax.chain(first, second), {"first": cell, "second": cell}),
        "delayed": Call(rnnjax.delayed, {"cell": cell, "steps": 1}),
        "additive_attention": Call(
            rnnjax.additive_attention, {"cell": cell, "memory": xs, "mask": None, "attention_size": 2}
        ),
        "multiplicative_attention": Call(rnnjax.multiplicative_attention, {"cell": cell, "memory": xs, "mask": None}),
        "additive_weights": Call(rnnjax.additive_weights, looking | {"params": additive}),
        "multiplicative_weights": Call(rnnjax.multiplicative_weights, looking | {"params": multiplicative}),
        "feedback": Call(rnnjax.feedback, {"cell": rnnjax.gru(I - 1), "choice": "sampled", "key": key}, used),
        "dropout": Call(rnnjax.dropout, {"cell": cell, "rate": 0.1, "key": key, "each": "step"}, used),
        "variational_dropout": Call(rnnjax.variational_dropout, {"cell": cell, "rate": 0.1, "key": key}, used),
        "zoneout": Call(rnnjax.zoneout, {"cell": cell, "rate": 0.1, "key": key}, used),
        "drop_connect": Call(rnnjax.drop_connect, {"cell": cell, "rate": 0.1, "key": key, "names": "kernel"}, used),
        "clip_gradient_norm": Call(rnnjax.clip_gradient_norm, {"cell": cell, "largest": 1.0}, used),
        "clip_gradient_values": Call(rnnjax.clip_gradient_values, {"cell": cell, "largest": 1.0}, used),
        "mixed_precision": Call(rnnjax.mixed_precision, {"cell": cell, "dtype": jnp.bfloat16}, used),
        "series_parallel": Call(rnnjax.series_parallel, {"cell": rnnjax.narx(H, 2)}),
        "error_feedback": Call(rnnjax.error_feedback, {"cell": rnnjax.narx(H, 2)}),
        "one_to_many": Call(rnnjax.one_to_many, {"cell": cell, "activation": "tanh"}),
        "encoder_decoder": Call(rnnjax.encoder_decoder, {"encoder": cell, "decoder": cell}),
        "unroll": Call(
            rnnjax.unroll,
            with_state
            | where
            | {"reverse": False, "remat": 2, "method": "scan", "time_major": True, "perturbation": None},
        ),
        "newton_unroll": Call(
            rnnjax.newton_unroll, with_state | where | {"jacobian": "full", "tolerance": 1e-3, "max_iterations": 9}
        ),
        "length_mask": Call(rnnjax.length_mask, {"lengths": np.array([1, 2]), "steps": T}),
        "truncated_gradient": Call(
            rnnjax.truncated_gradient,
            with_state
            | {
                "targets": jnp.ones((T, B, H)),
                "loss": lambda y, t, *_: jnp.sum((y - t) ** 2),
                "every": 2,
                "through": 2,
                "head": None,
            },
        ),
        "gradient_flow": Call(rnnjax.gradient_flow, with_state | of_outputs | where | {"reverse": False}),
        "value_grad_and_flow": Call(
            rnnjax.value_grad_and_flow,
            {"loss": lambda unroll, p: jnp.sum(unroll(cell, p, xs)[1]), "has_aux": False},
            lambda made: made(params),
        ),
        "decay": Call(rnnjax.decay, {"norms": line, "loss_step": -1}),
        "first_lag_below": Call(rnnjax.first_lag_below, {"norms": line, "share": 0.5, "loss_step": -1}),
        "example_norms": Call(rnnjax.example_norms, {"examples": flow.examples.hidden}),
        "gradient_preserving_penalty": Call(rnnjax.gradient_preserving_penalty, with_state | of_outputs | where),
        "gradient_flossing_penalty": Call(rnnjax.gradient_flossing_penalty, with_state | {"count": 1, "warm_up": 1}),
        "lyapunov_spectrum": Call(rnnjax.lyapunov_spectrum, with_state | {"count": 1, "warm_up": 1, "blocks": 2}),
        "state_jacobians": Call(rnnjax.state_jacobians, with_state),
        "product_singular_values": Call(rnnjax.product_singular_values, {"jacobians": jnp.ones((3, 2, 2))}),
        "recurrent_spectra": Call(rnnjax.recurrent_spectra, {"cell": cell, "params": params, "input_size": I}),
        "saturation": Call(rnnjax.saturation, with_state | {"tanh_limit": 0.9, "gate_limit": 0.1}),
        "carousel": Call(rnnjax.carousel, with_state),
        "forward_memory": Call(rnnjax.forward_memory, with_state | {"chunk": 2}),
        "memory_capacity": Call(
            rnnjax.memory_capacity,
            {
                "cell": cell,
                "params": cell.init(key, 1),
                "key": key,
                "lags": 2,
                "steps": 60,
                "warm_up": 5,
                "amplitude": 1.0,
                "direction": None,
                "ridge": 1e-9,
                "held_out": 0.2,
            },
        ),
        "mean_field": Call(
            rnnjax.mean_field, {"activation": "tanh", "gain": 1.0, "steps": 3, "input_variance": 0.1, "start": 1.0}
        ),
        "summary": Call(rnnjax.summary, {"cell": cell, "input_size": I}),
        "generate": Call(rnnjax.generate, speech | {"key": key, "choose": rnnjax.sample, "end": 1}),
        "beam_search": Call(rnnjax.beam_search, speech | {"beams": 2, "end": 1, "length_penalty": 0.5}),
        "greedy": Call(rnnjax.greedy, {"key": key, "logits": logits}),
        "sample": Call(rnnjax.sample, {"key": key, "logits": logits}),
        "temperature": Call(rnnjax.temperature, {"logits": logits, "degree": 0.5}),
        "top_k": Call(rnnjax.top_k, {"logits": logits, "count": 2}),
        "nucleus": Call(rnnjax.nucleus, {"logits": logits, "mass": 0.5}),
        "initializers.orthogonal": Call(initializers.orthogonal, {"scale": 1.0}, lambda made: made(key, (2, 2))),
        "initializers.identity": Call(initializers.identity, {"scale": 1.0}, lambda made: made(key, (2, 2))),
        "initializers.spectral_normal": Call(initializers.spectral_normal, {"radius": 0.9}, lambda m: m(key, (2, 2))),
        "initializers.chrono": Call(initializers.chrono, {"longest": 9.0}, lambda made: made(key, (2,))),
        "data.vocabulary_of": Call(data.vocabulary_of, {"text": "abc", "unit": "words", "size": 4, "reserve": True}),
        "data.encode": Call(data.encode, {"vocabulary": vocabulary, "text": "ab", "unknown": "error"}),
        "data.decode": Call(data.decode, {"vocabulary": vocabulary, "tokens": [0, 1]}),
        "data.parallel_streams": Call(data.parallel_streams, {"tokens": text, "streams": 2}),
        "data.sliding_windows": Call(data.sliding_windows, {"tokens": text, "length": 3, "padding": 0}),
        "data.stream_window": Call(data.stream_window, {"streams": text.reshape(10, 2), "number": 0, "length": 3}),
        "data.random_windows": Call(
            data.random_windows, {"tokens": text, "generator": np.random.default_rng(0), "length": 3, "batch": 2}
        ),
        "data.load_text": Call(data.load_text, {"path": __file__, "max_characters": 10}),
        "data.load_corpus": Call(data.load_corpus, {"path": __file__, "max_characters": 10, "max_vocabulary": 9}),
        "data.load_digits": Call(data.load_digits, {"by": "rows"}),
        "data.load_speakers": Call(data.load_speakers, {"path": ""}),
        "tasks.task_named": Call(tasks.task_named, {"name": "adding"}),
        "tasks.adding": Call(tasks.adding, {"length": 10}),
        "tasks.copy_memory": Call(tasks.copy_memory, {"lag": 3}),
        "tasks.temporal_order": Call(tasks.temporal_order, {"length": 30, "relevant": 2}),
        "tasks.sequential_digits": Call(tasks.sequential_digits, {"length": 64, "permuted": False}),
        "from_torch": Call(
            torch_adapter.from_torch, {"state_dict": torch_adapter.to_torch(params), "cell_name": "lstm", "prefix": ""}
        ),
        "to_torch": Call(torch_adapter.to_torch, {"params": params}),
    }
    return calls


def orthogonal() -> Any:
    return initializers.orthogonal()


def wrong_calls(name: str, call: Call) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each argument exchanged for each wrong value; a function where one is right fails in its own words."""
    for argument, right in call.arguments.items():
        for described, value in wrong_values().items():
            if callable(value) and (callable(right) or argument.endswith("_bias")):
                continue
            arguments = call.arguments | {argument: value}
            yield f"{name}({argument}={described})", lambda a=arguments: call.then(call.function(**a))
