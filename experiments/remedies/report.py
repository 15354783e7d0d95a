"""Figures, table and verdict of the remedies experiment, drawn from its metrics.jsonl alone."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from experiments.common import drawing, frames, page, solving
from experiments.common.workdir import Record

CASE = ["length", "remedy"]
PHASES = frames.PHASES | {"flossed": "after flossing"}
_NORMS = ["norm_before_largest", "norm_after_largest"]
_WORDS = {"none": "no remedy", "penalty": "the penalty"}


def ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows by length, remedy and seed: no remedy first, then what is added to it, clipping last."""
    parts = ("flossing", "penalty", "clipping")
    order = sorted(rows["remedy"].unique(), key=lambda remedy: (*(part in remedy for part in parts), remedy))
    rows = rows.assign(remedy=pd.Categorical(rows["remedy"], order, ordered=True))
    rows["panel"] = rows["remedy"].astype(str).map(_words).str.replace(" + ", " +\n")
    return rows.sort_values([*CASE, "seed"], kind="stable", ignore_index=True)


def training(records: Iterable[Record]) -> pd.DataFrame:
    """The gradient's norms and its clipping, a row for each interval between two evaluations."""
    return ordered(frames.frame(records, "train")).fillna(dict.fromkeys(_NORMS, np.inf))


def networks(records: Sequence[Record]) -> pd.DataFrame:
    """Each run at each phase: its gradient's norms, log10 of what is kept of them, its Lyapunov exponents, its end."""
    exponents = frames.frame(records, "exponents", dtype=np.float64).drop(columns="kind")
    found = frames.frame(records, "state_gradient").merge(exponents)
    found = found.merge(solving.results(records)[[*CASE, "seed", "solved"]])
    found["phase"] = pd.Categorical(found["phase"], ("initialization", "flossed", "trained"), ordered=True)
    found["kept"], found["largest"] = frames.changes(found["norms"]), found["exponents"].str[0].fillna(-np.inf)
    return ordered(found.sort_values("phase"))


def table(records: Sequence[Record]) -> str:
    """How each remedy fared, medians over seeds, as a Markdown table."""
    phases = networks(records).groupby([*CASE, "seed"], observed=True)
    start, end = phases.nth(-2), phases.nth(-1)  # the last phase before training, flossed if it was, and that after it
    rows = (ordered(solving.results(records)), training(records), start, end)
    ends, clipping, before, after = (each.groupby(CASE, observed=True) for each in rows)
    columns = {
        "solved": ends["outcome"].agg(_solved),
        "steps": ends["steps"].agg(solving.steps),
        "wrong after training": ends["error"].median().map("{:.1%}".format),
        "loss / memoryless": ends["relative"].median().map("{:.2f}".format),
        "norm before clipping": clipping["norm_before_largest"].max().map("{:.3g}".format),
        "after clipping": clipping["norm_after_largest"].max().map("{:.3g}".format),
        "steps clipped": clipping["steps_clipped"].mean().map("{:.0%}".format),
        "elements clipped": clipping["elements_clipped"].mean().map("{:.1%}".format),
        "kept over T before training": before["kept"].agg(_kept),
        "after training": after["kept"].agg(_kept),
        "largest exponent before": before["largest"].median().map("{:+.3f}".format),
        "exponent after": after["largest"].median().map("{:+.3f}".format),
    }
    shown = pd.DataFrame(columns).rename_axis(["T", "remedy"]).rename(index=_words, level="remedy")
    return frames.table(shown.reset_index(), {"remedy"})


def successes(records: Sequence[Record]) -> str:
    """How many seeds solve the task: a Markdown table with a row for each remedy and a column for each length."""
    solved = ordered(solving.results(records)).groupby(CASE, observed=True)["outcome"].agg(_solved).unstack("length")
    rows = solved.rename(index=_words, columns="T = {}".format).rename_axis(index="solved with")
    return frames.table(rows.reset_index(), {"solved with"})


def verdict(records: Sequence[Record]) -> str:
    """With which remedies every seed solves the task at all lengths, with which none, and what the penalty adds."""
    solved = ordered(solving.results(records)).groupby(CASE, observed=True)["solved"]
    rates, counts = solved.mean().unstack("length"), solved.agg(solving.count).unstack("length")
    every, none = (rates == 1).all(axis=1), (rates == 0).all(axis=1)
    found = {
        "every seed": rates.index[every].map(_with),
        "some seeds": [f"{_with(remedy)} ({', '.join(row)})" for remedy, row in counts[~every & ~none].iterrows()],
        "no seed": rates.index[none].map(_with),
    }
    parts = "; ".join(f"by {seeds} {', '.join(chosen)}" for seeds, chosen in found.items() if len(chosen))
    task = solving.words(records[0]["task"]).capitalize()
    return f"{task} at T = {', '.join(map(str, rates.columns))} is solved {parts}.{_claim(rates, counts)}"


def _claim(rates: pd.DataFrame, counts: pd.DataFrame) -> str:
    """At which lengths norm clipping works only with the penalty, and at which not; empty unless all were tried."""
    parts = ({"penalty", "norm_clipping"}, {"norm_clipping"}, {"none"})
    chosen = [remedy for each in parts for remedy in rates.index if set(remedy.split("+")) == each]
    if len(chosen) < len(parts):
        return ""
    lacking = [length for length, of_length in rates.loc[chosen].items() if of_length.tolist() == [1, 0, 0]]
    others = [
        f"; at T = {length} {both} solve it with both, {clipping} with clipping alone, {nothing} without a remedy"
        for length, (both, clipping, nothing) in counts.loc[chosen].items()
        if length not in lacking
    ]
    lengths = ", ".join(map(str, lacking))
    where = f"T = {lengths} (all seeds solve it with both, none with clipping alone or without a remedy)"
    return f" That norm clipping works only with the penalty holds at {where if lacking else 'no T'}{''.join(others)}."


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    return page.filled(__file__, verdict=verdict(records), successes=successes(records), table=table(records))


def loss_by_step(records: Sequence[Record]) -> Figure:
    """A row of panels for each length, a panel for each remedy: test loss against training step, chance drawn."""
    ends = ordered(solving.results(records))
    curves = ordered(frames.frame(records, "evaluation"))
    parts = {"rows": "length", "columns": "remedy", "line": "seed"}
    figure, panels = solving.draw_losses(ends, curves, **parts, size=(1.75, 1.9))
    for (length, remedy), of_case in ends.groupby(CASE, observed=True):
        name = f"{of_case['panel'].iloc[0]}\n" if length == ends["length"].min() else ""
        drawing.head(panels[length, remedy], f"{name}T = {length}: solved {_solved(of_case['outcome'])}")
        panels[length, remedy].xaxis.set_major_formatter(EngFormatter(sep=""))
    drawing.legend(next(iter(panels.values())))
    found = verdict(records).replace("; ", ";\n").replace(". That", ".\nThat")
    steps = "training step (one line for each seed; it ends where the task is solved)"
    return drawing.caption(figure, found, steps, "test loss (nats)")


def norms_and_clipping(records: Sequence[Record]) -> Figure:
    """A panel for each remedy at the greatest length: the largest gradient norm of an interval of training steps."""
    rows = solving.longest(training(records), "length")
    figure, panels, lines = drawing.multiples(rows, panel="panel", line="seed")
    for axes, _, _, run in lines:
        before, after = (run[norm] for norm in _NORMS)
        axes.plot(run["step"], before, color=drawing.COLOURS[2], linewidth=1, label="before clipping")
        axes.plot(run["step"], after, "k--", linewidth=1, label="after clipping")
    clipped = rows.groupby("panel")["steps_clipped"].mean()
    for remedy, axes in panels.items():
        drawing.head(axes, f"{remedy}\n{clipped[remedy]:.0%} of steps clipped")
        drawing.plain_ticks(axes)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    drawing.legend(figure, "one line for each seed")
    reached = rows[_NORMS].groupby(rows["remedy"].str.contains("clipping")).max()
    reached = reached.map(lambda norm: np.format_float_positional(norm, 3, fractional=False, trim="-"))
    forms = {False: "{} without clipping", True: "with clipping {} before it and {} after it"}
    parts = [form.format(*reached.loc[clips]) for clips, form in forms.items() if clips in reached.index]
    found = f"At T = {rows['length'].iloc[0]} the largest gradient norm in training is {', '.join(parts)}"
    return drawing.caption(figure, found, "training step", "largest gradient norm between two evaluations")


def gradient_by_lag(records: Sequence[Record]) -> Figure:
    """A panel for each remedy at the greatest length: log10 of ||dL/ds_t|| against lag, before and after training."""
    found = solving.longest(networks(records), "length")
    claim = "the norm of the gradient at the first step, as a multiple of that at the last step, is"
    told = _told(found, claim, "kept", drawing.power_of_ten)
    words = {"heading": "median and range over seeds", "quantity": drawing.NORM}
    return drawing.panels_by_lag(found, told, panel="panel", line="phase", name=PHASES.__getitem__, **words)[0]


def lyapunov_exponents(records: Sequence[Record]) -> Figure:
    """A panel for each remedy at the greatest length: the exponents, largest first, before and after training."""
    found = solving.longest(networks(records), "length")
    floor = min(-4.0, np.floor(found["largest"][found["phase"] == "initialization"].median()) - 1)
    figure, panels, lines = drawing.multiples(found, panel="panel", line="phase")
    for axes in panels.values():
        axes.axhline(0, color=drawing.GREY, linewidth=3, alpha=0.4, zorder=0)
        axes.set_ylim(floor, 0.6)
    for axes, phase, look, rows in lines:
        spectra = np.nan_to_num(frames.stacked(rows["exponents"]), nan=10 * floor)  # -inf, out of sight
        drawing.band(axes, np.arange(1, spectra.shape[1] + 1), spectra, look, PHASES[phase])
    drawing.legend(figure, "median and range over seeds")
    told = _told(found, "the largest exponent is", "largest", "{:+.2f}".format)
    x = f"exponents, largest first (the axis ends at {floor:g})"
    return drawing.caption(figure, told, x, "Lyapunov exponent (per step)")


def _told(found: pd.DataFrame, claim: str, quantity: str, form: Callable[[float], str]) -> str:
    """Medians and ranges over networks at every phase; after training those that solve the task apart from the rest."""
    found = found.sort_values(["phase", "solved"])
    ends = found["solved"].map({True: " where the task is solved", False: " where the task is not solved"})
    words = found["phase"].astype(str).map(PHASES) + ends.where(found["phase"] == "trained", "")
    medians = frames.medians(found[quantity], words, form)
    return f"At T = {found['length'].iloc[0]} {claim} {medians} (medians and ranges over networks)"


def _words(remedy: str) -> str:
    return " + ".join(_WORDS.get(part, part.replace("_", " ")) for part in remedy.split("+"))


def _with(remedy: str) -> str:
    return "without a remedy" if remedy == "none" else f"with {_words(remedy)}"


def _solved(outcomes: pd.Series) -> str:
    diverged = (outcomes == "diverged").sum()
    return solving.count(outcomes == "solved") + (f", {diverged} diverged" if diverged else "")


def _kept(changes: pd.Series) -> str:
    """The range over seeds; what has underflowed in float32 is 0."""
    return frames.span(10.0**changes, ".2g")


FIGURES: drawing.Figures = (loss_by_step, norms_and_clipping, gradient_by_lag, lyapunov_exponents)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/remedies")
