"""Figures, table and samples of the min_char experiment, drawn from its metrics.jsonl alone.

``python -m experiments.min_char.report --workdir=runs/min_char`` draws the figures of a run again.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record


def losses(records: Sequence[Record]) -> pd.DataFrame:
    """Nats a character by iteration, a row an evaluation: of the smoothed loss."""
    found = frames.frame(records, "evaluation", dtype=np.float64)
    return found.assign(loss=found["smoothed_loss"] / _length(records))


def table(records: Sequence[Record]) -> str:
    """The loss and the gradient's reach at the steps where it was measured, ranges over seeds, as a Markdown table."""
    flows = frames.frame(records, "state_gradient")
    flows = flows.join(frames.decays(flows["norms"])).merge(losses(records)[["run", "step", "loss"]])
    rows = [
        {
            "iterations": f"{step:,}",
            "smoothed loss (nats a character)": frames.span(of_step["loss"], ".3f"),
            "bits a character": frames.span(of_step["loss"] / np.log(2), ".2f"),
            **{f"{share} at lag": frames.lags(of_step[lag]) for share, lag in zip(_SHARES, frames.LAGS, strict=True)},
        }
        for step, of_step in flows.groupby("step")
    ]
    return frames.table(rows, set())


def verdict(records: Sequence[Record]) -> str:
    """What became of the loss, and of the gradient's reach."""
    ends = losses(records)
    first, last = (ends[ends["step"] == step]["loss"] for step in (0, ends["step"].max()))
    flows = frames.frame(records, "state_gradient")
    flows = flows.join(frames.decays(flows["norms"]))
    reach = [frames.lags(flows[flows["step"] == step]["tenth_lag"]) for step in (0, flows["step"].max())]
    count = len(last)
    return (
        f"In {ends['step'].max():,} iterations the smoothed loss falls from {frames.span(first, '.2f')} (guessing) to "
        f"{frames.span(last, '.2f')} nats a character ({count} seed{'s' * (count > 1)}); a tenth of a gradient is left "
        f"at lag {reach[0]} before training, at lag {reach[1]} after it."
    )


def summary(records: Sequence[Record], source: str) -> str:
    """The page left in the workdir."""
    of_seed = [record for record in records if record["kind"] == "sample" and record["seed"] == 0]
    places = sorted({0, len(of_seed) // 10, len(of_seed) // 2, len(of_seed) - 1})
    samples = [{**of_seed[place], "text": page.code(of_seed[place]["text"])} for place in places]
    facts = {"verdict": verdict(records), "table": table(records), "length": _length(records)}
    return page.filled(__file__, source=source, samples=samples, **facts)


def loss_by_iteration(records: Sequence[Record]) -> Figure:
    """The smoothed loss against iterations, a line a seed; guessing drawn."""
    found = losses(records)
    figure, (axes,) = drawing.panels(1, size=(6.7, 3.4))
    for seed, (_, of_seed) in enumerate(found.groupby("seed")):
        colour = drawing.COLOURS[seed % len(drawing.COLOURS)]
        axes.plot(of_seed["step"], of_seed["loss"], color=colour, linewidth=1.5, label=f"seed {seed}")
    axes.axhline(found["loss"].iloc[0], color=drawing.GREY, linewidth=3, alpha=0.4, zorder=0, label="guessing")
    axes.set_ylim(bottom=0)
    drawing.label(figure, "iteration", "smoothed training loss\n(nats a character)")
    drawing.legend(axes)
    drawing.title(figure, verdict(records).partition(";")[0])
    return figure


def gradient_by_lag(records: Sequence[Record]) -> Figure:
    """The gradient of a window's last loss against lag, before, during and after training."""
    found = frames.frame(records, "state_gradient").sort_values("step")
    figure, (axes,) = drawing.panels(1, size=(6.7, 3.4))
    for look, (step, of_step) in zip(drawing.styles(), found.groupby("step"), strict=False):
        drawing.by_lag(axes, of_step["norms"], look, f"{step:,} iterations", relative=True)
    axes.axhline(-1, color=drawing.GREY, linewidth=0.8, zorder=0)
    x = "lag (steps back from the loss; grey line: a tenth is left)"
    drawing.label(figure, x, r"$\log_{10} \|\partial L / \partial h_t\| \, / \, \|\partial L / \partial h_T\|$")
    drawing.legend(axes)
    reach = found.join(frames.decays(found["norms"])).groupby("step")["tenth_lag"].agg(frames.lags)
    told = f"A tenth of the gradient is left at lag {reach.iloc[0]} before training, at lag {reach.iloc[-1]} after it"
    drawing.title(figure, told)
    return figure


_SHARES = ("1/2", "1/10", "1/1000")


def _length(records: Sequence[Record]) -> int:
    return next(len(record["norms"]) for record in records if record["kind"] == "state_gradient")


FIGURES: drawing.Figures = (loss_by_iteration, gradient_by_lag)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/min_char")
