"""What was found of each claim, in frames and in sentences, from the records of a run."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from experiments.common import frames
from experiments.common.frames import percent
from experiments.common.workdir import Record
from experiments.feedback.feeding import PROFESSOR, TEACHER, WATCHED, regime_named

WAY_LEFT = 0.1
"""A network has learned once only this share is left of the way from the first loss to teacher forcing's last loss."""

TOLD_ORDER = 3
"""The order of the n-grams that tables and sentences are about."""

WORDS = {"inverse_sigmoid": "inverse sigmoid"}
NAMES = {TEACHER: "teacher forcing", PROFESSOR: "professor forcing", WATCHED: "a discriminator that only watches"}


# Regimes in words


def told(regime: str) -> str:
    """A regime in words."""
    if regime in NAMES:
        return NAMES[regime]
    found = regime_named(regime)
    feedback = regime.split(":")[0]
    if found.schedule == "never":
        return f"{feedback} at every step"
    return f"{feedback}, {WORDS.get(found.schedule, found.schedule)}, a coin for each {found.coin}"


def panel_of(regime: str) -> str:
    """The panel of a figure that shows a regime; teacher forcing is in all of them."""
    found = regime_named(regime)
    if regime in NAMES:
        return "A discriminator"
    if found.schedule == "never":
        return "Never the truth"
    if found.program == "sampled":
        return f"Sampled, a coin for each {found.coin}"
    return f"Others, {WORDS.get(found.schedule, found.schedule)}"


def line_of(regime: str) -> str:
    """What a regime is called in its panel."""
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
    heads = (
        "Sampled, a coin for each token",
        "Sampled, a coin for each sequence",
        "Others",
        "A discriminator",
        "Never",
    )
    return next(place for place, head in enumerate(heads) if panel.startswith(head))


def with_teacher(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of regimes with their panel and line; teacher forcing comes first in every panel.

    A discriminator that only watches changes nothing. Such a run is teacher forcing once more, and left out.
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
    """How each run ended: one row for each, with everything that a table shows."""
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
    """The loss at which a network has learned; measured by the best network where there is no teacher forcing."""
    teacher = ends[ends["regime"] == TEACHER]["loss"]
    end = teacher.mean() if len(teacher) else ends["loss"].min()
    return float(end + WAY_LEFT * (first.mean() - end))


def prefixes(records: Sequence[Record]) -> pd.DataFrame:
    """The loss after a prefix, a row for each run and length: after its own, and what that and a foreign one cost.

    A cost is the loss less that after the true prefix.
    """
    found = frames.frame(records, "prefix", dtype=np.float64)
    means = found.assign(bias=(found["own"] - found["truth"]).map(np.mean), after=found["own"].map(np.mean))
    return means.assign(foreign_bias=(found["foreign"] - found["truth"]).map(np.mean)) if "foreign" in found else means


def of_source(records: Sequence[Record]) -> bool:
    """Whether the source is known."""
    return any(record["kind"] == "free" for record in records)


# Sentences


def verdict(records: Sequence[Record]) -> str:
    """What was found of each claim, one sentence in each line."""
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
    among = f"; where a coin decides what is fed, at {_at(partly)}" if len(partly) else ""
    never = _never(ends)["learned"]
    without = f"; where the truth is never fed, at {_at(never)}" if len(never) else ""
    yield (
        f"That teacher forcing converges faster is {held}: it has gone {100 * (1 - WAY_LEFT):.0f} % of the way to its "
        f"last loss at {_at(teacher)}{among}{without} (all seeds of one against all of another)."
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
        f"That teacher forcing is more robust is {held}: its last losses differ by {spreads[TEACHER]:.3f} nats over "
        f"seeds, and those of {wider} of {len(names)} other regimes by more (all others: "
        f"{frames.span(spreads[names], '.3f')} nats); its largest gradient norm is {largest[TEACHER]:.2g}, and that of "
        f"{harder} of {len(names)} others is larger (all others: {frames.span(largest[names], '.2g')})."
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
        how = {WATCHED: "where it only watches", PROFESSOR: "in professor forcing"}
        said = [f"{percent(late[regime], 0)} {words}" for regime, words in how.items() if regime in late.index]
        yield (
            "In the second half of training a discriminator tells free-running from forced states correctly in "
            f"{', in '.join(said)} (chance is 50 %)."
        )


def _of_source(teacher: pd.DataFrame, costs: pd.DataFrame) -> str:
    """The cost of its own symbols against as many of the source, each continued as the source does."""
    least = costs[(costs["regime"] == TEACHER) & (costs["length"] == costs["length"].min())]
    return (
        f"That inference differs from training is {_held(teacher['bias'])} for teacher forcing: after "
        f"{costs['length'].max():.0f} symbols of its own a network loses {mean(teacher['bias'])} nats a symbol more "
        f"than after as many true ones, and after {least['length'].iloc[0]:.0f} of its own {mean(least['bias'])} more; "
        f"a symbol of its own text is {mean(teacher['improbable'])} nats less probable than one of the source's."
    )


def _of_text(teacher: pd.DataFrame, costs: pd.DataFrame) -> str:
    """The cost of its own characters in place of the right ones, less that of foreign ones: this is exposure bias."""
    beyond = teacher["bias"] - teacher["foreign_bias"]
    return (
        f"That inference differs from training is {_held(beyond)} for teacher forcing: what follows "
        f"{costs['length'].max():.0f} characters of a network's own costs {mean(teacher['bias'])} nats a character "
        f"more than what follows the right ones, and what follows as many of another passage "
        f"{mean(teacher['foreign_bias'])} more. So {mean(beyond)} nats are due to the characters being its own, and "
        "the rest to the right ones being missing."
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
        "bias": "the cost of a network's own prefix",
        "after": f"{what} after that prefix",
        "distance": f"the distance of {TOLD_ORDER}-grams from the true ones",
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
                f"{words} is lower in {stands.count('below')} and higher in {stands.count('above')} of {len(stands)} "
                f"regime{'s' * (len(stands) > 1)} ({changes})"
            )
        total = others["regime"].nunique() * len(measures)
        yield (
            f"That {name} helps holds in {better} of {total} comparisons with teacher forcing, and the opposite in "
            f"{worse} (all seeds of one beyond all seeds of the other; in brackets the change of the mean): "
            f"{'; '.join(parts)}."
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
            f"A coin for each sequence is {worse} than one for each token: the loss with the truth fed differs by "
            f"{frames.span(more, '+.3f')} nats (means over seeds, {len(both)} schedule{'s' * (len(both) > 1)}). Bengio "
            "et al. (2015) found it much worse."
        )


def _others(records: Sequence[Record]) -> Iterator[str]:
    """What is learned where the truth is never fed."""
    ends = results(records)
    never = _never(ends)
    if never.empty:
        return
    losses = ", ".join(
        f"{frames.span(seeds['as_trained'], '.3f')} ({line_of(str(regime))})"
        for regime, seeds in never.groupby("regime", sort=False)
    )
    known = ""
    if "marginal_entropy" in never:
        least = never["marginal_entropy"].iloc[0]
        known = f"; a network that sees nothing of a text loses at least {least:.3f}"
    yield f"Networks that are never fed with the truth end at a training loss of {losses} nats a symbol{known}."


def by_output(records: Sequence[Record]) -> Iterator[str]:
    """How much of the gradient flows through the output that is fed back."""
    found = shares(records)
    if found.empty:
        return
    near = found[found["lag"] <= 8]
    for choice, rows in near.groupby("choice", sort=False):
        parts = []
        for (phase, regime), seeds in rows.groupby(["phase", "regime"], sort=False):
            if phase == "initialization" and regime != rows["regime"].iloc[0]:
                continue
            name = "before training" if phase == "initialization" else f"after training with {told(str(regime))}"
            parts.append(f"{percent(seeds.groupby('run')['share'].mean(), 0)} {name}")
        yield (
            f"Where {choice} are fed back, the share of dL/dh_t that flows through the output, one to eight steps "
            f"before the loss, is {', '.join(parts)}."
        )


def shares(records: Sequence[Record]) -> pd.DataFrame:
    """The output's share of the gradient and both norms: a row for each run, phase and lag at which it was fed."""
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


def _at(learned: pd.Series) -> str:
    """At which steps the seeds had learned: "step 200 to never", "no step"."""
    return f"step {steps(learned)}" if np.isfinite(learned).any() else "no step"


def steps(values: pd.Series) -> str:
    return frames.span(values, ".0f").replace("inf", "never")
