"""What was found of each claim, in frames and in sentences, from the records of a run."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from experiments.common import frames
from experiments.common.workdir import Record
from experiments.feedback.feeding import PROFESSOR, TEACHER, WATCHED, regime_named

WAY_LEFT = 0.1
"""A network has learned once so much is left of the way from the first loss to that of teacher forcing at the end."""

TOLD_ORDER = 3
"""Of n-grams, in tables and sentences."""

WORDS = {"inverse_sigmoid": "inverse sigmoid"}
NAMES = {TEACHER: "teacher forcing", PROFESSOR: "professor forcing", WATCHED: "discriminator without a say"}


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
        return "A discriminator"
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
    heads = ("Sampled, a coin a token", "Sampled, a coin a sequence", "Others", "A discriminator", "Never")
    return next(place for place, head in enumerate(heads) if panel.startswith(head))


def with_teacher(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of regimes with their panel and line, those of teacher forcing in every panel, first.

    A discriminator without a say changes nothing: that is teacher forcing once more, and left out.
    """
    rows = in_order(rows[(rows["regime"] != WATCHED) | (rows["regime"] != TEACHER).all()])
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
    ends = ends.join(farthest[["bias", "after", *(["foreign_bias"] if "foreign" in costs else [])]])
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
    """A row a run and length of prefix: the loss after its own, and its cost, and a foreign one's, over the truth's."""
    found = frames.frame(records, "prefix", dtype=np.float64)
    means = found.assign(bias=(found["own"] - found["truth"]).map(np.mean), after=found["own"].map(np.mean))
    return means.assign(foreign_bias=(found["foreign"] - found["truth"]).map(np.mean)) if "foreign" in found else means


def of_source(records: Sequence[Record]) -> bool:
    """Whether the source is known."""
    return any(record["kind"] == "free" for record in records)


# Sentences


def verdict(records: Sequence[Record]) -> str:
    """What was found of each claim, a sentence a line."""
    parts = (faster, _robust, differs, _helps, _coins, _others, by_output)
    return "\n".join(sentence for part in parts for sentence in part(records))


def _partly(ends: pd.DataFrame) -> pd.DataFrame:
    """Runs in which the truth was fed by chance."""
    return ends[ends["regime"].map(lambda regime: regime_named(regime).schedule not in ("always", "never"))]


def _never(ends: pd.DataFrame) -> pd.DataFrame:
    return ends[ends["regime"].map(lambda regime: regime_named(regime).schedule == "never")]


def faster(records: Sequence[Record]) -> Iterator[str]:
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
    among = f", with a coin at {steps(partly)}" if len(partly) else ""
    never = _never(ends)["learned"]
    without = f", without the truth {steps(never)}" if len(never) else ""
    yield (
        f"That teacher forcing converges faster is {held}: {100 * (1 - WAY_LEFT):.0f} % of the way to its last loss "
        f"are done at step {steps(teacher)}{among}{without} (all seeds of one against all of another)."
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
    few = max(wider, harder) < len(names) / 2
    held = "confirmed" if min(wider, harder) == len(names) else "refuted" if few else "undecided"
    yield (
        f"That it is more robust is {held}: its last losses differ by {spreads[TEACHER]:.3f} nats over seeds, those of "
        f"{wider} of {len(names)} others by more ({frames.span(spreads[names], '.3f')} nats); its largest gradient "
        f"is {largest[TEACHER]:.2g}, that of {harder} of {len(names)} others larger "
        f"({frames.span(largest[names], '.2g')})."
    )


def differs(records: Sequence[Record]) -> Iterator[str]:
    """Whether inference differs from training for a network that was forced."""
    ends, costs = results(records), prefixes(records)
    teacher = ends[ends["regime"] == TEACHER]
    if len(teacher):
        yield _of_text(teacher, costs) if "foreign_bias" in teacher else _of_source(teacher, costs)
    discriminator = frames.frame(records, "train", dtype=np.float64)
    if "right" in discriminator:
        late = (
            discriminator[discriminator["step"] > discriminator["step"].max() / 2]
            .groupby(["regime", "run"])["right"]
            .mean()
        )
        said = [f"{percent(late[regime])} {NAMES[regime]}" for regime in (WATCHED, PROFESSOR) if regime in late.index]
        yield (
            "A discriminator tells free from forced states, in the second half of training, in so many cases: "
            f"{'; '.join(said)} (half would be chance)."
        )


def _of_source(teacher: pd.DataFrame, costs: pd.DataFrame) -> str:
    """After its own symbols against as many of the source, each gone on with as the source does."""
    least = costs[(costs["regime"] == TEACHER) & (costs["length"] == costs["length"].min())]
    return (
        f"That inference differs from training is {_held(teacher['bias'])} for teacher forcing: after "
        f"{costs['length'].max():.0f} symbols of its own it loses {mean(teacher['bias'])} nats a symbol more than "
        f"after as many true ones, after {least['length'].iloc[0]:.0f} of them {mean(least['bias'])}; a symbol of its "
        f"own text is {mean(teacher['improbable'])} nats less probable than the source's."
    )


def _of_text(teacher: pd.DataFrame, costs: pd.DataFrame) -> str:
    """In the place of the right characters its own, or others that are as true as any: the rest is exposure bias."""
    beyond = teacher["bias"] - teacher["foreign_bias"]
    return (
        f"That inference differs from training is {_held(beyond)} for teacher forcing: what follows "
        f"{costs['length'].max():.0f} characters of its own costs {mean(teacher['bias'])} nats a character more, what "
        f"follows as many of another passage {mean(teacher['foreign_bias'])}. So {mean(beyond)} are owed to their "
        "being its own, the others to the right ones being missing."
    )


def _held(bias: pd.Series) -> str:
    return "confirmed" if bias.min() > 0 else "refuted" if bias.max() <= 0 else "undecided"


def _helps(records: Sequence[Record]) -> Iterator[str]:
    """Whether scheduled sampling and professor forcing help, in each of four respects."""
    ends = results(records)
    teacher = ends[ends["regime"] == TEACHER]
    if teacher.empty:
        return
    what = "KL(p || q)" if of_source(records) else "the loss"
    measures = {
        "loss": "the loss with the truth fed",
        "bias": "what its own prefix costs",
        "after": f"{what} after it",
        "distance": f"the distance of its {TOLD_ORDER}-grams",
    }
    names = {"curriculum learning": _partly(ends), "professor forcing": ends[ends["regime"] == PROFESSOR]}
    for name, others in names.items():
        if others.empty:
            continue
        parts, better, worse = [], 0, 0
        for measure, words in measures.items():
            by = others.groupby("regime", sort=False)[measure]
            stands = [frames.standing(seeds, teacher[measure]) for _, seeds in by]
            better, worse = better + stands.count("below"), worse + stands.count("above")
            changes = frames.span(by.mean() - teacher[measure].mean(), "+.3f")
            parts.append(
                f"{words} is lower in {stands.count('below')}, higher in {stands.count('above')} of {len(stands)} "
                f"regimes ({changes})"
            )
        total = others["regime"].nunique() * len(measures)
        yield (
            f"That {name} helps holds in {better} of {total} comparisons with teacher forcing, the opposite in {worse} "
            f"(all seeds of one beyond all seeds of the other; change of the mean): {'; '.join(parts)}."
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


def by_output(records: Sequence[Record]) -> Iterator[str]:
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
            parts.append(f"{percent(seeds.groupby('run')['share'].mean())} {name}")
        yield (
            f"Fed with {choice}, one to eight steps before the loss so much of dL/dh_t comes by the output: "
            f"{'; '.join(parts)}."
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


def mean(values: pd.Series) -> str:
    spread = frames.span(values, "z.3f")
    return f"{values.mean():z.3f} ({spread})" if " to " in spread else spread


def percent(values: pd.Series) -> str:
    spread = frames.span(100 * values, ".0f")
    return f"{100 * values.mean():.0f} % ({spread})" if " to " in spread else f"{spread} %"


def steps(values: pd.Series) -> str:
    return frames.span(values, ".0f").replace("inf", "never")
