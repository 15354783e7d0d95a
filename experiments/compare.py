"""Compares runs on one page: the settings in which they differ, and their curves in the same panels.

    python -m experiments.compare RUN RUN ... [--output=FOLDER]

Each RUN is a workdir. Everything that was recorded at training steps is compared, whatever the experiment: there is a
panel for each network, and in it a line for each run, which is the median over its seeds, shaded over their range.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

import experiments.common.at_start  # noqa: F401  before what takes seconds to import
from experiments.common import charts, command, drawing, frames, page
from experiments.common.errors import ExperimentError
from experiments.common.workdir import Record, read_records, read_run, write_whole

MOST = 12
"""The most panels in a figure; further networks are counted but not drawn."""


def main(workdirs: Sequence[Path], output: Path) -> None:
    """Writes the page and its figures.

    Raises:
        ExperimentError: for a folder that holds no run, or runs with nothing to compare.
    """
    runs = {name: read_run(path) for name, path in _named(workdirs).items()}
    configs = {name: {"command": run["command"], **run["config"]} for name, run in runs.items()}
    records = [
        {**record, charts.COMPARED: name} for name, path in _named(workdirs).items() for record in read_records(path)
    ]
    rows = _values(records)
    if rows.empty:
        raise ExperimentError("the runs recorded nothing at training steps: expected runs that trained")
    figures: list[Path] = []
    for (kind, field), of_field in rows.groupby(["kind", "field"], sort=False):
        if of_field.groupby(["run", "network", "seed"])["step"].nunique().max() < 2:
            continue  # no curve

        def curves(_: Sequence[Record], of_field: pd.DataFrame = of_field, name: str = f"{kind}: {field}") -> Figure:
            return _curves(of_field, name)

        curves.__name__ = f"{kind}_{field}"
        figures += drawing.draw([curves], [], output / "figures")
    words = [f"# {len(configs)} runs side by side", _differences(configs), "## At the last step", _ends(rows)]
    print(write_whole(output / "report.html", page.html("\n\n".join(words), figures, charts.of_records(records))))


def _named(workdirs: Sequence[Path]) -> dict[str, Path]:
    """The workdirs by the shortest ends of their paths that tell them apart."""
    parts = [path.resolve().parts for path in workdirs]
    if len(set(parts)) < len(parts):
        raise ExperimentError("a run is given twice: expected different ones")
    length = next(n for n in range(1, 99) if len({part[-n:] for part in parts}) == len(parts))
    return {"/".join(part[-length:]): path for part, path in zip(parts, workdirs, strict=True)}


def _values(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each number that was recorded at a step: run, network, kind, field, seed, step, value."""
    found = charts.at_steps(records)
    if found.empty:
        return found
    parts = [part for part in charts.identity(records) if part != charts.COMPARED]
    words = found[parts].map(lambda value: f"{value:g} " if isinstance(value, float) else f"{value} ")
    network = words.where(found[parts].notna(), "").agg("".join, axis=1).str.strip() if parts else "all"
    seed = found.get("seed", 0)
    return found.assign(run=found[charts.COMPARED], network=network, seed=seed).dropna(subset="value")


def _differences(configs: dict[str, Record]) -> str:
    """A table of the settings that are not the same in all runs."""
    fields = dict.fromkeys(field for config in configs.values() for field in config)
    rows = [
        {"setting": field, **{run: config.get(field, "-") for run, config in configs.items()}}
        for field in fields
        if len({json.dumps(config.get(field, "-")) for config in configs.values()}) > 1
    ]
    return frames.table(rows, {"setting", *configs}) if rows else "All settings are the same."


def _ends(rows: pd.DataFrame) -> str:
    """A table of the last values that differ between runs, a column for each run: medians over seeds, and ranges."""
    keys = ["network", "kind", "field"]
    last = rows.sort_values("step", kind="stable").groupby([*keys, "run", "seed"], sort=False).tail(1)
    told = last.groupby([*keys, "run"], sort=False)["value"].agg(lambda v: frames.median(v, lambda x: f"{x:.4g}"))
    table = frames.unstacked(told, "run").fillna("-")
    table = table[table.nunique(axis=1) > 1]
    if table.empty:
        return "Everything is the same."
    return frames.table(table.reset_index(), {*keys})


def _curves(rows: pd.DataFrame, name: str) -> Figure:
    """A panel for each network, a line for each run."""
    networks = rows["network"].unique()
    shown = rows[rows["network"].isin(networks[:MOST])]
    figure, _, groups = drawing.multiples(shown, panel="network", line="run", across=4, size=(3.0, 2.5))
    for axes, run, look, of_run in groups:
        table = of_run.pivot_table(index="step", columns="seed", values="value", aggfunc="last")
        drawing.band(axes, table.index.to_numpy(float), table.to_numpy(float).T, look, str(run))
    left_out = f" ({len(networks) - MOST} more networks are not drawn)" if len(networks) > MOST else ""
    drawing.legend(figure, "run (line: median of seeds,\nshade: range)")
    return drawing.caption(figure, f"{name} of {len(rows['run'].unique())} runs{left_out}", "training step", name)


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m experiments.compare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="The workdir of a run.")
    parser.add_argument("--output", type=Path, default=Path("runs/compare"), help="Folder of the page and its figures.")
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    command.run(lambda: main(given.runs, given.output), sys.argv[:1])
