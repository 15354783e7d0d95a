"""The sentences and tables of docs/cells.md, whose numbers and names are all taken from the measurements."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from docs.cell_measurements import SEEDS, STRONG, WARM_UP, WEAK, T
from experiments.common import frames

EXPONENTIAL, LEVEL = 0.9, 1.1  # the least R² of a rate; the largest ratio of norms that counts as level
REASONS = {
    "antisymmetric": "small steps",
    "gated_antisymmetric": "small steps",
    "lipschitz": "small steps",
    "orthogonal_rnn": "linear",
    "orthogonal_rnn_cayley": "linear",
}


def of_cells(found: pd.DataFrame, scale: float) -> dict[str, pd.DataFrame]:
    """Return the seeds of every cell of the table, for inputs of that standard deviation."""
    rows = found[(found["change"] == "") & (found["scale"] == scale)]
    return {str(name): seeds for name, seeds in rows.groupby("cell", sort=False)}


def columns(strong: pd.DataFrame, weak: pd.DataFrame) -> dict[str, str]:
    """Return the columns of the table for one cell."""
    return {
        "1/2 at lag": frames.lags(strong["half_lag"]),
        "1/10 at lag": frames.lags(strong["tenth_lag"]),
        "1/10, weak drive": frames.lags(weak["tenth_lag"]),
        "asymptotic rate": rate(strong),
        f"left at lag {T - 1}": left(strong),
        "verdict": frames.verdicts(strong["verdict"]),
    }


def rate(seeds: pd.DataFrame) -> str:
    """Return the factor by which a step back multiplies the norm, or words if there is none."""
    if (seeds["left"] == 0).all():
        return f"0 from lag {frames.lags(seeds['last_lag'] + 1)}"
    if (seeds["highest"] <= LEVEL * seeds["lowest"]).all():
        return "level"
    if not (seeds["r_squared"] >= EXPONENTIAL).all():
        return "not exponential"
    return frames.rates(seeds["asymptotic_rate"])


def left(seeds: pd.DataFrame) -> str:
    """Return the share of the norm at the loss that is left at the last lag."""
    low, high = share(seeds["left"].min()), share(seeds["left"].max())
    return low if low == high else f"{low} to {high}"


def share(value: float) -> str:
    """Format a share with two digits, or in hundredths from 0.1 to 10: 5.7e-21, 0.083, 0.98, 1.01, 17,000."""
    if 0.1 <= value < 10:
        return f"{value:.2f}"
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"


# The findings


def learned(found: pd.DataFrame) -> str:
    """Say which cells keep the gradient, and how soon the others lose it."""
    cells = of_cells(found, STRONG)
    kept, lost, other = by_verdict(cells)
    tenth = {name: cells[name]["tenth_lag"] for name in lost}
    order = sorted(lost, key=lambda name: (-tenth[name].median(), -tenth[name].mean()))
    ends = (order[:5], order[:-6:-1])
    slow, fast = ([f"`{name}` ({frames.lags(tenth[name])})" for name in names] for names in ends)
    split = [f"`{name}` ({counted})" for name, counted in other.items()]
    return paragraph(f"""
        {len(kept)} of the {len(cells)} cells keep the gradient of a loss at the last step over {T} steps:
        {listed(code(kept))}. At least {min(cells[name]["left"].min() for name in kept):.2f} of its norm at the loss is
        left {T - 1} steps earlier, [for two reasons](#why-{len(kept)}-cells-keep-it).
        In {len(lost)} cells the gradient vanishes with each of {SEEDS} seeds. Of these, the norm falls to a tenth
        latest in {listed(slow)}, and soonest in {listed(fast)}; the brackets give the lag at which it does so, in steps
        before the loss, as the range over the seeds.
        {f"The other cells have another verdict, or one that depends on the seed: {listed(split)}." if split else ""}
    """)


def by_verdict(cells: Mapping[str, pd.DataFrame]) -> tuple[list[str], list[str], dict[str, str]]:
    """Return the cells that keep the gradient with every seed, those that lose it, and verdicts of the others."""
    verdicts = {name: frames.verdicts(seeds["verdict"]) for name, seeds in cells.items()}
    kept, lost = ([name for name, each in verdicts.items() if each == one] for one in ("preserved", "vanishes"))
    return kept, lost, {name: each for name, each in verdicts.items() if name not in {*kept, *lost}}


def drive(found: pd.DataFrame) -> str:
    """Say how strongly the inputs drive the units, and what of the table depends on this."""
    strong, weak = of_cells(found, STRONG), of_cells(found, WEAK)
    deviations = {name: f"{seeds['deviation'].iloc[0]:.2f}" for name, seeds in strong.items()}
    lower, window = deviations["lipschitz"], deviations["narx"]
    gained = [name for name in by_verdict(weak)[0] if name not in by_verdict(strong)[0]]
    moved = [_moved(name, strong[name], weak[name]) for name in ("elman", "lstm", "gru")]
    far = [f"{rate(weak[name])} in `{name}`" for name in ("elman", "lstm", "gru")]
    return paragraph(f"""
        The ranking depends on how strongly the inputs drive the units. Here x_t W contributes a standard deviation of
        {STRONG:.1f} to the pre-activation of a unit ({lower} in `lipschitz`; {window} in `tdnn` and `narx`, for each of
        the three inputs in their window). In the experiment on text in the [README](../README.md) this standard
        deviation is {WEAK:.2f}, since a character is one-hot among about a hundred; the numbers there are therefore
        different. With inputs {WEAK / STRONG:g} times as large as here, a tenth of the norm is left at lag
        {listed(moved)}. Far from the loss the order is different: with these inputs the asymptotic rate is
        {listed(far)}.
        {f"{len(gained)} more cells keep the gradient with them: {listed(code(gained))}." if gained else ""}
        `python -m experiments.gradient_flow --variant=drive` varies the standard deviation from 0.03 to 3.
    """)


def _moved(name: str, strong: pd.DataFrame, weak: pd.DataFrame) -> str:
    now, before = (frames.lags(seeds["tenth_lag"]) for seeds in (weak, strong))
    return f"{now} in `{name}` {'as before' if now == before else f'instead of {before}'}"


# The reasons


def reasons(found: pd.DataFrame) -> str:
    """Explain why some cells keep the gradient, and what happens to it when the reason is removed.

    Raises:
        ValueError: if the cells that keep it are not those that this section explains.
    """
    kept, _, _ = by_verdict(of_cells(found, STRONG))
    if set(kept) != set(REASONS):
        raise ValueError(
            f"{sorted(kept)} keep the gradient: expected those that have a reason, {sorted(REASONS)}; "
            "find out why, and explain it in docs/cell_findings.py"
        )
    return f"""## Why {len(kept)} cells keep it

{linear(found)}

{small_steps(found)}

{settling(found)}

{changes_table(found)}
"""


def linear(found: pd.DataFrame) -> str:
    """Explain the orthogonal networks."""
    names = [name for name, reason in REASONS.items() if reason == "linear"]
    biased, at_first, squashed = (
        pd.concat([of(found, name, change) for name in names])
        for change in ("modReLU with bias -0.1", "modReLU with bias -0.1, warm-up 0", "tanh")
    )
    return paragraph(f"""
        **Their step is linear.** {listed(code(names))} multiply the state by an orthogonal matrix, which keeps every
        norm. modReLU changes nothing while its bias is 0, as it is at initialization. With a bias of -0.1,
        {left(biased)} of the gradient is left at lag {T - 1}. Without the warm-up, from h_0 = 0, the state is smaller
        compared with the bias, and {left(at_first)} is left. With tanh instead of modReLU a step back multiplies the
        norm by {rate(squashed)}.
    """)


def small_steps(found: pd.DataFrame) -> str:
    """Explain the networks that are differential equations."""
    names = [name for name, reason in REASONS.items() if reason == "small steps"]
    pair = ("antisymmetric", "residual_tanh")
    held = left(of_cells(found, STRONG)[pair[0]])
    cold, warm = (
        [left(of(found, name, change)) for name in pair] for change in ("step size 1, warm-up 0", "step size 1")
    )
    return paragraph(f"""
        **Their steps are small.** {listed(code(names))} change the state by a step of size 0.01, and the step size
        times T is {0.01 * T:g}. Over such a short time a network without their structure keeps the gradient, too: in
        `residual_tanh`, h_t = h_{{t-1}} + 0.01 tanh(h_{{t-1}} U + x_t W) with a Gaussian U of variance 1/H, the norm at
        lag {T - 1} is {left(of(found, pair[1], "step size 0.01"))} times the norm at the loss. The antisymmetric matrix
        keeps this ratio closer to 1, at {held}. With a step size of 1 and from h_0 = 0 the gradient grows: the ratio is
        {cold[0]} in `antisymmetric` and {cold[1]} in `residual_tanh`. After the warm-up it is only {warm[0]} and
        {warm[1]}: by then the states have grown until tanh is saturated, and a step passes the gradient on nearly
        unchanged.
    """)


def settling(found: pd.DataFrame) -> str:
    """Explain the cell whose gradient depends on how long it has run."""
    name = "lstm_1997"
    early, late = of(found, name, "warm-up 0"), of(found, name, f"warm-up {5 * WARM_UP:,}")
    return paragraph(f"""
        **Why a warm-up.** Some cells show a transient when they start from a state of 0. `{name}` forgets nothing: its
        memory grows as long as it runs, and the larger it is, the less of the gradient passes through tanh(c_t) in one
        step. Measured from c_0 = 0, the norm at lag {T - 1} is {left(early)} times the norm at the loss. After a
        warm-up of {WARM_UP} steps it is {left(of_cells(found, STRONG)[name])} times this norm, after {5 * WARM_UP:,}
        steps {left(late)} times.
    """)


def of(found: pd.DataFrame, name: str, change: str) -> pd.DataFrame:
    """Return the seeds of a cell with a change.

    Raises:
        ValueError: if it has not been measured.
    """
    rows = found[(found["cell"] == name) & (found["change"] == change)]
    if rows.empty:
        raise ValueError(f"{name} with {change!r} has not been measured; run: make cells")
    return rows


def changes_table(found: pd.DataFrame) -> str:
    """Make the table of all changes and the decay with each."""
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
    """Join names as in ``a, b and c``."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def code(names: Iterable[str]) -> list[str]:
    """Format names as code in Markdown."""
    return [f"`{name}`" for name in names]


def paragraph(text: str) -> str:
    """Wrap a text to lines of 120 characters."""
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)
