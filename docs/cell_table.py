"""Write docs/cells.md: every cell's equation and source, how many params it has, and how far its gradient reaches.

``python -m docs.cell_table`` repeats all measurements, in 10 minutes of processor time, and writes the page. With
``--kept`` it writes the page from the existing measurements in docs/cells.csv. The descriptions of the cells come from
their docstrings.
"""

import functools
import inspect
import math
import re
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd

import rnnjax
from docs import cell_findings, cell_measurements
from docs.cell_findings import EXPONENTIAL, LEVEL
from docs.cell_measurements import SEEDS, STRONG, WARM_UP, WEAK, B, H, I, T
from experiments.common import frames

PAGE = Path(__file__).parent / "cells.md"
TERMS = ("IH", "H²", "H", "I", "")


class Text(NamedTuple):
    """The parts of the docstring of a cell's constructor."""

    summary: str
    source: str
    purpose: str
    equation: str


def main(arguments: list[str]) -> None:
    """Measure all cells, unless ``--kept`` is among the arguments, and write the page."""
    if "--kept" not in arguments:
        cell_measurements.write(cell_measurements.measure(cell_measurements.networks()))
    found, version = cell_measurements.read()
    PAGE.write_text(page(found, version), encoding="utf-8")
    print(f"{cell_findings.learned(found)}\n\n{PAGE}")


# Docstrings


def text_of(constructor: Callable[..., rnnjax.Cell]) -> Text:
    """Return summary, source, purpose and equation from a docstring.

    Raises:
        ValueError: if the docstring lacks one of them.
    """
    function, _ = _unwrapped(constructor)
    body = inspect.cleandoc(function.__doc__ or "").split("\nArgs")[0]
    summary, _, rest = body.partition("\n")
    source = re.search(r" \(([^()]*\d{4}[^()]*)\)", summary)
    equation = re.search(r"(?:^    .*\n)+", rest + "\n", flags=re.MULTILINE)
    prose = " ".join(line for line in rest.splitlines() if not line.startswith("    "))
    purpose = re.search(r"\b(?:Invented|Made) .*?\.(?= |$)", re.sub(r"\s+", " ", prose))
    found = {"source (Author, year)": source, "equation": equation, "sentence 'Invented ...' or 'Made ...'": purpose}
    missing = [what for what, match in found.items() if not match]
    if not source or not equation or not purpose:
        raise ValueError(f"the docstring of {function.__name__} lacks: {', '.join(missing)}")
    return Text(
        summary=summary,
        source=source.group(1),
        purpose=purpose.group(),
        equation=inspect.cleandoc("\n" + equation.group()),
    )


def call_of(constructor: Callable[..., rnnjax.Cell]) -> str:
    """Return the call that makes the cell, with its default options: ``rnnjax.gru(H, reset="after")``."""
    function, given = _unwrapped(constructor)
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    plain = {
        name: value for name, value in {**defaults, **given}.items() if isinstance(value, str | int | float | tuple)
    }
    options = [f'{name}="{value}"' if isinstance(value, str) else f"{name}={value}" for name, value in plain.items()]
    return f"rnnjax.{function.__name__}({', '.join(['H', *options])})"


def _unwrapped(constructor: Callable[..., rnnjax.Cell]) -> tuple[Callable[..., rnnjax.Cell], dict[str, object]]:
    if isinstance(constructor, functools.partial):
        return constructor.func, constructor.keywords
    return constructor, {}


# The number of params


def count_params(constructor: Callable[..., rnnjax.Cell], input_size: int, hidden_size: int) -> int:
    """Return how many numbers the params of a cell have."""
    shapes = jax.eval_shape(lambda: constructor(hidden_size).init(jax.random.key(0), input_size))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def coefficients(constructor: Callable[..., rnnjax.Cell]) -> dict[str, Fraction]:
    """Return the number of params as a polynomial a IH + b H² + c H + d I + e, from its values at five sizes.

    The sizes are multiples of 8, since some cells treat a quarter of their units differently, and I is not H, since
    ``sru`` then needs one kernel less.
    """
    sizes = [(1, 8), (2, 8), (1, 16), (2, 16), (1, 24)]
    equations = [[i * h, h * h, h, i, 1] for i, h in sizes]
    solution = np.linalg.solve(np.array(equations, float), [count_params(constructor, i, h) for i, h in sizes])
    return {term: Fraction(float(a)).limit_denominator(64) for term, a in zip(TERMS, solution, strict=True)}


def formula(constructor: Callable[..., rnnjax.Cell]) -> str:
    """Return the polynomial in writing: ``4H(I + H + 1)``."""
    values = coefficients(constructor)
    denominator = math.lcm(*(a.denominator for a in values.values()))
    whole = {term: int(a * denominator) for term, a in values.items() if a}
    below = f"/{denominator}" if denominator > 1 else ""
    if not whole.keys() <= {"IH", "H²", "H"}:
        return f"({_sum(whole)}){below}" if below else _sum(whole)
    common = math.gcd(*whole.values())
    inner = {{"IH": "I", "H²": "H", "H": ""}[term]: a // common for term, a in whole.items()}
    return f"{common if common > 1 else ''}H({_sum(inner)}){below}"


def _sum(terms: dict[str, int]) -> str:
    return " + ".join(f"{'' if a == 1 and term else a}{term}" for term, a in terms.items())


# The page


def page(found: pd.DataFrame, version: str) -> str:
    """Return the text of docs/cells.md for these measurements."""
    sections = [section(name, make) for name, make in rnnjax.CELLS.items()]
    return "\n".join([introduction(found, version), table(found), "", cell_findings.reasons(found), *sections])


def table(found: pd.DataFrame) -> str:
    """Make the table with a row for each cell."""
    strong, weak = (cell_findings.of_cells(found, scale) for scale in (STRONG, WEAK))
    rows = [
        {
            "cell": f"[{name}](#{name})",
            "params": f"{formula(make)} = {count_params(make, I, H):,}",
            **cell_findings.columns(strong[name], weak[name]),
        }
        for name, make in rnnjax.CELLS.items()
    ]
    return frames.table(rows, set(rows[0]))


def introduction(found: pd.DataFrame, version: str) -> str:
    """Return the findings, the conditions of the measurements, and the meaning of the columns."""
    level = round(100 * (LEVEL - 1))
    return f"""# The cells

{cell_findings.learned(found)}

{cell_findings.drive(found)}

All measurements are at initialization, with the default options of each cell, and depend on these: a gate that starts
half open halves the gradient at every step. In the equations x_t are the inputs, `*` multiplies element by element, two
symbols side by side are a matrix product with the vector on the left, and W, U, b and similar letters are learned. The
other symbols are options of the constructor, which its docstring explains.

The measured quantity is the norm of dL/ds_t over all fields of the state and the whole batch together. L is a random
linear readout of the last output. The inputs are independent Gaussian numbers of standard deviation {STRONG:g}. The
first {WARM_UP} steps are a warm-up, which gives the initial state; T = {T} steps follow, and gradients pass through
these alone. There are B = {B} examples, I = {I} inputs and H = {H} units. Ranges are over {SEEDS} seeds, all of which
are in [cells.csv](cells.csv). A complex field counts with its real and its imaginary part; a counter has no gradient.

- **params**: the number of learned numbers, as a formula and at these sizes.
- **1/2 at lag**, **1/10 at lag**: the first lag, in steps before the loss, at which the norm is at most this share of
  the norm at the loss. "never": not within {T - 1} steps.
- **1/10, weak drive**: the lag of 1/10 with inputs of standard deviation {WEAK:g}.
- **asymptotic rate**: the factor by which a step back multiplies the norm, from a line fitted to its logarithm over all
  lags; the geometric mean over seeds, and the range. "level": the norm varies by less than {level} % over all lags.
  "not exponential": the line does not fit every seed (R² below {EXPONENTIAL:g}), so there is no such factor.
- **left at lag {T - 1}**: the norm at this lag as a share of the norm at the loss.
- **verdict**: from `rnnjax.decay`, with the number of seeds where they disagree. "vanishes": a tenth or less is left at
  lag {T - 1}. "explodes": the norm there is at least ten times the norm at the loss and still growing. "preserved": the
  norm stays between these two at all lags. "no trend": it leaves this range and returns, or goes up and down.

This page is written by `python -m docs.cell_table` (`make cells`) from the cells' docstrings and from measurements in
float64 with jax {version}.
"""


def section(name: str, constructor: Callable[..., rnnjax.Cell]) -> str:
    """Return the section of a cell: its summary, purpose, call and equation."""
    text = text_of(constructor)
    function, _ = _unwrapped(constructor)
    path = f"{function.__module__.replace('.', '/')}.py"
    return f"""## {name}

{text.summary}

{text.purpose}

`{call_of(constructor)}`, in [{path}](../{path}).

```text
{text.equation}
```
"""


if __name__ == "__main__":
    main(sys.argv[1:])
