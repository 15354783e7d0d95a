"""Figures, tables and verdict of the feedback experiment, drawn from its metrics.jsonl alone."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing, frames, page
from experiments.common.workdir import Record
from experiments.feedback.feeding import PROFESSOR, TEACHER, WATCHED, regime_named

WAY_LEFT = 0.1
"""A network has learned once so much is left of the way from the first loss to that of teacher forcing at the end."""

TOLD_ORDER = 3
"""Of n-grams, in tables and sentences."""

WORDS = {"inverse_sigmoid": "inverse sigmoid", TEACHER: "teacher forcing", PROFESSOR: "professor forcing"}
NAMES = {TEACHER: "teacher forcing", PROFESSOR: "professor forcing", WATCHED: "judge without a say"}


# Regimes in words


def told(regime: str) -> str:
    """A regime in a line."""
    if regime in NAMES:
        return NAMES[regime]
    found = regime_named(regime)
    feedback = regime.split(":")[0]
    if found.schedule == "never":
        return f"{feedback} at every step"
    return f"{feedback}, {WORDS.get(found.schedule, found.schedule)}, a coin a {found.coin}"


def panel_of(regime: str) -> str:
    """In which panel of a figure it is; teacher forcing is in all of them."""
    found = regime_named(regime)
    if regime in NAMES:
        return "A judge"
    if found.schedule == "never":
        return "Never the truth"
    if found.program == "sampled":
        return f"Sampled, a coin a {found.coin}"
    return f"Others, {WORDS.get(found.schedule, found.schedule)}"


def line_of(regime: str) -> str:
    """What it is called there."""
    if regime in NAMES:
        return NAMES[regime]
    found = regime_named(regime)
    if found.program == "sampled" and found.schedule != "never":
        return WORDS.get(found.schedule, found.schedule)
    return found.program


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of regimes as tables and figures have them: teacher forcing, then panel by panel."""
    places = {regime: (regime != TEACHER, _place(panel_of(regime))) for regime in rows["regime"].unique()}
    return rows.sort_values("regime", key=lambda regimes: regimes.map(places), kind="stable")


def _place(panel: str) -> int:
    heads = ("Sampled, a coin a token", "Sampled, a coin a sequence", "Others", "Never", "A judge")
    return next(place for place, head in enumerate(heads) if panel.startswith(head))


def with_teacher(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of regimes with their panel and line, those of teacher forcing in every panel, first."""
    rows = in_order(rows)
    rows = rows.assign(panel=rows["regime"].map(panel_of), line=rows["regime"].map(line_of))
    teacher = rows[rows["regime"] == TEACHER]
    others = rows[rows["regime"] != TEACHER]
    panels = list(others["panel"].unique()) or ["Teacher forcing"]
    copies = [teacher.assign(panel=panel) for panel in panels]
    return pd.concat([*copies, others], ignore_index=True)


# Frames


def results(records: Sequence[Record]) -> pd.DataFrame:
    """How each run ended: a row each, with everything that a table tells."""
    evaluations = frames.frame(records, "evaluation", dtype=np.float64)
    ends = evaluations.groupby("run", sort=False).last()
    first = evaluations.groupby("run", sort=False)["loss"].first()
    trained = frames.frame(records, "train", dtype=np.float64).groupby("run", sort=False)
    ends = ends.join(trained["loss"].last().rename("as_trained"))
    ends = ends.join(trained["norm"].mean()).join(trained["largest_norm"].max())
    about = frames.frame(records, "network", dtype=np.float64).set_index("run").drop(columns=["kind", "regime", "seed"])
    ends = ends.join(about)
    level = _level(ends, first)
    passed = evaluations[evaluations["loss"] <= level].groupby("run", sort=False)["step"].first()
    ends = ends.assign(level=level, learned=passed.reindex(ends.index).fillna(np.inf))
    grams = frames.frame(records, "distances", dtype=np.float64).set_index("run")
    costs = prefixes(records)
    farthest = costs[costs["length"] == costs["length"].max()].set_index("run")
    ends = ends.join(farthest[["bias", *(["foreign_bias"] if "foreign" in costs else [])]])
    ends = ends.assign(distance=grams["own"].map(lambda own: own[TOLD_ORDER - 1]))
    ends = ends.assign(floor=grams["floor"].map(lambda floor: floor[TOLD_ORDER - 1]))
    if "entropy" in about:
        free = frames.frame(records, "free", dtype=np.float64).set_index("run")
        ends = ends.assign(above=ends["loss"] - ends["held_out_entropy"])
        ends = ends.assign(improbable=(free["nats"] - free["entropy"]).map(np.mean))
    return in_order(ends.reset_index())


def _level(ends: pd.DataFrame, first: pd.Series) -> float:
    """The loss at which a network has learned; that of the best where there is no teacher forcing."""
    teacher = ends[ends["regime"] == TEACHER]["loss"]
    end = teacher.mean() if len(teacher) else ends["loss"].min()
    return float(end + WAY_LEFT * (first.mean() - end))


def prefixes(records: Sequence[Record]) -> pd.DataFrame:
    """A row a run and length of prefix: the cost of its own, and of a foreign one, over that of the truth."""
    found = frames.frame(records, "prefix", dtype=np.float64)
    means = found.assign(bias=(found["own"] - found["truth"]).map(np.mean))
    return means.assign(foreign_bias=(found["foreign"] - found["truth"]).map(np.mean)) if "foreign" in found else means


def of_source(records: Sequence[Record]) -> bool:
    """Whether the source is known."""
    return any(record["kind"] == "free" for record in records)


# Tables and verdict


def table(records: Sequence[Record]) -> str:
    """How each regime ended, mean and range over seeds, as a Markdown table."""
    rows = []
    for regime, seeds in results(records).groupby("regime", sort=False):
        row = {"fed in training": told(str(regime)), "nats, truth fed": _mean(seeds["loss"])}
        if "above" in seeds:
            row["above the source's"] = _mean(seeds["above"])
        row["nats as trained"] = frames.span(seeds["as_trained"], ".2f")
        row["learned at step"] = _steps(seeds["learned"])
        row["own prefix costs"] = _mean(seeds["bias"])
        if "foreign_bias" in seeds:
            row["a foreign one"] = _mean(seeds["foreign_bias"])
        if "improbable" in seeds:
            row["own text above its entropy"] = _mean(seeds["improbable"])
        row[f"{TOLD_ORDER}-grams off by"] = _mean(seeds["distance"])
        row["largest gradient"] = frames.span(seeds["largest_norm"], ".2g")
        rows.append(row)
    return frames.table(rows, {"fed in training"})


def setting(records: Sequence[Record]) -> str:
    """What was learned from, and what is known of it."""
    ends = results(records)
    first = ends.iloc[0]
    told_first = (
        f"{first['origin']}, {first['symbols']:.0f} symbols; {first['params']:,.0f} params; {ends['seed'].nunique()} "
        f"seeds; {first['step']:,.0f} training steps."
    )
    if "entropy" not in ends:
        return told_first
    return (
        f"{told_first} The entropy of a symbol given those before it is {first['entropy']:.3f} nats, without them "
        f"{first['marginal_entropy']:.3f}; the texts to be tested on have {first['held_out_entropy']:.3f}."
    )


def verdict(records: Sequence[Record]) -> str:
    """What was found of each claim, a sentence a line."""
    parts = (_faster, _robust, _differs, _helps, _coins, _others, _by_output)
    return "\n".join(sentence for part in parts for sentence in part(records))


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    lines = "\n".join(f"- {line}" for line in verdict(records).splitlines())
    samples = frames.frame(records, "sample")
    samples = in_order(samples[samples["seed"] == samples["seed"].min()])
    said = [(told(regime), page.code(text)) for regime, text in zip(samples["regime"], samples["text"], strict=True)]
    given = {"setting": setting(records), "table": table(records), "known": of_source(records), "samples": said}
    return page.filled(__file__, verdict=lines, order=TOLD_ORDER, way_left=f"{1 - WAY_LEFT:.0%}", **given)


def _partly(ends: pd.DataFrame) -> pd.DataFrame:
    """Runs in which the truth was fed by chance."""
    return ends[ends["regime"].map(lambda regime: regime_named(regime).schedule not in ("always", "never"))]


def _never(ends: pd.DataFrame) -> pd.DataFrame:
    return ends[ends["regime"].map(lambda regime: regime_named(regime).schedule == "never")]


def _faster(records: Sequence[Record]) -> Iterator[str]:
    """Whether teacher forcing converges faster."""
    ends = results(records)
    teacher, others = ends[ends["regime"] == TEACHER]["learned"], pd.concat([_partly(ends), _never(ends)])
    if teacher.empty or others.empty:
        return
    standings = {
        str(regime): frames.standing(seeds["learned"], teacher)
        for regime, seeds in others.groupby("regime", sort=False)
    }
    counts = pd.Series(list(standings.values())).value_counts()
    later, sooner = counts.get("above", 0), counts.get("below", 0)
    held = "refuted" if sooner else "confirmed" if later == len(standings) else f"confirmed for {later} of "
    held = held if sooner or later == len(standings) else f"{held}{len(standings)} others"
    partly = _partly(ends)["learned"]
    among = f", with a coin at {_steps(partly)}" if len(partly) else ""
    never = _never(ends)["learned"]
    without = f", never fed with the truth at {_steps(never)}" if len(never) else ""
    yield (
        f"That teacher forcing converges faster is {held}: {1 - WAY_LEFT:.0%} of the way to its last loss are done at "
        f"step {_steps(teacher)}{among}{without} (every seed of one against every seed of the other)."
    )


def _robust(records: Sequence[Record]) -> Iterator[str]:
    """Whether it is more robust: less spread over seeds, smaller gradients."""
    ends = results(records)
    others = pd.concat([_partly(ends), _never(ends)])
    if TEACHER not in set(ends["regime"]) or others.empty:
        return
    by = ends.groupby("regime", sort=False)
    spreads, largest = by["loss"].agg(np.ptp), by["largest_norm"].max()
    names = list(others["regime"].unique())
    wider = int((spreads[names] > spreads[TEACHER]).sum())
    harder = int((largest[names] > largest[TEACHER]).sum())
    held = "confirmed" if min(wider, harder) == len(names) else "refuted" if max(wider, harder) == 0 else "half true"
    yield (
        f"That it is more robust is {held}: its last losses differ by {spreads[TEACHER]:.3f} nats over seeds, those of "
        f"{wider} of {len(names)} others by more ({frames.span(spreads[names], '.3f')} nats); its largest gradient "
        f"is {largest[TEACHER]:.2g}, that of {harder} of {len(names)} others larger "
        f"({frames.span(largest[names], '.2g')})."
    )


def _differs(records: Sequence[Record]) -> Iterator[str]:
    """Whether inference differs from training for a network that was forced."""
    ends, costs = results(records), prefixes(records)
    teacher = ends[ends["regime"] == TEACHER]
    if len(teacher):
        bias, length = teacher["bias"], costs["length"].max()
        held = "confirmed" if bias.min() > 0 else "refuted" if bias.max() <= 0 else "undecided"
        least = costs[(costs["regime"] == TEACHER) & (costs["length"] == costs["length"].min())]
        more = f", after {least['length'].iloc[0]:.0f} {_mean(least['bias'])}"
        if "improbable" in teacher:
            more += f"; a symbol of its own text is {_mean(teacher['improbable'])} nats less probable than the source's"
        if "foreign_bias" in teacher:
            more += f"; {length:.0f} characters of another passage cost {_mean(teacher['foreign_bias'])}"
        yield (
            f"That inference differs from training is {held} for teacher forcing: after {length:.0f} symbols of its "
            f"own it loses {_mean(bias)} nats a symbol{more}."
        )
    judge = frames.frame(records, "train", dtype=np.float64)
    if "right" in judge:
        late = judge[judge["step"] > judge["step"].max() / 2].groupby(["regime", "run"])["right"].mean()
        said = [f"{_percent(late[regime])} {NAMES[regime]}" for regime in (WATCHED, PROFESSOR) if regime in late.index]
        yield (
            "A judge tells free from forced states, in the second half of training, in so many cases: "
            f"{'; '.join(said)} (half would be chance)."
        )


def _helps(records: Sequence[Record]) -> Iterator[str]:
    """Whether scheduled sampling and professor forcing help, in four respects."""
    ends = results(records)
    teacher = ends[ends["regime"] == TEACHER]
    if teacher.empty:
        return
    measures = {"loss": "the loss with the truth fed", "bias": "the cost of its own prefix"}
    measures |= {"distance": f"the distance of its {TOLD_ORDER}-grams"}
    names = {"curriculum learning": _partly(ends), "professor forcing": ends[ends["regime"] == PROFESSOR]}
    for name, others in names.items():
        if others.empty:
            continue
        parts, better = [], 0
        for measure, words in measures.items():
            by = others.groupby("regime", sort=False)[measure]
            stand = by.agg(lambda seeds, measure=measure: frames.standing(seeds, teacher[measure]))
            counts = stand.value_counts()
            better += counts.get("below", 0)
            changes = by.mean() - teacher[measure].mean()
            parts.append(
                f"{words} is lower in {counts.get('below', 0)}, higher in {counts.get('above', 0)} of {len(stand)} "
                f"({frames.span(changes, '+.3f')})"
            )
        total = others["regime"].nunique() * len(measures)
        held = "refuted here" if not better else "confirmed" if better == total else "partly true"
        yield (
            f"That {name} helps is {held}: of its regimes against teacher forcing, all seeds against all seeds and the "
            f"change of the mean, {'; '.join(parts)}."
        )


def _coins(records: Sequence[Record]) -> Iterator[str]:
    """A coin for each sequence beside one for each token."""
    ends = _partly(results(records))
    if ends.empty:
        return
    keys = ends["regime"].map(lambda regime: ":".join(regime.split(":")[:2]))
    coins = ends["regime"].map(lambda regime: regime_named(regime).coin)
    means = ends.assign(key=keys, coin=coins).pivot_table(index="key", columns="coin", values="loss")
    if {"token", "sequence"} <= set(means) and len(both := means.dropna()):
        more = both["sequence"] - both["token"]
        worse = "worse" if more.min() > 0 else "better" if more.max() < 0 else "not worse in all"
        yield (
            f"A coin for each sequence is {worse} than one for each token: by {frames.span(more, '+.3f')} nats with "
            f"the truth fed, means over seeds, in {len(both)} schedules. (Bengio et al., 2015, found it much worse.)"
        )


def _others(records: Sequence[Record]) -> Iterator[str]:
    """What is learned where the truth is never fed."""
    ends = results(records)
    never = _never(ends)
    if never.empty:
        return
    losses = ", ".join(
        f"{line_of(str(regime))} {frames.span(seeds['as_trained'], '.3f')}"
        for regime, seeds in never.groupby("regime", sort=False)
    )
    known = ""
    if "marginal_entropy" in never:
        known = f" (who sees nothing of a text loses at least {never['marginal_entropy'].iloc[0]:.3f})"
    yield f"Never fed with the truth, as trained, networks lose {losses}{known}."


def _by_output(records: Sequence[Record]) -> Iterator[str]:
    """How much of the gradient comes by the output."""
    found = shares(records)
    if found.empty:
        return
    near = found[found["lag"] <= 8]
    for choice, rows in near.groupby("choice", sort=False):
        parts = []
        for (phase, regime), seeds in rows.groupby(["phase", "regime"], sort=False):
            if phase == "initialization" and regime != rows["regime"].iloc[0]:
                continue
            name = "before training" if phase == "initialization" else f"after {told(str(regime))}"
            parts.append(f"{_percent(seeds.groupby('run')['share'].mean())} {name}")
        yield (
            f"Fed with {choice}, of dL/dh_t one to eight steps before the loss comes by the output: {'; '.join(parts)}."
        )


def shares(records: Sequence[Record]) -> pd.DataFrame:
    """A row a run, phase and lag at which the output was fed: its share of the gradient, and both norms."""
    found = frames.frame(records, "ways", dtype=np.float64)
    if found.empty:
        return found
    shown = found["regime"].map(
        lambda regime: regime == TEACHER or regime.split(":")[0] in ("probabilities", "outputs")
    )
    rows = []
    for row in found[shown].itertuples():
        last = len(row.share) - 1
        for lag in range(1, min(int(row.free), last)):
            at = last - lag
            values = {"share": row.share[at], "state": row.state[at], "output": row.output[at]}
            known = {"run": row.run, "regime": row.regime, "seed": row.seed, "phase": row.phase, "choice": row.choice}
            rows.append({**known, "lag": lag, **values})
    return pd.DataFrame(rows)


# Words


def _mean(values: pd.Series) -> str:
    spread = frames.span(values, ".3f")
    return f"{values.mean():.3f} ({spread})" if " to " in spread else spread


def _percent(values: pd.Series) -> str:
    spread = frames.span(100 * values, ".0f")
    return f"{100 * values.mean():.0f} % ({spread})" if " to " in spread else f"{spread} %"


def _steps(values: pd.Series) -> str:
    return frames.span(values, ".0f").replace("inf", "never")


# Figures


def held_out(records: Sequence[Record]) -> Figure:
    """Loss with the truth fed against training step."""
    ends = results(records)
    found = with_teacher(frames.frame(records, "evaluation", dtype=np.float64))
    figure, panels = drawing.courses(found, "step", "loss", panel="panel", line="line", across=3, size=(3.2, 2.8))
    if "entropy" in ends:
        for axes in panels.values():
            _marked(axes, ends["held_out_entropy"].iloc[0], "entropy of these texts")
    _zoomed(panels.values(), found, "loss")
    drawing.legend(figure, "line: median\nshade: range over seeds")
    title = next(_faster(records), "Held-out loss")
    return drawing.caption(figure, title, "training step", "held-out loss, truth fed (nats a symbol)")


def own_prefix(records: Sequence[Record]) -> Figure:
    """What a prefix of its own costs against its length."""
    costs = with_teacher(prefixes(records))
    figure, panels = drawing.courses(
        costs, "length", "bias", panel="panel", line="line", across=3, size=(3.2, 2.8), marker="."
    )
    for axes in panels.values():
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.axhline(0, color=drawing.GREY, linewidth=0.8, zorder=0)
    drawing.legend(figure, "line: median\nshade: range over seeds")
    what = "KL(p || q)" if of_source(records) else "loss"
    title = next(_differs(records), "What a network's own prefix costs")
    y = f"{what} after its own less after the truth (nats a symbol)"
    return drawing.caption(figure, title, "symbols of its own before the truth", y)


def recovery(records: Sequence[Record]) -> Figure:
    """The cost of the longest prefix step by step after the truth has come back."""
    costs = prefixes(records)
    rows = with_teacher(costs[costs["length"] == costs["length"].max()])
    rows = rows.assign(curve=rows["own"] - rows["truth"])
    figure, panels, lines = drawing.multiples(rows, panel="panel", line="line", across=3, size=(3.2, 2.8))
    for axes, name, look, seeds in lines:
        curves = frames.stacked(seeds["curve"])
        drawing.band(axes, np.arange(1, curves.shape[1] + 1), curves, look, str(name))
    for axes in panels.values():
        axes.axhline(0, color=drawing.GREY, linewidth=0.8, zorder=0)
    drawing.legend(figure, "line: median\nshade: range over seeds")
    teacher = rows[rows["regime"] == TEACHER].drop_duplicates("run")
    title = "What a network's own prefix costs fades, or does not, once the truth is fed again"
    if len(teacher):
        curve = np.median(frames.stacked(teacher["curve"]), axis=0)
        title = (
            f"After {costs['length'].max():.0f} symbols of its own, teacher forcing loses {curve[0]:+.3f} nats on the "
            f"first true one and {curve[-1]:+.3f} on number {len(curve)} (medians)"
        )
    return drawing.caption(figure, title, "true symbol after its own", "cost over that of the truth (nats)")


def ngrams(records: Sequence[Record]) -> Figure:
    """How far n-grams of a network's own text are from the true ones, by order."""
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
        f"{TOLD_ORDER}-grams are closest to true ones with {told(by.idxmin())} ({by.min():.3f}), farthest with "
        f"{told(by.idxmax())} ({by.max():.3f}); true texts among themselves {ends['floor'].iloc[0]:.3f} (means)"
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
        f"Own text is nearest to the source with {told(near)} ({by[near]:+.3f} nats a symbol), farthest with "
        f"{told(far)} ({by[far]:+.3f}), means"
    )
    y = "nats under the source above its entropy"
    return drawing.caption(figure, title, f"place in the text (means over {width} symbols)", y)


def ways(records: Sequence[Record]) -> Figure | None:
    """The share of the gradient that comes by the output, by lag, before and after training."""
    found = shares(records)
    if found.empty:
        return None
    phase = found["phase"].map(frames.PHASES)
    rows = found.assign(
        panel=found["choice"] + ", " + phase, line=found["regime"].map(told), share=100 * found["share"]
    )
    figure, panels = drawing.courses(rows, "lag", "share", panel="panel", line="line", across=2, size=(3.4, 2.8))
    for axes in panels.values():
        axes.set_ylim(0, 100)
    drawing.legend(figure, "line: median\nshade: range over seeds")
    title = " ".join(_by_output(records))
    y = "share of $\\partial L / \\partial h_t$ by the output (%)"
    return drawing.caption(figure, title, "lag (steps back from the loss)", y)


def judge(records: Sequence[Record]) -> Figure | None:
    """In how many cases the judge is right, against training step."""
    found = frames.frame(records, "train", dtype=np.float64)
    if "right" not in found or found["right"].isna().all():
        return None
    rows = found.dropna(subset=["right"]).assign(panel="", percent=lambda rows: 100 * rows["right"])
    rows = rows.assign(line=rows["regime"].map(told))
    figure, panels = drawing.courses(rows, "step", "percent", panel="panel", line="line", size=(6, 3.2))
    for axes in panels.values():
        _marked(axes, 50.0, "chance")
    drawing.legend(figure, "line: median\nshade: range over seeds")
    title = list(_differs(records))[-1]
    return drawing.caption(figure, title, "training step", "behaviours that the judge has right (%)")


def schedules(records: Sequence[Record]) -> Figure:
    """How often the truth was fed, against training step."""
    found = frames.frame(records, "train", dtype=np.float64)
    rows = found.assign(
        panel="", percent=100 * found["truth"], line=found["regime"].map(lambda regime: regime_named(regime).schedule)
    )
    rows = rows.drop_duplicates(["line", "step"]).assign(seed=0)
    figure, _ = drawing.courses(rows, "step", "percent", panel="panel", line="line", size=(6, 3))
    drawing.legend(figure)
    ends = rows.groupby("line", sort=False)["percent"].last()
    title = "At the end the truth is fed " + ", ".join(f"{value:.0f} % ({name})" for name, value in ends.items())
    return drawing.caption(figure, title.replace("_", " "), "training step", "steps fed with the truth (%)")


def _marked(axes: Axes, height: float, label: str) -> None:
    axes.axhline(height, color=drawing.GREY, linestyle="--", linewidth=0.8, zorder=0, label=label)


def _zoomed(panels: Iterable[Axes], rows: pd.DataFrame, y: str) -> None:
    """Loss axes end where all begin, however much those that never see the truth lose with it."""
    first = rows[rows["step"] == rows["step"].min()][y].max()
    low = rows[y].min()
    if math.isfinite(first) and first > low:
        for axes in panels:
            axes.set_ylim(low - 0.05 * (first - low), first + 0.15 * (first - low))


FIGURES: drawing.Figures = (held_out, own_prefix, recovery, ngrams, own_text, ways, judge, schedules)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/feedback")
