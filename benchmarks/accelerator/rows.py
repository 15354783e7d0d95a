"""What the results of the other benchmarks say, as rows of one table."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks.common.measure import Ratio, ratio
from benchmarks.common.workload import FORWARD, GRADIENT
from benchmarks.generation.network import Size as GenerationSize
from benchmarks.training.report import TITLES as TRAINING
from benchmarks.training.steps import Size as TrainingSize
from benchmarks.unroll.peers.layer import FLOW, Shape
from benchmarks.unroll.report import TITLES

Record = dict[str, Any]


class Row(NamedTuple):
    benchmark: str
    case: str
    program: str
    seconds: float  # of rnnjax
    others: dict[str, Ratio]  # times of others as multiples of it


def rows_of(benchmark: str, records: list[Record]) -> list[Row]:
    """The rows of one of the benchmarks in ``ROWS``."""
    return list(ROWS[benchmark](records))


def skipped(records: list[Record]) -> Iterator[tuple[str, str]]:
    """What these records leave out, as far as they name it: a title and the reason."""
    for record in records:
        if "skipped" in record:
            name = record.get("library") or record.get("way") or f"{record['cell']}, {record['method']}"
            yield (TRAINING | TITLES).get(name, name), record["skipped"]


def unroll_rows(records: list[Record]) -> Iterator[Row]:
    """Two programs, and gradient_flow beside the gradient and beside the loop in PyTorch that measures as much."""
    for (cell, shape), case in itertools.groupby(records, lambda record: (record["cell"], Shape(*record["shape"]))):
        by_library = {record["library"]: record for record in case if "skipped" not in record}
        own, loop = by_library.pop("rnnjax"), by_library.pop("torch_loop", None)
        for program in (GRADIENT, FORWARD):
            others = {name: Ratio(*record["ratio"][program]) for name, record in by_library.items()}
            yield Row("unroll", f"{cell} {shape}", program, own["median_seconds"][program], others)
        overhead = Ratio(*own["flow_overhead"])
        others = {"the gradient alone": Ratio(1 / overhead.value, 1 / overhead.high, 1 / overhead.low)}
        if loop:
            others["torch"] = Ratio(*loop["ratio"][FLOW])
        yield Row("unroll", f"{cell} {shape}", FLOW, own["median_seconds"][FLOW], others)


def training_rows(records: list[Record]) -> Iterator[Row]:
    """A step of training, also on two devices."""
    for size, case in itertools.groupby(records, lambda record: TrainingSize(*record["size"])):
        by_way = {record["way"]: record for record in case if "skipped" not in record}
        own = by_way.pop("rnnjax")
        others = {way: ratio(record["rounds"], own["rounds"]) for way, record in by_way.items()}
        named = {way if way == "torch" else TRAINING[way].removeprefix("rnnjax, "): r for way, r in others.items()}
        label = f"2 LSTM layers, T = {size.steps}, B = {size.batch}, H = {size.hidden}"
        yield Row("training", label, "a step of training", own["median_seconds"], named)


def generation_rows(records: list[Record]) -> Iterator[Row]:
    """A character of every text, beside the fastest of the loops in PyTorch."""
    for record in records:
        if record["way"] == "rnnjax" and "rounds" in record:
            size = GenerationSize(*record["size"])
            others = {"torch": Ratio(*record["speed"])} if "speed" in record else {}
            label = f"{size.cell}, H = {size.hidden}, {size.streams} text{'s' * (size.streams > 1)} at a time"
            yield Row("generation", label, "a character", record["median_seconds"] / size.length, others)


def parallel_rows(records: list[Record]) -> Iterator[Row]:
    """The scan beside all steps at once."""
    for record in records:
        if "ratio" in record:
            batch, hidden = record["size"]
            label, name = f"{record['cell']}, T = {record['steps']}, B = {batch}, H = {hidden}", NAMES[record["method"]]
            for program, times in record["ratio"].items():
                seconds = record["median_seconds"][program]["scan"]
                yield Row("parallel", label, program, seconds, {name: Ratio(*times)})


NAMES = {
    "affine": "all steps at once",
    "full": "Newton's method, full Jacobian",
    "diagonal": "Newton's method, diagonal",
}
"""Ways of computing all steps at once."""

ROWS: dict[str, Callable[[list[Record]], Iterator[Row]]] = {
    "unroll": unroll_rows,
    "training": training_rows,
    "generation": generation_rows,
    "parallel": parallel_rows,
}
