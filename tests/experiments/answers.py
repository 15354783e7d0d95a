"""What commands of experiments answer, without waiting for their imports each time: see answer.py."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def answered(calls: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """The exit status of each call, one after the other, and what it left on standard error."""
    module = [sys.executable, "-m", "tests.experiments.answer"]
    done = subprocess.run(module, input=json.dumps(calls), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return [(status, printed) for status, printed in json.loads(done.stdout.splitlines()[-1])]
