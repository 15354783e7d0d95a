"""Figures, table and verdict of the remedies experiment, drawn from its metrics.jsonl alone.

``python -m experiments.remedies.report --workdir=runs/remedies`` draws the figures of a run again.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import drawing, frames
from experiments.common.drawing import COLOURS, DASHES
from experiments.common.frames import log10
from experiments.common.workdir import Record

Case = tuple[int, str]
"""(length, remedy)."""

PHASES = ("initialization", "flossed", "trained")
_PHASE_NAMES = {"initialization": "at first", "flossed": "after flossing", "trained": "at last"}
_WORDS = {
    "none": "no remedy",
    "penalty": "the penalty",
    "flossing": "flossing",
    "norm_clipping": "norm clipping",
    "element_clipping": "element clipping",
}

# Told apart in grey: by lightness and dashes.
_STYLES: dict[str, dict[str, Any]] = {
    "initialization": {"color": "#8a8a8a", "linestyle": ":"},
    "flossed": {"color": "#d55e00", "linestyle": "--"},
    "trained": {"color": "#000000", "linestyle": "-"},
}


_BELOW = -99.0  # every axis


def cases(records: Iterable[Record], kind: str) -> dict[Case, list[list[Record]]]:
    """The records of a kind: by length and remedy in the order planned, for each seed those of its run in order."""
    found: dict[Case, dict[int, list[Record]]] = {}
    steps = {(r["length"], r["remedy"], r["seed"], r["step"]): r for r in records if r["kind"] == "train"}
    for record in records:
        if record["kind"] == "evaluation":
            record = steps.get((record["length"], record["remedy"], record["seed"], record["step"]), {}) | record
        if record["kind"] == kind:
            found.setdefault((record["length"], record["remedy"]), {}).setdefault(record["seed"], []).append(record)
    return {case: [found[case][seed] for seed in sorted(found[case])] for case in sorted(found, key=_reading_order)}


def table(records: Sequence[Record]) -> str:
    """How each remedy fared, medians over seeds, as a Markdown table."""
    evaluations, exponents = cases(records, "evaluation"), cases(records, "exponents")
    flows = cases(records, "state_gradient")
    rows = []
    for case, runs in cases(records, "result").items():
        ends = [end for (end,) in runs]
        steps = [seen for run in evaluations[case] for seen in run[1:]]
        rows.append(
            {
                "T": case[0],
                "remedy": _words(case[1]),
                "solved": _solved(ends),
                "steps": _steps(ends),
                "wrong at last": f"{np.median([_number(end['error']) for end in ends]):.1%}",
                "loss / chance": f"{np.median([_number(end['loss']) / end['chance'] for end in ends]):.2f}",
                "norm before clipping": f"{max(_number(seen['norm_before_largest']) for seen in steps):.3g}",
                "after clipping": f"{max(_number(seen['norm_after_largest']) for seen in steps):.3g}",
                "steps clipped": f"{np.mean([seen['steps_clipped'] for seen in steps]):.0%}",
                "elements clipped": f"{np.mean([seen['elements_clipped'] for seen in steps]):.1%}",
                "kept over T before training": _kept(flows[case], _start(flows[case])),
                "after training": _kept(flows[case], "trained"),
                "largest exponent before": _largest(exponents[case], _start(exponents[case])),
                "exponent after": _largest(exponents[case], "trained"),
            }
        )
    return frames.table(rows, {"remedy"})


def successes(records: Sequence[Record]) -> str:
    """How many seeds solve the task, a row for each remedy, a column for each length, as a Markdown table."""
    results = cases(records, "result")
    lengths, remedies = (_in_order(case[place] for case in results) for place in (0, 1))
    rows = [
        {"solved with": _words(remedy)}
        | {f"T = {length}": _solved([end for (end,) in results[length, remedy]]) for length in lengths}
        for remedy in remedies
    ]
    return frames.table(rows, {"solved with"})


def verdict(records: Sequence[Record]) -> str:
    """With which remedies every seed solves the task at all lengths, with which none does, and whose doing it is."""
    found: dict[str, dict[int, list[Record]]] = {}
    for (length, remedy), runs in cases(records, "result").items():
        found.setdefault(remedy, {})[length] = [end for (end,) in runs]
    rates = {remedy: [_rate(ends) for ends in by_length.values()] for remedy, by_length in found.items()}
    some = [remedy for remedy in found if set(rates[remedy]) not in ({0.0}, {1.0})]
    parts = []
    for words, chosen in (
        ("every seed solves it with:", [_words(remedy) for remedy in found if set(rates[remedy]) == {1.0}]),
        ("some with:", [f"{_words(remedy)} ({', '.join(map(_count, found[remedy].values()))})" for remedy in some]),
        ("no seed with:", [_words(remedy) for remedy in found if set(rates[remedy]) == {0.0}]),
    ):
        if chosen:
            parts.append(f"{words} {', '.join(chosen)}")
    by_length = next(iter(found.values()))
    task = next(iter(by_length.values()))[0]["task"].replace("_", " ").capitalize()
    return f"{task} at T = {_listed(by_length)}: {'; '.join(parts)}.{_claim(found)}"


def _claim(found: dict[str, dict[int, list[Record]]]) -> str:
    """At which lengths the penalty is what norm clipping lacks, and at which it is not; if all three were tried."""
    by_parts = {frozenset(remedy.split("+")): by_length for remedy, by_length in found.items()}
    parts = ({"penalty", "norm_clipping"}, {"norm_clipping"}, {"none"})
    both, clipping, nothing = (by_parts.get(frozenset(each)) for each in parts)
    if not (both and clipping and nothing):
        return ""
    lacking, others = [], []
    for length, ends in both.items():
        if _rate(ends) == 1 and not _rate(clipping[length]) and not _rate(nothing[length]):
            lacking.append(length)
        else:
            without = f"{_count(clipping[length])} with clipping alone, {_count(nothing[length])} with no remedy"
            others.append(f"; at T = {length} {_count(ends)} solve it with both, {without}")
    where = (
        f"T = {_listed(lacking)} (all solve it with both, none with clipping alone or no remedy)" if lacking else "no T"
    )
    return f" The penalty is what norm clipping lacks at {where}{''.join(others)}."


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    return (
        "# Which remedy lets a tanh network learn what lies far back?\n\n"
        f"{verdict(records)}\n\n{successes(records)}\n\n"
        "The task is solved when at two evaluations in a row no more than 1 % of the test sequences are wrong; 'steps' "
        "is the training step of the first of the two, the median over seeds with those that never did counted as "
        "later than any, and the range of those that did. Chance is the loss of the best guess that knows none of the "
        "inputs. Gradient norms are the largest of any training step, before and after clipping; steps and elements "
        "clipped are means over training. 'Kept over T' is ||dL/ds_1|| / ||dL/ds_T|| on the test sequences, and the "
        "exponents are Lyapunov's, per step, along one of them, before training (after flossing, if there was any) and "
        "after it. Medians over seeds where nothing else is said.\n\n"
        f"{table(records)}\n"
    )


def loss_by_step(records: Sequence[Record]) -> Figure:
    """A row of panels for each length, a panel for each remedy: test loss against training step, chance drawn."""
    curves, results = cases(records, "evaluation"), cases(records, "result")
    lengths, remedies = (_in_order(case[place] for case in curves) for place in (0, 1))
    figure, panels = plt.subplots(
        len(lengths),
        len(remedies),
        figsize=(1 + 1.75 * len(remedies), 1 + 1.9 * len(lengths)),
        sharex="row",
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for (row, length), (column, remedy) in itertools.product(enumerate(lengths), enumerate(remedies)):
        axes = panels[row, column]
        ends = [end for (end,) in results[length, remedy]]
        for curve, colour, dashes in zip(curves[length, remedy], itertools.cycle(COLOURS), itertools.cycle(DASHES)):
            points = [(record["step"] / 1000, _number(record["loss"])) for record in curve]
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=dashes, linewidth=1.1)
        axes.axhline(ends[0]["chance"], color="#8a8a8a", linewidth=4, alpha=0.4, zorder=0)
        head = f"{_title(remedy)}\n" if row == 0 else ""
        axes.set_title(f"{head}solved {_solved(ends)}", loc="left", fontsize=9)
        if column == 0:
            axes.set_ylabel(f"T = {length}\ntest loss (nats)")
    place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    panels[0, 0].annotate("chance", (1, ends[0]["chance"]), (0, 5), **place, ha="right", fontsize=8)
    figure.supxlabel("training step (thousands; a line a seed, it ends where the task is solved)", fontsize=10)
    lines = verdict(records).replace("; ", ";\n").replace(". The", ".\nThe")
    figure.suptitle(lines, x=0.01, ha="left", fontsize=11)
    return figure


def norms_and_clipping(records: Sequence[Record]) -> Figure:
    """A panel for each remedy at the greatest length: the largest gradient norm of an interval of training steps."""
    curves = _longest(cases(records, "evaluation"))
    figure, panels = _panels(len(curves))
    reached: dict[bool, list[float]] = {True: [], False: []}  # with clipping, and without
    left = []
    for axes, (remedy, runs) in zip(panels, curves.items(), strict=True):
        for run in runs:
            steps = [record["step"] / 1000 for record in run[1:]]
            before, after = ([_number(r[f"norm_{when}_largest"]) for r in run[1:]] for when in ("before", "after"))
            axes.plot(steps, before, color="#d55e00", linewidth=0.9)
            axes.plot(steps, after, color="#000000", linewidth=1.1, linestyle="--")
            reached["clipping" in remedy] += before
            left += after if "clipping" in remedy else []
        clipped = np.mean([record["steps_clipped"] for run in runs for record in run[1:]])
        axes.set_title(f"{_title(remedy)}\n{clipped:.0%} of steps clipped", loc="left", fontsize=9)
        axes.set_yscale("log")
    panels[0].set_ylabel("largest gradient norm in an interval")
    panels[0].legend(["before clipping", "after"], frameon=False, fontsize=8)
    figure.supxlabel("training step (thousands; lines of all seeds)", fontsize=10)
    found = [f"up to {max(reached[False]):,.3g} without clipping"] if reached[False] else []
    found += [f"up to {max(reached[True]):,.3g} clipped to at most {max(left):.3g}"] if left else []
    figure.suptitle(f"Gradient norms in training: {', '.join(found)}", x=0.01, ha="left", fontsize=11)
    return figure


def gradient_by_lag(records: Sequence[Record]) -> Figure:
    """A panel for each remedy at the greatest length: log10 of ||dL/ds_t|| against lag, before and after training."""
    flows = _longest(cases(records, "state_gradient"))
    figure, panels = _panels(len(flows))
    for axes, (remedy, runs) in zip(panels, flows.items(), strict=True):
        for phase in PHASES:
            logs = _logs([record["norms"] for run in runs for record in run if record["phase"] == phase])
            if len(logs):
                _range(axes, np.arange(logs.shape[1]), logs[:, ::-1], phase)
        axes.set_title(_title(remedy), loc="left", fontsize=9)
    panels[0].set_ylabel(r"$\log_{10} \|\partial L / \partial s_t\|$")
    _legend(panels)
    figure.supxlabel("lag (steps back from the loss); lines: medians, shade: range over seeds", fontsize=10)

    def change(record: Record) -> float:
        (logs,) = _logs([record["norms"]])
        return float(logs[0] - logs[-1])

    found = [f"{_power(median)} {words}" for words, median in _by_phase(records, flows, change).items()]
    figure.suptitle(
        f"From the last step to the first the gradient changes by\n{', '.join(found)} (medians over networks)",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    return figure


def lyapunov_exponents(records: Sequence[Record]) -> Figure:
    """A panel for each remedy at the greatest length: the exponents, largest first, before and after training."""
    spectra = _longest(cases(records, "exponents"))
    figure, panels = _panels(len(spectra))
    for axes, (remedy, runs) in zip(panels, spectra.items(), strict=True):
        axes.axhline(0, color="#8a8a8a", linewidth=3, alpha=0.4, zorder=0)
        for phase in PHASES:
            values = [_numbers(r["exponents"], _BELOW) for run in runs for r in run if r["phase"] == phase]
            if values:
                _range(axes, np.arange(1, len(values[0]) + 1), np.array(values), phase)
        axes.set_title(_title(remedy), loc="left", fontsize=9)
    panels[0].set_ylabel("Lyapunov exponent (per step)")
    panels[0].set_ylim(-4, 0.6)  # -inf is below it
    _legend(panels)
    figure.supxlabel("exponents in order, largest first; lines: medians, shade: range over seeds", fontsize=10)
    medians = _by_phase(records, spectra, lambda record: _number(record["exponents"][0], -np.inf))
    found = [f"{median:+.2f} {words}" for words, median in medians.items()]
    figure.suptitle(
        f"The largest exponent is {', '.join(found)} (medians over networks)", x=0.01, ha="left", fontsize=11
    )
    return figure


def _by_phase(
    records: Sequence[Record], runs: dict[str, list[list[Record]]], quantity: Callable[[Record], float]
) -> dict[str, float]:
    """The median over networks of a quantity of a record, at every phase; in the end for those that solved it alone."""
    ends = _longest(cases(records, "result"))
    solved = {(remedy, end["seed"]): end["outcome"] == "solved" for remedy in ends for (end,) in ends[remedy]}
    found: dict[str, list[float]] = {}
    for phase in PHASES:
        for remedy, of_remedy in runs.items():
            for record in (record for run in of_remedy for record in run if record["phase"] == phase):
                words = " where solved" if solved[remedy, record["seed"]] else " where not solved"
                name = _PHASE_NAMES[phase] + (words if phase == "trained" else "")
                found.setdefault(name, []).append(quantity(record))
    return {name: float(np.median(values)) for name, values in found.items()}


def _range(axes: Axes, x: np.ndarray, curves: np.ndarray, phase: str) -> None:
    """The median of curves (seeds, N), shaded from the least to the greatest."""
    alive = ~np.isnan(curves).any(axis=0)
    x, curves = x[alive], curves[:, alive]
    axes.fill_between(x, curves.min(axis=0), curves.max(axis=0), color=_STYLES[phase]["color"], alpha=0.18, linewidth=0)
    axes.plot(x, np.median(curves, axis=0), **_STYLES[phase], linewidth=1.6, label=_PHASE_NAMES[phase])


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure, panels = plt.subplots(
        1, count, figsize=(1 + 1.75 * count, 3.4), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    return figure, list(panels[0])


def _legend(panels: Sequence[Axes]) -> None:
    """Of all phases that any panel shows, once."""
    found = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    names = [name for name in _PHASE_NAMES.values() if name in found]
    panels[0].legend([found[name] for name in names], names, frameon=False, fontsize=8)


def _longest(found: dict[Case, list[list[Record]]]) -> dict[str, list[list[Record]]]:
    """By remedy, at the greatest length."""
    longest = max(length for length, _ in found)
    return {remedy: runs for (length, remedy), runs in found.items() if length == longest}


def _reading_order(case: Case) -> tuple[object, ...]:
    """Lengths rising; no remedy first, then what is added to it, clipping last."""
    length, remedy = case
    parts = remedy.split("+")
    return length, "flossing" in parts, "penalty" in parts, "none" not in parts, "clipping" in remedy, remedy


def _start(runs: list[list[Record]]) -> str:
    """The phase in which training starts."""
    return "flossed" if any(record["phase"] == "flossed" for record in runs[0]) else "initialization"


def _kept(runs: list[list[Record]], phase: str) -> str:
    logs = _logs([record["norms"] for run in runs for record in run if record["phase"] == phase])
    change = float(np.median(logs[:, 0] - logs[:, -1]))
    return "underflowed" if np.isnan(change) else f"{10**change:.2g}"


def _largest(runs: list[list[Record]], phase: str) -> str:
    values = [_number(r["exponents"][0], -np.inf) for run in runs for r in run if r["phase"] == phase]
    return f"{np.median(values):+.3f}"


def _count(ends: list[Record]) -> str:
    return f"{sum(end['outcome'] == 'solved' for end in ends)}/{len(ends)}"


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _rate(ends: list[Record]) -> float:
    return float(np.mean([end["outcome"] == "solved" for end in ends]))


def _solved(ends: list[Record]) -> str:
    diverged = sum(end["outcome"] == "diverged" for end in ends)
    return _count(ends) + (f", {diverged} diverged" if diverged else "")


def _steps(ends: list[Record]) -> str:
    taken = [end["steps"] for end in ends if end["steps"] is not None]
    if not taken:
        return "-"
    spread = " to ".join(f"{steps:,}" for steps in sorted({min(taken), max(taken)}))
    median = np.median([np.inf if end["steps"] is None else end["steps"] for end in ends])
    return f"{spread}, some never" if np.isinf(median) else f"{median:,.0f} ({spread})"


def _logs(norms: list[list[float | None]]) -> np.ndarray:
    """Those of several seeds (seeds, T)."""
    return log10(np.array([_numbers(curve) for curve in norms], np.float32))


def _power(exponent: float) -> str:
    return "more than float32 holds" if np.isnan(exponent) else f"$10^{{{exponent:+.1f}}}$"


def _number(value: float | None, otherwise: float = np.inf) -> float:
    """What was not finite is null in the records."""
    return otherwise if value is None else value


def _numbers(values: list[float | None], otherwise: float = np.inf) -> list[float]:
    return [_number(value, otherwise) for value in values]


def _words(remedy: str, joint: str = " + ") -> str:
    return joint.join(_WORDS.get(part, part) for part in remedy.split("+"))


def _title(remedy: str) -> str:
    """For a narrow panel."""
    return _words(remedy, " +\n")


def _in_order(names: Iterable[object]) -> list:
    return list(dict.fromkeys(names))


FIGURES: drawing.Figures = {
    "loss_by_step": loss_by_step,
    "norms_and_clipping": norms_and_clipping,
    "gradient_by_lag": gradient_by_lag,
    "lyapunov_exponents": lyapunov_exponents,
}
"""By the names of their files."""


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/remedies")
