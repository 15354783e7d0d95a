"""The report of the speech experiment: tables, verdict and figures of runs whose records are known."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.speech import findings, report
from experiments.speech.data import GROUPS, HELD_OUT, KNOWN
from experiments.speech.phonemes import CLASSES
from tests.experiments.undrawn import laid_out

CONDITIONS = ("clean", "0")
ERRORS = {
    "cnn-lstm-dnn": [0.09, 0.10, 0.11],
    "lstm-dnn": [0.12, 0.13, 0.14],
    "cnn-dnn": [0.30, 0.20, 0.25],
    "cnn-lstm": [0.08, 0.12, 0.10],
    "lstm": [0.18, 0.20, 0.22],
    "bidirectional:cnn-lstm-dnn": [0.05, 0.05, 0.05],
}


def counts(error: float) -> list[list[int]]:
    """1,000 frames: iy taken for ih and for silence where they are wrong, twice as often."""
    found = np.zeros((len(CLASSES), len(CLASSES)), int)
    iy, ih, silence = (CLASSES.index(name) for name in ("iy", "ih", "sil"))
    wrong = round(1000 * error)
    found[iy, iy], found[iy, ih], found[iy, silence] = 1000 - wrong, wrong - wrong // 3, wrong // 3
    return found.tolist()


def known(errors: dict[str, list[float]] = ERRORS, delays: tuple[int, ...] = (5,)) -> list[dict[str, Any]]:
    """Runs with so many frames wrong, by network and seed: twice as many of the held-out voice, 0.1 more in noise."""
    records = []
    for (network, of_seeds), delay in itertools.product(errors.items(), delays):
        both = network.startswith("bidirectional")
        if both and delay != delays[0]:
            continue
        for seed, error in enumerate(of_seeds):
            run = {"network": network, "delay": 0 if both else delay, "seed": seed}
            error = error + (0 if both else 0.01 * (5 - delay))
            states = {"states_forward": [0.5, 2.0, 1.0]} if "lstm" in network else {}
            states |= {"states_backward": [0.0, 1.5, 0.0]} if both else {}
            kinds: list[dict[str, Any]] = [
                {"kind": "network", "params": 1234, "width": 5},
                *({"kind": "evaluation", "step": step, "loss": 1.0, "error": error} for step in (0, 10)),
                *(
                    {"kind": "flow", "phase": phase, "inputs": [0.05, 1.0, 0.2], **states}
                    for phase in ("initialization", "trained")
                ),
                *(
                    {
                        "kind": "result",
                        "source": "made",
                        "trained_on": 12_000,
                        "group": group,
                        "condition": condition,
                        "frames": 6_000,
                        "loss": 1.0,
                        "error": wrong,
                        "speech_error": wrong,
                        "confusion": counts(wrong),
                    }
                    for group, condition in itertools.product(GROUPS, CONDITIONS)
                    for wrong in [(2 if group == HELD_OUT else 1) * error + (0.1 if condition == "0" else 0)]
                ),
                *(
                    {
                        "kind": "example",
                        "condition": condition,
                        "text": "A text.",
                        "decibels": np.full((20, 40), -30.0).tolist(),
                        "labels": [0] * 5 + [1] * 15,
                        "said": [0] * 5 + [2] * 5 + [1] * 10,
                    }
                    for condition in CONDITIONS
                    if seed == 0
                ),
            ]
            records += [{"run": f"{network}-{delay}-{seed}", **run, **each} for each in kinds]
    return records


def test_table_and_verdict_of_known_runs() -> None:
    records = known()
    rows = [[entry.strip() for entry in line.strip("|").split("|")] for line in findings.table(records).splitlines()]
    assert rows[0] == ["network", "params", *(f"{g}, {c}" for g in GROUPS for c in ("clean", "0 dB"))]
    assert rows[2][:3] == ["cnn-lstm-dnn", "1,234", "10.0 % (9.0 to 11.0)"]
    assert rows[2][5] == "30.0 % (28.0 to 32.0)"
    verdict = findings.verdict(records)
    assert verdict.startswith(
        "bidirectional:cnn-lstm-dnn is best: in clean speech it labels 5.0 % of the frames of known voices wrongly, "
        "and 10.0 % of held-out voices."
    )
    assert (
        "That cnn-lstm-dnn has fewer frames wrong than lstm-dnn, with about as many params, is confirmed for known "
        "voices in clean speech (23 % fewer, 21 to 25)"
    ) in verdict  # 1 - 9/12, 1 - 10/13, 1 - 11/14
    assert "fewer frames wrong than cnn-lstm, with about as many params, is undecided for known voices" in verdict
    assert "an LSTM alone, with about as many params, is confirmed for known voices in clean speech (50 %" in verdict
    assert "Sainath et al. (2015) report 4 to 6 % fewer words wrong" in verdict
    assert "both directions have fewer frames wrong than one, with about as many params, is confirmed" in verdict
    assert findings.setting(records).startswith("made: 2.0 min to train on, 1.0 min of known voices and 1.0 min of")


def test_what_a_part_adds_is_counted_seed_by_seed_and_starred_where_no_seed_disagrees() -> None:
    records = known()
    found = findings.contributions(records)
    clean = found[(found["part"] == "lstm") & (found["group"] == KNOWN) & (found["condition"] == "clean")]
    np.testing.assert_allclose(clean["points"], [21, 10, 14])
    rows = [line.split("|") for line in findings.contributions_table(records).splitlines()]
    assert rows[2][3].strip() == "+3.00 (+3.00)*"
    assert rows[6][3].strip() == "+0.00 (-1.00 to +2.00)"
    assert findings.contributions_table(known({"lstm": [0.1]})) == ""


def test_a_reach_is_where_a_tenth_of_the_largest_gradient_is_left() -> None:
    assert findings.reach(np.array([0.05, 0.1, 1.0, 2.0, 0.3, 0.2, 0.1])) == (-10.0, 20.0)
    assert np.isnan(findings.reach(np.zeros(7))).all()
    lines = findings.reaches(known()).splitlines()
    assert [each.strip() for each in lines[2].strip("|").split("|")] == ["cnn-lstm-dnn", "+0", "+10", "+0", "+10"]
    states = findings.flows(known())["states"]
    np.testing.assert_allclose(states.iloc[-1], [0.5, 2.5, 1.0])


def test_confusions_are_told_as_shares_of_what_is_wrong() -> None:
    told = findings.confused(np.array(counts(0.3)))
    expected = (
        "iy taken for ih (67 %), iy taken for sil (33 %); 33 % of the wrong frames are silence, or taken for silence"
    )
    assert told == expected
    assert findings.best(findings.results(known())) == "bidirectional:cnn-lstm-dnn"
    assert findings.matrix(known(), "lstm", KNOWN).sum() == 3000


@pytest.mark.slow
def test_figures_say_and_show_what_the_records_have(tmp_path: Path) -> None:
    records = known()
    figure = report.contribution_by_noise(records)
    assert figure is not None
    title = figure.get_suptitle().replace("\n", " ")
    assert "without convolutions +4.5 (clean) and +4.5 (0 dB)" in title  # 3 and 6, means over both groups of voices
    figure = report.labelled(records)
    assert figure is not None
    assert "bidirectional:cnn-lstm-dnn 25 % (clean)" in figure.get_suptitle().replace("-\n", "-").replace("\n", " ")
    assert report.error_by_delay(records) is None
    paths = laid_out(report.FIGURES, records, tmp_path)
    assert len(paths) == len(report.FIGURES) - 1
    assert all(path.exists() for path in paths)
    assert "What each part adds" in report.summary(records)


def test_of_several_delays_each_is_a_network_of_its_own() -> None:
    records = known({name: ERRORS[name] for name in ("lstm", "bidirectional:cnn-lstm-dnn")}, (0, 5))
    cases = list(findings.results(records)["case"].unique())
    assert cases == ["lstm, 0 ms ahead", "lstm, 50 ms ahead", "bidirectional:cnn-lstm-dnn"]
    figure = report.error_by_delay(records)
    assert figure is not None
    assert (
        "lstm has 25.0 % of the frames wrong if it hears 0 ms ahead, and the fewest, 20.0 %, with 50 ms"
    ) in figure.get_suptitle().replace("\n", " ")
    assert "has heard 0 to 50 ms after a frame" in report.summary(records)


@pytest.mark.slow
def test_of_runs_that_diverged_what_can_be_told_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = known()
    for record in records:
        if record["network"] == "lstm" and record["kind"] in ("result", "evaluation"):
            record |= {"loss": None, "error": None}
        if record["network"] == "lstm" and record["kind"] == "flow":
            record |= {"inputs": [None] * 3, "states_forward": [None] * 3}
    assert findings.verdict(records).startswith("bidirectional:cnn-lstm-dnn is best")
    assert "lstm" in report.summary(records)
    assert len(laid_out(report.FIGURES, records, tmp_path)) >= 5
