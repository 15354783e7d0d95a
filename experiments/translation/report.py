"""The page of a run of the translation experiment, and its figures, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.common import drawing, frames, page
from experiments.common.frames import percent
from experiments.common.workdir import Record
from experiments.translation import findings
from experiments.translation.dates import FORMATS, HELD_OUT_FORMAT, UNSEEN_LOCALE
from experiments.translation.findings import best, flows, lengths, locales, named, of_dates

SHADE = "line: median\nshade: range over seeds"


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    return page.filled(
        __file__,
        verdict=findings.verdict(records),
        setting=findings.setting(records),
        table=findings.table(records),
        dates=of_dates(records),
        best=best(records),
        locales=findings.locale_table(records),
        searches=findings.search_table(records),
        mistakes=findings.mistakes_table(records),
        padding=f"{frames.frame(records, 'padding')['change'].max():.1e}",
    )


def right_by_length(records: Sequence[Record]) -> Figure:
    """The share of sources translated right against their length, a line for each network."""
    found = lengths(records)
    unit, longest = found["unit"].iloc[0], found[found["trained"].astype(bool)]["length"].max()
    figure, (axes,) = drawing.grid(1, 1, size=(6.2, 3.6))
    looks, markers = drawing.looks_of(found["network"]), drawing.markers_of(found["network"])
    for network, rows in found.groupby("network", sort=False):
        table = rows.pivot_table(index="seed", columns="length", values="percent")
        look = looks[network] | {"marker": markers[network], "markersize": 4}
        drawing.band(axes, table.columns.to_numpy(), table.to_numpy(), look, str(network))
    beyond = "\ngrey: longer than in training" if longest < found["length"].max() else ""
    if beyond:
        axes.axvspan(longest + 0.5, found["length"].max() + 0.5, color="#e8e8e8", linewidth=0, zorder=0)
    axes.set_ylim(0, 103)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    drawing.legend(figure, SHADE + beyond)
    ends = found[found["length"] == longest].groupby("network", sort=False)["right"]
    told = "; ".join(f"{percent(right)} with {network}" for network, right in ends)
    which = "in training" if of_dates(records) else f"that {findings.FEW} or more test words have"
    title = f"Sources translated right at the largest length {which}, {longest} {unit}: {told}"
    return drawing.caption(figure, title, f"length of the source ({unit})", "sources translated right (%)")


def right_by_locale(records: Sequence[Record]) -> Figure | None:
    """A map of the best network's share of dates right by locale and format; those not in training stand apart."""
    found = locales(records)
    if found.empty:
        return None
    mine = found[found["network"] == best(records)]
    means = 100 * mine.pivot_table(index=["asked", "locale"], columns="form", values="right", sort=False)
    seen = mine[mine["asked"] != UNSEEN_LOCALE]
    rows = [*dict.fromkeys(seen["locale"]), *dict.fromkeys(mine[mine["asked"] == UNSEEN_LOCALE]["locale"])]
    columns = [*FORMATS, HELD_OUT_FORMAT]
    values = means.groupby("locale").max().reindex(index=rows, columns=columns)
    figure, (axes,) = drawing.grid(1, 1, size=(7, 0.24 * len(rows) + 1))
    axes.patch.set(hatch="////", edgecolor=drawing.GREY)  # where nothing was tested
    image = axes.imshow(values.to_numpy(), cmap="Greys_r", vmin=0, vmax=100, aspect="auto")
    for row, column in np.argwhere(values.notna().to_numpy()):
        share = values.iloc[row, column]
        colour = "black" if share > 50 else "white"
        axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), [*FORMATS, f"{HELD_OUT_FORMAT}\n(not in training)"])
    axes.set_yticks(
        range(len(rows)), [f"{row} (not in training)" if row not in set(seen["locale"]) else row for row in rows]
    )
    axes.axhline(seen["locale"].nunique() - 0.5, color="black", linewidth=1.2)
    axes.axvline(len(FORMATS) - 0.5, color="black", linewidth=1.2)
    figure.colorbar(image, ax=axes, label="dates translated right (%)")
    known = mine[(mine["form"] != HELD_OUT_FORMAT) & (mine["asked"] != UNSEEN_LOCALE)]
    worst = known.groupby(["locale", "form"])["right"].mean()
    title = (
        f"{best(records)}: in every locale and format of the training data at least {100 * worst.min():.0f} % of "
        "unseen dates are right (means over seeds; hatched: not tested)"
    )
    return drawing.caption(figure, title, "format, as Babel names it", "locale")


def error_by_step(records: Sequence[Record]) -> Figure:
    """The share of validation examples translated wrongly against the training step, a line for each network."""
    found = named(frames.frame(records, "evaluation")).assign(percent=lambda rows: 100 * rows["error"])
    figure, (axes,) = drawing.grid(1, 1, size=(6.2, 3.4))
    looks = drawing.looks_of(found["network"])
    for network, rows in found.groupby("network", sort=False):
        table = rows.pivot_table(index="seed", columns="step", values="percent", dropna=False)
        drawing.band(axes, table.columns.to_numpy(), table.to_numpy(), looks[network] | {"marker": "."}, str(network))
    axes.set_ylim(0, 103)
    drawing.legend(figure, SHADE)
    last = found[found["step"] == found["step"].max()].groupby("network", sort=False)["error"]
    told = "; ".join(f"{percent(error)} with {network}" for network, error in last)
    title = f"Validation examples translated wrongly at the end of training: {told}"
    return drawing.caption(figure, title, "training step", "validation examples wrong (%)")


def gradient_by_distance(records: Sequence[Record]) -> Figure:
    """The gradient of the last symbol by distance from the character read last: a panel for each phase."""
    found = flows(records)
    figure, panels, lines = drawing.multiples(found, panel="when", line="network", across=2, size=(3.4, 3.2))
    for axes, network, look, seeds in lines:
        norms = frames.stacked(seeds["norms"])
        logs = frames.relative_to_first(frames.log10(norms))
        drawing.band(axes, np.arange(logs.shape[1]), logs, look, str(network))
    for axes in panels.values():
        axes.axhline(0, color=drawing.GREY, linewidth=0.8, zorder=0)
    drawing.legend(figure, SHADE)
    x = "characters that are read after character j"
    y = r"$\log_{10}\|\partial d/\partial x_j\|$, relative"
    before = found[found["phase"] == found["phase"].iloc[0]]
    left = before.groupby("network", sort=False)["norms"].agg(lambda norms: np.median(findings.log_left(norms)))
    told = [f"{drawing.power_of_ten(power)} with {network}" for network, power in left.items()]
    last = len(found["norms"].iloc[0]) - 1
    title = (
        f"{before['when'].iloc[0].capitalize()}, the last symbol's gradient at the character after which {last} more "
        f"are read, divided by that at the character read last, is (medians over seeds): {'; '.join(told)}"
    )
    return drawing.caption(figure, title, x, y)


def gradient_by_date(records: Sequence[Record]) -> Figure | None:
    """Maps of the gradient of each written date with respect to each date of the source, a row for each phase."""
    found = flows(records)
    if not of_dates(records) or len(found["parts"].iloc[0]) < 2:
        return None
    networks, phases = list(found["network"].unique()), list(found["when"].unique())
    figure, panels = drawing.grid(len(phases), len(networks), size=(1.9, 2.3))
    for axes, (when, network) in zip(panels, [(w, n) for w in phases for n in networks], strict=True):
        seeds = found[(found["when"] == when) & (found["network"] == network)]
        norms = frames.geometric_mean(seeds["parts"])
        shares = norms / norms.sum(axis=1, keepdims=True)
        _map(axes, 100 * shares)
        drawing.head(axes, f"{network}\n{when}")
    own = found[found["phase"] == "trained"].assign(share=lambda rows: rows["parts"].map(_own_share))
    told = [f"{percent(share)} with {network}" for network, share in own.groupby("network", sort=False)["share"]]
    title = f"The share of a written date's gradient that is at its own date, after training: {'; '.join(told)}"
    return drawing.caption(figure, title, "date of the source", "date of the translation (% of its gradient)")


def _map(axes: Axes, shares: np.ndarray) -> None:
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=100)
    for row, column in np.argwhere(np.isfinite(shares)):
        colour = "white" if shares[row, column] > 50 else "black"
        axes.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", fontsize=8, color=colour)
    places = range(len(shares))
    axes.set_xticks(places, [str(place + 1) for place in places])
    axes.set_yticks(places, [str(place + 1) for place in places])


def _own_share(parts: np.ndarray) -> float:
    """The share of each row's norms that is on the diagonal, as a mean over rows."""
    norms = parts.astype(np.float64)
    return float((np.diag(norms) / norms.sum(axis=1)).mean())


def alignment(records: Sequence[Record]) -> Figure | None:
    """Where each network looks as it translates one source: symbols downwards, characters to the right."""
    found = named(frames.frame(records, "alignment", dtype=np.float64))
    if found.empty:
        return None
    chosen = found[found["source"] == found["source"].iloc[0]]
    characters, symbols = len(chosen["source"].iloc[0]), chosen["weights"].map(len).max()
    figure, panels = drawing.grid(
        len(chosen), 1, size=(max(0.17 * characters, 6), 0.19 * symbols + 0.9), share=(False, False)
    )
    for axes, (_, row) in zip(panels, chosen.iterrows(), strict=True):
        weights, said = row["weights"], [*row["said"].split(" "), "end"]
        axes.imshow(weights, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(characters), list(row["source"]), fontsize=8)
        axes.set_yticks(range(len(weights)), said, fontsize=7)
        drawing.head(axes, str(row["network"]))
    sharp = found.assign(most=found["weights"].map(lambda weights: float(weights.max(axis=1).mean())))
    told = [
        f"{100 * most:.0f} % with {network}"
        for network, most in sharp.groupby("network", sort=False)["most"].mean().items()
    ]
    title = (
        "Dark characters have a large attention weight. The largest weight of a step is, as a mean over steps and "
        f"sources: {'; '.join(told)}"
    )
    return drawing.caption(figure, title, "source, character by character", "translation, symbol by symbol")


FIGURES: drawing.Figures = (
    right_by_length,
    right_by_locale,
    error_by_step,
    alignment,
    gradient_by_distance,
    gradient_by_date,
)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/translation")
