"""Figures, table and samples of the min_char experiment, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record


def losses(records: Sequence[Record]) -> pd.DataFrame:
    """The smoothed loss in nats a character, one row for each evaluation."""
    found = frames.frame(records, "evaluation", dtype=np.float64)
    return found.assign(loss=found["smoothed_loss"] / _length(records))


def table(records: Sequence[Record]) -> str:
    """The loss and the gradient's reach wherever the reach was measured, ranges over seeds, as a Markdown table."""
    flows = frames.flows(records).merge(losses(records)[["run", "step", "loss"]])
    rows = [
        {
            "iterations": f"{step:,}",
            "smoothed loss (nats a character)": frames.span(of_step["loss"], ".3f"),
            "bits a character": frames.span(of_step["loss"] / np.log(2), ".2f"),
            **frames.lags_left(of_step),
        }
        for step, of_step in flows.groupby("step")
    ]
    return frames.table(rows, set())


def verdict(records: Sequence[Record]) -> str:
    """How far the loss fell, and how the gradient's reach changed."""
    ends = losses(records)
    first, last = (ends[ends["step"] == step]["loss"] for step in (0, ends["step"].max()))
    flows = frames.flows(records)
    reach = [frames.lags(flows[flows["step"] == step]["tenth_lag"]) for step in (0, flows["step"].max())]
    count = len(last)
    return (
        f"In {ends['step'].max():,} iterations the smoothed loss falls from {frames.span(first, '.2f')} nats a "
        f"character, that of guessing, to {frames.span(last, '.2f')} ({count} seed{'s' * (count > 1)}); a tenth of the "
        f"gradient is left at lag {reach[0]} before training and at lag {reach[1]} after it."
    )


def summary(records: Sequence[Record], source: str) -> str:
    """The page left in the workdir."""
    of_seed = [record for record in records if record["kind"] == "sample" and record["seed"] == 0]
    places = sorted({0, len(of_seed) // 10, len(of_seed) // 2, len(of_seed) - 1})
    samples = [{**of_seed[place], "text": page.code(of_seed[place]["text"])} for place in places]
    facts = {"verdict": verdict(records), "table": table(records), "length": _length(records)}
    return page.filled(__file__, source=source, samples=samples, **facts)


def loss_by_iteration(records: Sequence[Record]) -> Figure:
    """The smoothed loss against the iteration, one line for each seed, beside the loss of guessing."""
    found = losses(records)
    figure, (axes,) = drawing.panels(1, size=(6.7, 3.4))
    for seed, (_, of_seed) in enumerate(found.groupby("seed")):
        colour = drawing.COLOURS[seed % len(drawing.COLOURS)]
        axes.plot(of_seed["step"], of_seed["loss"], color=colour, linewidth=1.5, label=f"seed {seed}")
    axes.axhline(found["loss"].iloc[0], color=drawing.GREY, linewidth=3, alpha=0.4, zorder=0, label="guessing")
    axes.set_ylim(bottom=0)
    drawing.legend(axes)
    found = verdict(records).partition(";")[0]
    return drawing.caption(figure, found, "iteration", "smoothed training loss\n(nats a character)")


def gradient_by_lag(records: Sequence[Record]) -> Figure:
    """The gradient of a window's last loss against lag, before, during and after training."""
    found = frames.flows(records).sort_values("step")
    reach = found.groupby("step")["tenth_lag"].agg(frames.lags)
    told = (
        f"A tenth of the gradient is left at lag {reach.iloc[0]} before training and at lag {reach.iloc[-1]} after it"
    )
    form: dict[str, Any] = {"panel": "of", "line": "step", "name": "{:,} iterations".format, "size": (6.7, 3.4)}
    return drawing.panels_by_lag(found.assign(of="one layer of tanh units"), told, **form)[0]


def _length(records: Sequence[Record]) -> int:
    return next(len(record["norms"]) for record in records if record["kind"] == "state_gradient")


FIGURES: drawing.Figures = (loss_by_iteration, gradient_by_lag)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/min_char")
