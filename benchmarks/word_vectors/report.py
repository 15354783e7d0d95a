"""What ``benchmarks.word_vectors`` says about its records: a table, a finding and a figure."""

import statistics

from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.common.measure import skips
from benchmarks.word_vectors.measure import MODELS, WAYS, Record

TARGET = 1.0  # times the words a second of gensim
TITLES = {"cbow": "CBOW", "skip_gram": "skip-gram"}


def table(records: list[Record]) -> str:
    """Words a second, agreement and what is learned, a row for each model and way."""
    heads = ["model", "way", "words a second", "times gensim's", "nearest ten as gensim's", "nearest of the same kind"]
    rows = [
        [
            TITLES[record["model"]],
            WAYS[record["way"]],
            f"{statistics.median(record['speeds']):,.0f}",
            str(record.get("ratio", "-")),
            f"{statistics.mean(record['agreement']):.0%}" if record.get("agreement") else "-",
            f"{statistics.mean(record['same_kind']):.0%}",
        ]
        for record in _measured(records)
    ]
    reasons = skips((WAYS[record["way"]], record["skipped"]) for record in records if "skipped" in record)
    return (
        f"{tabulate(rows, heads, colalign=('left', 'left', *['right'] * 4), disable_numparse=True)}\n{reasons}".rstrip()
    )


def _measured(records: list[Record]) -> list[Record]:
    return [record for record in records if "skipped" not in record]


def find(records: list[Record]) -> str:
    """The speed of each model as a multiple of gensim's, whether that meets the target, and how far both agree."""
    ours = {record["model"]: record for record in records if record["way"] == "rnnjax"}
    if not all("ratio" in record for record in ours.values()):
        return "gensim was not measured."
    told = [f"{TITLES[model]} {ours[model]['ratio']}" for model in MODELS]
    met = ", ".join("met" if ours[model]["ratio"].value >= TARGET else "missed" for model in MODELS)
    agree = [f"{TITLES[model]} {statistics.mean(ours[model]['agreement']):.0%}" for model in MODELS]
    itself = [f"{statistics.mean(record['agreement']):.0%}" for record in records if record["way"] == "gensim"]
    return (
        f"Words a second as a multiple of gensim's: {', '.join(told)} (target {TARGET:g}: {met}).\n"
        f"Share of the ten nearest words that agree with gensim's: {', '.join(agree)}; "
        f"gensim with another seed agrees in {', '.join(itself)}."
    )


def draw(records: list[Record], title: str) -> Figure:
    """Words a second, a bar for each model and way, a mark for each sample."""
    found = _measured(records)
    figure = Figure((9, 0.45 * len(found) + 1.8), layout="constrained")
    axis = figure.subplots()
    for place, record in enumerate(found):
        speeds = [speed / 1e3 for speed in record["speeds"]]
        axis.barh(place, statistics.median(speeds), color="0.75")
        axis.plot(speeds, [place] * len(speeds), "k|", markersize=12)
    axis.set_yticks(range(len(found)), [f"{TITLES[each['model']]}, {WAYS[each['way']]}" for each in found])
    axis.invert_yaxis()
    axis.set_xlabel("thousand words a second (bar: median; marks: samples)")
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    return figure
