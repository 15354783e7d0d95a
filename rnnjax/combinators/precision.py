"""Matrix products in lower precision.

Everything else stays in float32, so that a memory keeps its digits.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn

from rnnjax.cell import Cell, check_cell
from rnnjax.checks import told
from rnnjax.combinators.compose import each_layer
from rnnjax.engine.own_transpose import linear_with_own_transpose
from rnnjax.engine.program import execute, is_matrix_product, program_of
from rnnjax.origin import remembered


@remembered
def mixed_precision(cell: Cell, dtype: Any = jnp.bfloat16) -> Cell:
    """The cell with matrix products in ``dtype``, all else in the dtype of its params (Micikevicius et al., 2018).

        x W   becomes   round(x) round(W), summed up in the dtype of the params

    The same holds backward, for the gradients of x and of W. Params, states, gates, gradients and their sums over time
    keep all their digits. That matters because in bfloat16 a number that is added to a memory 256 times as large is
    lost. (Without ``mixed_precision``, params and inputs in bfloat16 make everything bfloat16.)

    The error of the gradient of the params depends on what happens to it on the way back through time. This is the
    relative error of bfloat16 against float64 for cells of 64 units at initialization, with inputs from N(0, 1), the
    loss at the last step, and 3 or 4 seeds; forget biases are in brackets:

        the gradient                              T = 100           T = 1000
        fades: tanh, GRU, LSTM (0 or 1)         0.2 to 0.6 %      0.2 to 0.5 %
        is kept: LSTM (3)                         1 to 2 %         11 to 14 %
        grows: LSTM (5)                           5 to 16 %         over 90 %

    float16 has a tenth to a third of these errors, except for the last one, which is as large. There the network
    multiplies any small difference: with forget bias 5 and T = 1000 float32 itself is off by 0.1 to 19 %. In float16
    gradients above 65504 become infinite and gradients below 6e-5 lose digits, so scale the loss.

    It is meant for devices with hardware for such products. On CPUs without it, it is slower: on two cores gradients of
    Elman and LSTM cells of 64 to 512 units took 1.0 to 2.1 times as long as in float32. Products inside a ``jax.jit``
    or a loop within the cell, and layers without a memory, such as the gate of a ``highway``, are not changed. Since
    the backward pass is custom, ``newton_unroll`` does not take the cell; forward-mode derivatives (``jax.jvp``) work.

    Args:
        cell: any cell, stacks included.
        dtype: of the operands, a floating one: bfloat16, or float16, whose range ends at 65504.

    Raises:
        TypeError: if ``cell`` is not a cell, or ``dtype`` is not floating.
    """
    check_cell("mixed_precision", cell, "mixed_precision(lstm(64))")
    if not _is_floating(dtype):
        raise TypeError(f"dtype is {told(dtype)}: expected a floating one, such as jnp.bfloat16")

    def change(layer: Cell, path: tuple[int, ...]) -> Cell:
        narrow = partial(_with_narrow_products, jnp.dtype(dtype))
        return layer._replace(
            project=narrow(layer.project),
            advance=narrow(layer.advance),
            output=narrow(layer.output),
            affine=layer.affine and narrow(layer.affine),
        )

    return each_layer(cell, change)


def _with_narrow_products(dtype: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    def multiply(equation: JaxprEqn, operands: list[Any]) -> list[Any] | None:
        result = equation.outvars[0].aval.dtype  # type: ignore[attr-defined]
        if not is_matrix_product(equation) or not jnp.issubdtype(result, jnp.floating):
            return None
        return [_product(dtype, *operands)]

    def changed(*arguments: Any) -> Any:
        return execute(program_of(function, *arguments), jax.tree.leaves(arguments), multiply)

    return changed


def _product(dtype: Any, x: Array, kernel: Array) -> Array:
    """X W of operands rounded to ``dtype``, in forward and backward derivatives, too."""
    examples = tuple(range(x.ndim - 1))
    narrow = partial(_narrow_dot, dtype)

    def for_kernel(fixed: list[Array], gradients: list[Array]) -> list[Array]:
        return [narrow(fixed[0], gradients[0], (examples, examples))]

    def for_x(fixed: list[Array], gradients: list[Array]) -> list[Array]:
        return [narrow(gradients[0], fixed[0], ((x.ndim - 1,), (1,)))]

    def product(fixed: list[Array], moving: list[Array]) -> list[Array]:
        return [narrow(fixed[0], moving[0], ((x.ndim - 1,), (0,)))]

    def of_x(fixed: list[Array], moving: list[Array]) -> list[Array]:
        return linear_with_own_transpose(product, for_kernel, moving, fixed)

    return linear_with_own_transpose(of_x, for_x, [kernel], [x])[0]


def _narrow_dot(dtype: Any, a: Array, b: Array, along: tuple[tuple[int, ...], tuple[int, ...]]) -> Array:
    return jax.lax.dot_general(a.astype(dtype), b.astype(dtype), (along, ((), ())), preferred_element_type=a.dtype)


def _is_floating(dtype: Any) -> bool:
    try:
        return dtype is not None and bool(jnp.issubdtype(jnp.dtype(dtype), jnp.floating))
    except (TypeError, ValueError):
        return False
