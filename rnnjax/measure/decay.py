"""A curve of gradient norms in numbers: lags, asymptotic rate and verdict."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from rnnjax.arguments import of_their_kinds
from rnnjax.checks import told

Verdict = Literal["vanishes", "preserved", "explodes", "no trend", "not measured"]

_LEVEL = 1.1  # a curve whose norms differ by at most this factor is level, whatever line fits it
_TREND = 0.5  # R² from which a line explains more of a curve than it leaves unexplained
_EXPONENTIAL = 0.9  # R² from which its slope is a rate
_STILL = 0.25  # share of all growth that lies in the farther half of the lags if the growth is still going on


class Decay(NamedTuple):
    """How a gradient norm changes with its distance, the lag in steps, from the loss.

    The first fields are measured, the later ones come from a fitted line. The two answer different questions: in an
    LSTM the norm may fall to a half at lag 1, and by only 4 % a step from there on.

    Attributes:
        half_lag, tenth_lag, thousandth_lag: the first lag at which the norm is at most 1/2, 1/10, 1/1000 of its value
            nearest the loss (at lag 0, or at the first lag that has one: an LSTM's memory has none at the last step
            itself); None if it never is. The first of them is what readers usually mean by half-life.
        asymptotic_rate: the factor by which a step back in time multiplies the norm, over the fitted lags: exp of the
            slope of ln(norm) against lag, by least squares. NaN if fewer than three norms can be fitted.
        asymptotic_half_life: the number of steps in which this rate halves a norm, ln(1/2) / ln(asymptotic_rate); inf
            if the norm does not fall, NaN if the curve is not ``exponential``.
        r_squared: the coefficient of determination R² of the line; 1 if the curve is straight, NaN if there is no line.
        first_lag, last_lag: the first and the last fitted lag, at which the norm is finite and above the dtype's floor;
            -1 if there are none.
        underflowed: how many steps have a norm of 0 or below the dtype's floor. They are left out of the fit.
        overflowed: how many steps have an infinite or undefined norm. They are left out, too.
        verdict: a judgement of the measured norms from the first to the last of these lags, not of the line.
            "vanishes": the norm ends at a tenth or less of its value nearest the loss, at 0, or below the dtype's
            floor. "explodes": it ends at ten times that value or more and is still growing, or is infinite.
            "preserved": it never leaves the range between these two. "no trend": it moves far away and returns, goes up
            and down about a level, or grows to a level, as it does if every step has its own loss. "not measured":
            there is only one norm, or some are NaN.
    """

    half_lag: int | None
    tenth_lag: int | None
    thousandth_lag: int | None
    asymptotic_rate: float
    asymptotic_half_life: float
    r_squared: float
    first_lag: int
    last_lag: int
    underflowed: int
    overflowed: int
    verdict: Verdict

    @property
    def exponential(self) -> bool:
        """Whether a line fits ln(norm) so well (R² at least 0.9) that its slope is a rate."""
        return self.r_squared >= _EXPONENTIAL


def norm_floor(dtype: jax.typing.DTypeLike) -> float:
    """The norm below which ``dtype`` loses digits of a gradient: smallest normal number / epsilon.

    Products with a smaller gradient fall into the subnormal range, which compiled programs flush to zero. The floor is
    about 1e-31 in float32 and 1e-292 in float64.
    """
    info = jnp.finfo(dtype)
    return float(info.smallest_normal) / float(info.eps)


@of_their_kinds
def first_lag_below(norms: ArrayLike, share: float, *, loss_step: int = -1) -> int | None:
    """The first lag at which the norm is at most a given share of the norm nearest the loss; None if it never is.

    The norm nearest the loss is the first that is finite and above the dtype's floor: at lag 0, or 1 for an LSTM's
    memory.

    Args:
        norms: (T,), a leaf of ``GradientFlow.state``, time forward.
        share: from 0 to 1.
        loss_step: as for ``decay``.

    Raises:
        ValueError: for norms or a ``loss_step`` that ``decay`` refuses.
    """
    by_lag, floor = _by_lag(norms, loss_step)
    seen = np.isfinite(by_lag) & (by_lag >= floor)
    if not seen.any():
        return None
    first = int(np.argmax(seen))
    # A rounding error must not add a lag: 3 x 0.1 is above a tenth of 3.
    below = by_lag[first + 1 :] <= share * by_lag[first] * (1 + 1e-6)
    return first + 1 + int(np.argmax(below)) if below.any() else None


@of_their_kinds
def decay(norms: ArrayLike, *, loss_step: int = -1) -> Decay:
    """The lags at which ||dL/ds_t|| falls to a half, a tenth and a thousandth, its asymptotic rate, and a verdict.

    It is meant for a loss that is read at one step. If every step has a loss, every state has a direct gradient beside
    the one from later steps, and a curve against time shows no decay, whatever the network does.

    Args:
        norms: (T,), a leaf of ``GradientFlow.state``, time forward.
        loss_step: the step at which the loss is read, by default the last. Lags are loss_step - t; later steps are
            ignored.

    Raises:
        ValueError: if norms are not a vector, are negative, or ``loss_step`` is not one of their steps.
    """
    by_lag, floor = _by_lag(norms, loss_step)
    lags = np.arange(len(by_lag))
    finite = np.isfinite(by_lag)
    seen = finite & (by_lag >= floor)
    logs = np.log(by_lag[seen])
    slope, r_squared = _line(lags[seen], logs)
    rate = float(np.exp(slope))
    half_life = np.nan if not r_squared >= _EXPONENTIAL else -np.log(2) / slope if slope < 0 else np.inf
    shares = (1 / 2, 1 / 10, 1 / 1000)
    half, tenth, thousandth = (first_lag_below(norms, share, loss_step=loss_step) for share in shares)
    return Decay(
        half_lag=half,
        tenth_lag=tenth,
        thousandth_lag=thousandth,
        asymptotic_rate=rate,
        asymptotic_half_life=float(half_life),
        r_squared=r_squared,
        first_lag=int(lags[seen][0]) if seen.any() else -1,
        last_lag=int(lags[seen][-1]) if seen.any() else -1,
        underflowed=int((finite & ~seen).sum()),
        overflowed=int((~finite).sum()),
        verdict=_verdict(by_lag, logs, r_squared, gone=finite[-1] and not seen[-1]),
    )


class ExampleNorms(NamedTuple):
    """A summary of per-example norms, each (T,); the two means differ more as the lag grows and the examples differ.

    Attributes:
        mean_of_log: the mean over examples of ln(norm), for the typical example. Norms below the dtype's floor are left
            out; NaN if all are below it.
        log_of_mean: ln of the mean norm, which the few largest examples dominate; -inf if all are 0.
        underflowed: how many examples are below the floor.
    """

    mean_of_log: np.ndarray
    log_of_mean: np.ndarray
    underflowed: np.ndarray


@of_their_kinds
def example_norms(examples: ArrayLike) -> ExampleNorms:
    """Means over the examples of a leaf (T, ...) of ``GradientFlow.examples``."""
    values = _numbers("examples", examples)
    if not values.ndim:
        raise ValueError("examples are a single number: expected one leaf (T, ...) of GradientFlow.examples")
    floor = norm_floor(values.dtype)
    values = values.reshape(len(values), -1).astype(np.float64)
    usable = values >= floor
    logs = np.log(np.where(usable, values, 1.0)).sum(axis=1)
    counts = usable.sum(axis=1)
    with np.errstate(divide="ignore"):
        log_of_mean = np.log(values.mean(axis=1))
    mean_of_log = np.where(counts > 0, logs / np.maximum(counts, 1), np.nan)
    return ExampleNorms(mean_of_log, log_of_mean, (~usable).sum(axis=1))


def _numbers(name: str, value: Any) -> np.ndarray:
    """Real numbers unchanged, whole ones as float64."""
    try:
        values = np.asarray(value)
    except (TypeError, ValueError):  # a random key, or rows of different lengths
        values = np.asarray(None)
    if values.dtype.kind in "biu":
        return values.astype(np.float64)
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"{name} are {told(value)}: expected real numbers, one leaf of a GradientFlow")
    return values


def _by_lag(norms: ArrayLike, loss_step: int) -> tuple[np.ndarray, float]:
    """Norms (loss_step + 1,) in float64, the one at the loss first, and the floor of the dtype they came in."""
    if isinstance(norms, dict) or hasattr(norms, "_fields"):
        raise ValueError(f"norms are a {type(norms).__name__}: expected one leaf of GradientFlow.state, an array (T,)")
    if isinstance(norms, jax.core.Tracer):
        raise TypeError("norms are being traced: expected their values; call decay outside of jax.jit and jax.vmap")
    values = _numbers("norms", norms)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"norms have shape {values.shape}: expected (T,), one leaf of GradientFlow.state")
    if (values < 0).any():
        raise ValueError(f"norms have a negative value, {values.min()}: expected one leaf of GradientFlow.state")
    if not -len(values) <= loss_step < len(values):
        raise ValueError(f"loss_step is {loss_step}: expected a step of the {len(values)} that norms have")
    return values[: loss_step % len(values) + 1][::-1].astype(np.float64), norm_floor(values.dtype)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    if len(x) < 3:
        return np.nan, np.nan
    x_spread, y_spread = x - x.mean(), y - y.mean()
    slope = (x_spread @ y_spread) / (x_spread @ x_spread)
    total = y_spread @ y_spread
    residual = y_spread - slope * x_spread
    return float(slope), float(1 - (residual @ residual) / total) if total > 0 else 1.0


def _verdict(by_lag: np.ndarray, logs: np.ndarray, r_squared: float, *, gone: bool) -> Verdict:
    """The verdict on ln(norm) at the usable lags; ``gone`` says that the very last norm is 0 or below the floor."""
    ten = np.log(10)
    change = logs[-1] - logs[0] if len(logs) else 0.0
    if np.isinf(by_lag).any():
        return "explodes"
    if np.isnan(by_lag).any() or len(by_lag) < 2 or (len(logs) == 1 and not gone):
        return "explodes" if change >= ten else "not measured"
    if gone:
        return "vanishes"
    few = len(logs) < 4
    if change >= np.log(2) and not few and logs[-1] - logs[len(logs) // 2] < _STILL * change:
        return "no trend"
    if abs(change) >= ten and (few or r_squared >= _TREND or abs(change) >= 3 * _roughness(logs)):
        return "vanishes" if change < 0 else "explodes"
    if np.abs(logs - logs[0]).max() < ten and (few or r_squared >= _TREND or np.ptp(logs) <= np.log(_LEVEL)):
        return "preserved"
    return "no trend"


def _roughness(logs: np.ndarray) -> float:
    """The median over lags of |second difference| of ln(norm): 0 for a line, and for a line with a single step."""
    return float(np.median(np.abs(np.diff(logs, 2))))
