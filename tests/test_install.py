"""Installing rnnjax: it is then imported from any folder, and hides no module of the user's own."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import rnnjax

pytestmark = pytest.mark.slow  # each needs pip, which asks the package index

ROOT = Path(__file__).parent.parent
OWN = ("experiments", "experiments.common", "benchmarks", "tests")
"""Folders of the clone that a user may well have, too."""


def run(folder: Path, *command: str | Path) -> str:
    """What the command prints in that folder; nothing but its own environment's packages are there to it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"MPLBACKEND": "Agg"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def origin(python: Path, folder: Path, module: str) -> str:
    """The file that ``import module`` would run in that folder, without running it; "None" for a bare folder."""
    return run(folder, python, "-c", f"import importlib.util as u; print(u.find_spec({module!r}).origin)").strip()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout in a folder named rnnjax, as git clone makes it."""
    copy = tmp_path_factory.mktemp("work") / "rnnjax"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "runs", "build", "dist"))
    return copy


@pytest.fixture(scope="module")
def python(clone: Path) -> Path:
    """Of a fresh environment in the clone, which is installed there and editable; without jax, for time's sake."""
    venv.create(clone / ".venv")
    python = python_of(clone / ".venv")
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    run(clone, *pip, "install", "--quiet", "--no-deps", "--editable", ".")
    return python


def test_the_package_is_found_in_the_folder_that_holds_the_clone_and_elsewhere(
    clone: Path, python: Path, tmp_path: Path
) -> None:
    for folder in (clone.parent, clone, tmp_path):
        assert Path(origin(python, folder, "rnnjax")) == clone / "rnnjax" / "__init__.py"


@pytest.mark.parametrize("name", OWN)
def test_a_users_own_folder_is_not_hidden_by_the_clones_of_the_same_name(
    python: Path, tmp_path: Path, name: str
) -> None:
    mine = tmp_path.joinpath(*name.split("."), "mine.py")
    mine.parent.mkdir(parents=True)
    mine.touch()
    assert Path(origin(python, tmp_path, f"{name}.mine")) == mine


def test_the_readmes_install_line_is_all_that_its_first_example_needs(clone: Path, tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Use it in your research")[2]
    given = re.search(r"^    pip (install .*?)\n.*?```python\n(.*?)```", section, flags=re.DOTALL | re.MULTILINE)
    assert given is not None
    install, example = given.groups()
    venv.create(tmp_path / "environment")
    python = python_of(tmp_path / "environment")
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    run(clone, *pip, *shlex.split(install, comments=True), "--no-compile")  # most of what is installed is not imported
    assert "half_lag" in run(tmp_path, python, "-c", example)
    assert (tmp_path / "gradient_flow.png").stat().st_size > 10_000


def test_a_wheel_holds_the_package_alone_typed_with_its_version_and_licence(clone: Path, tmp_path: Path) -> None:
    run(clone, sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ".")
    (path,) = tmp_path.iterdir()
    wheel, information = zipfile.ZipFile(path), f"rnnjax-{rnnjax.__version__}.dist-info"
    names = {Path(name) for name in wheel.namelist()}
    assert {name.parts[0] for name in names} == {"rnnjax", information}
    modules = {file.relative_to(ROOT) for file in (ROOT / "rnnjax").rglob("*.py")}
    assert {name for name in names if name.parts[0] == "rnnjax"} == {*modules, Path("rnnjax/py.typed")}
    assert Path(information, "licenses", "LICENSE") in names
    metadata = message_from_bytes(wheel.read(f"{information}/METADATA"))
    assert (metadata["Version"], metadata["License-Expression"]) == (rnnjax.__version__, "Apache-2.0")
