"""Newton's method for running a nonlinear cell over all steps at once.

The states of a sequence are the root of r_t = s_t - f(s_{t-1}, x_t), t = 1, ..., T. Newton's method replaces f by its
linearization J_t at the last iterate. What remains is an affine recurrence, which a parallel prefix scan solves:

    d_t = J_t d_{t-1} - r_t        d_0 = 0        s_t <- s_t + d_t

Whatever J is, k iterations make the first k states exact up to rounding, so T iterations are always enough. The method
is worth its additional work if a few iterations are enough and processors would otherwise be idle; see
benchmarks/parallel/.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rnnjax.arguments import of_their_kinds
from rnnjax.cell import Cell
from rnnjax.checks import check_advanced, positive_integer, positive_number
from rnnjax.engine.norms import is_inexact
from rnnjax.engine.program import fix_first, has_own_backward_pass, program_of
from rnnjax.engine.state_vectors import state_vectors
from rnnjax.engine.wiring import run_layers
from rnnjax.names import lookup
from rnnjax.sequence.unroll import first_steps, prepare, state_beside, unroll
from rnnjax.typing import Params, State


class NewtonReport(NamedTuple):
    """How the iteration ended: scalars, or for a composed cell (L,), one element per layer in the order of running.

    Attributes:
        converged: whether the residual is within the tolerance. If False, the result is that of a sequential scan.
        iterations: their number; 0 for affine and memoryless cells, which need none.
        residual: the largest |s_t - f(s_{t-1}, x_t)| of the last iterate in any field of the state, relative to the
            largest number in that field and example over time.
    """

    converged: Array
    iterations: Array
    residual: Array


@of_their_kinds
def newton_unroll(
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State | None = None,
    *,
    jacobian: Literal["full", "diagonal"] = "full",
    mask: Array | None = None,
    reset: Array | None = None,
    reverse: bool = False,
    tolerance: float | None = None,
    max_iterations: int = 100,
) -> tuple[State, Array, NewtonReport]:
    """Run any cell over a whole sequence as ``unroll`` does, but all steps at once, by Newton's method.

        s_t = f(s_{t-1}, x_t)        y_t = g(s_t)        t = 1, ..., T

    If the iteration does not converge or is not finite, the result is computed again step by step. In any case the
    numbers are those of ``unroll``, each step within the tolerance. D is how many numbers a layer's state has (a
    complex one counts as two). For each step an iteration costs:

    - "full" (DEER; Lim et al., 2024): the derivative of the step in D directions for J_t, and products of D x D
      matrices. Memory T D^2. Convergence is quadratic.
    - "diagonal" (quasi-DEER; Gonzalez et al., 2024): only the diagonal of J_t, and products of D numbers. In general
      the diagonal takes as many derivatives as the whole of J_t; they are computed for T / D steps at a time, in memory
      T D. It needs more iterations, the more so the more strongly units depend on each other; h and c of an LSTM count
      as different units.

    Gradients are exact with either choice, by the implicit function theorem: dL/ds_t follows the transposed recurrence.
    It is solved in parallel with "full" (step by step if that is not within the tolerance), and step by step with
    "diagonal". Only first derivatives in reverse mode exist, with respect to params, inputs and s_0.

    All examples of a batch iterate together until the last has converged; with ``jax.vmap`` each has its own report.
    Layers of a stack run one after the other. A cell whose step has derivative 0 almost everywhere gains only one exact
    step per iteration.

    Args:
        cell: any cell whose state is made of real or complex numbers; stacks included.
        params: from ``cell.init``.
        inputs: (T, ..., I), time first, any batch axes.
        state: s_0, by default ``cell.initial_state``.
        jacobian: "full" or "diagonal".
        mask: (T, ...), True at real steps, as in ``unroll``.
        reset: (T, ...), True where a step starts from the initial state, as in ``unroll``.
        reverse: run from the last step to the first, as in ``unroll``.
        tolerance: the largest error of a step, relative to the largest number of its field of the state over time; by
            default 16 times the spacing of the state's floats at 1, which is 2e-6 for float32.
        max_iterations: the number of iterations after which the sequential scan takes over.

    Returns:
        The state after the last step (the first, in reverse), the outputs (T, ..., O) and the report.

    Raises:
        ValueError: as for ``unroll``; for an unknown ``jacobian``, a tolerance that is not positive, or max_iterations
            < 1.
        TypeError: as for ``unroll``; for a state with leaves other than real or complex numbers, or a cell with a
            ``jax.custom_vjp``.
    """
    inputs, state = prepare(cell, params, inputs, state, mask, reset)
    lookup("jacobian", jacobian, {"full": None, "diagonal": None})
    _check_numbers(state)
    if tolerance is not None:
        tolerance = positive_number("tolerance", tolerance)
    options = _Options(jacobian == "full", tolerance, positive_integer("max_iterations", max_iterations))
    fresh = None if reset is None else state_beside(inputs, cell, params)

    def run(cell: Cell, params: Params, inputs: Array, state: State, fresh: State | None) -> tuple[Any, Array]:
        if cell.wiring:
            of_layers = [None] * len(state) if fresh is None else fresh
            return run_layers(cell.wiring, params, inputs, state, of_layers, run)
        backward = reverse != cell.reverse
        arguments = inputs, mask, first_steps(reset, backward)
        inputs, real, starts = jax.tree.map(jnp.flipud, arguments) if backward else arguments
        if cell.affine or cell.memoryless:
            forward = cell._replace(reverse=False)
            solved, outputs = _solve_directly(forward, params, inputs, state, fresh, real, starts)
        else:
            solved, outputs = _solve(cell, params, inputs, state, fresh, real, starts, options)
        return solved, jnp.flipud(outputs) if backward else outputs

    layers, outputs = run(cell, params, inputs, state, fresh)
    final = jax.tree.map(lambda layer: layer.state, layers, is_leaf=_is_solved)
    reports = [layer.report for layer in jax.tree.leaves(layers, is_leaf=_is_solved)]
    report = NewtonReport(*map(jnp.stack, zip(*reports, strict=True))) if cell.wiring else reports[0]
    return final, outputs, report


class _Options(NamedTuple):
    full: bool
    tolerance: float | None
    max_iterations: int


class _Solved(NamedTuple):
    """A layer's final state with its report, so that both pass through ``run_layers`` together."""

    state: State
    report: NewtonReport


def _is_solved(node: Any) -> bool:
    return isinstance(node, _Solved)


def _check_numbers(state: State) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if not is_inexact(leaf) or jnp.finfo(leaf.dtype).bits < 32:
            raise TypeError(
                f"state{jax.tree_util.keystr(path)} is {leaf.dtype}: Newton's method expected float32, float64 or "
                "complex numbers, which have a slope and digits to converge in; use rnnjax.unroll"
            )


def _check_slope(step: Callable[..., Array], params: Params, xs: Any, first: Array) -> None:
    """Raise ``TypeError`` if the gradients of a step do not follow from its forward-mode derivative."""
    if has_own_backward_pass(program_of(step, params, _at(0, xs), first)):
        raise TypeError(
            "newton_unroll received a cell with a backward pass of its own (jax.custom_vjp), such as "
            "clip_gradient_norm makes: expected one whose gradients are those of its values; use rnnjax.unroll"
        )


# One layer


def _solve_directly(
    cell: Cell, params: Params, inputs: Array, state: State, fresh: State, mask: Array | None, reset: Array | None
) -> tuple[_Solved, Array]:

    def initial_state(params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        return fresh

    if reset is not None:  # the whole cell, which may have learned its initial state, says where a layer starts
        cell = cell._replace(initial_state=initial_state)
    method: Literal["scan", "parallel"] = "parallel" if cell.affine else "scan"
    final, outputs = unroll(cell, params, inputs, state, mask=mask, reset=reset, method=method)
    return _Solved(final, NewtonReport(jnp.array(True), jnp.array(0), jnp.zeros((), jnp.float32))), outputs


def _solve(
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State,
    fresh: State | None,
    mask: Array | None,
    reset: Array | None,
    options: _Options,
) -> tuple[_Solved, Array]:
    vectors = state_vectors(state, inputs.ndim - 2)
    from_state = vectors.of_state

    def to_state(vector: Array) -> State:
        return vectors.to_state(vector, state)

    def step(params: Params, xs: Any, before: Array) -> Array:
        """Return the states (..., D) after one step, or after all steps at once, from the states before."""
        drive, real, starts, fresh = xs
        before = before if starts is None else jnp.where(starts[..., None], fresh, before)
        start = to_state(before)
        new_state = cell.advance(params, start, drive)
        check_advanced(start, new_state)
        after = from_state(new_state)
        return after if real is None else jnp.where(real[..., None], after, before)

    first = from_state(state)
    if reset is not None:
        fresh = jnp.broadcast_to(from_state(fresh), (len(inputs), *first.shape))
    xs = cell.project(params, inputs), mask, reset, fresh
    _check_slope(step, params, xs, first)
    states, report = _roots(_Recurrence(step, to_state, options), params, xs, first)
    outputs = cell.output(params, to_state(states))
    if mask is not None:
        real = mask.reshape(mask.shape + (1,) * (outputs.ndim - mask.ndim))
        outputs = jnp.where(real, outputs, jnp.zeros_like(outputs))
    return _Solved(to_state(states[-1]), report), outputs


# The root, and its gradient


class _Recurrence(NamedTuple):
    step: Callable[[Params, Any, Array], Array]  # (params, xs, states before (..., D)) -> states after
    to_state: Callable[[Array], State]
    options: _Options

    def tolerance(self, vectors: Array) -> float:
        return self.options.tolerance or 16 * float(jnp.finfo(vectors.dtype).eps)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _roots(recurrence: _Recurrence, params: Params, xs: Any, first: Array) -> tuple[Array, NewtonReport]:
    """Return the states (T, ..., D) after each step, by Newton's method or, if it fails, by the scan."""

    def evaluate(states: Array) -> Array:
        return recurrence.step(params, xs, _before(first, states))

    def iterate(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        count, states, images, _ = carry
        slopes = _slopes(recurrence, params, xs, _before(first, states))
        off = images - states
        change = _solve_recurrence(slopes, off)
        # This is states + change, written so that the state after an exact one is its image to the last digit.
        states = images + (change - off)
        # A change so large that no digit of the image is left, or that leaves the range of floats, must not spread. The
        # image itself is exact wherever the state before it is.
        sound = jnp.abs(states) * jnp.finfo(states.dtype).eps <= jnp.max(jnp.abs(images))  # False for a NaN
        states = jnp.where(sound, states, images)
        images = evaluate(states)
        return count + 1, states, images, _relative(recurrence, states - images, images, first.ndim)

    def goes_on(carry: tuple[Array, Array, Array, Array]) -> Array:
        count, _, _, residual = carry
        return (residual > recurrence.tolerance(first)) & (count < recurrence.options.max_iterations)  # False for a NaN

    length = len(jax.tree.leaves(xs)[0])
    guess = evaluate(jnp.broadcast_to(first, (length, *first.shape)))  # f(s_0, x_t)
    images = evaluate(guess)
    start = jnp.array(0), guess, images, _relative(recurrence, guess - images, images, first.ndim)
    count, states, _, residual = jax.lax.while_loop(goes_on, iterate, start)
    converged = residual <= recurrence.tolerance(first)
    states = _replace_unless(converged, states, lambda: _scan(recurrence, params, xs, first))
    return states, NewtonReport(converged, count, residual)


def _roots_forward(recurrence: _Recurrence, params: Params, xs: Any, first: Array) -> Any:
    states, report = _roots(recurrence, params, xs, first)
    return (states, report), (params, xs, first, states)


def _roots_backward(recurrence: _Recurrence, residuals: Any, cotangents: Any) -> tuple[Any, Any, Array]:
    """Solve dL/ds_t = direct_t + J_{t+1}^T dL/ds_{t+1} for all t; pull these back through all steps at once."""
    params, xs, first, states = residuals
    direct, before = cotangents[0], _before(first, states)
    scan = partial(_scan_back, recurrence, params, xs, before, direct)
    if recurrence.options.full:
        slopes = jnp.swapaxes(_slopes(recurrence, params, xs, before), -1, -2)
        later = jnp.concatenate([slopes[1:], jnp.zeros_like(slopes[:1])])
        totals = _solve_recurrence(later, direct, reverse=True)
        images = direct + _apply(later, jnp.concatenate([totals[1:], jnp.zeros_like(totals[:1])]))
        off, size = (jnp.max(jnp.abs(x), axis=-1) for x in (totals - images, images))
        totals = _replace_unless(jnp.all(off <= recurrence.tolerance(first) * size), totals, scan)
    else:
        totals = scan()
    _, pull = jax.vjp(recurrence.step, params, xs, before)
    d_params, d_xs, d_before = pull(totals)
    return d_params, d_xs, d_before[0]


_roots.defvjp(_roots_forward, _roots_backward)


def _before(first: Array, states: Array) -> Array:
    return jnp.concatenate([first[None], states[:-1]])


def _relative(recurrence: _Recurrence, off: Array, images: Array, rank: int) -> Array:
    """Return the largest error of any field and example, relative to the largest number in it."""

    def of_field(off: Array, images: Array) -> Array:
        over = (0, *range(rank, images.ndim))  # time, and the axes of the field
        error, size = (jnp.max(jnp.abs(x), axis=over) for x in (off, images))
        return jnp.max(jnp.where(error == 0, jnp.zeros_like(error), error / size)).astype(jnp.float32)

    return jnp.max(jnp.stack(jax.tree.leaves(jax.tree.map(of_field, *map(recurrence.to_state, (off, images))))))


def _replace_unless(good: Array, value: Array, other: Callable[[], Array]) -> Array:
    """Return ``value`` if good, else ``other()``; a loop runs at most once, but ``vmap`` of ``lax.cond`` does both."""

    def unless_good(carry: tuple[Array, Array]) -> Array:
        return ~carry[0]

    def replace(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        return jnp.array(True), other()

    replaced: tuple[Array, Array] = jax.lax.while_loop(unless_good, replace, (good, value))
    return replaced[1]


# Step by step


def _scan(recurrence: _Recurrence, params: Params, xs: Any, first: Array) -> Array:
    step = fix_first(recurrence.step, params, _at(0, xs), first)

    def advance(before: Array, xs: Any) -> tuple[Array, Array]:
        after = step(xs, before)
        return after, after

    return jax.lax.scan(advance, first, xs)[1]


def _scan_back(recurrence: _Recurrence, params: Params, xs: Any, before: Array, direct: Array) -> Array:
    step = fix_first(recurrence.step, params, _at(0, xs), before[0])

    def back(through_future: Array, at: Any) -> tuple[Array, Array]:
        direct, xs, before = at
        total = direct + through_future
        _, pull = jax.vjp(lambda before: step(xs, before), before)
        return pull(total)[0], total

    return jax.lax.scan(back, jnp.zeros_like(direct[0]), (direct, xs, before), reverse=True)[1]


def _at(time: int, xs: Any) -> Any:
    return jax.tree.map(lambda x: x[time], xs)


# All steps at once


def _slopes(recurrence: _Recurrence, params: Params, xs: Any, before: Array) -> Array:
    """Return J_t of all steps (T, ..., D, D), with [i, j] = d f_j / d s_i as for row vectors, or diagonals (T, ..., D).

    It is written for one example and step and mapped by ``vmap``. The directions are then shared by all of them, and
    the product of a direction with a kernel, which is a row of the kernel, is computed once.
    """

    def of_point(before: Array, xs: Any) -> Array:
        def row(direction: Array) -> Array:
            return jax.jvp(lambda before: recurrence.step(params, xs, before), (before,), (direction,))[1]

        return jax.vmap(row)(jnp.eye(before.shape[-1], dtype=before.dtype))

    def diagonal_of_point(before: Array, xs: Any) -> Array:
        return jnp.diagonal(of_point(before, xs))

    full = recurrence.options.full
    of_points = of_point if full else diagonal_of_point
    for _ in range(before.ndim - 2):
        of_points = jax.vmap(of_points)
    if full:
        return jax.vmap(of_points)(before, xs)
    # All T D^2 elements are computed, but for T / D steps at a time, in memory for T D numbers. A single direction of
    # ones would be cheaper, but would give sums of columns.
    steps, size = len(before), before.shape[-1]
    return jax.lax.map(lambda at: of_points(*at), (before, xs), batch_size=max(1, steps // size))


def _apply(slopes: Array, vectors: Array) -> Array:
    if slopes.ndim == vectors.ndim:
        return slopes * vectors
    return (vectors[..., None, :] @ slopes)[..., 0, :]


def _solve_recurrence(slopes: Array, terms: Array, reverse: bool = False) -> Array:
    """Solve d_t = d_{t-1} slopes_t + terms_t for all t from d_0 = 0; in reverse, from t + 1 to t."""

    def combine(earlier: tuple[Array, Array], later: tuple[Array, Array]) -> tuple[Array, Array]:
        (a, b), (c, d) = earlier, later
        return (a * c if a.ndim == b.ndim else a @ c), _apply(c, b) + d

    return jax.lax.associative_scan(combine, (slopes, terms), reverse=reverse)[1]
