"""docs/which_cell.md recommends nothing without evidence: its figures are those that this project has measured."""

import re
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

import rnnjax
from tests.docs.numbers_in import numbers_in

ROOT = Path(__file__).parents[2]


@cache
def words(file: str) -> str:
    """The text of a file, its lines put together."""
    return " ".join((ROOT / file).read_text(encoding="utf-8").split())


@cache
def numbers_by_part(source: str) -> list[set[str]]:
    """The numbers in each paragraph and item of a file; those of TRIED.md count as the guide's."""
    files = [source, *(["benchmarks/TRIED.md"] if source == "benchmarks/README.md" else [])]
    texts = ((ROOT / file).read_text(encoding="utf-8") for file in files)
    parts = (part for text in texts for part in re.split(r"\n\s*\n|\n\s*[*-] ", text))
    return [numbers_in(part) for part in parts]


PAGE = words("docs/which_cell.md")
TEXT = (ROOT / "docs" / "which_cell.md").read_text(encoding="utf-8")

EVIDENCE = {
    "experiments/forecasting/config.py": [
        ("any of 42 comparisons, and 27 were worse", "42 27"),
        ("84 test days", "1,866 84"),
        ("3,524 days", "3,524"),
    ],
    "experiments/tagging/config.py": [
        ("90.8 % of the words", "90.8"),
        ("92.9 % (92.7 to 93.1)", "92.9 92.7 93.1"),
        ("92.7 % (92.4 to 92.8) forward", "92.7 92.4 92.8"),
        ("63.3 % of the tags right", "63.3"),
        ("94.2 to 100.0 %", "94.2 100.0"),
    ],
    "experiments/language/config.py": [
        ("perplexity of 51.8", "51.8 5"),
        ("40.4 to 40.5", "40.4 40.5"),
        ("| 1.68 | 1.79 to 1.80 | 1.80 to 1.81 | 2 |", "1.79 1.80 1.80 1.81 1.94"),
        ("came to 1.94 nats", "1.94"),
    ],
    "experiments/long_memory/config.py": [
        ("| 300 to 400 | 900 to 1,000 | never | 3 |", "300 400 0.003 900 1,000"),
        ("| 100 | 50 | 20, by at most one | 3 |", "100 50 20 0 1"),
        ("one LSTM of three learned it and no GRU did", "100"),
        ("with one rate for both, none of them learned it", "1 3 1 2 1 5 7"),
    ],
    "experiments/classification/config.py": [
        ("97.3 to 98.6 % | 95.7 to 97.8 % | 95.9 to 97.8 % | 5 |", "97.9 97.3 98.6 96.8 95.9 97.8 96.6 95.7 97.8"),
        ("98.4 to 99.2 % of 370 others right", "98.9 370 98.4 99.2"),
        ("5 of 16 errors among the 270", "11 270 16"),
        ("96.2 to 96.8 %", "96.5 96.2 96.8"),
    ],
    "experiments/tracking/config.py": [
        ("| 0.2 to 0.4 % | 0.2 to 0.4 % | 0.9 to 7.7 % | 3 |", "0.2 0.4"),
        ("0.9 to 7.7 %", "0.9 7.7"),
        ("0.094 of the variance, at once 0.171", "0.171 0.094 16"),
        ("1.8 to 2.8 %", "1.8 2.8 16"),
        (
            "10^-16.7 of the gradient were left in Elman networks and 10^-2.4 in GRUs over 63 steps",
            "63 10 16.7 10 5.0 10 2.4",
        ),
    ],
    "experiments/gradient_flow/config.py": [
        ("from 6 to 65 to 67", "6 0 65 67 3 100 5 100"),
        ("of the LSTM's at lag 16 to 22", "16 22 6"),
        ("at lag 2 in real text, with tanh at 33 to 39", "16 22 6 7 8 33 39 2"),
    ],
    "experiments/forward_memory/config.py": [
        ("up to 39 % of its units are saturated", "3 39"),
        ("is 1.5, beside 6.1 with a bias of 1 and 5.3 with 0", "5.3 6.1 1.5"),
    ],
    "experiments/remedies/config.py": [
        (
            "by 15 of 15 networks that started from very small weights, by none of 15 with clipping alone",
            "15 800 6,200",
        ),
        ("clipping alone was enough at 20 and 35 steps", "20 35 5 5"),
    ],
    "experiments/arithmetic/config.py": [
        ("10 of 10 seeds, GRUs of 8 units in 9", "8 97 10 10 8 9 10"),
        ("9 of 10 seeds, GRUs of 16 units in 5", "8 9 10 16 5 10"),
    ],
    "benchmarks/README.md": [
        ("8 µs in an Elman network, 11 in a GRU and 12 in an LSTM of 128 units", "8 11 12"),
        ("32,800 characters a second, an LSTM 23,000", "32,800 23,000"),
        ("answers in 12, 14 and 25 µs, an LSTM in 12, 14 and 31", "12 14 25 12 14 31"),
        (
            "`lru` took 0.39 to 0.96 of the scan's time from 64 steps on, `sru` 0.97 of it from 16,384 steps on",
            "64 0.39 0.96",
        ),
        ("1.4 to 5.3 times the scan's time", "8 64 1.4 5.3"),
    ],
    "docs/zoo.md": [
        ("is +0.08 (-0.17 to +0.31; 95 % for cells drawn with replacement), averaged over ten tasks", "0.08 0.17 0.31"),
        ("takes the GRU 300 training steps and the LSTM 700", "300 700"),
        ("is 0.07 and 0.10 of that", "0.07 0.10"),
        ("beside 0.95 and 0.30 for the GRU", "0.95 0.30"),
    ],
    "docs/cells.md": [
        ("Five of the 34 leave 0.97 or more of it 99 steps before the loss", "0.97 99"),
        ("so do `leaky`, `learned_leaky` and `cornn`", "3"),
        ("keep 0.52 to 0.60, and with tanh a step back multiplies the norm by 0.58 to 0.59", "0.1 0.52 0.60 99"),
        ("multiplies it by 0.632, from 0.624 to 0.639", "0.632 0.624 0.639"),
    ],
}
"""By source: what the page says, and the numbers that it has from there."""


@pytest.mark.parametrize(
    ("source", "said", "numbers"), [(source, *each) for source in EVIDENCE for each in EVIDENCE[source]]
)
def test_the_numbers_of_a_sentence_stand_together_in_its_source(source: str, said: str, numbers: str) -> None:
    assert said in PAGE
    assert any(set(numbers.split()) <= found for found in numbers_by_part(source))


def test_the_table_of_cells_that_learn_to_add_is_what_was_measured() -> None:
    measured = pd.read_csv(ROOT / "docs" / "adding_by_cell.csv").groupby("cell")
    rows = re.findall(r"^\| `(\w+)`[^|]*\| ([\d.]+) to ([\d.]+) \| ([\d,]+)(?: to (\d+), solved)? \|$", TEXT, re.M)
    assert {cell for cell, *_ in rows} == set(measured.groups)
    for cell, low, high, fewest, most in rows:
        seeds = measured.get_group(cell)
        errors, steps = seeds["mean_squared_error"], seeds["train_steps"]
        assert len(seeds) == 3
        assert (f"{errors.min():.3f}", f"{errors.max():.3f}") == (low, high)
        assert (steps.min(), steps.max()) == (int(fewest.replace(",", "")), int(most or fewest.replace(",", "")))


def test_cells_and_experiments_that_the_page_names_exist() -> None:
    names = set(re.findall(r"`(\w+)`", PAGE))
    for name in names:
        assert hasattr(rnnjax, name) or name in {*rnnjax.CELLS, *VARIANTS}, name
    for module in re.findall(r"`((?:experiments|benchmarks)\.\w+)`", PAGE):
        assert (ROOT / module.replace(".", "/")).is_dir(), module


VARIANTS = {"corpus", "words", "compare", "plain", "latching", "gates", "jumps"}


def test_every_recommendation_has_a_section() -> None:
    links = re.findall(r"^\| \[[^\]]+\]\(#([\w-]+)\) \|", TEXT, re.M)
    anchors = [title.lower().replace(" ", "-") for title in re.findall(r"^## (.*)$", TEXT, re.M)]
    assert links == anchors[: len(links)]
    assert len(links) == 10
