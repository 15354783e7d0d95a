"""Unrolling a cell over a sequence.

It is a ``lax.scan``, so that ``jax.grad`` of it is backpropagation through time.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.export
import jax.numpy as jnp
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from rnnjax.cell import Cell, check_cell
from rnnjax.checks import (
    check_advanced,
    check_flag,
    check_mask,
    check_params,
    check_perturbation,
    check_sequence,
    check_state,
    positive_integer,
    whole_numbers,
)
from rnnjax.engine.norms import is_inexact
from rnnjax.engine.products import at_all_steps
from rnnjax.engine.program import fix_first
from rnnjax.engine.through_time import scan_through_time
from rnnjax.engine.tracing import traced_once
from rnnjax.engine.wiring import run_layers
from rnnjax.names import lookup
from rnnjax.typing import Drive, Params, State


def unroll(
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State | None = None,
    *,
    mask: Array | None = None,
    reset: Array | None = None,
    reverse: bool = False,
    remat: int | Literal["sqrt"] | None = None,
    perturbation: State | None = None,
    method: Literal["scan", "parallel"] = "scan",
    time_major: bool = True,
) -> tuple[State, Array]:
    """Run a cell over a whole sequence.

        s_t = f(s_{t-1}, x_t) + perturbation_t        y_t = g(s_t)        t = 1, ..., T

    Side effects of a cell, such as ``jax.debug.print`` in its ``advance``, happen once for each step of the forward
    pass. They are not repeated in the backward pass, nor in the steps that ``remat`` computes again.

    Args:
        cell: any cell, stacks included.
        params: from ``cell.init``.
        inputs: (T, ..., I), time first, with any batch axes.
        state: s_0, with the batch axes of the inputs; by default ``cell.initial_state``.
        mask: (T, ...), True at real steps. At other steps the state does not change and the output is zero, so padding
            adds nothing to a loss or its gradient.
        reset: (T, ...), True at the first step of each document or episode, if a sequence holds several. Each starts
            from ``cell.initial_state``; neither state nor gradient crosses the boundary. With ``reverse`` the documents
            are the same ones and start from their ends. A first step may be padding.
        reverse: run from the last step to the first. Outputs stay at the places of their inputs; with padding at the
            end of a sequence the reversal acts within its length.
        remat: keep states only every ``remat`` steps and compute the others again in the backward pass. This needs
            memory for about T / remat + remat steps and costs one more forward pass. "sqrt" takes about the square root
            of T, which needs the least memory: beyond inputs and outputs it grows as sqrt(T) (Chen et al., 2016).
        perturbation: like the state with a leading time axis, added to the state inside the recurrence. The gradient
            with respect to a zero perturbation is dL/ds_t, the total derivative through this step's output and all
            later steps.
        method: "scan" goes step by step. "parallel" solves the recurrence in about log2(T) rounds by
            ``lax.associative_scan`` (Blelloch, 1990), for cells with ``affine`` and stacks of them; ``remat`` does not
            apply. It gives the same numbers up to rounding and does more work. Measured for ``lru`` on two CPU cores,
            it was faster than "scan" over one narrow sequence (B H = 8) and slower for B H = 512; see
            benchmarks/parallel/.
        time_major: False for inputs (..., T, I), batch axes first, with masks and resets (..., T) and outputs
            (..., T, O), as in ``flax.linen.RNN`` by default. (The time axis of a perturbation always comes first.)

    Returns:
        The state after the last step (the first, in reverse) and the outputs (T, ..., O).

    Raises:
        ValueError: if shapes or structures do not fit together, or the sequence is empty.
        TypeError: if inputs are not real numbers, or a mask or reset is not boolean.
    """
    check_flag("time_major", time_major)
    if not time_major:
        inputs, mask, reset = time_first(inputs, mask, reset)
    inputs, state = prepare(cell, params, inputs, state, mask, reset)
    check_flag("reverse", reverse)
    chunk = _chunk(remat, inputs.shape[0])
    lookup("method", method, {"scan": None, "parallel": None})
    if perturbation is not None:
        check_perturbation(state, perturbation, inputs.shape[0])

    fresh = None if reset is None else state_beside(inputs, cell, params)
    extras = perturbation, fresh
    final, outputs = _run(cell, params, inputs, state, extras, mask, reset, reverse=reverse, remat=chunk, method=method)
    return final, outputs if time_major else jnp.moveaxis(outputs, 0, -2)


@traced_once
def _run(
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State,
    extras: tuple[State | None, State | None],
    mask: Array | None,
    reset: Array | None,
    *,
    reverse: bool,
    remat: int | None,
    method: str,
) -> tuple[State, Array]:
    """Run a cell over a whole sequence; ``extras`` are the perturbation and the state after a reset."""
    reverse = reverse != cell.reverse
    if cell.wiring:

        def run(*layer: Any) -> tuple[State, Array]:
            final, outputs = _run(*layer, mask, reset, reverse=reverse, remat=remat, method=method)
            return final, outputs

        of_layers = [tuple(extra if extra is None else extra[i] for extra in extras) for i in range(len(state))]
        return run_layers(cell.wiring, params, inputs, state, of_layers, run)
    perturbation, fresh = extras
    reset = first_steps(reset, reverse)
    if cell.memoryless:
        return _all_at_once(cell, params, inputs, state, perturbation, mask, reset, fresh, reverse)
    if method == "parallel":
        return _solve_affine(cell, params, inputs, state, perturbation, mask, reset, fresh, reverse)

    def ahead(xs: Any) -> tuple[Drive, State | None]:
        inputs, perturbation = xs
        return at_all_steps(cell.project, params, inputs), perturbation

    def step(params: Params, state: State, xs: Any) -> tuple[State, Array]:
        drive, perturbation = xs
        return perturbed_step(cell, params, state, drive, perturbation)

    xs = inputs, perturbation
    return scan_masked(step, params, state, xs, mask, reset, fresh, ahead=ahead, reverse=reverse, remat=remat)


def prepare(
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State | None,
    mask: Array | None = None,
    reset: Array | None = None,
) -> tuple[Array, State]:
    """Check the arguments; return the inputs, set to zero where masked, and the state, by default the initial one."""
    check_cell("cell", cell, "lstm(64)")
    check_sequence(inputs)
    check_params(cell, params, inputs)
    batch_shape = inputs.shape[1:-1]
    if state is None:
        state = state_beside(inputs, cell, params)
    check_state(cell, params, state, batch_shape)
    if reset is not None:
        check_mask(reset, inputs.shape[:-1], "reset")
    if mask is not None:
        check_mask(mask, inputs.shape[:-1])
        # Values in the padding, NaN included, must not reach a gradient: 0 * NaN is NaN.
        inputs = jnp.where(mask[..., None], inputs, jnp.zeros_like(inputs))
    return inputs, state


def time_first(inputs: Array, mask: Array | None, reset: Array | None) -> tuple[Array, Array | None, Array | None]:
    """Move the time axes of inputs (..., T, I) and of a mask and resets (..., T) to the front."""
    check_sequence(inputs)
    for name, where in (("mask", mask), ("reset", reset)):
        if where is not None:
            check_mask(where, inputs.shape[:-1], name)
    mask, reset = jax.tree.map(lambda where: jnp.moveaxis(where, -1, 0), (mask, reset))
    return jnp.moveaxis(inputs, -2, 0), mask, reset


def first_steps(reset: Array | None, reverse: bool) -> Array | None:
    """Return where documents start for the direction: in reverse at the last step of each document but the last one."""
    if reset is None or not reverse:
        return reset
    return jnp.concatenate([reset[1:], jnp.zeros_like(reset[:1])])


def state_beside(inputs: Array, cell: Cell, params: Params) -> State:
    """Return the initial state for these inputs, with its batch axes on the same devices as those of the inputs.

    Otherwise each step would gather it in a mesh of explicit axes. Inside ``jax.shard_map`` it must be declared as
    varying from device to device, as later states do. In a mesh of automatic axes the compiler takes care of this.
    """
    placed, batch_axes = jax.typeof(inputs), jax.typeof(inputs).sharding.spec[1:-1]

    def put(leaf: Array) -> Array:
        if any(axis is not None for axis in batch_axes):
            spec = PartitionSpec(*batch_axes, *(None,) * (leaf.ndim - len(batch_axes)))
            leaf = jax.sharding.reshard(leaf, NamedSharding(placed.sharding.mesh, spec))
        return jax.lax.pcast(leaf, tuple(placed.mat.varying - jax.typeof(leaf).mat.varying), to="varying")

    return jax.tree.map(put, cell.initial_state(params, inputs.shape[1:-1]))


def perturbed_step(
    cell: Cell, params: Params, state: State, drive: Drive, perturbation: State | None
) -> tuple[State, Array]:
    """Run one step with a perturbation added to the new state before the output is read from it."""
    new_state = cell.advance(params, state, drive)
    check_advanced(state, new_state)
    new_state = perturb(new_state, perturbation)
    return new_state, cell.output(params, new_state)


def perturb(state: State, perturbation: State | None) -> State:
    """Add a perturbation to those leaves of the state that can have a gradient."""
    if perturbation is None:
        return state
    return jax.tree.map(lambda leaf, epsilon: leaf + epsilon if is_inexact(leaf) else leaf, state, perturbation)


def zero_perturbation(state: State, inputs: Array) -> State:
    """Return zeros (T, ...) to perturb the states of all steps; zeros for leaves without a gradient have no effect."""

    def zeros(leaf: Array) -> Array:
        if is_inexact(leaf):
            return jnp.broadcast_to(jnp.zeros_like(leaf), (inputs.shape[0], *leaf.shape))
        return jnp.zeros_like(inputs[..., 0])

    return jax.tree.map(zeros, state)


def scan_masked(
    step: Callable[[Params, State, Any], tuple[State, Any]],
    params: Params,
    state: State,
    xs: Any,
    mask: Array | None,
    reset: Array | None = None,
    fresh: State | None = None,
    *,
    ahead: Callable[[Any], Any] = lambda xs: xs,
    reverse: bool = False,
    remat: int | None = None,
) -> tuple[State, Any]:
    """Scan ``step(params, state, x)`` over ``ahead(xs)``, which is computed for all steps at once.

    Where ``reset`` is True the state is first set to ``fresh``. Where ``mask`` is False it does not change, and the
    output is zero.
    """

    def masked_step(fixed: tuple[Params, State | None], state: State, xs: Any) -> tuple[State, Array]:
        params, fresh = fixed
        xs, real, starts = xs
        before = state if starts is None else _select(starts, fresh, state)
        new_state, output = step(params, before, xs)
        if real is None:
            return new_state, output
        return _select(real, new_state, before), _select(real, output, jax.tree.map(jnp.zeros_like, output))

    def run(state: State, xs: Any) -> tuple[State, Array]:
        xs, mask, reset = xs
        return scan_through_time(fixed_step, state, (ahead(xs), mask, reset), reverse=reverse)

    of_a_step = jax.eval_shape(lambda xs: jax.tree.map(lambda x: x[0], (ahead(xs), mask, reset)), xs)
    fixed_step = fix_first(masked_step, (params, fresh), state, of_a_step)
    xs = xs, mask, reset
    return run(state, xs) if remat is None else _in_chunks(run, state, xs, reverse, remat)


def _select(condition: Array, one: State, other: State) -> State:
    """Select, leaf by leaf, ``one`` where the condition on the leading axes holds, else ``other``."""

    def select(a: Array, b: Array) -> Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - condition.ndim)), a, b)

    return jax.tree.map(select, one, other)


def _solve_affine(
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State,
    perturbation: State | None,
    mask: Array | None,
    reset: Array | None,
    fresh: State | None,
    reverse: bool,
) -> tuple[State, Array]:
    """Solve s_t = factor_t * s_{t-1} + term_t for all t by combining neighbouring steps, then pairs of them, etc."""
    if cell.affine is None:
        raise ValueError(
            "method='parallel' received a cell whose recurrence is not affine in its state: expected one such as "
            "min_gru, sru or lru, or a stack of them; use method='scan'"
        )
    factor, term = cell.affine(params, cell.project(params, inputs))
    if reset is not None:
        from_fresh = jax.tree.map(lambda a, b, s: a * s[None] + b, factor, term, fresh)
        factor, term = _select(reset, (jax.tree.map(jnp.zeros_like, factor), from_fresh), (factor, term))
    term = perturb(term, perturbation)
    if mask is not None:
        holds = jax.tree.map(jnp.ones_like, factor), jax.tree.map(jnp.zeros_like, term)
        if reset is not None:
            begins = (
                jax.tree.map(jnp.zeros_like, factor),
                jax.tree.map(lambda zeros, s: zeros + s[None], holds[1], fresh),
            )
            holds = _select(reset, begins, holds)
        factor, term = _select(mask, (factor, term), holds)

    def combine(earlier: tuple[State, State], later: tuple[State, State]) -> tuple[State, State]:
        (a, b), (c, d) = earlier, later
        return jax.tree.map(jnp.multiply, a, c), jax.tree.map(lambda b, c, d: c * b + d, b, c, d)

    factors, terms = jax.lax.associative_scan(combine, (factor, term), reverse=reverse)
    states = jax.tree.map(lambda a, b, s: a * s[None] + b, factors, terms, state)
    outputs = cell.output(params, states)
    if mask is not None:
        outputs = _select(mask, outputs, jnp.zeros_like(outputs))
    return jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states), outputs


def _all_at_once(
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State,
    perturbation: State | None,
    mask: Array | None,
    reset: Array | None,
    fresh: State | None,
    reverse: bool,
) -> tuple[State, Array]:
    """Run a memoryless cell at all steps at once."""
    before = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (inputs.shape[0], *leaf.shape)), state)
    states = perturb(cell.advance(params, before, cell.project(params, inputs)), perturbation)
    outputs = cell.output(params, states)
    if mask is None:
        return jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states), outputs
    last = jnp.argmax(mask, axis=0) if reverse else mask.shape[0] - 1 - jnp.argmax(mask[::-1], axis=0)

    def at_last(leaf: Array) -> Array:
        index = last.reshape(1, *last.shape, *(1,) * (leaf.ndim - 1 - last.ndim))
        return jnp.take_along_axis(leaf, index, axis=0)[0]

    final = _select(mask.any(axis=0), jax.tree.map(at_last, states), state)
    if reset is not None:  # in the padding after the last real step, or with no real step at all
        at = jnp.arange(mask.shape[0]).reshape(-1, *(1,) * (mask.ndim - 1))
        later = at < last[None] if reverse else at > last[None]
        final = _select((reset & (later | ~mask.any(axis=0, keepdims=True))).any(axis=0), fresh, final)
    return final, _select(mask, outputs, jnp.zeros_like(outputs))


def _chunk(remat: int | Literal["sqrt"] | None, steps: int) -> int | None:
    """Return how many steps are computed again together; None if no step is."""
    if remat is None:
        return None
    if isinstance(remat, str):
        root = lookup("remat", remat, {"sqrt": math.isqrt(steps - 1) + 1})
        # If the sequence is not a whole number of chunks, XLA copies the inputs, so a divisor of its length is
        # preferred.
        whole = [chunk for chunk in range(root // 2 + 1, 2 * root) if steps % chunk == 0]
        return min(whole, key=lambda chunk: abs(math.log(chunk / root)), default=root)
    return positive_integer("remat", remat)


def _in_chunks(
    run: Callable[[State, Any], tuple[State, Array]], state: State, xs: Any, reverse: bool, remat: int
) -> tuple[State, Any]:
    """Apply ``run`` to chunks of ``remat`` steps in turn, each of which is computed again in the backward pass."""
    of_a_step = jax.tree.map(lambda x: x.shape[1:], xs)

    @jax.checkpoint
    def chunk(state: State, xs: Any) -> tuple[State, Any]:
        return run(state, jax.tree.map(lambda x, shape: x.reshape(x.shape[0], *shape), xs, of_a_step))

    length = jax.tree.leaves(xs)[0].shape[0]
    whole = length - length % remat  # the remaining steps, at the end in time, are a shorter chunk
    # Axes of length 1, as of a batch of one example, are removed: XLA would copy all inputs to cut them with such an
    # axis.
    slim = jax.tree.map(lambda x: x.reshape(length, *(size for size in x.shape[1:] if size != 1)), xs)
    chunks = jax.tree.map(lambda x: x[:whole].reshape(whole // remat, remat, *x.shape[1:]), slim)
    rest = jax.tree.map(lambda x: x[whole:], slim)
    if reverse and whole < length:
        state, rest_outputs = chunk(state, rest)
    state, outputs = jax.lax.scan(chunk, state, chunks, reverse=reverse)
    outputs = jax.tree.map(lambda y: y.reshape(whole, *y.shape[2:]), outputs)
    if whole == length:
        return state, outputs
    if not reverse:
        state, rest_outputs = chunk(state, rest)
    return state, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outputs, rest_outputs)


def length_mask(lengths: Array, steps: int) -> Array:
    """Return booleans (T, ...), True at the first ``lengths`` steps of each example; a length may be 0."""
    lengths = whole_numbers("lengths", lengths)
    if not jax.export.is_symbolic_dim(steps):
        steps = positive_integer("steps", steps)
    return jnp.arange(steps).reshape(steps, *(1,) * lengths.ndim) < lengths[None]
