"""Tables, sentences and verdict of the forecasting experiment, from its metrics.jsonl alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.common import frames
from experiments.common.workdir import Record
from experiments.forecasting.baselines import BASELINES
from experiments.forecasting.networks import BIDIRECTIONAL, NARX, TDNN
from experiments.forecasting.skill import skills

GROUP = ["target", "horizon"]

ORDER = (*BASELINES, TDNN, NARX, f"{NARX}:own", f"{NARX}:errors", "elman", "lstm", "gru")
"""The order in which models are named; others come after them, and the one that sees the future last."""

REGRESSION = "arx"

RECURRENT = ("elman", "lstm", "gru")
"""The networks that the lecture compares NARX networks with."""


def tasks(records: Sequence[Record]) -> pd.DataFrame:
    """What was forecast: a row for each target and fold."""
    return frames.frame(records, "task").drop_duplicates(["target", "fold"])


def scores(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each run and horizon, with arrays by day; ``case`` is the model, with its taps where these vary."""
    return cased(frames.frame(records, "scores", dtype=np.float64))


def cased(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the column ``case``, in the order of cases."""
    place = {name: number for number, name in enumerate(ORDER)} | {BIDIRECTIONAL: len(ORDER) + 1}
    rows = rows.assign(place=rows["model"].map(lambda name: place.get(name, len(ORDER))))
    rows = rows.sort_values(["place", "model", "output_taps", "input_taps"], kind="stable").drop(columns="place")
    pairs = rows[rows["output_taps"] > 0][["output_taps", "input_taps"]].drop_duplicates()
    taps = " (" + rows["output_taps"].astype(str) + ", " + rows["input_taps"].astype(str) + ")"
    several = (rows["output_taps"] > 0) & (len(pairs) > 1)
    return rows.assign(case=rows["model"].where(~several, rows["model"] + taps))


def compared(rows: pd.DataFrame, reference: str, block_days: int) -> pd.DataFrame:
    """The errors for each target, horizon and case of ``scores``, and the skill over one case with its interval.

    Folds follow on one another. Squares are means over seeds; the skill of each seed alone is given, too.
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
    """Arrays (seeds, days), the folds one after the other."""
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
    segments = f"{first['segments']:,} segment{'' if first['segments'] == 1 else 's'} without a gap"
    return (
        f"{', '.join(about['name'].unique())}: {folds}{tested:,} forecast origins on {days:,} days to test on, "
        f"{segments}, {seeds} seed{'' if seeds == 1 else 's'} of each network. Skill is measured against "
        f"{first['reference']}; intervals come from blocks of {first['block_days']} days on average."
    )


def _has_networks(records: Sequence[Record]) -> bool:
    return any(record["kind"] == "network" for record in records)


def verdict(records: Sequence[Record]) -> str:
    """All findings, one after the other."""
    return ". ".join(findings(records)) + "."


def findings(records: Sequence[Record]) -> list[str]:
    """Who is best at each horizon, whether the reference is beaten, and whether the lectures' claims hold."""
    found = skill_over_reference(records)
    reference = tasks(records)["reference"].iloc[0]
    told = []
    for (target, horizon), group in found.groupby(GROUP, sort=False):
        honest = group[(group["case"] != reference) & (group["case"] != BIDIRECTIONAL)]
        best = honest.loc[honest["skill"].idxmax()]
        beat = int((honest["low"] > 0).sum())
        told.append(
            f"{target}, {ahead(records, horizon)} ahead: {best['case']} is best, with a skill of "
            f"{100 * best['skill']:+.1f} % ({_interval(best)}) over {reference}; "
            + (
                f"{beat} of {len(honest)} models beat it with the whole interval above 0"
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
        f"Networks are better than {REGRESSION}, a linear regression on the same inputs, in {len(better)} of "
        f"{len(found)} comparisons{f' ({named})' if named else ''} and worse in {len(worse)}"
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
        f"That NARX networks are the structure of choice is {shown}: compared with {', '.join(others)} at each "
        f"horizon, narx is better in {counts['better']} of {total} comparisons and worse in {counts['worse']}; in "
        f"{counts['undecided']} the interval includes 0"
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
        else f"confirmed only in comparison with {', '.join(longer)}"
        if longer
        else "not confirmed"
    )
    told_of = trained[trained["model"].isin([NARX, *RECURRENT])]
    told = [f"{case} {frames.lags(rows['tenth_lag'])}" for case, rows in told_of.groupby("case", sort=False)]
    steps, taps = len(trained["norms"].iloc[0]), trained["output_taps"].max()
    return (
        f"That NARX networks are less susceptible to vanishing gradients is {shown}: after training, a tenth of the "
        f"gradient of a forecast one step ahead with respect to the states is left at lag {', '.join(told)} (ranges "
        f"over seeds and targets, {steps} steps; NARX with {taps} past outputs in closed loop); "
        f"{frames.leaders(told_of, 'case')}"
    )


def bands(records: Sequence[Record]) -> str:
    """How often the bands that were chosen on the validation part hold."""
    found = scores(records)
    rows = [
        f"{target}, {ahead(records, horizon)}: {frames.span(100 * group['held'], '.0f')} %"
        for (target, horizon), group in found.groupby(GROUP, sort=False)
    ]
    return "; ".join(rows)


def all_hours(records: Sequence[Record]) -> str:
    """The RMSE over all hours, the night included, of the best at each horizon, since others report that."""
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
