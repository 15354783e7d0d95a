"""Weights from and to PyTorch's nn.RNN, nn.LSTM and nn.GRU.

They are copied as arrays; PyTorch itself is not needed. PyTorch multiplies from the other side and has two biases. Each
layer k has these weights, with the gates one below the other:

    weight_ih_lk (G H, I)  = kernel^T               bias_ih_lk (G H,)
    weight_hh_lk (G H, H)  = recurrent_kernel^T     bias_hh_lk (G H,)

Here G = 1 for nn.RNN, G = 4 for nn.LSTM, in the order i, f, g, o, and G = 3 for nn.GRU, in the order r, z, n. rnnjax
has the same orders. A second direction has the same names with ``_reverse`` at the end.

Both biases are added to the same sum, so one is enough here: bias = bias_ih + bias_hh. Only the candidate of the GRU,

    n_t = tanh(x_t W_n + b_n + r_t * (h_{t-1} U_n + c)),

keeps them separate: b_n is the last third of bias_ih, and c the last third of bias_hh.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from rnnjax.arguments import of_their_kinds
from rnnjax.cells.elman import ElmanParams
from rnnjax.cells.gru import GRUParams, GRUResetAfterParams
from rnnjax.cells.lstm import LSTMParams
from rnnjax.names import lookup
from rnnjax.sequence.bidirectional import BidirectionalParams
from rnnjax.typing import Params

GATES = {"elman": 1, "lstm": 4, "gru": 3}
PARAMS = (ElmanParams, LSTMParams, GRUResetAfterParams)


@of_their_kinds
def from_torch(state_dict: Mapping[str, Any], cell_name: str, prefix: str = "") -> tuple[Params, ...]:
    """The params of a PyTorch module, as a tuple with one element for each layer, as ``stack`` takes them.

        module = torch.nn.LSTM(I, H, num_layers=2)
        params = from_torch(module.state_dict(), "lstm")
        unroll(stack(lstm(H), lstm(H)), params, inputs)

    For a bidirectional module each element is a ``BidirectionalParams``, so that ``chain`` takes the tuple:

        chain(bidirectional(lstm(H), lstm(H)), bidirectional(lstm(H), lstm(H))).apply(params, inputs)

    The biases of a module without biases (``bias=False``) are zero here.

    Args:
        state_dict: of an nn.RNN, nn.LSTM or nn.GRU, with tensors or anything that NumPy takes.
        cell_name: "elman" for nn.RNN, "lstm", or "gru" for gru(H, reset="after"). The nonlinearity of an nn.RNN is not
            among the weights: use elman(H, "tanh") or elman(H, "relu") accordingly.
        prefix: the prefix of the names in the state_dict of a larger model, such as "encoder.rnn.".

    Raises:
        ValueError: for an unknown cell_name, a key that is missing or unknown, a shape that is not this cell's, or an
            LSTM with proj_size.
    """
    lookup("cell_name", cell_name, GATES)
    if f"{prefix}weight_hr_l0" in state_dict:
        raise ValueError(
            f"state_dict has {prefix + 'weight_hr_l0'!r}, of an LSTM with proj_size, which rnnjax.lstm does not have: "
            "expected one without; make it with proj_size=0"
        )
    layers: list[Params] = []
    input_size = None
    while not layers or f"{prefix}weight_ih_l{len(layers)}" in state_dict:
        name = f"l{len(layers)}"
        layer = _direction_from_torch(state_dict, cell_name, prefix, name, input_size)
        outputs = layer.recurrent_kernel.shape[0]
        if f"{prefix}weight_ih_{name}_reverse" in state_dict:
            width = layer.kernel.shape[0]
            reverse = _direction_from_torch(state_dict, cell_name, prefix, f"{name}_reverse", width)
            layer, outputs = BidirectionalParams(layer, reverse), 2 * outputs
        layers.append(layer)
        input_size = outputs

    known = {prefix + name for name in to_torch(tuple(layers))}
    if unknown := sorted(key for key in state_dict if key.startswith(prefix) and key not in known):
        raise ValueError(
            f"state_dict has a key {unknown[0]!r}, which no layer of {cell_name!r} has: expected the module's own "
            "weights alone; select them by prefix, or in a smaller mapping"
        )
    return tuple(layers)


def to_torch(params: Params) -> dict[str, np.ndarray]:
    """The weights as NumPy arrays under PyTorch's names, for ``module.load_state_dict``.

        module.load_state_dict({name: torch.from_numpy(weight) for name, weight in to_torch(params).items()})

    The whole bias goes into bias_ih; bias_hh is zero, except for the GRU's c. Training in PyTorch goes on differently
    from there: both biases get the gradient, so each step moves their sum about twice as far.

    Args:
        params: of an ``elman``, ``lstm`` or ``gru(H, reset="after")``; or a tuple of such params, as of a stack, or of
            ``BidirectionalParams`` of them.

    Raises:
        ValueError: for params of a GRU with reset="before", which PyTorch does not have.
        TypeError: for params of another cell.
    """
    layers = params if type(params) in (tuple, list) else (params,)
    state_dict: dict[str, np.ndarray] = {}
    for index, layer in enumerate(layers):
        directions = layer if isinstance(layer, BidirectionalParams) else (layer,)
        for direction, suffix in zip(directions, ("", "_reverse"), strict=False):
            for name, weight in _direction_to_torch(direction).items():
                state_dict[f"{name}_l{index}{suffix}"] = weight
    return state_dict


def _direction_from_torch(
    state_dict: Mapping[str, Any], cell_name: str, prefix: str, name: str, input_size: int | None
) -> Params:
    def array(kind: str, *shape: int | None) -> np.ndarray:
        return _array(state_dict, f"{prefix}{kind}_{name}", cell_name, shape)

    gates, size = GATES[cell_name], array("weight_hh", None, None).shape[1]
    kernel, recurrent_kernel = array("weight_ih", gates * size, input_size).T, array("weight_hh", gates * size, size).T
    bias = recurrent_bias = np.zeros(gates * size, kernel.dtype)
    if f"{prefix}bias_ih_{name}" in state_dict or f"{prefix}bias_hh_{name}" in state_dict:
        bias, recurrent_bias = array("bias_ih", gates * size), array("bias_hh", gates * size)

    if cell_name == "gru":
        to_gates, to_candidate = np.split(recurrent_bias, [2 * size])
        bias = bias + np.pad(to_gates, (0, size))
        return GRUResetAfterParams(*map(jnp.asarray, (kernel, recurrent_kernel, bias, to_candidate)))
    make = ElmanParams if cell_name == "elman" else LSTMParams
    return make(*map(jnp.asarray, (kernel, recurrent_kernel, bias + recurrent_bias)))


def _array(state_dict: Mapping[str, Any], key: str, cell_name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """The value of a key as an array of the given shape, in which None stands for any size."""
    if key not in state_dict:
        first = f", the first {next(iter(state_dict))!r}" if state_dict else ""
        raise ValueError(
            f"state_dict has no key {key!r}: received {len(state_dict)} keys{first}; expected those of an nn.RNN, "
            "nn.LSTM or nn.GRU; pass its own state_dict(), or the prefix of its names"
        )
    value = state_dict[key]
    for method in ("detach", "cpu", "numpy"):  # methods of a tensor, which may need a gradient or be on a GPU
        value = getattr(value, method)() if hasattr(value, method) else value
    value = np.asarray(value)
    if value.ndim != len(shape) or any(size not in (None, n) for size, n in zip(shape, value.shape, strict=True)):
        expected = str(shape).replace("None", "any")
        raise ValueError(
            f"{key} has shape {value.shape}: expected {expected} for {cell_name!r}, gates x hidden size on axis 0; "
            "check cell_name"
        )
    return value


def _direction_to_torch(params: Params) -> dict[str, np.ndarray]:
    if isinstance(params, GRUParams):
        raise ValueError(
            "received GRUParams, of a gru with reset='before', which PyTorch does not have: expected "
            "GRUResetAfterParams; make the cell with gru(hidden_size, reset='after')"
        )
    if type(params) not in PARAMS:
        expected = ", ".join(kind.__name__ for kind in PARAMS)
        raise TypeError(
            f"received {type(params).__name__}: expected one of {expected}, or a tuple of them or of "
            "BidirectionalParams of them, one element a layer; PyTorch has no other cells"
        )
    bias, size = np.array(params.bias), params.recurrent_kernel.shape[0]
    recurrent_bias = np.zeros_like(bias)
    if isinstance(params, GRUResetAfterParams):
        recurrent_bias[2 * size :] = params.recurrent_bias
    # torch.from_numpy takes arrays in their own memory and order, which transposed views and JAX's buffers are not.
    kernel, recurrent_kernel = (np.array(k.T, order="C") for k in (params.kernel, params.recurrent_kernel))
    return {
        "weight_ih": kernel,
        "weight_hh": recurrent_kernel,
        "bias_ih": bias,
        "bias_hh": recurrent_bias,
    }
