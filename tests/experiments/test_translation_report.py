"""What the translation experiment reports and draws of runs whose numbers are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.translation import dates, findings, phonemes, report
from tests.experiments.undrawn import laid_out

GREEDY = {"beams": 1, "length_penalty": 0.0}
NETWORKS = {"none-forward": [0.4, 0.5], "none-reversed": [0.45, 0.6], "additive-forward": [0.995, 0.99]}


def known(networks: dict[str, list[float]], unit: str = dates.DATES) -> list[dict[str, Any]]:
    """Runs with these shares right, by network and seed; beam search has half a hundredth more right."""
    records = []
    for name, of_seeds in networks.items():
        attention, _, reading = name.partition("-")
        for seed, right in enumerate(of_seeds):
            identity = {"run": f"{name}-{seed}", "attention": attention, "reading": reading, "seed": seed}
            about = {"source": "made", "unit": unit, "longest": 2, "trained_on": 9, "tested_on": 12}
            asked = [dates.UNSEEN_DATES, dates.UNSEEN_FORMAT, dates.UNSEEN_LOCALE, dates.SEVERAL]
            kinds: list[dict[str, Any]] = [
                {"kind": "network", "params": 1234, **about},
                *({"kind": "evaluation", "step": step, "loss": 1.0, "error": 1 - right} for step in (0, 10)),
                *(
                    {"kind": "flow", "phase": phase, "norms": norms, "sources": [9, 9], "parts": [[3, 1], [1, 1]]}
                    for phase, norms in (("initialization", [1.0, 1e-4]), ("trained", [1.0, 0.1]))
                ),
                *(
                    {"kind": "search", **search, "error": 0.3, "symbols": 9.0, "log_probability": -1.0, "sources": 5}
                    for search in (GREEDY, {"beams": 4, "length_penalty": 1.0})
                ),
                {"kind": "padding", "change": 1e-6},
            ]
            for search, gain in ((GREEDY, 0.0), ({"beams": 4, "length_penalty": 1.0}, 0.005)):
                for each in asked if unit == dates.DATES else [phonemes.WORDS]:
                    more = {"right": min(right + gain, 1.0), "symbol_error": (1 - right) / 4, "sources": 100}
                    kinds.append({"kind": "result", "asked": each, **more, **search})
                for length in (1, 2, 3):
                    more = {"right": right if length < 3 else 0.0, "sources": 100, "trained": length < 3}
                    kinds.append({"kind": "length", "length": length, "unit": unit, **more, **search})
                for locale, form in (("de", "long"), ("de", dates.HELD_OUT_FORMAT), ("fi", "long")):
                    each = dates.UNSEEN_LOCALE if locale == "fi" else dates.UNSEEN_DATES
                    where = {"asked": each, "locale": locale, "form": form}
                    share = right / 2 if locale == "fi" else right
                    kinds += [{"kind": "locale", **where, "right": share, "sources": 9, **search}] * (
                        unit == dates.DATES
                    )
            if attention != "none" and seed == 0:
                looks = {"source": "ab", "said": "X _", "weights": [[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]]}
                kinds.append({"kind": "alignment", **looks})
                told = {"source": "a|b", "said": "X", "reference": "Y", "asked": asked[0]}
                kinds.append({"kind": "mistake", **told})
            records += [{**identity, **each} for each in kinds]
    return records


def rows_of(table: str) -> list[list[str]]:
    return [[entry.strip() for entry in line.strip("|").split("|")] for line in table.splitlines()]


def test_table_and_verdict_of_known_dates() -> None:
    records = known(NETWORKS)
    rows = rows_of(findings.table(records))
    assert rows[0][2:4] == ["right, unseen dates", "right, unseen format"]
    assert rows[4][:3] == ["additive attention, forward", "1,234", "99.2 % (99.0 to 99.5)"]
    verdict = findings.verdict(records)
    assert verdict.startswith(
        "Best is additive attention, forward: it translates 99.2 % (99.0 to 99.5) of 100 unseen single dates right"
    )
    assert "The goal of 99 % is reached with every seed" in verdict
    assert "in locales that were not in training are 49.6 % (49.5 to 49.8) in Finnish" in verdict
    assert "That one final state is a bottleneck" not in verdict
    assert (
        "After 10 training steps, the shares right of sources of 1 and of 2 dates are 45.0 % (40.0 to 50.0) and 45.0 % "
        "(40.0 to 50.0) with one state and no attention; 99.2 % (99.0 to 99.5) and 99.2 % (99.0 to 99.5) with additive "
        "attention. As one state has not learned even the shortest sources, this says nothing about a bottleneck"
    ) in verdict
    assert (
        "(Sutskever et al., 2014) is undecided: of sources of several dates, 52.5 % (45.0 to 60.0) are right if read "
        "backwards"
    ) in verdict
    assert "no attention, forward 10^-4.0 before training and 10^-1.0 after training" in verdict
    assert (
        "That beam search (4 beams, length penalty 1) has more sources of several dates right than greedy search is "
        "confirmed: the difference is +0.50 points"
    ) in verdict


@pytest.mark.parametrize(("at_two", "shown"), [([0.0, 0.1], "confirmed"), ([0.9, 1.0], "not confirmed")])
def test_a_bottleneck_is_where_one_state_holds_what_is_short_and_not_what_is_long(
    at_two: list[float], shown: str
) -> None:
    records = known({"none-forward": [0.9, 0.95], "additive-forward": [0.995, 0.99]})
    for record in records:
        if record["kind"] == "length" and record["length"] == 2 and record["attention"] == "none":
            record["right"] = at_two[record["seed"]]
    verdict = findings.verdict(records)
    assert f"is a bottleneck which attention removes is {shown}. After 10 training steps" in verdict


def test_table_and_verdict_of_known_words() -> None:
    records = known({"multiplicative-bidirectional": [0.68]}, "letters")
    assert rows_of(findings.table(records))[2][2:] == ["32.0 %", "8.0 %", "31.5 %", "8.0 %"]
    verdict = findings.verdict(records)
    assert (
        "its word error and phoneme error are 32.0 % and 8.0 % with greedy search, and 31.5 % and 8.0 % with beam "
        "search"
    ) in verdict
    assert "33.9 % for Phonetisaurus and 31.0 % for a Transformer of two layers of 256" in verdict
    assert "bottleneck" not in verdict
    assert "Locales" not in report.summary(records)


@pytest.mark.slow
def test_figures_say_and_show_what_the_records_have(tmp_path: Path) -> None:
    records = known(NETWORKS)
    figure = report.right_by_length(records)
    title = figure.get_suptitle().replace("\n", " ")
    assert title.startswith(
        "Sources translated right at the largest length in training, 2 dates: 45.0 % (40.0 to 50.0) with no attention"
    )
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [45, 45, 0])
    dated = report.gradient_by_date(records)
    assert dated is not None
    assert "62.5 % with additive attention, forward" in dated.get_suptitle().replace("\n", " ")
    assert all(path.exists() for path in laid_out(report.FIGURES, records, tmp_path))
    summary = report.summary(records)
    assert "| `a|b`" not in summary  # a bar would begin another cell
    assert report.right_by_locale(known({"none-forward": [0.5]}, "letters")) is None
    assert report.alignment(known({"none-forward": [0.5]})) is None


@pytest.mark.slow
@pytest.mark.parametrize("field", ["norms", "parts", "loss", "right", "log_probability", "change", "weights"])
def test_what_is_not_finite_is_told_and_not_drawn(tmp_path: Path, field: str) -> None:
    def lost(value: Any) -> Any:
        return [lost(each) for each in value] if isinstance(value, list) else None

    records = [{**each, field: lost(each[field])} if field in each else each for each in known(NETWORKS)]
    laid_out(report.FIGURES, records, tmp_path)
    assert report.summary(records)
