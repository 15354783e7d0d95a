"""What ``benchmarks.language`` says about its records: a table, a finding and a figure."""

import statistics
from typing import Any

from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.language.measure import GPT, OWN
from benchmarks.language.task import CONTEXT, Record

TITLES = {GPT: "GPT, in PyTorch", OWN: "recurrent network, rnnjax"}
READ = {"kept": "context kept", "fresh": f"fresh windows of {CONTEXT}"}
COLORS = {GPT: "tab:orange", OWN: "tab:blue"}
LINES = {"kept": "-", "fresh": "--"}

PUBLISHED = (
    "Published for tiny Shakespeare (1,115,394 characters, 65 different), in nanoGPT's README: 1.88 nats a character\n"
    "with these settings of the GPT in about 3 minutes on a CPU; 1.4697, the best of the run, with 6 layers, 384\n"
    "channels and a context of 256 in about 3 minutes on an A100. Both were evaluated as in the last column."
)


def write(records: list[Record], text: Record) -> str:
    """The text that was read, the table, and published figures."""
    source = (
        f"{text['corpus']}: {text['characters']:,} characters, {text['different']} different, the last tenth held out."
    )
    return f"{source}\n\n{table(records)}\n\n{PUBLISHED}"


def table(records: list[Record]) -> str:
    """A row for each network and seed."""
    heads = ["network", "seed", "params", "first step", "last step", "steps", "characters", *READ.values()]
    rows = [
        [
            TITLES[record["way"]],
            record["seed"],
            f"{record['params']:,}",
            f"{record['starting_seconds']:.1f} s",
            f"{record['seconds']:.1f} s",
            f"{record['steps']:,}",
            f"{record['characters']:,}",
            *(f"{record[read]:.3f} nats" for read in READ),
        ]
        for record in records
    ]
    return tabulate(rows, heads, colalign=("left", *["right"] * 8), disable_numparse=True)


def find(records: list[Record]) -> str:
    """Held-out nats of both, medians over seeds, and when the recurrent network was as good as the GPT at its end."""
    own, gpt = ([record for record in records if record["way"] == way] for way in (OWN, GPT))
    seconds = max(record["seconds"] for record in records)

    def nats(of_way: list[Record]) -> str:
        kept, fresh = (statistics.median(record[read] for record in of_way) for read in READ)
        return f"{kept:.2f} nats a held-out character ({fresh:.2f} in {READ['fresh']})"

    seeds = f"{len(own)} seed{'s' * (len(own) > 1)}"
    reached = [_first(pair, other["fresh"]) for pair, other in zip(own, gpt, strict=True)]
    told = "at no time" if None in reached else f"within {max(filter(None, reached)):.0f} s"
    return (
        f"After {seconds:.0f} s from process start, the recurrent network comes to {nats(own)},\n"
        f"the GPT to {nats(gpt)}; {seeds}.\n"
        f"In {READ['fresh']} the recurrent network reached the GPT's last loss {told}."
    )


def _first(record: Record, loss: float) -> float | None:
    """Seconds of the first evaluation in fresh windows that was as good."""
    return next((point["seconds"] for point in record["curve"] if point["fresh"] <= loss), None)


def draw(records: list[Record], finding: str, where: str) -> Figure:
    """Held-out nats against seconds from process start, a line for each network, seed and way to read."""
    figure = Figure((8.5, 5), layout="constrained")
    axis: Any = figure.subplots()
    for record in records:
        seconds = [point["seconds"] for point in record["curve"]]
        for read, style in LINES.items():
            label = f"{TITLES[record['way']]}, {READ[read]}" if record["seed"] == 0 else None
            losses = [point[read] for point in record["curve"]]
            axis.plot(seconds, losses, style, color=COLORS[record["way"]], marker=".", label=label)
    axis.set_xlim(left=0)
    axis.set_xlabel("seconds from process start, with imports and compiling, without evaluations")
    axis.set_ylabel("cross-entropy, held out (nats a character)")
    axis.legend(frameon=False)
    axis.set_title(f"{finding}\nMeasured on {where}.", fontsize=9)
    return figure
