"""Interactive charts of the records of runs, which show values under the pointer.

The kinds of a run's records decide which charts it gets, in the same way for all experiments. One chart draws the
numbers of training and evaluation against training steps. The others draw norms against lag, with a slider over
training where the norms were measured several times. A line is the median over seeds, shaded over their range.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from experiments.common import vega_lite
from experiments.common.frames import log10, relative_to_first, stacked
from experiments.common.vega_lite import Scale
from experiments.common.workdir import Record

MOST_LINES, MOST_STEPS, MOST_LAGS, MOST_MOMENTS = 16, 60, 50, 25
"""The most lines that are shown before the reader chooses, the most points of a line over training and of a line over
lags, and the most positions of a slider."""

MOST_NUMBERS = 60_000
"""The most numbers in a chart with a slider, about half a megabyte; a slider has fewer positions to stay below it."""

OVER_TRAINING = ("train", "evaluation")
"""The kinds of records whose numbers are drawn over training."""

ALL = "all"
"""A field's value in records about all its other values together; charts show these until the reader chooses."""

COMPARED = "compared"
"""The field that tells workdirs apart where several are compared; all of them are shown from the beginning."""


class Back(NamedTuple):
    """How the records of one kind hold norms by their distance from the end."""

    heading: str
    curves: tuple[str, ...]  # fields that hold a list of norms, that of the end last
    parts: tuple[str, ...] = ()  # fields that tell curves apart, beside those of the run
    x: str = "lag (steps back)"


BACK = {
    "state_gradient": Back(
        "The gradient with respect to the state, by lag",
        ("norms", "whole", "typical", "inputs"),
        ("position", "layer", "field"),
    ),
    "parameter_gradient": Back(
        "What each step adds to the gradient of the params, by lag", ("norms",), ("position", "layer", "field")
    ),
    "ways": Back(
        "The gradient through the state, through the output that is fed back, and both, by lag",
        ("state", "output", "whole"),
        ("choice",),
    ),
    "derivative": Back(
        "What is left of an input on the way forward, and of a gradient on the way back, by lag", ("norms",), ("of",)
    ),
    "neuron_gradient": Back(
        "The gradient of each neuron's incoming weights, by layer",
        ("root_mean_square",),
        ("of",),
        "layers back from the last",
    ),
}
"""The kinds of records whose norms are drawn against how far back they are."""

PHASES = {"initialization": "before training", "flossed": "after flossing", "trained": "after training"}


class Chart(NamedTuple):
    """A chart: its heading, what is said below it, and its specification for Vega-Lite."""

    heading: str
    told: str
    spec: Record


def of_records(records: Sequence[Record]) -> list[Chart]:
    """All charts that the records have data for."""
    networks = identity(records)
    found = [_over_training(records, networks), *(_by_lag(records, networks, kind) for kind in BACK)]
    return [chart for chart in found if chart]


def identity(records: Iterable[Record]) -> list[str]:
    """The fields that tell networks apart, except for the seed."""
    fields = dict.fromkeys(field for record in records if record["kind"] == "finished" for field in record)
    return [field for field in fields if field not in ("run", "kind", "seed")]


def at_steps(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each number recorded at a training step, with the columns ``kind``, ``step``, ``field`` and ``value``.

    Further columns say which network it is of. They come from the run's last record, since other records may use a
    field of the same name for something else.
    """
    known = ["run", "seed", *identity(records)]
    runs = {
        (record["run"], record.get(COMPARED)): {name: record[name] for name in known if name in record}
        for record in records
        if record["kind"] == "finished"
    }
    rows = [
        {**runs[record["run"], record.get(COMPARED)], "kind": record["kind"], "step": record["step"]}
        | {"field": field, "value": value}
        for record in records
        if "step" in record and record["kind"] != "finished"
        for field, value in record.items()
        if field not in (*known, "kind", "step") and _is_number(value)
    ]
    return pd.DataFrame(rows)


def _is_number(value: Any) -> bool:
    """Whether a value is a number; null stands for one that is not finite."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _over_training(records: Sequence[Record], networks: list[str]) -> Chart | None:
    """Numbers against training steps; the reader chooses which number, and whether its logarithm is drawn."""
    rows = at_steps([record for record in records if record["kind"] in (*OVER_TRAINING, "finished")])
    if rows.empty:
        return None
    rows = rows.assign(quantity=rows["kind"] + ": " + rows["field"], value=rows["value"].astype(float))
    rows, parts = _named(rows.sort_values(["kind", "field"], key=_as_asked_for, kind="stable"), networks)
    curves = []
    for place, of_line in rows.groupby(["quantity", *parts], sort=False):
        numbers = _course(of_line)
        if len(numbers["x"]) > 1 and numbers["least"] is not None:
            curves.append({**dict(zip(["quantity", *parts], place, strict=True)), **numbers})
    if not curves:
        return None
    quantities = list(dict.fromkeys(curve["quantity"] for curve in curves))
    first = [curve for curve in curves if curve["quantity"] == quantities[0]]
    low, high = min(curve["least"] for curve in first), max(curve["most"] for curve in first)
    height = "!logarithmic ? datum.{0} : datum.{0} > 0 ? log(datum.{0}) / LN10 : null"
    spec = vega_lite.lines(
        curves,
        [
            vega_lite.choice("quantity", quantities, quantities[0]),
            vega_lite.check("logarithmic", 0 < 30 * low < high),
            *_choices(first, parts, parts),
        ],
        title="chosen_quantity",
        x=Scale("training step", "format(datum.value, ',')"),
        y=Scale("", "format(logarithmic ? pow(10, datum.value) : datum.value, logarithmic ? '.3~g' : '~g')"),
        parts=parts,
        filters=[vega_lite.chosen("quantity")],
        heights={name: height.format(name) for name in ("low", "middle", "high", "least", "most")},
        told={
            **_LINE,
            "training step": "format(datum.x, ',')",
            "median": "format(datum.middle, '.4~g')",
            "range": _RANGE.format(low="format(datum.low, '.4~g')", high="format(datum.high, '.4~g')"),
        },
    )
    told = ""
    if rows.groupby(["quantity", *parts])["step"].nunique().max() > MOST_STEPS:
        told = f"Where more than {MOST_STEPS} steps were recorded, a point is the mean of several consecutive ones."
    return Chart("Over training", told, spec)


def _by_lag(records: Sequence[Record], networks: list[str], kind: str) -> Chart | None:
    """Norms against lag, each curve relative to its first norm."""
    form = BACK[kind]
    of_kind = [record for record in records if record["kind"] == kind]
    rows = pd.DataFrame([row for record in of_kind for row in _norms(record, [*networks, *form.parts], form.curves)])
    if rows.empty:
        return None
    every = list(dict.fromkeys(rows.sort_values("order", kind="stable")["moment"]))
    rows, parts = _named(rows, [*networks, *form.parts, "norm"])
    parts = [part for part in parts if part in networks or _parts_lines(rows, parts, part)]
    lines = rows.drop_duplicates(["entries", *parts])["entries"].clip(upper=MOST_LAGS)
    moments = _thinned(every, min(max(MOST_NUMBERS // (3 * lines.sum()), 2), MOST_MOMENTS))
    rows = rows[rows["moment"].isin(moments)]
    curves = []
    for (moment, _, *place), of_line in rows.groupby(["moment", "entries", *parts], sort=False):
        found = _relative(of_line["values"])
        if found:
            curves.append({**dict(zip(parts, place, strict=True)), "place": moments.index(moment), **found})
    if not curves:
        return None
    power = "format(pow(10, datum.{}), '.3~g')"
    spec = vega_lite.lines(
        curves,
        [*vega_lite.slider("training", moments), *_choices(curves, parts, networks)],
        title="moment",
        x=Scale(form.x, "format(datum.value, 'd')"),
        y=Scale("norm, relative to the first", "datum.value == 0 ? '1' : format(pow(10, datum.value), '.0e')"),
        parts=parts,
        now="datum.place == place",
        heights={name: f"datum.{name}" for name in ("low", "middle", "high", "least", "most")},
        told={
            **_LINE,
            form.x: "datum.x",
            "relative norm": power.format("middle"),
            "range": _RANGE.format(low=power.format("low"), high=power.format("high")),
            "norm": "format(pow(10, datum.first + datum.middle), '.3~g')",
        },
    )
    told = ["A line ends where the norm leaves the range of float32."]
    if rows["entries"].max() > MOST_LAGS:
        told.append(f"Of {rows['entries'].max():,} lags {MOST_LAGS} are drawn, more densely where they are small.")
    if len(moments) < len(every):
        told.append(f"The slider has {len(moments)} of {len(every)} measurements, more densely early in training.")
    return Chart(form.heading, " ".join(told), spec)


_LINE = {"network": "datum.line"}
_RANGE = "datum.low == datum.high ? '-' : {low} + ' to ' + {high}"


def _as_asked_for(names: pd.Series) -> pd.Series:
    """A sort key that offers the kind of training before others, and the loss before other fields."""
    return ~names.isin([OVER_TRAINING[0], "loss"])


def _norms(record: Record, parts: Sequence[str], curves: Sequence[str]) -> Iterator[Record]:
    """A row for each list of norms that a record has."""
    step, phase = record.get("step"), record.get("phase", "")
    moment = PHASES.get(phase, phase.replace("_", " "))
    if step is not None:
        moment = f"after {step:,} training steps" if step else PHASES["initialization"]
    common = {part: record[part] for part in parts if part in record}
    order = step if step is not None else list(PHASES).index(phase) if phase in PHASES else len(PHASES)
    for name in curves:
        if name in record:
            with np.errstate(over="ignore"):
                values = np.array(record[name], np.float64).astype(np.float32)  # the dtype that they were measured in
            yield {**common, "moment": moment, "order": order, "norm": name, "entries": len(values), "values": values}


def _relative(norms: Iterable[np.ndarray]) -> Record:
    """The curve of several seeds' log10 of norms from the end back, less each seed's first number.

    It is empty where there is only one norm, or where all norms of a seed are out of range.
    """
    logs = log10(stacked(norms))[:, ::-1]
    if logs.shape[1] < 2 or np.isnan(logs).all(axis=1).any():
        return {}
    first = np.median(logs[np.arange(len(logs)), np.argmax(~np.isnan(logs), axis=1)])
    lags = np.array(_thinned(range(logs.shape[1]), MOST_LAGS))
    found = _spread(relative_to_first(logs)[:, lags].T, lambda value: round(value, 3))
    return {"x": lags.tolist(), **found, "first": round(float(first), 3)}


def _course(rows: pd.DataFrame) -> Record:
    """A curve over training steps; where there are many, of the means of consecutive ones, at the last of these.

    A run that has ended before the others no longer counts. The curve is null where a run that goes on has a number
    that is not finite.
    """
    steps = np.sort(rows["step"].unique())
    stride = -(-len(steps) // MOST_STEPS)
    place = np.searchsorted(steps, rows["step"]) // stride
    last = steps[np.minimum(np.arange(place.max() + 1) * stride + stride, len(steps)) - 1]
    grouped = rows["value"].groupby([place, rows["run"].to_numpy()])
    means = grouped.mean().where(grouped.count() == grouped.size())
    by_place = [of_place.to_numpy() for _, of_place in means.groupby(level=0)]
    return {"x": last.tolist(), **_spread(by_place, lambda value: float(f"{value:.4g}"))}


def _spread(values: Iterable[np.ndarray], rounded: Callable[[float], float]) -> Record:
    """The median and the range of several seeds' values at each place; null where one of them is not finite."""
    told = [
        [rounded(float(of(each))) for of in (np.min, np.median, np.max)] if np.isfinite(each).all() else [None] * 3
        for each in values
    ]
    low, middle, high = (list(column) for column in zip(*told, strict=True))
    seen = [value for value in (*low, *high) if value is not None]
    ends = {"least": min(seen, default=None), "most": max(seen, default=None)}
    return {"low": low, "middle": middle, "high": high, **ends}


# Names


def _named(rows: pd.DataFrame, parts: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The rows with their parts in words, and the parts in which rows differ."""
    parts = [part for part in dict.fromkeys(parts) if part in rows and rows[part].nunique(dropna=False) > 1]
    return rows.assign(**{part: [_word(part, value) for value in rows[part]] for part in parts}), parts


def _parts_lines(rows: pd.DataFrame, parts: Sequence[str], part: str) -> bool:
    """Whether some lines differ in that part alone."""
    others = [each for each in parts if each != part]
    return len(rows.drop_duplicates(parts)) > (len(rows.drop_duplicates(others)) if others else 1)


def _word(part: str, value: Any) -> str:
    """A value in words: a number comes after the name of its field, and - stands for no value."""
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return "-"
    return f"{part.replace('_', ' ')} {value:g}"


def _choices(curves: Sequence[Record], parts: Sequence[str], networks: Sequence[str]) -> list[Record]:
    """Lists to choose from; where there would be too many lines, some values are chosen from the beginning.

    Parts that tell curves of one network apart are chosen before those that tell networks apart, and parts with many
    values before those with few. No choice leaves a single line.
    """
    options = {part: _in_order(dict.fromkeys(curve[part] for curve in curves)) for part in parts}
    chosen = {part: ALL for part in parts if ALL in options[part]}
    for part in sorted(parts, key=lambda part: (part in networks, -len(options[part]))):
        shown = [curve for curve in curves if all(curve[each] == word for each, word in chosen.items())]
        lines = dict.fromkeys(tuple(curve[each] for each in parts) for curve in shown)
        (word, count), *others = Counter(line[parts.index(part)] for line in lines).most_common()
        if part not in (*chosen, COMPARED) and len(lines) > MOST_LINES and others and count > 1:
            chosen[part] = word
    return [vega_lite.choice(part, [None, *options[part]], chosen.get(part)) for part in parts]


def _in_order(words: Iterable[str]) -> list[str]:
    """Words in the order in which they come; if all of them end with a number, in the order of these numbers."""
    words = list(words)
    try:
        return sorted(words, key=lambda word: float(word.rpartition(" ")[2]))
    except ValueError:
        return words


def _thinned(values: Sequence[Any], most: int) -> list[Any]:
    """At most ``most`` of the values: a third are the first values, the others are evenly spaced up to the last one."""
    if len(values) <= most:
        return list(values)
    near = most // 3
    places = [*range(near), *np.linspace(near, len(values) - 1, most - near).round().astype(int)]
    return [values[place] for place in dict.fromkeys(places)]
