"""Figures, tables and verdict of the arithmetic experiment, drawn from its metrics.jsonl alone."""

from collections.abc import Iterator, Sequence

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
PHASES = frames.PHASES | {"hand_set": "set by hand"}
WORDS = {"parity_at_once": "parity, full length from the start", "operands_first": "operands first, then the sum"}


def ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """By problem, as ``PROBLEMS`` has them, and network; those set by hand as ``BUILT`` has them."""
    order = [*sorted(set(rows["network"]) - set(BUILT)), *BUILT]
    rows = rows.assign(
        problem=pd.Categorical(rows["problem"], list(PROBLEMS), ordered=True),
        network=pd.Categorical(rows["network"], order, ordered=True),
    )
    return rows.sort_values([*CASE, "seed"], kind="stable", ignore_index=True)


def tests(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each network and length of numbers: shares of numbers that are exact, and of answers that are right."""
    found = ordered(frames.frame(records, "test"))
    return found.assign(exact=1 - found["wrong"] / found["numbers"])


def read_to_the_end(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each network that has read one long number; ``exact`` where no answer was wrong."""
    found = ordered(frames.frame(records, "online"))
    return found.assign(exact=found["wrong"] == 0)


def enough(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each network and what it needs: the least that sufficed, inf where nothing did that was tried."""
    tried = frames.frame(records, "need")
    if tried.empty:
        return tried
    suffices = tried["wrong"] <= TOLERANCE
    found = tried.assign(least=tried["count"].where(suffices, np.inf), weights=tried["weights"].where(suffices, np.inf))
    rows = found.sort_values("count").groupby([*CASE, "longest", "seed", "of"], as_index=False).last()
    return ordered(rows.drop(columns="count"))


def flows(records: Sequence[Record]) -> pd.DataFrame:
    """The gradient's norms of each network that reads digit by digit, and whether it was exact to the last length."""
    found = ordered(frames.flows(records))
    ends = solved(records).rename("solved").reset_index()
    return found.merge(ends, on=[*CASE, "seed"], how="left")


def solved(records: Sequence[Record]) -> pd.Series:
    """By network: whether no answer was wrong in any number of the greatest length that it was tested on."""
    last = tests(records).sort_values("bits").groupby([*CASE, "seed"], observed=True).last()
    return last["exact"] == 1


# Tables and verdict


def table(records: Sequence[Record]) -> str:
    """A row for each case: at each length how many seeds have no number wrong, as a Markdown table."""
    found, online = tests(records), read_to_the_end(records)
    cases = found.groupby(CASE, observed=True)
    lengths = found.assign(exact=found["exact"] == 1).groupby([*CASE, "bits"], observed=True)["exact"]
    columns = lengths.agg(solving.count).unstack("bits").rename(columns="{:,} bits".format)
    rows = pd.DataFrame({"weights": cases["weights"].first().map("{:,}".format)}).join(columns)
    if len(online):
        (bits,) = online["bits"].unique()
        rows[f"one of {bits:,}"] = online.groupby(CASE, observed=True)["exact"].agg(solving.count)
    last = found[found["bits"] == found.groupby(CASE, observed=True)["bits"].transform("max")]
    rows["answers right at the longest"] = last.groupby(CASE, observed=True)["right"].agg(_share)
    rows = rows.fillna("-").reset_index().astype({"problem": str, "network": str})
    return frames.table(rows.assign(problem=rows["problem"].map(_words)), {"problem", "network"})


def needs_table(records: Sequence[Record]) -> str:
    """What numbers of N bits need, medians and ranges over seeds, as a Markdown table; empty if it was not asked."""
    found = enough(records)
    if found.empty:
        return ""
    found = found.assign(column=found["network"].astype(str) + ": " + found["of"])
    cells = found.groupby(["problem", "longest", "column"], observed=True)["least"].agg(_least)
    rows = cells.unstack("column").fillna("-").reset_index()
    rows.insert(2, "all numbers", [f"{_all(*row):,}" for row in rows[["problem", "longest"]].to_numpy()])
    return frames.table(rows.rename(columns={"longest": "N"}), {"problem"})


def verdict(records: Sequence[Record]) -> str:
    """What each kind of network makes of numbers longer than those it learned from, a line a problem."""
    return "\n".join([*_of_problems(records), *_of_needs(records), *_by_hand(records)])


def _of_problems(records: Sequence[Record]) -> Iterator[str]:
    found = tests(records)
    learned = found[~found["network"].isin(list(BUILT))]
    online = read_to_the_end(records)
    for problem, of_problem in learned.groupby("problem", observed=True):
        parts = []
        for network, rows in of_problem.groupby("network", observed=True):
            last = rows[rows["bits"] == rows["bits"].max()]
            told = f"{network} {solving.count(last['exact'] == 1)} without an error"
            one = online[(online["problem"] == problem) & (online["network"] == network)]
            if len(one):
                told += f" (one number of {one['bits'].iloc[0]:,} bits: {solving.count(one['exact'])})"
            parts.append(f"{told}, {_share(last['right'])} of answers right at {last['bits'].iloc[0]:,} bits")
        longest, count = of_problem["longest"].iloc[0], of_problem["numbers"].iloc[0]
        name = _words(str(problem)).capitalize()
        yield f"{name}, learned from at most {longest} bits, {count:,} numbers a seed: {'; '.join(parts)}."


def _of_needs(records: Sequence[Record]) -> Iterator[str]:
    found = enough(records)
    if found.empty:
        return
    for (problem, network, of), rows in found.groupby([*CASE, "of"], observed=True):
        ends = [rows[rows["longest"] == end] for end in (rows["longest"].min(), rows["longest"].max())]
        told = " and ".join(f"{_least(end['least'])} {of} for {end['longest'].iloc[0]} bits" for end in ends)
        yield f"For {_words(str(problem))} {network} needs {told}."


def _by_hand(records: Sequence[Record]) -> Iterator[str]:
    found, flow = frames.frame(records, "all"), flows(records)
    if found.empty:
        return
    right = found[found["wrong"] == 0]
    bits = found["longest"].iloc[0]
    kept = flow[flow["phase"] == "hand_set"].assign(kept=lambda rows: frames.changes(rows["norms"]))
    told = ", ".join(f"{_words(str(row.network))} {_power(row.kept)}" for row in kept.itertuples())
    steps = len(flow["norms"].iloc[0])
    yield (
        f"Set by hand, {len(right)} of {len(found)} networks are exact on all numbers of at most {bits} bits; over {steps} "
        f"steps the gradient is multiplied by: {told}."
    )


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    lines = "\n".join(f"- {line}" for line in verdict(records).splitlines())
    return page.filled(__file__, verdict=lines, table=table(records), needs=needs_table(records))


# Figures


def right_by_length(records: Sequence[Record]) -> Figure:
    """A column of panels for each problem: numbers without an error, and answers that are right, against length."""
    found = tests(records)
    found = found[~found["network"].isin(list(BUILT))]
    problems = list(found["problem"].unique())
    looks, markers = drawing.looks_of(found["network"]), drawing.markers_of(found["network"])
    figure, axes = drawing.grid(2, len(problems), size=(2.5, 2.2), share=("col", True))
    for place, problem in enumerate(problems):
        of_problem = found[found["problem"] == problem]
        for panel, share in ((axes[place], "exact"), (axes[place + len(problems)], "right")):
            for network, rows in of_problem.groupby("network", observed=True):
                curves = 100 * rows.pivot_table(index="seed", columns="bits", values=share)
                look = looks[network] | {"marker": markers[network], "markersize": 4}
                drawing.band(panel, curves.columns.to_numpy(), curves.to_numpy(), look, str(network))
            panel.axvline(of_problem["longest"].iloc[0], color=drawing.GREY, linewidth=0.8, zorder=0)
            panel.set(xscale="log", ylim=(-5, 105))
            panel.xaxis.set_major_formatter("{x:,.0f}")
            panel.xaxis.set_minor_formatter(NullFormatter())
        axes[place + len(problems)].axhline(50, color=drawing.GREY, linewidth=3, alpha=0.4, zorder=0, label="chance")
        drawing.head(axes[place], _words(str(problem)))
    axes[0].set_ylabel("exact numbers (%)")
    axes[len(problems)].set_ylabel("right answers (%)")
    drawing.legend(figure, "median and range\nover seeds")
    lines = [_exact_at_the_end(str(problem), found[found["problem"] == problem]) for problem in problems]
    x = "length of the numbers (bits; grey upright line: the longest that were learned from)"
    return drawing.caption(figure, "\n".join(["Seeds without an error at the longest numbers tested", *lines]), x)


def needs_by_bits(records: Sequence[Record]) -> Figure | None:
    """Two panels: the examples, and the weights of an MLP, that suffice for numbers of N bits, against N."""
    found = enough(records)
    if found.empty:
        return None
    found["line"] = found["problem"].astype(str) + ", " + found["network"].astype(str)
    looks, markers = drawing.looks_of(found["line"]), drawing.markers_of(found["line"])
    figure, (examples, weights) = drawing.panels(2, size=(3.4, 3.6), share=(True, False))
    for panel, of, value in ((examples, "examples", "least"), (weights, "units", "weights")):
        for line, rows in found[found["of"] == of].groupby("line", sort=False):
            curves = rows.pivot_table(index="seed", columns="longest", values=value, dropna=False)
            look = looks[line] | {"marker": markers[line], "markersize": 4}
            drawing.band(panel, curves.columns.to_numpy(), curves.to_numpy(), look, line)
        panel.set_yscale("log", base=2)
        panel.yaxis.set_major_formatter("{x:,.0f}")
    for problem, rows in found.groupby("problem", observed=True):
        bits = np.unique(rows["longest"])
        everything = [_all(str(problem), each) for each in bits]
        examples.plot(bits, everything, color=drawing.GREY, linewidth=4, alpha=0.4, zorder=0, label="all numbers")
    examples.set_ylabel("examples that suffice")
    weights.set_ylabel("weights of an MLP that suffices")
    drawing.legend(figure, "median and range\nover seeds")
    told = "\n".join(line.removesuffix(".") for line in _of_needs(records))
    return drawing.caption(figure, told, "N, length of the numbers (bits)")


def gradient_by_lag(records: Sequence[Record]) -> Figure | None:
    """Panels for each problem: the gradient back from the last answer, of networks set by hand, and of those that learn."""
    found = flows(records)
    if found.empty:
        return None
    by_hand = found["phase"] == "hand_set"
    place = np.where(by_hand, "set by hand", "that learn")
    found["panel"] = found["problem"].astype(str).map(_words) + ", " + place
    found["line"] = found["network"].astype(str).map(_words)
    figure, _, lines = drawing.multiples(found, panel="panel", line="line", across=3, size=(3, 2.9))
    for axes, line, look, rows in lines:
        for phase, of_phase in rows.groupby("phase"):
            width = {"linewidth": 0.9 if phase == "initialization" else 2.2}
            label = line if phase == "hand_set" else f"{line}, {PHASES[phase]}"
            drawing.by_lag(axes, of_phase["norms"], look | width, label, relative=True)
    drawing.legend(figure, "shade: range over seeds")
    return drawing.caption(figure, _kept(found), "lag: steps back from the last answer", drawing.RELATIVE)


# Words


def _words(name: str) -> str:
    return WORDS.get(name, name.replace("_", " "))


def _share(values: pd.Series) -> str:
    """Per cent, from the least to the greatest over seeds; all are right only where it says 100 %."""
    floored = np.floor(1000 * values.to_numpy()) / 10
    return f"{frames.span(floored, '.1f')} %".replace("100.0 %", "100 %")


def _least(values: pd.Series) -> str:
    """Median and range over seeds; "none" where no number that was tried sufficed."""
    return frames.median(values, "{:,.0f}".format).replace("inf", "none")


def _all(problem: str, bits: int) -> int:
    """How many numbers of that many bits there are, or pairs of them."""
    return int(2 ** (AUTOMATA[problem].digits * bits))


def _power(exponent: float) -> str:
    return "0" if np.isinf(exponent) else f"10^{exponent:+.1f}"


def _exact_at_the_end(problem: str, rows: pd.DataFrame) -> str:
    parts = []
    for network, of_network in rows.groupby("network", observed=True):
        last = of_network[of_network["bits"] == of_network["bits"].max()]
        parts.append(f"{network} {solving.count(last['exact'] == 1)} at {last['bits'].iloc[0]:,} bits")
    return f"{_words(problem)}: {', '.join(parts)}"


def _kept(found: pd.DataFrame) -> str:
    """Of the last answer's gradient how much the first step has, by kind of network."""
    rows = found.assign(kept=frames.changes(found["norms"]))
    rows = rows[rows["phase"] != "initialization"]
    name = rows["network"].astype(str).map(_words)
    ends = np.where(
        rows["phase"] == "hand_set", name, np.where(rows["solved"], "learned and exact", "learned, not exact")
    )
    told = frames.medians(rows["kept"], pd.Series(ends, rows.index), drawing.power_of_ten)
    return f"Of the last step's gradient the first has {told} (medians and ranges over networks)"


FIGURES: drawing.Figures = (right_by_length, needs_by_bits, gradient_by_lag)


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/arithmetic")
