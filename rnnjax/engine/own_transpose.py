"""Linear maps whose transpose is given: derivatives forward stay the map's, gradients become what one asks for."""

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

    ``jax.custom_vjp`` gives a function a backward pass and takes away its derivative forward; here both are there.
    The derivative for ``fixed`` is JAX's own, and can be such a map in its turn: a product is one in one operand, whose
    ``forward`` is one in the other.

    Args:
        forward: linear in ``moving``.
        backward: gives as many arrays as ``moving`` has, of their shapes. It need not be linear.
        fixed: what both take beside it.
        moving: what the map is linear in.
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
    """What all examples share is repeated: the transpose of that sums, outside of ``backward``."""
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
