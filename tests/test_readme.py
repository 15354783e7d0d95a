"""The README's code runs as written."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import pytest

import rnnjax
from experiments.gradient_flow.config import get_config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def code_lines(block: str) -> int:
    return sum(bool(line.strip()) for line in block.splitlines())


@pytest.mark.slow
def test_the_first_example_and_the_online_one_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    example, online, _ = BLOCKS
    names: dict[str, object] = {}
    exec(example, names)
    assert code_lines(example) <= 15
    assert (tmp_path / "gradient_flow.png").stat().st_size > 10_000
    assert "half_lag" in capsys.readouterr().out
    assert names["outputs"].shape == (100, 16, 64)  # type: ignore[attr-defined]
    exec(online, names)
    assert names["outputs"].shape == (99, 16, 64)  # type: ignore[attr-defined]


def test_the_cell_of_ones_own_runs_as_written() -> None:
    names: dict[str, object] = {}
    exec(BLOCKS[2], names)
    definition = BLOCKS[2][BLOCKS[2].index("class LeakyParams") : BLOCKS[2].index("cell = ")]
    assert code_lines(definition) <= 20
    flow = names["flow"]
    assert isinstance(flow, rnnjax.GradientFlow)
    assert flow.state[0].shape == (50,)


def test_the_code_of_the_page_on_accelerators_runs_as_written() -> None:
    page = (ROOT / "docs" / "accelerators.md").read_text(encoding="utf-8")
    cell = rnnjax.lstm(4)
    params, inputs = cell.init(jax.random.key(0), 3), jax.random.normal(jax.random.key(1), (5, 4, 3))
    names = {"jax": jax, "rnnjax": rnnjax, "cell": cell, "params": params, "inputs": inputs, "loss": jnp.sum}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(block, names)
    assert isinstance(names["flow"], rnnjax.GradientFlow)
    assert names["cell"] == rnnjax.mixed_precision(rnnjax.lstm(512))


def test_every_name_and_file_the_readme_speaks_of_exists() -> None:
    for name in re.findall(r"`initializers\.(\w+)`", README):
        assert hasattr(rnnjax.initializers, name)
    for path in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / path).exists(), path
    for field in re.findall(r"--config\.([a-z_]+)=", README):
        assert field in get_config(), field


def test_everything_public_is_exported_and_documented() -> None:
    for name in rnnjax.__all__:
        assert hasattr(rnnjax, name)
        value = getattr(rnnjax, name)
        if callable(value):
            assert (value.__doc__ or "").strip(), name


@pytest.mark.slow
def test_the_training_loop_runs_as_written_and_learns(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    (loop,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, Any] = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # as a user has them
        exec(loop, names)
    losses = [float(line.split()[2]) for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert len(losses) == 5
    assert losses[-1] < losses[0] / 4
    assert names["norms"][80][1].cell.shape == (32,)
