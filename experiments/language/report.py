"""Figures, table and samples of the language experiment, drawn from its metrics.jsonl alone.

``python -m experiments.language.report --workdir=runs/language`` draws the figures of a run again.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record


def evaluations(records: Sequence[Record]) -> pd.DataFrame:
    """A row an evaluation of a run; ``best`` where its loss on the text to choose by was least."""
    found = frames.frame(records, "evaluation", dtype=np.float64)
    return found.assign(best=found["loss_choose"] == found.groupby("run")["loss_choose"].transform("min"))


def table(records: Sequence[Record]) -> str:
    """Each cell at its best evaluation, ranges over seeds, as a Markdown table."""
    found = evaluations(records)
    flows = frames.frame(records, "state_gradient")
    flows = flows.join(frames.decays(flows["norms"]))[["run", "step", "tenth_lag"]]
    best = found[found["best"]].drop_duplicates("run").merge(flows)
    rows = [
        {
            "cell": cell,
            "best after (steps)": frames.span(seeds["step"], ",d"),
            "carried (nats)": frames.span(seeds["loss_report"], ".3f"),
            "carried (bits)": frames.span(seeds["loss_report"] / np.log(2), ".3f"),
            "perplexity": frames.span(np.exp(seeds["loss_report"]), ".2f"),
            "fresh (nats)": frames.span(seeds["fresh_report"], ".3f"),
            "chosen by (nats)": frames.span(seeds["loss_choose"], ".3f"),
            "whole tenth (nats)": frames.span((seeds["loss_choose"] + seeds["loss_report"]) / 2, ".3f"),
            "1/10 of the gradient at lag": frames.lags(seeds["tenth_lag"]),
        }
        for cell, seeds in best.groupby("cell", sort=False)
    ]
    return frames.table(rows, {"cell"})


def verdict(records: Sequence[Record]) -> str:
    """The best cell, and what it reaches."""
    found = evaluations(records)
    best = found[found["best"]].drop_duplicates("run")
    by_cell = best.groupby("cell", sort=False)["loss_report"]
    cell = by_cell.median().idxmin()
    reached = by_cell.get_group(cell)
    count = len(reached)
    return (
        f"{cell} predicts held-out text to {frames.span(reached, '.3f')} nats a token, the state carried "
        f"({count} seed{'s' * (count > 1)})."
    )


def summary(records: Sequence[Record], source: str, unit: str) -> str:
    """The page left in the workdir."""
    of_first = [record for record in records if record["kind"] == "sample" and record["seed"] == 0]
    last = {record["run"]: record for record in of_first}
    samples = [{**record, "text": page.code(record["text"])} for record in last.values()]
    facts = {"verdict": verdict(records), "table": table(records), "unit": unit}
    return page.filled(__file__, source=source, samples=samples, **facts)


def loss_by_step(records: Sequence[Record]) -> Figure:
    """A panel for the loss of training, one for the held-out text; a line a cell, its range over seeds."""
    trained = frames.frame(records, "train", dtype=np.float64)
    width = max(1, trained["step"].max() // 50)
    trained["step"] = -(-trained["step"] // width) * width
    trained = trained.groupby(["cell", "seed", "step"], sort=False, as_index=False)["loss"].mean()
    held_out = evaluations(records).assign(loss=lambda rows: rows["loss_report"])
    names = {"training": trained, "held out, state carried": held_out[held_out["step"] > 0]}
    each = pd.concat(rows[["cell", "seed", "step", "loss"]].assign(of=name) for name, rows in names.items())
    figure, panels = drawing.courses(each, "step", "loss", panel="of", line="cell", size=(3.4, 3.2))
    drawing.legend(next(iter(panels.values())), "shade: range over seeds")
    drawing.label(figure, "training step", "cross-entropy (nats a token)")
    drawing.title(figure, verdict(records))
    return figure


def gradient_by_lag(records: Sequence[Record]) -> Figure:
    """A panel a cell: the gradient of a window's last loss against lag, before, during and after training."""
    found = frames.frame(records, "state_gradient").sort_values(["cell", "step"], kind="stable")
    steps = sorted(found["step"].unique())
    kept = {steps[place] for place in np.linspace(0, len(steps) - 1, min(len(steps), 4)).astype(int)}
    found = found[found["step"].isin(kept)]
    figure, panels = drawing.multiples(
        found, "norms", panel="cell", line="step", name="{:,} steps".format, relative=True, size=(3.4, 3.2)
    )
    lags = found.join(frames.decays(found["norms"])).groupby(["cell", "step"])["tenth_lag"].agg(frames.lags)
    for cell, axes in panels.items():
        axes.axhline(-1, color=drawing.GREY, linewidth=0.8, zorder=0)
        drawing.head(axes, str(cell))
    x = "lag (steps back from the loss; grey line: a tenth is left)"
    drawing.label(figure, x, r"$\log_{10} \|\partial L / \partial s_t\| \, / \, \|\partial L / \partial s_T\|$")
    drawing.legend(next(iter(panels.values())))
    told = [f"{cell} {lags[cell].iloc[0]}, then {lags[cell].iloc[-1]}" for cell in panels]
    drawing.title(figure, f"Lag at which a tenth of the gradient is left, before and after training: {'; '.join(told)}")
    return figure


FIGURES: drawing.Figures = (loss_by_step, gradient_by_lag)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/language")
