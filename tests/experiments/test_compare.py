"""Runs side by side: what differs is told, what was recorded is drawn, and what is no run is refused."""

import json
import re
from pathlib import Path

import pytest

from experiments import compare
from experiments.common.errors import ExperimentError
from experiments.common.workdir import Record


def run_of(path: Path, losses: dict[int, list[float]], **config: float) -> Path:
    """A workdir with the losses of several seeds at steps 0, 10, ..."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"config": config, "command": "python -m experiments.x"}))
    records: list[Record] = []
    for seed, values in losses.items():
        identity = {"run": f"gru-seed{seed}", "cell": "gru", "seed": seed}
        records += [
            {**identity, "kind": "evaluation", "step": 10 * number, "loss": value, "chance": 2.0}
            for number, value in enumerate(values)
        ]
        records.append({**identity, "kind": "finished"})
    (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_settings_that_differ_last_values_and_curves_are_on_one_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = run_of(tmp_path / "a" / "slow", {0: [2.0, 1.0], 1: [2.0, 1.5], 2: [2.0, 1.25]}, learning_rate=0.1, seeds=3)
    fast = run_of(tmp_path / "b" / "fast", {0: [2.0, 0.5]}, learning_rate=0.2, seeds=3)
    compare.main([slow, fast], tmp_path / "out")
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "report.html")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<td>learning_rate</td>\n<td>0.1</td>\n<td>0.2</td>" in page
    assert "<td>seeds</td>" not in page
    assert ">1.25 (1 to 1.5)</td>" in page
    assert ">0.5</td>" in page
    assert "chance</td>" not in page  # the same in both
    assert page.count('<img alt="evaluation') == 2
    assert (tmp_path / "out" / "figures" / "evaluation_loss.svg").exists()
    (chart,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    curves = [curve for curve in json.loads(chart)["data"]["values"] if curve["quantity"] == "evaluation: loss"]
    assert {curve["compared"]: curve["middle"] for curve in curves} == {"slow": [2.0, 1.25], "fast": [2.0, 0.5]}


def test_runs_are_named_by_as_much_of_their_paths_as_tells_them_apart(tmp_path: Path) -> None:
    paths = [run_of(tmp_path / folder / "run", {0: [1.0, 2.0]}) for folder in ("a", "b")]
    assert [*compare._named(paths)] == ["a/run", "b/run"]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", {0: [1.0, 2.0]})
    with pytest.raises(ExperimentError, match=r"none/config.json does not exist: .* give the folder of one"):
        compare.main([run, tmp_path / "none"], tmp_path / "out")
    with pytest.raises(ExperimentError, match="a run is given twice: expected different ones"):
        compare.main([run, run], tmp_path / "out")
    empty = run_of(tmp_path / "empty", {})
    with pytest.raises(ExperimentError, match="recorded nothing at training steps"):
        compare.main([empty], tmp_path / "out")
