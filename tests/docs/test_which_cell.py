"""docs/which_cell.md recommends nothing without evidence: its figures are those that this project has measured."""

import re
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

import rnnjax

ROOT = Path(__file__).parents[2]


@cache
def words(file: str) -> str:
    """The text of a file, its lines put together."""
    return " ".join((ROOT / file).read_text(encoding="utf-8").split())


PAGE = words("docs/which_cell.md")
TEXT = (ROOT / "docs" / "which_cell.md").read_text(encoding="utf-8")

EVIDENCE = {
    "experiments/forecasting/config.py": [
        (
            "any of 42 comparisons, and 27 were worse",
            "of 42 comparisons with that regression no network is better in any, and 27",
        ),
        ("84 test days", "1,866 forecasts on 84 days"),
        ("3,524 days", "nothing beats the random walk. Over 3,524 days"),
        ("kept more than a tenth of it over 48 steps, six of six", "more than a tenth is left in all six networks"),
    ],
    "experiments/tagging/config.py": [
        ("90.8 % of the words", "90.8 % by the most frequent tag"),
        ("92.9 % (92.7 to 93.1)", "92.9 % (92.7 to 93.1) with both"),
        ("92.7 % (92.4 to 92.8) forward", "92.7 % (92.4 to 92.8) forward"),
        ("63.3 % of the tags right", "Forward has 63.3 % right where it is decided to the right"),
        ("94.2 to 100.0 %", "94.2 to 100.0 % from the right"),
    ],
    "experiments/language/config.py": [
        ("perplexity of 51.8", "51.8 of 5-grams"),
        ("40.4 to 40.5", "40.4 to 40.5 of a GRU"),
        (
            "| 1.68 | 1.79 to 1.80 | 1.80 to 1.81 | 2 |",
            "lstm 1.79 to 1.80, elman 1.80 to 1.81, min_gru 1.94; all at the highest rate",
        ),
        ("came to 1.94 nats", "min_gru 1.94"),
    ],
    "experiments/long_memory/config.py": [
        (
            "| 300 to 400 | 900 to 1,000 | never | 3 |",
            "GRU after 300 to 400 steps (mean squared error 0.003), LSTM after 900 to 1,000",
        ),
        (
            "| 100 | 50 | 20, by at most one | 3 |",
            "the GRU up to 100, the LSTM up to 50, the Elman net at none or at 20 (0 or 1 seed)",
        ),
        ("one LSTM of three learned it and no GRU did", "at 100 one LSTM"),
        ("a hundred times slower than its readout", "its cell learns a hundred times slower than the readout"),
        (
            "with one rate for both, none of them learned it",
            "With one rate for both, 1e-3 to 1e-2, and biases of 1, 5 and 7, none did",
        ),
    ],
    "experiments/classification/config.py": [
        (
            "97.3 to 98.6 % | 95.7 to 97.8 % | 95.9 to 97.8 % | 5 |",
            "GRU 97.9 % (97.3 to 98.6), Elman net 96.8 % (95.9 to 97.8), LSTM 96.6 % (95.7 to 97.8)",
        ),
        ("98.4 to 99.2 % of 370 others right", "98.9 % of the 370 test utterances right by the mean (98.4 to 99.2"),
        ("5 of 16 errors among the 270", "11 of 270 wrong with them, 16 without"),
        ("96.2 to 96.8 %", "steps alone 96.5 % (96.2 to 96.8) by the mean"),
    ],
    "experiments/tracking/config.py": [
        (
            "| 0.2 to 0.4 % | 0.2 to 0.4 % | 0.9 to 7.7 % | 3 |",
            "GRU and LSTM are above it by 0.2 to 0.4 % ahead and at once",
        ),
        ("0.9 to 7.7 %", "the tanh Elman net by 0.9 to 7.7 %"),
        ("0.094 of the variance, at once 0.171", "0.171 at once and 0.094 16 steps late"),
        ("1.8 to 2.8 %", "by 1.8 to 2.8 % at 16"),
        (
            "10^-16.7 of the gradient were left in Elman networks and 10^-2.4 in GRUs over 63 steps",
            "63 steps back 10^-16.7 of dL/ds_t are left in Elman nets, 10^-5.0 in LSTMs, 10^-2.4 in GRUs",
        ),
    ],
    "experiments/gradient_flow/config.py": [
        (
            "from 6 to 65 to 67",
            "a tenth at lag 6 with update bias 0, 65 to 67 with 3, never within 100 steps with 5 and with chrono:100",
        ),
        ("of the LSTM's at lag 16 to 22", "a tenth is left at lag 16 to 22, 6"),
        ("at lag 2 in real text, with tanh at 33 to 39", "a tenth is left at lag 16 to 22, 6, 7 to 8, 33 to 39 and 2"),
    ],
    "experiments/forward_memory/config.py": [
        (
            "up to 39 % of its units are saturated",
            "LSTM with forget bias 3 the most saturated tanh has 39 % of its units saturated",
        ),
        ("is 1.5, beside 6.1 with a bias of 1 and 5.3 with 0", "is 5.3, 6.1 and 1.5"),
    ],
    "experiments/remedies/config.py": [
        (
            "by 15 of 15 networks that started from very small weights, by none of 15 with clipping alone",
            "is solved by all 15 networks with norm clipping and the penalty, in 800 to 6,200 steps",
        ),
        ("clipping alone was enough at 20 and 35 steps", "norm clipping alone solves T = 20 and 35 for 5 of 5 seeds"),
    ],
    "experiments/arithmetic/config.py": [
        (
            "10 of 10 seeds, GRUs of 8 units in 9",
            "tanh Elman net of 8 units (97 weights) 10 of 10, GRU of 8 units 9 of 10",
        ),
        ("9 of 10 seeds, GRUs of 16 units in 5", "Elman net of 8 units 9 of 10; GRU of 16 units 5 of 10"),
    ],
    "benchmarks/README.md": [
        (
            "8 µs in an Elman network, 11 in a GRU and 12 in an LSTM of 128 units",
            "params constant, state donated: Elman 8, GRU 11, LSTM 12 microseconds",
        ),
        ("32,800 characters a second, an LSTM 23,000", "GRU 32,800, which is 8.1 times as many, LSTM 23,000"),
        ("answers in 12, 14 and 25 µs, an LSTM in 12, 14 and 31", "GRU 12, 14, 25, LSTM 12, 14, 31 microseconds"),
        (
            "`lru` took 0.39 to 0.96 of the scan's time from 64 steps on, `sru` 0.97 of it from 16,384 steps on",
            "from T = 64 on (0.39 to 0.96 times the scan's time), `sru` there from 16384 on forward (0.97)",
        ),
        ("1.4 to 5.3 times the scan's time", "at 8x64 none (1.4 to 5.3 times)"),
    ],
    "docs/cells.md": [
        (
            "Five of the 34 leave 0.97 or more of it 99 steps before the loss",
            "Of its norm at the loss, 0.97 or more is left 99 steps before",
        ),
        (
            "so do `leaky`, `learned_leaky` and `cornn`",
            "3 cells more keep the gradient under them: `leaky`, `learned_leaky` and `cornn`",
        ),
        (
            "keep 0.52 to 0.60, and with tanh a step back multiplies the norm by 0.58 to 0.59",
            "With a bias of -0.1, 0.52 to 0.60 of the gradient is left at lag 99",
        ),
        ("multiplies it by 0.632, from 0.624 to 0.639", "0.632 (0.624 to 0.639)"),
    ],
}
"""By source: what the page says, and what it has that from."""


@pytest.mark.parametrize(
    ("source", "said", "found"), [(source, *each) for source in EVIDENCE for each in EVIDENCE[source]]
)
def test_a_figure_of_the_page_is_in_its_source(source: str, said: str, found: str) -> None:
    assert said in PAGE
    assert found in words(source)


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
        assert hasattr(rnnjax, name) or name in CELLS_AND_VARIANTS, name
    for module in re.findall(r"`((?:experiments|benchmarks)\.\w+)`", PAGE):
        assert (ROOT / module.replace(".", "/")).is_dir(), module


CELLS_AND_VARIANTS = {"corpus", "words", "compare", "plain", "latching", "gates", "jumps"}


def test_every_recommendation_has_a_section() -> None:
    links = re.findall(r"^\| \[[^\]]+\]\(#([\w-]+)\) \|", TEXT, re.M)
    anchors = [title.lower().replace(" ", "-") for title in re.findall(r"^## (.*)$", TEXT, re.M)]
    assert links == anchors[: len(links)]
    assert len(links) == 10
