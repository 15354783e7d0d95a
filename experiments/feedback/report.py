"""Figures, table and summary of the feedback experiment, drawn from its metrics.jsonl alone."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record
from experiments.feedback.feeding import TEACHER, regime_named
from experiments.feedback.findings import (
    TOLD_ORDER,
    WAY_LEFT,
    WORDS,
    differs,
    faster,
    in_order,
    mean,
    of_source,
    prefixes,
    results,
    shares,
    steps,
    told,
    verdict,
    with_teacher,
)

BEYOND = "line: median\nshade: range over seeds\n(some leave their panel)"
"""The heading of a legend where axes are cut."""


def table(records: Sequence[Record]) -> str:
    """How each regime ended, mean and range over seeds, as a Markdown table."""
    rows = []
    for regime, seeds in results(records).groupby("regime", sort=False):
        row = {"fed in training": told(str(regime)), "nats, truth fed": mean(seeds["loss"])}
        if "above" in seeds:
            row["above the source's"] = mean(seeds["above"])
        row["nats as trained"] = frames.span(seeds["as_trained"], ".2f")
        row["learned at step"] = steps(seeds["learned"])
        row["after its own prefix"] = mean(seeds["after"])
        row["which costs"] = mean(seeds["bias"])
        if "foreign_bias" in seeds:
            row["a foreign one"] = mean(seeds["foreign_bias"])
        if "improbable" in seeds:
            row["own text above its entropy"] = mean(seeds["improbable"])
        row[f"{TOLD_ORDER}-grams off by"] = mean(seeds["distance"])
        row["largest gradient"] = frames.span(seeds["largest_norm"], ".2g")
        rows.append(row)
    return frames.table(rows, {"fed in training"})


def setting(records: Sequence[Record]) -> str:
    """What the networks learned from, and what is known of it."""
    ends = results(records)
    first = ends.iloc[0]
    told_first = (
        f"{first['origin']}, {first['symbols']:.0f} symbols; {first['params']:,.0f} params; {ends['seed'].nunique()} "
        f"seeds; {first['step']:,.0f} training steps."
    )
    if "entropy" not in ends:
        return told_first
    return (
        f"{told_first} The entropy of a symbol given those before it is {first['entropy']:.3f} nats, and "
        f"{first['marginal_entropy']:.3f} without them; in the texts tested on it is {first['held_out_entropy']:.3f}."
    )


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    lines = "\n".join(f"- {line}" for line in verdict(records).splitlines())
    samples = frames.frame(records, "sample")
    samples = in_order(samples[samples["seed"] == samples["seed"].min()])
    said = [(told(regime), page.code(text)) for regime, text in zip(samples["regime"], samples["text"], strict=True)]
    given = {"setting": setting(records), "table": table(records), "known": of_source(records), "samples": said}
    return page.filled(__file__, verdict=lines, order=TOLD_ORDER, way_left=f"{100 * (1 - WAY_LEFT):.0f} %", **given)


# Figures


def held_out(records: Sequence[Record]) -> Figure:
    """The held-out loss with the truth fed, against the training step."""
    ends = results(records)
    found = with_teacher(frames.frame(records, "evaluation", dtype=np.float64))
    figure, panels = drawing.courses(found, "step", "loss", panel="panel", line="line", across=3, size=(3.2, 2.8))
    if "entropy" in ends:
        for axes in panels.values():
            _marked(axes, ends["held_out_entropy"].iloc[0], "entropy of these texts")
    first = found[found["step"] == 0]["loss"].max()
    lowest = min(found["loss"].min(), ends.get("held_out_entropy", found["loss"]).min())
    _zoomed(panels.values(), lowest, first)
    drawing.legend(figure, BEYOND)
    title = next(faster(records), "The held-out loss, with the truth fed")
    return drawing.caption(figure, title, "training step", "held-out loss, truth fed (nats a symbol)")


def own_prefix(records: Sequence[Record]) -> Figure:
    """The cost of a network's own prefix, against its length."""
    costs = with_teacher(prefixes(records))
    figure, panels = drawing.courses(
        costs, "length", "bias", panel="panel", line="line", across=3, size=(3.2, 2.8), marker="."
    )
    for axes in panels.values():
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.axhline(0, color=drawing.GREY, linewidth=0.8, zorder=0)
    seen = _with_truth(costs)["bias"]
    _zoomed(panels.values(), min(seen.min(), 0), seen.max())
    drawing.legend(figure, BEYOND)
    what = "KL(p || q)" if of_source(records) else "loss"
    title = next(differs(records), "What a network's own prefix costs")
    y = f"{what} after its own prefix less that after the true one (nats a symbol)"
    return drawing.caption(figure, title, "length of the network's own prefix (symbols)", y)


def recovery(records: Sequence[Record]) -> Figure:
    """The cost of the longest prefix, step by step after the truth is fed again."""
    costs = prefixes(records)
    rows = with_teacher(costs[costs["length"] == costs["length"].max()])
    rows = rows.assign(curve=rows["own"] - rows["truth"])
    figure, panels, lines = drawing.multiples(rows, panel="panel", line="line", across=3, size=(3.2, 2.8))
    for axes, name, look, seeds in lines:
        curves = frames.stacked(seeds["curve"])
        drawing.band(axes, np.arange(1, curves.shape[1] + 1), curves, look, str(name))
    for axes in panels.values():
        axes.axhline(0, color=drawing.GREY, linewidth=0.8, zorder=0)
    seen = frames.stacked(_with_truth(rows)["curve"])
    _zoomed(panels.values(), min(seen.min(), 0), seen.max())
    drawing.legend(figure, BEYOND)
    teacher = rows[rows["regime"] == TEACHER].drop_duplicates("run")
    title = "What a network's own prefix costs fades, or does not, once the truth is fed again"
    if len(teacher):
        curve = np.median(frames.stacked(teacher["curve"]), axis=0)
        title = (
            f"{costs['length'].max():.0f} symbols of its own cost a network that learned by teacher forcing "
            f"{curve[0]:.3f} nats on the first true symbol after them and {curve[-1]:.3f} nats on true symbol "
            f"{len(curve)} (medians over seeds)"
        )
    return drawing.caption(
        figure, title, "true symbol after the network's own prefix", "loss beyond that after the truth (nats)"
    )


def ngrams(records: Sequence[Record]) -> Figure:
    """How far the n-grams of a network's own text are from the true ones, by order."""
    rows = with_teacher(frames.frame(records, "distances", dtype=np.float64))
    figure, panels, lines = drawing.multiples(rows, panel="panel", line="line", across=3, size=(3.2, 2.8))
    orders = np.arange(1, len(rows["own"].iloc[0]) + 1)
    for axes, name, look, seeds in lines:
        drawing.band(axes, orders, frames.stacked(seeds["own"]), {**look, "marker": "."}, str(name))
    floor = rows["floor"].iloc[0]
    for axes in panels.values():
        axes.plot(orders, floor, color=drawing.GREY, linewidth=0.8, label="true texts among themselves", zorder=0)
        axes.set_ylim(bottom=0)
    drawing.legend(figure, "line: median\nshade: range over seeds")
    ends = results(records)
    by = ends.groupby("regime", sort=False)["distance"].mean()
    title = (
        f"The {TOLD_ORDER}-grams of a network's own text are closest to the true ones with {told(by.idxmin())} "
        f"({by.min():.3f}) and farthest with {told(by.idxmax())} ({by.max():.3f}); two true texts are "
        f"{ends['floor'].iloc[0]:.3f} apart (total variation, means over seeds)"
    )
    return drawing.caption(figure, title, "order n", "total variation distance (0 to 1)")


def own_text(records: Sequence[Record]) -> Figure | None:
    """How improbable a network's own text is under the source, by place in it."""
    found = frames.frame(records, "free", dtype=np.float64)
    if found.empty:
        return None
    width = max(1, len(found["nats"].iloc[0]) // 16)

    def smooth(values: np.ndarray) -> np.ndarray:
        whole = len(values) // width * width
        return np.asarray(values[:whole].reshape(-1, width).mean(axis=1))

    rows = with_teacher(found.assign(curve=(found["nats"] - found["entropy"]).map(smooth)))
    figure, panels, lines = drawing.multiples(rows, panel="panel", line="line", across=3, size=(3.2, 2.8))
    for axes, name, look, seeds in lines:
        curves = frames.stacked(seeds["curve"])
        drawing.band(axes, width * (np.arange(curves.shape[1]) + 0.5), curves, look, str(name))
    for axes in panels.values():
        axes.axhline(0, color=drawing.GREY, linewidth=0.8, zorder=0)
    drawing.legend(figure, "line: median\nshade: range over seeds\ngrey: the source")
    by = results(records).groupby("regime", sort=False)["improbable"].mean()
    near, far = by.abs().idxmin(), by.abs().idxmax()
    title = (
        f"A network's own text is nearest to the source with {told(near)} ({by[near]:+.3f} nats a symbol) and farthest "
        f"with {told(far)} ({by[far]:+.3f}; means over seeds)"
    )
    y = "-ln p under the source less its entropy (nats)"
    return drawing.caption(figure, title, f"place in the text (means over {width} symbols)", y)


def ways(records: Sequence[Record]) -> Figure | None:
    """The share of the gradient that flows through the output, by lag, before and after training."""
    found = shares(records)
    if found.empty:
        return None
    phase = found["phase"].map(frames.PHASES)
    rows = found.assign(
        panel=found["choice"] + ", " + phase, line=found["regime"].map(_schedule), share=100 * found["share"]
    )
    figure, panels = drawing.courses(rows, "lag", "share", panel="panel", line="line", across=2, size=(3.8, 2.8))
    for axes in panels.values():
        axes.set_ylim(bottom=0)
    drawing.legend(figure, "the truth was fed in training\n(line: median, shade: range)")
    near = (
        rows[(rows["lag"] <= 8) & (rows["phase"] == "trained")].groupby(["choice", "run"], sort=False)["share"].mean()
    )
    parts = [f"{frames.span(seeds, '.0f')} % where {choice} are fed back" for choice, seeds in near.groupby("choice")]
    title = (
        "One to eight steps before the loss, the share of the gradient that flows through the output is, after "
        f"training, {', '.join(parts)}"
    )
    y = "share of $\\partial L / \\partial h_t$ through the output (%)"
    return drawing.caption(figure, title, "lag (steps back from the loss)", y)


def discriminator(records: Sequence[Record]) -> Figure | None:
    """The share of cases in which the discriminator is right, against the training step."""
    found = frames.frame(records, "train", dtype=np.float64)
    if "right" not in found or found["right"].isna().all():
        return None
    rows = found.dropna(subset=["right"]).assign(panel="", percent=lambda rows: 100 * rows["right"])
    rows = rows.assign(line=rows["regime"].map(told))
    figure, panels = drawing.courses(rows, "step", "percent", panel="panel", line="line", size=(6, 3.2))
    for axes in panels.values():
        _marked(axes, 50.0, "chance")
    drawing.legend(figure, "line: median\nshade: range over seeds")
    title = list(differs(records))[-1]
    return drawing.caption(figure, title, "training step", "discriminator is right (%)")


def schedules(records: Sequence[Record]) -> Figure:
    """The share of steps at which the truth is fed, against the training step."""
    found = frames.frame(records, "train", dtype=np.float64)
    rows = found.assign(panel="", percent=100 * found["truth"], line=found["regime"].map(_schedule))
    rows = rows.drop_duplicates(["line", "step"]).assign(seed=0)
    figure, _ = drawing.courses(rows, "step", "percent", panel="panel", line="line", size=(6, 3))
    drawing.legend(figure)
    ends = rows.groupby("line", sort=False)["percent"].last()
    parts = ", ".join(f"{value:.0f} % ({name})" for name, value in ends.items())
    title = f"At the end of training the share of steps that are fed with the truth is {parts}"
    return drawing.caption(figure, title, "training step", "steps fed with the truth (%)")


def _schedule(regime: str) -> str:
    name = regime_named(regime).schedule
    return WORDS.get(name, name)


def _marked(axes: Axes, height: float, label: str) -> None:
    axes.axhline(height, color=drawing.GREY, linestyle="--", linewidth=0.8, zorder=0, label=label)


def _with_truth(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without those that were never fed with the truth, if there are others."""
    never = rows["regime"].map(lambda regime: regime_named(regime).schedule == "never")
    return rows[~never] if not never.all() else rows


def _zoomed(panels: Iterable[Axes], low: float, high: float) -> None:
    """Cuts the axes there, however far lines go on: networks that never see the truth lose much with it."""
    if math.isfinite(high - low) and high > low:
        for axes in panels:
            axes.set_ylim(low - 0.1 * (high - low), high + 0.15 * (high - low))


FIGURES: drawing.Figures = (held_out, own_prefix, recovery, ngrams, own_text, ways, discriminator, schedules)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/feedback")
