"""The music experiment's tables, sentences and figures, of records that are known, and of runs that diverged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.music import findings, report
from tests.experiments.undrawn import laid_out

SPLIT = {
    "train_chorales": 229,
    "valid_chorales": 76,
    "test_chorales": 77,
    "train_frames": 13807,
    "valid_frames": 4602,
    "test_frames": 4725,
    "known_tunes": 42,
}


def known(losses: dict[str, list[float]], **about: Any) -> list[dict[str, Any]]:
    """Runs that lose so much in the test part, by network and seed, and 0.1 less in the validation part."""
    records = []
    for network, of_seeds in losses.items():
        for seed, loss in enumerate(of_seeds):
            identity = {"run": f"{network}-{seed}", "network": network, "seed": seed}
            counted = network in ("frequency", "held")
            end = {"test": loss, "valid": loss - 0.1, "train": loss - 1, "source": "made", "bars": "assumed"}
            kinds: list[dict[str, Any]] = [
                {
                    "kind": "result",
                    "params": None if counted else 1234,
                    "step": None if counted else 40,
                    **end,
                    **SPLIT,
                },
            ]
            kinds[0] |= {"test_in_keys": loss - 0.2} if not counted and "joint" not in network else {}
            kinds[0] |= about
            if not counted:
                curve = [1e-3, 0.02, 0.1, 0.3, 0.6, 1.0]  # time forward: a half at lag 2, a tenth at lag 3
                flow = {
                    "kind": "flow",
                    "typical": curve,
                    "chorales": [[value, *[2 * value**0.5] * 2] for value in curve],
                }
                kinds += [
                    *({"kind": "evaluation", "step": step, "valid": loss, "train": loss - 1} for step in (0, 20, 40)),
                    *({**flow, "phase": phase} for phase in ("initialization", "trained")),
                    *({"kind": "context", "frames": n, "loss": loss + 1 / n} for n in (1, 4, 8)),
                    {"kind": "padding", "change": 1e-6},
                    *(
                        {
                            "kind": "piece",
                            "after": after,
                            "primer": primer,
                            "frames": [[60, 64], [], [60, 64, 67, 72]] * 4,
                        }
                        for after, primer in (("silence", 0), ("primer", 4))
                    ),
                ]
            records += [{**identity, **each} for each in kinds]
    return records


KNOWN = {"frequency": [11.0], "elman": [9.0, 9.2], "gru": [8.3, 8.4], "gru:joint": [6.0, 6.5]}


def test_table_and_verdict_of_known_runs() -> None:
    records = known(KNOWN)
    rows = [[entry.strip() for entry in line.strip("|").split("|")] for line in findings.table(records).splitlines()]
    assert rows[2] == ["frequency", "counted", "-", "11.00", "-", "10.90", "10.00", "-"]
    assert rows[4][:5] == ["gru", "sigmoids", "1,234", "8.35 (8.30 to 8.40)", "8.15 (8.10 to 8.20)"]
    verdict = findings.verdict(records)
    assert verdict.startswith(
        "Of the networks with sigmoids, gru has the least validation loss; it loses 8.35 (8.30 to 8.40) nats a frame "
        "in the test part. If its logits are averaged over readings in all keys of its training, it loses 8.15 (8.10 "
        "to 8.20). Counting notes loses 11.00 (frequency). "
    )
    assert "Published losses on the same split are 8.91 (RNN), 8.45 (LSTM), 8.43 (GRU)" in verdict
    assert (
        "With a joint output, whose loss is another measure, gru:joint loses 6.25 (6.00 to 6.50), and published is "
        "5.56 (RNN-NADE)"
    ) in verdict
    reached = "elman 3 beats, 0.75 bars (before training 3 beats, 0.75 bars); gru 3 beats"
    assert f"After training, a tenth of a frame's gradient is left at these lags: {reached}" in verdict
    assert (
        "If gru starts from its initial state n beats before a frame instead of 8, it loses more nats a frame: 0.88 "
        "for n = 1, 0.12 for n = 4."
    ) in verdict
    assert "Published" not in findings.verdict(known(KNOWN, test_frames=99))


def test_single_chorales_have_a_spread_of_their_own() -> None:
    rows = [
        [entry.strip() for entry in line.strip("|").split("|")]
        for line in findings.spread_table(known({"gru": [8.0]})).splitlines()
    ]
    # 2 sqrt(value) falls to a half at lag 3, where it is 0.32 of the last, and to a tenth at lag 5.
    assert rows[2] == ["gru", "before training", "2", "2, 3, 3", "3", "3, 5, 5"]


def test_lags_are_told_in_beats_and_bars() -> None:
    assert findings.lag_in_words([4, 4], 9) == "4 beats, 1 bar"
    assert findings.lag_in_words([1, 6], 9) == "1 to 6 beats, 0.25 to 1.5 bars"
    assert findings.lag_in_words([1], 9) == "1 beat, 0.25 bars"
    assert findings.lag_in_words([np.inf], 12) == "beyond 12 beats, beyond 3 bars"
    assert findings.lag_in_words([3, np.inf], 12) == "3 to beyond 12 beats, 0.75 to beyond 3 bars"
    assert findings.lag_in_words([3, np.nan], 12) == "-"


@pytest.mark.slow
def test_figures_say_and_show_what_the_records_have(tmp_path: Path) -> None:
    records = known(KNOWN)
    figure = report.nats_by_network(records)
    assert "gru has the least validation loss; it loses 8.35 (8.30 to 8.40)" in figure.get_suptitle().replace("\n", " ")
    drawn = {(float(x), float(y)) for line in figure.axes[0].lines[:6] for x, y in zip(*line.get_data(), strict=True)}
    assert {(11.0, 0.0), (9.0, 1.0), (9.2, 1.0), (8.3, 2.0)} <= drawn
    figure = report.nats_by_context(records)
    assert figure is not None
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [0.875, 0.125, 0])
    assert all(path.exists() for path in laid_out(report.FIGURES, records, tmp_path))
    summary = report.summary(records)
    assert "of the same split and in the same unit" in summary
    assert "to test on; 42 of the test chorales have a tune that is also in training" in summary
    assert "at beat 6 of each test chorale" in summary


@pytest.mark.slow
@pytest.mark.parametrize("networks", [["frequency"], ["gru:joint"], ["held", "lstm"]])
def test_runs_of_few_networks_can_be_drawn(networks: list[str], tmp_path: Path) -> None:
    records = known({name: [8.0] for name in networks}, test_frames=9)
    assert laid_out(report.FIGURES, records, tmp_path)
    assert report.summary(records)
    assert findings.verdict(records)


@pytest.mark.slow
def test_of_a_run_that_diverged_what_can_be_told_is_told(tmp_path: Path) -> None:
    records = known(KNOWN)
    for record in records:
        if record["network"] == "elman":
            for name in {"test", "test_in_keys", "valid", "train", "loss", "typical", "chorales", "change"} & set(
                record
            ):
                many = isinstance(record[name], list)
                record[name] = [None] * len(record[name]) if many and name == "typical" else None
                if many and name == "chorales":
                    record[name] = [[None] * 3] * 6
    assert laid_out(report.FIGURES, records, tmp_path)
    assert "gru" in findings.verdict(records)
    assert report.summary(records)
