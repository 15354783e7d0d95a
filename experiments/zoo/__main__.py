"""``python -m experiments.zoo``: config.py has its settings, ``--help`` prints them."""

import experiments.common.at_start  # noqa: F401  before what takes seconds to import
from experiments.common import sweep
from experiments.zoo.main import main

if __name__ == "__main__":
    sweep.run("zoo", main)
