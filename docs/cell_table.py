"""docs/cells.md: every cell's equation and source, how many params it has, and how fast its gradient decays.

``python -m docs.cell_table`` writes the page; about a minute on two cores. What a cell is comes from its
docstring, the numbers from the cell itself.
"""

import functools
import inspect
import math
import os
import re
import statistics
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tabulate import tabulate

import rnnjax

PAGE = Path(__file__).parent / "cells.md"
T, B, I, H = 100, 16, 32, 64  # noqa: E741  the dimension letters of rnnjax.typing
SEEDS = 8
TERMS = ("IH", "H²", "H", "I", "")


class Text(NamedTuple):
    """What the docstring of a cell's constructor says."""

    summary: str
    source: str
    purpose: str
    equation: str


class Measured(NamedTuple):
    """How a gradient decays, as printed: what is read back from the page is what was written."""

    per_step: str
    half_life: str
    left: str
    verdict: str


def main() -> None:
    """Measures all cells and writes the page."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        norms = list(pool.map(gradient_norms, rnnjax.CELLS.values()))
    measured = {name: condensed(of_cell) for name, of_cell in zip(rnnjax.CELLS, norms, strict=True)}
    PAGE.write_text(page(measured, jax.__version__), encoding="utf-8")
    print(f"{learned(measured)}\n\n{PAGE}")


# From the docstring


def text_of(constructor: Callable[..., rnnjax.Cell]) -> Text:
    """Summary, source, purpose and equation.

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
    """How the cell is made, with the options it has by default: ``rnnjax.gru(H, reset="after")``."""
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
    """How many numbers ``init`` draws."""
    shapes = jax.eval_shape(lambda: constructor(hidden_size).init(jax.random.key(0), input_size))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def coefficients(constructor: Callable[..., rnnjax.Cell]) -> dict[str, Fraction]:
    """The count as a polynomial a IH + b H² + c H + d I + e, from its values at five sizes.

    The sizes are multiples of 8, since some cells set a quarter of their units aside, and I is not H, where ``sru``
    needs one kernel less.
    """
    sizes = [(1, 8), (2, 8), (1, 16), (2, 16), (1, 24)]
    equations = [[i * h, h * h, h, i, 1] for i, h in sizes]
    solution = np.linalg.solve(np.array(equations, float), [count_params(constructor, i, h) for i, h in sizes])
    return {term: Fraction(float(a)).limit_denominator(64) for term, a in zip(TERMS, solution, strict=True)}


def formula(constructor: Callable[..., rnnjax.Cell]) -> str:
    """The polynomial as it is written: ``4H(I + H + 1)``."""
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


# The decay of the gradient


def gradient_norms(constructor: Callable[..., rnnjax.Cell], seeds: int = SEEDS) -> np.ndarray:
    """||dL/ds_t|| (seeds, T) at initialization, over all fields of the state together; L = sum over B of y_T . v."""
    cell = constructor(H)

    @jax.jit
    def of_seed(key: Array) -> list[Array]:
        params_key, inputs_key, readout_key = jax.random.split(key, 3)
        inputs = jax.random.normal(inputs_key, (T, B, I))

        def loss(outputs: Array) -> Array:
            return jnp.sum(outputs[-1] @ jax.random.normal(readout_key, outputs.shape[-1:]))

        return jax.tree.leaves(rnnjax.gradient_flow(cell, cell.init(params_key, I), inputs, loss).state)

    # Seed by seed: the QR that draws orthogonal matrices is very slow in batches where cores are few. In float64, since
    # in float32 the fastest leave the range of the numbers long before the beginning.
    with jax.enable_x64(True):
        return np.stack([np.hypot.reduce(np.array(of_seed(jax.random.key(seed)))) for seed in range(seeds)])


def condensed(norms: np.ndarray) -> Measured:
    """The decay of norms (seeds, T): geometric mean of the decays per step, the usual verdict, the median left."""
    decays = [rnnjax.decay(of_seed) for of_seed in norms]
    per_step = math.exp(statistics.fmean(math.log(each.per_step) for each in decays))
    verdict = statistics.mode(each.verdict for each in decays)
    left = float(np.median(norms[:, 0] / norms[:, -1]))
    if left == 0 and verdict == "vanishes" and per_step > 1 - 1e-9:
        seen = max(each.last_lag for each in decays) + 1
        return Measured(f"1, then 0 from lag {seen}", str(seen), "0", verdict)
    half_life = -math.log(2) / math.log(per_step) if per_step < 1 else math.inf
    shown = f"{half_life:.{1 if half_life < 100 else 0}f}" if half_life < 1000 else "over 1000"
    return Measured(f"{per_step:.3f}", "none" if verdict == "explodes" else shown, f"{left:.2g}", verdict)


# The page


def page(measured: dict[str, Measured], version: str) -> str:
    """docs/cells.md, with these measurements."""
    rows = [
        [f"[{name}](#{name})", formula(make), f"{count_params(make, I, H):,}", text_of(make).source, *measured[name]]
        for name, make in rnnjax.CELLS.items()
    ]
    headers = [
        "cell",
        "params",
        f"I = {I}, H = {H}",
        "source",
        "decay per step",
        "half-life",
        f"left of {T - 1}",
        "verdict",
    ]
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True, colalign=[*["left"] * 8])
    sections = [section(name, make) for name, make in rnnjax.CELLS.items()]
    return "\n".join([introduction(measured, version), table, "", *sections])


def introduction(measured: dict[str, Measured], version: str) -> str:
    """What is to be learned, and what the columns are."""
    return f"""# The cells

{learned(measured)}

All of it is at initialization, with the options that each cell has by default, and depends on them: a gate that starts
half open halves the gradient at every step. In the equations x_t are the inputs, `*` multiplies element by element, two
symbols side by side are a matrix product with the vector on the left, and W, U, b and the like are learned. What else
stands there is an option of the constructor; its docstring says which.

- **params**: how many numbers are learned, of I inputs and H units, by formula and at I = {I}, H = {H}.
- **decay per step**: the factor by which a step back in time multiplies the norm of dL/ds_t, all fields of the state
  together. The inputs are Gaussian, T = {T} steps of B = {B} examples, I = {I}, H = {H}; the loss L is a random linear
  readout of the last output. Fitted by `rnnjax.decay`, the geometric mean over {SEEDS} seeds. (Norms of 0 are left out
  of the fit. The norm of a complex field is that of its real and imaginary part; a counter has none.)
- **half-life**: how many such steps halve the norm. (Of a gradient that ends, the steps it lasts.)
- **left of {T - 1}**: the norm {T - 1} steps before the loss as a share of that at the loss, the median over seeds. No
  line is fitted here: where it disagrees with the decay per step, the decay is not exponential.
- **verdict**: of `rnnjax.decay`. By the line fitted, the norm falls over these steps to a tenth or less (vanishes),
  grows tenfold or more (explodes), or neither (preserved).

This page is written by `python -m docs.cell_table` (`make cells`), from the cells' docstrings and measurements
in float64 with jax {version}.
"""


def learned(measured: dict[str, Measured]) -> str:
    """The table in a few sentences."""
    grown = [name for name, each in measured.items() if each.verdict == "explodes"]
    kept = [name for name, each in measured.items() if each.verdict == "preserved" and float(each.left) >= 0.1]
    rest = [name for name in measured if name not in {*grown, *kept}]
    half_lives = {name: float(measured[name].half_life.removeprefix("over ")) for name in rest}
    lost = sorted(rest, key=lambda name: (-half_lives[name], name))
    slow, fast = ([f"`{name}` ({half_lives[name]:.1f})" for name in ends] for ends in (lost[:5], lost[:-6:-1]))
    sentences = [
        f"{len(kept)} of the {len(measured)} cells keep the gradient of a loss at the last step over {T} steps:",
        f"{_listed([f'`{name}`' for name in kept])}.",
        f"In {_listed([f'`{name}`' for name in grown])} it grows." if grown else "In none it grows.",
        f"In the other {len(lost)} it shrinks, with a median half-life of {statistics.median(half_lives.values()):.1f}",
        f"steps: slowest in {_listed(slow)}, fastest in {_listed(fast)}.",
    ]
    return textwrap.fill(" ".join(sentences), 120)


def section(name: str, constructor: Callable[..., rnnjax.Cell]) -> str:
    """One cell: what it is, what for, its equation."""
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


def read_page(page: str) -> tuple[dict[str, Measured], str]:
    """The measurements that a page was written with, and the version of jax."""
    rows = re.findall(r"^\| \[(\w+)\]\(.*?\) *\|(.*)\|$", page, flags=re.MULTILINE)
    measured = {name: Measured(*(cell.strip() for cell in cells.split("|")[-4:])) for name, cells in rows}
    (version,) = re.findall(r"with jax (\S+)\.$", page, flags=re.MULTILINE)
    return measured, version


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


if __name__ == "__main__":
    main()
