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
The tasks, each at two lengths:

* **adding**: the sum of the two marked ones of T numbers; wrong if it is off by more than 0.2.
* **copy memory**: ten symbols to be repeated after T steps (T + 20 steps); wrong if any of them is.
* **patterns**: she or he, for a name 1 to T letters back (T + 5 steps).
* **permuted digits**: which digit it is, from its 64 pixels in a fixed random order, with nothing after them up to T.
* **temporal order**: in which order two symbols came that are about 0.4 T apart; wrong if the right answer has a
  probability of at most 0.75.

Networks are trained with Adam on batches of {batch_size} sequences, for at most {train_steps:,} steps, and tested every
{evaluate_every} steps on the same {test_size} sequences; training ends when the task is solved. Gradients are clipped
to a norm of {clip_norm:g}. All cells have their default options, and nothing is tuned for one of them but its learning
rate. `indrnn`, `lru`, `min_gru`, `min_lstm`, `qrnn` and `sru`, whose units do not see each other within a step, are
made to be stacked; here they have a single layer. `tdnn` sees three steps alone and cannot solve any of these tasks.
`layer_norm_lstm` diverges on patterns because these begin with inputs of 0: as long as its state is 0, too, each of its
layer norms multiplies the gradient by 1/sqrt(1e-5) = 316 at every step.

The run took 85 min of processor time, which is an estimated 45 min on two idle cores. If it is interrupted, the same
command continues it:

    .venv/bin/python -m experiments.zoo --variant=all --workdir=runs/zoo_all
"""

FIGURES = {
    "solved": "Which cells solve which tasks, and in how many training steps.",
    "reach_and_success": "Place by success against the reach of the gradient at initialization, a panel for each task.",
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
    about, numbers = ABOUT.format(**config).strip(), "All results are also in [a CSV file](zoo.csv)."
    first = [title, told, unsolved, _figure("solved"), about, explained, table, numbers]
    levels, reach, correlation, rates = (part.strip() for part in parts[1:])
    figures = _figure("before_and_after"), _figure("reach_and_success")
    return "\n\n".join([*first, levels, reach, figures[0], correlation, figures[1], rates]) + "\n"


def _figure(name: str) -> str:
    return f"![{FIGURES[name]}](figures/zoo_{name}.png)"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("expected the folder of a finished run of experiments.zoo, as in python -m docs.zoo_page runs/zoo_all")
    main(Path(sys.argv[1]))
