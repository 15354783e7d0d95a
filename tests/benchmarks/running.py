"""Starting a benchmark as its user does, or without its imports."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.answers import measured

ROOT = Path(__file__).parents[2]


def run(module: str, *flags: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
    """With no programs that others have compiled: how long that takes is measured."""
    words = [sys.executable, "-m", module, *flags]
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    return subprocess.run(words, input=input, capture_output=True, text=True, cwd=ROOT, timeout=300, env=environment)


def results_of(name: str, folder: Path, *flags: str) -> dict[str, Any]:
    """What a quick run writes: it must succeed, say where it ran, and leave a table and figures."""
    finished = measured(name, "--quick", f"--output={folder}", *flags)
    assert finished.returncode == 0, finished.stderr
    for file in ("table.txt", f"{name}.png", f"{name}.svg"):
        assert (folder / file).stat().st_size > 0
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    assert results["finding"] in finished.stdout
    assert results["machine"]["cores"] >= 1
    assert results["machine"]["versions"]["jax"]
    assert (folder / "table.txt").read_text().startswith("Measured on ")
    return results | {"stdout": finished.stdout}
