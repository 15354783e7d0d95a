"""What docs/cells.md says of the measurements: sentences and tables whose numbers and names are all taken from them."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from docs.cell_measurements import SEEDS, STRONG, WARM_UP, WEAK, T
from experiments.common import frames

EXPONENTIAL, LEVEL = 0.9, 1.1  # R² from which a slope is a rate; norms that differ by less are level
REASONS = {
    "antisymmetric": "small steps",
    "gated_antisymmetric": "small steps",
    "lipschitz": "small steps",
    "orthogonal_rnn": "linear",
    "orthogonal_rnn_cayley": "linear",
}


def of_cells(found: pd.DataFrame, scale: float) -> dict[str, pd.DataFrame]:
    """The seeds of every cell as the table has it, under inputs of that standard deviation."""
    rows = found[(found["change"] == "") & (found["scale"] == scale)]
    return {str(name): seeds for name, seeds in rows.groupby("cell", sort=False)}


def columns(strong: pd.DataFrame, weak: pd.DataFrame) -> dict[str, str]:
    """What the table says of the gradient of one cell."""
    return {
        "1/2 at lag": frames.lags(strong["half_lag"]),
        "1/10 at lag": frames.lags(strong["tenth_lag"]),
        "1/10, weak drive": frames.lags(weak["tenth_lag"]),
        "asymptotic rate": rate(strong),
        f"left at lag {T - 1}": left(strong),
        "verdict": frames.verdicts(strong["verdict"]),
    }


def rate(seeds: pd.DataFrame) -> str:
    """What a step back multiplies the norm by, where that is a number."""
    if (seeds["left"] == 0).all():
        return f"0 from lag {frames.lags(seeds['last_lag'] + 1)}"
    if (seeds["highest"] <= LEVEL * seeds["lowest"]).all():
        return "level"
    if not (seeds["r_squared"] >= EXPONENTIAL).all():
        return "not exponential"
    return frames.rates(seeds["asymptotic_rate"])


def left(seeds: pd.DataFrame) -> str:
    """The share of the norm at the loss that is left at the last lag."""
    low, high = share(seeds["left"].min()), share(seeds["left"].max())
    return low if low == high else f"{low} to {high}"


def share(value: float) -> str:
    """Two digits, hundredths where there are no more than ten of them: 5.7e-21, 0.083, 0.98, 1.01, 17,000."""
    if 0.1 <= value < 10:
        return f"{value:.2f}"
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"


# What the table shows


def learned(found: pd.DataFrame) -> str:
    """Who keeps the gradient, and who loses it how soon."""
    cells = of_cells(found, STRONG)
    kept, lost, other = by_verdict(cells)
    tenth = {name: cells[name]["tenth_lag"] for name in lost}
    order = sorted(lost, key=lambda name: (-tenth[name].median(), -tenth[name].mean()))
    ends = (order[:5], order[:-6:-1])
    slow, fast = ([f"`{name}` ({frames.lags(tenth[name])})" for name in names] for names in ends)
    split = [f"`{name}` ({counted})" for name, counted in other.items()]
    return paragraph(f"""
        {len(kept)} of the {len(cells)} cells keep the gradient of a loss at the last step over {T} steps:
        {listed(code(kept))}. Of its norm at the loss, {min(cells[name]["left"].min() for name in kept):.2f} or more is
        left {T - 1} steps before, [for two reasons](#why-{len(kept)}-cells-keep-it).
        In {len(lost)} it vanishes with each of {SEEDS} seeds. A tenth of it is left latest in {listed(slow)},
        soonest in {listed(fast)}; in brackets, the lag in steps before the loss, from the first to the last of the
        seeds. {f"It does neither, or not with every seed, in {listed(split)}." if split else ""}
    """)


def by_verdict(cells: Mapping[str, pd.DataFrame]) -> tuple[list[str], list[str], dict[str, str]]:
    """Who keeps the gradient with every seed, who loses it with every seed, and the verdicts of the others."""
    verdicts = {name: frames.verdicts(seeds["verdict"]) for name, seeds in cells.items()}
    kept, lost = ([name for name, each in verdicts.items() if each == one] for one in ("preserved", "vanishes"))
    return kept, lost, {name: each for name, each in verdicts.items() if name not in {*kept, *lost}}


def drive(found: pd.DataFrame) -> str:
    """How hard the inputs drive the units, and what of the table depends on that."""
    strong, weak = of_cells(found, STRONG), of_cells(found, WEAK)
    deviations = {name: f"{seeds['deviation'].iloc[0]:.2f}" for name, seeds in strong.items()}
    lower, window = deviations["lipschitz"], deviations["narx"]
    gained = [name for name in by_verdict(weak)[0] if name not in by_verdict(strong)[0]]
    moved = [_moved(name, strong[name], weak[name]) for name in ("elman", "lstm", "gru")]
    far = [f"{rate(weak[name])} in `{name}`" for name in ("elman", "lstm", "gru")]
    return paragraph(f"""
        The ranking depends on how hard the inputs drive the units. Here x_t W adds a standard deviation of {STRONG:.1f}
        to the pre-activation of a unit ({lower} in `lipschitz`; {window} in `tdnn` and `narx`, for each of the three
        inputs in their window). In the experiment on text of the [README](../README.md) it is {WEAK:.2f}, since a
        character is one-hot among about a hundred: that is why it has other numbers. With inputs {WEAK / STRONG:g}
        times as large, a tenth is left at lag {listed(moved)}. Far from the loss the order is another one: by the
        asymptotic rate such inputs let a step back multiply the norm by {listed(far)}.
        {f"{len(gained)} cells more keep the gradient under them: {listed(code(gained))}." if gained else ""}
        `python -m experiments.gradient_flow --variant=drive` goes from 0.03 to 3.
    """)


def _moved(name: str, strong: pd.DataFrame, weak: pd.DataFrame) -> str:
    now, before = (frames.lags(seeds["tenth_lag"]) for seeds in (weak, strong))
    return f"{now} in `{name}` {'as before' if now == before else f'instead of {before}'}"


# Why


def reasons(found: pd.DataFrame) -> str:
    """Why the cells that keep the gradient do so, with what it becomes when the reason is taken away.

    Raises:
        ValueError: if other cells keep it than those that this section explains.
    """
    kept, _, _ = by_verdict(of_cells(found, STRONG))
    if set(kept) != set(REASONS):
        raise ValueError(
            f"{sorted(kept)} keep the gradient: expected those that have a reason, {sorted(REASONS)}; "
            "find out why, and say it in docs/cell_findings.py"
        )
    return f"""## Why {len(kept)} cells keep it

{linear(found)}

{small_steps(found)}

{settling(found)}

{changes_table(found)}
"""


def linear(found: pd.DataFrame) -> str:
    """Of the orthogonal networks."""
    names = [name for name, reason in REASONS.items() if reason == "linear"]
    biased, at_first, squashed = (
        pd.concat([of(found, name, change) for name in names])
        for change in ("modReLU with bias -0.1", "modReLU with bias -0.1, warm-up 0", "tanh")
    )
    return paragraph(f"""
        **Their step is linear.** {listed(code(names))} multiply the state by an orthogonal matrix, which keeps every
        norm. modReLU changes nothing while its bias is 0, as it is at initialization. With a bias of -0.1,
        {left(biased)} of the gradient is left at lag {T - 1}; measured from h_0 = 0, where the state is smaller beside
        the bias, {left(at_first)}. With tanh in its place a step back multiplies the norm by {rate(squashed)}.
    """)


def small_steps(found: pd.DataFrame) -> str:
    """Of the networks that are differential equations."""
    names = [name for name, reason in REASONS.items() if reason == "small steps"]
    pair = ("antisymmetric", "residual_tanh")
    held = left(of_cells(found, STRONG)[pair[0]])
    cold, warm = (
        [left(of(found, name, change)) for name in pair] for change in ("step size 1, warm-up 0", "step size 1")
    )
    return paragraph(f"""
        **Their steps are small.** {listed(code(names))} change the state by a step of size 0.01, and the step size
        times T is {0.01 * T:g}. On so short a way a network without their structure keeps the gradient, too: of
        `residual_tanh`, h_t = h_{{t-1}} + 0.01 tanh(h_{{t-1}} U + x_t W) with a Gaussian U of variance 1/H, the norm at
        lag {T - 1} is {left(of(found, pair[1], "step size 0.01"))} times that at the loss. The antisymmetric matrix
        holds it closer to 1, at {held}. With a step size of 1 and from h_0 = 0 the gradient grows: the norm at lag
        {T - 1} is {cold[0]} times that at the loss in `antisymmetric`, {cold[1]} times in `residual_tanh`. After the
        warm-up it is {warm[0]} and {warm[1]} times: by then their states have grown until tanh is saturated, and a step
        hands on what it was given.
    """)


def settling(found: pd.DataFrame) -> str:
    """Of the cell whose gradient depends on how long it has run."""
    name = "lstm_1997"
    early, late = of(found, name, "warm-up 0"), of(found, name, f"warm-up {5 * WARM_UP:,}")
    return paragraph(f"""
        **Why a warm-up.** From a state of 0 some cells show a transient. `{name}` forgets nothing: its memory grows as
        long as it runs, and the larger it is, the less passes through tanh(c_t) in one step. Measured from c_0 = 0, the
        norm at lag {T - 1} is {left(early)} times that at the loss; after {WARM_UP} steps it is
        {left(of_cells(found, STRONG)[name])} times, after {5 * WARM_UP:,} steps {left(late)} times.
    """)


def of(found: pd.DataFrame, name: str, change: str) -> pd.DataFrame:
    """The seeds of a cell with something changed.

    Raises:
        ValueError: if it has not been measured.
    """
    rows = found[(found["cell"] == name) & (found["change"] == change)]
    if rows.empty:
        raise ValueError(f"{name} with {change!r} has not been measured; run: make cells")
    return rows


def changes_table(found: pd.DataFrame) -> str:
    """Everything that was changed, and the decay then."""
    rows = [
        {
            "cell": f"`{name}`",
            "changed": change,
            "1/10 at lag": frames.lags(seeds["tenth_lag"]),
            "asymptotic rate": rate(seeds),
            f"left at lag {T - 1}": left(seeds),
            "verdict": frames.verdicts(seeds["verdict"]),
        }
        for (name, change), seeds in found[found["change"] != ""].groupby(["cell", "change"], sort=False)
    ]
    return frames.table(rows, set(rows[0]))


# Words


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def code(names: Iterable[str]) -> list[str]:
    """As Markdown prints names of code."""
    return [f"`{name}`" for name in names]


def paragraph(text: str) -> str:
    """In lines of 120."""
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)
