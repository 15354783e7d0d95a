"""Any cell as a flax.linen module, for use with Dense, Embed and others.

    class LanguageModel(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            vectors = nn.Embed(256, 64)(tokens)
            hidden = RNN(rnnjax.stack(rnnjax.lstm(64), rnnjax.lstm(64)))(vectors)
            return nn.Dense(256)(hidden)

Time comes first: the tokens are (T, B). With ``time_major=False`` they are (B, T), as in flax.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.adapters.padding import mask_of, sizes
from rnnjax.cell import Cell, check_cell
from rnnjax.checks import check_sequence
from rnnjax.engine.norms import is_inexact
from rnnjax.extras import needed
from rnnjax.sequence.unroll import unroll
from rnnjax.typing import State

with needed("flax", by=__name__):
    import flax.linen as nn
    from flax.serialization import from_state_dict, to_state_dict


class RNN(nn.Module):  # type: ignore[misc]
    """A module that runs a cell over a sequence like ``flax.linen.RNN``, but by default with time first, not the batch.

    The params of the cell are under the name ``cell``, such as ``cell/kernel`` for an LSTM and ``cell/0/kernel`` in a
    stack. ``flax.serialization.from_state_dict`` and ``to_state_dict`` convert them to rnnjax's params and back.

    The collection ``perturbations`` holds a zero epsilon_t, added to the state inside the recurrence:

        s_t = f(s_{t-1}, x_t) + epsilon_t

    The gradient with respect to it is therefore dL/ds_t, at ``perturbations/.../state``: like the cell's state with a
    leading time axis (None for a counter, which has no gradient). It has the T and the batch axes of the call of
    ``init``; for training, or for other sizes, call ``apply`` with the params alone.

    Attributes:
        cell: any rnnjax cell, stacks included.
        reverse: run from the last step to the first, within the lengths; outputs stay at the places of their inputs.
        return_carry: whether a call returns the final carry beside the outputs.
        remat: keep states only every ``remat`` steps, see ``rnnjax.unroll``.
        method: "scan", or "parallel" for cells that are linear in their state, see ``rnnjax.unroll``.
        time_major: False for inputs (..., T, I).
    """

    cell: Cell
    reverse: bool = False
    return_carry: bool = False
    remat: int | Literal["sqrt"] | None = None
    method: Literal["scan", "parallel"] = "scan"
    time_major: bool = True

    @nn.compact  # type: ignore[untyped-decorator]
    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: State | None = None,
        seq_lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
    ) -> Array | tuple[State, Array]:
        """Return the outputs (T, ..., O), or with ``return_carry`` the final carry and the outputs.

        Without ``time_major`` the time axis of inputs, mask, reset and outputs comes after the batch axes.

        Args:
            inputs: (T, ..., I), time first.
            initial_carry: the cell's state before the first step, by default the cell's own initial state.
            seq_lengths: (...), the number of real steps of each example; the padding is at the end.
            mask: (T, ...), instead of ``seq_lengths``: True at real steps. In padding the carry does not change and the
                output is zero.
            reset: (T, ...), True where a step starts from the cell's own initial state.

        Raises:
            ValueError: for shapes that do not fit together, or both ``seq_lengths`` and ``mask``.
            TypeError: if ``cell`` is not a cell, inputs are not real numbers, or a mask or reset is not boolean.
        """
        check_cell("RNN", self.cell, "RNN(lstm(64))")
        check_sequence(inputs)
        mask = mask_of(inputs, mask, seq_lengths, self.time_major)
        steps, batch_shape = sizes(inputs, self.time_major)
        width = inputs.shape[-1]
        named = self.param("cell", lambda key: to_state_dict(self.cell.init(key, width)))
        params = from_state_dict(jax.eval_shape(lambda: self.cell.init(jax.random.key(0), width)), named)
        carry = self.cell.initial_state(params, batch_shape) if initial_carry is None else initial_carry
        carry, outputs = unroll(
            self.cell,
            params,
            inputs,
            carry,
            mask=mask,
            reset=reset,
            reverse=self.reverse,
            remat=self.remat,
            method=self.method,
            time_major=self.time_major,
            perturbation=self._perturbation(carry, steps),
        )
        return (carry, outputs) if self.return_carry else outputs

    def _perturbation(self, carry: State, steps: int) -> State | None:
        # This does what self.perturb does, but for a whole state, which exists only inside of unroll.
        if not (self.is_mutable_collection("perturbations") or self.has_variable("perturbations", "state")):
            return None

        def zeros(leaf: Array) -> Array:
            return jnp.zeros((steps, *leaf.shape), leaf.dtype)

        # jax.grad takes no integers: a counter has no entry in the collection, and unroll leaves it alone.
        stored = self.variable(
            "perturbations",
            "state",
            lambda: jax.tree.map(lambda leaf: zeros(leaf) if is_inexact(leaf) else None, carry),
        )
        return jax.tree.map(lambda leaf, epsilon: zeros(leaf) if epsilon is None else epsilon, carry, stored.value)
