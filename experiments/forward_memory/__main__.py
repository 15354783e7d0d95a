"""``python -m experiments.forward_memory``: config.py has its settings, ``--help`` prints them."""

import experiments.common.at_start  # noqa: F401  before what takes seconds to import
from experiments.common import sweep
from experiments.forward_memory.main import main

if __name__ == "__main__":
    sweep.run("forward_memory", main)
