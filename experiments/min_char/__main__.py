"""``python -m experiments.min_char``: config.py has its settings, ``--help`` prints them."""

from experiments.common import sweep
from experiments.min_char.main import main

if __name__ == "__main__":
    sweep.run("min_char", main)
