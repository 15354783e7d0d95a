"""The page of a run of the forecasting experiment, and its figures, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record
from experiments.forecasting.findings import (
    GROUP,
    ahead,
    all_hours,
    bands,
    cased,
    compared,
    findings,
    flows,
    gradients,
    scores,
    setting,
    skill_over_reference,
    table,
    tasks,
)
from experiments.forecasting.networks import BIDIRECTIONAL


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    return page.filled(
        __file__,
        findings="\n".join(f"* {each}." for each in findings(records)),
        setting=setting(records),
        table=table(records),
        bands=bands(records),
        all_hours=all_hours(records),
        reference=tasks(records)["reference"].iloc[0],
    )


def skill(records: Sequence[Record]) -> Figure | None:
    """The skill of each model with its interval, by target and horizon; small strokes are seeds."""
    found = skill_over_reference(records)
    if _swept(records) or tasks(records)["fold"].nunique() > 1:
        return None
    cases = list(found["case"].unique())
    groups = list(found.groupby(GROUP, sort=False))
    columns = found["horizon"].nunique()
    figure, panels = drawing.grid(
        len(groups) // columns, columns, size=(2.9, 0.24 * len(cases) + 0.9), share=("all", "all")
    )
    for axes, ((target, horizon), group) in zip(panels, groups, strict=True):
        _intervals(axes, group, cases)
        drawing.head(axes, f"{target}, {ahead(records, horizon)} ahead")
    _limit(panels, found)
    drawing.legend(figure)
    reference = tasks(records)["reference"].iloc[0]
    return drawing.caption(figure, _best(records), f"skill over {reference} (%), 95 % interval", "")


def _intervals(axes: Any, group: pd.DataFrame, cases: list[str]) -> None:
    """Draws a row for each case: its skill with the interval, and its seeds."""
    for place, case in enumerate(cases):
        row = group[group["case"] == case].iloc[0]
        future = case == BIDIRECTIONAL
        look: dict[str, Any] = {"color": drawing.GREY if future else "black"}
        axes.plot([100 * row["low"], 100 * row["high"]], [place] * 2, linewidth=1.2, **look)
        face = {"markerfacecolor": "white"} if future else {}
        label = "sees the future" if future else "skill"
        axes.plot(100 * row["skill"], place, marker="o", markersize=4.5, linestyle="none", label=label, **look, **face)
        if len(row["seeds"]) > 1:
            marks = {"marker": "|", "markersize": 8, "linestyle": "none", "label": "each seed"}
            axes.plot(100 * row["seeds"], [place] * len(row["seeds"]), **look, **marks)
    axes.axvline(0, color=drawing.GREY, linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(cases)), cases, fontsize=8)
    axes.set_ylim(len(cases) - 0.5, -0.5)


def _limit(panels: Sequence[Any], found: pd.DataFrame) -> None:
    """Cuts off at the left what is far worse than the reference, and says so with an arrow."""
    seen = found[["low", "high"]].replace([np.inf, -np.inf], np.nan).dropna()
    low = min(-20.0, 100 * seen["low"].quantile(0.15)) if len(seen) else -20.0
    high = 100 * seen["high"].max() if len(seen) else 20.0
    for axes in panels:
        axes.set_xlim(max(low, -60), high + 3)
        points = {line.get_ydata()[0]: line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"}
        for place, point in points.items():
            if point < axes.get_xlim()[0]:
                for line in axes.lines:
                    line.set_visible(line.get_visible() and list(line.get_ydata()) != [place] * 2)
                position: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center"}
                axes.annotate(f"◂ {point:.0f}", (0.01, place), fontsize=7, **position)


def _best(records: Sequence[Record]) -> str:
    """For a title: the best model of each target and horizon that does not see the future."""
    found = skill_over_reference(records)
    reference = tasks(records)["reference"].iloc[0]
    honest = found[(found["case"] != reference) & (found["case"] != BIDIRECTIONAL)]
    told = []
    for (target, horizon), group in honest.groupby(GROUP, sort=False):
        best = group.loc[group["skill"].idxmax()]
        words = f"{best['case']} {100 * best['skill']:+.0f} % ({target}, {ahead(records, horizon)})"
        told.append(words.replace(" ", "\N{NO-BREAK SPACE}"))
    return f"At each horizon the greatest skill over {reference} is that of {', '.join(told)}"


def skill_by_fold(records: Sequence[Record]) -> Figure | None:
    """A panel for each fold, and one for all together: every model's skill with its interval around 0."""
    rows, about = scores(records), tasks(records)
    if rows["fold"].nunique() < 2:
        return None
    block_days, reference = int(about["block_days"].iloc[0]), about["reference"].iloc[0]
    together = skill_over_reference(records).assign(fold="all folds")
    each = [
        compared(of_fold, reference, block_days).assign(fold=_years(about, fold))
        for fold, of_fold in rows.groupby("fold")
    ]
    found = pd.concat([*each, together], ignore_index=True)
    cases = [case for case in found["case"].unique() if case not in (reference, "persistence")]
    found = found[found["case"].isin(cases)]
    figure, panels = drawing.panels(
        found["fold"].nunique(), across=4, size=(2.3, 0.24 * len(cases) + 0.9), share=("all", "all")
    )
    for axes, (fold, group) in zip(panels, found.groupby("fold", sort=False), strict=True):
        _intervals(axes, group, cases)
        drawing.head(axes, str(fold))
    pooled = found[found["fold"] == "all folds"]
    beat, behind = pooled[pooled["low"] > 0]["case"], pooled[pooled["high"] < 0]["case"]
    best = pooled.loc[pooled["skill"].idxmax()]
    title = (
        f"Over all folds {', '.join(beat) if len(beat) else 'no model'} beats the {reference} with the whole interval "
        f"above 0; the best, {best['case']}, has a skill of {100 * best['skill']:+.2f} % ({100 * best['low']:+.2f} to "
        f"{100 * best['high']:+.2f}); {len(behind)} of {len(pooled)} models are worse than the {reference}"
    )
    drawing.legend(figure)
    return drawing.caption(
        figure, title, f"skill over the {reference} (%), 95 % interval; persistence is far below", ""
    )


def _years(about: pd.DataFrame, fold: int) -> str:
    row = about[about["fold"] == fold].iloc[0]
    return f"{row['from'][:7]} to {row['to'][:7]}"


def week(records: Sequence[Record]) -> Figure | None:
    """A week of tests: the truth, the best network's forecasts with their bands, and the reference's."""
    drawn = frames.frame(records, "week", dtype=np.float64)
    found = skill_over_reference(records)
    networks = {record["model"] for record in records if record["kind"] == "network"} - {BIDIRECTIONAL}
    if not networks or _swept(records) or drawn.empty:
        return None
    reference = tasks(records)["reference"].iloc[0]
    horizons = sorted(found["horizon"].unique())
    horizons = [horizons[0], horizons[-1]] if len(horizons) > 1 else horizons
    targets = list(found["target"].unique())
    figure, panels = drawing.grid(len(targets) * len(horizons), 1, size=(8.5, 1.9), share=(False, False))
    places = [(target, horizon) for target in targets for horizon in horizons]
    for axes, (target, horizon) in zip(panels, places, strict=True):
        there = found[(found["target"] == target) & (found["horizon"] == horizon) & found["case"].isin(networks)]
        best = there.loc[there["skill"].idxmax(), "case"]
        rows = drawn[(drawn["target"] == target) & (drawn["horizon"] == horizon)].set_index("model")
        own, beside = rows.loc[best], rows.loc[reference]
        x = np.arange(len(own["truth"]))
        axes.fill_between(
            x, own["low"], own["high"], color=drawing.COLOURS[3], alpha=0.35, linewidth=0, label="band, 80 %"
        )
        axes.plot(x, own["truth"], color="black", linewidth=1.4, label="truth")
        axes.plot(x, own["forecast"], color=drawing.COLOURS[1], linewidth=1.2, linestyle="--", label="network")
        axes.plot(x, beside["forecast"], color=drawing.COLOURS[2], linewidth=1.0, linestyle=":", label=reference)
        held = np.mean((own["truth"] >= own["low"]) & (own["truth"] <= own["high"]))
        drawing.head(
            axes,
            f"{target} ({_unit(records, target)}), {ahead(records, horizon)} ahead: {best}; "
            f"its band holds in {100 * held:.0f} % of these steps",
        )
        axes.set_xlim(0, len(x) - 1)
    step = tasks(records)["step"].iloc[0]
    drawing.legend(figure)
    title = (
        f"Forecasts of the best network for {len(x)} steps of the test part, from {drawn.iloc[0]['from'][:10]} on, "
        "with their bands"
    )
    return drawing.caption(figure, title, f"step of the test part ({step})", "")


def _unit(records: Sequence[Record], target: str) -> str:
    return next(str(each["unit"]) for each in records if each["kind"] == "scores" and each["target"] == target)


def residuals(records: Sequence[Record]) -> Figure | None:
    """Errors of forecasts one step ahead, for each target: their mean by hour of day, and correlations by lag."""
    found = frames.frame(records, "residuals", dtype=np.float64)
    if found.empty or _swept(records) or tasks(records)["step"].iloc[0] != "h":
        return None
    found = cased(found)
    shown = [case for case in ("smart persistence", "arx", "tdnn", "narx", "gru") if case in set(found["case"])]
    found = found[found["case"].isin(shown)]
    targets, looks = list(found["target"].unique()), drawing.looks_of(shown)
    figure, panels = drawing.grid(2, len(targets), size=(3.8, 2.6), share=("row", False))
    for place, target in enumerate(targets):
        by_hour, by_lag = panels[place], panels[len(targets) + place]
        for case, rows in found[found["target"] == target].groupby("case", sort=False):
            drawing.band(by_hour, np.arange(24), frames.stacked(rows["by_hour"]), looks[case], str(case))
            correlations = frames.stacked(rows["autocorrelation"])
            drawing.band(by_lag, np.arange(1, correlations.shape[1]), correlations[:, 1:], looks[case], str(case))
        for axes in (by_hour, by_lag):
            axes.axhline(0, color=drawing.GREY, linewidth=0.8, zorder=0)
        drawing.head(by_hour, f"{target}: mean error by hour ({_unit(records, target)})")
        drawing.head(by_lag, f"{target}: correlation of errors by lag (h)")
    drawing.legend(figure, "shade: range over seeds")
    at_one = [
        f"{case} {frames.span([curve[1] for curve in rows['autocorrelation']], '+.2f')}"
        for case, rows in found.groupby("case", sort=False)
    ]
    title = f"Errors that are one hour apart correlate by {', '.join(at_one)} (ranges over seeds and targets)"
    return drawing.caption(figure, title)


def gradient_by_lag(records: Sequence[Record]) -> Figure | None:
    """What is left of a forecast's gradient by lag: a panel for each target, phase and states or inputs."""
    states, inputs = flows(records), flows(records, "inputs")
    if states.empty or _swept(records):
        return None
    states = states.assign(panel=lambda rows: rows["target"] + ": states, " + rows["words"])
    inputs = inputs[inputs["phase"] == "trained"].assign(panel=lambda rows: rows["target"] + ": inputs, after training")
    found = pd.concat([states[states["phase"] != "trained"], states[states["phase"] == "trained"], inputs])
    found = pd.concat([found[found["target"] == target] for target in sorted(states["target"].unique())])
    found = found[~found["model"].str.contains(":")].reset_index(drop=True)
    title = gradients(records) or f"After training, {frames.leaders(states[states['phase'] == 'trained'], 'case')}"
    figure, _ = drawing.panels_by_lag(found, title, panel="panel", line="case", across=3, size=(2.8, 2.8))
    return drawing.caption(figure, title, drawing.TENTH, r"$\log_{10}$ of the gradient's norm, relative to lag 0")


def gradient_by_taps(records: Sequence[Record]) -> Figure | None:
    """The gradient of NARX networks after training, by lag, a line for each K, at the fewest inputs L."""
    found = flows(records)
    if found.empty or not _swept(records):
        return None
    fewest = found["input_taps"].min()
    found = found[(found["phase"] == "trained") & (found["input_taps"] == fewest)]
    lags = [
        f"{frames.lags(rows['tenth_lag'])} with K = {taps}" for taps, rows in found.groupby("output_taps", sort=True)
    ]
    title = (
        "After training, a tenth of the gradient with respect to the states is left at lag "
        f"{', '.join(lags)} (closed loop, L = {fewest})"
    )
    figure, _ = drawing.panels_by_lag(
        found.sort_values("output_taps", kind="stable"),
        title,
        panel="target",
        line="output_taps",
        name=lambda taps: f"K = {taps}",
        across=2,
        size=(3.6, 3.0),
    )
    return figure


def taps(records: Sequence[Record]) -> Figure | None:
    """A map for each target and horizon: RMSE of NARX networks by K past outputs and L inputs."""
    if not _swept(records):
        return None
    rows = scores(records)
    found = skill_over_reference(records)
    pairs = rows[rows["output_taps"] > 0].drop_duplicates("case").set_index("case")[["output_taps", "input_taps"]]
    found = found.join(pairs, on="case", how="inner")
    groups = list(found.groupby(GROUP, sort=False))
    columns = found["horizon"].nunique()
    figure, panels = drawing.grid(len(groups) // columns, columns, size=(3.0, 2.7), share=(False, False))
    told = []
    for axes, ((target, horizon), group) in zip(panels, groups, strict=True):
        values = 100 * group.pivot_table(index="output_taps", columns="input_taps", values="skill")
        axes.imshow(values, cmap="Greys", aspect="auto", origin="lower")
        middle = (values.to_numpy().min() + values.to_numpy().max()) / 2
        for (row, column), value in np.ndenumerate(values.to_numpy()):
            colour = "white" if value > middle else "black"
            axes.text(column, row, f"{value:+.1f}", ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(len(values.columns)), values.columns)
        axes.set_yticks(range(len(values.index)), values.index)
        drawing.head(axes, f"{target}, {ahead(records, horizon)} ahead")
        best = group.loc[group["skill"].idxmax()]
        told.append(f"{target} {ahead(records, horizon)}: K={best['output_taps']}, L={best['input_taps']}")
    reference = tasks(records)["reference"].iloc[0]
    title = f"Skill over {reference} in the test part is greatest at {'; '.join(told)} (%, mean over seeds)"
    return drawing.caption(figure, title, "number L of past input steps", "number K of past outputs")


def _swept(records: Sequence[Record]) -> bool:
    """Whether there are networks with several numbers of taps."""
    return len({(each["output_taps"], each["input_taps"]) for each in records if each["output_taps"]}) > 1


FIGURES: drawing.Figures = (skill, skill_by_fold, week, residuals, gradient_by_lag, taps, gradient_by_taps)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/forecasting")
