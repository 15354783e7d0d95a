"""Penalties that keep gradients from vanishing or exploding through time.

They are added to the loss in training. The other remedy, clipping, is in optax: ``optax.clip_by_global_norm`` and
``optax.clip``, with ``optax.snapshot`` before and after to see the effect. ``rnnjax.clip_gradient_norm`` and
``rnnjax.clip_gradient_values`` clip at every step of backpropagation through time.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn, Literal

from rnnjax.arguments import of_their_kinds
from rnnjax.cell import Cell
from rnnjax.checks import check_loss
from rnnjax.engine.norms import is_inexact, norm
from rnnjax.engine.products import at_all_steps
from rnnjax.engine.program import Program, evaluate, execute, program_of, reached
from rnnjax.engine.state_vectors import advance_vectors, check_same_backward, state_vectors
from rnnjax.engine.wiring import layers_of, run_layers
from rnnjax.measure.decay import norm_floor
from rnnjax.measure.dynamics import lyapunov_spectrum
from rnnjax.sequence.unroll import first_steps, perturb, prepare, scan_masked, state_beside, zero_perturbation
from rnnjax.typing import Drive, Loss, Params, State


@of_their_kinds
def gradient_preserving_penalty(
    cell: Cell,
    params: Params,
    inputs: Array,
    loss: Loss,
    state: State | None = None,
    *,
    mask: Array | None = None,
    reset: Array | None = None,
) -> Array:
    """A penalty on changes of the gradient's norm at each step back in time (Pascanu, Mikolov & Bengio, 2013).

        Omega = mean over t = 2, ..., T of (||J_t^T dL/ds_t||^2 / ||dL/ds_t||^2 - 1)^2        J_t = ds_t/ds_{t-1}

    Add it to the loss, with a weight, to pull a network to where the gradient neither vanishes nor explodes in the
    directions in which the loss sends it. The mean is also over examples. It is a mean, and of squared norms, as in the
    authors' program; the paper has a sum and norms. Steps do not count if the gradient is 0, has underflowed or has
    overflowed (in the authors' program, if its squared norm is below 1e-20). The first step does not count either,
    since what flows on to s_0 changes no weight. The authors' program does count it and takes the mean over t = 1, ...,
    T. For that mean, put a step of padding before the sequence, False in ``mask``; then J_1 is the first that counts.

    As in the paper, the states, dL/ds_t and the slopes of the activations are constants when Omega is differentiated.
    Only the weights that multiply the state, or something computed from it in the step, have a gradient: in an Elman
    network the recurrent kernel. A recurrence without such weights, such as ``min_gru``, has no gradient. The penalty
    takes a forward and a backward pass of its own.

    Args:
        cell: any cell. For a stack the penalty is the sum over its layers, where s_t is the whole state of a layer and
            J_t its own recurrence; memoryless layers do not count.
        params: from ``cell.init``.
        inputs: (T, ..., I).
        loss: ``outputs (T, ..., O) -> scalar``; multiplying the loss by a number makes no difference.
        state: s_0, by default ``cell.initial_state``.
        mask: (T, ...), True at real steps; padding does not count.
        reset: (T, ...), True where a step starts from the initial state; such a step does not count.

    Raises:
        ValueError: for shapes that do not fit together, or a loss that is not a scalar.
        TypeError: for inputs or a loss that are not real numbers, or a cell with a ``jax.custom_vjp``.
    """
    inputs, state = prepare(cell, params, inputs, state, mask, reset)
    constants = jax.lax.stop_gradient((params, inputs, state))
    trajectory, adjoints = _there_and_back(cell, *constants, loss, mask, reset)

    def counted(cell: Cell) -> Array:
        first = first_steps(reset, cell.reverse)
        steps = jnp.full_like(inputs[..., 0], not cell.memoryless, bool).at[-1 if cell.reverse else 0].set(False)
        return steps if first is None else steps & ~first  # (padding needs no case: its gradient is 0)

    def penalty(cell: Cell, params: Params, trajectory: Any, adjoints: Any) -> Array:
        if cell.wiring:
            layers = zip(layers_of(cell.wiring, params), trajectory, adjoints, strict=True)
            return jnp.sum(jnp.stack([penalty(*layer, *of_layer) for layer, *of_layer in layers]))
        return _penalty(cell, params, trajectory, adjoints, counted(cell))

    return penalty(cell, params, trajectory, adjoints)


class _Trajectory(NamedTuple):
    """The arguments of all steps of one layer."""

    before: Any  # the states
    drive: Any


def _there_and_back(
    cell: Cell, params: Params, inputs: Array, state: State, loss: Loss, mask: Array | None, reset: Array | None
) -> tuple[Any, Any]:
    """The ``_Trajectory`` of each layer, nested as layers are, and dL/ds_t, like the state with a time axis."""

    def run(cell: Cell, params: Params, inputs: Array, state: State, extra: Any) -> tuple[Any, Array]:
        zeros, fresh = extra
        if cell.wiring:
            return run_layers(cell.wiring, params, inputs, state, list(zip(zeros, fresh, strict=True)), run)
        check_same_backward("gradient_preserving_penalty", cell, params, state, inputs[0])
        drive = at_all_steps(cell.project, params, inputs)

        def step(params: Params, state: State, xs: Any) -> tuple[State, tuple[Array, State]]:
            drive, zeros = xs
            new_state = perturb(cell.advance(params, state, drive), zeros)
            return new_state, (cell.output(params, new_state), state)

        starts = first_steps(reset, cell.reverse)
        xs = drive, zeros
        _, (outputs, before) = scan_masked(step, params, state, xs, mask, starts, fresh, reverse=cell.reverse)
        return _Trajectory(before, drive), outputs

    def outputs_of(zeros: State) -> tuple[Array, Any]:
        trajectory, outputs = run(cell, params, inputs, state, (zeros, state_beside(inputs, cell, params)))
        return outputs, trajectory

    outputs, back, trajectory = jax.vjp(outputs_of, zero_perturbation(state, inputs), has_aux=True)
    value, of_loss = jax.vjp(loss, outputs)
    check_loss(value)
    # The loss may depend on params of its own, such as a readout's, which get no gradient from here.
    (d_outputs,) = jax.lax.stop_gradient(of_loss(jnp.ones_like(value)))
    (adjoints,) = back(d_outputs)
    return trajectory, adjoints


def _penalty(cell: Cell, params: Params, trajectory: _Trajectory, adjoints: State, counted: Array) -> Array:
    """Omega of one layer; here all steps are one batch, since none depends on another."""
    vectors = state_vectors(trajectory.before, counted.ndim)
    # JAX's gradient with respect to x + iy is dL/dx - i dL/dy.
    directions = vectors.of_state(
        jax.tree.map(lambda leaf, g: jnp.conj(g) if is_inexact(leaf) else leaf, trajectory.before, adjoints)
    )
    norms = norm(directions, (-1,))
    counted = counted & jnp.isfinite(norms) & (norms >= norm_floor(norms.dtype))
    unit = jnp.where(counted[..., None], directions / jnp.where(counted, norms, 1)[..., None], 0)

    of_weights = cell._replace(advance=partial(_advance_by_weights, cell))
    advance = advance_vectors(of_weights, params, trajectory.before, trajectory.drive, vectors)
    _, back, _ = jax.vjp(advance, vectors.of_state(trajectory.before), has_aux=True)
    (moved,) = back(unit)
    deviations = jnp.sum(moved**2, axis=-1) - 1
    return jnp.sum(jnp.where(counted, deviations, 0) ** 2) / jnp.maximum(jnp.sum(counted, dtype=norms.dtype), 1)


def _advance_by_weights(cell: Cell, params: Params, state: State, drive: Drive) -> State:
    """``cell.advance``, with a ds_t/ds_{t-1} that depends only on the weights that multiply what comes from the state.

    The value of a product a w with such a weight is a constant, and its derivative by a is w.
    """
    leaves, others = jax.tree.leaves(params), jax.tree.leaves((state, drive))
    program = program_of(cell.advance, params, state, drive)
    return _execute_by_weights(program, [*leaves, *others], [False] * len(leaves) + [True] * len(others))


def _execute_by_weights(program: Program, arguments: list[Any], moves: list[bool]) -> Any:
    """The same for any program; an argument either moves or is used to make weights."""
    moving = reached(program, itertools.compress(program.jaxpr.invars, moves))

    def replace(equation: JaxprEqn, operands: list[Any]) -> list[Any] | None:
        if not moving & set(equation.outvars):
            return None
        is_moving = [not isinstance(operand, Literal) and operand in moving for operand in equation.invars]
        if equation.primitive.name in ("jit", "pjit"):
            closed: Any = equation.params["jaxpr"]
            constants = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
            called = Program(closed.jaxpr, constants, jax.tree.structure([0] * len(equation.outvars)))
            return list(_execute_by_weights(called, operands, is_moving))
        fixed = [o if moves else jax.lax.stop_gradient(o) for o, moves in zip(operands, is_moving, strict=True)]
        results = evaluate(program.jaxpr, equation, fixed)
        if equation.primitive not in (jax.lax.mul_p, jax.lax.dot_general_p) or all(is_moving):
            return results
        place = is_moving.index(True)

        def multiply(operand: Array, weight: Array) -> Array:
            pair = (operand, weight) if place == 0 else (weight, operand)
            return equation.primitive.bind(*pair, **equation.params)

        return [_product(multiply, jax.lax.stop_gradient(results[0]), operands[place], operands[1 - place])]

    return execute(program, arguments, replace)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _product(multiply: Callable[[Array, Array], Array], value: Array, operand: Array, weight: Array) -> Array:
    """The value of a product, with a derivative by the operand only."""
    return value


@_product.defjvp
def _product_derivative(multiply: Callable[[Array, Array], Array], primals: Any, tangents: Any) -> tuple[Array, Array]:
    value, _, weight = primals
    return value, multiply(tangents[1], weight)


@of_their_kinds
def gradient_flossing_penalty(
    cell: Cell,
    params: Params,
    inputs: Array,
    state: State | None = None,
    *,
    count: int | None = None,
    warm_up: int | None = None,
) -> Array:
    """A penalty on the largest Lyapunov exponents, which pulls them to 0 (gradient flossing; Engelken, 2023).

        mean over examples of lambda_1^2 + ... + lambda_K^2

    It is the sum over the K exponents. The author's program takes their mean: divide by K to use its weight or learning
    rate. (Under Adam, which the author uses, the factor makes no difference except for Adam's epsilon.)

    Minimizing it makes K directions neutral: along them, neither differences between states nor gradients on the way
    back grow or shrink exponentially. It does not depend on a loss; its author minimizes it before training and again
    in breaks of the training. The exponents are those of ``lyapunov_spectrum``, differentiated through the QR
    decompositions in reverse mode. Memory grows with T S K, so T should be of the order of 100.

    Args:
        cell: any cell, stacks included. No direction of a memoryless layer can be made neutral: choose ``count`` so
            that its exponents, which are -inf, are not among the largest.
        params: from ``cell.init``.
        inputs: (T, ..., I).
        state: s_0, by default ``cell.initial_state``.
        count: K, by default all S.
        warm_up: the number of steps before the first that counts, by default T // 10, or one more if an odd number of
            steps would remain.

    Raises:
        ValueError: as for ``lyapunov_spectrum``.
        TypeError: as for ``lyapunov_spectrum``.
    """
    exponents = lyapunov_spectrum(cell, params, inputs, state, count=count, warm_up=warm_up, blocks=2).exponents
    return jnp.mean(jnp.sum(exponents**2, axis=-1))
