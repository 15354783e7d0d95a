"""Figures, tables and verdict of the gradient_flow experiment, drawn from its metrics.jsonl alone.

``python -m experiments.gradient_flow.report --workdir=runs/gradient_flow`` draws the figures of a run again.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from experiments.common import drawing
from experiments.common.frames import decays, frame, median_half_life, table
from experiments.common.workdir import Record
from experiments.gradient_flow import curves as c
from experiments.gradient_flow.figures import at_initialization, memory, over_training, sweeps

FIGURES: drawing.Figures = (
    *(at_initialization.norm_by_lag, at_initialization.norm_by_activation, at_initialization.depth_and_time),
    *(sweeps.norm_by_initialization, sweeps.norm_by_length, sweeps.norm_by_position),
    *(memory.hidden_and_memory, memory.carousel),
    *(over_training.training_loss, over_training.before_and_after_training),
    *(over_training.lag_and_training, over_training.weights_and_units),
)

_WORDS = {"cell", "activation", "initialization", "weights", "verdict"}


def decay_table(records: Sequence[Record]) -> str:
    """Medians over seeds, as a Markdown table, before and after training."""
    found = c.first_and_last(c.state_norms(records))
    found["example"] = decays(found["mean_of_log"].map(lambda logs: np.nan_to_num(np.exp(logs))))["per_step"]
    found = found.rename(columns={"sequence_length": "T", "position": "loss at"})
    several = found["initialization"].nunique() > 1
    within = (~found["loss at"].isin(["all"]) & (found["loss at"] != found["T"])).any()
    shown = [
        "cell",
        "activation",
        *["initialization"] * int(several),
        "depth",
        "T",
        *["loss at"] * int(within),
        "weights",
    ]
    rows = []
    for _, seeds in found.groupby([*c.AXES[:4], "T", "loss at", "step"], sort=False):
        first = seeds.iloc[0]
        rows.append(first[shown].to_dict() | (_sums_over_lags if first["loss at"] == "all" else _decay)(seeds))
    return table(rows, _WORDS)


def _decay(seeds: pd.DataFrame) -> Record:
    half_life = median_half_life(seeds["half_life"])
    lag = seeds["thousandth_lag"].astype(float).fillna(np.inf).median()
    per_step, example, r_squared = seeds[["per_step", "example", "r_squared"]].median(skipna=False)
    return {
        "decay per step": f"{per_step:.3f}",
        "one example": f"{example:.3f}",
        "half-life (steps)": "does not fall" if np.isinf(half_life) else c.number(half_life),
        "R²": f"{r_squared:.2f}",
        "1/1000 at lag": "-" if np.isinf(lag) else f"{lag:.0f}",
        "underflowed": seeds["underflowed"].sum(),
        "verdict": seeds["verdict"].mode()[0],  # of equally many the first in the alphabet
    }


def _sums_over_lags(seeds: pd.DataFrame) -> Record:
    ratio = seeds["norms"].map(lambda norms: norms[0] / norms[-1]).median()
    return {"norm at the first step / at the last": f"{ratio:.3g}"}


def loss_table(records: Sequence[Record]) -> str:
    """What training did, medians over seeds, as a Markdown table; empty if there was none."""
    losses = frame(records, "train", dtype=np.float64)
    if losses.empty:
        return ""
    networks = ["cell", "activation", "initialization", "depth", "sequence_length"]
    early, late = losses["step"] <= 10, losses["step"] > losses["step"].max() - 10
    first, last = (losses[of].groupby([*networks, "seed"])["loss"].mean().groupby(networks) for of in (early, late))
    clipped = (losses["clipped_norm"] < 0.999 * losses["gradient_norm"]).groupby([losses[name] for name in networks])
    told = pd.DataFrame(
        {
            "loss, first ten steps": first.median().map("{:.3f}".format),
            "last ten": last.median().map("{:.3f}".format),
            "range over seeds": last.agg(lambda of_seeds: f"{of_seeds.min():.3f} to {of_seeds.max():.3f}"),
            "steps clipped": clipped.mean().map("{:.0%}".format),
        }
    )
    rows = told.reset_index().rename(columns={"sequence_length": "T"}).to_dict("records")
    return table(rows, _WORDS)


def verdict(records: Sequence[Record]) -> str:
    """The answer in a line: who keeps the gradient longest and who loses it first, at initialization."""
    found = c.state_norms(records)
    found = found[found["step"] == 0]
    if c.every_step(found):
        return f"{c.NO_LAG}."
    several = found["initialization"].nunique() > 1
    start = " from " + found["initialization"] if several else ""
    found["told"] = found["network"] + start + " with " + found["layers"]
    medians = c.half_lives(found, [*c.AXES, "told"])
    longest, shortest = medians.idxmax(), medians.idxmin()
    return (
        f"At initialization the gradient lives longest in {longest[-1]} ({c.steps(medians[longest])}) "
        f"and dies first in {shortest[-1]} ({c.steps(medians[shortest])})."
    )


def summary(records: Sequence[Record], source: str) -> str:
    """The page left in the workdir."""
    every = c.every_step(c.state_norms(records))
    page = (
        f"# Where do gradients die?\n\n{verdict(records)}\n\nText: {source}. "
        f"The loss is read at {'every character' if every else 'one character, the last if no other is named'}; "
        "norms of dL/ds_t over all fields of the state of layer 1, medians over seeds. "
        "Decay, half-life and figures are those of the whole batch, which the largest examples lead; "
        "'one example' is the decay of the mean over examples of log-norm. "
        "The fit is of ln(norm) against lag, over all lags whose norm has not underflowed; "
        "a gradient 'vanishes' if by that line it falls to a tenth or less over the sequence.\n\n"
        f"{decay_table(records)}\n"
    )
    trained = loss_table(records)
    if trained:
        page += (
            "\n## Training\n\nCross-entropy in nats a character, of all characters of a batch, each from those before "
            f"it: means over ten training steps, medians over seeds, and their range.\n\n{trained}\n"
        )
    return page


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/gradient_flow")
