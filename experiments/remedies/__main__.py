"""``python -m experiments.remedies``: config.py has its settings, ``--help`` prints them."""

from experiments.common import sweep
from experiments.remedies.main import main

if __name__ == "__main__":
    sweep.run("remedies", main)
