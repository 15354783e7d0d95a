"""What ``benchmarks.accelerator`` writes: a table in Markdown, and the same for programs."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.accelerator.measure import Outcome
from benchmarks.accelerator.parts import Part
from benchmarks.accelerator.rows import Row, rows_of, skipped
from benchmarks.common.machine import doubt, heading
from benchmarks.common.measure import DOUBT
from benchmarks.step_cost import report as step_cost

About = dict[str, Any]
"""The ``machine``, the ``date``, the ``settings``, and at the end ``minutes_taken``."""

COLUMNS = {
    "scan": "plain scan",
    "flax": "flax linen",
    "cudnn": "cuDNN's LSTM",
    "torch": "PyTorch",
    "matmul": "matrix products alone",
}
"""Others that have a column; what else was compared is in the last one, with its name."""

REHEARSAL = "**This was measured at tiny sizes. It shows that the benchmarks run, and no speed may be read from it.**"
NO_ACCELERATOR = (
    " JAX found no GPU or TPU. If this machine has one, JAX must be installed for it: see docs/accelerators.md."
)
GUIDE = (
    "The times are rnnjax's. All columns after them have the times of others as multiples of rnnjax's: above 1 is "
    "slower than rnnjax. `gradient_flow` is compared with the loop in PyTorch that measures the norms of dL/dh_t. "
    "Shapes are TxBxIxH. " + DOUBT
)
PRECISION = {
    "cpu": "float32 in all libraries.",
    "gpu": (
        "float32 in all libraries, with matrix products in full precision: `jax_default_matmul_precision` is "
        '"highest", which cuDNN\'s LSTM follows, too, and TF32 is switched off in PyTorch.'
    ),
    "other": 'float32, with matrix products in full precision: `jax_default_matmul_precision` is "highest".',
}


def save(output: Path, outcomes: dict[Part, Outcome], about: About) -> str:
    """Writes table.md and results.json; returns the table."""
    text, results = write(outcomes, about), record(outcomes, about)
    output.mkdir(parents=True, exist_ok=True)
    (output / "table.md").write_text(text)
    (output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    return text


def write(outcomes: dict[Part, Outcome], about: About) -> str:
    """The whole page."""
    machine, backend = about["machine"], about["machine"]["device"]["backend"]
    machine["load_average_after"] = os.getloadavg()
    title = ["# The benchmarks on an accelerator"]
    if about["settings"]["quick"]:
        title = ["# A rehearsal of the benchmarks", REHEARSAL + (NO_ACCELERATOR if backend == "cpu" else "")]
    paragraphs = [
        *title,
        heading(machine) + doubt(machine),
        _head(outcomes, about),
        GUIDE,
        _main_table(outcomes),
        "## What a step of a loop costs",
        step_cost.GUIDE,
        _step_table(outcomes),
        "## What was not measured",
        _missing_table(outcomes),
    ]
    return "\n\n".join(paragraphs) + "\n"


def record(outcomes: dict[Part, Outcome], about: About) -> dict[str, Any]:
    """The same as numbers. The samples are in the results of the parts."""
    parts = [
        part._asdict() | {"reason": outcome.reason, "seconds_taken": outcome.seconds}
        for part, outcome in outcomes.items()
    ]
    rows = [row._asdict() for outcome in _rows(outcomes).values() for row in outcome]
    missing = [{"what": what, "why": why} for what, why in _missing(outcomes)]
    return about | {"parts": parts, "rows": rows, "steps": _steps(outcomes), "not_measured": missing}


def _rows(outcomes: dict[Part, Outcome]) -> dict[Part, list[Row]]:
    """The rows of the parts that were measured, but for those on the cost of a step."""
    return {
        part: rows_of(part.benchmark, outcome.results["records"])
        for part, outcome in outcomes.items()
        if outcome.results and part.benchmark != "step_cost"
    }


def _steps(outcomes: dict[Part, Outcome]) -> list[dict[str, Any]]:
    """What was measured about the cost of a step."""
    found = [outcome for part, outcome in outcomes.items() if part.benchmark == "step_cost"]
    return [record for outcome in found if outcome.results for record in outcome.results["records"]]


def _main_table(outcomes: dict[Part, Outcome]) -> str:
    """The rows of every part, in the order of the parts; a part without results has one row."""
    rows, body = _rows(outcomes), []
    for part in outcomes:
        if part.benchmark != "step_cost":
            missing = [part.benchmark, part.name, "", "not measured", *["-"] * (len(COLUMNS) + 1)]
            body += [_cells(row) for row in rows[part]] if part in rows else [missing]
    heads = ["benchmark", "case", "program", "rnnjax", *COLUMNS.values(), "other ways in rnnjax"]
    return _table(body, heads, left=3)


def _cells(row: Row) -> list[str]:
    known = [str(row.others.get(name, "-")) for name in COLUMNS]
    more = ", ".join(f"{name}: {times}" for name, times in row.others.items() if name not in COLUMNS)
    return [row.benchmark, row.case, row.program, _time(row.seconds), *known, more or "-"]


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} us"


def _step_table(outcomes: dict[Part, Outcome]) -> str:
    body = step_cost.rows(_steps(outcomes))
    return _table(body, step_cost.HEADS, left=3) if body else "Nothing was measured."


def _missing_table(outcomes: dict[Part, Outcome]) -> str:
    missing = _missing(outcomes)
    return _table(missing, ["what", "why"], left=2) if missing else "Everything was measured."


def _missing(outcomes: dict[Part, Outcome]) -> list[tuple[str, str]]:
    """Parts without results, and what was left out of the others, each with the reason."""
    parts = [(f"{part.name}", outcome.reason) for part, outcome in outcomes.items() if outcome.reason]
    where: dict[tuple[str, str], list[str]] = {}
    for part, outcome in outcomes.items():
        for what, why in dict.fromkeys(skipped(outcome.results["records"]) if outcome.results else ()):
            where.setdefault((what, why), []).append(part.name)
    return parts + [(f"{what} in {', '.join(names)}", why) for (what, why), names in where.items()]


def _head(outcomes: dict[Part, Outcome], about: About) -> str:
    """What else it takes to judge the numbers."""
    machine, backend = about["machine"], about["machine"]["device"]["backend"]
    lines = {
        "Date": about["date"],
        "Driver": machine["driver"] or ("unknown" if backend == "gpu" else None),
        "Versions": _versions(machine),
        "Numbers": PRECISION.get(backend, PRECISION["other"]),
        "Parts": _score(outcomes, about),
    }
    return "\n".join(f"- {name}: {text}" for name, text in lines.items() if text)


def _versions(machine: dict[str, Any]) -> str:
    found = {"python": machine["python"]} | machine["versions"]
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)


def _score(outcomes: dict[Part, Outcome], about: About) -> str:
    done = sum(outcome.results is not None for outcome in outcomes.values())
    limit, taken = about["settings"]["minutes"], about.get("minutes_taken")
    minutes = f"{taken:.1f} of {limit:g} minutes" if taken else f"a run of {limit:g} minutes that has not ended"
    return f"{done} of {len(outcomes)} were measured, in {minutes}."


def _table(rows: Iterable[Sequence[str]], heads: list[str], left: int) -> str:
    """A table in Markdown whose first columns are aligned to the left."""
    body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    alignment = ["left"] * left + ["right"] * (len(heads) - left)
    return tabulate(body, heads, tablefmt="pipe", colalign=alignment, disable_numparse=True)
