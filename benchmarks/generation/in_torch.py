"""Writes in PyTorch, by a loop that draws a character, embeds it and takes a step."""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.common.pytorch import device_like
from benchmarks.generation.network import Size, Writer, first_characters, initial_weights


def write(size: Size, module: str, backend: str) -> Writer:
    """Writes by a ``cell``, which does one step, or a ``layer``, given sequences that are one step long."""
    place = device_like(backend)
    weights = {name: torch.from_numpy(weight).to(place) for name, weight in initial_weights(size).items()}
    embedding = torch.nn.Embedding(size.vocabulary, size.embedding, device=place)
    readout = torch.nn.Linear(size.hidden, size.vocabulary, device=place)
    made = {"gru": (torch.nn.GRUCell, torch.nn.GRU), "lstm": (torch.nn.LSTMCell, torch.nn.LSTM)}
    recurrent = made[size.cell][module == "layer"](size.embedding, size.hidden, device=place)
    ending = "" if module == "layer" else "_l0"
    _load(embedding, weights, "embedding.")
    _load(recurrent, weights, "recurrent.", ending)
    _load(readout, weights, "readout.")
    first = torch.from_numpy(first_characters(size)).to(place)

    def read_by_cell(state: Any, tokens: Any) -> tuple[Any, Any]:
        state = recurrent(embedding(tokens), state)
        return state, readout(state[0] if size.cell == "lstm" else state)

    def read_by_layer(state: Any, tokens: Any) -> tuple[Any, Any]:
        outputs, state = recurrent(embedding(tokens[None]), state)
        return state, readout(outputs[0])

    read = read_by_layer if module == "layer" else read_by_cell

    def said(choose: Callable[[Any], Any]) -> tuple[Any, Any]:
        found = []
        with torch.inference_mode():
            state, logits = read(None, first)
            for _ in range(size.length):
                tokens = choose(logits)
                found.append(tokens)
                state, logits = read(state, tokens)
            return torch.stack(found).cpu().numpy(), logits.cpu().numpy()

    return Writer(lambda: said(_greedy), lambda: said(_sample)[0])


def _greedy(logits: Any) -> Any:
    return logits.argmax(dim=-1)


def _sample(logits: Any) -> Any:
    return torch.multinomial(torch.softmax(logits, dim=-1), 1)[:, 0]


def _load(module: Any, weights: dict[str, Any], prefix: str, ending: str = "") -> None:
    """Loads the weights with that prefix; their names' ending is not part of the module's own names."""
    own = {name: weight for name, weight in weights.items() if name.startswith(prefix)}
    module.load_state_dict({name.removeprefix(prefix).removesuffix(ending): own[name] for name in own})
