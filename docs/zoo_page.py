"""Writes docs/zoo.md, docs/zoo.csv and their figures from a finished run of experiments.zoo.

python -m docs.zoo_page RUN    takes the run in this folder
"""

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.common.workdir import Record, read_records, read_run
from experiments.zoo import findings, report

DOCS = Path(__file__).parent
COLUMNS = {
    "task": "task",
    "lag": "lag",
    "cell": "cell",
    "hidden_size": "units",
    "params": "params",
    "learning_rate": "learning_rate",
    "solved": "seeds_that_solve",
    "steps": "median_steps",
    "loss": "median_loss",
    "chance": "loss_by_chance",
    "memoryless": "loss_without_memory",
    "initialization": "reach_before_training",
    "trained": "reach_after_training",
}
"""Columns of the findings, and what they are called in zoo.csv."""

ABOUT = """\
The table has all of it ([as CSV](zoo.csv)). Networks are trained with Adam on batches of {batch_size} sequences, for at
most {train_steps:,} steps. Gradients are clipped to a norm of {clip_norm:g}, and {test_size} test sequences are the
same at every evaluation. All cells have their default options, and nothing is tuned for one of them but its learning
rate. Cells whose units do not see each other are made for several layers; here they have a single one.
`layer_norm_lstm` diverges on patterns because these begin with inputs of 0: as long as its state is 0, too, each of its
layer norms multiplies the gradient by 1/sqrt(1e-5) = 316 at every step.

The run took 85 min of processor time, of which two idle cores need about 45 min. Its command goes on where it was
interrupted:

    python -m experiments.zoo --variant=all --workdir=runs/zoo_all
"""

FIGURES = {
    "solved": "Which cells solve which tasks, and in how many training steps.",
    "reach_and_success": "Last loss against the reach of the gradient at initialization, a panel for each task.",
    "before_and_after": "Reach of the gradient after training against its reach before training.",
}
"""The figures of the page, and a description of each for those who cannot see it."""


def main(run: Path) -> None:
    """Writes the page of a run, whose folder is given."""
    records, config = read_records(run), read_run(run)["config"]
    for name in FIGURES:
        shutil.copyfile(run / "figures" / f"{name}.png", DOCS / "figures" / f"zoo_{name}.png")
    found = findings.cases(records)[list(COLUMNS)].rename(columns=COLUMNS)
    found.to_csv(DOCS / "zoo.csv", index=False, float_format="%.4g", lineterminator="\n")
    (DOCS / "zoo.md").write_text(page(records, config), encoding="utf-8")


def page(records: Sequence[Record], config: Record) -> str:
    """The summary of the run, with its conditions and figures."""
    parts = re.split(r"\n(?=## )", report.summary(records))
    title, told, unsolved, explained, table = parts[0].strip().split("\n\n", 4)
    first = [title, told, unsolved, _figure("solved"), ABOUT.format(**config).strip(), explained, table]
    levels, reach, correlation, rates = (part.strip() for part in parts[1:])
    figures = _figure("before_and_after"), _figure("reach_and_success")
    return "\n\n".join([*first, levels, reach, figures[0], correlation, figures[1], rates]) + "\n"


def _figure(name: str) -> str:
    return f"![{FIGURES[name]}](figures/zoo_{name}.png)"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
