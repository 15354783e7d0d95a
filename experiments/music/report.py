"""The page of a run of the music experiment, and its figures, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record
from experiments.music.corpus import BAR
from experiments.music.findings import (
    PHASES,
    PUBLISHED,
    PUBLISHED_JOINT,
    best,
    best_in_test,
    contexts,
    costs,
    flows,
    is_published,
    lag_in_words,
    of_networks,
    results,
    setting,
    spread_table,
    table,
    verdict,
)
from experiments.music.pianoroll import draw_roll


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    padding = frames.frame(records, "padding")
    return page.filled(
        __file__,
        verdict=verdict(records),
        setting=setting(records),
        table=table(records),
        published=is_published(records),
        reach=spread_table(records) if len(flows(records)) else "",
        lags=len(flows(records)["norms"].iloc[0]) - 1 if len(flows(records)) else 0,
        padding=f"{padding['change'].max():.1e}" if len(padding) else "",
    )


def nats_by_network(records: Sequence[Record]) -> Figure:
    """The test loss of each network, seeds and means; a joint output has a panel of its own."""
    ends = results(records)
    outputs = {False: "sigmoids and counts", True: "joint output: another measure"}
    there = [joint for joint in outputs if (ends["joint"] == joint).any()]
    published = {False: PUBLISHED, True: PUBLISHED_JOINT} if is_published(records) else {}
    most = max(ends[ends["joint"] == joint]["network"].nunique() + len(published.get(joint, ())) for joint in there)
    figure, panels = drawing.grid(1, len(there), size=(3.6, 0.3 * most + 1.4), share=(False, False))
    for axes, joint in zip(panels, there, strict=True):
        _dots(axes, ends[ends["joint"] == joint], published.get(joint, {}))
        drawing.head(axes, outputs[joint])
    drawing.legend(figure)
    return drawing.caption(figure, best_in_test(records), f"nats a frame, {ends['source'].iloc[0]}, test part")


def _dots(axes: Axes, ends: pd.DataFrame, published: dict[str, float]) -> None:
    """Draws a row for each network, and below them one for each published figure."""
    networks = list(ends["network"].unique())
    for place, network in enumerate(networks):
        losses = ends[ends["network"] == network]["test"]
        look: dict[str, Any] = {"color": "black", "linestyle": "none"}
        axes.plot(losses, [place] * len(losses), marker="|", markersize=9, **look, label="one seed")
        axes.plot(losses.mean(), place, marker="D", markersize=4, **look, label="mean over seeds")
    for place, loss in enumerate(published.values(), len(networks)):
        axes.plot(loss, place, **drawing.CIRCLES, label="published")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    names = [*networks, *published]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", linewidth=0.4, color=drawing.GREY, alpha=0.5)


def nats_by_step(records: Sequence[Record]) -> Figure | None:
    """The loss against the training step, a panel for each network, lines for validation and training parts."""
    found = of_networks(records, "evaluation")
    if found.empty:
        return None
    parts = {"valid": "validation part", "train": "training part"}
    rows = pd.concat([found.assign(part=told, nats=found[name]) for name, told in parts.items()], ignore_index=True)
    figure, _panels = drawing.courses(
        rows[rows["step"] > 0], "step", "nats", panel="network", line="part", across=4, size=(2.6, 2.6), marker="."
    )
    drawing.legend(figure, "line: median\nshade: range over seeds")
    ends = results(records)
    ends = ends[~ends["counted"]]
    told = ", ".join(
        f"{network} {frames.span(seeds['valid'] - seeds['train'], '.2f')}"
        for network, seeds in ends.groupby("network", sort=False)
    )
    title = (
        "How much more a network loses in the validation part than in the training part, at the step with its least "
        f"validation loss (nats a frame, ranges over seeds): {told}"
    )
    return drawing.caption(figure, title, "training step", "nats a frame")


def gradient_by_beat(records: Sequence[Record]) -> Figure | None:
    """How much of a frame's gradient is left at each lag in beats, before training and after."""
    found = flows(records)
    if found.empty:
        return None
    found = found.assign(when=found["phase"].map(PHASES))
    figure, panels = drawing.panels_by_lag(
        found,
        _in_beats(found),
        panel="when",
        line="network",
        lag=f"beats back from the frame (lines: bars of {BAR})",
        across=2,
        size=(3.5, 3.2),
    )
    for axes in panels.values():
        for place in range(0, len(found["norms"].iloc[0]), BAR):
            axes.axvline(place, color=drawing.GREY, linewidth=0.4, zorder=0)
        axes.axhline(-1, color=drawing.GREY, linewidth=0.8, linestyle="--", zorder=0)
    return figure


def _in_beats(found: pd.DataFrame) -> str:
    """The lag at which a tenth of the gradient is left, after training and before."""
    told, farthest = [], len(found["norms"].iloc[0]) - 1
    for network, seeds in found.groupby("network", sort=False):
        lags = {phase: list(of_phase["tenth_lag"]) for phase, of_phase in seeds.groupby("phase", sort=False)}
        after, before = (lag_in_words(lags[phase], farthest).partition(" beat")[0] for phase in reversed(PHASES))
        told.append(f"{network} {after} ({before})")
    return (
        "The lag in beats at which a tenth of a frame's gradient is left, after training (and before it): "
        f"{', '.join(told)}; {BAR} beats are a bar"
    )


def nats_by_context(records: Sequence[Record]) -> Figure | None:
    """What it costs to read the last frames alone."""
    found = contexts(records)
    if found.empty:
        return None
    found = found.assign(panel="")
    figure, panels = drawing.courses(found, "frames", "more", panel="panel", line="network", size=(6, 3.4), marker="o")
    (axes,) = panels.values()
    heard = sorted(found["frames"].unique())
    axes.set_xscale("log", base=2)
    axes.set_xticks(heard, [f"{int(each)}\n{each / BAR:g}" if each % BAR == 0 else f"{int(each)}" for each in heard])
    axes.minorticks_off()
    drawing.legend(figure, "line: median\nshade: range over seeds")
    title = (costs(records) or [f"The loss of {best(records)} by the number of beats that it reads"])[0]
    return drawing.caption(figure, title, "beats read before the frame (below: bars)", "additional nats a frame")


def pieces(records: Sequence[Record]) -> Figure | None:
    """Pieces by the first seed of each network, as piano rolls."""
    order = list(results(records)["network"].unique())
    drawn = [record for record in records if record["kind"] == "piece" and record["seed"] == 0]
    drawn = sorted(drawn, key=lambda record: order.index(record["network"]))
    if not drawn:
        return None
    figure, panels = drawing.grid(len(drawn), 1, size=(9.5, 1.7), share=(False, False))
    for axes, record in zip(panels, drawn, strict=True):
        draw_roll(axes, tuple(map(tuple, record["frames"])), record["primer"])
        after = "after silence" if record["after"] == "silence" else "after the opening of a test chorale (grey)"
        drawing.head(axes, f"{record['network']}, {after}")
    bars = max(len(record["frames"]) - record["primer"] for record in drawn) // BAR
    counts: dict[str, list[bool]] = {}
    for record in drawn:
        composed = record["frames"][record["primer"] :]
        counts.setdefault(record["network"], []).extend(len(frame) == 4 for frame in composed)
    told = ", ".join(f"{100 * sum(four) / len(four):.0f} % for {name}" for name, four in counts.items())
    title = f"Pieces of {bars} bars (first seed); the share of frames with exactly four notes is {told}"
    return drawing.caption(figure, title, "bar", "note")


FIGURES: drawing.Figures = (
    nats_by_network,
    nats_by_step,
    gradient_by_beat,
    nats_by_context,
    pieces,
)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/music")
