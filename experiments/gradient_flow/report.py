"""Figures, tables and verdict of the gradient_flow experiment, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from experiments.common import drawing, frames, page
from experiments.common.frames import decays, frame, table
from experiments.common.workdir import Record
from experiments.gradient_flow import curves as c
from experiments.gradient_flow.figures import at_initialization, memory, over_training

FIGURES: drawing.Figures = (
    *(at_initialization.norm_by_lag, at_initialization.norm_by_activation, at_initialization.depth_and_time),
    *(at_initialization.norm_by_initialization, at_initialization.reach_by_drive),
    *(at_initialization.norm_by_length, at_initialization.norm_by_position),
    *(memory.hidden_and_memory, memory.carousel),
    *(over_training.training_loss, over_training.before_and_after_training),
    *(over_training.lag_and_training, over_training.weights_and_units),
)

_WORDS = {"cell", "activation", "initialization", "weights", "verdict"}


def decay_table(records: Sequence[Record]) -> str:
    """Every network's decay, before and after training, as a Markdown table."""
    found = c.first_and_last(c.state_norms(records))
    typical = found["mean_of_log"].map(lambda logs: np.nan_to_num(np.exp(logs)))
    found = found.assign(example=decays(typical)["asymptotic_rate"])
    every = c.every_step(found)
    several = found["initialization"].nunique() > 1
    within = not every and (found["position"] != found["sequence_length"]).any()
    found = found.rename(columns={"sequence_length": "T", "position": "loss at"})
    shown = ["cell", "activation", *["initialization"] * several, "depth", "T", *["loss at"] * int(within), "weights"]
    numbers = _sums_over_lags if every else _decay
    by_network = found.groupby([*c.AXES[:4], "T", "loss at", "step"], sort=False)
    return table([seeds.iloc[0][shown].to_dict() | numbers(seeds) for _, seeds in by_network], _WORDS)


def _decay(seeds: pd.DataFrame) -> Record:
    first, last = seeds["first_lag"].min(), seeds["last_lag"].max()
    return {
        **frames.lags_left(seeds),
        "asymptotic rate": frames.rates(seeds["asymptotic_rate"]),
        "one example": frames.rates(seeds["example"]),
        "over lags": f"{first} to {last}",
        "R²": f"{seeds['r_squared'].min():.2f}",
        "its half-life": frames.half_lives(seeds["asymptotic_half_life"]),
        "verdict": frames.verdicts(seeds["verdict"]),
    }


def _sums_over_lags(seeds: pd.DataFrame) -> Record:
    ratios = seeds["norms"].map(lambda norms: norms[0] / norms[-1])
    return {"norm at the first step / at the last": frames.span(ratios, ".3g")}


def loss_table(records: Sequence[Record]) -> str:
    """How training lowers the loss, medians over seeds, as a Markdown table; empty if there was no training."""
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
    return table(told.reset_index().rename(columns={"sequence_length": "T"}), _WORDS)


def verdict(records: Sequence[Record]) -> str:
    """The answer in a sentence: who loses the gradient first and last at initialization, and who has most left."""
    found = c.state_norms(records)
    if c.every_step(found):
        return f"{c.NO_LAG}."
    found = c.typical(found, "initialization", "sequence_length")  # before training, the loss at the end
    found["told"] = found["network"]
    for axis, form in {"initialization": " from {}", "layers": " with {}", "sequence_length": " at T = {}"}.items():
        found["told"] += found[axis].map(form.format) if found[axis].nunique() > 1 else ""
    return f"At initialization {frames.leaders(found, 'told')}."


def summary(records: Sequence[Record], source: str, characters: int) -> str:
    """The page left in the workdir."""
    tables = {"decay_table": decay_table(records), "loss_table": loss_table(records)}
    every = c.every_step(c.state_norms(records))
    return page.filled(__file__, verdict=verdict(records), source=source, every=every, drive=characters**-0.5, **tables)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/gradient_flow")
