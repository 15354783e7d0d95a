"""Figures, tables and verdict of the forecasting experiment, drawn from its metrics.jsonl alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record
from experiments.forecasting.baselines import BASELINES
from experiments.forecasting.networks import BIDIRECTIONAL, NARX, TDNN
from experiments.forecasting.skill import skills

GROUP = ["target", "horizon"]

ORDER = (*BASELINES, TDNN, NARX, f"{NARX}:own", f"{NARX}:errors", "elman", "lstm", "gru")
"""In which models are told, others after them, and what sees the future last."""

REGRESSION = "arx"

RECURRENT = ("elman", "lstm", "gru")
"""Beside which the lecture sets NARX networks."""


def tasks(records: Sequence[Record]) -> pd.DataFrame:
    """What was forecast: a row for each target and fold."""
    return frames.frame(records, "task").drop_duplicates(["target", "fold"])


def scores(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each run and horizon, with arrays by day; ``case`` is the model, with its taps where these vary."""
    return cased(frames.frame(records, "scores", dtype=np.float64))


def cased(rows: pd.DataFrame) -> pd.DataFrame:
    """With the column ``case``, in their order."""
    place = {name: number for number, name in enumerate(ORDER)} | {BIDIRECTIONAL: len(ORDER) + 1}
    rows = rows.assign(place=rows["model"].map(lambda name: place.get(name, len(ORDER))))
    rows = rows.sort_values(["place", "model", "output_taps", "input_taps"], kind="stable").drop(columns="place")
    pairs = rows[rows["output_taps"] > 0][["output_taps", "input_taps"]].drop_duplicates()
    taps = " (" + rows["output_taps"].astype(str) + ", " + rows["input_taps"].astype(str) + ")"
    several = (rows["output_taps"] > 0) & (len(pairs) > 1)
    return rows.assign(case=rows["model"].where(~several, rows["model"] + taps))


def compared(rows: pd.DataFrame, reference: str, block_days: int) -> pd.DataFrame:
    """Of the rows of ``scores``, for each target, horizon and case the errors, and the skill over a case with interval.

    Folds follow on one another. Squares are means over seeds; of each seed alone there is the skill, too.
    """
    found = []
    for (target, horizon), group in rows.groupby(GROUP, sort=False):
        days = {case: _days(of_case) for case, of_case in group.groupby("case", sort=False)}
        if reference not in days:
            continue
        squares = np.stack([each["squared"].mean(axis=0) for each in days.values()], axis=1)
        over = days[reference]["squared"].mean(axis=0)
        skill = skills(squares, over, block_days)
        for place, (case, each) in enumerate(days.items()):
            count = each["count"][0].sum()
            found.append(
                {
                    "target": target,
                    "horizon": horizon,
                    "case": case,
                    "rmse": np.sqrt(squares[:, place].sum() / count),
                    "mae": each["absolute"].mean(axis=0).sum() / count,
                    "skill": skill.skill[place],
                    "low": skill.low[place],
                    "high": skill.high[place],
                    "seeds": 1 - np.sqrt(each["squared"].sum(axis=1) / over.sum()),
                }
            )
    return pd.DataFrame(found)


def _days(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Each (seeds, days), the folds one after the other."""
    ordered = [of_seed.sort_values("fold") for _, of_seed in rows.groupby("seed")]
    return {
        name: np.stack([np.concatenate(list(of_seed[name])) for of_seed in ordered])
        for name in ("squared", "absolute", "count")
    }


def skill_over_reference(records: Sequence[Record]) -> pd.DataFrame:
    """``compared`` of all models."""
    about = tasks(records).iloc[0]
    return compared(scores(records), about["reference"], int(about["block_days"]))


# Tables and verdict


def table(records: Sequence[Record]) -> str:
    """Errors and skill by target, horizon and model, as a Markdown table."""
    found = skill_over_reference(records)
    reference = tasks(records)["reference"].iloc[0]
    units = frames.frame(records, "scores").drop_duplicates("target").set_index("target")["unit"]
    rows = [
        {
            "target": row.target,
            "ahead": ahead(records, row.horizon),
            "model": row.case,
            "MAE": f"{row.mae:.3g} {units[row.target]}",
            "RMSE": f"{row.rmse:.3g} {units[row.target]}",
            "skill": f"{100 * row.skill:+.1f} %" if row.case != reference else "",
            "95 % interval": _interval(row) if row.case != reference else "",
            "seeds": frames.span(100 * row.seeds, "+.1f") if len(row.seeds) > 1 else "",
        }
        for row in found.itertuples()
    ]
    return frames.table(rows, {"target", "ahead", "model", "seeds"})


def ahead(records: Sequence[Record], horizon: int) -> str:
    """A horizon in words."""
    return f"{horizon} {tasks(records)['step'].iloc[0]}"


def _interval(row: Any) -> str:
    return f"{100 * row.low:+.1f} to {100 * row.high:+.1f} %"


def setting(records: Sequence[Record]) -> str:
    """What was read, and how much of it was tested."""
    about = tasks(records)
    first = about.iloc[0]
    folds = f"{len(about['fold'].unique())} folds, " if len(about["fold"].unique()) > 1 else ""
    tested = about[about["target"] == first["target"]]["tested"].sum()
    days = about[about["target"] == first["target"]]["days"].sum()
    seeds = frames.frame(records, "network")["seed"].nunique() if _has_networks(records) else 0
    return (
        f"{', '.join(about['name'].unique())}: {folds}{tested:,} origins on {days} days to test on, "
        f"{first['segments']} segments, {seeds} seeds of each network; skill is over {first['reference']}, intervals "
        f"by blocks of {first['block_days']} days on average."
    )


def _has_networks(records: Sequence[Record]) -> bool:
    return any(record["kind"] == "network" for record in records)


def verdict(records: Sequence[Record]) -> str:
    """All findings in a row."""
    return ". ".join(findings(records)) + "."


def findings(records: Sequence[Record]) -> list[str]:
    """Who is best at each horizon, whether the reference is beaten, and what becomes of the lectures' claims."""
    found = skill_over_reference(records)
    reference = tasks(records)["reference"].iloc[0]
    told = []
    for (target, horizon), group in found.groupby(GROUP, sort=False):
        honest = group[(group["case"] != reference) & (group["case"] != BIDIRECTIONAL)]
        best = honest.loc[honest["skill"].idxmax()]
        beat = int((honest["low"] > 0).sum())
        told.append(
            f"{target}, {ahead(records, horizon)} ahead: best {best['case']}, {100 * best['skill']:+.1f} % "
            f"({_interval(best)}) over {reference}; "
            + (
                f"{beat} of {len(honest)} beat it with all of the interval"
                if beat
                else f"nothing beats the {reference}"
            )
        )
    claims = beside_regression(records), structure_of_choice(records), gradients(records)
    return [*told, *(claim for claim in claims if claim)]


def beside_regression(records: Sequence[Record]) -> str:
    """Whether any network is better than a linear regression on the same inputs."""
    rows = scores(records)
    networks = {record["model"] for record in records if record["kind"] == "network"} - {BIDIRECTIONAL}
    if REGRESSION not in set(rows["case"]) or not networks:
        return ""
    found = compared(rows, REGRESSION, int(tasks(records)["block_days"].iloc[0]))
    found = found[found["case"].isin(networks)]
    better, worse = found[found["low"] > 0], found[found["high"] < 0]
    named = ", ".join(f"{row.case} for {row.target} {ahead(records, row.horizon)}" for row in better.itertuples())
    return (
        f"Over {REGRESSION}, a linear regression on the same inputs, networks are better in {len(better)} of "
        f"{len(found)} comparisons{f' ({named})' if named else ''}, worse in {len(worse)}"
    )


def structure_of_choice(records: Sequence[Record]) -> str:
    """Whether NARX networks are the structure of choice, as the lectures have it."""
    rows = scores(records)
    others = [name for name in (REGRESSION, TDNN, *RECURRENT) if name in set(rows["case"])]
    if NARX not in set(rows["case"]) or not others:
        return ""
    block_days = int(tasks(records)["block_days"].iloc[0])
    counts = {"better": 0, "worse": 0, "undecided": 0}
    for other in others:
        over = compared(rows[rows["case"].isin([NARX, other])], other, block_days)
        for row in over[over["case"] == NARX].itertuples():
            counts["better" if row.low > 0 else "worse" if row.high < 0 else "undecided"] += 1
    total = sum(counts.values())
    refuted = counts["worse"] and not counts["better"]
    shown = "confirmed" if counts["better"] == total else "refuted" if refuted else "not confirmed"
    return (
        f"That NARX networks are the structure of choice is {shown}: beside {', '.join(others)} at each horizon narx "
        f"is better in {counts['better']} of {total} comparisons, worse in {counts['worse']}, and in "
        f"{counts['undecided']} the interval has 0 in it"
    )


def flows(records: Sequence[Record], norms: str = "norms") -> pd.DataFrame:
    """Norms by step of gradients with respect to states, or to ``inputs``, with their decay."""
    found = frames.flows(records, norms=norms)
    return found if found.empty else cased(found).assign(words=lambda rows: rows["phase"].map(frames.PHASES))


def gradients(records: Sequence[Record]) -> str:
    """Whether NARX networks are less susceptible to vanishing gradients than recurrent ones."""
    found = flows(records)
    if found.empty or NARX not in set(found["model"]) or not set(RECURRENT) & set(found["model"]):
        return ""
    trained = found[found["phase"] == "trained"]
    reaches = {name: trained[trained["model"] == name]["reach"] for name in RECURRENT if name in set(trained["model"])}
    of_narx = trained[trained["case"] == trained[trained["model"] == NARX]["case"].iloc[-1]]["reach"]
    longer = [name for name, reach in reaches.items() if of_narx.min() > reach.max()]
    shorter = [name for name, reach in reaches.items() if of_narx.max() < reach.min()]
    shown = (
        "confirmed"
        if len(longer) == len(reaches)
        else "refuted"
        if len(shorter) == len(reaches)
        else f"confirmed beside {', '.join(longer)} alone"
        if longer
        else "not confirmed"
    )
    told_of = trained[trained["model"].isin([NARX, *RECURRENT])]
    told = [f"{case} {frames.lags(rows['tenth_lag'])}" for case, rows in told_of.groupby("case", sort=False)]
    steps, taps = len(trained["norms"].iloc[0]), trained["output_taps"].max()
    return (
        f"That NARX networks are less susceptible to vanishing gradients is {shown}: after training a tenth of the "
        f"states' gradient of a forecast one step ahead is left, within {steps} steps, at lag {', '.join(told)} (all "
        f"seeds and targets; NARX of {taps} past outputs in closed loop); {frames.leaders(told_of, 'case')}"
    )


def bands(records: Sequence[Record]) -> str:
    """How often bands made by the validation part hold, of the networks."""
    found = scores(records)
    rows = [
        f"{target}, {ahead(records, horizon)}: {frames.span(100 * group['held'], '.0f')} %"
        for (target, horizon), group in found.groupby(GROUP, sort=False)
    ]
    return "; ".join(rows)


def all_hours(records: Sequence[Record]) -> str:
    """RMSE over all hours, the night included, of the best at each horizon, since others tell that."""
    rows = scores(records)
    rows = rows[rows["case"] != BIDIRECTIONAL]
    told = []
    for (target, horizon), group in rows.groupby(GROUP, sort=False):
        means = group.groupby("case", sort=False)["rmse_of_all"].mean().dropna()
        if means.empty:
            continue  # of networks that diverged
        told.append(
            f"{target}, {ahead(records, horizon)}: {means.min():.3g} {group['unit'].iloc[0]} ({means.idxmin()})"
        )
    return "; ".join(told)


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


# Figures


def skill(records: Sequence[Record]) -> Figure | None:
    """By target and horizon, the skill of each model with its interval; small strokes are seeds."""
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
    """A row for each case: its skill with the interval, and seeds."""
    for place, case in enumerate(cases):
        row = group[group["case"] == case].iloc[0]
        future = case == BIDIRECTIONAL
        look: dict[str, Any] = {"color": drawing.GREY if future else "black"}
        axes.plot([100 * row["low"], 100 * row["high"]], [place] * 2, linewidth=1.2, **look)
        face = {"markerfacecolor": "white"} if future else {}
        label = "sees the future" if future else "skill"
        axes.plot(100 * row["skill"], place, marker="o", markersize=4.5, linestyle="none", label=label, **look, **face)
        if len(row["seeds"]) > 1:
            marks = {"marker": "|", "markersize": 8, "linestyle": "none", "label": "a seed"}
            axes.plot(100 * row["seeds"], [place] * len(row["seeds"]), **look, **marks)
    axes.axvline(0, color=drawing.GREY, linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(cases)), cases, fontsize=8)
    axes.set_ylim(len(cases) - 0.5, -0.5)


def _limit(panels: Sequence[Any], found: pd.DataFrame) -> None:
    """What is far worse than the reference is cut off at the left, told by an arrow."""
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
    """For a title: of each target and horizon the best that does not see the future."""
    found = skill_over_reference(records)
    reference = tasks(records)["reference"].iloc[0]
    honest = found[(found["case"] != reference) & (found["case"] != BIDIRECTIONAL)]
    told = []
    for (target, horizon), group in honest.groupby(GROUP, sort=False):
        best = group.loc[group["skill"].idxmax()]
        words = f"{target} {ahead(records, horizon)} {best['case']} {100 * best['skill']:+.0f} %"
        told.append(words.replace(" ", "\N{NO-BREAK SPACE}"))
    return f"Best over {reference} at each horizon: {', '.join(told)}"


def skill_by_fold(records: Sequence[Record]) -> Figure | None:
    """A panel for each fold: every model's skill with its interval around 0; and all folds together."""
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
        f"Over all folds {', '.join(beat) if len(beat) else 'no model'} beats the {reference} with all of its "
        f"interval; the best, {best['case']}, is at {100 * best['skill']:+.2f} % ({100 * best['low']:+.2f} to "
        f"{100 * best['high']:+.2f}); {len(behind)} of {len(pooled)} are worse than it"
    )
    drawing.legend(figure)
    return drawing.caption(
        figure, title, f"skill over the {reference} (%), 95 % interval; persistence is far below", ""
    )


def _years(about: pd.DataFrame, fold: int) -> str:
    row = about[about["fold"] == fold].iloc[0]
    return f"{row['from'][:7]} to {row['to'][:7]}"


def week(records: Sequence[Record]) -> Figure | None:
    """A week of tests: truth, the best network's forecasts with their bands, the reference's."""
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
            f"its band holds {100 * held:.0f} % here",
        )
        axes.set_xlim(0, len(x) - 1)
    step = tasks(records)["step"].iloc[0]
    drawing.legend(figure)
    title = f"{len(x)} steps of tests from {drawn.iloc[0]['from'][:10]} on: truth, forecasts and bands"
    return drawing.caption(figure, title, f"step of the test part ({step})", "")


def _unit(records: Sequence[Record], target: str) -> str:
    return next(str(each["unit"]) for each in records if each["kind"] == "scores" and each["target"] == target)


def residuals(records: Sequence[Record]) -> Figure | None:
    """Of forecasts one step ahead, for each target: the mean error by hour of day, and correlations by lag."""
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
    return drawing.caption(figure, f"Correlation of errors one hour apart, all targets: {', '.join(at_one)}")


def gradient_by_lag(records: Sequence[Record]) -> Figure | None:
    """What is left of a forecast's gradient, the further back: panels by target, phase, states or inputs; networks."""
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
    """The same of NARX networks after training, a line for each K, at the fewest inputs L."""
    found = flows(records)
    if found.empty or not _swept(records):
        return None
    fewest = found["input_taps"].min()
    found = found[(found["phase"] == "trained") & (found["input_taps"] == fewest)]
    lags = [
        f"{frames.lags(rows['tenth_lag'])} with K = {taps}" for taps, rows in found.groupby("output_taps", sort=True)
    ]
    title = (
        f"L = {fewest}, closed loop, after training: a tenth of the states' gradient is left at lag {', '.join(lags)}"
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
    title = f"Most skill over {reference} in the test part (%, means over seeds, darker is more) at {'; '.join(told)}"
    return drawing.caption(figure, title, "L, steps of the inputs", "K, past outputs")


def _swept(records: Sequence[Record]) -> bool:
    """Whether there are networks with several numbers of taps."""
    return len({(each["output_taps"], each["input_taps"]) for each in records if each["output_taps"]}) > 1


FIGURES: drawing.Figures = (skill, skill_by_fold, week, residuals, gradient_by_lag, taps, gradient_by_taps)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/forecasting")
