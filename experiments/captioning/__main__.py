"""``python -m experiments.captioning``: config.py has its settings, ``--help`` prints them."""

import experiments.common.at_start  # noqa: F401  before what takes seconds to import
from experiments.captioning.main import main
from experiments.common import sweep

if __name__ == "__main__":
    sweep.run("captioning", main)
