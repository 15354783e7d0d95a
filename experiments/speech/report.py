"""The page of a run of the speech experiment, and its figures, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record
from experiments.speech import findings, noise, spectrogram
from experiments.speech.data import GROUPS, KNOWN
from experiments.speech.features import HOP_MS
from experiments.speech.findings import PART_NAMES, PHASES, results
from experiments.speech.model import BIDIRECTIONAL, LSTM, WHOLE
from experiments.speech.phonemes import CLASSES

DRAWN = (f"{BIDIRECTIONAL}:{WHOLE}", WHOLE, LSTM)
"""Networks whose labels are drawn below a spectrogram, if they were trained."""

SHOWN = 280
"""The most frames of an utterance that are drawn."""


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    ends = results(records)
    case, forward = findings.best(ends), ~ends["network"].str.startswith(BIDIRECTIONAL)
    return page.filled(
        __file__,
        verdict=findings.verdict(records),
        setting=findings.setting(records),
        table=findings.table(records),
        contributions=findings.contributions_table(records),
        ahead=frames.span(ends[forward]["delay"] * HOP_MS, ".0f") if forward.any() else "0",
        best=case,
        confused={group: findings.confused(findings.matrix(records, case, group)) for group in GROUPS},
        reaches=findings.reaches(records),
        first=noise.in_words(findings.conditions(ends)[0]),
    )


def frames_wrong(records: Sequence[Record]) -> Figure:
    """The share of frames wrong in the first condition by network, a panel for each group of voices."""
    ends = results(records)
    first = ends["condition"].iloc[0]
    ends = ends[ends["condition"] == first]
    cases = list(ends["case"].unique())
    figure, panels = drawing.grid(1, 2, size=(3.6, 0.38 * len(cases) + 1.4), share=(False, True))
    for axes, group in zip(panels, GROUPS, strict=True):
        for place, case in enumerate(cases):
            wrong = 100 * ends[(ends["case"] == case) & (ends["group"] == group)]["error"]
            look: dict[str, Any] = {"color": "black", "linestyle": "none"}
            axes.plot(wrong, [place] * len(wrong), marker="|", markersize=9, **look, label="one seed")
            axes.plot(wrong.mean(), place, marker="D", markersize=5, **look, label="mean over seeds")
        drawing.head(axes, group)
        axes.grid(axis="x", linewidth=0.4, color=drawing.GREY, alpha=0.5)
    panels[0].set_yticks(range(len(cases)), cases)
    panels[0].invert_yaxis()
    drawing.legend(figure)
    return drawing.caption(figure, findings.fewest(results(records)), f"frames wrong (%), {noise.in_words(first)}")


def error_by_noise(records: Sequence[Record]) -> Figure | None:
    """The share of frames wrong against the noise: a panel for each group of voices, a line for each network."""
    found = results(records).assign(percent=lambda rows: 100 * rows["error"])
    several = findings.conditions(found)
    if len(several) < 2:
        return None
    found = found.assign(place=found["condition"].map(several.index))
    figure, panels = drawing.courses(
        found, "place", "percent", panel="group", line="case", across=2, size=(3.4, 3.6), marker="."
    )
    for axes in panels.values():
        axes.set_xticks(range(len(several)), map(noise.in_words, several))
    drawing.legend(figure, "line: median\nshade: range over seeds")
    ends = found[found["condition"] == several[-1]].groupby("case", sort=False)["percent"].mean()
    title = (
        f"At {noise.in_words(several[-1])} {ends.idxmin()} has the fewest frames wrong, {ends.min():.0f} %, and "
        f"{ends.idxmax()} the most, {ends.max():.0f} % (means over seeds and both groups of voices)"
    )
    return drawing.caption(figure, title, "signal-to-noise ratio", "frames wrong (%)")


def contribution_by_noise(records: Sequence[Record]) -> Figure | None:
    """How many points more frames are wrong without a part: panels by group of voices, a line for each part."""
    found = findings.contributions(records)
    if found.empty:
        return None
    several = findings.conditions(found)
    found = found.assign(place=found["condition"].map(several.index), name="without " + found["part"].map(PART_NAMES))
    figure, panels = drawing.courses(
        found, "place", "points", panel="group", line="name", across=2, size=(3.4, 3.2), marker="o"
    )
    for axes in panels.values():
        axes.axhline(0, color=drawing.GREY, linewidth=0.8, zorder=0)
        axes.set_xticks(range(len(several)), map(noise.in_words, several))
    drawing.legend(figure, "line: median\nshade: range over seeds")
    means = found.groupby(["name", "condition"], sort=False)["points"].mean()
    ends = dict.fromkeys((several[0], several[-1]))
    told = ", ".join(
        f"{name} {' and '.join(f'{means[name, end]:+.1f} ({noise.in_words(end)})' for end in ends)}"
        for name in found["name"].unique()
    )
    title = (
        f"How many points more frames are wrong than with {WHOLE}, at about as many params (means over seeds and both "
        f"groups of voices): {told}"
    )
    return drawing.caption(figure, title, "signal-to-noise ratio", "more frames wrong (points)")


def error_by_delay(records: Sequence[Record]) -> Figure | None:
    """The share of frames wrong against how far ahead a forward network hears; bidirectional ones are level lines."""
    ends = results(records)
    first = ends["condition"].iloc[0]
    ends = ends[ends["condition"] == first].assign(percent=lambda rows: 100 * rows["error"], ms=ends["delay"] * HOP_MS)
    both = ends["network"].str.startswith(BIDIRECTIONAL)
    if ends[~both]["delay"].nunique() < 2:
        return None
    figure, panels = drawing.courses(
        ends[~both], "ms", "percent", panel="group", line="network", across=2, size=(3.4, 3.2), marker="o"
    )
    for group, axes in panels.items():
        for number, (network, seeds) in enumerate(ends[both & (ends["group"] == group)].groupby("network", sort=False)):
            axes.axhline(
                seeds["percent"].median(), color=drawing.GREY, linestyle=("--", ":")[number % 2], label=network
            )
    drawing.legend(figure, "line: median\nshade: range over seeds")
    known = ends[(ends["group"] == KNOWN) & ~both]
    told = []
    for network, rows in known.groupby("network", sort=False):
        by = rows.groupby("ms")["percent"].mean()
        told.append(
            f"{network} has {by.iloc[0]:.1f} % of the frames wrong if it hears {by.index[0]:.0f} ms ahead, and the "
            f"fewest, {by.min():.1f} %, with {by.idxmin():.0f} ms"
        )
    title = f"For {KNOWN}, {'; '.join(told)} (means over seeds)"
    return drawing.caption(
        figure, title, "time heard after the frame that is labelled (ms)", f"frames wrong (%), {noise.in_words(first)}"
    )


def confusion(records: Sequence[Record]) -> Figure:
    """The mistakes of the best network: true phonemes downwards, the network's labels to the right."""
    side = 0.17 * len(CLASSES) + 0.6
    figure, panels = drawing.grid(1, 2, size=(side, side + 0.4), share=(False, False))
    case, told = findings.best(results(records)), []
    for axes, group in zip(panels, GROUPS, strict=True):
        counts = findings.matrix(records, case, group)
        shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
        axes.imshow(np.sqrt(shares), cmap="Greys", vmin=0, vmax=1)
        for set_ticks, angle in ((axes.set_xticks, 90), (axes.set_yticks, 0)):
            set_ticks(range(len(CLASSES)), CLASSES, fontsize=7, rotation=angle)
        drawing.head(axes, group)
        told.append(f"For {group}: {findings.confused(counts)}")
    title = (
        f"The most frequent mistakes of {case}, as shares of all wrong frames. {'. '.join(told)}. Darkness shows the "
        "root of the share of a true phoneme's frames"
    )
    return drawing.caption(figure, title, "label of the network", "true phoneme")


def labelled(records: Sequence[Record]) -> Figure | None:
    """An utterance of a held-out voice as it was heard, its true phonemes, and the labels of some networks."""
    found = findings.with_cases(frames.frame(records, "example"))
    if found.empty:
        return None
    chosen = [case for case in DRAWN if case in set(found["network"])] or list(found["network"].unique()[:3])
    found = found[found["network"].isin(chosen)]
    several = list(found["condition"].unique())
    cases = list(found["case"].unique())[:3]
    inches = 11 / (SHOWN * HOP_MS / 1000)
    heights = [3.0, 0.5, *[0.5] * len(cases)]
    figure, panels = drawing.grid(len(heights) * len(several), 1, size=(11, 0.7), share=(True, False))
    if grid := panels[0].get_gridspec():
        grid.set_height_ratios(heights * len(several))
    told = []
    for number, condition in enumerate(several):
        rows = found[found["condition"] == condition]
        above, true, *others = panels[number * len(heights) : (number + 1) * len(heights)]
        spectrogram.panel(above, rows["decibels"].iloc[0][:SHOWN])
        above.set_title(f"{noise.in_words(condition)}", loc="left", fontsize=9)
        labels = rows["labels"].iloc[0][:SHOWN].astype(int)
        spectrogram.strip(true, spectrogram.in_seconds(labels), "true", inches)
        for axes, case in zip(others, cases, strict=True):
            said = rows[rows["case"] == case]["said"].iloc[0][:SHOWN].astype(int)
            spectrogram.strip(axes, spectrogram.in_seconds(said), case, inches, said != labels)
            told.append(f"{case} {100 * np.mean(said != labels):.0f} % ({noise.in_words(condition)})")
    text = found["text"].iloc[0]
    title = (
        f"The start of “{text}”, spoken by a held-out voice. Black marks the frames that are labelled wrongly: "
        f"{', '.join(told)}"
    )
    return drawing.caption(figure, title, "time (s)")


def error_by_step(records: Sequence[Record]) -> Figure:
    """The share of frames wrong against the training step, for known voices in the first condition."""
    found = with_panel(records)
    figure, panels = drawing.courses(
        found, "step", "percent", panel="panel", line="case", across=1, size=(5, 3.4), marker="."
    )
    for axes in panels.values():
        drawing.plain_ticks(axes, (1, 2, 5))
    drawing.legend(figure, "line: median\nshade: range over seeds")
    last = found[found["step"] == found["step"].max()]["percent"]
    title = f"At the end of training {frames.span(last, '.1f')} % of the frames are wrong, over all networks and seeds"
    return drawing.caption(figure, title, "training step", "frames wrong (%)")


def with_panel(records: Sequence[Record]) -> Any:
    """The evaluations, a row for each run and step."""
    found = findings.with_cases(frames.frame(records, "evaluation"))
    first = noise.in_words(findings.conditions(results(records))[0])
    return found.assign(percent=100 * found["error"], panel=f"{KNOWN}, {first}")


def input_gradient_by_distance(records: Sequence[Record]) -> Figure | None:
    """The gradient of a decision with respect to what is heard, against the time from its frame."""
    return _gradient(records, "inputs", "what is heard", r"$\log_{10} \|\partial d / \partial x\|$")


def state_gradient_by_distance(records: Sequence[Record]) -> Figure | None:
    """The gradient of a decision with respect to the states of the LSTM, over both directions if there are two."""
    return _gradient(records, "states", "the states", r"$\log_{10} \|\partial d / \partial s\|$")


def _gradient(records: Sequence[Record], quantity: str, words: str, label: str) -> Figure | None:
    found = findings.flows(records)
    found = found[found[quantity].map(lambda norms: isinstance(norms, np.ndarray))]
    if found.empty:
        return None
    found = found.assign(panel=found["phase"].map(PHASES))
    figure, panels, lines = drawing.multiples(found, panel="panel", line="case", across=2, size=(3.6, 3.8))
    middle = len(found[quantity].iloc[0]) // 2
    distances = np.arange(-middle, middle + 1) * HOP_MS
    for axes, case, look, seeds in lines:
        drawing.band(axes, distances, frames.log10(frames.stacked(seeds[quantity])), look, case)
    for axes in panels.values():
        axes.axvline(0, color=drawing.GREY, linewidth=0.8, zorder=0)
        axes.set_xticks([distances[0], 0, distances[-1]])
    drawing.legend(figure, "line: median\nshade: range over seeds\ngrey: the labelled frame")
    trained = found[found["phase"] == "trained"]
    told = []
    for case, seeds in trained.groupby("case", sort=False):
        back = [-findings.reach(norms)[0] for norms in seeds[quantity]]
        told.append(f"{frames.span(back, 'z.0f')} with {case}")
    title = (
        f"How many ms before the frame the gradient with respect to {words} is still a tenth of its largest value, "
        f"after training (ranges over seeds): {'; '.join(told)}"
    )
    return drawing.caption(figure, title, "distance from the labelled frame (ms; later frames are positive)", label)


FIGURES: drawing.Figures = (
    frames_wrong,
    error_by_noise,
    contribution_by_noise,
    error_by_delay,
    labelled,
    confusion,
    error_by_step,
    input_gradient_by_distance,
    state_gradient_by_distance,
)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/speech")
