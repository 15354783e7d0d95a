"""Figures, table and verdict of the gradient_flow experiment, drawn from its metrics.jsonl alone.

``python -m experiments.gradient_flow.report --workdir=runs/gradient_flow`` draws the figures of a run again.
"""

from collections.abc import Sequence

import numpy as np

from experiments.common import drawing, frames
from experiments.common.workdir import Record
from experiments.gradient_flow.figures import FIGURES as FIGURES
from experiments.gradient_flow.figures import curves as c
from experiments.gradient_flow.figures.curves import Curve
from rnnjax import decay


def table(records: Sequence[Record]) -> str:
    """Medians over seeds, as a Markdown table, before and after training."""
    norms = c.first_and_last(c.state_norms(records))
    typical = {curve: np.nan_to_num(np.exp(logs)) for curve, logs in c.state_norms(records, "mean_of_log").items()}
    several = len({curve.initialization for curve in norms}) > 1
    within = any(curve.position not in ("all", curve.sequence_length) for curve in norms)
    rows = []
    for curve, array in norms.items():
        row: Record = {"cell": curve.cell, "activation": curve.activation}
        row |= {"initialization": curve.initialization} if several else {}
        row |= {"depth": curve.depth, "T": curve.sequence_length}
        row |= {"loss at": curve.position} if within else {}
        row |= {"weights": c.phase(curve)}
        if curve.loss == "all":
            ratio = float(np.median(array[:, 0, 0] / array[:, 0, -1]))
            rows.append({**row, "norm at the first step / at the last": f"{ratio:.3g}"})
            continue
        fits = [decay(of_seed[0]) for of_seed in array]
        half_life = c.median_half_life(fits)
        lag = np.median([np.inf if fit.thousandth_lag is None else fit.thousandth_lag for fit in fits])
        rows.append(
            {
                **row,
                "decay per step": f"{np.median([fit.per_step for fit in fits]):.3f}",
                "one example": f"{np.median([decay(seed[0]).per_step for seed in typical[curve]]):.3f}",
                "half-life (steps)": "does not fall" if np.isinf(half_life) else c.number(half_life),
                "R²": f"{np.median([fit.r_squared for fit in fits]):.2f}",
                "1/1000 at lag": "-" if np.isinf(lag) else f"{lag:.0f}",
                "underflowed": sum(fit.underflowed for fit in fits),
                "verdict": _majority([fit.verdict for fit in fits]),
            }
        )
    words = {"cell", "activation", "initialization", "weights", "verdict"}
    return frames.table(rows, words)


def verdict(records: Sequence[Record]) -> str:
    """The answer in a line: who keeps the gradient longest and who loses it first, at initialization."""
    initial = {curve: array for curve, array in c.state_norms(records).items() if curve.step == 0}
    if next(iter(initial)).loss == "all":
        return f"{c.NO_LAG}."
    medians = c.half_lives(initial)
    longest, shortest = max(medians, key=lambda k: medians[k]), min(medians, key=lambda k: medians[k])
    several = len({curve.initialization for curve in initial}) > 1

    def name(curve: Curve) -> str:
        start = f" from {curve.initialization}" if several else ""
        return f"{curve.network}{start} with {c.layers(curve.depth)}"

    return (
        f"At initialization the gradient lives longest in {name(longest)} ({c.steps(medians[longest])}) "
        f"and dies first in {name(shortest)} ({c.steps(medians[shortest])})."
    )


def summary(records: Sequence[Record], source: str) -> str:
    """The page left in the workdir."""
    every = next(iter(c.state_norms(records))).loss == "all"
    return (
        f"# Where do gradients die?\n\n{verdict(records)}\n\nText: {source}. "
        f"The loss is read at {'every character' if every else 'one character, the last if no other is named'}; "
        "norms of dL/ds_t over all fields of the state of layer 1, medians over seeds. "
        "Decay, half-life and figures are those of the whole batch, which the largest examples lead; "
        "'one example' is the decay of the mean over examples of log-norm. "
        "The fit is of ln(norm) against lag, over all lags whose norm has not underflowed; "
        "a gradient 'vanishes' if by that line it falls to a tenth or less over the sequence.\n\n"
        f"{table(records)}\n"
    )


def _majority(verdicts: list[str]) -> str:
    return max(sorted(set(verdicts)), key=verdicts.count)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/gradient_flow")
