"""What the feedback experiment says of known records."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.feedback import findings, report
from tests.experiments.undrawn import laid_out

# The report


def known(regimes: dict[str, tuple[float, ...]], steps: int = 100) -> list[dict[str, Any]]:
    """Runs by the loss of each seed at the end; the rest follows from that."""
    records = []
    for regime, losses in regimes.items():
        for seed, loss in enumerate(losses):
            identity = {"run": f"{regime}-{seed}", "regime": regime, "seed": seed}
            discriminated = {"right": loss / 2, "heard": 1.0} if regime in ("professor", "watched") else {}
            train = {"loss": loss, "norm": loss / 2, "largest_norm": loss, "truth": 0.5, **discriminated}
            flow_of = {"choice": "probabilities", "state": [1.0, 1.0, 1.0], "output": [0.0, 1.0, 0.0], "free": 2}
            kinds = [
                {"kind": "network", "params": 7, "origin": "made", "symbols": 8, "entropy": 1.0},
                *({"kind": "evaluation", "step": s, "loss": 2.0 if s == 0 else loss} for s in (0, 50, steps)),
                *({"kind": "train", "step": s, **train} for s in (50, steps)),
                *(
                    {"kind": "ways", "phase": phase, **flow_of, "whole": [1.0] * 3, "share": [0.0, 0.5, 0.0]}
                    for phase in ("initialization", "trained")
                ),
                {"kind": "distances", "own": [loss / 10] * 4, "floor": [0.01] * 4},
                {"kind": "sample", "text": "(a)"},
                {
                    "kind": "free",
                    "nats": [1.2] * 16,
                    "entropy": [1.0] * 16,
                    "divergence": [0.1] * 16,
                    "divergence_true": [0.1] * 16,
                },
                *(
                    {"kind": "prefix", "length": n, "truth": [0.1, 0.1], "own": [0.1 + n * loss / 100, 0.1]}
                    for n in (1, 8)
                ),
            ]
            kinds[0] |= {"marginal_entropy": 1.9, "held_out_entropy": 1.01}
            records += [{**identity, **each} for each in kinds]
    return records


KNOWN = {
    "teacher": (1.1, 1.2),
    "sampled:linear:token": (1.15, 1.24),
    "sampled:linear:sequence": (1.4, 1.49),
    "probabilities:never": (1.9, 1.95),
    "professor": (1.05, 1.06),
    "watched": (1.1, 1.2),
}


def test_verdict_of_known_runs() -> None:
    lines = findings.verdict(known(KNOWN)).splitlines()
    assert "converges faster is confirmed for 2 of 3 others" in lines[0]
    assert "at step 50; where a coin decides what is fed, at step 50 to never; where the truth is never" in lines[0]
    assert "differ by 0.100 nats over seeds, and those of 0 of 3 other regimes by more" in lines[1]
    assert "after 8 symbols of its own a network loses 0.046 (0.044 to 0.048) nats a symbol more" in lines[2]
    assert "(55 to 60) where it only watches, in 53 % (52 to 53) in professor forcing" in lines[3]
    assert (
        "That curriculum learning helps holds in 0 of 8 comparisons with teacher forcing, and the opposite in 4"
        in lines[4]
    )
    assert (
        "That professor forcing helps holds in 4 of 4 comparisons with teacher forcing, and the opposite in 0"
        in lines[5]
    )
    assert "worse than one for each token: the loss with the truth fed differs by +0.250 nats" in lines[6]
    assert "training loss of 1.900 to 1.950 (probabilities) nats a symbol; a network that sees nothing" in lines[7]
    assert "loses at least 1.900." in lines[7]
    assert "through the output, one to eight steps before the loss, is 50 % before" in lines[8]


def test_in_a_text_its_own_characters_are_compared_with_those_of_another_passage() -> None:
    records = known({"teacher": KNOWN["teacher"]})
    for record in records:
        if record["kind"] == "prefix":
            record["foreign"] = [0.1 + record["length"] / 200, 0.1]
        for name in ("entropy", "marginal_entropy", "held_out_entropy"):
            if record["kind"] == "network":
                del record[name]
    lines = findings.verdict([record for record in records if record["kind"] != "free"]).splitlines()
    assert "confirmed for teacher forcing: what follows 8 characters of a network's own costs 0.046 (0.044" in lines[0]
    assert "as many of another passage 0.020 more. So 0.026 (0.024 to 0.028) nats are due to the char" in lines[0]


def test_figures_show_what_the_records_have() -> None:
    records = known(KNOWN)
    figure = report.held_out(records)
    drawn = [line for line in figure.axes[0].lines if line.get_label() == "teacher forcing"]
    np.testing.assert_allclose(drawn[0].get_ydata(), [2, 1.15, 1.15])
    figure = report.own_prefix(records)
    drawn = [line for line in figure.axes[0].lines if line.get_label() == "linear"]
    np.testing.assert_allclose(drawn[0].get_ydata(), [0.005975, 0.0478], rtol=1e-6)
    assert [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes[:4]] == [
        "Sampled, a coin for each token",
        "Sampled, a coin for each sequence",
        "A discriminator",
        "Never the truth",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("regimes", [["teacher"], ["sampled:never"], ["professor"]])
def test_few_regimes_can_be_drawn(regimes: list[str], tmp_path: Path) -> None:
    records = known(dict.fromkeys(regimes, KNOWN["teacher"]))
    assert all(path.exists() for path in laid_out(report.FIGURES, records, tmp_path))
    assert "What they say by themselves" in report.summary(records)
