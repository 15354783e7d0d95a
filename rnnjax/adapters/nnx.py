"""Any cell as a flax.nnx module, for use with Linear, Embed and others.

    class LanguageModel(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(256, 64, rngs=rngs)
            self.rnn = RNN(rnnjax.stack(rnnjax.lstm(64), rnnjax.lstm(64)), 64, rngs=rngs)
            self.head = nnx.Linear(64, 256, rngs=rngs)

        def __call__(self, tokens):
            return self.head(self.rnn(self.embed(tokens)))

Time comes first: the tokens are (T, B). With ``time_major=False`` they are (B, T), as in flax.
"""

from typing import Any, Literal

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
    from flax import nnx


class RNN(nnx.Module):  # type: ignore[misc]
    """A module that runs a cell over a sequence like ``flax.nnx.RNN``, but by default with time first, not the batch.

    ``params`` are the cell's params, each leaf an ``nnx.Param``: ``rnn.params.kernel``, ``rnn.params[0].kernel``.

    Under ``nnx.capture`` with ``nnx.Perturbation`` a zero epsilon_t is added to the state inside the recurrence,

        s_t = f(s_{t-1}, x_t) + epsilon_t

    The gradient with respect to it is therefore dL/ds_t (T, ...), under the names ``state.hidden``, ``state[0].hidden``
    and so on, one for each field and layer. A counter, which has no gradient, has no entry.
    """

    def __init__(
        self,
        cell: Cell,
        in_features: int,
        *,
        reverse: bool = False,
        return_carry: bool = False,
        remat: int | Literal["sqrt"] | None = None,
        method: Literal["scan", "parallel"] = "scan",
        time_major: bool = True,
        rngs: nnx.Rngs,
    ) -> None:
        """Make the params.

        Args:
            cell: any rnnjax cell, stacks included.
            in_features: I, the input width.
            reverse: run from the last step to the first, within the lengths; outputs stay at the places of their
                inputs.
            return_carry: whether a call returns the final carry beside the outputs.
            remat: keep states only every ``remat`` steps, see ``rnnjax.unroll``.
            method: "scan", or "parallel" for cells that are linear in their state, see ``rnnjax.unroll``.
            time_major: False for inputs (..., T, I).
            rngs: the params are drawn from its stream ``params``.

        Raises:
            ValueError: if in_features < 1.
            TypeError: if ``cell`` is not a cell, or in_features is not a whole number.
        """
        check_cell("RNN", cell, "RNN(lstm(64), in_features, rngs=nnx.Rngs(0))")
        self.cell = nnx.static(cell)
        self.reverse, self.return_carry, self.remat, self.method = reverse, return_carry, remat, method
        self.time_major = time_major
        self.params = nnx.data(jax.tree.map(nnx.Param, cell.init(rngs.params(), in_features)))

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: State | None = None,
        seq_lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
    ) -> Any:
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
            TypeError: for inputs that are not real numbers, or a mask or reset that is not boolean.
        """
        check_sequence(inputs)
        mask = mask_of(inputs, mask, seq_lengths, self.time_major)
        steps, batch_shape = sizes(inputs, self.time_major)
        params = jax.tree.map(lambda p: p.get_value(), self.params, is_leaf=lambda p: isinstance(p, nnx.Variable))
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
        # Outside nnx.capture, which sets this attribute, self.perturb is deprecated and would add to the module.
        if not hasattr(self, "__captures__"):
            return None

        def perturbed(path: tuple[Any, ...], leaf: Array) -> Array:
            zeros = jnp.zeros((steps, *leaf.shape), leaf.dtype)
            return self.perturb("state" + jax.tree_util.keystr(path), zeros) if is_inexact(leaf) else zeros

        return jax.tree_util.tree_map_with_path(perturbed, carry)
