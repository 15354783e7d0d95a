"""benchmarks.language end to end on tiny sizes, and its GPT."""

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.language.measure import overlapping_windows
from tests.benchmarks.running import results_of

NO_TORCH = "PyTorch, a peer to compare with, is not installed: rnnjax[bench]"


@pytest.mark.slow
def test_language_trains_both_for_as_long(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    results = results_of("language", tmp_path)
    gpt, own = results["records"]
    assert [gpt["way"], own["way"]] == ["torch", "rnnjax"]
    assert gpt["steps"] == 20
    assert own["steps"] % 10 == 0
    assert own["seconds"] <= max(gpt["seconds"], own["starting_seconds"] + 1)  # ten steps are always done
    for record in (gpt, own):
        assert 0 < record["starting_seconds"] < record["seconds"] == record["curve"][-1]["seconds"]
        for point in record["curve"]:
            assert 1 < point["kept"] < 1.1 * math.log(results["settings"]["different"])
            assert 1 < point["fresh"] < 1.1 * math.log(results["settings"]["different"])
    assert gpt["characters"] == 20 * 12 * 64
    assert gpt["fresh"] < 0.9 * math.log(results["settings"]["different"])  # it has learned something
    assert "1.88 nats" in results["stdout"]


def test_held_out_windows_overlap_by_half_and_end_within_the_text() -> None:
    windows = overlapping_windows(np.arange(200))
    np.testing.assert_array_equal(windows[:, 0], [0, 32, 64, 96, 128])
    np.testing.assert_array_equal(windows[:, -1], windows[:, 0] + 64)
    # Together their second halves predict every character from the 33rd on once.
    np.testing.assert_array_equal(windows[:, 33:].ravel(), np.arange(33, 193))


def test_the_gpt_is_as_large_as_published_and_sees_no_later_characters() -> None:
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    from benchmarks.language import gpt

    torch.manual_seed(0)
    model = gpt.GPT(65)
    counted = sum(param.numel() for name, param in model.named_parameters() if name != "positions.weight")
    assert f"{counted / 1e6:.2f}M" == "0.80M"  # what nanoGPT prints, which leaves the positions out

    tokens = torch.randint(65, (3, gpt.CONTEXT + 1))
    changed = tokens.clone()
    changed[:, 40:] = (changed[:, 40:] + 1) % 65
    with torch.no_grad():
        before, after = gpt.losses(model, tokens), gpt.losses(model, changed)
    assert before.mean().item() == pytest.approx(math.log(65), rel=0.02)  # knows nothing yet
    torch.testing.assert_close(before[:, :39], after[:, :39])
    assert (before[:, 39:] != after[:, 39:]).any(dim=1).all()


def test_the_gpt_learns_at_the_published_rates() -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    from benchmarks.language.gpt import learning_rate

    rates = [learning_rate(iteration, 2000) for iteration in (0, 50, 100, 1050, 2000)]
    assert rates == pytest.approx([0, 5e-4, 1e-3, 5.5e-4, 1e-4])
