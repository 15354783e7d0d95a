"""Where a package is missing that a part of the library needs, an error says in a line which, and what installs it."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rnnjax.extras import needed

ROOT = Path(__file__).parents[1]


def run_without(package: str, program: str) -> subprocess.CompletedProcess[str]:
    """The program in a Python of its own that finds no such package."""
    command = [sys.executable, "-c", f"import sys; sys.modules[{package!r}] = None\n{program}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["rnnjax.adapters.linen", "rnnjax.adapters.nnx"])
def test_without_flax_the_error_says_so_and_names_the_extra(adapter: str) -> None:
    refused = run_without("flax", f"import {adapter}")
    message = f'{adapter} needs flax, which is not installed: pip install "rnnjax[flax]"'
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == f"ModuleNotFoundError: {message}"
    assert "The above exception was the direct cause" in refused.stderr


@pytest.mark.slow
def test_without_matplotlib_the_error_of_plot_says_so_and_names_the_extra() -> None:
    refused = run_without("matplotlib", "import rnnjax; import rnnjax.plot")
    message = 'rnnjax.plot needs matplotlib, which is not installed: pip install "rnnjax[plot]"'
    assert refused.stderr.splitlines()[-1] == f"ModuleNotFoundError: {message}"


@pytest.mark.slow
def test_without_pytorch_its_weights_are_converted_all_the_same() -> None:
    program = """
import numpy as np
from rnnjax.adapters.torch import from_torch, to_torch
shapes = {"weight_ih_l0": (16, 3), "weight_hh_l0": (16, 4), "bias_ih_l0": (16,), "bias_hh_l0": (16,)}
weights = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
print({name: weight.shape for name, weight in to_torch(from_torch(weights, "lstm")).items()} == shapes)
"""
    done = run_without("torch", program)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_an_installed_package_that_lacks_another_says_so_itself() -> None:
    with pytest.raises(ModuleNotFoundError) as raised, needed("flax", by="rnnjax.adapters.linen"):
        raise ModuleNotFoundError("No module named 'msgpack'", name="msgpack")
    assert str(raised.value) == "No module named 'msgpack'"


def test_each_extra_that_an_error_may_name_installs_that_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for extra, package in {"flax": "flax", "torch": "torch", "plot": "matplotlib"}.items():
        (requirement,) = extras[extra]
        assert requirement.startswith(f"{package}>=")
    assert "rnnjax[flax,plot]" in extras["experiments"]
