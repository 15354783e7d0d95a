"""Figures, tables and verdict of the long_memory experiment, drawn from its metrics.jsonl alone.

``python -m experiments.long_memory.report --workdir=runs/long_memory`` draws the figures of a run again.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.common import drawing, frames
from experiments.common.drawing import COLOURS, DASHES, MARKERS
from experiments.common.frames import log10
from experiments.common.workdir import Record
from rnnjax import decay

Case = tuple[str, int, str]
"""(task, lag, cell)."""


class Published(NamedTuple):
    """What others found on a task at a lag."""

    task: str
    lag: int
    network: str
    settings: str
    solved: str
    sequences: str  # until it was solved
    source: str


_TABLES = {
    number: f"Hochreiter & Schmidhuber (1997), table {number}, {trials} trials"
    for number, trials in ((2, "18"), (7, "10"), (8, "10"), (9, "20 and 10"))
}
_LSTM = "LSTM of 1997"
PUBLISHED = (
    Published("latching", 4, "recurrent, RTRL", "36 weights, rate 1", "78 %", "1,043,000", _TABLES[2]),
    Published("latching", 4, "recurrent, RTRL", "36 weights, rate 4", "56 %", "892,000", _TABLES[2]),
    Published("latching", 4, "recurrent, RTRL", "36 weights, rate 10", "22 %", "254,000", _TABLES[2]),
    Published("latching", 10, "recurrent, RTRL", "144 weights, rates 1 to 10", "0 %", "> 5,000,000", _TABLES[2]),
    Published("latching", 100, "recurrent, RTRL", "10,404 weights, rates 1 to 10", "0 %", "> 5,000,000", _TABLES[2]),
    Published("latching", 100, "recurrent, BPTT", "10,404 weights, rates 1 to 10", "0 %", "> 5,000,000", _TABLES[2]),
    Published("latching", 100, "sequence chunker", "10,506 weights, rate 1", "33 %", "32,400", _TABLES[2]),
    Published("latching", 100, _LSTM, "10,504 weights, rate 1", "100 %", "5,040", _TABLES[2]),
    Published("adding", 100, _LSTM, "93 weights, rate 0.5", "-", "74,000", _TABLES[7]),
    Published("adding", 500, _LSTM, "93 weights, rate 0.5", "-", "209,000", _TABLES[7]),
    Published("adding", 1000, _LSTM, "93 weights, rate 0.5", "-", "853,000", _TABLES[7]),
    Published("multiplication", 100, _LSTM, "93 weights, rate 0.1; 140 of 2000 wrong", "-", "482,000", _TABLES[8]),
    Published("multiplication", 100, _LSTM, "93 weights, rate 0.1; 13 of 2000 wrong", "-", "1,273,000", _TABLES[8]),
    Published("temporal_order", 100, _LSTM, "156 weights, rate 0.5", "-", "31,390", _TABLES[9]),
    Published("temporal_order_of_three", 100, _LSTM, "308 weights, rate 0.1", "-", "571,100", _TABLES[9]),
)

_AT_CHANCE = 0.9
"""A loss above that part of chance is at chance: nothing of what is far back has been used."""


def results(records: Iterable[Record]) -> dict[Case, list[Record]]:
    """How the runs of each case ended, by seed."""
    return _by_case(record for record in records if record["kind"] == "result")


def table(records: Sequence[Record]) -> str:
    """How each case ended, medians over seeds, as a Markdown table."""
    rows = []
    half_lives = {phase: _half_lives(records, phase) for phase in ("initialization", "trained")}
    for case, ends in results(records).items():
        task, lag, cell = case
        loss, chance = np.median([_number(end["loss"]) for end in ends]), ends[0]["chance"]
        rows.append(
            {
                "task": task,
                "lag": lag,
                "cell": cell,
                "solved": _solved(ends),
                "steps": _steps(ends),
                "last loss": f"{loss:.3g}",
                "chance": f"{chance:.3g}",
                "loss / chance": f"{loss / chance:.2f}",
                "sequences wrong": f"{np.median([_number(end['error']) for end in ends]):.1%}",
                "half-life at first": _half_life(half_lives["initialization"][case]),
                "at last": _half_life(half_lives["trained"][case]),
            }
        )
    return frames.table(rows, words={"task", "cell"})


def published(records: Sequence[Record]) -> str:
    """What others found on the same tasks at the same lags, beside ours; empty if there is nothing to compare."""
    ours = results(records)
    cases = {(task, lag) for task, lag, _ in ours}
    rows = [{**entry._asdict(), "source": entry.source} for entry in PUBLISHED if (entry.task, entry.lag) in cases]
    compared = {(row["task"], row["lag"]) for row in rows}
    for (task, lag, cell), ends in ours.items():
        if (task, lag) in compared:
            steps = _median_steps(ends)
            sequences = "-" if np.isinf(steps) else f"{steps * ends[0]['batch_size']:,.0f}"
            entry = Published(task, lag, cell, ends[0]["settings"], _solved(ends), sequences, "here")
            rows.append(entry._asdict())
    rows.sort(key=lambda row: (row["task"], row["lag"]))
    return frames.table(rows, words={"task", "network", "settings", "source"}) if rows else ""


def verdict(records: Sequence[Record]) -> str:
    """Who solved each task at its longest lag, in a line."""
    ends = results(records)
    parts = []
    for task in _in_order(case[0] for case in ends):
        longest = max(lag for name, lag, _ in ends if name == task)
        scores = [
            f"{cell} {_score(case)}" for (name, lag, cell), case in ends.items() if (name, lag) == (task, longest)
        ]
        parts.append(f"{_words(task)} at {longest}: {', '.join(scores)}")
    return f"Seeds that solve the longest lag: {'; '.join(parts)}."


def summary(records: Sequence[Record]) -> str:
    """The page left in the workdir."""
    page = (
        f"# Who learns to remember, and over how long a lag?\n\n{verdict(records)}\n\n"
        "A task is solved when at two evaluations in a row no more than 1 % of the test sequences are wrong (5 % of "
        "the digits); 'steps' is the training step of the first of the two: the median over seeds, and the range. "
        "Chance is the loss of the best guess that knows the time step and none of the inputs. Half-life: of "
        "||dL/ds_t|| back from the loss at the last step, in steps, by rnnjax.decay, before and after training. "
        "Losses and half-lives are medians over seeds.\n\n"
        f"{table(records)}\n"
    )
    compared = published(records)
    if compared:
        page += (
            "\n## Published\n\nTraining sequences until solved, by each author's own criterion, net and form of the "
            f"task: an order of magnitude to compare with, not more.\n\n{compared}\n"
        )
    return page


def solved_by_lag(records: Sequence[Record]) -> Figure:
    """A column of panels for each task: share of seeds that solve it, and steps it took; a line a cell."""
    ends = results(records)
    tasks = _in_order(case[0] for case in ends)
    figure, panels = plt.subplots(
        2,
        len(tasks),
        figsize=(1.6 + 2.5 * len(tasks), 5),
        sharex="col",
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    cells = _in_order(case[2] for case in ends)
    for (rate, steps), task in zip(panels.T, tasks, strict=True):
        lags = sorted({lag for name, lag, _ in ends if name == task})
        for number, cell in enumerate(cells):
            of_cell = [ends[task, lag, cell] for lag in lags]
            places = np.arange(len(lags)) + 0.09 * (number - (len(cells) - 1) / 2)  # side by side: none hides another
            style = _style(number) | {"marker": MARKERS[number % len(MARKERS)], "markersize": 6, "label": cell}
            rate.plot(
                places, [100 * np.mean([end["outcome"] == "solved" for end in case]) for case in of_cell], **style
            )
            solved = [[end["steps"] for end in case if end["outcome"] == "solved"] for case in of_cell]
            medians = np.array([_median_steps(case) for case in of_cell])
            steps.plot(places, np.where(np.isinf(medians), np.nan, medians), **style)
            for place, taken in zip(places, solved, strict=True):
                steps.plot([place] * len(taken), taken, color=style["color"], linewidth=1, marker="_", markersize=7)
        rate.set_title(_words(task), loc="left", fontsize=10)
        rate.set_ylim(-6, 106)
        steps.set_xticks(range(len(lags)), [str(lag) for lag in lags])
        if any(end["steps"] for case in ends.values() for end in case):
            steps.set_yscale("log")
            _plain_ticks(steps, (1, 2, 5))
        steps.set_xlabel("lag or length T (steps)")
    panels[0, 0].set_ylabel("seeds that solve it (%)")
    panels[1, 0].set_ylabel("training steps to solve\n(median; dash: a seed)")
    panels[0, -1].legend(frameon=False, fontsize=9, loc="best")
    figure.suptitle(_found(ends), x=0.01, ha="left", fontsize=11)
    return figure


def loss_by_step(records: Sequence[Record]) -> Figure:
    """A row of panels for each task, a panel for each lag: test loss against training step, chance drawn."""
    curves = _by_case(record for record in records if record["kind"] == "evaluation")
    ends = results(records)
    grid = {
        task: sorted({lag for name, lag, _ in ends if name == task}) for task in _in_order(case[0] for case in ends)
    }
    cells = _in_order(case[2] for case in ends)
    rows, columns = len(grid), max(map(len, grid.values()))
    figure, panels = plt.subplots(
        rows,
        columns,
        figsize=(1.5 + 2.6 * columns, 1 + 2.1 * rows),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for row, (task, lags) in enumerate(grid.items()):
        for axes in panels[row, len(lags) :]:
            axes.set_visible(False)
        for axes, lag in zip(panels[row], lags, strict=False):
            for number, cell in enumerate(cells):
                by_seed = itertools.groupby(curves[task, lag, cell], key=lambda record: record["seed"])
                for place, (_, curve) in enumerate(by_seed):
                    points = [(record["step"], _number(record["loss"])) for record in curve]
                    axes.plot(*zip(*points, strict=True), **_style(number, 1.2), label=cell if place == 0 else None)
            chance = ends[task, lag, cells[0]][0]["chance"]
            axes.axhline(chance, color="#8a8a8a", linewidth=3, alpha=0.4, zorder=0, label="chance")
            axes.set_yscale("log")
            _plain_ticks(axes, (1, 3))
            axes.set_title(f"{_words(task)}, T = {lag}", loc="left", fontsize=10)
        panels[row, 0].set_ylabel("test loss")
    figure.supxlabel("training step (a line a seed; it ends where the task is solved)", fontsize=10)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    every = [end for case in ends.values() for end in case]
    at_chance = sum(_at_chance(end) for end in every)
    solved = sum(end["outcome"] == "solved" for end in every)
    figure.suptitle(
        f"Of {len(every)} networks {solved} solve their task, {at_chance} end at chance "
        f"(a loss above {_AT_CHANCE:g} of it)",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    return figure


def gradient_by_lag(records: Sequence[Record]) -> Figure:
    """A panel for each task at its longest lag: the gradient back from the last step, before and after training."""
    flows = _by_case(record for record in records if record["kind"] == "state_gradient")
    ends = results(records)
    tasks = _in_order(case[0] for case in flows)
    cells = _in_order(case[2] for case in flows)
    figure, panels = plt.subplots(
        1, len(tasks), figsize=(1.6 + 3 * len(tasks), 3.8), sharey=True, squeeze=False, layout="constrained"
    )
    left: dict[bool, list[float]] = {True: [], False: []}
    for axes, task in zip(panels[0], tasks, strict=True):
        longest = max(lag for name, lag, _ in flows if name == task)
        for number, cell in enumerate(cells):
            for phase, words, width in (("initialization", "at first", 0.9), ("trained", "at last", 2.2)):
                logs = _logs([record["norms"] for record in flows[task, longest, cell] if record["phase"] == phase])
                if phase == "trained":
                    for end, curve in zip(ends[task, longest, cell], logs, strict=True):
                        left[end["outcome"] == "solved"].append(float(curve[0] - curve[-1]))
                changes = (logs - logs[:, -1:])[:, ::-1]
                axes.plot(np.median(changes, axis=0), **_style(number, width), label=f"{cell}, {words}")
                low, high = changes.min(axis=0), changes.max(axis=0)
                shade = {"color": COLOURS[number % len(COLOURS)], "alpha": 0.12, "linewidth": 0}
                axes.fill_between(np.arange(len(low)), low, high, **shade)
        axes.set_title(f"{_words(task)}, T = {longest}", loc="left", fontsize=10)
        axes.set_xlabel("lag: steps back from the last")
    panels[0, 0].set_ylabel(r"$\log_{10} \|\partial L / \partial s_t\| \, / \, \|\partial L / \partial s_T\|$")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    title = "shade: range over seeds"
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9, title=title)
    figure.suptitle(_what_is_left(left), x=0.01, ha="left", fontsize=11)
    return figure


def _what_is_left(left: dict[bool, list[float]]) -> str:
    parts = [
        f"{_power(float(np.median(np.nan_to_num(changes, nan=-np.inf))))} where {words}"
        for changes, words in ((left[True], "solved"), (left[False], "not solved"))
        if changes
    ]
    return f"Of the last step's gradient the first step has, after training,\n{', '.join(parts)} (medians of runs)"


def _power(exponent: float) -> str:
    return "nothing in float32" if np.isinf(exponent) else f"$10^{{{exponent:+.1f}}}$"


def _found(ends: dict[Case, list[Record]]) -> str:
    """The longest lag that all seeds of a cell solve, by task."""
    parts = []
    for task in _in_order(case[0] for case in ends):
        reached: dict[str, int] = {}
        for (name, lag, cell), case in ends.items():
            if name == task:
                all_solved = all(end["outcome"] == "solved" for end in case)
                reached[cell] = max(reached.get(cell, 0), lag if all_solved else 0)
        words = [f"{cell} {lag or 'none'}" for cell, lag in reached.items()]
        parts.append(f"{_words(task)}: {', '.join(words)}")
    return "Longest lag that every seed solves\n" + "\n".join(parts)


def _by_case(records: Iterable[Record]) -> dict[Case, list[Record]]:
    """Records of each case in reading order, by seed."""
    cases: dict[Case, list[Record]] = {}
    for record in sorted(records, key=lambda record: (record["task"], record["lag"], record["cell"], record["seed"])):
        cases.setdefault((record["task"], record["lag"], record["cell"]), []).append(record)
    return cases


def _half_lives(records: Sequence[Record], phase: str) -> dict[Case, list[float]]:
    chosen = _by_case(r for r in records if r["kind"] == "state_gradient" and r["phase"] == phase)
    return {
        case: [decay(np.asarray(_numbers(flow["norms"]), np.float32)).half_life for flow in flows]
        for case, flows in chosen.items()
    }


def _median_steps(ends: list[Record]) -> float:
    """Those that never solve it count as later than any."""
    return float(np.median([np.inf if end["steps"] is None else end["steps"] for end in ends]))


def _steps(ends: list[Record]) -> str:
    taken = [end["steps"] for end in ends if end["steps"] is not None]
    if not taken:
        return "-"
    spread = " to ".join(f"{steps:,}" for steps in sorted({min(taken), max(taken)}))
    if len(taken) < len(ends):
        return f"{spread}, some never"
    return f"{_median_steps(ends):,.0f} ({spread})"


def _solved(ends: list[Record]) -> str:
    return f"{sum(end['outcome'] == 'solved' for end in ends)}/{len(ends)}"


def _score(ends: list[Record]) -> str:
    """Of a case: how many seeds solved it, and where the others were left."""
    losses = [end["loss"] / end["chance"] for end in ends if end["outcome"] == "not solved"]
    diverged = sum(end["outcome"] == "diverged" for end in ends)
    left = [f"else {np.median(losses):.2f} of chance"] if losses else []
    left += [f"{diverged} diverged"] if diverged else []
    return f"{_solved(ends)} ({', '.join(left)})" if left else _solved(ends)


def _at_chance(end: Record) -> bool:
    return end["outcome"] != "solved" and not _number(end["loss"]) < _AT_CHANCE * end["chance"]


def _half_life(half_lives: list[float]) -> str:
    median = float(np.median(np.nan_to_num(half_lives, nan=0.0, posinf=np.inf)))
    return "does not fall" if np.isinf(median) else f"{median:.1f}" if median < 100 else f"{median:,.0f}"


def _logs(norms: list[list[float | None]]) -> np.ndarray:
    """Those of several seeds (seeds, T)."""
    return log10(np.array([_numbers(curve) for curve in norms], np.float32))


def _number(value: float | None) -> float:
    """What was not finite is null in the records."""
    return np.inf if value is None else value


def _numbers(values: list[float | None]) -> list[float]:
    return [_number(value) for value in values]


def _plain_ticks(axes: Axes, digits: tuple[int, ...]) -> None:
    """Of a logarithmic axis: labels without powers, at those digits of each decade."""
    axes.yaxis.set_major_locator(LogLocator(subs=digits))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _style(number: int, width: float = 1.6) -> dict[str, object]:
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number % len(DASHES)],
        "linewidth": width,
    }


def _words(task: str) -> str:
    return task.replace("_", " ")


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


FIGURES: drawing.Figures = {
    "solved_by_lag": solved_by_lag,
    "loss_by_step": loss_by_step,
    "gradient_by_lag": gradient_by_lag,
}
"""By the names of their files."""


if __name__ == "__main__":
    drawing.draw_again(FIGURES, "runs/long_memory")
