"""Figures, tables and verdict of the arithmetic experiment, drawn from its metrics.jsonl alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments.arithmetic.hand_set import BUILT
from experiments.arithmetic.needs import TOLERANCE
from experiments.arithmetic.problems import AUTOMATA, PROBLEMS
from experiments.common import drawing, frames, page, solving
from experiments.common.workdir import Record

CASE = ["problem", "network"]
RUN = [*CASE, "seed"]
WORDS = {"parity_at_once": "parity, full length from the start", "operands_first": "operands first, then the sum"}


def ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """By problem, as ``PROBLEMS`` has them, network and seed; networks set by hand come last."""
    networks = [*sorted(set(rows["network"]) - set(BUILT)), *BUILT]
    rows = rows.assign(
        problem=pd.Categorical(rows["problem"], list(PROBLEMS), ordered=True),
        network=pd.Categorical(rows["network"], networks, ordered=True),
    )
    return rows.sort_values(RUN, kind="stable", ignore_index=True)


def tests(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each network and length of numbers: the shares of numbers without an error, and of right answers."""
    columns = [*RUN, "work", "longest", "bits", "numbers", "wrong", "right", "beyond", "weights"]
    found = ordered(frames.frame(records, "test").reindex(columns=columns))
    return found.assign(exact=1 - found["wrong"] / found["numbers"])


def read_online(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each network that answers step by step: whether one long number is ``exact``, and chains ``carried``.

    Chains are carried where no last answer is wrong, in numbers whose first digit decides it.
    """
    chains = frames.frame(records, "chain", noise=0.0).reindex(columns=[*RUN, "steps", "right"])
    found = frames.frame(records, "online").reindex(columns=[*RUN, "bits", "wrong"]).merge(chains, on=RUN)
    return ordered(found.assign(exact=found["wrong"] == 0, carried=found["right"] == 1))


def longest(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of each network's longest numbers."""
    return rows[rows["bits"] == rows.groupby(RUN, observed=True)["bits"].transform("max")]


def learned(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of networks that were not set by hand."""
    return rows[~rows["network"].isin(list(BUILT))]


def enough(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each network and what it needs: the least that sufficed, inf where nothing did that was tried."""
    tried = frames.frame(records, "need")
    if tried.empty:
        return tried
    suffices = tried["wrong"] <= TOLERANCE
    found = tried.assign(least=tried["count"].where(suffices, np.inf), weights=tried["weights"].where(suffices, np.inf))
    last = found.sort_values("count").groupby([*RUN, "longest", "of"], as_index=False).last()
    return ordered(last)


def flows(records: Sequence[Record]) -> pd.DataFrame:
    """The gradient's norms of each network that answers step by step, what is ``kept`` of them, and ``who`` it is.

    A network is exact that makes no error in the longest numbers it was tested on. ``right`` is the share of right
    answers with noise in the state.
    """
    found = frames.flows(records)
    if found.empty:
        return found
    chains = frames.frame(records, "chain")
    noisy = chains[chains["noise"] > 0][[*RUN, "right"]]
    exact = longest(frames.frame(records, "test"))[[*RUN, "wrong"]]
    found = ordered(found.merge(noisy, on=RUN).merge(exact, on=RUN))
    how = np.where(found["wrong"] == 0, ", learned and exact", ", learned, not exact")
    learned = found["problem"].astype(str).map(_words) + how
    who = learned.where(found["phase"] != "hand_set", found["network"].astype(str).map(_words))
    return found.assign(kept=frames.changes(found["norms"]), who=who)


# Tables


def table(records: Sequence[Record]) -> str:
    """How many seeds have no number wrong at each length, as a Markdown table with a row for each case."""
    found, online = tests(records), read_online(records)
    if found.empty:
        return ""
    cases = found.groupby(CASE, observed=True)
    counts = found.assign(exact=found["wrong"] == 0).groupby([*CASE, "bits"], observed=True)["exact"].agg(solving.count)
    lengths = counts.unstack("bits").rename(columns="{:,} bits".format)
    rows = pd.DataFrame({"weights": cases["weights"].first().map("{:,}".format)}).join(lengths)
    for bits, of_length in online.groupby("bits"):
        one = of_length.groupby(CASE, observed=True)
        rows[f"one number of {bits:,} bits"] = one["exact"].agg(solving.count)
        rows[f"chains of {of_length['steps'].iloc[0]:,.0f} steps"] = one["carried"].agg(solving.count)
    rows["right answers at the longest"] = longest(found).groupby(CASE, observed=True)["right"].agg(_share)
    rows = rows.reset_index().astype({"problem": str, "network": str}).fillna("-")
    return frames.table(rows.assign(**{name: rows[name].map(_words) for name in CASE}), set(CASE))


def needs_table(records: Sequence[Record]) -> str:
    """What numbers of N bits need, medians and ranges over seeds, as a Markdown table; empty if nothing was tried."""
    found = enough(records)
    if found.empty:
        return ""
    of_units = found[found["of"] == "units"]
    found = pd.concat([found, of_units.assign(of="weights", least=of_units["weights"])])
    found["column"] = found["network"].astype(str) + ": " + found["of"]
    cells = found.groupby(["problem", "longest", "column"], observed=True)["least"].agg(_least)
    rows = cells.unstack("column").fillna("-").reset_index().astype({"problem": str})
    rows.insert(2, "all numbers", [f"{_all(*row):,}" for row in rows[["problem", "longest"]].to_numpy()])
    return frames.table(rows.rename(columns={"longest": "N"}), {"problem"})


# Verdict


def verdict(records: Sequence[Record]) -> str:
    """What was found, one sentence in each line."""
    return "\n".join(
        sentence for tell in (_claim, _of_problems, _of_needs, _by_hand, _of_flows) for sentence in tell(records)
    )


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    lines = "\n".join(f"- {line}" for line in verdict(records).splitlines())
    found = {"table": table(records), "needs": needs_table(records), "flows": len(flows(records)) > 0}
    return page.filled(__file__, verdict=lines, **found)


def _claim(records: Sequence[Record]) -> Iterator[str]:
    """Whether a network that learned from short numbers works at any length if it is recurrent, and only then."""
    found = longest(tests(records))
    found = found[found["problem"].isin(list(AUTOMATA))]
    kinds = [found[found["work"] == work] for work in ("recurrent", "mlp")]
    if any(kind.empty for kind in kinds):
        return
    shares = [(kind["wrong"] == 0).mean() for kind in kinds]
    if shares[1]:
        held = "does not hold"
    else:
        held = "holds" if shares[0] == 1 else f"holds for {100 * shares[0]:.0f} % of the recurrent networks"
    names = ("recurrent networks", "MLPs")
    told = [
        f"{solving.count(kind['wrong'] == 0)} {name} have no error at {kind['bits'].max():,} bits"
        for kind, name in zip(kinds, names, strict=True)
    ]
    claim = "That a recurrent network that learned from short numbers works at any length, and an MLP does not,"
    yield f"{claim} {held}: {', '.join(told)}."


def _of_problems(records: Sequence[Record]) -> Iterator[str]:
    """For each problem, how many seeds of each network make no error in the longest numbers they were tested on."""
    found, online = learned(tests(records)), read_online(records)
    for problem, of_problem in found.groupby("problem", observed=True):
        parts = []
        for network, rows in of_problem.groupby("network", observed=True):
            end = longest(rows)
            told = f"{network} {solving.count(end['wrong'] == 0)} at {end['bits'].iloc[0]:,} bits"
            for bits, one in online.groupby("bits"):
                one = one[(one["problem"] == problem) & (one["network"] == network)]
                if len(one):
                    told += f", {solving.count(one['exact'])} in one number of {bits:,} bits"
                    told += f", {solving.count(one['carried'])} in chains of {one['steps'].iloc[0]:,} steps"
            parts.append(told + _beyond(rows))
        head = f"{_words(str(problem))}, learned from numbers of at most {of_problem['longest'].iloc[0]} bits"
        yield f"{_capital(head)}, is done without an error by this share of the seeds: {'; '.join(parts)}."


def _beyond(rows: pd.DataFrame) -> str:
    """How networks with a window answer at the length that they were trained on, and at steps beyond it."""
    if rows["beyond"].isna().all():
        return ""
    known, last = rows[rows["bits"] <= rows["longest"]], longest(rows)
    told = f"at steps beyond those it was trained on, {_share(last['beyond'])} of its answers are right"
    if known.empty:
        return f" ({told})"
    known = longest(known)
    exact, right = (_share(known[share]) for share in ("exact", "right"))
    return f" ({exact} of the numbers of {known['bits'].iloc[0]} bits and {right} of their answers are right; {told})"


def _of_needs(records: Sequence[Record]) -> Iterator[str]:
    """For each problem and network, what suffices for the shortest and for the longest numbers."""
    found = enough(records)
    if found.empty:
        return
    for (problem, network), rows in found.groupby(CASE, observed=True):
        parts = []
        for of, each in rows.groupby("of"):
            ends = (each[each["longest"] == end] for end in (each["longest"].min(), each["longest"].max()))
            least = " and ".join(f"{_least(end['least'])} at {end['longest'].iloc[0]} bits" for end in ends)
            parts.append(f"{of}: {least}")
        yield f"{_capital(_words(str(problem)))}, {network} needs {'; '.join(parts)}."


def _by_hand(records: Sequence[Record]) -> Iterator[str]:
    """How many networks set by hand are exact on all numbers of a few bits."""
    found = frames.frame(records, "all")
    if len(found):
        right, bits = solving.count(found["wrong"] == 0), found["longest"].iloc[0]
        yield f"{right} of the networks set by hand are exact on all numbers of at most {bits} bits."


def _of_flows(records: Sequence[Record]) -> Iterator[str]:
    """For each kind of network that answers step by step, what it keeps of a gradient, and of an error in its state."""
    found = flows(records)
    if found.empty:
        return
    steps, noise = len(found["norms"].iloc[0]), frames.frame(records, "chain").iloc[-1]
    for who, rows in found[found["phase"] != "initialization"].groupby("who", sort=False):
        kept = frames.median(rows["kept"], lambda power: f"10^{power:+.1f}" if np.isfinite(power) else "0")
        left = f"the norm of the gradient at the first of {steps} steps is {kept} times that at the last"
        added = f"noise N(0, {noise['noise']:g}²) added to the state at each of {noise['steps']:,} steps"
        right = f"{frames.median(100 * rows['right'], _floored)} %"
        networks = f"{len(rows)} network{'s' * (len(rows) > 1)}"
        yield f"{_capital(str(who))} ({networks}): {left}; with {added}, {right} of the last answers are right."


# Figures


def right_by_length(records: Sequence[Record]) -> Figure | None:
    """A column of panels for each problem: numbers without an error, and right answers, against the length."""
    found = learned(tests(records))
    if found.empty:
        return None
    problems = list(found["problem"].unique())
    looks, markers = drawing.looks_of(found["network"]), drawing.markers_of(found["network"])
    figure, axes = drawing.grid(2, len(problems), size=(2.7, 2.2), share=("col", True))
    for place, problem in enumerate(problems):
        of_problem = found[found["problem"] == problem]
        above, below = axes[place], axes[place + len(problems)]
        for panel, share in ((above, "exact"), (below, "right")):
            for network, rows in of_problem.groupby("network", observed=True):
                curves = 100 * rows.pivot_table(index="seed", columns="bits", values=share)
                look = looks[network] | {"marker": markers[network], "markersize": 4}
                drawing.band(panel, curves.columns.to_numpy(), curves.to_numpy(), look, str(network))
            panel.axvline(of_problem["longest"].iloc[0], color=drawing.GREY, linewidth=0.8, zorder=0)
            panel.set(xscale="log", ylim=(-5, 105))
            panel.xaxis.set_major_formatter("{x:,.0f}")
            panel.xaxis.set_minor_formatter(NullFormatter())
        below.axhline(50, color=drawing.GREY, linewidth=3, alpha=0.4, zorder=0, label="chance")
        drawing.head(above, _words(str(problem)))
    axes[0].set_ylabel("numbers without\nan error (%)")
    axes[len(problems)].set_ylabel("right answers (%)")
    drawing.legend(figure, "median and range\nover seeds")
    lines = [f"{_words(str(problem))}: {_at_the_end(found[found['problem'] == problem])}" for problem in problems]
    x = "length of the numbers (bits; vertical grey line: the longest numbers trained on)"
    return drawing.caption(figure, "\n".join(["Seeds that make no error in the longest numbers tested:", *lines]), x)


def _at_the_end(rows: pd.DataFrame) -> str:
    """How many seeds of each network have no number wrong among the longest."""
    ends = longest(rows).groupby("network", observed=True)
    return ", ".join(
        f"{network} {solving.count(end['wrong'] == 0)} at {end['bits'].iloc[0]:,} bits" for network, end in ends
    )


_OF_A_SEED: dict[str, Any] = {"linestyle": "none", "markersize": 3.5, "markerfacecolor": "white", "zorder": 1}


def needs_by_bits(records: Sequence[Record]) -> Figure | None:
    """Two panels: the examples, and the weights of an MLP, that suffice for numbers of N bits, against N."""
    found = enough(records)
    if found.empty:
        return None
    found["line"] = found["problem"].astype(str) + ", " + found["network"].astype(str)
    looks, markers = drawing.looks_of(found["line"]), drawing.markers_of(found["line"])
    figure, (examples, weights) = drawing.panels(2, size=(3.6, 3.8), share=(True, False))
    for panel, of, value in ((examples, "examples", "least"), (weights, "units", "weights")):
        for line, rows in found[found["of"] == of].groupby("line", sort=False):
            look, median = looks[line] | {"marker": markers[line]}, rows.groupby("longest")[value].median()
            panel.plot(median.index, median.replace(np.inf, np.nan), **look, label=line)
            panel.plot(rows["longest"], rows[value], **{**look, **_OF_A_SEED})
        panel.set_yscale("log", base=2)
        panel.yaxis.set_major_formatter("{x:,.0f}")
    for problem, rows in found.groupby("problem", observed=True):
        bits = np.unique(rows["longest"])
        everything = [_all(str(problem), each) for each in bits]
        examples.plot(bits, everything, color=drawing.GREY, linewidth=5, alpha=0.4, zorder=0, label="all numbers")
    examples.set_ylabel("examples that suffice")
    weights.set_ylabel("weights of an MLP that suffices")
    drawing.legend(figure, "median; small: each seed")
    told = "\n".join(line.removesuffix(".") for line in _of_needs(records))
    return drawing.caption(figure, told, "length N of the numbers (bits)")


def gradient_by_lag(records: Sequence[Record]) -> Figure | None:
    """Panels for each problem, networks set by hand and those that learned apart: the gradient back from the end."""
    found = flows(records)
    if found.empty:
        return None
    by_hand = found["phase"] == "hand_set"
    found["panel"] = found["problem"].astype(str).map(_words) + np.where(by_hand, ", set by hand", ", learned")
    found["line"] = found["network"].astype(str).map(_words)
    found = found.assign(learned=~by_hand).sort_values(["problem", "learned"], kind="stable")
    figure, _, lines = drawing.multiples(found, panel="panel", line="line", across=3, size=(3, 3.2))
    for axes, line, look, rows in lines:
        for phase, of_phase in rows.groupby("phase"):
            width = {"linewidth": 0.9 if phase == "initialization" else 2.2}
            label = line if phase == "hand_set" else f"{line}, {frames.PHASES[phase]}"
            drawing.by_lag(axes, of_phase["norms"], look | width, label, relative=True)
    drawing.legend(figure, "shade: range over seeds")
    ends = found[(found["phase"] == "hand_set") | ((found["phase"] == "trained") & (found["wrong"] == 0))]
    kept = ends.groupby("who", sort=False)["kept"].agg(frames.median, drawing.power_of_ten)
    told = "; ".join(f"{who}: {left}" for who, left in kept.items())
    told = (
        "The norm of the gradient at the first step is this multiple of that at the last step (medians and ranges over "
        f"networks). {_capital(told)}"
    )
    return drawing.caption(figure, told, "lag (steps back from the last answer)", drawing.RELATIVE)


# Words


def _words(name: str) -> str:
    return WORDS.get(name, name.replace("_", " "))


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _share(values: pd.Series) -> str:
    """Per cent, from the least to the greatest over seeds, rounded down: 100 is all."""
    least, most = _floored(100 * values.min()), _floored(100 * values.max())
    return f"{least} %" if least == most else f"{least} to {most} %"


def _floored(value: float) -> str:
    return f"{np.floor(10 * value + 1e-9) / 10:.4g}"


def _least(values: pd.Series) -> str:
    """Median and range over seeds; "none" where nothing that was tried sufficed."""
    return frames.median(values, "{:,.0f}".format).replace("inf", "none")


def _all(problem: str, bits: int) -> int:
    """How many numbers of that many bits there are, or pairs of them."""
    return int(2 ** (AUTOMATA[problem].digits * bits))


FIGURES: drawing.Figures = (right_by_length, needs_by_bits, gradient_by_lag)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/arithmetic")
