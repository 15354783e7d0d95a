"""Linear maps with a given transpose: forward-mode derivatives are those of the map, gradients are as given."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Map = Callable[[list[Array], list[Array]], list[Array]]
"""``(fixed, moving) -> results``, linear in ``moving``."""

_linear = Primitive("linear_with_own_transpose")
_linear.multiple_results = True


def linear_with_own_transpose(
    forward: Map, backward: Map, fixed: Sequence[Array], moving: Sequence[Array]
) -> list[Array]:
    """``forward(fixed, moving)``, whose gradient is ``backward(fixed, gradients of its results)``.

    ``jax.custom_vjp`` gives a function a backward pass but removes its forward-mode derivative; here both exist. The
    derivative with respect to ``fixed`` is JAX's own. For it ``forward`` can itself be such a map, as for a product,
    which is linear in each of its operands.

    Args:
        forward: linear in ``moving``.
        backward: returns arrays with the shapes of those in ``moving``. It need not be linear.
        fixed: the other arrays that both functions take.
        moving: the arrays that the map is linear in.
    """
    return list(_linear.bind(*fixed, *moving, forward=forward, backward=backward, kept=len(fixed)))


def _evaluated(*operands: Array, forward: Map, backward: Map, kept: int) -> list[Array]:
    return forward(list(operands[:kept]), list(operands[kept:]))


def _results(*operands: Any, **maps: Any) -> Any:
    return jax.make_jaxpr(lambda *arrays: _evaluated(*arrays, **maps))(*operands).out_avals


def _derivative(operands: Any, tangents: Any, *, forward: Map, backward: Map, kept: int) -> tuple[Any, Any]:
    maps = {"forward": forward, "backward": backward, "kept": kept}
    tangents = [ad.instantiate_zeros(tangent) for tangent in tangents]
    fixed, moving = list(operands[:kept]), list(operands[kept:])
    results = _linear.bind(*operands, **maps)
    derivatives = _linear.bind(*fixed, *tangents[kept:], **maps)
    if kept:
        _, through_fixed = jax.jvp(lambda *arrays: forward(list(arrays), moving), fixed, tangents[:kept])
        derivatives = [a + b for a, b in zip(derivatives, through_fixed, strict=True)]
    return results, derivatives


def _transposed(gradients: Any, *operands: Any, forward: Map, backward: Map, kept: int) -> list[Any]:
    given = backward(list(operands[:kept]), [ad.instantiate_zeros(gradient) for gradient in gradients])
    return [*[None] * kept, *given]


def _of_a_batch(operands: Any, axes: Any, *, forward: Map, backward: Map, kept: int) -> tuple[Any, list[int]]:
    """Operands that all examples share are repeated; the transpose of this, a sum, is taken outside of ``backward``."""
    size = next(operand.shape[axis] for operand, axis in zip(operands, axes, strict=True) if axis is not None)
    moved = [batching.bdim_at_front(operand, axis, size) for operand, axis in zip(operands, axes, strict=True)]
    results = _linear.bind(*moved, forward=jax.vmap(forward), backward=jax.vmap(backward), kept=kept)
    return results, [0] * len(results)


_linear.def_impl(_evaluated)
_linear.def_abstract_eval(_results)
ad.primitive_jvps[_linear] = _derivative
ad.primitive_transposes[_linear] = _transposed
batching.primitive_batchers[_linear] = _of_a_batch
mlir.register_lowering(_linear, mlir.lower_fun(_evaluated, multiple_results=True))
