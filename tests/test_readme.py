"""The code of the README, and of the pages that it leads to, runs as written."""

import inspect
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import pytest

import rnnjax
from experiments.common import catalogue
from experiments.gradient_flow.config import get_config
from experiments.language import config as language

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/library.md", "experiments/README.md")
README, LIBRARY, GUIDE = ((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
EXAMPLE, ONLINE, OWN_CELL = re.findall(r"```python\n(.*?)```", README + LIBRARY, flags=re.DOTALL)


def code_lines(block: str) -> int:
    return sum(bool(line.strip()) for line in block.splitlines())


@pytest.mark.slow
def test_the_first_example_and_the_online_one_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(EXAMPLE, names)
    assert code_lines(EXAMPLE) <= 15
    assert (tmp_path / "gradient_flow.png").stat().st_size > 10_000
    assert "half_lag" in capsys.readouterr().out
    assert names["outputs"].shape == (100, 16, 64)  # type: ignore[attr-defined]
    exec(ONLINE, names)
    assert names["outputs"].shape == (99, 16, 64)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_cell_of_ones_own_runs_as_written() -> None:
    names: dict[str, object] = {}
    exec(OWN_CELL, names)
    definition = OWN_CELL[OWN_CELL.index("class LeakyParams") : OWN_CELL.index("cell = ")]
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


def test_every_name_file_and_command_the_readme_speaks_of_exists() -> None:
    for path in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / path).exists(), path
    experiments = {experiment.name for experiment in catalogue.experiments()}
    assert set(re.findall(r"^- `(\w+)`: ", README, flags=re.MULTILINE)) == experiments


def test_every_field_and_command_the_guide_to_the_experiments_speaks_of_exists() -> None:
    for field in re.findall(r"--config\.([a-z_]+)=", GUIDE):
        assert field in {*get_config(), *language.get_config()}, field
    for command in set(re.findall(r"-m experiments\.([a-z]\w+(?:\.\w+)?)", GUIDE)):
        path = ROOT / "experiments" / command.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), command


def test_every_name_the_page_of_the_library_speaks_of_exists_and_it_speaks_of_every_public_one() -> None:
    spoken = set(re.findall(r"`([\w.]+)`", LIBRARY))
    for name in (name for name in spoken if name.startswith("initializers.")):
        assert hasattr(rnnjax.initializers, name.removeprefix("initializers.")), name
    functions = {name for name in rnnjax.__all__ if inspect.isfunction(getattr(rnnjax, name))}
    assert functions <= spoken


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
