"""From a curve of gradient norms to numbers: decay per step, half-life, and whether it vanishes or explodes."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

Verdict = Literal["vanishes", "preserved", "explodes"]


class Decay(NamedTuple):
    """How a gradient norm changes with its distance, the lag in steps, from the loss.

    Attributes:
        per_step: the factor a step back in time multiplies the norm by: exp of the slope of ln(norm) against lag. Below
            1 the gradient vanishes, above 1 it explodes. NaN where fewer than three norms can be fitted.
        half_life: steps back until the norm has halved, ln(1/2) / ln(per_step); inf where it does not fall.
        r_squared: of that straight line; near 1 the decay is exponential.
        first_lag, last_lag: the lags fitted, inclusive.
        thousandth_lag: the first lag at which the norm is under 1e-3 of its value at the loss (or at the first lag
            that has one: an LSTM's memory has none at the last step itself); None if never.
        underflowed: how many steps have a norm of 0 or below the dtype's floor. They are left out of the fit.
        overflowed: how many steps have an infinite or undefined norm. They are left out, too.
        verdict: "vanishes" where, by the line fitted, the norm falls to a tenth or less over the lags seen, "explodes"
            where it grows tenfold or more, "preserved" between. The same decay per step can be "preserved" over a short
            sequence and vanish over a long one. With fewer than three norms to fit, the first and the last decide.
    """

    per_step: float
    half_life: float
    r_squared: float
    first_lag: int
    last_lag: int
    thousandth_lag: int | None
    underflowed: int
    overflowed: int
    verdict: Verdict


def norm_floor(dtype: jax.typing.DTypeLike) -> float:
    """The norm below which ``dtype`` no longer holds a gradient's digits: smallest normal number / epsilon.

    Products with such a gradient fall into the subnormal range, which compiled programs flush to zero. In float32 it
    is about 1e-31, in float64 1e-292.
    """
    info = jnp.finfo(dtype)
    return float(info.smallest_normal) / float(info.eps)


def decay(norms: ArrayLike, *, loss_step: int = -1) -> Decay:
    """Fits ln ||dL/ds_t|| against the lag loss_step - t by least squares.

    Args:
        norms: (T,), a leaf of ``GradientFlow.state``, time forward.
        loss_step: the step the loss is read at, by default the last. Later steps are ignored.

    Raises:
        ValueError: if norms are not a vector, are negative, or ``loss_step`` is not one of their steps.
    """
    values = np.asarray(norms)
    if np.issubdtype(values.dtype, np.integer):
        values = values.astype(np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"norms have shape {values.shape}: expected (T,), one leaf of GradientFlow.state")
    if (values < 0).any():
        raise ValueError(f"norms have a negative value, {values.min()}: expected one leaf of GradientFlow.state")
    if not -len(values) <= loss_step < len(values):
        raise ValueError(f"loss_step is {loss_step}: expected a step of the {len(values)} that norms have")
    floor = norm_floor(values.dtype)
    by_lag = values[: loss_step % len(values) + 1][::-1].astype(np.float64)
    lags = np.arange(len(by_lag))
    finite = np.isfinite(by_lag)
    underflowed = finite & (by_lag < floor)
    usable = finite & ~underflowed

    first = lags[usable][0] if usable.any() else len(lags)
    below = lags[finite & (lags > first)]
    below = below[by_lag[below] < 1e-3 * by_lag[first]] if below.size else below
    slope, r_squared = _line(lags[usable], np.log(by_lag[usable]))
    ends = np.log(by_lag[usable][[0, -1]]) if usable.any() else np.full(2, np.nan)
    change = float(ends[1] - ends[0]) if np.isnan(slope) else slope * (len(by_lag) - 1)
    counts = int(underflowed.sum()), int((~finite).sum())
    return Decay(
        per_step=float(np.exp(slope)),
        half_life=float(-np.log(2) / slope) if slope < 0 else (np.inf if slope >= 0 else np.nan),
        r_squared=r_squared,
        first_lag=int(first) if usable.any() else -1,
        last_lag=int(lags[usable][-1]) if usable.any() else -1,
        thousandth_lag=int(below[0]) if below.size else None,
        underflowed=counts[0],
        overflowed=counts[1],
        verdict=_verdict(change, *counts),
    )


class ExampleNorms(NamedTuple):
    """Per-example norms condensed, each (T,); the two means part as the lag grows and examples differ.

    Attributes:
        mean_of_log: the mean over examples of ln(norm): the typical example. Norms below the dtype's floor are left
            out; NaN where all are.
        log_of_mean: ln of the mean norm: led by the few largest examples. -inf where all are 0.
        underflowed: how many examples are below the floor.
    """

    mean_of_log: np.ndarray
    log_of_mean: np.ndarray
    underflowed: np.ndarray


def example_norms(examples: ArrayLike) -> ExampleNorms:
    """Condenses a leaf (T, ...) of ``GradientFlow.examples`` over its examples."""
    values = np.asarray(examples)
    if np.issubdtype(values.dtype, np.integer):
        values = values.astype(np.float64)
    floor = norm_floor(values.dtype)
    values = values.reshape(len(values), -1).astype(np.float64)
    usable = values >= floor
    logs = np.log(np.where(usable, values, 1.0)).sum(axis=1)
    counts = usable.sum(axis=1)
    with np.errstate(divide="ignore"):
        log_of_mean = np.log(values.mean(axis=1))
    mean_of_log = np.where(counts > 0, logs / np.maximum(counts, 1), np.nan)
    return ExampleNorms(mean_of_log, log_of_mean, (~usable).sum(axis=1))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    if len(x) < 3:
        return np.nan, np.nan
    x_spread, y_spread = x - x.mean(), y - y.mean()
    slope = (x_spread @ y_spread) / (x_spread @ x_spread)
    total = y_spread @ y_spread
    residual = y_spread - slope * x_spread
    return float(slope), float(1 - (residual @ residual) / total) if total > 0 else 1.0


def _verdict(log_change: float, underflowed: int, overflowed: int) -> Verdict:
    if overflowed:
        return "explodes"
    if underflowed and (np.isnan(log_change) or log_change == 0):
        return "vanishes"
    if log_change <= -np.log(10):
        return "vanishes"
    return "explodes" if log_change >= np.log(10) else "preserved"
